"""Muxspace: spellings, splits, several rows for a picture, bad rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data import Dataset, guess_source, open_dataset
from fer.data.discovery import find_data
from fer.data.muxspace import read_muxspace
from fer.errors import ConfigError, DataError
from fer.labels import AFFECTNET8, FER7

EMOTIONS = ("anger", "DISGUST", "fear", "happiness", "SADNESS", "surprise", "NEUTRAL")


@pytest.fixture
def mux(tmp_path: Path) -> Callable[..., Path]:
    """mux(extra lines): 20 grey pictures for each of seven emotions, and whatever more."""

    def make(extra: tuple[str, ...] = (), n: int = 20) -> Path:
        root = tmp_path / "facial_expressions-master"
        (root / "data").mkdir(parents=True)
        (root / "images").mkdir()
        lines = ["user.id,image,emotion"]
        for i in range(n):
            for c, emotion in enumerate(EMOTIONS):
                face = np.full((32, 32), 20 + 30 * c, np.uint8)
                face[i % 32, : i + 1] = 255
                Image.fromarray(face).save(root / "images" / f"p{c}_{i}.jpg", quality=100)
                lines.append(f"628,p{c}_{i}.jpg,{emotion}")
        (root / "data" / "legend.csv").write_text("\n".join([*lines, *extra]) + "\n")
        return root

    return make


def seven(data: Dataset) -> None:
    for split in data.splits.values():
        tone = np.median(split.faces, axis=(1, 2))
        np.testing.assert_array_equal(np.rint((tone - 20) / 30), split.labels)


def test_muxspace_spellings_splits_and_rows(mux: Callable[..., Path], tmp_path: Path) -> None:
    root = mux()
    data = read_muxspace(root)
    assert (data.name, data.label_set) == ("muxspace", FER7)
    seven(data)
    for split, each in (("train", 14), ("val", 3), ("test", 3)):
        assert np.bincount(data[split].labels).tolist() == [each] * 7
        np.testing.assert_array_equal(data[split].rows % 7, data[split].labels)
    for place in (root / "data", root / "data" / "legend.csv"):
        assert read_muxspace(place).fingerprint == data.fingerprint
    assert read_muxspace(root, seed=1).fingerprint != data.fingerprint
    assert guess_source(root) == guess_source(root / "data" / "legend.csv") == "muxspace"
    assert [f.source for f in find_data([tmp_path])] == ["muxspace"]


def test_muxspace_several_rows_for_one_picture(mux: Callable[..., Path]) -> None:
    root = mux(
        (
            "1,p0_0.jpg,Anger",  # says the same
            "2,p1_0.jpg,fear",  # ties with disgust
            "3,p2_0.jpg,sadness",
            "4,p2_0.jpg,SADNESS",  # outvotes fear
        )
    )
    data = read_muxspace(root)
    assert data.notes["pictures_with_a_tie"] == 1
    assert data.notes["rows_for_a_picture_named_before"] == 4
    counts = sum(np.bincount(s.labels, minlength=7) for s in data.splits.values())
    assert counts.tolist() == [20, 19, 19, 20, 21, 20, 20]


def test_muxspace_contempt_is_dropped_and_counted_or_kept(mux: Callable[..., Path]) -> None:
    root = mux(tuple(f"1,c{i}.jpg,contempt" for i in range(4)))
    for i in range(4):
        Image.fromarray(np.full((32, 32), 3 * i, np.uint8)).save(root / "images" / f"c{i}.jpg")
    dropped = read_muxspace(root)
    assert (dropped.label_set, dropped.notes["contempt_dropped"]) == (FER7, 4)
    assert sum(map(len, dropped.splits.values())) == 140
    kept = open_dataset(f"muxspace:{root},contempt=1")
    assert (kept.label_set, kept.notes["contempt_dropped"]) == (AFFECTNET8, 0)
    assert sum((s.labels == 7).sum() for s in kept.splits.values()) == 4
    with pytest.raises(ConfigError, match="contempt must be 0"):
        read_muxspace(root, contempt=2)


def test_muxspace_identical_pictures_stay_together(mux: Callable[..., Path]) -> None:
    extra = tuple(f"1,copy{i}.jpg,{e}" for i, e in enumerate(("anger",) * 19 + ("happiness",)))
    root = mux(extra)
    for i in range(20):
        (root / "images" / f"copy{i}.jpg").write_bytes((root / "images" / f"p0_{i}.jpg").read_bytes())
    data = read_muxspace(root)
    side = {int(row): k for k, s in data.splits.items() for row in s.rows}
    assert all(side[7 * i] == side[140 + i] for i in range(20))
    assert data.notes["repeated_images"] == 20
    assert data.notes["identical_images_that_disagree"] == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,nowhere.jpg,fear", r"legend.csv:142: nowhere.jpg is not in images/"),
        ("1,p0_0.jpg,hapiness", r"legend.csv:142: unknown class 'hapiness'; did you mean 'happy'"),
        ("1,../data/legend.csv,fear", r"legend.csv:142: '../data/legend.csv' is not the name of a file"),
        ("1,p0_0.jpg", r"legend.csv:142: 2 columns where the header has 3"),
        ("1,text.jpg,fear", r"text.jpg: .*not a picture"),
    ],
)
def test_muxspace_bad_rows(line: str, message: str, mux: Callable[..., Path]) -> None:
    root = mux((line,))
    (root / "images" / "text.jpg").write_text("hello")
    with pytest.raises(DataError, match=message):
        read_muxspace(root)
    data = read_muxspace(root, skip_bad=True)
    assert sum(map(len, data.splits.values())) == 140
    assert len(data.notes["left_out"]) == 1
    assert str(root) not in data.notes["left_out"][0]


def test_muxspace_that_is_none(mux: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data/legend.csv there; git clone"):
        read_muxspace(tmp_path)
    root = mux()
    legend = root / "data" / "legend.csv"
    legend.write_text("")
    with pytest.raises(DataError, match="missing column image, emotion"):
        read_muxspace(root)
    legend.write_text("emotion,image\n")
    with pytest.raises(DataError, match="no usable rows"):
        read_muxspace(root)
    (root / "images").rename(root / "pictures")
    with pytest.raises(DataError, match="no folder images/"):
        read_muxspace(root)
