"""The parts of a README that results/ writes: the leaderboard and what attention bought."""

from __future__ import annotations

from pathlib import Path

from fer import paths
from fer.errors import DataError
from fer.evaluation import leaderboard, stored, twins
from fer.evaluation.results import read_results, write_text

LEADERBOARD = "leaderboard"
ATTENTION = "attention"
MAIN_DATA = "fer2013"


def markers(part: str) -> tuple[str, str]:
    """The two comments between which a part stands.

    >>> markers("leaderboard")
    ('<!-- leaderboard:start -->', '<!-- leaderboard:end -->')
    """
    return f"<!-- {part}:start -->", f"<!-- {part}:end -->"


def attention_text(root: str | Path | None = None) -> str:
    """Per pair of an attention net and its twin on FER2013's test split: a paragraph of five sentences with numbers."""
    base = Path(root or paths.results_dir())
    pairs = [
        (a, b)
        for a, b in twins.twin_pairs(read_results(base, MAIN_DATA))
        if all("test" in r.splits and r.predictions is not None for r in (a, b))
    ]
    if not pairs:
        return "No attention net and its twin have been scored yet."
    effects = twins.attention_effect(pairs, "test", stored.read_seeds(base, MAIN_DATA))
    return "\n\n".join(" ".join(twins.in_words(e)) for e in effects)


def fill(text: str, root: str | Path | None = None, name: str = "README") -> str:
    """A README's text with its parts made again: the leaderboard and, where it has the markers, what attention bought.

    Raises:
        DataError: a marker is missing, doubled, or a pair stands in the wrong order; no leaderboard below `root`.
    """
    text = _replaced(text, LEADERBOARD, leaderboard.readme_table(leaderboard.read(root)), name)
    if any(m in text for m in markers(ATTENTION)):
        text = _replaced(text, ATTENTION, attention_text(root), name)
    return text


def update(path: str | Path, root: str | Path | None = None) -> bool:
    """Fill a README in place.

    Returns:
        Whether anything changed.

    Raises:
        DataError: no README, wrong markers or no leaderboard.
    """
    old = _read(path)
    new = fill(old, root, str(path))
    if new != old:
        write_text(new, path)
    return new != old


def is_current(path: str | Path, root: str | Path | None = None) -> bool:
    """Does a README say what the results below `root` say?"""
    text = _read(path)
    return fill(text, root, str(path)) == text


def _read(path: str | Path) -> str:
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    return path.read_text(encoding="utf-8")


def _replaced(text: str, part: str, content: str, name: str) -> str:
    start, end = markers(part)
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise DataError(f"{name}: needs exactly one {start} followed by one {end}")
    before, rest = text.split(start)
    return f"{before}{start}\n{content}\n{end}{rest.split(end)[1]}"
