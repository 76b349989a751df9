"""Emoji as pictures, the same on every machine: rendered from Noto Color Emoji (SIL Open Font License 1.1, OFL.txt)."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from fer.errors import ConfigError, unknown_name
from fer.labels import EMOJI, canonical

LICENCE = "Noto Color Emoji, copyright 2013-2017 Google Inc., SIL Open Font License 1.1"
_HERE = Path(__file__).resolve().parent


@functools.lru_cache(maxsize=128)
def emoji_picture(label: str, size_px: int = 128) -> np.ndarray:
    """The emoji of a class.

    Args:
        label: Class name in any known spelling.
        size_px: Side, 1..512. The pictures on disk have 128 pixels.

    Returns:
        uint8 (size_px, size_px, 4) RGBA, read-only.

    Raises:
        ConfigError: unknown class, or a size out of range.

    >>> emoji_picture("happy", 32).shape
    (32, 32, 4)
    """
    from PIL import Image

    name = canonical(label)
    if name not in EMOJI:
        raise unknown_name("class", label, EMOJI)
    if not 1 <= size_px <= 512:
        raise ConfigError(f"size_px must be 1..512, got {size_px}")
    with Image.open(_HERE / f"{name}.png") as picture:
        # premultiplied, so that the colours of clear pixels do not bleed into the edges
        sized = picture.convert("RGBA").convert("RGBa").resize((size_px, size_px), Image.Resampling.LANCZOS)
    pixels = np.array(sized.convert("RGBA"))
    pixels.setflags(write=False)
    return pixels
