"""Temperature scaling: one number, fitted on validation, that makes confidence mean what it says."""

from __future__ import annotations

import numpy as np

from fer.errors import ConfigError
from fer.evaluation.metrics import check

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
