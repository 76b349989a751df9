"""The emoji mirror: every face covered by the emoji of the moment, one fading into the next."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fer.emoji import emoji_picture
from fer.errors import unknown_name
from fer.images import read_image

if TYPE_CHECKING:
    from fer.inference.live import LiveFace, LiveFrame

GROUNDS = ("picture", "plain")
_PLAIN = (244, 241, 235)
_LARGER = 1.3  # than the face's box, so that hair and chin are covered


@dataclass
class _Fading:
    weights: np.ndarray  # (C,), sums to 1
    time_s: float


class EmojiMirror:
    """Draws frames of one stream; keeps for each face how far its emoji has faded.

    Args:
        fade_s: How long one emoji takes to give way to the next; 0 = at once.
        ground: "picture" covers the faces in the picture, "plain" shows emoji and nothing else.

    Raises:
        ConfigError: unknown ground.
    """

    def __init__(self, fade_s: float = 0.25, ground: str = "picture"):
        if ground not in GROUNDS:
            raise unknown_name("ground", ground, GROUNDS)
        self.fade_s = max(fade_s, 0.0)
        self.ground = ground
        self._faces: dict[int, _Fading] = {}

    def draw(self, image: np.ndarray, frame: LiveFrame) -> np.ndarray:
        """A copy of the picture with an emoji over each face, those of the nearer (larger) faces in front.

        Args:
            image: uint8 (H, W, 3) RGB, the frame that was looked at.
            frame: From `LivePipeline.process`.

        Returns:
            uint8 (H, W, 3).
        """
        if self.ground == "plain":
            drawn = np.empty((*np.asarray(image).shape[:2], 3), np.uint8)
            drawn[:] = _PLAIN
        else:
            drawn = read_image(image).copy()
        self._faces = {f.id: self._fade(f, frame.time_s) for f in frame.faces}
        for face in sorted(frame.faces, key=lambda f: f.box[2] - f.box[0]):
            self._paste(drawn, face)
        return drawn

    def weights(self, face_id: int) -> np.ndarray:
        """(C,) shares of the emoji drawn for a face of the last frame; they sum to 1."""
        return self._faces[face_id].weights

    def _fade(self, face: LiveFace, time_s: float) -> _Fading:
        goal = np.zeros(len(face.labels))
        goal[face.shown] = 1.0
        last = self._faces.get(face.id)
        if last is None or self.fade_s == 0:
            return _Fading(goal, time_s)
        step = max(time_s - last.time_s, 0.0) / self.fade_s
        # the old ones lose weight evenly, in proportion; whole after fade_s
        left = max(1 - last.weights[face.shown] - step, 0.0)
        others = last.weights * (1 - goal)
        total = others.sum()
        weights = others * (left / total) if total > 0 else others
        return _Fading(weights + goal * (1 - weights.sum()), time_s)

    def _paste(self, drawn: np.ndarray, face: LiveFace) -> None:
        left, top, right, bottom = face.box
        side = max(round(_LARGER * max(right - left, bottom - top)), 4)
        weights = self._faces[face.id].weights
        tile = np.zeros((side, side, 4), np.float32)
        for i in np.flatnonzero(weights > 0.004):
            tile += weights[i] * _sized(face.labels.names[i], side)
        x0, y0 = round((left + right - side) / 2), round((top + bottom - side) / 2)
        height, width = drawn.shape[:2]
        x1, y1, x2, y2 = max(x0, 0), max(y0, 0), min(x0 + side, width), min(y0 + side, height)
        if x2 <= x1 or y2 <= y1:
            return
        part = drawn[y1:y2, x1:x2]
        cut = tile[y1 - y0 : y2 - y0, x1 - x0 : x2 - x0]
        part[:] = np.rint(part * (1 - cut[..., 3:] / 255) + cut[..., :3]).clip(0, 255).astype(np.uint8)


def _sized(label: str, side_px: int) -> np.ndarray:
    """float32 (side_px, side_px, 4), colours multiplied by their opacity."""
    import cv2

    tile = _premultiplied(label)
    how = cv2.INTER_AREA if side_px < len(tile) else cv2.INTER_LINEAR
    return cv2.resize(tile, (side_px, side_px), interpolation=how)


@functools.lru_cache(maxsize=16)
def _premultiplied(label: str) -> np.ndarray:
    pixels = emoji_picture(label).astype(np.float32)
    pixels[..., :3] *= pixels[..., 3:] / 255
    return pixels
