"""Faces followed from frame to frame under stable numbers, cheaply: a detector need not run on every frame.

Between detections a face moves with the median flow of a grid of points (Kalal, Mikolajczyk and Matas 2010,
"Forward-Backward Error") or, where the flow cannot be trusted, with its last velocity. Detections are assigned to
tracks by overlap with the predicted boxes and by looks (coarse colours of head and clothes); a face that was hidden
or left is recognised by its looks for some seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fer.errors import ConfigError
from fer.faces.types import Box, Face, iou
from fer.inference.motion import Motion, look_of, looks_differ, mix_looks


@dataclass(frozen=True)
class TrackerOptions:
    """Settings.

    Attributes:
        hide_s: A face that detections have missed for this long (at least twice) is no longer shown. One that they miss
            and that looks otherwise by now, or that could not be followed, goes at once.
        coast_s: How long a hidden face's place is still guessed from its velocity.
        remember_s: How long a hidden face is recognised by its looks. 0 = a face that left gets a new number.
        same_look: Largest distance of looks (Lab units) of the same person, anywhere in the picture.
        most: Tracks kept at once; more faces are ignored, the smallest first.
    """

    hide_s: float = 0.6
    coast_s: float = 1.5
    remember_s: float = 8.0
    same_look: float = 9.0
    most: int = 64

    def __post_init__(self) -> None:
        if self.most < 1 or min(self.hide_s, self.coast_s, self.remember_s, self.same_look) < 0:
            raise ConfigError(f"expected times and distances of at least 0 and most of at least 1, got {self}")


@dataclass(frozen=True)
class Tracked:
    """A face that is followed.

    Attributes:
        id: Its number, from 1; never given to another face.
        box: (left, top, right, bottom) in pixels, right and bottom exclusive, inside the picture.
        score: The detector's, when it last saw the face.
        seen_s: Time of that.
    """

    id: int
    box: Box
    score: float
    seen_s: float


@dataclass
class _Track:
    id: int
    centre: np.ndarray  # x, y in pixels
    side: np.ndarray  # width, height in pixels
    score: float
    seen_s: float
    look: np.ndarray
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))  # px / s
    hits: int = 1
    misses: int = 0
    hidden: bool = False
    followed: bool = True  # by the flow, from the last frame to this one
    placed: bool = True  # its place still means something

    @property
    def box(self) -> tuple[float, float, float, float]:
        (x, y), (w, h) = self.centre, self.side / 2
        return x - w, y - h, x + w, y + h


class Tracker:
    """Gives faces their numbers. One for each stream; not for several threads at once."""

    def __init__(self, options: TrackerOptions | None = None):
        self.options = options or TrackerOptions()
        self._tracks: list[_Track] = []
        self._motion = Motion()
        self._time_s: float | None = None
        self._size = (0, 0)
        self._given = 0

    @property
    def unsure(self) -> bool:
        """A detection now would help: a face is new, was missed or could not be followed."""
        return any(not t.hidden and (t.hits < 2 or t.misses > 0 or not t.followed) for t in self._tracks)

    @property
    def shown(self) -> int:
        """Faces followed at present."""
        return sum(not t.hidden for t in self._tracks)

    def update(self, image: np.ndarray, time_s: float, faces: Sequence[Face] | None) -> list[Tracked]:
        """The faces of the next frame.

        Args:
            image: uint8 (H, W, 3) RGB.
            time_s: Of the frame, later than that of the last one.
            faces: What a detector found in it; None where it did not run.

        Returns:
            The faces followed, by number.
        """
        height, width = image.shape[:2]
        if (width, height) != self._size:  # turned phone, another camera: the places mean nothing any more
            self._size = (width, height)
            self._motion = Motion()
            for t in self._tracks:
                t.hidden, t.placed = True, False
        passed = 0.0 if self._time_s is None else max(time_s - self._time_s, 0.0)
        self._time_s = time_s
        self._move(image, passed)
        if faces is not None:
            self._assign(image, time_s, faces)
        self._forget(time_s)
        shown = []
        for t in sorted(self._tracks, key=lambda t: t.id):
            box = _inside(t.box, width, height)
            if not t.hidden and box is not None:
                shown.append(Tracked(t.id, box, t.score, t.seen_s))
        return shown

    def _move(self, image: np.ndarray, passed: float) -> None:
        """Carry every track over to this frame."""
        followed = [t for t in self._tracks if not t.hidden]
        crossing = {t.id for t in followed for other in self._tracks if other is not t and iou(t.box, other.box) > 0.1}
        flows = self._motion.follow(image, [t.box for t in followed], passed)
        for t, flow in zip(followed, flows, strict=True):
            t.followed = flow is not None
            if flow is None or t.id in crossing:
                # where faces overlap, points belong to the one in front: both go on as they went
                t.centre = t.centre + t.velocity * passed
                continue
            step, growth = flow
            t.centre = t.centre + step
            t.side = t.side * growth
            if passed > 0:
                t.velocity = t.velocity + (1 - np.exp(-passed / 0.15)) * (step / passed - t.velocity)
        for t in self._tracks:
            if t.hidden and self._time_s is not None and self._time_s - t.seen_s <= self.options.coast_s:
                t.centre = t.centre + t.velocity * passed

    def _assign(self, image: np.ndarray, time_s: float, faces: Sequence[Face]) -> None:
        from scipy.optimize import linear_sum_assignment

        faces = sorted(faces, key=lambda f: -f.area_px)[: self.options.most]
        looks = [look_of(image, f.box) for f in faces]
        impossible = 100.0
        cost = np.full((len(self._tracks), len(faces)), impossible)
        for i, t in enumerate(self._tracks):
            for j, (face, look) in enumerate(zip(faces, looks, strict=True)):
                price = self._price(t, face, look, time_s)
                if price is not None:
                    cost[i, j] = price
        free = set(range(len(faces)))
        found = set()
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            if cost[i, j] < impossible:
                self._confirm(self._tracks[i], faces[j], looks[j], time_s)
                free.discard(j)
                found.add(i)
        for i, t in enumerate(self._tracks):
            if i in found or t.hidden:
                continue
            t.misses += 1
            late = t.misses >= 2 and time_s - t.seen_s >= self.options.hide_s
            t.hidden = late or t.hits < 2 or not t.followed or self._changed(t, image)
        for j in sorted(free):
            if self.shown < self.options.most:
                self._given += 1
                centre, side = _middle(faces[j].box)
                self._tracks.append(_Track(self._given, centre, side, faces[j].score, time_s, looks[j]))

    def _price(self, t: _Track, face: Face, look: np.ndarray, time_s: float) -> float | None:
        """Cost of taking a detection for a track, None where it cannot be that face."""
        centre, side = _middle(face.box)
        overlap = iou(t.box, face.box)
        apart = float(np.linalg.norm(centre - t.centre) / max(side.mean(), t.side.mean()))
        ratio = float(side.mean() / t.side.mean())
        unlike = looks_differ(t.look, look) / max(self.options.same_look, 1e-6)
        lost_s = time_s - t.seen_s
        near = t.placed and (overlap > 0.1 or apart < 0.5) and 0.5 < ratio < 2
        if near and (not t.hidden or lost_s <= self.options.coast_s):
            return 1 - overlap + 0.5 * min(unlike, 4.0)
        if (t.hidden or not t.followed) and unlike < 1 and 0.4 < ratio < 2.5:
            return 3 + unlike  # dearer than any neighbour: looks alone decide only what places do not
        return None

    def _confirm(self, t: _Track, face: Face, look: np.ndarray, time_s: float) -> None:
        centre, side = _middle(face.box)
        known = not t.hidden and time_s - t.seen_s <= self.options.coast_s
        away = float(np.linalg.norm(centre - t.centre) / side.mean())
        if known and away < 0.25:  # damps the detector's trembling
            t.centre, t.side = 0.5 * (t.centre + centre), 0.6 * t.side + 0.4 * side
        else:
            t.centre, t.side = centre, side
        if t.hidden and away > 0.5:
            t.velocity = np.zeros(2)
        t.look = mix_looks(t.look, look, 0.2)
        t.score, t.seen_s, t.hits, t.misses = face.score, time_s, t.hits + 1, 0
        t.hidden, t.placed, t.followed = False, True, True

    def _changed(self, t: _Track, image: np.ndarray) -> bool:
        """Whether there is something else by now where the face should be."""
        return looks_differ(t.look, look_of(image, t.box)) > 2 * self.options.same_look

    def _forget(self, time_s: float) -> None:
        limit = max(self.options.remember_s, self.options.coast_s)
        width, height = self._size
        for t in self._tracks:
            if _inside(t.box, width, height) is None:
                t.hidden = True
        self._tracks = [t for t in self._tracks if not t.hidden or (t.hits >= 2 and time_s - t.seen_s <= limit)]


def _middle(box: Box) -> tuple[np.ndarray, np.ndarray]:
    left, top, right, bottom = box
    return np.array([(left + right) / 2, (top + bottom) / 2]), np.array([right - left, bottom - top], dtype=float)


def _inside(box: tuple[float, float, float, float], width: int, height: int) -> Box | None:
    """Clipped to the picture; None where less than a third of the face is in it."""
    left, top, right, bottom = max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height)
    whole = (box[2] - box[0]) * (box[3] - box[1])
    if right - left < 1 or bottom - top < 1 or (right - left) * (bottom - top) < whole / 3:
        return None
    x0, y0 = round(left), round(top)
    return x0, y0, max(round(right), x0 + 1), max(round(bottom), y0 + 1)
