"""Selective prediction: answer only where the confidence is high, and see how often that is wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer.errors import ConfigError
from fer.evaluation.metrics import check


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """What answering only the surest faces costs.

    Attributes:
        coverage: (N,) float64, share of the faces answered: 1/N, 2/N, .., 1.
        risk: (N,) float64, share of wrong answers among those.
        aurc: Mean risk over all coverages (0 is best); a model without mistakes has 0.
    """

    coverage: np.ndarray
    risk: np.ndarray
    aurc: float


def risk_coverage(probs: np.ndarray, labels: np.ndarray) -> RiskCoverage:
    """Error rate among the k surest faces, for every k.

    Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks". Faces of equal confidence
    stand in no order; the risk inside such a group is its mean over all orders.

    Args:
        probs: (N, C) probabilities; the confidence is the largest of a row.
        labels: (N,) int.

    >>> risk_coverage(np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), np.array([0, 1, 1])).risk.round(3).tolist()
    [0.0, 0.0, 0.333]
    """
    _, answered, errors = _at_thresholds(probs, labels)
    k = np.arange(1, answered[-1] + 1)
    risk = np.interp(k, np.concatenate([[0], answered]), np.concatenate([[0], errors])) / k
    return RiskCoverage(k / answered[-1], risk, float(risk.mean()))


def coverage_at(probs: np.ndarray, labels: np.ndarray, accuracy: float) -> float | None:
    """The largest share of faces that a threshold on the confidence can answer with at least this accuracy.

    The threshold is read off the same faces: it describes them, flatters the model a little, and promises nothing for
    others. `threshold_at` on validation and `answered_from` on the test say what to expect.

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int.
        accuracy: Wanted share of correct answers, in (0, 1].

    Returns:
        Share of faces answered; None where no threshold reaches the accuracy.

    Raises:
        ConfigError: the accuracy is not in (0, 1].

    >>> coverage_at(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]), np.array([0, 1, 0, 0]), 0.75)
    1.0
    """
    threshold = threshold_at(probs, labels, accuracy)
    return None if threshold is None else answered_from(probs, labels, threshold)[0]


def threshold_at(probs: np.ndarray, labels: np.ndarray, accuracy: float) -> float | None:
    """The lowest confidence such that the faces at least that sure are answered with at least this accuracy.

    Args:
        probs: (N, C) probabilities, of the *validation* split where the threshold is to hold for other faces.
        labels: (N,) int.
        accuracy: Wanted share of correct answers, in (0, 1].

    Returns:
        A confidence, 0..1; None where no threshold reaches the accuracy.

    Raises:
        ConfigError: the accuracy is not in (0, 1].

    >>> threshold_at(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]), np.array([0, 0, 1, 1]), 0.6)
    0.7
    """
    if not 0 < accuracy <= 1:
        raise ConfigError(f"accuracy must lie in (0, 1], got {accuracy}")
    confidence, answered, errors = _at_thresholds(probs, labels)
    good = np.flatnonzero(answered - errors >= accuracy * answered - 1e-9)
    return float(confidence[good[-1]]) if len(good) else None


def answered_from(probs: np.ndarray, labels: np.ndarray, threshold: float) -> tuple[float, float]:
    """What answering only from a confidence on gives.

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int.
        threshold: Lowest confidence that is answered, 0..1.

    Returns:
        Share of the faces answered, and share of correct answers among these (NaN where none is answered).

    >>> answered_from(np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]]), np.array([0, 1, 0, 0]), 0.75)
    (0.5, 0.5)
    """
    probs, labels = check(probs, labels)
    sure = probs.max(axis=1) >= threshold
    right = probs.argmax(axis=1)[sure] == labels[sure]
    return float(sure.mean()), float(right.mean()) if len(right) else float("nan")


def _at_thresholds(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The distinct confidences from the highest down; faces at least that sure, and how many of them are wrong."""
    probs, labels = check(probs, labels)
    negative, group = np.unique(-probs.max(axis=1), return_inverse=True)
    wrong = np.bincount(group, weights=probs.argmax(axis=1) != labels)
    return -negative, np.cumsum(np.bincount(group)), np.cumsum(wrong)
