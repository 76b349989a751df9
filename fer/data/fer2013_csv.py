"""FER2013 as the challenge published it: one CSV with a class, 48 x 48 pixels and a Usage per row.

Goodfellow et al. 2013, "Challenges in Representation Learning: A report on three machine learning contests".
Files known: fer2013.csv (emotion,pixels,Usage) and icml_face_data.csv (emotion, Usage, pixels; blanks in the header).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from fer.data.checks import RowChecker, one_hot, open_text
from fer.data.dataset import Dataset, Split
from fer.errors import DataError
from fer.labels import FER7

SIDE_PX = 48
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
USAGES = {"training": "train", "publictest": "val", "privatetest": "test"}
TITLES = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
# Rows per class in FER7 order, as in the challenge's own file.
OFFICIAL_COUNTS: dict[str, tuple[int, ...]] = {
    "train": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "val": (467, 56, 496, 895, 653, 415, 607),
    "test": (491, 55, 528, 879, 594, 416, 626),
}
_COLUMNS = ("emotion", "pixels", "usage")
# Looking a token up is several times faster than int() and rejects everything outside 0..255 by the way.
_BYTE = {str(v): v for v in range(256)}
_WHOLE = re.compile(r"[+-]?[0-9]+").fullmatch


@dataclass(frozen=True, eq=False)
class Fer2013Rows:
    """Every usable row of the CSV, in file order.

    Attributes:
        faces: uint8 (N, 48, 48).
        labels: int64 (N,), FER7 class.
        usage: (N,) strings "train", "val" or "test".
        rows: int64 (N,), 0-based data row in the file (rows left out are counted, blank lines are not).
        total: Data rows in the file, those left out included.
    """

    faces: np.ndarray
    labels: np.ndarray
    usage: np.ndarray
    rows: np.ndarray
    total: int


def read_fer2013_csv(source: str | Path | TextIO, *, skip_bad: bool = False, seed: int = 0) -> Dataset:
    """Read FER2013 from its CSV; Training becomes train, PublicTest val, PrivateTest test.

    Args:
        source: The CSV, a folder that holds fer2013.csv or icml_face_data.csv, or an open text stream.
        skip_bad: Leave broken rows out (listed in `notes["left_out"]`) instead of raising.
        seed: Unused; the splits are the file's own.

    Returns:
        Data set "fer2013" with one-hot targets over FER7.

    Raises:
        DataError: absent or empty file, missing column, or a broken row (names file and line).
    """
    checker = RowChecker(skip_bad)
    table = read_rows(source, checker)
    targets = one_hot(table.labels, len(FER7))
    splits = split_by_usage(table.faces, targets, table.rows, table.usage)
    return Dataset("fer2013", FER7, splits, {k: TITLES[k] for k in splits}, notes=checker.notes())


def split_by_usage(faces: np.ndarray, targets: np.ndarray, rows: np.ndarray, usage: np.ndarray) -> dict[str, Split]:
    """Arrays of all rows cut into the splits that occur in `usage`, file order kept."""
    return {k: Split(faces[usage == k], targets[usage == k], rows[usage == k]) for k in TITLES if (usage == k).any()}


def read_rows(source: str | Path | TextIO, checker: RowChecker) -> Fer2013Rows:
    """Parse and check the CSV (about 4 s for the whole of FER2013).

    Raises:
        DataError: see `read_fer2013_csv`.
    """
    opened: AbstractContextManager[TextIO]
    if isinstance(source, (str, Path)):
        path = locate_csv(source)
        name, opened = str(path), open_text(path)
    else:
        name, opened = str(getattr(source, "name", "stream")), nullcontext(source)
    faces, labels, usages, rows, total = bytearray(), [], [], [], 0
    with opened as lines:
        numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
        order = _header(numbered, name)
        for total, (n, line) in enumerate(numbered, 1):
            try:
                label, pixels, usage = _parse(line, order)
            except ValueError as e:
                checker.reject(name, n, str(e))
                continue
            faces += pixels
            labels.append(label)
            usages.append(usage)
            rows.append(total - 1)
    if not labels:
        raise DataError(f"{name}: no usable rows; expected a header and rows of emotion, pixels, Usage")
    shaped = np.frombuffer(bytes(faces), dtype=np.uint8).reshape(-1, SIDE_PX, SIDE_PX)
    return Fer2013Rows(shaped, np.array(labels), np.array(usages), np.array(rows, dtype=np.int64), total)


def locate_csv(path: str | Path) -> Path:
    """The CSV itself, given it or the folder it lies in.

    Raises:
        DataError: there is none.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        if found := find_csv(path):
            return found
        raise DataError(f"{path}: holds neither {' nor '.join(CSV_NAMES)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the FER2013 CSV (scripts/prepare_data.py says how to get it)")
    return path


def find_csv(folder: Path, names: Sequence[str] = CSV_NAMES) -> Path | None:
    """The first of some files that lies in a folder, in any capitalisation; None where none does."""
    there = sorted(p for p in folder.iterdir() if p.name.lower() in names and p.is_file())
    return min(there, key=lambda p: (names.index(p.name.lower()), p.name not in names), default=None)


def cells(line: str) -> list[str]:
    """Fields of one line without blanks and quotes around them (no field of these files holds a comma)."""
    return [c.strip().strip('"').strip() for c in line.rstrip("\r\n").split(",")]


def _header(numbered: Iterable[tuple[int, str]], name: str) -> tuple[int, int, int, int]:
    first = next(iter(numbered), None)
    if first is None:
        raise DataError(f"{name}: empty file; expected the columns emotion, pixels, Usage")
    # A stream that was opened without utf-8-sig still carries its byte order mark.
    head = [c.lower() for c in cells(first[1].lstrip("\ufeff"))]
    missing = [c for c in _COLUMNS if c not in head]
    if missing:
        hint = ""
        if missing == ["usage"]:
            hint = "; the competition's train.csv lacks it: take fer2013.csv or icml_face_data.csv"
        got = ", ".join(c[:40] for c in head[:6])
        raise DataError(f"{name}:{first[0]}: missing column {', '.join(missing)}; the header has {got}{hint}")
    return head.index("emotion"), head.index("pixels"), head.index("usage"), len(head)


def _parse(line: str, order: tuple[int, int, int, int]) -> tuple[int, bytes, str]:
    """(class, 2304 bytes, split key) of one line; ValueError says what is wrong with it."""
    fields = cells(line)
    if len(fields) != order[3]:
        raise ValueError(f"{len(fields)} columns where the header has {order[3]}")
    emotion, pixels, usage = (fields[i] for i in order[:3])
    if not _WHOLE(emotion):
        raise ValueError(f"class {emotion[:20]!r} is not a whole number 0..{len(FER7) - 1}")
    label = int(emotion[:20])
    if not 0 <= label < len(FER7):
        raise ValueError(f"unknown class {label}; expected 0..{len(FER7) - 1} ({', '.join(FER7.names)})")
    if usage.lower() not in USAGES:
        raise ValueError(f"unknown Usage {usage[:20]!r}; expected Training, PublicTest or PrivateTest")
    tokens = pixels.split()
    if len(tokens) != SIDE_PX * SIDE_PX:
        raise ValueError(f"{len(tokens)} pixels; expected {SIDE_PX * SIDE_PX} ({SIDE_PX} x {SIDE_PX})")
    try:
        values = bytes(map(_BYTE.__getitem__, tokens))
    except KeyError:
        values = _parse_slowly(tokens)
    return label, values, USAGES[usage.lower()]


def _parse_slowly(tokens: list[str]) -> bytes:
    """Pixels written unusually ("007"), and the exact complaint where they are no pixels."""
    values = []
    for i, token in enumerate(tokens):
        if not _WHOLE(token):
            raise ValueError(f"pixel {i} is {token[:20]!r}, not a whole number 0..255")
        value = int(token[:20])
        if not 0 <= value <= 255:
            raise ValueError(f"pixel {i} is {value}; expected 0..255")
        values.append(value)
    return bytes(values)
