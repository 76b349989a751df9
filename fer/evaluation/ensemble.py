"""Several models as one: a weighted mean of their stored probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer.errors import DataError
from fer.evaluation.metrics import FLOOR, check

_GAP = 1e-6
_STEPS = 20_000


def average(probs_list: Sequence[np.ndarray], weights: Sequence[float] | np.ndarray | None = None) -> np.ndarray:
    """Weighted mean of the probabilities of several models.

    Args:
        probs_list: M arrays (N, C), the same faces and classes in the same order.
        weights: M shares that are not negative; they are scaled to sum to 1. Default: equal shares.

    Returns:
        (N, C) float64, rows sum to 1.

    Raises:
        DataError: nothing to average, arrays of different shapes, or weights that do not fit.

    >>> average([np.array([[0.8, 0.2]]), np.array([[0.4, 0.6]])], [3, 1]).round(6).tolist()
    [[0.7, 0.3]]
    """
    shapes = [np.shape(p) for p in probs_list]
    if not shapes or len(set(shapes)) > 1 or len(shapes[0]) != 2:
        raise DataError(f"an ensemble needs probabilities (N, C) of the same faces from every member, got {shapes}")
    shares = np.ones(len(shapes)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(shapes),) or not np.isfinite(shares).all() or shares.min() < 0 or not shares.sum() > 0:
        raise DataError(f"expected {len(shapes)} weights that are not negative and not all 0, got {shares.tolist()}")
    return np.tensordot(shares / shares.sum(), np.stack(probs_list).astype(np.float64), axes=1)


def fit_weights(val_probs_list: Sequence[np.ndarray], val_labels: np.ndarray) -> np.ndarray:
    """The weights that minimise the negative log-likelihood of the mean, fitted on validation.

    The problem is convex. It is solved by expectation maximisation for the shares of a mixture with known components
    (Dempster, Laird and Rubin 1977), which stays on the simplex by itself, until the loss is within 1e-6 nats of the
    optimum: with g_m the mean of p_m / mean over faces, the distance is at most log(max g).

    Args:
        val_probs_list: M arrays (N, C) of the validation split.
        val_labels: (N,) int.

    Returns:
        (M,) float64, not negative, sums to 1; exactly 0 below a thousandth.

    Raises:
        DataError: arrays that do not fit together.
    """
    average(val_probs_list)  # refuses arrays of different shapes
    checked = [check(p, val_labels)[0] for p in val_probs_list]
    rows = np.arange(len(val_labels))
    p = np.maximum(np.stack([c[rows, val_labels] for c in checked]), FLOOR)  # (M, N), of the label
    w = np.full(len(p), 1 / len(p))
    for _ in range(_STEPS):
        gain = (p / (w @ p)).mean(axis=1)
        if np.log(gain.max()) < _GAP:
            break
        w = w * gain
    w[w < 1e-3] = 0
    return w / w.sum()
