"""No detection: for pictures that are face crops already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fer.faces.crop import crop
from fer.faces.types import Face

MOST_PX = 512  # of the square; no net here takes more


@dataclass(frozen=True)
class WholeOptions:
    """It has no settings."""


def detect_whole(image: np.ndarray, options: WholeOptions | None = None) -> list[Face]:
    """One face, the whole picture, with full score.

    >>> detect_whole(np.zeros((4, 6, 3), dtype=np.uint8))[0].box
    (0, 0, 6, 4)
    """
    height, width = image.shape[:2]
    return [Face((0, 0, width, height), 1.0)]


def whole_crop(image: np.ndarray) -> np.ndarray:
    """The whole picture as one square crop, made small first: a long strip would fill gigabytes as a square.

    Args:
        image: uint8 (H, W, 3) RGB or (H, W) grey.

    Returns:
        uint8 (S, S, 3) or (S, S), S = the longer side, at most 512.
    """
    height, width = image.shape[:2]
    if max(height, width) > MOST_PX:
        import cv2

        shrink = MOST_PX / max(height, width)
        width, height = max(round(width * shrink), 1), max(round(height * shrink), 1)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return crop(image, (0, 0, width, height), margin=0.0)
