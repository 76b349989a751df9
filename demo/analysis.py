"""From an uploaded file to faces, probabilities and heat maps; knows nothing of the page."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

import marks
from fer.checkpoint import read_manifest, trained_models
from fer.errors import CheckpointError, FerError, ImageError
from fer.faces.whole import whole_crop
from fer.images import read_image
from fer.models import LIVE_MODEL, get_model

if TYPE_CHECKING:
    from fer.checkpoint import Manifest
    from fer.inference import FaceResult, Predictor

_log = logging.getLogger("fer.demo")
MOST_CARDS = 40
DISPLAY_PX = 1280
SEARCH_PX = 896  # finer than for moving pictures (320): a group has small faces
SMALLEST = 32  # of the longest side, times a face
NO_MODEL = (
    "There is no trained model yet. Train one (python scripts/train.py --model attention_cnn --promote) "
    "or start the demo with --checkpoint PATH."
)


@dataclass(frozen=True)
class Seen:
    """One face of a picture.

    Attributes:
        result: Box, probabilities, label.
        crop: uint8 (h, w, 3), what the net was given.
        heat: float32 (h, w) in [0, 1]; None where the model cannot be explained.
        doubts: What speaks against relying on the answer.
        possible: Classes in the model's conformal set, likeliest first; empty where the model has no sets.
    """

    result: FaceResult
    crop: np.ndarray
    heat: np.ndarray | None
    doubts: tuple[marks.Doubt, ...] = ()
    possible: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What is known about a model. `accuracy` is 0..1 on PrivateTest, None where this checkpoint was not evaluated."""

    name: str
    title: str
    summary: str
    parameters: int
    accuracy: float | None
    teacher: str


class Models:
    """The models on offer, loaded when first asked for and shared by all visitors.

    Args:
        checkpoint: Path of one more checkpoint, offered first.

    Raises:
        CheckpointError: `checkpoint` cannot be loaded.
    """

    def __init__(self, checkpoint: str | Path | None = None) -> None:
        self._places: dict[str, str | Path] = {}
        self._loaded: dict[tuple[str, str], Predictor] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._given = ""
        if checkpoint:
            self._given = f"{read_manifest(checkpoint).model} (given)"
            self._places[self._given] = checkpoint
            self.predictor(self._given)
        self._places |= {name: name for name in trained_models()}

    def __bool__(self) -> bool:
        return bool(self._places)

    @property
    def names(self) -> list[str]:
        """Keys of all models on offer."""
        return list(self._places)

    @property
    def default(self) -> str | None:
        """The one chosen at the start."""
        if self._given or not self._places:
            return self._given or None
        return "attention_cnn" if "attention_cnn" in self._places else self.names[0]

    @property
    def live_default(self) -> str | None:
        """The one chosen at the start where pictures move."""
        return LIVE_MODEL if LIVE_MODEL in self._places and not self._given else self.default

    def title(self, name: str) -> str:
        """Name for people."""
        try:
            title = get_model(read_manifest(self._places[name]).model).SPEC.title
        except FerError:  # said in full when the model is used
            return name
        return f"{title} (from {self._places[name]})" if name == self._given else title

    def predictor(self, name: str | None) -> Predictor:
        """The loaded model.

        Raises:
            FerError: no model at all, an unknown one, or one that cannot be loaded.
        """
        return self._load(name, "auto")

    def quick(self, name: str | None) -> Predictor:
        """The loaded model for moving pictures, `live_default` for none: its 8-bit file where it has one.

        Raises:
            FerError: as for `predictor`.
        """
        return self._load(name or self.live_default, "fastest")

    def _load(self, name: str | None, backend: str) -> Predictor:
        from fer.inference import load

        if not self._places:
            raise CheckpointError(NO_MODEL)
        name = name or self.default
        if name not in self._places:
            raise CheckpointError(f"there is no model {name!r} here; there are: {', '.join(self.names)}")
        with self._locks[name]:
            if (name, backend) not in self._loaded:
                self._loaded[name, backend] = load(self._places[name], backend=backend)
            return self._loaded[name, backend]

    def warm_up(self) -> threading.Thread:
        """Load every model in the background, the two defaults first, so that no visitor waits for it."""

        def load_all() -> None:
            wanted = [(self.predictor, self.default), (self.quick, self.live_default)]
            wanted += [(self.predictor, n) for n in self._places if n != self.default]
            for load, name in wanted:
                try:
                    load(name)
                except FerError as e:  # said again, in full, to whoever chooses it
                    _log.warning("%s", e)

        thread = threading.Thread(target=load_all, name="warm-up", daemon=True)
        thread.start()
        return thread

    def facts(self, name: str | None) -> Facts:
        """What the page says about a model.

        Raises:
            FerError: as for `predictor`.
        """
        manifest = self._manifest(name)
        spec = get_model(manifest.model).SPEC
        return Facts(
            name=manifest.model,
            title=spec.title,
            summary=spec.summary,
            parameters=int(manifest.weights.get("parameters", 0)),
            accuracy=marks.accuracy(manifest),
            teacher=str(manifest.training.get("teacher", "")),
        )

    def sets(self, name: str | None) -> marks.PredictionSets | None:
        """A model's conformal sets, None where none were fitted for these weights.

        Raises:
            FerError: as for `predictor`.
        """
        return marks.prediction_sets(self._manifest(name))

    def card(self, name: str) -> str:
        """A model's card as Markdown.

        Raises:
            FerError: as for `predictor`; or damaged notes beside the results.
        """
        from fer.card_text import card_text

        self._manifest(name)
        return card_text(self._places[name])

    def _manifest(self, name: str | None) -> Manifest:
        if not self._places:
            raise CheckpointError(NO_MODEL)
        place = self._places.get(name or self.default or "")
        if place is None:
            raise CheckpointError(f"there is no model {name!r} here; there are: {', '.join(self.names)}")
        return read_manifest(place)


def open_upload(upload: dict[str, Any] | None, folder: str | Path) -> np.ndarray:
    """The picture of an upload as uint8 (H, W, 3) RGB.

    Args:
        upload: Gradio's file record, with `path` and `orig_name`.
        folder: Where uploads lie. A request may name any path, so nothing outside is opened.

    Raises:
        ImageError: nothing uploaded, no longer here, or no picture; the message names the visitor's file, not the
            server's.
    """
    path = (upload or {}).get("path")
    if not path or not Path(path).resolve().is_relative_to(Path(folder).resolve()):
        raise ImageError("no picture was uploaded; send it as a file")
    if not Path(path).is_file():
        raise ImageError("the picture is no longer here: uploads are not kept; choose it again")
    name = (upload or {}).get("orig_name") or "the picture"
    try:
        return read_image(path)
    except ImageError as e:
        raise ImageError(str(e).replace(str(path), str(name))) from e


def shrink(image: np.ndarray) -> np.ndarray:
    """The same picture with its longest side at most `DISPLAY_PX`: a phone can load it."""
    picture = Image.fromarray(image)
    picture.thumbnail((DISPLAY_PX, DISPLAY_PX), Image.Resampling.BOX)
    return np.asarray(picture)


def find_faces(image: np.ndarray, predictor: Predictor, whole: bool) -> list[FaceResult]:
    """Every face of a picture, largest first; with `whole` the picture itself is taken for one face."""
    from fer.inference import analyze

    if not whole:
        smallest = max(max(image.shape[:2]) // SMALLEST, 20)
        return analyze(image, predictor, detector="haar", max_side_px=SEARCH_PX, min_face_px=smallest)
    height, width = image.shape[:2]
    # Shrunk, because the square around a long strip of fifty megapixels would not fit into memory.
    return [replace(face, box=(0, 0, width, height)) for face in analyze(shrink(image), predictor, detector="whole")]


def look_closer(
    image: np.ndarray,
    results: list[FaceResult],
    predictor: Predictor,
    method: str,
    whole: bool,
    sets: marks.PredictionSets | None = None,
) -> tuple[list[Seen], list[tuple[str, str]], str | None]:
    """Crop, heat map and doubts of each face, of the `MOST_CARDS` largest at most.

    Args:
        method: Wanted method; where the model does not have it, its own one is taken.
        sets: The model's conformal sets, where it has any.

    Returns:
        The faces; the methods that the model has as (title, name); the name of the one used, None where it has none.
    """
    from fer.explain import METHODS, explain, methods_for

    possible = methods_for(predictor)
    used = method if method in possible else next(iter(possible), None)
    seen = []
    for result in results[:MOST_CARDS]:
        face = cut_out(image, result, whole)
        seen.append(
            Seen(
                result,
                face,
                explain(predictor, face, used) if used else None,
                tuple(marks.doubts(result, face, whole)),
                sets.of(result.probs, result.labels) if sets else (),
            )
        )
    return seen, [(METHODS[name].title, name) for name in possible], used


def cut_out(image: np.ndarray, result: FaceResult, whole: bool) -> np.ndarray:
    """What the models are given of a face: uint8 (h, w, 3)."""
    from fer.faces import crop

    return whole_crop(image) if whole else crop(image, result.box)
