"""Boxes, labels and emoji drawn onto a picture."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer.faces.types import Face
from fer.images import read_image
from fer.inference.pipeline import FaceResult
from fer.labels import COLORS

# (file, size): bitmap fonts have one size only, the picture is scaled afterwards.
_EMOJI_FONTS = (
    ("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf", 109),
    ("/usr/share/fonts/noto/NotoColorEmoji.ttf", 109),
    ("/usr/share/fonts/noto-emoji/NotoColorEmoji.ttf", 109),
    ("/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf", 109),
    ("/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf", 109),
    ("/System/Library/Fonts/Apple Color Emoji.ttc", 96),
    ("C:/Windows/Fonts/seguiemj.ttf", 109),
)
_PLAIN = "#FFFFFF"


def draw_faces(image: np.ndarray, results: Sequence[FaceResult | Face]) -> np.ndarray:
    """A copy of the picture with a box around every face and, where it was classified, emoji, label and confidence.

    Without a colour-emoji font (environment variable FER_EMOJI_FONT names another one) the label is text only.

    Args:
        image: uint8 (H, W, 3) RGB or (H, W).
        results: From `fer.analyze` or `fer.detect`, for this picture.

    Returns:
        uint8 (H, W, 3).
    """
    picture = Image.fromarray(read_image(image))
    canvas = ImageDraw.Draw(picture)
    thick = max(round(max(picture.size) / 300), 1)
    for r in results:  # all boxes first, so that no box runs over a label
        left, top, right, bottom = r.box
        if right > left and bottom > top:
            canvas.rectangle((left, top, right - 1, bottom - 1), outline=_color(r), width=thick)
    for r in results:
        if isinstance(r, FaceResult):
            _tag(picture, r, thick)
    return np.array(picture)


def _color(result: FaceResult | Face) -> str:
    return COLORS[result.label] if isinstance(result, FaceResult) else _PLAIN


def _tag(picture: Image.Image, result: FaceResult, thick: int) -> None:
    """The label: above the box where there is room, else inside its upper edge; never outside the picture."""
    left, top, right, _ = result.box
    high = int(np.clip((right - left) * 0.16, max(picture.height * 0.026, 11), max(picture.height * 0.06, 12)))
    text = f"{result.label} {result.confidence:.0%}"
    font = ImageFont.load_default(size=high * 0.8)
    emoji = _emoji(result.emoji, high)
    x0, y0, x1, y1 = font.getbbox(text)
    pad = max(high // 5, 2)
    wide = round(x1 - x0) + 2 * pad + (emoji.width + pad if emoji else 0)
    tall = high + 2 * pad
    x = max(min(left, picture.width - wide), 0)
    y = top - tall if top >= tall else min(top + thick, max(picture.height - tall, 0))
    canvas = ImageDraw.Draw(picture)
    canvas.rectangle((x, y, x + wide - 1, y + tall - 1), fill=_color(result))
    at = x + pad
    if emoji:
        picture.paste(emoji, (at, y + pad), emoji)
        at += emoji.width + pad
    canvas.text((at - x0, y + (tall - (y1 - y0)) / 2 - y0), text, fill=_readable_on(_color(result)), font=font)


def _readable_on(color: str) -> str:
    r, g, b = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * r + 0.587 * g + 0.114 * b > 120 else "#FFFFFF"


@functools.lru_cache(maxsize=256)
def _emoji(character: str, size_px: int) -> Image.Image | None:
    """RGBA (size_px, size_px), or None where no colour-emoji font can draw it."""
    font = _emoji_font(os.environ.get("FER_EMOJI_FONT", ""))
    if font is None:
        return None
    try:
        x0, y0, x1, y1 = (round(v) for v in font.getbbox(character))
        tile = Image.new("RGBA", (max(x1 - x0, 1), max(y1 - y0, 1)), (0, 0, 0, 0))
        ImageDraw.Draw(tile).text((-x0, -y0), character, font=font, embedded_color=True)
    except (OSError, ValueError):
        return None
    if tile.getbbox() is None:
        return None
    return tile.resize((size_px, size_px), Image.Resampling.LANCZOS)


@functools.lru_cache(maxsize=4)
def _emoji_font(given: str) -> ImageFont.FreeTypeFont | None:
    for file, size in ((given, 109), *_EMOJI_FONTS) if given else _EMOJI_FONTS:
        if Path(file).is_file():
            try:
                return ImageFont.truetype(file, size)
            except OSError:  # a format or size that this FreeType cannot do
                continue
    return None
