"""Calibration to a person's neutral face: "my neutral face is sad" is the commonest complaint about such tools.

A face at rest differs between people (heavy brows, a drooping mouth), and a model adds what it thinks of them to the
log-probabilities of *every* frame. The person looks into the camera with a neutral face for a few seconds; what is
measured there is taken off afterwards:

    e_c = quantile_q over the frames of (log p_c - log p_neutral)          excess of class c at rest
    d_c = min(limit, max(0, e_c + margin)) for c != neutral, d_neutral = 0
    log p'_c = log p_c - w d_c + const

With w = 1 this is the componentwise smallest lowering after which neutral leads every class by `margin` in a share q of
the person's own neutral frames. It needs no reference population. It is sparse: a class that the resting face is not
taken for keeps its log-odds against neutral. `limit` damps it: a class is never made more than e^limit times less
likely, whatever was shown during the calibration. The weight w keeps it local, because what a resting face adds fades
where the same muscles move: z being log-probabilities less their mean,

    w = clip(2 - D, 0, 1),   D^2 = mean over c of (z_c - mean_c)^2 / (var_c + 0.5^2)

so a frame that is as near to the resting face as its own frames are is corrected in full, one that lies twice as far
is a different expression and left as the model sees it. Measured through pixels on 60 drawn subjects with the bundled
8-bit nets (tests/unit/inference/test_neutral.py): `attention_cnn`, `vgg8` and `tiny_cnn` did not take 19, 26 and 31 for
neutral at rest; neutral was restored for all of these. Accuracy on their six other expressions before 81.8, 76.3 and
65.5, after 81.6, 77.9 and 69.4; without w 75.2, 75.5 and 71.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer.errors import ConfigError, DataError
from fer.labels import LabelSet

LEAST_SAMPLES = 5
_SMALLEST = 1e-6
_LEAST_SPREAD = 0.5  # nats


@dataclass(frozen=True, eq=False)
class NeutralOffset:
    """What is taken off one person's log-probabilities near their resting face.

    Attributes:
        lowering: float64 (C,), nats, at least 0; 0 for neutral.
        mean, spread: float64 (C,), of the resting face's log-probabilities (less their mean over the classes).
    """

    lowering: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    def apply(self, probs: np.ndarray) -> np.ndarray:
        """Probabilities as they would be if this person's resting face looked neutral.

        Args:
            probs: (C,) or (N, C), rows sum to 1.

        Returns:
            float32, the same shape, rows sum to 1.
        """
        log_p = _log(probs)
        away = (_centred(log_p) - self.mean) / self.spread
        weight = np.clip(2 - np.sqrt(np.mean(away**2, axis=-1, keepdims=True)), 0, 1)
        p = np.exp(log_p - weight * self.lowering)
        return (p / p.sum(axis=-1, keepdims=True)).astype(np.float32)


def _log(probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probs, dtype=np.float64), _SMALLEST))


def _centred(log_p: np.ndarray) -> np.ndarray:
    return log_p - log_p.mean(axis=-1, keepdims=True)


def measure_offset(
    probs: np.ndarray, labels: LabelSet, margin: float = 0.5, share: float = 0.9, limit: float = 5.0
) -> NeutralOffset:
    """The offset of one person from probabilities of their neutral face.

    Args:
        probs: (N, C), one row a frame, at least 5 of them.
        labels: Classes, in the order of the columns; "neutral" among them.
        margin: By how much neutral leads afterwards, in nats.
        share: Share of the frames in which it does, for each class.
        limit: Largest lowering of a class, in nats.

    Raises:
        DataError: too few frames, or not (N, C).
        ConfigError: the classes do not contain neutral.

    >>> from fer.labels import FER7
    >>> rest = np.tile([0.55, 0.01, 0.01, 0.01, 0.01, 0.01, 0.4], (9, 1))  # taken for angry
    >>> offset = measure_offset(rest, FER7)
    >>> FER7.names[int(offset.apply(rest[0]).argmax())], offset.lowering.round(2).tolist()
    ('neutral', [0.82, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    """
    check_labels(labels)
    p = np.asarray(probs, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != len(labels) or len(p) < LEAST_SAMPLES:
        raise DataError(
            f"expected probabilities of at least {LEAST_SAMPLES} frames of {len(labels)} classes, got shape {p.shape}"
        )
    neutral = labels.index("neutral")
    log_p = _log(p)
    excess = np.quantile(log_p - log_p[:, [neutral]], share, axis=0)
    lowering = np.clip(excess + margin, 0.0, limit)
    lowering[neutral] = 0.0
    rest = _centred(log_p)
    return NeutralOffset(lowering, rest.mean(axis=0), np.sqrt(rest.var(axis=0) + _LEAST_SPREAD**2))


def check_labels(labels: LabelSet) -> None:
    """Raises ConfigError when the classes do not contain neutral."""
    if "neutral" not in labels.names:
        raise ConfigError(f"calibration needs the class neutral, the model has {', '.join(labels.names)} only")


class NeutralCollector:
    """Gathers one person's neutral frames until there are enough.

    Args:
        labels: The model's classes, "neutral" among them.
        seconds: How long the neutral face is watched.
        patience: The collector gives up when the time for it, `patience` times `seconds`, passes without enough frames
            (the face left).

    Attributes:
        progress: 0..1.
        failed: It gave up.

    Raises:
        ConfigError: seconds not in 0.2..60; no class neutral.
    """

    def __init__(self, labels: LabelSet, seconds: float = 3.0, patience: float = 3.0):
        check_labels(labels)
        if not 0.2 <= seconds <= 60:
            raise ConfigError(f"a calibration takes 0.2..60 seconds, got {seconds}")
        self.labels = labels
        self.seconds = seconds
        self.patience = patience
        self.progress = 0.0
        self.failed = False
        self._rows: list[np.ndarray] = []
        self._watched_s = 0.0
        self._first_s: float | None = None
        self._last_s = 0.0

    def add(self, probs: np.ndarray, time_s: float) -> NeutralOffset | None:
        """Take in one frame (probabilities (C,) without smoothing); the offset once there is enough, else None."""
        if self._first_s is None:
            self._first_s = self._last_s = time_s
        # a gap in which the face was not seen counts as little as one slow frame
        self._watched_s += min(time_s - self._last_s, 0.25)
        self._last_s = time_s
        self._rows.append(np.asarray(probs, dtype=np.float64))
        self.progress = min(self._watched_s / self.seconds, len(self._rows) / LEAST_SAMPLES, 1.0)
        if self.progress >= 1 - 1e-9:
            return measure_offset(np.stack(self._rows), self.labels)
        self.check_patience(time_s)
        return None

    def check_patience(self, time_s: float) -> None:
        """Note that time passes, also while the face is not seen."""
        if self._first_s is not None and time_s - self._first_s > self.patience * self.seconds:
            self.failed = True
