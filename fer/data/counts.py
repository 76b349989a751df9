"""Counts per class and split beside the official ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer.data.dataset import SPLITS, Dataset
from fer.data.fer2013_csv import OFFICIAL_COUNTS
from fer.data.muxspace import COUNTS as MUXSPACE_COUNTS
from fer.labels import FER7


def _sum(*splits: str) -> tuple[int, ...]:
    return tuple(sum(c) for c in zip(*(OFFICIAL_COUNTS[s] for s in splits), strict=True))


_Known = dict[tuple[str, ...], tuple[int, ...]]
_OWN_SPLITS: _Known = {(s,): _sum(s) for s in SPLITS}
# Data set -> the forms that it comes in: some of our splits together -> faces per FER7 class that are known to be in
# them. FER2013's folder release merges both test splits and its val comes from train, and some copies keep the
# challenge's own splits; Muxspace has no splits of its own.
KNOWN_COUNTS: dict[str, tuple[_Known, ...]] = {
    "fer2013": (_OWN_SPLITS,),
    "fer2013-folders": ({("train", "val"): _sum("train"), ("test",): _sum("val", "test")}, _OWN_SPLITS),
    "muxspace": ({SPLITS: MUXSPACE_COUNTS},),
}


@dataclass(frozen=True)
class CountRow:
    """One line of the table.

    Attributes:
        title: What is counted.
        counts: One number per class.
        difference: Counts less the official ones; None where nothing official is known.
    """

    title: str
    counts: tuple[int, ...]
    difference: tuple[int, ...] | None = None


def class_counts(dataset: Dataset, split: str) -> np.ndarray:
    """(C,) int64: faces per likeliest class; zeros where the split is not there."""
    n = len(dataset.label_set)
    if split not in dataset.splits:
        return np.zeros(n, dtype=np.int64)
    return np.bincount(dataset[split].labels, minlength=n)


def count_rows(dataset: Dataset) -> list[CountRow]:
    """The table's lines: every split, then sums that have an official counterpart where that is not a split itself."""
    groups = _known(dataset)
    lines = []
    for split in (s for s in SPLITS if s in dataset.splits):
        counts = class_counts(dataset, split)
        lines.append(_row(dataset.title(split), counts, groups.get((split,))))
    for ours, official in groups.items():
        if len(ours) > 1:
            counts = np.sum([class_counts(dataset, s) for s in ours], axis=0)
            lines.append(_row(" + ".join(ours), counts, official))
    return lines


def _known(dataset: Dataset) -> _Known:
    """Of the forms that a data set comes in, the one that it is nearest to."""
    forms = KNOWN_COUNTS.get(dataset.name, ()) if dataset.label_set == FER7 else ()

    def off(groups: _Known) -> int:
        return sum(abs(int(sum(class_counts(dataset, s).sum() for s in k)) - sum(n)) for k, n in groups.items())

    return min(forms, key=off, default={})


def count_table(dataset: Dataset) -> str:
    """The counts as text; a count that differs from the official one is followed by the difference in brackets."""
    lines = count_rows(dataset)
    head = ["split", *dataset.label_set.names, "total"]
    body = [[r.title, *(_cell(c, d) for c, d in _cells(r))] for r in lines]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    text = [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in [head, *body]
    ]
    absent = [s for k in _known(dataset) for s in k if s not in dataset.splits]
    return "\n".join([*text, _verdict(lines, absent)])


def _row(title: str, counts: np.ndarray, known: tuple[int, ...] | None) -> CountRow:
    difference = None if known is None else tuple(int(d) for d in counts - np.array(known))
    return CountRow(title, tuple(int(c) for c in counts), difference)


def _cells(row: CountRow) -> list[tuple[int, int]]:
    d = row.difference or (0,) * len(row.counts)
    return [*zip(row.counts, d, strict=True), (sum(row.counts), sum(d))]


def _cell(count: int, difference: int) -> str:
    return f"{count} ({difference:+d})" if difference else str(count)


def _verdict(lines: list[CountRow], absent: list[str]) -> str:
    compared = [r for r in lines if r.difference is not None]
    if not compared:
        return "No official counts are known for this data set."
    different = sum(d != 0 for r in compared for d in r.difference or ())
    total = sum(sum(r.counts) for r in compared)
    if not different:
        lacking = f", but there is no {' and no '.join(absent)}" if absent else ""
        return f"All {total} faces: every count equals the official one{lacking}."
    return f"In brackets: difference from the official count ({different} of {7 * len(compared)} differ)."
