"""What a detector gives back, and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a picture.

    Attributes:
        box: (left, top, right, bottom) in pixels of the picture, right and bottom exclusive, inside the picture.
        score: 0..1, how sure the detector is.
        landmarks: float32 (5, 2) x, y in pixels, in the order of the picture from left to right: left eye, right eye,
            nose tip, left and right corner of the mouth; None where the detector gives none.
    """

    box: Box
    score: float
    landmarks: np.ndarray | None = None

    @property
    def area_px(self) -> int:
        """Area of the box in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture made ready for a detector: scaled, with a border of repeated edge pixels.

    Attributes:
        pixels: uint8 (h, w, 3) RGB or (h, w) grey.
        scale: Frame pixels per picture pixel.
        border_px: Width of the border, in frame pixels.
        size: (height, width) of the picture, in picture pixels.
    """

    pixels: np.ndarray
    scale: float
    border_px: int
    size: tuple[int, int]

    def to_picture(self, box: tuple[float, float, float, float]) -> Box | None:
        """A box of the frame, in picture pixels and clipped to the picture; None where nothing is left of it."""
        height, width = self.size
        left, top, right, bottom = (round((v - self.border_px) / self.scale) for v in box)
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        return (left, top, right, bottom) if right > left and bottom > top else None


def make_frame(image: np.ndarray, max_side_px: int, max_zoom: float = 1.0, border: float = 0.0) -> Frame:
    """Scale a picture so that its longest side is `max_side_px`, magnifying at most `max_zoom` times.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        border: Width of the border as a share of the scaled picture's longest side.
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(max_side_px / max(height, width), max_zoom)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    pixels = image
    if size != (width, height):
        pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    border_px = round(border * max(size))
    if border_px:
        pixels = cv2.copyMakeBorder(pixels, border_px, border_px, border_px, border_px, cv2.BORDER_REPLICATE)
    return Frame(pixels, scale, border_px, (height, width))


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom).

    >>> round(iou((0, 0, 2, 2), (1, 0, 3, 2)), 3)
    0.333
    """
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def suppress(faces: list[Face], overlap: float = 0.3) -> list[Face]:
    """The best of faces that overlap: one box in another counts as an overlap too.

    >>> [f.score for f in suppress([Face((0, 0, 9, 9), 0.5), Face((0, 0, 10, 10), 0.9), Face((20, 0, 25, 5), 0.4)])]
    [0.9, 0.4]
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: -f.score):
        if all(iou(face.box, k.box) < overlap and _inside(face.box, k.box) < 0.6 for k in kept):
            kept.append(face)
    return kept


def _inside(a: Box, b: Box) -> float:
    """Share of the smaller box that lies in the other."""
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / min((a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1]))
