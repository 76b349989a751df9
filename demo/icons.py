"""The emoji as pictures that come with the project: a device's own font may lack one, or draw it in one colour."""

from __future__ import annotations

import base64
import functools
import io

from fer.emoji import emoji_picture
from fer.labels import EMOJI

SIDE_PX = 64


@functools.cache
def picture(name: str, side_px: int = SIDE_PX) -> str:
    """The emoji of a class as a data URI (WebP)."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(emoji_picture(name, side_px)).save(out, "WEBP", quality=90)
    return f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"


def icon(name: str, text: str = "") -> str:
    """HTML for the emoji of a class, as tall as the text around it; `text` for a class of which there is no picture."""
    if name not in EMOJI:
        return f'<span class="fer-icon" aria-hidden="true">{text}</span>'
    return f'<span class="fer-icon fer-icon-{name}" aria-hidden="true"></span>'


@functools.cache
def style() -> str:
    """CSS that `icon` needs, once for a page."""
    return "\n".join(f'.fer-icon-{name} {{ background-image: url("{picture(name)}"); }}' for name in EMOJI)
