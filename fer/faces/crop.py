"""Cutting a face out of a picture."""

from __future__ import annotations

import numpy as np

from fer.errors import ImageError
from fer.faces.types import Box

# Measured: the Haar box spans 94 % of the frame of a FER2013 face, centred; YuNet's box is as high (and narrower).
MARGIN = 0.03


def crop(image: np.ndarray, box: Box, margin: float = MARGIN) -> np.ndarray:
    """The square around a box; where it leaves the picture, the edge pixels are repeated.

    Args:
        image: uint8 (H, W, 3) RGB or (H, W) grey.
        box: (left, top, right, bottom) in pixels; may reach over the border.
        margin: Added on every side, as a share of the box's longer side; negative cuts closer.

    Returns:
        uint8 (S, S, 3) or (S, S), a copy; S is the longer side of the box with its margins, at least 1.

    Raises:
        ImageError: an empty box, or one that lies wholly outside the picture.

    >>> crop(np.arange(16, dtype=np.uint8).reshape(4, 4), (-1, 0, 1, 2)).tolist()
    [[0, 0], [4, 4]]
    """
    left, top, right, bottom = box
    height, width = image.shape[:2]
    if right <= left or bottom <= top or right <= 0 or bottom <= 0 or left >= width or top >= height:
        raise ImageError(
            f"box {box} does not lie in the picture of {width}x{height}; expected left, top, right, bottom"
        )
    side = max(round(max(right - left, bottom - top) * (1 + 2 * margin)), 1)
    x0 = round((left + right - side) / 2)
    y0 = round((top + bottom - side) / 2)
    # clipped indices repeat the edge, without a padded copy of the whole picture
    rows = np.clip(np.arange(y0, y0 + side), 0, height - 1)
    columns = np.clip(np.arange(x0, x0 + side), 0, width - 1)
    return image[rows[:, None], columns[None, :]]
