"""Temperature scaling: one number, fitted on validation, that makes confidence mean what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer.errors import ConfigError, DataError
from fer.evaluation.metrics import BINS, FLOOR, bin_of, check
from fer.evaluation.statistics import Interval, percentiles, resampled_sums

_SMALLEST = float(np.finfo(np.float32).tiny)
T_MIN, T_MAX = 0.05, 20.0


def fit_temperature(log_probs: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T that minimises the negative log-likelihood of softmax(log_probs / T).

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2.

    Args:
        log_probs: (N, C) log-probabilities or logits (a constant per row does not matter) of the *validation* split.
        labels: (N,) int.

    Returns:
        T between 0.05 and 20; above 1 means that the model was too sure of itself.

    Raises:
        DataError: shapes or labels that do not fit, values that are not finite.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    z = np.asarray(log_probs, dtype=np.float64)
    check(np.exp(log_softmax(z, axis=1)) if z.ndim == 2 else z, labels)
    rows = np.arange(len(z))

    def loss(log_t: float) -> float:
        return float(-log_softmax(z / np.exp(log_t), axis=1)[rows, labels].mean())

    found = minimize_scalar(loss, bounds=(np.log(T_MIN), np.log(T_MAX)), method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def log_probabilities(probs: np.ndarray) -> np.ndarray:
    """Logarithm with a floor at the smallest normal float32, so that an underflowed 0 stays finite."""
    return np.log(np.maximum(np.asarray(probs, dtype=np.float64), _SMALLEST))


def apply_temperature(probs: np.ndarray, temperature: float) -> np.ndarray:
    """softmax(log(probs) / temperature); `1 / temperature` undoes it.

    Args:
        probs: (N, C) probabilities.
        temperature: Positive.

    Returns:
        (N, C) float32, rows sum to 1.

    Raises:
        ConfigError: the temperature is not a positive number.

    >>> apply_temperature(np.array([[0.8, 0.2]]), 2.0).round(3).tolist()
    [[0.6669999957084656, 0.3330000042915344]]
    """
    from scipy.special import softmax

    if not (np.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"temperature must be a positive number, got {temperature}")
    if temperature == 1:
        return np.asarray(probs, dtype=np.float32)
    return softmax(log_probabilities(probs) / temperature, axis=1).astype(np.float32)


@dataclass(frozen=True)
class CalibrationDifference:
    """The first model's scores minus the second's on the same faces; below 0 the first is better.

    Attributes:
        nll: Difference of the mean negative log-likelihood, in nats. nll_interval: its 95 % paired bootstrap interval.
        ece: Difference of the expected calibration error. ece_interval: its 95 % paired bootstrap interval.
    """

    nll: float
    nll_interval: Interval
    ece: float
    ece_interval: Interval


def calibration_difference(
    probs_a: np.ndarray, probs_b: np.ndarray, labels: np.ndarray, seed: int = 0
) -> CalibrationDifference:
    """By how much do two models' NLL and ECE differ, and how sure is that?

    Args:
        probs_a, probs_b: (N, C) probabilities of the same faces in the same order.
        labels: (N,) int.
        seed: Of the bootstrap.

    Raises:
        DataError: the inputs do not fit together.
    """
    (a, labels), (b, _) = check(probs_a, labels), check(probs_b, labels)
    if a.shape != b.shape:
        raise DataError(f"two models must be compared on the same classes, got {a.shape} and {b.shape}")
    rows, n = np.arange(len(labels)), len(labels)
    loss = np.log(np.maximum(b[rows, labels], FLOOR)) - np.log(np.maximum(a[rows, labels], FLOOR))
    columns = np.column_stack([loss, _gaps(a, labels), _gaps(b, labels)])

    def differences(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of_a, of_b = np.abs(sums[:, 1 : 1 + BINS]), np.abs(sums[:, 1 + BINS :])
        return sums[:, 0] / n, (of_a.sum(axis=1) - of_b.sum(axis=1)) / n

    nll, ece = differences(columns.sum(axis=0, keepdims=True))
    nll_drawn, ece_drawn = differences(resampled_sums(columns, seed))
    return CalibrationDifference(float(nll[0]), percentiles(nll_drawn), float(ece[0]), percentiles(ece_drawn))


def _gaps(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N, BINS): correct minus confidence in the column of the face's bin; |column sums| add up to N times the ECE."""
    confidence = probs.max(axis=1)
    out = np.zeros((len(probs), BINS))
    out[np.arange(len(probs)), bin_of(confidence)] = (probs.argmax(axis=1) == labels) - confidence
    return out
