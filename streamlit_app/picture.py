"""Where a picture comes from: uploaded, photographed, or drawn by code."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import streamlit as st

from fer.errors import FerError
from fer.images import read_image
from fer.labels import EMOJI, FER7
from streamlit_app import live

SOURCES = {"Upload": ":material/upload:", "Camera": ":material/photo_camera:", "Drawn face": ":material/draw:"}


def choose_picture(sources: Sequence[str], key: str) -> tuple[np.ndarray, str] | None:
    """Draw the pickers of a picture; returns it and a key that changes with it, None while none can be read.

    Args:
        sources: Keys of SOURCES to offer, the default first.
        key: Of the page, so that the pickers of two pages keep apart.
    """
    source = st.segmented_control(
        "Picture from",
        sources,
        format_func=lambda s: f"{SOURCES[s]} {s}",
        default=sources[0],
        required=True,
        key=f"{key}_source",
    )
    if source == "Drawn face":
        return _drawn(key)
    if source == "Camera":
        given = st.camera_input("Take a snapshot", key=f"{key}_camera")
    else:
        given = st.file_uploader("A picture with a face (JPEG, PNG, WebP …, at most 20 MB)", key=f"{key}_upload")
    if given is None:
        return None
    data = given.getvalue()
    try:
        return read_image(data), hashlib.sha256(data).hexdigest()[:12]
    except FerError as error:
        reason = str(error).removeprefix("the bytes given: ")
        st.error(f"“{given.name}” cannot be used: {reason}.", icon=":material/broken_image:")
        return None


def _drawn(key: str) -> tuple[np.ndarray, str] | None:
    """A face drawn by code: for a first try without a photograph."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        expression = st.pills(
            "Drawn expression",
            FER7.names,
            default="happy",
            required=True,
            format_func=lambda n: f"{EMOJI[n]} {n}",
            key=f"{key}_expression",
        )
    with right:
        seed = st.number_input("Person", 1, 999, 1, key=f"{key}_person", help="Every number draws another person.")
    return live.drawn_face(expression, int(seed)), f"{expression}{seed}"
