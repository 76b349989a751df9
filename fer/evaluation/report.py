"""From stored predictions to metrics.json: pure functions, so that every number can be made again.

metrics.json holds: format, schema, model, title, data {name, fingerprint, label_set, labels}, checkpoint {sha256, ...},
parameters, trained {epochs, seconds, device, ...}, marks {distilled_from, pretrained, extra_annotation},
temperature {value, source}, latency_ms (or null), and per split (val, test): title, n, single {scores},
flip {scores}, uncalibrated {ece, nll, brier}, calibrated {ece, nll, brier},
leakage {exact, near, kept, accuracy, macro_f1} (without the copies) and majority {label, accuracy, macro_f1} (always
answering the commonest class of the training split); both are null where the training split was not at hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import DataError
from fer.evaluation import metrics as m
from fer.evaluation.calibration import apply_temperature
from fer.evaluation.results import FORMAT, SCHEMA, ModelResult
from fer.evaluation.statistics import compare

if TYPE_CHECKING:
    import pandas as pd

CARD_KEYS = (
    "model",
    "title",
    "data",
    "checkpoint",
    "parameters",
    "trained",
    "marks",
    "temperature",
    "latency_ms",
)


def card_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The part of metrics.json that cannot be computed from predictions."""
    return {k: metrics.get(k) for k in CARD_KEYS} | {
        "titles": {k: s.get("title", k) for k, s in metrics["splits"].items()}
    }


def summarise(predictions: pd.DataFrame, card: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that metrics.json holds.

    Args:
        predictions: Table of `fer.evaluation.results.predictions_frame`.
        card: What is known besides: the keys of `CARD_KEYS`, and `titles` (split key -> title).

    Raises:
        DataError: predictions that are no probabilities.
    """
    names = card["data"]["labels"]
    temperature = float(card["temperature"]["value"])
    out: dict[str, Any] = {"format": FORMAT, "schema": SCHEMA} | {k: card.get(k) for k in CARD_KEYS}
    out["splits"] = {
        key: {"title": card["titles"].get(key, key)}
        | _split(predictions[predictions["split"] == key], names, temperature, card["data"].get("majority"))
        for key in dict.fromkeys(predictions["split"])
    }
    return out


def _split(frame: pd.DataFrame, names: Sequence[str], temperature: float, majority: str | None) -> dict[str, Any]:
    probs = frame[[f"p_{c}" for c in names]].to_numpy(dtype=np.float32)
    labels = frame["label"].to_numpy(dtype=np.int64)
    out: dict[str, Any] = {
        "n": len(frame),
        "single": m.score(probs, labels, names).as_dict(),
        "uncalibrated": m.calibration_scores(apply_temperature(probs, 1 / temperature), labels),
        "calibrated": m.calibration_scores(probs, labels),
        "leakage": None,
        "majority": None if majority is None else _always(names.index(majority), labels, names),
    }
    if f"flip_{names[0]}" in frame:
        flip = frame[[f"flip_{c}" for c in names]].to_numpy(dtype=np.float32)
        if np.isfinite(flip).all():
            out["flip"] = m.score(flip, labels, names).as_dict()
    if "seen" in frame and frame["seen"].notna().all():
        out["leakage"] = _without_copies(probs, labels, frame["seen"].to_numpy(dtype=str), names)
    return out


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


def comparison(results: Sequence[ModelResult], split: str = "test") -> dict[str, Any]:
    """Every pair of models on the images that all of them answered, for comparison.json.

    Args:
        results: Models with stored predictions; others are left out.
        split: val or test.

    Returns:
        `split`, `title`, `n`, `correction` and `pairs`: a, b, accuracy_a, accuracy_b, difference, interval,
        only_a, only_b, p, p_holm.

    Raises:
        DataError: two models with different labels for the same image.
    """
    with_predictions = [r for r in results if r.predictions is not None and split in r.splits]
    correct: dict[str, dict[int, bool]] = {}
    truth: dict[int, str] = {}
    for r in with_predictions:
        names, labels, rows = np.array(r.class_names), r.labels(split), r.rows(split)
        for row, name in zip(rows.tolist(), names[labels].tolist(), strict=True):
            if truth.setdefault(row, name) != name:
                raise DataError(
                    f"{r.name}: row {row} is {name!r} here and {truth[row]!r} for another model; evaluate again"
                )
        right = r.probs(split).argmax(axis=1) == labels
        correct[r.name] = dict(zip(rows.tolist(), right.tolist(), strict=True))
    shared = sorted(set.intersection(*(set(c) for c in correct.values()))) if correct else []
    aligned = {name: np.array([c[row] for row in shared], dtype=bool) for name, c in correct.items()}
    pairs = compare(aligned) if shared else []
    return {
        "split": split,
        "title": with_predictions[0].split_title(split) if with_predictions else split,
        "n": len(shared),
        "correction": "holm",
        "pairs": [
            {
                "a": c.a,
                "b": c.b,
                "accuracy_a": round(float(aligned[c.a].mean()), 6),
                "accuracy_b": round(float(aligned[c.b].mean()), 6),
                "difference": round(c.test.difference, 6),
                "interval": [round(c.test.interval.low, 6), round(c.test.interval.high, 6)],
                "only_a": c.test.only_a,
                "only_b": c.test.only_b,
                "p": c.test.p,
                "p_holm": c.p_holm,
            }
            for c in pairs
        ],
    }
