"""FER+ : ten people's votes for every row of the FER2013 CSV, joined row for row.

Barsoum, Zhang, Canton Ferrer and Zhang 2016, "Training Deep Networks for Facial Expression Recognition with
Crowd-Sourced Label Distribution" (file fer2013new.csv).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer.data.checks import RowChecker, one_hot, open_text
from fer.data.dataset import Dataset
from fer.data.fer2013_csv import TITLES, USAGES, cells, find_csv, locate_csv, read_rows, split_by_usage
from fer.errors import ConfigError, DataError
from fer.labels import FERPLUS8, canonical

VOTES_FILE = "fer2013new.csv"
VOTE_NAMES = (*FERPLUS8.names, "unknown", "nf")
_VOTE = re.compile(r"[0-9]{1,9}").fullmatch
_STRANGERS = "the two do not belong together, which nothing but the order of their rows joins"


@dataclass(frozen=True, eq=False)
class Votes:
    """The vote file.

    Attributes:
        counts: int64 (N, 10), votes in the order of VOTE_NAMES (eight expressions, unknown, no face).
        usage: (N,) strings "train", "val" or "test".
        rows: int64 (N,), 0-based data row, equal to that of the FER2013 CSV.
        total: Data rows in the file, those left out included.
    """

    counts: np.ndarray
    usage: np.ndarray
    rows: np.ndarray
    total: int


def read_ferplus(path: str | Path, *, skip_bad: bool = False, seed: int = 0) -> Dataset:
    """Read FER2013's faces with FER+ targets.

    Args:
        path: Folder with the FER2013 CSV and fer2013new.csv, or the FER2013 CSV itself with fer2013new.csv beside it.
        skip_bad: Leave broken rows out (listed in `notes["left_out"]`) instead of raising.
        seed: Unused; the splits are the file's own.

    Returns:
        Data set "ferplus" over FERPLUS8 whose targets are normalised votes (`targets_from_votes`);
        `notes["without_expression"]` counts the rows dropped because the crowd saw no expression in them.

    Raises:
        DataError: a file is absent or broken, or the two do not belong together.
    """
    return _joined(path, "ferplus", "without_expression", RowChecker(skip_bad), targets_from_votes)


def read_ferplus_majority(path: str | Path, *, skip_bad: bool = False, seed: int = 0, plurality: int = 0) -> Dataset:
    """Read FER2013's faces with one FER+ class each, as the authors' "majority" mode does.

    Args:
        path, skip_bad, seed: As in `read_ferplus`.
        plurality: 0 = the authors' rule: more than half of the votes (single votes left out) must agree. 1 = the
            leading category is enough where it leads alone; keeps 2,300 faces more, the doubtful ones.

    Returns:
        Data set "ferplus-majority" over FERPLUS8 with one-hot targets; `notes["without_majority"]` counts the rows
        dropped (ties, no majority, or the crowd saw no expression).

    Raises:
        ConfigError: plurality is neither 0 nor 1.
        DataError: see `read_ferplus`.
    """
    if plurality not in (0, 1):
        raise ConfigError(f"ferplus-majority: plurality must be 0 or 1, got {plurality!r}")
    checker = RowChecker(skip_bad)
    return _joined(
        path, "ferplus-majority", "without_majority", checker, lambda c: majority_from_votes(c, bool(plurality))
    )


def majority_from_votes(counts: np.ndarray, plurality: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Turn votes into one class, as the authors of FER+ do for "majority" (github.com/microsoft/FERPlus, ferplus.py).

    A category with a single vote counts as none. The leading category must have more than half of what is left
    (`plurality`: more than any other) and be an expression; other rows are dropped. A tie never has either.

    Args:
        counts: (N, 10) votes in the order of VOTE_NAMES.

    Returns:
        targets float32 (N, 8) one-hot, zero where dropped; keep bool (N,).

    >>> majority_from_votes(np.array([[6, 0, 0, 0, 3, 1, 0, 0, 0, 0], [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]]))[1].tolist()
    [True, False]
    """
    c = np.where(np.asarray(counts) >= 2, counts, 0).astype(np.int64)
    leader, best = c.argmax(axis=1), c.max(axis=1)
    enough = (c == best[:, None]).sum(axis=1) == 1 if plurality else 2 * best > c.sum(axis=1)
    keep = enough & (best > 0) & (leader < len(FERPLUS8))
    targets = one_hot(np.where(keep, leader, 0), len(FERPLUS8)) * keep[:, None]
    return targets.astype(np.float32), keep


def targets_from_votes(counts: np.ndarray, min_votes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Turn votes into probability vectors, as the authors of FER+ do for their cross-entropy training.

    A category with a single vote is an outlier and counts as none. A row is dropped where unknown or no-face then
    leads alone, or where nothing is left. The votes of the eight expressions are normalised. (The authors' code also
    cuts each row to its three leading categories; that is not done here.)

    Args:
        counts: (N, 10) votes in the order of VOTE_NAMES.
        min_votes: Votes that a category needs to count; 1 keeps the outliers.

    Returns:
        targets float32 (N, 8), zero where dropped; keep bool (N,).

    >>> targets, keep = targets_from_votes(np.array([[4, 0, 0, 1, 4, 2, 0, 0, 0, 0], [3, 0, 0, 0, 0, 0, 0, 0, 7, 0]]))
    >>> (10 * targets[0]).round().astype(int).tolist(), keep.tolist()
    ([4, 0, 0, 0, 4, 2, 0, 0], [True, False])
    """
    c = np.where(np.asarray(counts) >= min_votes, counts, 0).astype(np.float64)
    n = len(FERPLUS8)
    best = c[:, :n].max(axis=1)
    keep = (best > 0) & (best >= c[:, n:].max(axis=1))
    targets = np.where(keep[:, None], c[:, :n] / np.maximum(c[:, :n].sum(axis=1, keepdims=True), 1), 0)
    return targets.astype(np.float32), keep


def votes_by_split(path: str | Path, dataset: Dataset) -> dict[str, np.ndarray]:
    """Raw votes for every open split of a data set "fer2013".

    Nothing but the order of the rows joins the two, so rows that were taken out, put in or moved are looked for: every
    row must have the Usage that it has in the vote file, and the last row must be the last one there.

    Args:
        path: fer2013new.csv, or the folder it lies in.

    Returns:
        Split -> int64 (N, 10) in the order of VOTE_NAMES.

    Raises:
        DataError: absent or broken file, or votes that do not belong to these rows.
    """
    path = Path(path).expanduser()
    found = find_csv(path, (VOTES_FILE,)) or path / VOTES_FILE if path.is_dir() else path
    votes = read_votes(found, RowChecker())
    for key, split in dataset.splits.items():
        if len(split) and split.rows.max() >= votes.total:
            raise DataError(f"{path}: {votes.total} rows, but {dataset.name} has row {split.rows.max()}; {_STRANGERS}")
        if len(wrong := np.flatnonzero(votes.usage[split.rows] != key)):
            row = int(split.rows[wrong[0]])
            told = f"data row {row} is of {TITLES[str(votes.usage[row])]}, and of {TITLES[key]} in {dataset.name}"
            raise DataError(f"{path}: {told}; {_STRANGERS}")
    n = max((int(s.rows.max()) + 1 for s in dataset.splits.values() if len(s)), default=0)
    whole = set(dataset.splits) == set(TITLES) and "left_out" not in dataset.notes
    if whole and n != votes.total:
        raise DataError(f"{path}: {votes.total} rows, but {dataset.name} was read from {n}; {_STRANGERS}")
    return {key: votes.counts[split.rows] for key, split in dataset.splits.items()}


def read_votes(path: str | Path, checker: RowChecker) -> Votes:
    """Parse and check fer2013new.csv.

    Raises:
        DataError: absent or empty file, missing column, or a broken row (names file and line).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; FER+ publishes it as {VOTES_FILE} (github.com/microsoft/FERPlus)")
    counts, usages, rows, total = [], [], [], 0
    with open_text(path) as lines:
        numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
        head = [canonical(c) for c in cells(next(numbered, (0, ""))[1])]
        missing = [c for c in ("usage", *VOTE_NAMES) if c not in head]
        if missing:
            raise DataError(f"{path}:1: missing column {', '.join(missing)}; expected Usage, Image name and ten votes")
        columns = [head.index(c) for c in VOTE_NAMES]
        for total, (n, line) in enumerate(numbered, 1):
            fields = cells(line)
            try:
                if len(fields) != len(head):
                    raise ValueError(f"{len(fields)} columns where the header has {len(head)}")
                usage = fields[head.index("usage")]
                if usage.lower() not in USAGES:
                    raise ValueError(f"unknown Usage {usage[:20]!r}; expected Training, PublicTest or PrivateTest")
                if not all(_VOTE(fields[i]) for i in columns):
                    raise ValueError("a vote is not a whole number 0 or more, of at most nine digits")
            except ValueError as e:
                checker.reject(path, n, str(e))
                continue
            counts.append([int(fields[i]) for i in columns])
            usages.append(USAGES[usage.lower()])
            rows.append(total - 1)
    if not counts:
        raise DataError(f"{path}: no usable rows")
    return Votes(np.array(counts, dtype=np.int64), np.array(usages), np.array(rows, dtype=np.int64), total)


def _joined(
    path: str | Path,
    name: str,
    dropped: str,
    checker: RowChecker,
    make_targets: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> Dataset:
    """FER2013's faces with targets made of the votes; `dropped` is the note that counts rows without one."""
    csv = locate_csv(path)
    votes_file = find_csv(csv.parent, (VOTES_FILE,)) or csv.with_name(VOTES_FILE)
    votes = read_votes(votes_file, checker)
    table = read_rows(csv, checker)
    if table.total != votes.total:
        raise DataError(f"{votes_file}: {votes.total} rows, but {csv} has {table.total}; they are joined row for row")
    at = {int(r): i for i, r in enumerate(votes.rows)}
    joined = [(i, at[int(r)]) for i, r in enumerate(table.rows) if int(r) in at]
    keep_face, keep_vote = np.array(joined, dtype=np.int64).reshape(-1, 2).T
    different = np.flatnonzero(table.usage[keep_face] != votes.usage[keep_vote])
    if len(different):
        row = int(table.rows[keep_face][different[0]])
        raise DataError(
            f"{votes_file}: data row {row} has another Usage than in {csv}; the files do not belong together"
        )
    targets, known = make_targets(votes.counts[keep_vote])
    kept = keep_face[known]
    if not len(kept):
        raise DataError(f"{votes_file}: not one row is left")
    splits = split_by_usage(table.faces[kept], targets[known], table.rows[kept], table.usage[kept])
    notes = {dropped: int((~known).sum())} | checker.notes()
    return Dataset(name, FERPLUS8, splits, {k: TITLES[k] for k in splits}, notes=notes)
