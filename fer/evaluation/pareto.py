"""Which models nobody beats at their price?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer.errors import DataError
from fer.evaluation.results import ModelResult


def front(cost: np.ndarray, score: np.ndarray) -> np.ndarray:
    """The Pareto front: no other model is at least as good and at least as cheap, and better in one of the two.

    Args:
        cost: (N,) lower is better; NaN where it was not measured (never on the front).
        score: (N,) higher is better; NaN likewise.

    Returns:
        (N,) bool. Models with equal cost and score stand or fall together.

    Raises:
        DataError: different lengths.

    >>> front(np.array([1.0, 2.0, 3.0, 2.0]), np.array([0.5, 0.7, 0.6, 0.6])).tolist()
    [True, True, False, False]
    """
    cost, score = np.asarray(cost, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if cost.shape != score.shape or cost.ndim != 1:
        raise DataError(f"expected one cost and one score per model, got {cost.shape} and {score.shape}")
    no_worse = (cost[None] <= cost[:, None]) & (score[None] >= score[:, None])
    better = (cost[None] < cost[:, None]) | (score[None] > score[:, None])
    return ~(no_worse & better).any(axis=1) & np.isfinite(cost) & np.isfinite(score)


def timed_alike(results: Sequence[ModelResult]) -> list[bool]:
    """Whose latencies can stand beside each other: a net takes longer on torch than on ONNX Runtime.

    Returns:
        For every model False where it was timed on torch and another one on ONNX Runtime.
    """
    runtimes = [((r.metrics.get("cost") or {}).get("latency_ms") or {}).get("runtime") for r in results]
    return [runtime != "torch" or "ONNX Runtime" not in runtimes for runtime in runtimes]
