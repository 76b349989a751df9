from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer.data import open_dataset
from fer.data.fer2013_csv import read_fer2013_csv
from fer.data.ferplus import (
    VOTE_NAMES,
    majority_from_votes,
    read_ferplus,
    targets_from_votes,
    votes_by_split,
)
from fer.errors import ConfigError, DataError
from fer.labels import FERPLUS8

HEAD = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
# By FERPLUS8 position: angry 4, disgust 5, fear 6, happy 1, sad 3, surprise 2, neutral 0.
POSITION = (4, 5, 6, 1, 3, 2, 0)


@pytest.fixture
def votes_lines(csv_lines: list[str]) -> list[str]:
    """Row i: seven votes for its own class, three for contempt; row 5 is unknown, row 30 has no face."""
    lines = [HEAD]
    for i, line in enumerate(csv_lines[1:]):
        counts = [0] * 10
        if i == 5:
            counts[8], counts[0] = 6, 4
        elif i == 30:
            counts[9] = 10
        else:
            counts[POSITION[i % 7]], counts[7] = 7, 3
        name = "" if i == 30 else f"fer{i:07d}.png"
        lines.append(",".join([line.rsplit(",", 1)[1], name, *map(str, counts)]))
    return lines


@pytest.fixture
def folder(csv_file: Path, votes_lines: list[str]) -> Path:
    (csv_file.parent / "fer2013new.csv").write_text("\r\n".join(votes_lines) + "\r\n")
    return csv_file.parent


def test_joined_row_for_row(folder: Path, faces: np.ndarray) -> None:
    data = read_ferplus(folder)
    assert (data.name, data.label_set) == ("ferplus", FERPLUS8)
    assert data.notes["without_expression"] == 2
    assert data["train"].rows.tolist() == [r for r in range(28) if r != 5]
    assert data["val"].rows.tolist() == [28, 29, 31, 32, 33, 34]
    for split in data.splits.values():
        np.testing.assert_array_equal(split.faces, faces[split.rows])
        np.testing.assert_array_equal(split.labels, [POSITION[r % 7] for r in split.rows])
        np.testing.assert_allclose(split.targets[:, 7], 0.3)
        np.testing.assert_allclose(split.targets.sum(axis=1), 1)
    assert read_ferplus(folder / "fer2013.csv").fingerprint == data.fingerprint


def test_columns_are_found_by_name(folder: Path, votes_lines: list[str]) -> None:
    expected = read_ferplus(folder).fingerprint
    turned = [",".join(reversed(line.split(","))) for line in votes_lines]
    (folder / "fer2013new.csv").write_text("\ufeff" + "\n".join(turned))
    assert read_ferplus(folder).fingerprint == expected


@pytest.mark.parametrize(
    ("name", "votes", "expected"),
    [
        ("single votes are outliers", [4, 0, 0, 1, 4, 2, 0, 0, 1, 0], [0.4, 0, 0, 0, 0.4, 0.2, 0, 0]),
        ("unknown leads", [4, 0, 0, 0, 0, 0, 0, 0, 6, 0], None),
        ("no face leads", [2, 3, 0, 0, 0, 0, 0, 0, 0, 5], None),
        ("a tie goes to the expression", [0, 5, 0, 0, 0, 0, 0, 0, 5, 0], [0, 1, 0, 0, 0, 0, 0, 0]),
        ("ahead of unknown, although less than half", [0, 4, 0, 0, 0, 0, 0, 0, 3, 3], [0, 1, 0, 0, 0, 0, 0, 0]),
        ("nothing but outliers", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1], None),
        ("no votes", [0] * 10, None),
    ],
)
def test_targets(name: str, votes: list[int], expected: list[float] | None) -> None:
    targets, keep = targets_from_votes(np.array([votes]))
    assert (targets.dtype, targets.shape) == (np.float32, (1, 8))
    assert bool(keep[0]) == (expected is not None)
    np.testing.assert_allclose(targets[0], expected or [0] * 8)


def test_outliers_can_be_kept() -> None:
    targets, _ = targets_from_votes(np.array([[8, 1, 1, 0, 0, 0, 0, 0, 0, 0]]), min_votes=1)
    np.testing.assert_allclose(targets[0], [0.8, 0.1, 0.1, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("name", "votes", "majority", "plurality"),
    [
        ("more than half", [6, 4, 0, 0, 0, 0, 0, 0, 0, 0], 0, 0),
        ("exactly half is no majority", [5, 3, 2, 0, 0, 0, 0, 0, 0, 0], None, 0),
        ("a tie", [5, 5, 0, 0, 0, 0, 0, 0, 0, 0], None, None),
        ("a tie of three", [3, 3, 3, 0, 0, 0, 0, 0, 0, 0], None, None),
        ("single votes do not count against it", [4, 3, 1, 1, 1, 0, 0, 0, 0, 0], 0, 0),
        ("contempt", [0, 0, 1, 0, 0, 0, 0, 9, 0, 0], 7, 7),
        ("unknown leads", [4, 0, 0, 0, 0, 0, 0, 0, 6, 0], None, None),
        ("a tie with unknown", [5, 0, 0, 0, 0, 0, 0, 0, 5, 0], None, None),
        ("ahead of unknown and of no face", [0, 4, 0, 0, 0, 0, 0, 0, 3, 3], None, 1),
        ("nothing but outliers", [1] * 10, None, None),
        ("no votes", [0] * 10, None, None),
    ],
)
def test_majority(name: str, votes: list[int], majority: int | None, plurality: int | None) -> None:
    for rule, expected in ((False, majority), (True, plurality)):
        targets, keep = majority_from_votes(np.array([votes]), plurality=rule)
        assert (targets.dtype, targets.shape, bool(keep[0])) == (np.float32, (1, 8), expected is not None)
        np.testing.assert_array_equal(targets[0], np.eye(8)[expected] if expected is not None else np.zeros(8))


def test_majority_as_a_data_set(folder: Path, votes_lines: list[str]) -> None:
    votes_lines[10] = "Training,fer0000009.png,5,5,0,0,0,0,0,0,0,0"
    votes_lines[11] = "Training,fer0000010.png,5,3,2,0,0,0,0,0,0,0"
    (folder / "fer2013new.csv").write_text("\n".join(votes_lines))
    data = open_dataset(f"ferplus-majority:{folder}")
    assert (data.name, data.label_set, data.notes["without_majority"]) == ("ferplus-majority", FERPLUS8, 4)
    assert data["train"].rows.tolist() == [r for r in range(28) if r not in (5, 9, 10)]
    assert (data["train"].targets.max(axis=1) == 1).all()
    np.testing.assert_array_equal(data["val"].labels, [POSITION[r % 7] for r in data["val"].rows])
    more = open_dataset(f"ferplus-majority:{folder},plurality=1")
    assert set(more["train"].rows) - set(data["train"].rows) == {10}
    with pytest.raises(ConfigError, match="plurality must be 0 or 1"):
        open_dataset(f"ferplus-majority:{folder},plurality=2")


def test_votes_for_rows_of_fer2013(folder: Path) -> None:
    votes = votes_by_split(folder, read_fer2013_csv(folder))["val"]
    assert votes.shape == (7, 10)
    assert votes[2].tolist() == [0] * 9 + [10]  # Row 30.
    assert votes[0][POSITION[0]] == 7
    assert VOTE_NAMES[8:] == ("unknown", "nf")


def test_votes_of_other_rows_are_refused(folder: Path, votes_lines: list[str], csv_lines: list[str]) -> None:
    votes, csv = folder / "fer2013new.csv", folder / "fer2013.csv"
    data = read_fer2013_csv(csv)
    found = votes_by_split(folder, data)
    assert {k: v.shape for k, v in found.items()} == {"train": (28, 10), "val": (7, 10), "test": (7, 10)}
    votes.write_text("\n".join([votes_lines[0], *reversed(votes_lines[1:])]))
    with pytest.raises(DataError, match="data row 0 is of PrivateTest, and of Training in fer2013"):
        votes_by_split(votes, data)
    votes.write_text("\n".join(votes_lines))
    for gone, splits, message in (
        (5, ("train", "val"), "data row 27 is of Training, and of PublicTest"),  # all after it would be shifted
        (42, None, "42 rows, but fer2013 was read from 41"),
    ):
        csv.write_text("\n".join(csv_lines[:gone] + csv_lines[gone + 1 :]))
        with pytest.raises(DataError, match=message):
            votes_by_split(votes, open_dataset(csv, splits))
    votes.write_text("\n".join(votes_lines[:20]))
    with pytest.raises(DataError, match="19 rows, but fer2013 has row 27"):
        votes_by_split(votes, data)
    votes.write_text("\n".join(votes_lines))
    csv.write_text("\n".join([*csv_lines[:42], "x" + csv_lines[42]]))
    assert len(votes_by_split(votes, read_fer2013_csv(csv, skip_bad=True))["test"]) == 6


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("usage", "Training,fer0000009.png", "Train,fer0000009.png", "unknown Usage 'Train'"),
        ("word", "fer0000009.png,0", "fer0000009.png,x", "a vote is not a whole number"),
        ("negative", "fer0000009.png,0", "fer0000009.png,-1", "a vote is not a whole number"),
        ("huge", "fer0000009.png,0", "fer0000009.png,99999999999999999999", "a vote is not a whole number"),
        ("columns", "fer0000009.png,0", "fer0000009.png,0,0", "13 columns where the header has 12"),
    ],
)
def test_a_broken_vote_row(name: str, old: str, new: str, message: str, folder: Path) -> None:
    path = folder / "fer2013new.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(DataError, match=message) as error:
        read_ferplus(folder)
    assert f"{path}:11: " in str(error.value)
    data = read_ferplus(folder, skip_bad=True)
    assert data["train"].rows.tolist() == [r for r in range(28) if r not in (5, 9)]


def test_a_broken_face_row_does_not_shift_the_join(folder: Path, csv_lines: list[str]) -> None:
    csv_lines[4] = "9" + csv_lines[4][1:]
    (folder / "fer2013.csv").write_text("\n".join(csv_lines))
    with pytest.raises(DataError, match=r"fer2013.csv:5: unknown class 9"):
        read_ferplus(folder)
    data = read_ferplus(folder, skip_bad=True)
    assert data["train"].rows.tolist() == [r for r in range(28) if r not in (3, 5)]
    np.testing.assert_array_equal(data["train"].labels, [POSITION[r % 7] for r in data["train"].rows])


def test_files_that_do_not_belong_together(folder: Path, votes_lines: list[str], csv_lines: list[str]) -> None:
    path = folder / "fer2013new.csv"
    path.write_text("\n".join(votes_lines[:-1]))
    with pytest.raises(DataError, match=r"41 rows, but .* has 42"):
        read_ferplus(folder)
    path.write_text("\n".join(votes_lines[:28] + votes_lines[29:] + votes_lines[28:29]))
    with pytest.raises(DataError, match="data row 27 has another Usage"):
        read_ferplus(folder)
    path.write_text("Usage,neutral\nTraining,1\n")
    with pytest.raises(DataError, match="missing column happy, surprise"):
        read_ferplus(folder)
    path.write_text("")
    with pytest.raises(DataError, match="missing column"):
        read_ferplus(folder)
    path.write_text(HEAD)
    with pytest.raises(DataError, match="no usable rows"):
        read_ferplus(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"github.com/microsoft/FERPlus"):
        read_ferplus(folder)
