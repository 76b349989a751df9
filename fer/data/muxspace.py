"""Muxspace's facial expressions: data/legend.csv (user.id, image, emotion) and the pictures in images/.

https://github.com/muxspace/facial_expressions: 13,690 rows, 96 % of them by three annotators; 92 % of the faces are
neutral or happy. Eight emotions in 15 spellings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer.data.checks import RowChecker, one_hot, open_text
from fer.data.dataset import SPLITS, Dataset, Split
from fer.data.fer2013_csv import cells
from fer.data.pictures import read_pictures
from fer.data.splits import SEED, TEST_FRACTION, VAL_FRACTION, grouped_split
from fer.errors import ConfigError, DataError
from fer.labels import AFFECTNET8, FER7, class_name

LEGEND = "legend.csv"
IMAGES = "images"
SIZE_PX = 128
# Usable faces per class in FER7 order, all splits together: one per picture, the one with a tie and contempt left out.
COUNTS: tuple[int, ...] = (252, 208, 21, 5693, 267, 367, 6864)


@dataclass(frozen=True)
class Entry:
    """What the legend says about one picture.

    Attributes:
        image: File name in images/.
        emotions: Canonical class -> number of rows that say so.
        row: 0-based data row of its first mention.
        line: 1-based line of its first mention.
    """

    image: str
    emotions: Mapping[str, int]
    row: int
    line: int


def read_muxspace(
    path: str | Path, *, skip_bad: bool = False, seed: int = SEED, size_px: int = SIZE_PX, contempt: int = 0
) -> Dataset:
    """Read the Muxspace faces; train, val and test are cut here, 70/15/15 per class.

    A picture counts once: with several rows the emotion that most of them name is taken, and a picture whose leading
    emotions tie is left out (`notes["pictures_with_a_tie"]`). Identical pictures under several names stay on one side
    of the split, and each keeps its own emotion; `notes` counts them and those that disagree.

    Args:
        path: The repository's folder, its data/ folder or the legend.
        skip_bad: Leave broken rows and absent or broken pictures out (listed in `notes["left_out"]`).
        seed: Of the split.
        size_px: Largest side at which faces are stored, in grey. The default keeps the usual 128 px pictures as they
            are (0.2 GB in all); 224 px, as the reference project used them, would take 0.7 GB and show no more.
        contempt: 1 keeps the few pictures with contempt (label set affectnet8), 0 drops and counts them (fer7).

    Returns:
        Data set "muxspace" of grey faces; `rows` is the data row of the legend that mentions the picture first.

    Raises:
        ConfigError: contempt is neither 0 nor 1.
        DataError: no legend or no pictures, an unknown emotion, a picture that is absent or broken (names it).
    """
    if contempt not in (0, 1):
        raise ConfigError(f"muxspace: contempt must be 0 (drop) or 1 (keep), got {contempt!r}")
    checker = RowChecker(skip_bad)
    legend = locate_legend(path)
    images = _images_of(legend)
    entries = read_legend(legend, checker)
    notes: dict[str, object] = {"split_seed": seed, "rows_for_a_picture_named_before": _repeated(entries)}
    label_set = AFFECTNET8 if contempt else FER7
    chosen: list[tuple[Entry, str]] = []
    ties = dropped = 0
    for entry in entries:
        emotion = plurality(entry.emotions)
        ties += emotion is None
        if emotion is None:
            continue
        if emotion not in label_set.names:
            dropped += 1
        elif not (images / entry.image).is_file():
            checker.reject(legend, entry.line, f"{entry.image} is not in {images.name}/")
        else:
            chosen.append((entry, emotion))
    notes |= {"pictures_with_a_tie": ties, "contempt_dropped": dropped}
    notes["pictures_without_a_row"] = len(
        {p.name for p in images.iterdir() if not p.name.startswith(".")} - {e.image for e in entries}
    )
    got = read_pictures([images / e.image for e, _ in chosen], size_px, 1, checker)
    if not len(got):
        raise DataError(f"{legend}: not one usable picture")
    chosen = [chosen[i] for i in got.kept]
    labels = np.array([label_set.index(emotion) for _, emotion in chosen], dtype=np.int64)
    rows = np.array([e.row for e, _ in chosen], dtype=np.int64)
    where = grouped_split(
        [e.image for e, _ in chosen], labels, got.digests, {"test": TEST_FRACTION, "val": VAL_FRACTION}, seed
    )
    targets = one_hot(labels, len(label_set))
    splits = {s: Split(got.faces[where == s], targets[where == s], rows[where == s]) for s in SPLITS if s in where}
    notes |= got.notes() | {"identical_images_that_disagree": _disagreeing(got.digests, labels)} | checker.notes()
    return Dataset("muxspace", label_set, splits, notes=notes)


def locate_legend(path: str | Path) -> Path:
    """The legend itself, given it, the folder it lies in, or the repository.

    Raises:
        DataError: there is none.
    """
    path = Path(path).expanduser()
    for place in (path, path / "data" / LEGEND, path / LEGEND):
        if place.is_file():
            return place
    raise DataError(f"{path}: no data/{LEGEND} there; git clone https://github.com/muxspace/facial_expressions has it")


def read_legend(path: Path, checker: RowChecker) -> list[Entry]:
    """Parse and check the legend: one entry per picture, in the order of first mention.

    Raises:
        DataError: absent or empty file, missing column, or a broken row (names file and line).
    """
    said: dict[str, Counter[str]] = {}
    first: dict[str, tuple[int, int]] = {}
    with open_text(path) as lines:
        numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
        head = [c.lower() for c in cells(next(numbered, (0, ""))[1])]
        missing = [c for c in ("image", "emotion") if c not in head]
        if missing:
            raise DataError(f"{path}:1: missing column {', '.join(missing)}; expected user.id, image, emotion")
        at_image, at_emotion = head.index("image"), head.index("emotion")
        for row, (n, line) in enumerate(numbered):
            fields = cells(line)
            if len(fields) != len(head):
                checker.reject(path, n, f"{len(fields)} columns where the header has {len(head)}")
                continue
            image = fields[at_image]
            if not image or image in (".", "..") or "/" in image or "\\" in image:
                checker.reject(path, n, f"{image!r} is not the name of a file in {IMAGES}/")
                continue
            try:
                emotion = class_name(fields[at_emotion])
            except ConfigError as e:
                checker.reject(path, n, str(e))
                continue
            said.setdefault(image, Counter())[emotion] += 1
            first.setdefault(image, (row, n))
    if not said:
        raise DataError(f"{path}: no usable rows; expected a header and rows of user.id, image, emotion")
    return [Entry(image, said[image], *first[image]) for image in said]


def plurality(counts: Mapping[str, int]) -> str | None:
    """What most say; None where the leaders tie.

    >>> plurality({"sad": 2, "fear": 1}), plurality({"sad": 1, "surprise": 1})
    ('sad', None)
    """
    best = max(counts.values())
    leaders = [name for name, n in counts.items() if n == best]
    return leaders[0] if len(leaders) == 1 else None


def _images_of(legend: Path) -> Path:
    for place in (legend.parent.parent / IMAGES, legend.parent / IMAGES):
        if place.is_dir():
            return place
    raise DataError(f"{legend}: no folder {IMAGES}/ beside its folder; expected data/{LEGEND} and {IMAGES}/")


def _repeated(entries: Iterable[Entry]) -> int:
    return sum(sum(e.emotions.values()) - 1 for e in entries)


def _disagreeing(digests: list[bytes], labels: np.ndarray) -> int:
    """Pictures that have an identical one of another class."""
    classes: dict[bytes, set[int]] = {}
    for digest, label in zip(digests, labels, strict=True):
        classes.setdefault(digest, set()).add(int(label))
    return sum(len(classes[d]) > 1 for d in digests)
