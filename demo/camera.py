"""The moving picture of the pages Live and Emoji mirror: a component that runs a camera in the visitor's browser."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import gradio as gr

import icons
import marks
from analysis import Models
from fer.labels import COLORS, EMOJI, FER7
from limits import sender_of
from stream import SMOOTHING_S, stream_of

HERE = Path(__file__).resolve().parent
EMOJI_PX = 128
PRIVATE = (
    "Each frame goes to the machine that runs this page, is looked at and forgotten; nothing is kept or written down."
)

STAGE = """
<div class="lv-see">
<div class="lv-stage">
  <video class="lv-video" muted playsinline></video>
  <canvas class="lv-picture"></canvas>
  <div class="lv-overlay"></div>
  <div class="lv-welcome">
    <div class="lv-row" aria-hidden="true">{row}</div><p>{welcome}</p><small>{private}</small>
  </div>
</div>
<div class="lv-buttons">
  <button type="button" class="lv-start">Start the camera</button>
  <button type="button" class="lv-turn" hidden>Other camera</button>
  <button type="button" class="lv-calibrate" disabled>Calibrate to my neutral face</button>
  <button type="button" class="lv-forget" disabled hidden>Forget the calibration</button>
</div>
<progress class="lv-progress" max="1" value="0" aria-label="Calibration" hidden></progress>
<p class="lv-line"><span class="lv-status" role="status"></span><span class="lv-pace"></span></p>
<span class="lv-spoken" aria-live="polite"></span>
</div>
"""
READING = """
<div class="lv-read">
  <div class="lv-verdict">
    <img class="lv-emoji" alt=""><span class="lv-label">Nobody yet</span><span class="lv-sure"></span>
  </div>
  <ol class="lv-bars"></ol>
  <canvas class="lv-timeline" role="img" aria-label="Probabilities over the last 30 seconds"></canvas>
  <div class="lv-axis"><span>30 s ago</span><span>now</span></div>
</div>
"""


def camera_view(models: Models, page: str, welcome: str, **settings: Any) -> gr.HTML:
    """Put the component into the Blocks that are being built.

    Args:
        models: What is on offer.
        page: "live" or "mirror".
        welcome: What is said before the camera runs.
        settings: First values of what `setting` changes.
    """
    stream = stream_of(models)

    async def look(message: Any, request: gr.Request) -> dict[str, Any]:
        return await stream.look(message, sender_of(request))

    async def calibrate(message: Any) -> dict[str, Any]:
        return await stream.calibrate(message)

    async def forget(message: Any) -> dict[str, Any]:
        return await stream.forget(message)

    async def leave(message: Any) -> dict[str, Any]:
        return await stream.leave(message)

    def assets(message: Any) -> dict[str, Any]:
        return _assets()

    row = "".join(f'<img alt="" src="{icons.picture(name)}">' for name in FER7.names)
    first = json.dumps({"model": models.live_default, "smoothing": SMOOTHING_S} | settings).replace('"', "&quot;")
    parts = STAGE.format(row=row, welcome=welcome, private=PRIVATE) + (READING if page == "live" else "")
    return gr.HTML(
        html_template=(
            f'<div class="lv lv-nobody" data-page="{page}" data-state="idle" data-settings="{first}">{parts}</div>'
        ),
        js_on_load="\n".join(
            (HERE / f"{part}.js").read_text(encoding="utf-8") for part in ("refused", "live", "mirror", "camera")
        ),
        server_functions=[look, calibrate, forget, leave, assets],
        elem_id=f"fer-{page}",
        apply_default_css=False,
    )


def setting(page: str, name: str) -> str:
    """JavaScript for a control's event: hands its value to the component of a page under a name."""
    return (
        f"(value) => {{ document.querySelector('#fer-{page} .lv')"
        f"?.dispatchEvent(new CustomEvent('fer-set', {{ detail: {{ {name}: value }} }})); }}"
    )


def model_choice(models: Models, page: str) -> gr.Radio:
    """The picker of the model."""
    choices = [(models.title(name), name) for name in models.names]
    picker = gr.Radio(choices, value=models.live_default, label="Model", visible=len(choices) > 1, min_width=280)
    picker.change(None, [picker], js=setting(page, "model"))
    return picker


def smoothing_choice(page: str) -> gr.Slider:
    """The picker of the time constant."""
    picker = gr.Slider(
        0,
        2,
        value=SMOOTHING_S,
        step=0.05,
        label="Smoothing (seconds)",
        info="0 shows every frame as the net sees it; more is calmer and slower.",
        min_width=280,
        elem_id=f"fer-{page}-smoothing",
    )
    picker.change(None, [picker], js=setting(page, "smoothing"))
    return picker


@functools.cache
def _assets() -> dict[str, Any]:
    emoji = {name: icons.picture(name, EMOJI_PX) for name in EMOJI}
    return {"emoji": emoji, "colors": dict(COLORS), "usual": list(FER7.names), "unsureBelow": marks.UNSURE_BELOW}
