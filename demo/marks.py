"""How far an answer can be trusted: the classes that come into question, and faces that may be none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.checkpoint import Manifest
from fer.evaluation import conformal
from fer.evaluation.results import METRICS, folder_of

if TYPE_CHECKING:
    from fer.inference import FaceResult

DATA, SPLIT, LEVEL = "fer2013", "test", 0.9
UNSURE_BELOW = 0.5
# How many per cent of the faces of FER2013's PrivateTest the bundled models get right below this and above it.
RIGHT_BELOW, RIGHT_ABOVE = (37, 42), (76, 79)
# Tried: 5 % of the faces found in photographs (Muxspace) lie below, 1 % of drawn ones, 3 of the 4 boxes that were put
# into 210 cut-outs of pictures without people.
FACE_SCORE = 0.8
FILLS = 0.4  # share of a crop's side that a face must span for the crop to show that face


@dataclass(frozen=True)
class Doubt:
    """Why an answer should not be relied on.

    Attributes:
        name: For programs: unsure or no_face.
        text: For people.
    """

    name: str
    text: str


@dataclass(frozen=True)
class PredictionSets(conformal.PredictionSets):
    """A model's conformal sets, and what they were measured to hold.

    Attributes:
        coverage: Share of the faces of `split` whose label was in the set; None where these weights were not scored.
        split: What the data's authors call the faces that measured it.
    """

    coverage: float | None = None
    split: str = ""


def stored_metrics(manifest: Manifest) -> dict[str, Any] | None:
    """Committed scores of a model on FER2013, if they were measured on exactly these weights; None otherwise."""
    try:
        metrics = json.loads((folder_of(DATA, manifest.model) / METRICS).read_text(encoding="utf-8"))
        return metrics if metrics["checkpoint"]["sha256"] == manifest.weights["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def accuracy(manifest: Manifest) -> float | None:
    """Accuracy on PrivateTest, 0..1; None where these weights were not scored."""
    try:
        return float((stored_metrics(manifest) or {})["splits"][SPLIT]["single"]["accuracy"])
    except (KeyError, TypeError, ValueError):
        return None


def prediction_sets(manifest: Manifest) -> PredictionSets | None:
    """The conformal sets of a model, their threshold from its manifest; None where it has none."""
    if (found := conformal.prediction_sets(manifest, LEVEL)) is None:
        return None
    try:
        split = (stored_metrics(manifest) or {})["splits"][SPLIT]
        measured = float(split["conformal"][f"{LEVEL:g}"]["coverage"]), str(split.get("title", SPLIT))
    except (KeyError, TypeError, ValueError):
        measured = None, ""
    return PredictionSets(found.level, found.threshold, *measured)


def doubts(result: FaceResult, crop: np.ndarray, whole: bool) -> list[Doubt]:
    """What speaks against relying on an answer; usually nothing.

    Whether a crop shows a face is left to the face detector. The nets cannot tell: they answer noise and walls with
    high probabilities, and agree with each other there.

    Args:
        crop: uint8 (h, w, 3), what the model was given.
        whole: The picture was taken as one face, unasked by the detector: it is asked now.
    """
    found = []
    if whole:
        if not _face_fills(crop):
            text = (
                "Perhaps no face: the face detector finds none that fills this picture. It misses about one in four "
                "tight grey crops, so have a look yourself."
            )
            found.append(Doubt("no_face", text))
    elif result.score < FACE_SCORE:
        text = f"Perhaps no face: the face detector gives it {result.score:.0%} only."
        found.append(Doubt("no_face", text))
    if result.confidence < UNSURE_BELOW:
        text = f"Unsure: {result.label} is likelier than any other class, and still more likely wrong than right."
        found.append(Doubt("unsure", text))
    return found


def _face_fills(crop: np.ndarray) -> bool:
    from fer.faces import detect

    height, width = crop.shape[:2]
    return any(
        max(r - left, b - top) >= FILLS * max(height, width) for left, top, r, b in (f.box for f in detect(crop))
    )
