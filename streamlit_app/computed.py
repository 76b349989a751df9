"""What the pages compute from stored predictions, each once per selection; no model runs here.

Every function takes the key of a selection (`Selection.key`) first: a changed file or choice computes again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from fer.errors import DataError

if TYPE_CHECKING:
    from fer.evaluation import ModelResult
    from fer.evaluation.twins import TwinEffect

RIGHT = 0.9  # wanted share of correct answers of a model that may decline


@dataclass(frozen=True, eq=False)
class Aligned:
    """Predictions of several models for the same faces in the same order.

    Attributes:
        rows: (N,) int64, positions in the data set's source.
        labels: (N,) int64, true classes.
        seen: (N,) str, "exact" or "near" where a copy of the face lies in the data's training split, else "".
        probs: Model -> (N, C) float32.
        names: C class names.
        left_out: Titles of models that have no predictions or other classes.
    """

    rows: np.ndarray
    labels: np.ndarray
    seen: np.ndarray
    probs: dict[str, np.ndarray]
    names: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def answers(self) -> dict[str, np.ndarray]:
        """Model -> (N,) int64, the likeliest class."""
        return {name: p.argmax(axis=1) for name, p in self.probs.items()}

    @property
    def correct(self) -> dict[str, np.ndarray]:
        """Model -> (N,) bool."""
        return {name: a == self.labels for name, a in self.answers.items()}


@st.cache_data(max_entries=32, show_spinner="Reading the predictions …")
def aligned(key: tuple, _results: tuple[ModelResult, ...]) -> Aligned:
    """The predictions of all models that have some, for the faces that all of them answered.

    Raises:
        DataError: two models with different labels for the same face.
    """
    split, view = key[2], key[3]
    usable = [r for r in _results if r.predictions is not None]
    names = usable[0].class_names if usable else ()
    usable = [r for r in usable if r.class_names == names]
    left_out = tuple(r.title for r in _results if r not in usable)
    if not usable:
        none = np.empty(0, dtype=np.int64)
        return Aligned(none, none, none.astype(str), {}, names, left_out)
    shared = usable[0].rows(split)
    for r in usable[1:]:
        shared = np.intersect1d(shared, r.rows(split))
    shared = np.sort(shared)
    probs, labels, seen = {}, None, np.full(len(shared), "")
    for r in usable:
        rows = r.rows(split)
        order = np.argsort(rows, kind="stable")
        at = order[np.searchsorted(rows, shared, sorter=order)]
        mine = r.labels(split)[at]
        if labels is not None and (mine != labels).any():
            row = int(shared[(mine != labels).argmax()])
            raise DataError(f"{r.name}: row {row} has another label than for another model; evaluate again")
        labels, probs[r.name] = mine, r.probs(split, view)[at]
        if "seen" in (frame := r.frame(split)):  # a model trained on other data has none
            seen = frame["seen"].fillna("").to_numpy(dtype=str)[at]
    return Aligned(shared, labels, seen, probs, names, left_out)


@st.cache_data(max_entries=32, show_spinner="Comparing the models …")
def pairs(key: tuple, _data: Aligned) -> list[dict[str, Any]]:
    """Every pair of models: McNemar, chi-square of the mistakes (both with Holm's correction), agreement."""
    from fer.evaluation.agreement import agreement, chi_square
    from fer.evaluation.statistics import compare, holm

    answers, c = _data.answers, len(_data.names)
    counts = {m: np.bincount(_data.labels * c + a, minlength=c * c).reshape(c, c) for m, a in answers.items()}
    found = compare(_data.correct)
    squares = [chi_square(counts[p.a], counts[p.b]) for p in found]
    corrected = holm([s.p for s in squares]) if squares else []
    return [
        {
            "a": p.a,
            "b": p.b,
            "difference": p.test.difference,
            "interval": (p.test.interval.low, p.test.interval.high),
            "only_a": p.test.only_a,
            "only_b": p.test.only_b,
            "n": p.test.n,
            "p_holm": p.p_holm,
            "chi2": s.statistic,
            "dof": s.dof,
            "chi2_p_holm": float(q),
            "agreement": agreement(answers[p.a], answers[p.b], _data.labels),
        }
        for p, s, q in zip(found, squares, corrected, strict=True)
    ]


@st.cache_data(max_entries=64, show_spinner=False)
def same_answers(key: tuple, _data: Aligned) -> np.ndarray:
    """(M, M) share of faces with the same answer, in the order of `_data.probs`."""
    from fer.evaluation.agreement import agreement_matrix

    return agreement_matrix(_data.answers)


@st.cache_data(max_entries=64, show_spinner="Drawing the curves …")
def curves(key: tuple, k: int, _data: Aligned) -> dict[str, dict[str, Any]]:
    """Model -> ROC and precision-recall curve (`fer.evaluation.ranking.Curve`) of class k."""
    from fer.evaluation.ranking import precision_recall, roc

    return {
        m: {"roc": roc(p, _data.labels, k), "precision_recall": precision_recall(p, _data.labels, k)}
        for m, p in _data.probs.items()
    }


@st.cache_data(max_entries=32, show_spinner="Measuring the confidence …")
def confidence(key: tuple, _results: tuple[ModelResult, ...]) -> dict[str, dict[str, Any]]:
    """Model with predictions -> reliability, its scores, risk-coverage and what a threshold from validation gives.

    Without its temperature ("uncalibrated") a model is known for the single view only: the others are stored as means
    of calibrated probabilities, from which those of the raw ones cannot be had.
    """
    from fer.evaluation.calibration import apply_temperature
    from fer.evaluation.metrics import calibration_scores, reliability
    from fer.evaluation.selective import risk_coverage

    split, view = key[2], key[3]
    out = {}
    for r in _results:
        if r.predictions is None:
            continue
        probs, labels = r.probs(split, view), r.labels(split)
        out[r.name] = {
            "calibrated": reliability(probs, labels),
            "calibrated_scores": calibration_scores(probs, labels),
            "risk": risk_coverage(probs, labels),
            "answered": _answered(r, split, view),
        }
        if view == "single":
            raw = apply_temperature(probs, 1 / float(r.metrics["temperature"]["value"]))
            out[r.name] |= {
                "uncalibrated": reliability(raw, labels),
                "uncalibrated_scores": calibration_scores(raw, labels),
            }
    return out


def _answered(result: ModelResult, split: str, view: str) -> tuple[float, float] | None:
    """Share answered and accuracy among these, from the confidence on that gave RIGHT on validation; None without."""
    from fer.evaluation.selective import answered_from, threshold_at

    if not on_validation(result, view):
        return None
    threshold = threshold_at(result.probs("val", view), result.labels("val"), RIGHT)
    return None if threshold is None else answered_from(result.probs(split, view), result.labels(split), threshold)


def on_validation(result: ModelResult, view: str) -> bool:
    """Are there predictions of the validation split, with this view, to fit something on?"""
    return result.predictions is not None and "val" in result.splits and view in result.views("val")


@st.cache_data(max_entries=64, show_spinner=False)
def prediction_sets(key: tuple, level: float, _results: tuple[ModelResult, ...]) -> dict[str, dict[str, Any]]:
    """Model -> threshold and what its prediction sets deliver on the split; fitted on validation."""
    from fer.evaluation.conformal import fit, measure

    split, view = key[2], key[3]
    out = {}
    for r in _results:
        if not on_validation(r, view):
            continue
        threshold = fit(r.probs("val", view), r.labels("val"), level)
        out[r.name] = {"threshold": threshold, "score": measure(r.probs(split, view), r.labels(split), threshold)}
    return out


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) where there is nothing to count.

    Args:
        hits: Successes.
        n: Trials.
    """
    from scipy.stats import binomtest

    if n <= 0:
        return 0.0, 1.0
    found = binomtest(int(hits), int(n)).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


@st.cache_data(max_entries=32, show_spinner="Comparing the twins …")
def twins(key: tuple, _results: tuple[ModelResult, ...], _seeds: list[dict[str, Any]]) -> list[TwinEffect]:
    """What attention bought, of every chosen attention net whose twin without attention is chosen too."""
    from fer.evaluation.twins import attention_effect, twin_pairs

    found = twin_pairs(r for r in _results if r.predictions is not None)
    return attention_effect(found, key[2], _seeds) if found else []
