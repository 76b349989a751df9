"""How far an answer can be trusted: the classes that come into question, and faces that may be none."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.checkpoint import Manifest
from fer.evaluation.results import METRICS, folder_of

if TYPE_CHECKING:
    from fer.inference import FaceResult
    from fer.labels import LabelSet

DATA, SPLIT, LEVEL = "fer2013", "test", "0.9"
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
class PredictionSets:
    """A model's conformal sets (`fer.evaluation.conformal`), fitted for exactly these weights.

    Attributes:
        level: Share of faces whose label the set is meant to hold.
        threshold: Probability a class needs to enter.
        coverage: Share of the faces of `split` whose label was in the set.
        split: What the data's authors call the faces that measured `coverage`.
        power: The threshold is for probabilities of another temperature: these, to this power.
    """

    level: float
    threshold: float
    coverage: float
    split: str
    power: float = 1.0

    def of(self, probs: np.ndarray, labels: LabelSet) -> tuple[str, ...]:
        """The classes in the set of one face, likeliest first.

        Args:
            probs: (C,) as the predictor gives them.
        """
        from fer.evaluation.conformal import sets

        powered = np.asarray(probs, dtype=np.float64) ** self.power
        powered /= powered.sum()
        (inside,) = sets(powered[None], self.threshold)
        return tuple(labels.names[i] for i in np.argsort(-powered, kind="stable") if inside[i])


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
    """The stored conformal sets of a model; None where these weights and classes have none."""
    metrics = stored_metrics(manifest) or {}
    try:
        found = metrics["splits"][SPLIT]["conformal"][LEVEL]
        if tuple(metrics["data"]["labels"]) != tuple(manifest.labels):
            return None
        return PredictionSets(
            level=float(LEVEL),
            threshold=float(found["threshold"]),
            coverage=float(found["coverage"]),
            split=str(metrics["splits"][SPLIT].get("title", SPLIT)),
            power=float(manifest.temperature) / float(metrics["temperature"]["value"]),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


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
