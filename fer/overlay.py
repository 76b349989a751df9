"""Boxes, labels and emoji drawn onto a picture."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fer.emoji import emoji_picture
from fer.faces.types import Box, Face, iou
from fer.images import read_image
from fer.inference.pipeline import FaceResult
from fer.labels import COLORS

if TYPE_CHECKING:
    from fer.inference.live import LiveFace, LiveFrame

_PLAIN = "#FFFFFF"
_LEAST_PX_WITH_BARS = 64
_MOST_EMOJI_PX = 512  # as far as `emoji_picture` goes


def draw_faces(image: np.ndarray, results: Sequence[FaceResult | Face], numbers: bool = False) -> np.ndarray:
    """A copy of the picture with a box around every face and, where it was classified, emoji, label and confidence.

    Args:
        image: uint8 (H, W, 3) RGB or (H, W).
        results: From `fer.analyze` or `fer.detect`, for this picture.
        numbers: Write each face's place in `results` before its label, counted from 1; beside a small face alone.

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
    for i, r in enumerate(results, start=1):
        if isinstance(r, FaceResult):
            _tag(picture, r, thick, f"{i} " if numbers else "")
    return np.array(picture)


def draw_live(image: np.ndarray, frame: LiveFrame, bars: bool = True) -> np.ndarray:
    """A copy of a frame with what the live pipeline saw in it: boxes, emoji, labels, a bar for each class.

    The bars stand beside the face, where they cover no other one; small faces and those without room have none. A
    person being calibrated has a growing line under the box.

    Args:
        image: uint8 (H, W, 3) RGB, the frame that was looked at.
        frame: From `LivePipeline.process`.
        bars: Draw them.

    Returns:
        uint8 (H, W, 3).
    """
    drawn = draw_faces(image, frame.faces)
    taken: list[Box] = [f.box for f in frame.faces]
    for face in frame.faces:
        left, top, right, bottom = face.box
        panel = _place_for_bars(drawn, face, taken) if bars and bottom - top >= _LEAST_PX_WITH_BARS else None
        if panel is not None:
            _bars(drawn, face, panel)
            taken.append(panel)
        if face.calibrating is not None:
            line = drawn[bottom : bottom + 8, left:right]
            line[:] = 40
            line[:, : round((right - left) * face.calibrating)] = 255
    return drawn


def _place_for_bars(drawn: np.ndarray, face: LiveFace, taken: Sequence[Box]) -> Box | None:
    left, top, right, bottom = face.box
    height, width = drawn.shape[:2]
    row = max((min(bottom, height) - top) // len(face.labels), 8)
    wide, tall, gap = 4 * row, row * len(face.labels), max(row // 6, 1)
    y = max(min(top, height - tall), 0)
    for x in (right + gap, left - gap - wide):
        panel = (x, y, x + wide, y + tall)
        if x >= 0 and x + wide <= width and all(iou(panel, box) == 0 for box in taken):
            return panel
    if len(taken) > 1 or wide + gap > width:
        return None
    return (max(right - wide - gap, 0), y, max(right - gap, wide), y + tall)  # one face that fills the picture


def _bars(drawn: np.ndarray, face: LiveFace, box: Box) -> None:
    """One row a class: emoji and bar, in place."""
    left, top, right, bottom = box
    row = (bottom - top) // len(face.labels)
    gap = max(row // 6, 1)
    panel = drawn[top:bottom, left:right]
    panel[:] = panel // 3
    for i, name in enumerate(face.labels.names):
        part = panel[i * row : (i + 1) * row]
        tile = emoji_picture(name, min(row - gap, _MOST_EMOJI_PX))[: len(part), : part.shape[1]]
        clear = tile[..., 3:].astype(np.float32) / 255
        under = part[: tile.shape[0], : tile.shape[1]]
        under[:] = (tile[..., :3] * clear + under * (1 - clear)).astype(np.uint8)
        long = round(float(face.probs[i]) * (right - left - row - gap))
        color = COLORS[name]
        part[gap : row - gap, row : row + max(long, 1)] = [int(color[k : k + 2], 16) for k in (1, 3, 5)]


def _color(result: FaceResult | Face) -> str:
    return COLORS[result.label] if isinstance(result, FaceResult) else _PLAIN


def _tag(picture: Image.Image, result: FaceResult, thick: int, before: str = "") -> None:
    """The label: above the box where there is room, else inside its upper edge; never outside the picture."""
    left, top, right, _ = result.box
    side = min(picture.height, 2 * picture.width)  # beside a tall strip, a share of its height would be wider than it
    high = int(np.clip((right - left) * 0.16, max(side * 0.026, 11), max(side * 0.06, 12)))
    high = min(high, _MOST_EMOJI_PX)
    text = f"{before}{result.label} {result.confidence:.0%}"
    font = ImageFont.load_default(size=high * 0.8)
    emoji = _emoji(result.label, high)
    pad = max(high // 5, 2)
    if before and font.getlength(text) + emoji.width + 3 * pad > 1.5 * (
        right - left
    ):  # in a crowd the number is enough
        text = before.strip()
    x0, y0, x1, y1 = font.getbbox(text)
    wide = round(x1 - x0) + 2 * pad + emoji.width + pad
    tall = high + 2 * pad
    x = max(min(left, picture.width - wide), 0)
    y = top - tall if top >= tall else min(top + thick, max(picture.height - tall, 0))
    canvas = ImageDraw.Draw(picture)
    canvas.rectangle((x, y, x + wide - 1, y + tall - 1), fill=_color(result))
    picture.paste(emoji, (x + pad, y + pad), emoji)
    at = x + pad + emoji.width + pad
    canvas.text((at - x0, y + (tall - (y1 - y0)) / 2 - y0), text, fill=_readable_on(_color(result)), font=font)


def _readable_on(color: str) -> str:
    r, g, b = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return "#000000" if 0.299 * r + 0.587 * g + 0.114 * b > 120 else "#FFFFFF"


@functools.lru_cache(maxsize=256)
def _emoji(label: str, size_px: int) -> Image.Image:
    return Image.fromarray(emoji_picture(label, size_px))
