"""From pictures to predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer.inference.predictor import Predictor, TorchPredictor, load

if TYPE_CHECKING:
    from fer.inference.pipeline import FaceResult, analyze

__all__ = ["FaceResult", "Predictor", "TorchPredictor", "analyze", "load"]


def __getattr__(name: str) -> Any:
    if name in ("FaceResult", "analyze"):  # the pipeline brings OpenCV with it
        from fer.inference import pipeline

        return getattr(pipeline, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
