"""The faces behind stored predictions and the crowd's votes on them, where the prepared data are on this machine."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from fer.errors import FerError
from fer.paths import data_dir

CROWD = {"fer2013": "ferplus"}


@dataclass(frozen=True, eq=False)
class Faces:
    """Faces of one split.

    Attributes:
        faces: uint8 (N, H, W) or (N, H, W, 3).
        at: Row in the source -> position in `faces`.
        fingerprint: Of the data set.
    """

    faces: np.ndarray
    at: dict[int, int]
    fingerprint: str

    def of(self, row: int) -> np.ndarray | None:
        """The face of a row, None where it is not there."""
        place = self.at.get(row)
        return None if place is None else self.faces[place]


def faces(data: str, split: str, fingerprint: str) -> tuple[Faces | None, str]:
    """The faces of a split, or why there are none.

    Args:
        data: Name of the data set.
        split: val or test.
        fingerprint: Of the data set that the models were scored on.

    Returns:
        The faces and "", or None and a sentence that says what is missing and what to do.
    """
    path = _packed(data)
    if path is None:
        return None, (
            f"The pictures of {data} are not on this machine, so only the numbers are shown. "
            "`python scripts/prepare_data.py` puts them into `data/`; FER2013 may not be passed on with this project."
        )
    try:
        found = _faces(str(path), split, path.stat().st_mtime_ns)
    except FerError as error:
        return None, f"The pictures cannot be read, so only the numbers are shown: {error}."
    if found.fingerprint != fingerprint:
        return None, (
            f"`data/{path.name}` holds other pictures than those the models were scored on (the fingerprints differ), "
            "so only the numbers are shown. `python scripts/evaluate.py` scores the models on these."
        )
    return found, ""


def votes(data: str, split: str) -> tuple[dict[int, np.ndarray], tuple[str, ...]]:
    """The crowd's votes on the rows of a split.

    Returns:
        Row in the source -> (C,) shares of the votes, and the names of the C expressions; both empty where there are
        no votes on this machine.
    """
    path = _packed(CROWD.get(data, ""))
    if path is None:
        return {}, ()
    try:
        return _votes(str(path), split, path.stat().st_mtime_ns)
    except FerError:
        return {}, ()


def thumbnail(face: np.ndarray) -> str:
    """A face as a data address for a table's cell."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(face).save(out, format="PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def as_rgb(face: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3), whatever the face was."""
    return np.repeat(face[..., None], 3, axis=2) if face.ndim == 2 else face


def _packed(name: str) -> Path | None:
    """The packed file of a data set, None where there is none; nothing is downloaded, drawn or unpacked."""
    path = data_dir() / f"{name}.npz"
    return path if name and path.is_file() else None


@st.cache_resource(max_entries=4, show_spinner="Opening the pictures …")
def _faces(path: str, split: str, changed: int) -> Faces:
    from fer.data import open_dataset

    dataset = open_dataset(path, [split])
    part = dataset[split]
    return Faces(part.faces, {int(r): i for i, r in enumerate(part.rows)}, dataset.fingerprint)


@st.cache_resource(max_entries=4, show_spinner=False)
def _votes(path: str, split: str, changed: int) -> tuple[dict[int, np.ndarray], tuple[str, ...]]:
    from fer.data import open_dataset

    dataset = open_dataset(path, [split])
    part = dataset[split]
    return dict(zip(part.rows.tolist(), part.targets, strict=True)), dataset.label_set.names
