from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer.data.fer2013_csv import OFFICIAL_COUNTS, read_fer2013_csv
from fer.errors import DataError


def test_splits_faces_labels_and_rows_are_those_of_the_file(csv_file: Path, faces: np.ndarray) -> None:
    data = read_fer2013_csv(csv_file)
    assert (data.name, data.label_set.name) == ("fer2013", "fer7")
    assert dict(data.titles) == {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 28, "val": 7, "test": 7}
    for key, rows in (("train", range(28)), ("val", range(28, 35)), ("test", range(35, 42))):
        np.testing.assert_array_equal(data[key].rows, list(rows))
        np.testing.assert_array_equal(data[key].faces, faces[list(rows)])
        np.testing.assert_array_equal(data[key].labels, [r % 7 for r in rows])
    assert data["train"].targets.dtype == np.float32
    assert (data["train"].targets.max(axis=1) == 1).all()


def test_official_counts_add_up() -> None:
    assert [sum(OFFICIAL_COUNTS[k]) for k in ("train", "val", "test")] == [28709, 3589, 3589]


def _shuffled_columns(lines: list[str]) -> str:
    parts = [line.split(",") for line in lines]
    return "\n".join(["emotion, Usage, pixels", *(f"{e},{u}, {p} " for e, p, u in parts[1:])])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("crlf", lambda ls: "\r\n".join(ls)),
        ("old mac", lambda ls: "\r".join(ls)),
        ("bom", lambda ls: "\ufeff" + "\n".join(ls)),
        ("blank lines", lambda ls: "\n\n" + "\n\n".join(ls) + "\n\n\n"),
        ("icml_face_data", _shuffled_columns),
        ("quoted", lambda ls: "\n".join([ls[0]] + ['"' + line.replace(",", '","') + '"' for line in ls[1:]])),
        ("double blanks", lambda ls: "\n".join([ls[0]] + [line.replace(" ", "  ") for line in ls[1:]])),
        ("case", lambda ls: "\n".join(ls).replace("Training", "training").replace("Usage", "USAGE")),
        ("leading zeros", lambda ls: "\n".join([ls[0]] + [line.replace(" 7 ", " 007 ") for line in ls[1:]])),
        ("another column", lambda ls: "\n".join(["id," + ls[0]] + [f"{i},{line}" for i, line in enumerate(ls[1:])])),
    ],
)
def test_the_same_data_however_it_is_written(
    name: str, write: Callable[[list[str]], str], csv_file: Path, csv_lines: list[str], tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_bytes(write(csv_lines).encode())
    assert read_fer2013_csv(other).fingerprint == read_fer2013_csv(csv_file).fingerprint


def test_a_stream_and_a_folder_are_read_as_well(csv_file: Path, csv_lines: list[str]) -> None:
    expected = read_fer2013_csv(csv_file).fingerprint
    assert read_fer2013_csv(io.StringIO("\ufeff" + "\n".join(csv_lines))).fingerprint == expected
    assert read_fer2013_csv(csv_file.parent).fingerprint == expected


def _edit(line: str, *, emotion: str | None = None, pixels: str | None = None, usage: str | None = None) -> str:
    e, p, u = line.split(",")
    return f"{emotion or e},{pixels if pixels is not None else p},{usage or u}"


def _pixel(line: str, value: str) -> str:
    tokens = line.split(",")[1].split()
    tokens[5] = value
    return _edit(line, pixels=" ".join(tokens))


BROKEN = [
    ("class 7", lambda s: _edit(s, emotion="7"), "unknown class 7"),
    ("class -1", lambda s: _edit(s, emotion="-1"), "unknown class -1"),
    ("class name", lambda s: _edit(s, emotion="happy"), "'happy' is not a whole number"),
    ("class float", lambda s: _edit(s, emotion="3.0"), "'3.0' is not a whole number"),
    ("usage", lambda s: _edit(s, usage="Testing"), "unknown Usage 'Testing'"),
    ("short", lambda s: _edit(s, pixels=s.split(",")[1].rsplit(" ", 1)[0]), "2303 pixels; expected 2304"),
    ("long", lambda s: _edit(s, pixels=s.split(",")[1] + " 1"), "2305 pixels; expected 2304"),
    ("no pixels", lambda s: _edit(s, pixels=""), "0 pixels; expected 2304"),
    ("256", lambda s: _pixel(s, "256"), "pixel 5 is 256; expected 0..255"),
    ("-1", lambda s: _pixel(s, "-1"), "pixel 5 is -1; expected 0..255"),
    ("float", lambda s: _pixel(s, "1.5"), "pixel 5 is '1.5'"),
    ("sign only", lambda s: _pixel(s, "--5"), "pixel 5 is '--5'"),
    ("word", lambda s: _pixel(s, "NaN"), "pixel 5 is 'NaN'"),
    ("exotic digit", lambda s: _pixel(s, "٣"), "not a whole number"),
    ("cut off", lambda s: s[:300], "2 columns where the header has 3"),
    ("too many columns", lambda s: s + ",1", "4 columns where the header has 3"),
    ("binary", lambda s: "\x00\x01\x02", "1 columns where the header has 3"),
]


@pytest.mark.parametrize(("name", "damage", "message"), BROKEN, ids=[b[0] for b in BROKEN])
def test_a_broken_row_is_named_by_file_and_line_and_can_be_skipped(
    name: str, damage: Callable[[str], str], message: str, csv_lines: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "broken.csv"
    csv_lines[10] = damage(csv_lines[10])  # File line 11, data row 9.
    csv_lines.insert(3, "")  # A blank line moves it to line 12 and is no row.
    path.write_text("\n".join(csv_lines), encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_fer2013_csv(path)
    assert f"{path}:12: " in str(error.value)
    assert message in str(error.value)
    assert "--skip-bad of scripts/prepare_data.py" in str(error.value), "other scripts have no such option"

    data = read_fer2013_csv(path, skip_bad=True)
    assert data["train"].rows.tolist() == [r for r in range(28) if r != 9]
    (line,) = data.notes["left_out"]
    assert line.startswith("broken.csv:12: ")
    assert message in line
    assert str(tmp_path) not in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("\n\n", "empty file"),
        ("emotion,pixels,Usage\n", "no usable rows"),
        (
            "emotion,pixels\n0,1 2 3\n",
            "missing column usage; the header has emotion, pixels; the competition's train.csv",
        ),
        ("a,b,c\n", "missing column emotion, pixels, usage"),
        ("PK\x03\x04 a zip file\n", "missing column"),
    ],
)
def test_files_that_are_no_such_csv(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    for skip_bad in (False, True):
        with pytest.raises(DataError, match=message):
            read_fer2013_csv(path, skip_bad=skip_bad)


def test_every_row_broken_is_an_error_even_when_skipping(csv_lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join([csv_lines[0]] + ["9" + line[1:] for line in csv_lines[1:]]))
    with pytest.raises(DataError, match="no usable rows"):
        read_fer2013_csv(path, skip_bad=True)


def test_absent_file_and_folder_without_csv(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_fer2013_csv(tmp_path / "fer2013.csv")
    with pytest.raises(DataError, match="holds neither"):
        read_fer2013_csv(tmp_path)
