"""Split-conformal prediction sets: "fear or surprise, 90 %"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fer.errors import ConfigError
from fer.evaluation.metrics import check

if TYPE_CHECKING:
    from fer.checkpoint import Manifest
    from fer.labels import LabelSet

LEVELS = (0.8, 0.9, 0.95)  # wanted coverage; thresholds for these stand in every manifest


@dataclass(frozen=True)
class PredictionSets:
    """The sets of one model.

        sets = prediction_sets(model.manifest)
        sets.of(model.predict_proba([face])[0], model.labels)  # ("fear", "surprise")

    Attributes:
        level: Share of faces whose label the set is meant to hold.
        threshold: Probability a class needs to enter.
    """

    level: float
    threshold: float

    def of(self, probs: np.ndarray, labels: LabelSet) -> tuple[str, ...]:
        """The classes in the set of one face, likeliest first.

        Args:
            probs: (C,) as the predictor gives them.
        """
        probs = np.asarray(probs, dtype=np.float64)
        (inside,) = sets(probs[None], self.threshold)
        return tuple(labels.names[i] for i in np.argsort(-probs, kind="stable") if inside[i])


def prediction_sets(manifest: Manifest, level: float = 0.9) -> PredictionSets | None:
    """The sets whose threshold stands in a checkpoint's manifest; None where it has none for this level."""
    threshold = (manifest.conformal.get("thresholds") or {}).get(f"{level:g}")
    return None if threshold is None else PredictionSets(level, float(threshold))


@dataclass(frozen=True)
class ConformalScore:
    """What prediction sets deliver on faces they were not fitted on.

    Attributes:
        coverage: Share of faces whose set holds the label.
        mean_size: Mean number of classes in a set.
        sizes: C + 1 counts: faces with a set of 0, 1, .., C classes (none has 0).
    """

    coverage: float
    mean_size: float
    sizes: tuple[int, ...]


def fit(probs: np.ndarray, labels: np.ndarray, level: float) -> float:
    """The probability that a class must reach to enter the set, so that sets hold the label with probability `level`.

    Least ambiguous sets (Sadinle, Lei and Wasserman 2019, "Least Ambiguous Set-Valued Classifiers With Bounded Error
    Levels") with the finite-sample quantile of split-conformal prediction, ceil((n + 1) level) / n. The promise holds
    on average over faces drawn like these ones; it is weakened a little where they also chose the epoch and the
    temperature, which is why the coverage on other faces is measured too (`measure`).

    Args:
        probs: (N, C) probabilities on validation.
        labels: (N,) int.
        level: Wanted coverage, in (0, 1).

    Returns:
        A probability; 0 (every class enters) where there are too few faces for the level.

    Raises:
        ConfigError: the level is not in (0, 1).

    >>> fit(np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]]), np.array([0, 1, 0, 1]), 0.6)
    0.7
    """
    if not 0 < level < 1:
        raise ConfigError(f"level must lie in (0, 1), got {level}")
    probs, labels = check(probs, labels)
    n = len(labels)
    rank = int(np.ceil((n + 1) * level - 1e-9))  # 0.55 * 100 is 55.00000000000001
    return float(-np.sort(-probs[np.arange(n), labels])[rank - 1]) if rank <= n else 0.0


def thresholds(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """What `fit` says for each of `LEVELS`, as manifests hold it: level as text -> probability, six digits, cut off.

    Args:
        probs: (N, C) probabilities on validation.
        labels: (N,) int.
    """
    return {f"{level:g}": float(np.floor(1e6 * fit(probs, labels, level)) / 1e6) for level in LEVELS}


def sets(probs: np.ndarray, threshold: float) -> np.ndarray:
    """Which classes the sets hold; the likeliest class is always in.

    Args:
        probs: (N, C) probabilities.
        threshold: From `fit`.

    Returns:
        (N, C) bool.
    """
    probs = np.asarray(probs, dtype=np.float64)
    inside = probs >= threshold
    inside[np.arange(len(probs)), probs.argmax(axis=1)] = True
    return inside


def measure(probs: np.ndarray, labels: np.ndarray, threshold: float) -> ConformalScore:
    """Coverage and size of the sets on faces they were not fitted on.

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int.
        threshold: From `fit`.
    """
    probs, labels = check(probs, labels)
    inside = sets(probs, threshold)
    size = inside.sum(axis=1)
    counts = np.bincount(size, minlength=probs.shape[1] + 1)
    return ConformalScore(
        float(inside[np.arange(len(labels)), labels].mean()), float(size.mean()), tuple(int(c) for c in counts)
    )
