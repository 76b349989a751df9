"""What a data set looks like: balance of its classes, sizes of its pictures, and a sheet with some of them."""

from __future__ import annotations

import hashlib

import numpy as np

from fer.data.counts import class_counts
from fer.data.dataset import SPLITS, Dataset
from fer.errors import ConfigError, DataError

_GAP, _MARGIN, _LINE = 3, 8, 14


def balance_table(dataset: Dataset) -> str:
    """Share of every class over all opened splits, and how much larger the largest is than the smallest, per split.

    Classes without a face are named and left out of the ratio.
    """
    keys = [s for s in SPLITS if s in dataset.splits]
    counts = {s: class_counts(dataset, s) for s in keys}
    total = np.sum(list(counts.values()), axis=0)
    names = dataset.label_set.names
    width = max(map(len, names))
    lines = []
    for i in np.argsort(-total, kind="stable"):
        share = total[i] / max(total.sum(), 1)
        lines.append(f"  {names[i]:<{width}}  {total[i]:>7}  {share:>6.1%}  {'#' * round(40 * share)}".rstrip())
    for split in keys:
        lines.append(f"  {imbalance(counts[split], names, dataset.title(split))}")
    return "\n".join(lines)


def imbalance(counts: np.ndarray, names: tuple[str, ...], title: str) -> str:
    """The largest class over the smallest, in a line.

    >>> imbalance(np.array([10, 0, 40]), ("angry", "fear", "happy"), "train")
    'train: imbalance 4.0 (40 happy, 10 angry); no fear'
    """
    present = np.flatnonzero(counts)
    if not len(present):
        return f"{title}: empty"
    most, least = int(counts.argmax()), int(present[counts[present].argmin()])
    empty = [n for n, c in zip(names, counts, strict=True) if not c]
    ratio = counts[most] / counts[least]
    line = f"{title}: imbalance {ratio:.1f} ({counts[most]} {names[most]}, {counts[least]} {names[least]})"
    return f"{line}; no {', '.join(empty)}" if empty else line


def stored_size(dataset: Dataset) -> str:
    """How faces are stored, for example "48 x 48 grey"."""
    height, width, *rest = next(iter(dataset.splits.values())).faces.shape[1:]
    return f"{width} x {height} {'RGB' if rest else 'grey'}"


def picture_grid(dataset: Dataset, per_class: int = 10, side_px: int = 72, seed: int = 0) -> np.ndarray:
    """A sheet with one row of faces per class, the class name beside them.

    Faces come from all opened splits, chosen by a seed and the same every time; a face that is nothing but one colour
    is shown like any other.

    Args:
        per_class: Faces in a row, 1..50.
        side_px: Side of a face on the sheet, 16..512.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ConfigError: a number out of range.
        DataError: no faces.
    """
    import cv2
    from PIL import Image, ImageDraw

    if not 1 <= per_class <= 50 or not 16 <= side_px <= 512:
        raise ConfigError(f"a sheet takes 1..50 faces of 16..512 px per class, got {per_class} of {side_px} px")
    rows = []
    for c, name in enumerate(dataset.label_set.names):
        mine = [(s, int(i)) for s, part in dataset.splits.items() for i in np.flatnonzero(part.labels == c)]
        mine.sort(key=lambda at: hashlib.sha256(f"{seed}/{at[0]}/{dataset[at[0]].rows[at[1]]}".encode()).digest())
        rows.append((f"{name} ({len(mine)})", mine[:per_class]))
    if not any(faces for _, faces in rows):
        raise DataError(f"{dataset.name}: no faces to show")
    step = side_px + _GAP
    left = _MARGIN + 7 * max(len(title) for title, _ in rows) + _MARGIN
    columns = max(len(faces) for _, faces in rows)
    sheet = Image.new("RGB", (left + columns * step + _MARGIN, 2 * _MARGIN + _LINE + len(rows) * step), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN // 2), f"{dataset.name} ({dataset.label_set.name})", fill="black")
    for r, (title, faces) in enumerate(rows):
        top = _MARGIN + _LINE + r * step
        draw.text((_MARGIN, top + side_px // 2 - _LINE // 2), title, fill="black")
        for k, (split, i) in enumerate(faces):
            face = dataset[split].faces[i]
            shrink = cv2.INTER_AREA if face.shape[0] > side_px else cv2.INTER_LINEAR
            face = cv2.resize(face, (side_px, side_px), interpolation=shrink)
            sheet.paste(Image.fromarray(face).convert("RGB"), (left + k * step, top))
    return np.array(sheet)
