"""Heat maps as colours and as overlays on a face."""

from __future__ import annotations

import numpy as np

from fer.errors import ConfigError, ImageError

# Eight stops of matplotlib's "plasma" (Smith and van der Walt): lightness rises evenly with the value.
PLASMA = np.array(
    [
        [13, 8, 135],
        [83, 2, 163],
        [139, 10, 165],
        [184, 50, 137],
        [219, 92, 104],
        [244, 136, 73],
        [254, 189, 42],
        [240, 249, 33],
    ],
    dtype=np.float32,
)


def colorize(heatmap: np.ndarray) -> np.ndarray:
    """Colours of a heat map.

    Args:
        heatmap: (H, W) numbers in [0, 1]; others are clipped.

    Returns:
        uint8 (H, W, 3), dark blue at 0, yellow at 1.
    """
    where = np.clip(np.asarray(heatmap, dtype=np.float32), 0, 1) * (len(PLASMA) - 1)
    stops = np.arange(len(PLASMA))
    channels = [np.interp(where, stops, PLASMA[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def heatmap_rgba(heatmap: np.ndarray) -> np.ndarray:
    """A heat map as a picture to lay over a face: the hotter, the more opaque.

    Args:
        heatmap: (H, W) numbers in [0, 1].

    Returns:
        uint8 (H, W, 4); alpha = 255 * heat.
    """
    heat = _heat(heatmap)
    return np.dstack([colorize(heat), np.rint(heat * 255).astype(np.uint8)])


def overlay_heatmap(face: np.ndarray, heatmap: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Lay a heat map over a face. Cold parts stay as they were; hot ones take the colour with weight `opacity`.

    Args:
        face: uint8 (H, W) or (H, W, 3).
        heatmap: (H, W) numbers in [0, 1], the size of the face.
        opacity: 0..1, weight of the colour where the heat is 1.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ImageError: the two have different sizes, or the face is no uint8 picture.
        ConfigError: opacity outside 0..1.
    """
    face = np.asarray(face)
    heat = _heat(heatmap)
    if face.dtype != np.uint8 or face.ndim not in (2, 3) or (face.ndim == 3 and face.shape[2] != 3):
        raise ImageError(f"expected a uint8 face of shape (H, W) or (H, W, 3), got {face.dtype} {face.shape}")
    if face.shape[:2] != heat.shape:
        raise ImageError(f"the heat map must have the size of the face, got {heat.shape} for {face.shape[:2]}")
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity must be 0..1, got {opacity}")
    if face.ndim == 2:
        face = np.repeat(face[..., None], 3, axis=2)
    alpha = opacity * heat[..., None]
    return np.rint((1 - alpha) * face + alpha * colorize(heat)).astype(np.uint8)


def _heat(heatmap: np.ndarray) -> np.ndarray:
    heat = np.asarray(heatmap, dtype=np.float32)
    if heat.ndim != 2:
        raise ImageError(f"expected a heat map of shape (H, W), got {heat.shape}")
    return np.clip(heat, 0, 1)
