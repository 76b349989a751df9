from __future__ import annotations

import numpy as np
import pytest

from fer.data import Dataset, Split
from fer.data.inspection import balance_table, picture_grid, stored_size
from fer.errors import ConfigError, DataError
from fer.labels import FER7, label_set_of

TWO = label_set_of(["happy", "sad"])


def toned(n_happy: int, n_sad: int, rgb: bool = False) -> Split:
    """Happy faces have tone 60, sad ones 180."""
    labels = np.repeat([0, 1], [n_happy, n_sad])
    faces = np.repeat(60 + 120 * labels, 8 * 8 * (3 if rgb else 1)).astype(np.uint8)
    shape = (len(labels), 8, 8, 3) if rgb else (len(labels), 8, 8)
    return Split(faces.reshape(shape), np.eye(2, dtype=np.float32)[labels], np.arange(len(labels)))


@pytest.mark.parametrize("rgb", [False, True])
def test_a_row_of_the_sheet_shows_its_own_class(rgb: bool) -> None:
    data = Dataset("mine", TWO, {"train": toned(9, 1, rgb), "val": toned(0, 1, rgb)})
    sheet = picture_grid(data, per_class=5, side_px=20)
    assert (sheet.dtype, sheet.ndim, sheet.shape[2]) == (np.uint8, 3, 3)
    tones = sheet[..., 0]
    rows = []
    for tone, faces in ((60, 5), (180, 2)):  # five of nine; two are all there are, from both splits
        across = (tones == tone).sum(axis=1)  # the letters' edges are a few grey pixels too
        rows.append(np.flatnonzero(across >= 20))
        assert len(rows[-1]) == 20 and (across[rows[-1]] // 20 == faces).all()
    assert rows[0].max() < rows[1].min(), "happy above sad, as in the label set"
    np.testing.assert_array_equal(sheet, picture_grid(data, per_class=5, side_px=20))
    assert stored_size(data) == f"8 x 8 {'RGB' if rgb else 'grey'}"


def test_the_balance_counts_all_splits_and_names_empty_classes() -> None:
    data = Dataset("mine", TWO, {"train": toned(6, 2), "val": toned(1, 0)})
    lines = [" ".join(line.split()) for line in balance_table(data).splitlines()]
    assert lines[0].startswith("happy 7 77.8% ###")
    assert lines[1].startswith("sad 2 22.2% ###")
    assert lines[2:] == ["train: imbalance 3.0 (6 happy, 2 sad)", "val: imbalance 1.0 (1 happy, 1 happy); no sad"]


def test_impossible_sheets() -> None:
    data = Dataset("mine", TWO, {"train": toned(1, 1)})
    for wish in ({"per_class": 0}, {"per_class": 51}, {"side_px": 8}):
        with pytest.raises(ConfigError, match="a sheet takes"):
            picture_grid(data, **wish)
    empty = Split(np.zeros((0, 8, 8), np.uint8), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="no faces to show"):
        picture_grid(Dataset("none", FER7, {"train": empty}))
