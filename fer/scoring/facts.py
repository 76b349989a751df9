"""What is stored about a data set itself, for data.json: counts, copies, and the crowd's votes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer import paths
from fer.data import Dataset
from fer.data.fer2013_csv import find_csv
from fer.data.ferplus import VOTE_NAMES, VOTES_FILE, targets_from_votes, votes_by_split
from fer.errors import DataError
from fer.evaluation import leakage
from fer.evaluation.crowd import crowd_facts


def data_facts(dataset: Dataset, votes: Mapping[str, np.ndarray] | None) -> dict[str, Any]:
    """Content of data.json.

    Args:
        votes: Split -> votes of `votes_of`; None where no FER+ votes are at hand.
    """
    splits = dataset.splits
    found = leakage.copies({k: (s.faces, s.labels) for k, s in splits.items()})
    conflicting = {k: np.any([found[k, other].other_label for other in splits], axis=0) for k in splits}
    names = dataset.label_set.names
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "labels": list(names),
        "titles": {k: dataset.title(k) for k in splits},
        "counts": {
            k: dict(zip(names, np.bincount(s.labels, minlength=len(names)).tolist(), strict=True))
            for k, s in splits.items()
        },
        "copies": {
            k: {"exact": int(found[k, "train"].exact.sum()), "near": int(found[k, "train"].near.sum())}
            for k in (splits if "train" in splits else ())
        },
        "conflicting": sum(int(v.sum()) for v in conflicting.values()),
        "crowd": None if votes is None else {k: crowd_facts(votes[k], s.labels, names) for k, s in splits.items()},
    }


def votes_of(
    dataset: Dataset, file: Path | None = None, note: Callable[[str], None] | None = None
) -> dict[str, np.ndarray] | None:
    """FER+ votes for every split, as shares over the data set's classes.

    All votes count, single ones too, because they are what a random annotator would have said; votes for classes that
    the data set lacks, for "unknown" and for "no face" are left out. A face in which the crowd saw no expression, or
    none of the data set's, has zeros.

    Args:
        file: fer2013new.csv or its folder; default: the one in the data folder, if it is there.
        note: Told what is wrong with that one, which is then left alone; None = it is an error.

    Returns:
        Split -> (N, C); None where there are no votes or the data are not FER2013's rows.

    Raises:
        DataError: a file that was named and is absent, one that is broken, or votes of another CSV's rows.
    """
    folder = paths.data_dir()
    found = file or (find_csv(folder, (VOTES_FILE,)) if folder.is_dir() else None)
    if dataset.name != "fer2013" or found is None:
        return None
    try:
        by_split = votes_by_split(found, dataset)
    except DataError as e:
        if file or note is None:
            raise
        note(f"{e}; scored without votes")
        return None
    columns = [VOTE_NAMES.index(c) for c in dataset.label_set.names]
    out = {}
    for k, votes in by_split.items():
        shares = targets_from_votes(votes, min_votes=1)[0].astype(np.float64)[:, columns]
        total = shares.sum(axis=1, keepdims=True)
        out[k] = np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
    return out


def seen_in_training(
    dataset: Dataset, splits: Sequence[str], learnt: Sequence[str] = ("train",)
) -> dict[str, np.ndarray | None]:
    """Per split: "", "exact" or "near" for every face; None where the training split is not at hand.

    Args:
        learnt: The splits that were learnt from.
    """
    if "train" not in dataset.splits:
        return dict.fromkeys(splits)
    faces = dataset["train"].faces if len(learnt) == 1 else np.concatenate([dataset[k].faces for k in learnt])
    found = {k: leakage.find(dataset[k].faces, faces) for k in splits}
    return {k: np.where(v.exact, "exact", np.where(v.near, "near", "")) for k, v in found.items()}


def majority_of(dataset: Dataset) -> str | None:
    """The commonest class of the training split, where that is at hand."""
    if "train" not in dataset.splits:
        return None
    return dataset.label_set.names[int(dataset["train"].targets.sum(axis=0).argmax())]
