"""How much of a difference is the seed? Spread over runs that differ in nothing else (McNemar does not see it).

Runs are lines of seeds.csv (model, twin_of, seed, epochs, recipe, data, val_accuracy, test_accuracy, macro_f1), "" or
None where something is not known. Runs of different length, by different recipes or on different copies of the data are
different experiments. A run without a seed is left out; of two runs of a model with the same seed, length, recipe and
data the later line counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer.errors import DataError
from fer.evaluation.statistics import LEVEL, Interval

SCORES = ("val_accuracy", "test_accuracy", "macro_f1")
FEWEST = 3  # runs for which a deviation or an interval is told: those of two say next to nothing


@dataclass(frozen=True)
class Spread:
    """One score over several runs, in the unit of the score.

    Attributes:
        n: Runs.
        mean: Their mean.
        std: Sample standard deviation (n - 1); NaN for a single run.
        low, high: Smallest and greatest.
    """

    n: int
    mean: float
    std: float
    low: float
    high: float


@dataclass(frozen=True)
class SeedSummary:
    """The runs of one model that were equally long and by one recipe.

    Attributes:
        model: Its name.
        twin_of: The attention net whose twin it is, "" otherwise.
        epochs: Of every run; None where that is not known.
        recipe: Digest of their recipe, where other runs of the model were equally long by another; "" otherwise. With
            it stand the first digits of the data's fingerprint where there are several copies.
        seeds: In rising order.
        val_accuracy, test_accuracy, macro_f1: Fractions; None where no run was scored so.
    """

    model: str
    twin_of: str
    epochs: int | None
    recipe: str
    seeds: tuple[int, ...]
    val_accuracy: Spread | None
    test_accuracy: Spread | None
    macro_f1: Spread | None


@dataclass(frozen=True)
class SeedDifference:
    """Two models, trained equally long with the same seeds, one run against the other.

    Attributes:
        epochs: Of every run; None where that is not known.
        seeds: Those that both were trained with.
        a, b: Spread of each model over these seeds.
        difference: Spread of a - b, seed by seed, as a fraction.
        interval: 95 % interval of the mean difference (Student's t); None for fewer than three seeds.
    """

    epochs: int | None
    seeds: tuple[int, ...]
    a: Spread
    b: Spread
    difference: Spread
    interval: Interval | None


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """Mean, sample standard deviation and range.

    Raises:
        DataError: no values, or one that is not finite.

    >>> spread([0.5, 0.75, 1.0])
    Spread(n=3, mean=0.75, std=0.25, low=0.5, high=1.0)
    """
    v = np.asarray(values, dtype=np.float64)
    if v.ndim != 1 or not len(v) or not np.isfinite(v).all():
        raise DataError(f"expected the scores of one run or more, got {v.tolist()}")
    std = float(v.std(ddof=1)) if len(v) > 1 else float("nan")
    return Spread(len(v), float(v.mean()), std, float(v.min()), float(v.max()))


def seed_table(rows: Iterable[Mapping[str, Any]]) -> list[SeedSummary]:
    """One summary per model, number of epochs and recipe, in the order in which they first occur.

    Args:
        rows: Lines of seeds.csv.

    Raises:
        DataError: a line without model, or with a number that is none.
    """
    groups = _grouped(rows)
    lengths = [(model, epochs) for model, epochs, _ in groups]
    return [
        SeedSummary(
            model=model,
            twin_of=next((str(r["twin_of"]) for r in runs.values() if r.get("twin_of")), ""),
            epochs=epochs,
            recipe=recipe if lengths.count((model, epochs)) > 1 else "",
            seeds=tuple(sorted(runs)),
            **{key: _spread_of([_number(r, key) for r in runs.values()]) for key in SCORES},
        )
        for (model, epochs, recipe), runs in groups.items()
    ]


def seed_difference(
    rows: Iterable[Mapping[str, Any]], a: str, b: str, score: str = "test_accuracy"
) -> SeedDifference | None:
    """Model a minus model b, seed by seed; of several lengths of run that with most seeds, then the longest.

    Runs of one recipe are compared with runs of the same. Where no recipe is shared, as between models with recipes of
    their own, lengths of run count at which each model has one recipe alone.

    Args:
        rows: Lines of seeds.csv.
        a, b: Names of the models.
        score: One of `SCORES`.

    Returns:
        None where there is no seed with which both were trained equally long and scored.

    Raises:
        DataError: a line without model, or with a number that is none.
    """
    groups = _grouped(rows)
    found = []
    of = {name: [key for key in groups if key[0] == name] for name in (a, b)}
    pairs = [(one, other) for one in of[a] for other in of[b] if one[1:] == other[1:]]
    if not pairs:
        alone = {name: [k for k in keys if [e for _, e, _ in keys].count(k[1]) == 1] for name, keys in of.items()}
        pairs = [(one, other) for one in alone[a] for other in alone[b] if one[1] == other[1]]
    for pair in pairs:
        of_a, of_b = ({s: _number(r, score) for s, r in groups[key].items()} for key in pair)
        shared = tuple(s for s in sorted(of_a) if of_a[s] is not None and of_b.get(s) is not None)
        if shared:
            values = [np.array([scores[s] for s in shared], dtype=np.float64) for scores in (of_a, of_b)]
            epochs = pair[0][1]
            found.append((len(shared), epochs or 0, epochs, shared, values))
    if not found:
        return None
    _, _, epochs, shared, (va, vb) = max(found, key=lambda f: f[:2])
    return SeedDifference(epochs, shared, spread(va), spread(vb), spread(va - vb), _t_interval(va - vb))


def in_points(spread: Spread | None) -> str:
    """Mean of fractions in points, with the standard deviation of three runs or more; "–" for None.

    >>> in_points(Spread(3, 0.625, 0.01, 0.6, 0.65))
    '62.5 ± 1.0'
    """
    if spread is None:
        return "–"
    return f"{100 * spread.mean:.1f}" + f" ± {100 * spread.std:.1f}" * (spread.n >= FEWEST)


def change_in_points(d: SeedDifference | None) -> str:
    """Mean difference of fractions in points, with the interval of three seeds or more; "–" for None."""
    if d is None:
        return "–"
    mean = f"{100 * d.difference.mean:+.1f}"
    if d.interval is None:
        return mean
    return f"{mean} [{100 * d.interval.low:+.1f}, {100 * d.interval.high:+.1f}]"


def _t_interval(values: np.ndarray) -> Interval | None:
    from scipy.stats import t

    n = len(values)
    if n < FEWEST:
        return None
    half = float(t.ppf((1 + LEVEL) / 2, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Interval(float(values.mean()) - half, float(values.mean()) + half)


def _grouped(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int | None, str], dict[int, Mapping[str, Any]]]:
    """(model, epochs, recipe) -> seed -> run; runs whose recipe is not known count to the only one that is.

    Where there are several copies of the data, each copy makes a recipe of its own.
    """
    rows = list(rows)
    several = len({row.get("data") or "" for row in rows} - {""}) > 1
    out: dict[tuple[str, int | None, str], dict[int, Mapping[str, Any]]] = {}
    for number, row in enumerate(rows, start=1):
        if not row.get("model"):
            raise DataError(f"run {number} names no model: {dict(row)}")
        seed, epochs = _number(row, "seed"), _number(row, "epochs")
        if seed is not None:
            copy = f"data {row['data']}" if several and row.get("data") else ""
            how = ", ".join(filter(None, (str(row.get("recipe") or ""), copy)))
            key = str(row["model"]), None if epochs is None else int(epochs), how
            out.setdefault(key, {})[int(seed)] = row
    for model, length, recipe in list(out):
        known = [k for k in out if k[:2] == (model, length) and k[2]]
        if not recipe and len(known) == 1:  # one that is not known may be any: here there is but one
            out[known[0]] = out.pop((model, length, "")) | out[known[0]]
    return out


def _number(row: Mapping[str, Any], key: str) -> float | None:
    value = row.get(key)
    if value in (None, ""):
        return None
    try:
        return float(str(value))
    except ValueError as e:
        raise DataError(f"a run of {row['model']}: {key} is no number: {value!r}") from e


def _spread_of(values: Iterable[float | None]) -> Spread | None:
    known = [v for v in values if v is not None]
    return spread(known) if known else None
