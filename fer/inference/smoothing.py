"""Probabilities smoothed over time, in seconds and not in frames, and a label that does not flicker."""

from __future__ import annotations

import math

import numpy as np

from fer.errors import ConfigError


class Smoother:
    """First-order low pass over the probabilities of one face, and the label that is shown for it.

    Between two frames the state moves to the newer probabilities by 1 - exp(-dt / time_constant_s): the exact solution
    of dp/dt = (x - p) / time_constant_s for an input that holds from frame to frame, so that 10 and 60 frames a second
    give the same curve. After a clean change of expression the label follows within about 0.8 time constants.
    Probabilities are averaged rather than logits: a single frame can move the state by its share of the time at most,
    however sure the model is of it.

    Args:
        time_constant_s: 0 = no smoothing.
        hysteresis: Another class takes over the label only when its smoothed probability is this much larger.

    Attributes:
        index: Class shown, None before the first update.
    """

    def __init__(self, time_constant_s: float = 0.25, hysteresis: float = 0.1):
        check_smoothing(time_constant_s, hysteresis)
        self.time_constant_s = time_constant_s
        self.hysteresis = hysteresis
        self.index: int | None = None
        self._state = np.empty(0)
        self._time_s = 0.0

    def update(self, probs: np.ndarray, time_s: float) -> np.ndarray:
        """Take in the probabilities of one frame.

        Args:
            probs: (C,), sums to 1.
            time_s: Of the frame; may not run backwards.

        Returns:
            float32 (C,), the smoothed probabilities; the first ones come back as they are.
        """
        new = np.asarray(probs, dtype=np.float64)
        if self.index is None or self.time_constant_s <= 0:
            self._state = new
        else:
            passed = max(time_s - self._time_s, 0.0)
            self._state = self._state + (1 - math.exp(-passed / self.time_constant_s)) * (new - self._state)
        self._time_s = time_s
        likeliest = int(self._state.argmax())
        if self.index is None or self._state[likeliest] > self._state[self.index] + self.hysteresis:
            self.index = likeliest
        return self._state.astype(np.float32)


def check_smoothing(time_constant_s: float, hysteresis: float) -> None:
    """Refuse impossible settings.

    Raises:
        ConfigError: a negative or endless time constant, a hysteresis outside 0..1.
    """
    if not 0 <= time_constant_s <= 60:
        raise ConfigError(f"time_constant_s must be 0..60, got {time_constant_s}")
    if not 0 <= hysteresis < 1:
        raise ConfigError(f"hysteresis must be at least 0 and below 1, got {hysteresis}")
