"""What was seen during the last seconds, for a chart that runs along."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import ConfigError

if TYPE_CHECKING:
    from fer.inference.live import LiveFace


@dataclass(frozen=True, eq=False)
class Moment:
    """One face at one time.

    Attributes:
        time_s: Of the frame.
        id: Of the face.
        label: Shown for it.
        probs: float32 (C,), smoothed.
    """

    time_s: float
    id: int
    label: str
    probs: np.ndarray


class Timeline:
    """The last `seconds`, at most `rate_hz` moments a second for each face: its size is bounded.

    Args:
        seconds: How far it reaches back.
        rate_hz: Frames in between are left out.
    """

    def __init__(self, seconds: float = 30.0, rate_hz: float = 10.0):
        if not 0 < seconds <= 3600 or not 0 < rate_hz <= 1000:
            raise ConfigError(f"expected 0 < seconds <= 3600 and 0 < rate_hz <= 1000, got {seconds} and {rate_hz}")
        self.seconds = seconds
        self.rate_hz = rate_hz
        self._moments: deque[Moment] = deque()
        self._last: dict[int, float] = {}

    def add(self, time_s: float, faces: Iterable[LiveFace]) -> None:
        """Take in one frame; frames come in order of time."""
        for face in faces:
            if time_s - self._last.get(face.id, -np.inf) >= 1 / self.rate_hz - 1e-6:
                self._last[face.id] = time_s
                self._moments.append(Moment(time_s, face.id, face.label, face.probs))
        while self._moments and self._moments[0].time_s < time_s - self.seconds:
            self._moments.popleft()
        self._last = {i: t for i, t in self._last.items() if t >= time_s - self.seconds}

    def __len__(self) -> int:
        return len(self._moments)

    @property
    def ids(self) -> list[int]:
        """Faces in it, by number."""
        return sorted({m.id for m in self._moments})

    def of(self, face_id: int) -> tuple[np.ndarray, np.ndarray]:
        """One face: times (n,) in seconds and smoothed probabilities (n, C) float32."""
        mine = [m for m in self._moments if m.id == face_id]
        if not mine:
            return np.empty(0), np.empty((0, 0), np.float32)
        return np.array([m.time_s for m in mine]), np.stack([m.probs for m in mine])

    def rows(self) -> list[dict[str, Any]]:
        """Plain records in order of time: time_s, id, label, probs (list)."""
        return [
            {"time_s": round(m.time_s, 3), "id": m.id, "label": m.label, "probs": [round(float(p), 4) for p in m.probs]}
            for m in self._moments
        ]

    def clear(self) -> None:
        """Forget everything."""
        self._moments.clear()
        self._last.clear()
