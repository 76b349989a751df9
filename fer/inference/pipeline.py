"""From a picture to one result per face: read, detect, crop, predict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.faces import crop, detect
from fer.faces.whole import whole_crop
from fer.images import ImageSource, read_image
from fer.labels import LabelSet

if TYPE_CHECKING:
    from fer.faces import Box
    from fer.inference.predictor import Predictor


@dataclass(frozen=True, eq=False)
class FaceResult:
    """One face and what a model sees in it.

    Attributes:
        box: (left, top, right, bottom) in pixels of the picture, right and bottom exclusive.
        score: 0..1, how sure the detector is that this is a face.
        probs: float32 (C,), calibrated probabilities.
        labels: Classes, in the order of `probs`.
    """

    box: Box
    score: float
    probs: np.ndarray
    labels: LabelSet

    @property
    def index(self) -> int:
        """Index of the likeliest class."""
        return int(self.probs.argmax())

    @property
    def label(self) -> str:
        """Name of the likeliest class."""
        return self.labels.names[self.index]

    @property
    def emoji(self) -> str:
        """Emoji of the likeliest class."""
        return self.labels.emoji[self.index]

    @property
    def confidence(self) -> float:
        """Probability of the likeliest class."""
        return float(self.probs[self.index])

    def top(self, n: int = 3) -> list[tuple[str, float]]:
        """The n likeliest classes with their probabilities, the likeliest first."""
        order = np.argsort(-self.probs, kind="stable")[:n]
        return [(self.labels.names[i], float(self.probs[i])) for i in order]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types; probabilities rounded to six places."""
        return {
            "box": [int(v) for v in self.box],
            "score": round(float(self.score), 6),
            "label": self.label,
            "emoji": self.emoji,
            "confidence": round(self.confidence, 6),
            "probs": {name: round(float(p), 6) for name, p in zip(self.labels.names, self.probs, strict=True)},
        }


def analyze(
    image: ImageSource, model: str | Path | Predictor = "attention_cnn", detector: str = "haar", **options: Any
) -> list[FaceResult]:
    """Find every face in a picture and classify its expression.

    Args:
        image: Path, bytes, PIL picture or array (see `fer.images.read_image`).
        model: Name of a trained model, path of a checkpoint, or a Predictor (loaded once, for many pictures).
        detector: Key of `fer.faces.DETECTORS`; "whole" takes the picture as one face crop.
        **options: Settings of the detector, for example `min_face_px=60`.

    Returns:
        One result per face, the largest face first; an empty list where no face is found.

    Raises:
        ImageError: not a readable picture.
        ConfigError, CheckpointError: unknown model, detector or option; unusable checkpoint.
    """
    predictor = _predictor(model)
    pixels = read_image(image)
    faces = detect(pixels, detector, **options)
    if not faces:
        return []
    # A crop given as such has its framing already.
    crops = [whole_crop(pixels) if detector == "whole" else crop(pixels, face.box) for face in faces]
    probs = predictor.predict_proba(crops)
    return [FaceResult(f.box, f.score, p, predictor.labels) for f, p in zip(faces, probs, strict=True)]


def _predictor(model: str | Path | Predictor) -> Predictor:
    if isinstance(model, (str, Path)):
        from fer.inference.predictor import load

        return load(model)
    return model
