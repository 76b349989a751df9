from __future__ import annotations

import numpy as np
import pytest

from fer.data import Dataset, Split, project_dataset
from fer.errors import ConfigError, DataError
from fer.labels import AFFECTNET8, FER7, FERPLUS8, LabelSet, with_contempt


def marked(label_set: LabelSet, targets: np.ndarray | None = None) -> Dataset:
    """Two faces a class whose brightness is the class's place in the alphabet: a label that survives renumbering."""
    n = len(label_set)
    alphabet = sorted(AFFECTNET8.names)
    labels = np.arange(2 * n) % n
    faces = np.array([np.full((8, 8), alphabet.index(label_set.names[c])) for c in labels], dtype=np.uint8)
    targets = np.eye(n, dtype=np.float32)[labels] if targets is None else targets
    return Dataset("marked", label_set, {"train": Split(faces, targets, np.arange(2 * n))}, notes={"kept": 1})


def shown(data: Dataset) -> list[str]:
    return [sorted(AFFECTNET8.names)[face[0, 0]] for face in data["train"].faces]


@pytest.mark.parametrize("source", [FERPLUS8, AFFECTNET8, with_contempt(FER7)])
@pytest.mark.parametrize("target", [FER7, FERPLUS8, AFFECTNET8, LabelSet("turned", FER7.names[::-1])])
def test_classes_are_matched_by_name(source: LabelSet, target: LabelSet) -> None:
    data = project_dataset(marked(source), target)
    assert data.label_set == target
    assert [target.names[c] for c in data["train"].labels] == shown(data)
    assert len(data["train"]) == 2 * len(target), "contempt dropped where the target lacks it, nothing else"
    if source != target:
        assert data.name == f"marked-{target.name}"
        assert data.notes["rows_dropped"] == {"train": 16 - 2 * len(target)}
        assert (data.notes["projected_from"], data.notes["kept"]) == (source.name, 1)
        assert data.notes["classes_without_faces"] == []


def test_the_same_label_set_is_left_alone_and_missing_classes_are_named() -> None:
    data = marked(FER7)
    assert project_dataset(data, "fer7") is data
    eight = project_dataset(data, "affectnet8")
    assert [AFFECTNET8.names[c] for c in eight["train"].labels] == shown(data)
    assert eight.notes["classes_without_faces"] == ["contempt"]
    assert eight["train"].targets.shape == (14, 8)


def test_contempt_kept() -> None:
    data = project_dataset(marked(AFFECTNET8), FER7, contempt="keep")
    assert data.label_set.names == (*FER7.names, "contempt")
    assert [data.label_set.names[c] for c in data["train"].labels] == shown(data)
    assert len(data["train"]) == 16
    assert project_dataset(marked(FER7), FER7, contempt="keep").label_set is FER7, "there is none to keep"
    with pytest.raises(ConfigError, match="unknown treatment of contempt 'kepp'; did you mean 'keep'"):
        project_dataset(data, FER7, contempt="kepp")


def test_mixed_targets_are_renormalised_and_rows_follow() -> None:
    targets = np.eye(8, dtype=np.float32)[np.arange(16) % 8]
    targets[0] = 0
    targets[0, [FERPLUS8.index("sad"), FERPLUS8.index("contempt")]] = 0.25, 0.75
    data = project_dataset(marked(FERPLUS8, targets), FER7)
    assert data["train"].rows.tolist() == [r for r in range(16) if r not in (7, 15)]
    assert data["train"].targets[0, FER7.index("sad")] == 1
    np.testing.assert_allclose(data["train"].targets.sum(axis=1), 1)


def test_fingerprints_tell_projections_apart() -> None:
    data = marked(AFFECTNET8)
    prints = {project_dataset(data, t).fingerprint for t in ("fer7", "ferplus8", "fer7+contempt", "affectnet8")}
    assert len(prints) == 4


def test_nothing_left_is_an_error() -> None:
    only = LabelSet("contempt", ("contempt",))
    with pytest.raises(DataError, match="not one face in train has a class of fer7"):
        project_dataset(marked(only), FER7)
