"""From a net's own small grid back to the pixels of the face it was given."""

from __future__ import annotations

import numpy as np

from fer.specs import InputSpec


def normalise(heat: np.ndarray) -> np.ndarray:
    """Stretch to [0, 1]. A constant map (or one with NaN or infinity) says nothing and becomes zeros.

    >>> normalise(np.array([[2.0, 4.0], [3.0, 2.0]])).tolist()
    [[0.0, 1.0], [0.5, 0.0]]
    >>> normalise(np.full((1, 2), 7.0)).tolist()
    [[0.0, 0.0]]
    """
    heat = np.asarray(heat, dtype=np.float64)
    if heat.size == 0 or not np.isfinite(heat).all():
        return np.zeros(heat.shape, np.float32)
    low, high = heat.min(), heat.max()
    # Differences at the level of float32 rounding are noise: stretching them would draw a picture of nothing.
    if high - low <= 1e-6 * max(abs(low), abs(high), 1e-12):
        return np.zeros(heat.shape, np.float32)
    return ((heat - low) / (high - low)).astype(np.float32)


def to_face(grid: np.ndarray, spec: InputSpec, height: int, width: int) -> np.ndarray:
    """Lay a net's map over the face it belongs to.

    The net saw the face resized to `resize_px`, of which the central `size_px` only; the map covers exactly that part.
    Cell centres are the sample points and values between them are interpolated linearly; what the net never saw is 0.

    Args:
        grid: (h, w) numbers that cover the net's input.
        spec: How the face became the net's input.
        height, width: Size of the face in pixels.

    Returns:
        float32 (height, width) in [0, 1].
    """
    rows, columns = _in_input(height, spec), _in_input(width, spec)
    heat = read(normalise(grid), spec.size_px, rows, columns)
    seen = np.outer(*((at >= 0) & (at <= spec.size_px) for at in (rows, columns)))
    heat[~seen] = 0
    heat[seen] = normalise(heat[seen])
    return heat.astype(np.float32)


def over_input(grid: np.ndarray, size_px: int) -> np.ndarray:
    """A map (h, w) at every pixel of the net's input: float64 (size_px, size_px), values unscaled."""
    centres = np.arange(size_px) + 0.5
    return read(grid, size_px, centres, centres)


def read(grid: np.ndarray, size_px: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A map's values, linear between cell centres and constant beyond the outermost ones.

    Args:
        grid: (h, w) numbers that cover the net's input.
        size_px: Side of the net's input.
        rows, columns: (m,), (n,) positions in pixels of the net's input, 0 = its upper or left edge.

    Returns:
        float64 (m, n).
    """
    grid = np.asarray(grid, dtype=np.float64)
    for at in (rows, columns):
        cells = len(grid)
        grid = _interpolate(grid, np.clip(at / _pitch(size_px, cells) - 0.5, 0, cells - 1)).T
    return grid


def _pitch(size_px: int, cells: int) -> float:
    """Pixels from one cell to the next.

    Where the cells do not divide the input, the net's strides (powers of two) left a partial cell at the far edge: six
    cells over 44 px lie 8 px apart, not 7.33.
    """
    share = size_px / cells
    return share if size_px % cells == 0 or share < 1 else 2.0 ** round(np.log2(share))


def _in_input(length: int, spec: InputSpec) -> np.ndarray:
    """Where the pixel centres of one side of the face lie, in pixels of the net's input."""
    return (np.arange(length) + 0.5) * spec.resize_px / length - (spec.resize_px - spec.size_px) // 2


def _interpolate(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of `values` (h, w) read at fractional row numbers `at` (n,): (n, w)."""
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, len(values) - 1)
    share = (at - low)[:, None]
    return (1 - share) * values[low] + share * values[high]
