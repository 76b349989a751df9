"""One data set's classes put into those of another label set, matched by name and never by position."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np

from fer.data.dataset import Dataset, Split
from fer.errors import DataError, unknown_name
from fer.labels import LabelSet, find_label_set, project, with_contempt

CONTEMPT = ("drop", "keep")


def project_dataset(dataset: Dataset, target: LabelSet | str, contempt: str = "drop") -> Dataset:
    """The same faces under another label set.

    Classes are matched by name. Of a mixed target the part on classes that the new set has is renormalised; a row that
    has nothing on them is dropped and counted. Classes that the data lack stay empty and are listed.

    Args:
        dataset: Opened splits are projected; which ones they are does not change the fingerprint.
        target: Label set, or its name ("fer7", "affectnet8", "fer7+contempt").
        contempt: "drop": contempt goes where `target` lacks it. "keep": where the data have contempt it is added to
            the target as the last class.

    Returns:
        Data set "<name>-<label set>" with `notes["projected_from"]`, `notes["rows_dropped"]` (per split) and
        `notes["classes_without_faces"]`; the data set itself where it has that very label set already.

    Raises:
        ConfigError: unknown label set, or contempt is neither drop nor keep.
        DataError: a split of which nothing is left.

    >>> from fer.data.synthetic import read_synthetic
    >>> eight = read_synthetic(n=2, contempt=1)
    >>> seven = project_dataset(eight, "fer7")
    >>> len(eight["train"]), len(seven["train"]), seven.notes["rows_dropped"]["train"]
    (16, 14, 2)
    """
    if contempt not in CONTEMPT:
        raise unknown_name("treatment of contempt", contempt, CONTEMPT)
    source = dataset.label_set
    wanted = find_label_set(target) if isinstance(target, str) else target
    if contempt == "keep" and "contempt" in source.names:
        wanted = with_contempt(wanted)
    if wanted == source:
        return dataset
    shared = [i for i, name in enumerate(source.names) if name in wanted.names]
    splits, dropped = {}, {}
    for key, split in dataset.splits.items():
        keep = np.flatnonzero(split.targets[:, shared].sum(axis=1) > 0)
        if not len(keep):
            raise DataError(f"{dataset.name}: not one face in {key} has a class of {wanted.name}")
        part = split if len(keep) == len(split) else split.take(keep)
        splits[key] = Split(part.faces, project(part.targets, source, wanted), part.rows)
        dropped[key] = len(split) - len(keep)
    notes = dict(dataset.notes) | {
        "projected_from": source.name,
        "rows_dropped": dropped,
        "classes_without_faces": [n for n in wanted.names if n not in source.names],
    }
    # From the whole source's fingerprint, so that it does not depend on which splits are open.
    made_of = json.dumps([dataset.fingerprint, "projected", list(wanted.names)]).encode()
    return dataclasses.replace(
        dataset,
        name=f"{dataset.name}-{wanted.name}",
        label_set=wanted,
        splits=splits,
        fingerprint=hashlib.sha256(made_of).hexdigest(),
        notes=notes,
    )
