"""How faces move from one frame to the next, and what they look like from afar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_SEARCH_PX = 320  # longest side of the grey picture in which points are followed
_GRID = 6
_WINDOW_PX = (11, 11)
_MOST_ERROR_PX = 1.0  # forward-backward, in the reduced picture
_LEAST_POINTS = 8
_LONGEST_GAP_S = 0.5

FloatBox = tuple[float, float, float, float]


class Motion:
    """Median flow (Kalal et al. 2010) of several boxes at once, with Lucas and Kanade's method.

    Keeps the last frame, reduced and grey.
    """

    def __init__(self) -> None:
        self._last: np.ndarray | None = None

    def follow(
        self, image: np.ndarray, boxes: Sequence[FloatBox], passed_s: float
    ) -> list[tuple[np.ndarray, float] | None]:
        """How each box of the last frame has moved.

        Args:
            image: uint8 (H, W, 3) RGB, this frame; the size of the last one.
            boxes: In pixels of the picture, where they were in the last frame.
            passed_s: Since the last frame; after a long gap nothing is claimed.

        Returns:
            For each box its step (dx, dy) in pixels and its growth (1 = same size), or None where too few points could
            be followed there and back again.
        """
        import cv2

        flow: Any = cv2.calcOpticalFlowPyrLK  # its stubs do not know that the result's place may be left open
        height, width = image.shape[:2]
        scale = min(_SEARCH_PX / max(height, width), 1.0)
        small = cv2.resize(
            image, (max(round(width * scale), 1), max(round(height * scale), 1)), interpolation=cv2.INTER_LINEAR
        )
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        last, self._last = self._last, gray
        if last is None or not boxes or passed_s > _LONGEST_GAP_S:
            return [None] * len(boxes)
        starts = np.concatenate([_grid(box) * scale for box in boxes]).astype(np.float32)
        ends, there, _ = flow(last, gray, starts[:, None], None, winSize=_WINDOW_PX, maxLevel=3)
        back, again, _ = flow(gray, last, ends, None, winSize=_WINDOW_PX, maxLevel=3)
        ends, back = ends[:, 0], back[:, 0]
        error = np.linalg.norm(back - starts, axis=1)
        inside = ((starts >= 0) & (starts < gray.shape[::-1])).all(axis=1)
        good = (there[:, 0] > 0) & (again[:, 0] > 0) & (error < _MOST_ERROR_PX) & inside
        answers: list[tuple[np.ndarray, float] | None] = []
        for k in range(len(boxes)):
            part = slice(k * _GRID**2, (k + 1) * _GRID**2)
            a, b = starts[part][good[part]], ends[part][good[part]]
            if len(a) < _LEAST_POINTS:
                answers.append(None)
                continue
            answers.append((np.median(b - a, axis=0).astype(float) / scale, _growth(a, b)))
        return answers


def _grid(box: FloatBox) -> np.ndarray:
    """(n, 2) points in the middle four fifths of a box: its corners show the background."""
    left, top, right, bottom = box
    t = np.linspace(0.15, 0.85, _GRID)
    x, y = np.meshgrid(left + t * (right - left), top + t * (bottom - top))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _growth(a: np.ndarray, b: np.ndarray) -> float:
    """Median ratio of the distances between points, at most 10 % a frame."""
    i, j = np.triu_indices(len(a), k=1)
    before = np.linalg.norm(a[i] - a[j], axis=1)
    after = np.linalg.norm(b[i] - b[j], axis=1)
    return float(np.clip(np.median(after / np.maximum(before, 1e-6)), 0.9, 1.1))


def look_of(image: np.ndarray, box: FloatBox) -> np.ndarray:
    """Coarse colours of a head and what is below it.

    Args:
        image: uint8 (H, W, 3) RGB.
        box: Of the face, in pixels.

    Returns:
        float32 (5, 3, 3) Lab, 0..255: five rows from above the hair to the shoulders; NaN outside the picture.
    """
    import cv2

    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    ys = np.linspace(top - 0.2 * high, bottom + 0.55 * high, 6)
    xs = np.linspace(left + 0.1 * wide, right - 0.1 * wide, 4)
    look = np.full((5, 3, 3), np.nan, np.float32)
    height, width = image.shape[:2]
    for r in range(5):
        y0, y1 = max(int(ys[r]), 0), min(int(ys[r + 1]) + 1, height)
        for c in range(3):
            x0, x1 = max(int(xs[c]), 0), min(int(xs[c + 1]) + 1, width)
            if y1 > y0 and x1 > x0:
                look[r, c] = cv2.mean(image[y0:y1, x0:x1])[:3]
    lab = cv2.cvtColor(np.nan_to_num(look).astype(np.uint8), cv2.COLOR_RGB2LAB).astype(np.float32)
    return np.where(np.isnan(look), np.nan, lab)


def looks_differ(a: np.ndarray, b: np.ndarray) -> float:
    """Mean distance of two looks over the cells that both have, in Lab units; lightness counts half.

    Infinite where they share fewer than six cells.
    """
    both = ~np.isnan(a[..., 0]) & ~np.isnan(b[..., 0])
    if both.sum() < 6:
        return float("inf")
    return float(np.linalg.norm((a - b)[both] * (0.5, 1.0, 1.0), axis=1).mean())


def mix_looks(old: np.ndarray, new: np.ndarray, share: float) -> np.ndarray:
    """The old look with a share of the new one; a cell that one of them lacks is taken from the other."""
    return np.where(np.isnan(old), new, np.where(np.isnan(new), old, (1 - share) * old + share * new))
