"""The page Emoji mirror: every face in the camera's picture covered by the emoji of the moment."""

from __future__ import annotations

import gradio as gr

from analysis import Models
from camera import camera_view, model_choice, setting, smoothing_choice

WELCOME = "Look into your camera: every face turns into the emoji of the moment. Bring friends."
FADE_S = 0.25


def build(models: Models) -> None:
    """Put the page into the Blocks that are being built."""
    camera_view(models, "mirror", WELCOME, fade=FADE_S, plain=False)
    with gr.Row():
        fade = gr.Slider(
            0,
            2,
            value=FADE_S,
            step=0.05,
            label="Fading (seconds)",
            info="How long one emoji takes to become the next.",
            min_width=280,
        )
        smoothing_choice("mirror")
    plain = gr.Checkbox(label="Emoji only: hide the camera's picture", elem_id="fer-mirror-plain")
    model_choice(models, "mirror")
    fade.change(None, [fade], js=setting("mirror", "fade"))
    plain.change(None, [plain], js=setting("mirror", "plain"))
