"""What did attention buy? Every attention net against its twin, the same net trained with attention switched off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer.errors import DataError
from fer.evaluation.calibration import CalibrationDifference, calibration_difference
from fer.evaluation.leaderboard import percent
from fer.evaluation.metrics import confusion_matrix
from fer.evaluation.results import ModelResult
from fer.evaluation.seeds import SeedDifference, seed_difference
from fer.evaluation.statistics import Interval, holm, macro_f1_difference, macro_f1_of, mcnemar

SIGNIFICANT = 0.05
# what a fair pair has in common: where metrics.json keeps it, and what to call it
_SHARED = (
    (("trained", "epochs"), "epochs"),
    (("trained", "recipe_name"), "recipe"),
    (("trained", "data"), "training data"),
    (("trained", "images"), "training images"),
    (("checkpoint", "seed"), "seed"),
    (("marks", "distilled_from"), "teacher"),
    (("marks", "pretrained"), "pretraining"),
)


@dataclass(frozen=True)
class RecallEffect:
    """Recall of one class with attention minus without.

    Attributes:
        n: Faces of the class.
        difference: As a fraction. interval: its 95 % paired bootstrap interval.
        p: Exact McNemar test on the faces of the class. p_holm: after Holm's correction over the classes.
    """

    n: int
    difference: float
    interval: Interval
    p: float
    p_holm: float


@dataclass(frozen=True, eq=False)
class TwinEffect:
    """An attention net minus its twin on the same faces. Shares are fractions; intervals are 95 % paired bootstrap.

    Attributes:
        attention, twin: Names of the two.
        attention_title, twin_title, split_title: Names for people.
        n: Faces that both answered.
        accuracy: With attention, without.
        difference: Of the accuracies. interval: its interval.
        only_attention, only_twin: Faces that only this one got right.
        p: Exact McNemar test. p_holm: after Holm's correction over the pairs. pairs: how many were tested together.
        macro_f1: Difference. macro_f1_interval: its interval.
        per_class: Class name -> effect on its recall; only classes that occur.
        calibration: Differences of NLL and ECE, of the stored (calibrated) probabilities.
        seeds: Runs with several seeds, one by one; None where seeds.csv has none of both.
        unequal: What else differs between the two trainings, for people ("epochs: 24 and 18"); empty for a fair pair.
    """

    attention: str
    twin: str
    attention_title: str
    twin_title: str
    split_title: str
    n: int
    accuracy: tuple[float, float]
    difference: float
    interval: Interval
    only_attention: int
    only_twin: int
    p: float
    p_holm: float
    pairs: int
    macro_f1: float
    macro_f1_interval: Interval
    per_class: Mapping[str, RecallEffect]
    calibration: CalibrationDifference
    seeds: SeedDifference | None
    unequal: tuple[str, ...]


def twin_of(result: ModelResult) -> str | None:
    """Name of the attention net whose twin this is: `twin_of` of metrics.json, or a run with attention=false.

    A run's results carry the name "attention_cnn@<run>"; its attention net is the model before the "@".
    """
    named = result.metrics.get("twin_of")
    if named:
        return str(named)
    model = result.name.partition("@")[0]
    return model if model != result.name and _arguments(result).get("attention") is False else None


def twin_pairs(results: Iterable[ModelResult]) -> list[tuple[ModelResult, ModelResult]]:
    """(attention net, twin) of every twin whose attention net is there too, in the order of the results."""
    by_name = {r.name: r for r in results}
    return [(by_name[of], r) for r in by_name.values() if (of := twin_of(r)) in by_name and of is not None]


def attention_effect(
    pairs: Sequence[tuple[ModelResult, ModelResult]],
    split: str = "test",
    seed_rows: Sequence[Mapping[str, Any]] = (),
) -> list[TwinEffect]:
    """What attention bought, pair by pair; Holm's correction over all pairs handed in.

    Args:
        pairs: (attention net, twin) as from `twin_pairs`, with stored predictions.
        split: val or test.
        seed_rows: Lines of seeds.csv; those of both models of a pair give its spread over seeds.

    Returns:
        One effect per pair, in the given order.

    Raises:
        DataError: a pair with different classes or labels, without stored predictions, or without a face in common.
    """
    effects = [_effect(with_, without, split, seed_rows) for with_, without in pairs]
    adjusted = holm([e["p"] for e in effects])
    return [TwinEffect(**e, p_holm=float(p), pairs=len(effects)) for e, p in zip(effects, adjusted, strict=True)]


def _effect(
    with_: ModelResult, without: ModelResult, split: str, seed_rows: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    probs_a, probs_b, labels = _aligned(with_, without, split)
    a, b = probs_a.argmax(axis=1), probs_b.argmax(axis=1)
    test = mcnemar(a == labels, b == labels)
    f1_a, f1_b = (float(macro_f1_of(confusion_matrix(p, labels))) for p in (probs_a, probs_b))
    return {
        "attention": with_.name,
        "twin": without.name,
        "attention_title": with_.title,
        "twin_title": without.title,
        "split_title": with_.split_title(split),
        "n": test.n,
        "accuracy": (float((a == labels).mean()), float((b == labels).mean())),
        "difference": test.difference,
        "interval": test.interval,
        "only_attention": test.only_a,
        "only_twin": test.only_b,
        "p": test.p,
        "macro_f1": f1_a - f1_b,
        "macro_f1_interval": macro_f1_difference(a, b, labels),
        "per_class": _recall_effects(a == labels, b == labels, labels, with_.class_names),
        "calibration": calibration_difference(probs_a, probs_b, labels),
        "seeds": seed_difference(seed_rows, with_.name, without.name, f"{split}_accuracy"),
        "unequal": _unequal(with_, without),
    }


def _aligned(a: ModelResult, b: ModelResult, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of both and the labels of the faces that both answered, in the order of the rows."""
    if a.class_names != b.class_names:
        raise DataError(f"{a.name} and {b.name} were scored on different classes; they cannot be compared")
    _, at_a, at_b = np.intersect1d(a.rows(split), b.rows(split), assume_unique=True, return_indices=True)
    labels = a.labels(split)[at_a]
    if not len(labels):
        raise DataError(f"{a.name} and {b.name} have no face of split {split!r} in common; evaluate both again")
    if (labels != b.labels(split)[at_b]).any():
        raise DataError(f"{a.name} and {b.name} have different labels for the same faces; evaluate both again")
    return a.probs(split)[at_a], b.probs(split)[at_b], labels


def _recall_effects(
    right_a: np.ndarray, right_b: np.ndarray, labels: np.ndarray, names: Sequence[str]
) -> dict[str, RecallEffect]:
    tests = {
        name: mcnemar(right_a[labels == k], right_b[labels == k]) for k, name in enumerate(names) if (labels == k).any()
    }
    adjusted = holm([t.p for t in tests.values()])
    return {
        name: RecallEffect(t.n, t.difference, t.interval, t.p, float(p))
        for (name, t), p in zip(tests.items(), adjusted, strict=True)
    }


def _arguments(result: ModelResult) -> dict[str, Any]:
    return dict((result.metrics.get("trained") or {}).get("model_args") or {})


def _unequal(a: ModelResult, b: ModelResult) -> tuple[str, ...]:
    """What besides attention differs between two trainings, as far as both say it."""

    def of(result: ModelResult, path: tuple[str, str]) -> Any:
        return (result.metrics.get(path[0]) or {}).get(path[1])

    found = [
        f"{title}: {of(a, path) or 'none'} and {of(b, path) or 'none'}"
        for path, title in _SHARED
        if None not in (of(a, path), of(b, path)) and of(a, path) != of(b, path)
    ]
    args_a, args_b = ({k: v for k, v in _arguments(r).items() if k != "attention"} for r in (a, b))
    if args_a != args_b:
        found.append(f"arguments: {args_a} and {args_b}")
    digests = {of(r, ("trained", "recipe")) for r in (a, b)} - {None, ""}
    if len(digests) > 1 and not found:  # it stands for all of the above but the data and the seed
        found.append("recipe: the two differ in a setting")
    return tuple(found)


def in_words(effect: TwinEffect) -> tuple[str, ...]:
    """What attention bought, in five plain sentences with numbers: accuracy, chance, classes, confidence, seeds.

    A sixth says what else differs between the two trainings, where something does. Shares in per cent, differences in
    percentage points; join with a space for a paragraph, take the first two for a verdict.
    """
    sentences = (_on_accuracy(effect), _on_chance(effect), _on_classes(effect), _on_confidence(effect))
    fair = () if not effect.unequal else (f"The pair is not quite equal: {'; '.join(effect.unequal)}.",)
    return (*sentences, _on_seeds(effect), *fair)


def _on_accuracy(e: TwinEffect) -> str:
    return (
        f"{e.attention_title} is right on {percent(e.accuracy[0])} % of the {e.n:,} faces of {e.split_title}, its twin "
        f"without attention ({e.twin_title}) on {percent(e.accuracy[1])} %: {_points(e.difference)} points "
        f"{_between(e.interval)}."
    )


def _on_chance(e: TwinEffect) -> str:
    if e.p_holm >= SIGNIFICANT:
        verdict = "the difference may be chance"
    elif e.unequal:
        verdict = "the two really differ"
    else:
        verdict = f"in this run attention {'helped' if e.difference > 0 else 'hurt'}"
    corrected = f", {_p(e.p_holm)} after Holm's correction over {e.pairs} pairs" if e.pairs > 1 else ""
    return (
        f"{e.only_attention:,} faces only the net with attention got right, {e.only_twin:,} only its twin "
        f"(exact McNemar test {_p(e.p)}{corrected}), so {verdict}."
    )


def _on_classes(e: TwinEffect) -> str:
    ranked = sorted(e.per_class.items(), key=lambda item: item[1].difference)
    (worst, low), (best, high) = ranked[0], ranked[-1]
    real = [name for name, c in e.per_class.items() if c.p_holm < SIGNIFICANT]
    if not real:
        verdict = f"for none of the {len(ranked)} classes is the change significant after Holm's correction"
    else:
        verdict = f"the change is significant for {_listed(real)} after Holm's correction over {len(ranked)} classes"
    return (
        f"With attention the recall of the classes changes by between {_points(low.difference)} points "
        f"{_between(low.interval)} for {worst} and {_points(high.difference)} {_between(high.interval)} for {best}; "
        f"{verdict}."
    )


def _on_confidence(e: TwinEffect) -> str:
    c = e.calibration
    nll = f"{c.nll:+.3f} nats (95 % interval {c.nll_interval.low:+.3f} to {c.nll_interval.high:+.3f})"
    return (
        f"The negative log-likelihood of the calibrated probabilities changes by {nll}, the expected calibration error "
        f"by {_points(c.ece)} points {_between(c.ece_interval)}; below zero is better."
    )


def _on_seeds(e: TwinEffect) -> str:
    s = e.seeds
    if s is None or s.interval is None:
        return (
            "There are no three seeds that both were trained with, so how much another seed would change is not known."
        )
    length = "" if s.epochs is None else f", trained for {s.epochs} epochs each,"
    return (
        f"Over {len(s.seeds)} seeds{length} the difference is {_points(s.difference.mean)} points on average "
        f"{_between(s.interval)}, from {_points(s.difference.low)} to {_points(s.difference.high)}."
    )


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.1f}"


def _between(interval: Interval) -> str:
    return f"(95 % interval {_points(interval.low)} to {_points(interval.high)})"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
