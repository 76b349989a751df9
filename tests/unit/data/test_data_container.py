from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fer.data.dataset import Dataset, Split, load, save
from fer.data.fer2013_csv import read_fer2013_csv
from fer.errors import DataError
from fer.labels import FER7


@pytest.fixture
def data(csv_file: Path) -> Dataset:
    return read_fer2013_csv(csv_file)


def test_round_trip(data: Dataset, tmp_path: Path) -> None:
    data = dataclasses.replace(data, notes={"left_out": ["fer2013.csv:3: x"]})
    back = load(save(data, tmp_path / "deep" / "er" / "x.npz"))
    assert (back.name, back.label_set, back.fingerprint) == (data.name, data.label_set, data.fingerprint)
    assert (dict(back.titles), dict(back.notes)) == (dict(data.titles), dict(data.notes))
    for key, split in data.splits.items():
        for name in ("faces", "targets", "rows"):
            np.testing.assert_array_equal(getattr(back[key], name), getattr(split, name))
            assert getattr(back[key], name).dtype == getattr(split, name).dtype
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["x.npz"]


def test_loading_one_split_never_opens_the_others(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(data, tmp_path / "x.npz")
    opened: list[str] = []
    real = zipfile.ZipFile.open

    def spy(self: zipfile.ZipFile, name: object, *args: object, **kwargs: object) -> object:
        opened.append(str(getattr(name, "filename", name)))
        return real(self, name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(zipfile.ZipFile, "open", spy)
    for asked in ("val", ["val"]):
        opened.clear()
        val = load(path, asked)
        assert {o.removesuffix(".npy") for o in opened} == {"header", "val_faces", "val_targets", "val_rows"}
        assert list(val.splits) == ["val"]
        # The fingerprint is that of the whole source all the same.
        assert val.fingerprint == data.fingerprint
    with pytest.raises(DataError, match=r"has no split 'train' here; it has val \(7\)"):
        val["train"]


def _change(split: Split, field: str) -> Split:
    if field == "faces":
        faces = split.faces.copy()
        faces[3, 20, 20] ^= 1
        return dataclasses.replace(split, faces=faces)
    if field == "targets":
        return dataclasses.replace(split, targets=np.roll(split.targets, 1, axis=0))
    return dataclasses.replace(split, rows=split.rows + 1)


@pytest.mark.parametrize("field", ["faces", "targets", "rows"])
@pytest.mark.parametrize("key", ["train", "val", "test"])
def test_one_changed_pixel_target_or_row_changes_the_fingerprint(key: str, field: str, data: Dataset) -> None:
    splits = {**data.splits, key: _change(data[key], field)}
    assert dataclasses.replace(data, splits=splits, fingerprint="").fingerprint != data.fingerprint


def test_the_fingerprint_knows_which_split_is_which_but_not_titles_and_notes(data: Dataset) -> None:
    swapped = {"train": data["train"], "val": data["test"], "test": data["val"]}
    assert dataclasses.replace(data, splits=swapped, fingerprint="").fingerprint != data.fingerprint
    renamed = dataclasses.replace(data, titles={}, notes={"a": 1}, fingerprint="")
    assert renamed.fingerprint == data.fingerprint


def _rewrite(path: Path, **change: object) -> None:
    with np.load(path) as z:
        arrays = dict(z)
    header = json.loads(bytes(arrays["header"]).decode()) | change
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with open(path, "wb") as f:
        np.savez_compressed(f, **arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not a data file of this project"),
        ({"schema": 2}, "schema 2 is newer than 1"),
        ({"schema": "x"}, "damaged"),
        ({"labels": sorted(FER7.names)}, "class order"),
        ({"parts": {"train": "0" * 64}}, "does not match its fingerprint"),
        ({"parts": {"extra": "0"}}, "damaged"),
        ({"parts": None}, "damaged"),
    ],
)
def test_foreign_headers(change: dict[str, object], message: str, data: Dataset, tmp_path: Path) -> None:
    path = save(data, tmp_path / "x.npz")
    _rewrite(path, **change)
    with pytest.raises(DataError, match=message):
        load(path)


def test_damaged_files(data: Dataset, tmp_path: Path) -> None:
    path = save(data, tmp_path / "x.npz")
    good = path.read_bytes()
    for cut in (0, 10, len(good) // 2, len(good) - 5):
        path.write_bytes(good[:cut])
        with pytest.raises(DataError, match="damaged"):
            load(path)
    for at in range(200, len(good) // 2, len(good) // 20):
        flipped = bytearray(good)
        flipped[at] ^= 0xFF
        path.write_bytes(bytes(flipped))
        with pytest.raises(DataError):
            load(path)
    path.write_text("hello")
    with pytest.raises(DataError, match="damaged"):
        load(path)
    np.save(tmp_path / "y.npy", np.zeros(3))
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path / "y.npy")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "nowhere.npz")


def test_a_failed_save_leaves_the_old_file(data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(data, tmp_path / "x.npz")
    before = path.read_bytes()

    def full(f: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space"):
        save(data, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.glob("x*")] == ["x.npz"]


def test_splits_and_data_sets_check_themselves() -> None:
    faces, rows = np.zeros((2, 8, 8), np.uint8), np.arange(2)
    ok = np.eye(7, dtype=np.float32)[:2]
    assert Split(faces, ok, rows).labels.tolist() == [0, 1]
    for bad in (faces.astype(np.float32), faces[0], np.zeros((2, 8, 8, 1), np.uint8)):
        with pytest.raises(DataError, match="faces must be"):
            Split(bad, ok, rows)
    for targets in (ok.astype(np.float64), ok[:1]):
        with pytest.raises(DataError, match="targets must be"):
            Split(faces, targets, rows)
    for targets in (ok * 2, ok - 0.5, ok * np.float32("nan")):
        with pytest.raises(DataError, match="probability vector"):
            Split(faces, targets, rows)
    with pytest.raises(DataError, match="unknown split 'dev'"):
        Dataset("x", FER7, {"dev": Split(faces, ok, rows)})
    with pytest.raises(DataError, match="has 3 classes, fer7 has 7"):
        Dataset("x", FER7, {"val": Split(faces, np.eye(3, dtype=np.float32)[:2], rows)})
    assert repr(Dataset("x", FER7, {"val": Split(faces, ok, rows)})) == "Dataset('x', fer7, val=2)"
