"""From stored predictions to metrics.json: pure functions, so that every number can be made again.

metrics.json holds: format, schema, model, title, data {name, fingerprint, label_set, labels, majority},
checkpoint {sha256, ...}, parameters, trained {epochs, seconds, device, data, model_args, recipe_name, recipe (digest of
its settings), seed, ...}, marks {distilled_from, pretrained, extra_annotation: of itself or of a net it was made from},
temperature {value, source}, twin_of (the attention net of which this is the twin without attention, or null), cost
{parameters, macs, latency_ms, bytes}, and per split (val, test): title, n, single, flip and tencrop {scores; a view
that was not predicted is absent}, uncalibrated {ece, nll, brier}, calibrated {ece, nll, brier}, leakage {exact, near,
kept, accuracy, macro_f1} (without the copies) and majority {label, accuracy, macro_f1} (always answering the commonest
class of the training split), both null where the training split was not at hand; crowd
(`fer.evaluation.crowd.crowd_scores`; null without FER+ votes); selective {aurc, coverage_at {accuracy: share}}, whose
threshold is chosen on the same faces, an optimistic figure; and of every split but val: conformal {level: {threshold,
coverage, mean_size, sizes}}, fitted on val (null without one).

Schema 1 had no tencrop, crowd, selective, conformal, twin_of and cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import DataError
from fer.evaluation import conformal, selective
from fer.evaluation import metrics as m
from fer.evaluation.agreement import agreement, chi_square
from fer.evaluation.calibration import apply_temperature
from fer.evaluation.ensemble import average, fit_weights
from fer.evaluation.results import FORMAT, SCHEMA, VIEWS, ModelResult, weights_of
from fer.evaluation.statistics import compare, holm

if TYPE_CHECKING:
    import pandas as pd

SIGNIFICANT = 0.05
TEST_SCORES = {"test_accuracy": "accuracy", "test_interval": "accuracy_interval", "test_nll": "nll"}  # of an ensemble
ACCURACY = 0.9  # of the faces that a model answers when it may decline
CARD_KEYS = (
    "model",
    "title",
    "data",
    "checkpoint",
    "parameters",
    "trained",
    "marks",
    "temperature",
    "cost",
    "twin_of",
)


def card_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The part of metrics.json that cannot be computed from predictions."""
    return {k: metrics.get(k) for k in CARD_KEYS} | {
        "titles": {k: s.get("title", k) for k, s in metrics["splits"].items()},
        "crowd": {k: s.get("crowd") for k, s in metrics["splits"].items()},
    }


def summarise(predictions: pd.DataFrame, card: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that metrics.json holds.

    Args:
        predictions: Table of `fer.evaluation.results.predictions_frame`.
        card: What is known besides: the keys of `CARD_KEYS`, `titles` (split key -> title) and `crowd` (split key ->
            scores against the crowd, or None).

    Raises:
        DataError: predictions that are no probabilities.
    """
    names, crowd = card["data"]["labels"], card.get("crowd") or {}
    temperature = float(card["temperature"]["value"])
    out: dict[str, Any] = {"format": FORMAT, "schema": SCHEMA} | {k: card.get(k) for k in CARD_KEYS}
    parts = {key: predictions[predictions["split"] == key] for key in dict.fromkeys(predictions["split"])}
    out["splits"] = {
        key: {"title": card["titles"].get(key, key)}
        | _split(part, names, temperature, card["data"].get("majority"))
        | {"crowd": crowd.get(key)}
        for key, part in parts.items()
    }
    for key in parts.keys() - {"val"}:
        out["splits"][key]["conformal"] = _conformal(parts.get("val"), parts[key], names)
    return out


def _answers(frame: pd.DataFrame, names: Sequence[str], view: str = "single") -> tuple[np.ndarray, np.ndarray]:
    probs = frame[[VIEWS[view] + c for c in names]].to_numpy(dtype=np.float32)
    return probs, frame["label"].to_numpy(dtype=np.int64)


def _conformal(val: pd.DataFrame | None, frame: pd.DataFrame, names: Sequence[str]) -> dict[str, dict[str, Any]] | None:
    """Size and coverage of prediction sets; None where there is no validation split to fit them on."""
    if val is None:
        return None
    out = {}
    for level, threshold in conformal.thresholds(*_answers(val, names)).items():
        found = conformal.measure(*_answers(frame, names), threshold)
        out[level] = {
            "threshold": threshold,
            "coverage": round(found.coverage, 6),
            "mean_size": round(found.mean_size, 6),
            "sizes": list(found.sizes),
        }
    return out


def _split(frame: pd.DataFrame, names: Sequence[str], temperature: float, majority: str | None) -> dict[str, Any]:
    probs, labels = _answers(frame, names)
    share = selective.coverage_at(probs, labels, ACCURACY)
    out: dict[str, Any] = {
        "n": len(frame),
        "single": m.score(probs, labels, names).as_dict(),
        "uncalibrated": m.calibration_scores(apply_temperature(probs, 1 / temperature), labels),
        "calibrated": m.calibration_scores(probs, labels),
        "leakage": None,
        "majority": None if majority is None else _always(names.index(majority), labels, names),
        "selective": {
            "aurc": round(selective.risk_coverage(probs, labels).aurc, 6),
            "coverage_at": {f"{ACCURACY:g}": None if share is None else round(share, 6)},
        },
    }
    for view, prefix in list(VIEWS.items())[1:]:
        if prefix + names[0] in frame:
            viewed, _ = _answers(frame, names, view)
            if np.isfinite(viewed).all():
                out[view] = m.score(viewed, labels, names).as_dict()
    if (seen := _seen(frame)) is not None:
        out["leakage"] = _without_copies(probs, labels, seen, names)
    return out


def _seen(frame: pd.DataFrame) -> np.ndarray | None:
    """(N,) str, "exact" or "near" where a copy lies in the training split, else ""; None where nobody looked."""
    return frame["seen"].to_numpy(dtype=str) if "seen" in frame and frame["seen"].notna().all() else None


def _always(answer: int, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Scores of one answer for every face."""
    probs = np.zeros((len(labels), len(names)), dtype=np.float32)
    probs[:, answer] = 1
    scores = m.score(probs, labels, names).as_dict()
    return {"label": names[answer]} | {k: scores[k] for k in ("accuracy", "macro_f1")}


def _without_copies(probs: np.ndarray, labels: np.ndarray, seen: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    kept = seen == ""
    out: dict[str, Any] = {
        "exact": int((seen == "exact").sum()),
        "near": int((seen == "near").sum()),
        "kept": int(kept.sum()),
        "accuracy": None,
        "macro_f1": None,
    }
    if kept.any():
        scores = m.score(probs[kept], labels[kept], names).as_dict()
        out |= {k: scores[k] for k in ("accuracy", "accuracy_interval", "macro_f1", "macro_f1_interval")}
    return out


def aligned(results: Sequence[ModelResult], split: str, view: str = "single") -> Aligned:
    """The answers of several models to the images that all of them answered, in one order.

    Raises:
        DataError: models with different classes, without predictions of that split and view, or with different labels
            for the same image.
    """
    truth: dict[int, int] = {}
    names = results[0].class_names if results else ()
    for r in results:
        if r.class_names != names:
            raise DataError(f"{r.name} was scored on classes {', '.join(r.class_names)}, not {', '.join(names)}")
        for row, label in zip(r.rows(split).tolist(), r.labels(split).tolist(), strict=True):
            if truth.setdefault(row, label) != label:
                raise DataError(
                    f"{r.name}: row {row} is {names[label]!r} here and {names[truth[row]]!r} for another model; "
                    "evaluate again"
                )
    places = [{row: i for i, row in enumerate(r.rows(split).tolist())} for r in results]
    shared = sorted(set.intersection(*map(set, places))) if places else []
    known, seen = [s for r in results if (s := _seen(r.frame(split))) is not None], None
    if results and len(known) == len(results):
        each = np.stack([s[[place[row] for row in shared]] for s, place in zip(known, places, strict=True)])
        exact, near = ((each == kind).any(axis=0) for kind in ("exact", "near"))
        seen = np.where(exact, "exact", np.where(near, "near", ""))
    return Aligned(
        np.array(shared, dtype=np.int64),
        np.array([truth[row] for row in shared], dtype=np.int64),
        {
            r.name: r.probs(split, view)[[place[row] for row in shared]]
            for r, place in zip(results, places, strict=True)
        },
        seen,
    )


@dataclass(frozen=True, eq=False)
class Aligned:
    """Several models on the same images.

    Attributes:
        rows: (N,) int64, positions in the source.
        labels: (N,) int64.
        probs: Model name -> (N, C) float32.
        seen: (N,) str, "exact" or "near" where any of them had a copy in its training split, else ""; None where that
            is not known of all of them.
    """

    rows: np.ndarray
    labels: np.ndarray
    probs: dict[str, np.ndarray]
    seen: np.ndarray | None = None


def comparison(results: Sequence[ModelResult], split: str = "test", view: str = "single") -> dict[str, Any]:
    """Every pair of models on the images that all of them answered, for comparison.json.

    Args:
        results: Models with stored predictions; others are left out.
        split: val or test.
        view: single, flip or tencrop.

    Returns:
        `split`, `title`, `view`, `n`, `correction` and `pairs`: a, b, accuracy_a, accuracy_b, difference, interval,
        only_a, only_b, p, p_holm, chi2 (statistic, dof, p, p_holm: do both make the same kinds of mistakes?) and
        agreement (both_right, both_wrong, same_answer, kappa).

    Raises:
        DataError: see `aligned`.
    """
    compared = [r for r in results if r.predictions is not None and split in r.splits and view in r.views(split)]
    same = aligned(compared, split, view)
    answers = {name: p.argmax(axis=1) for name, p in same.probs.items()}
    pairs = compare({name: a == same.labels for name, a in answers.items()}) if len(same.rows) else []
    counts = {name: m.confusion_matrix(same.probs[name], same.labels) for name in (answers if pairs else ())}
    patterns = [chi_square(counts[c.a], counts[c.b]) for c in pairs]
    corrected = holm([p.p for p in patterns])
    out = []
    for c, pattern, pattern_holm in zip(pairs, patterns, corrected, strict=True):
        alike = agreement(answers[c.a], answers[c.b], same.labels)
        out.append(
            {
                "a": c.a,
                "b": c.b,
                "accuracy_a": round(float((answers[c.a] == same.labels).mean()), 6),
                "accuracy_b": round(float((answers[c.b] == same.labels).mean()), 6),
                "difference": round(c.test.difference, 6),
                "interval": [round(c.test.interval.low, 6), round(c.test.interval.high, 6)],
                "only_a": c.test.only_a,
                "only_b": c.test.only_b,
                "p": c.test.p,
                "p_holm": c.p_holm,
                "chi2": {
                    "statistic": round(pattern.statistic, 6),
                    "dof": pattern.dof,
                    "p": pattern.p,
                    "p_holm": float(pattern_holm),
                },
                "agreement": {k: round(v, 6) for k, v in dataclasses.asdict(alike).items()},
            }
        )
    return {
        "split": split,
        "title": compared[0].split_title(split) if compared else split,
        "view": view,
        "n": len(same.rows),
        "correction": "holm",
        "pairs": out,
    }


def verdict(compared: Mapping[str, Any], pair: Mapping[str, Any], titles: Mapping[str, str] | None = None) -> str:
    """What McNemar's test says about a pair of `comparison`, in one plain sentence.

    Args:
        compared: Result of `comparison`.
        pair: One of its pairs.
        titles: Model name -> name for people; default: the name.
    """
    a, b = ((titles or {}).get(pair[k], pair[k]) for k in ("a", "b"))
    points, (low, high), p = 100 * pair["difference"], (100 * v for v in pair["interval"]), pair["p_holm"]
    count = len(compared["pairs"])
    corrected = f" after Holm's correction for {count} pairs" if count > 1 else ""
    end = "so chance alone does not explain it" if p < SIGNIFICANT else "so it may well be chance"
    return (
        f"On the {compared['n']:,} faces of {compared['title']} {a} gets {abs(points):.1f} points "
        f"{'more' if points >= 0 else 'fewer'} right than {b} (95 % interval {low:+.1f} to {high:+.1f}); exact McNemar "
        f"test {'p < 0.0001' if p < 1e-4 else f'p = {p:.2g}'}{corrected}, {end}."
    )


def ensemble_entry(
    members: Sequence[ModelResult],
    view: str = "single",
    before: Mapping[str, Any] | None = None,
    open_test: bool = True,
) -> dict[str, Any]:
    """A weighted mean of several models, the weights fitted on validation: an entry of ensembles.json.

    Args:
        members: Two models or more with stored predictions of val; without a test split where one lacks it.
        before: The entry that stands there of the same members and view, perhaps with other weights of theirs.
        open_test: False = by validation alone; what is known of the same weights and data on the test split stays.

    Returns:
        members, their shares (weights) and the weights they had (sha256), data (the fingerprint), view, val_accuracy,
        test_accuracy, test_interval and test_nll (null without a test split), leakage: the test split without the
        copies, as in metrics.json (null where they are not known of every member), scorings: how often the test split
        was asked, each time with other weights of its members or on another copy of the data.

    Raises:
        DataError: fewer than two, or models that did not answer the same faces of both splits.
    """
    if len(members) < 2:
        raise DataError(f"an ensemble needs two models or more, got {', '.join(r.name for r in members) or 'none'}")
    tested = open_test and all("test" in r.splits for r in members)
    parts = {k: aligned(members, k, view) for k in ("val", "test") if k == "val" or tested}
    if not all(len(part.rows) for part in parts.values()):
        raise DataError(f"{', '.join(r.name for r in members)} have no faces in common; evaluate them again")
    val, test = parts["val"], parts.get("test")
    weights = fit_weights(list(val.probs.values()), val.labels)
    now = {"sha256": [weights_of(r) for r in members], "data": members[0].metrics["data"].get("fingerprint")}
    was = before or {}
    known = was.get("test_accuracy") is not None and all(was.get(k, now[k]) == now[k] for k in now)
    scores: dict[str, Any] = {}
    if test is not None:
        together, names = average(list(test.probs.values()), weights), members[0].class_names
        found = m.score(together, test.labels, names).as_dict()
        scores = {k: found[v] for k, v in TEST_SCORES.items()}
        scores["leakage"] = None if test.seen is None else _without_copies(together, test.labels, test.seen, names)
    elif known:
        scores = {k: was.get(k) for k in (*TEST_SCORES, "leakage")}
    asked = was.get("scorings", 1 if was.get("test_accuracy") is not None else 0)
    again = test is not None and not known
    mean = average(list(val.probs.values()), weights)
    return {
        "members": [r.name for r in members],
        "weights": [round(float(w), 6) for w in weights],
        **now,
        "view": view,
        "val_accuracy": round(float((mean.argmax(axis=1) == val.labels).mean()), 6),
        **{k: scores.get(k) for k in (*TEST_SCORES, "leakage")},
        "scorings": asked + again,
    }
