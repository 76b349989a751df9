"""One class against the rest: ROC and precision-recall curves."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer.errors import DataError
from fer.evaluation.metrics import check


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve in the unit square.

    Attributes:
        x: (K,) float64, rising: false-positive rate (ROC) or recall (precision-recall).
        y: (K,) float64: true-positive rate (ROC) or precision (precision-recall).
        area: Area under the ROC curve, or average precision. NaN, with empty x and y, where it is not defined.
    """

    x: np.ndarray
    y: np.ndarray
    area: float


_UNDEFINED = Curve(np.empty(0), np.empty(0), float("nan"))


def roc(probs: np.ndarray, labels: np.ndarray, k: int) -> Curve:
    """Receiver operating characteristic of class k against the rest (Fawcett 2006, "An introduction to ROC analysis").

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int.
        k: Index of the class.

    Returns:
        The curve from (0, 0) to (1, 1); undefined where no face, or every face, is of the class.

    Raises:
        DataError: the inputs do not fit together, or there is no class k.

    >>> roc(np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7]]), np.array([0, 0, 1]), 1).area
    1.0
    """
    from sklearn.metrics import auc, roc_curve

    truth, score = _one_against_rest(probs, labels, k)
    if not truth.any() or truth.all():
        return _UNDEFINED
    x, y, _ = roc_curve(truth, score)
    return Curve(x, y, float(auc(x, y)))


def precision_recall(probs: np.ndarray, labels: np.ndarray, k: int) -> Curve:
    """Precision over recall of class k against the rest; the area is the average precision.

    Average precision is the sum of precisions weighted by the steps in recall, without interpolation, which would
    flatter (Davis and Goadrich 2006, "The relationship between Precision-Recall and ROC curves").

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int.
        k: Index of the class.

    Returns:
        The curve, recall rising from 0 to 1; undefined where no face is of the class.

    Raises:
        DataError: the inputs do not fit together, or there is no class k.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    truth, score = _one_against_rest(probs, labels, k)
    if not truth.any():
        return _UNDEFINED
    precision, recall, _ = precision_recall_curve(truth, score, drop_intermediate=True)
    return Curve(recall[::-1], precision[::-1], float(average_precision_score(truth, score)))


def _one_against_rest(probs: np.ndarray, labels: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    probs, labels = check(probs, labels)
    if not 0 <= k < probs.shape[1]:
        raise DataError(f"there is no class {k}; expected 0..{probs.shape[1] - 1}")
    return labels == k, probs[:, k]
