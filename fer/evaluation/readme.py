"""The parts of a README that results/ writes: the leaderboard, the best ensemble, what attention bought, the spread
over seeds, the levers of training, the speed of the backends."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer import paths
from fer.errors import DataError
from fer.evaluation import ablations, leaderboard, stored, twins
from fer.evaluation.results import read_results, write_text
from fer.evaluation.seeds import Spread, change_in_points, in_points, seed_difference, seed_table
from fer.evaluation.speed import speed_table

LEADERBOARD = "leaderboard"
ATTENTION = "attention"
SEEDS = "seeds"
ENSEMBLES = "ensembles"
SPEED = "speed"
ABLATIONS = "ablations"
MAIN_DATA = "fer2013"
_VIEWS = {"single": "one view of a face", "flip": "face and mirror image", "tencrop": "ten crops of a face"}


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


def seeds_text(root: str | Path | None = None) -> str:
    """Table of the models that were trained more than once on FER2013, equally long, with nothing but another seed.

    A line for each model and length (mean, sample standard deviation and range), and one for an attention net minus its
    twin, seed by seed, with the 95 % interval of the mean difference.
    """
    rows = stored.read_seeds(root, MAIN_DATA)
    several = [s for s in seed_table(rows) if len(s.seeds) > 1]
    if not several:
        return "No model has been trained with several seeds yet."
    lines = [
        "| model | epochs | seeds | PublicTest | PrivateTest | range | macro-F1 |",
        "| --- | --: | --- | --: | --: | --- | --: |",
    ]
    for s in several:
        lines.append(
            f"| `{s.model}`{_by(s.recipe)} | {_or_dash(s.epochs)} | {', '.join(map(str, s.seeds))} | "
            f"{in_points(s.val_accuracy)} | {in_points(s.test_accuracy)} | {_range(s.test_accuracy)} | "
            f"{in_points(s.macro_f1)} |"
        )
    for with_, without in sorted({(s.twin_of, s.model) for s in several if s.twin_of}):
        found = {k: seed_difference(rows, with_, without, f"{k}_accuracy") for k in ("val", "test")}
        if (d := found["test"]) is not None and d.interval is not None:
            lines.append(
                f"| `{with_}` minus `{without}` | {_or_dash(d.epochs)} | {', '.join(map(str, d.seeds))} | "
                f"{change_in_points(found['val'])} | {change_in_points(d)} | {_range(d.difference, signed=True)} | – |"
            )
    return "\n".join(lines)


def ensembles_text(root: str | Path | None = None) -> str:
    """What the ensemble has that is best on FER2013's validation split, of those that were tried."""
    entries = stored.read_ensembles(root, MAIN_DATA) or []
    tried = [e for e in entries if e.get("scorings", 1)]
    if not (scored := [e for e in entries if e["test_accuracy"] is not None]):
        return "No ensemble has been scored yet."
    best = max(scored, key=lambda e: (e["val_accuracy"], -len(e["members"])))
    pairs = sorted(zip(best["weights"], best["members"], strict=True), reverse=True)
    members = ", ".join(f"`{name}` {100 * weight:.0f} %" for weight, name in pairs if weight >= 0.005)
    low, high = (100 * v for v in best["test_interval"])
    val, test = (100 * best[f"{k}_accuracy"] for k in ("val", "test"))
    tries = "one ensemble was" if len(tried) == 1 else f"{len(tried)} ensembles were"
    times = sum(e.get("scorings", 1) for e in tried)
    again = f", some again when a member had been trained further ({times} scorings in all)"
    return (
        f"On FER2013 {tries} tried{again if times > len(tried) else ''}: "
        "weighted means of calibrated probabilities, the weights fitted on PublicTest. "
        f"The best there ({val:.1f} %) reaches **{test:.1f} %** [{low:.1f}, {high:.1f}] on PrivateTest with "
        f"{_VIEWS[best['view']]}{_copies(best.get('leakage') or {})}. Its members: {members}."
    )


def _copies(without: Mapping[str, Any]) -> str:
    """What an ensemble has without the faces that have a copy in training; "" where that is not known."""
    if without.get("accuracy") is None:
        return ""
    low, high = (100 * v for v in without["accuracy_interval"])
    copies = f"the {without['exact'] + without['near']:,} faces that have a copy in training"
    return f" ({100 * without['accuracy']:.1f} % [{low:.1f}, {high:.1f}] without {copies})"


def fill(text: str, root: str | Path | None = None, name: str = "README") -> str:
    """A README's text with its parts made again: the leaderboard and, where it has the markers, the rest.

    Raises:
        DataError: a marker is missing, doubled, or a pair stands in the wrong order; no leaderboard below `root`.
    """
    text = _replaced(text, LEADERBOARD, leaderboard.readme_table(leaderboard.read(root)), name)
    for part, content in (
        (ATTENTION, attention_text),
        (ENSEMBLES, ensembles_text),
        (SEEDS, seeds_text),
        (ABLATIONS, ablations.text),
        (SPEED, speed_table),
    ):
        if any(m in text for m in markers(part)):
            text = _replaced(text, part, content(root), name)
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


def _by(recipe: str) -> str:
    return f" by recipe {recipe}" if recipe else ""


def _or_dash(value: object) -> str:
    return "–" if value is None else str(value)


def _range(s: Spread | None, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return "–" if s is None else f"{100 * s.low:{sign}.1f} to {100 * s.high:{sign}.1f}"


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
