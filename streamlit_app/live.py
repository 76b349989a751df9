"""Pages that run models: one picture through the face detector and through every trained model, each once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from fer.paths import checkpoints_dir

if TYPE_CHECKING:
    from fer.evaluation import ModelResult
    from fer.inference import Predictor

WIDTH_SHOWN_PX = 1024
FACE_SHOWN_PX = 224
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True, eq=False)
class Found:
    """A face to classify.

    Attributes:
        box: left, top, right, bottom in pixels of the picture, right and bottom exclusive.
        crop: uint8 (h, w, 3), what the models see.
    """

    box: tuple[int, int, int, int]
    crop: np.ndarray


@dataclass(frozen=True, eq=False)
class Opinion:
    """What one model says about one face.

    Attributes:
        title: Name of the model for people.
        probs: (C,) float32, in the order of `labels`.
        labels: Class names.
        method: What the heat map shows; "" where the model cannot be explained.
        heatmap: float32 (h, w) in [0, 1], the size of the crop; None without a method.
    """

    title: str
    probs: np.ndarray
    labels: tuple[str, ...]
    method: str
    heatmap: np.ndarray | None

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.labels[int(np.argmax(self.probs))]

    @property
    def confidence(self) -> float:
        """Its probability, 0..1."""
        return float(np.max(self.probs))


def model_names() -> list[str]:
    """Models with a checkpoint, in the order of every table."""
    from fer.checkpoint import trained_models
    from fer.viz import model_order

    return model_order(trained_models())


def scored_here(results: Sequence[ModelResult]) -> tuple[dict[str, str], list[str]]:
    """Which of these results are of weights that are bundled: a name alone may mean another training.

    Returns:
        Name of the result -> name of the bundled model with the weights that were scored (or with an int8 form made
        from them), in the order of the results; and the titles of the other results.
    """
    from fer.checkpoint import MANIFEST, trained_models
    from fer.evaluation.results import weights_of

    root = checkpoints_dir()
    known = _bundled(str(root), tuple((n, *_state(root / n / MANIFEST)) for n in trained_models()))
    found = {r.name: known[sha] for r in results if (sha := weights_of(r) or "") in known}
    return found, [r.title for r in results if r.name not in found]


@st.cache_data(max_entries=8, show_spinner=False)
def _bundled(root: str, stamp: Stamp) -> dict[str, str]:
    """`fer.checkpoint.bundled_weights`, read again when `stamp` changes."""
    from fer.checkpoint import bundled_weights

    return bundled_weights(root)


def folder_of(model: str | Path) -> Path:
    """Folder of a checkpoint: of a bundled model by its name, or any other as it is given."""
    return model if isinstance(model, Path) else checkpoints_dir() / model


def predictor(model: str | Path, backend: str = "auto") -> Predictor:
    """A model, loaded once and again only when its files change.

    Args:
        model: Name of a bundled model, or the folder of any checkpoint.
        backend: As for `fer.load`.

    Raises:
        CheckpointError: absent, damaged, foreign or newer checkpoint.
    """
    folder = folder_of(model)
    return _predictor(str(folder), _stamp(folder), backend)


def _stamp(folder: Path) -> Stamp:
    return tuple((p.name, *_state(p)) for p in sorted(folder.glob("*")) if p.is_file())


def _state(file: Path) -> tuple[int, int]:
    """Time and size, which change when the file does."""
    stat = file.stat()
    return stat.st_mtime_ns, stat.st_size


@st.cache_resource(max_entries=12, show_spinner="Loading a model …")
def _predictor(folder: str, stamp: Stamp, backend: str = "auto") -> Predictor:
    from fer.inference import load

    return load(Path(folder), backend=backend)


def find_faces(image: np.ndarray, whole: bool) -> list[Found]:
    """Faces of a picture, the largest first, or the whole picture as one face.

    Args:
        image: uint8 (H, W, 3).
        whole: The picture is a face already; do not look for one.
    """
    if whole:
        return [Found((0, 0, image.shape[1], image.shape[0]), image)]
    from fer.faces import crop, detect

    return [Found(face.box, crop(image, face.box)) for face in detect(image)]


@st.cache_data(max_entries=32, show_spinner=False)
def drawn_face(expression: str, person: int) -> np.ndarray:
    """Head and shoulders of a person drawn by code: uint8 (480, 480, 3); the same person for the same number."""
    from fer.data.synthetic import draw_scene

    return draw_scene([expression], np.random.default_rng(person), 480, 480)[0]


def ask(model: str | Path, face: np.ndarray) -> Opinion:
    """Probabilities and heat map of one model for one face.

    Args:
        model: Name of a bundled model, or the folder of any checkpoint.
        face: uint8 (h, w, 3).

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    loaded, possible = predictor(model), methods(model)
    first = next(iter(possible), "")
    return Opinion(
        title=title(loaded),
        probs=loaded.predict_proba([face])[0],
        labels=loaded.labels.names,
        method=possible.get(first, ""),
        heatmap=heatmap(model, face, first) if first else None,
    )


def methods(model: str | Path) -> dict[str, str]:
    """Explanation methods that work for a model, its own first: name -> title for people."""
    from fer.explain import METHODS, methods_for

    return {name: METHODS[name].title for name in methods_for(predictor(model))}


def heatmap(model: str | Path, face: np.ndarray, method: str) -> np.ndarray:
    """Where a model looked in one face (uint8 (h, w) or (h, w, 3)): float32 (h, w) in [0, 1]; computed once."""
    folder = folder_of(model)
    return _heatmap(str(folder), _stamp(folder), face, method)


@st.cache_data(max_entries=512, show_spinner=False)
def _heatmap(folder: str, stamp: Stamp, face: np.ndarray, method: str) -> np.ndarray:
    from fer.explain import explain

    return explain(_predictor(folder, stamp), face, method)


def title(model: Predictor) -> str:
    """Name of a model for people; its own name where it is not in the table of models."""
    from fer.models import MODELS, get_model

    return get_model(model.name).SPEC.title if model.name in MODELS else model.name


def overlay(face: np.ndarray, heat: np.ndarray, strength: float = 0.55) -> np.ndarray:
    """A face at the size it is shown in with its heat map laid over it: (FACE_SHOWN_PX, FACE_SHOWN_PX, 3) uint8."""
    from fer.viz import overlay_heatmap

    return overlay_heatmap(enlarge(face), enlarge_map(heat), strength)


def enlarge(face: np.ndarray, side_px: int = FACE_SHOWN_PX) -> np.ndarray:
    """A face at the size it is shown in: (side_px, side_px, 3) uint8."""
    from PIL import Image

    return np.asarray(Image.fromarray(face).resize((side_px, side_px), Image.Resampling.BICUBIC))


def enlarge_map(heatmap: np.ndarray, side_px: int = FACE_SHOWN_PX) -> np.ndarray:
    """A heat map at the size it is shown in: (side_px, side_px) float32 in [0, 1]."""
    from PIL import Image

    picture = Image.fromarray(heatmap.astype(np.float32))
    return np.asarray(picture.resize((side_px, side_px), Image.Resampling.BILINEAR)).clip(0, 1)


def draw_boxes(image: np.ndarray, boxes: list[tuple[int, int, int, int]], chosen: int) -> np.ndarray:
    """The picture, at most WIDTH_SHOWN_PX wide, with a numbered frame around each face; the chosen one is solid yellow.

    Args:
        image: uint8 (H, W, 3).
        boxes: left, top, right, bottom in pixels of `image`.
        chosen: Index of the face that the page shows.
    """
    from PIL import Image, ImageDraw, ImageFont

    scale = min(1.0, WIDTH_SHOWN_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(picture)
    line = max(2, round(max(size) / 250))
    font = ImageFont.load_default(size=max(12, round(max(size) / 38)))
    for number, box in sorted(enumerate(boxes), key=lambda item: item[0] == chosen):
        left, top, right, bottom = (round(v * scale) for v in box)
        colour = (255, 208, 0) if number == chosen else (255, 255, 255)
        pen.rectangle((left - line, top - line, right + line, bottom + line), outline=(0, 0, 0), width=3 * line)
        pen.rectangle((left, top, right, bottom), outline=colour, width=line)
        if len(boxes) > 1:
            place = (left + 2 * line, top + line)
            pen.text(place, str(number + 1), fill=colour, font=font, stroke_width=max(1, line), stroke_fill=(0, 0, 0))
    return np.asarray(picture)
