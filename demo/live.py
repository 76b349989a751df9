"""The page Live: the camera's moving picture with boxes, emoji and bars, and the last half minute."""

from __future__ import annotations

import gradio as gr

from analysis import Models
from camera import camera_view, model_choice, smoothing_choice

WELCOME = "Look into your camera and see what the net sees, how sure it is, and how that changes."


def build(models: Models) -> None:
    """Put the page into the Blocks that are being built."""
    camera_view(models, "live", WELCOME)
    with gr.Row():
        smoothing_choice("live")
        model_choice(models, "live")
