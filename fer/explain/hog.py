"""What a model on histograms of oriented gradients gets to see of a face: the strength of the edges by direction.

Dalal and Triggs 2005, "Histograms of Oriented Gradients for Human Detection"; drawn by scikit-image, a star of strokes
per cell, each stroke along an edge's direction and as bright as the cell's gradients in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fer.explain.method import Method
from fer.transforms import prepare

if TYPE_CHECKING:
    from fer.inference import Predictor
    from fer.models.hog_svm import HogSvm


def suits(predictor: Predictor) -> bool:
    """Whether the predictor's model stands on HOG."""
    from fer.models.hog_svm import HogSvm

    return isinstance(getattr(predictor, "estimator", None), HogSvm)


def probe(predictor: Predictor, face: np.ndarray, target: int = 0) -> np.ndarray:
    """The picture of the features: float64 (S, S) over the model's input, at least 0, unscaled.

    `target` is not used: the features are the same whatever class is asked about.
    """
    from skimage.feature import hog

    model = cast("HogSvm", cast(Any, predictor).estimator)
    _, picture = hog(
        prepare([face], predictor.input_spec)[0],
        orientations=model.orientations,
        pixels_per_cell=(model.cell_px, model.cell_px),
        cells_per_block=(model.block_cells, model.block_cells),
        channel_axis=None if model.spec.channels == 1 else -1,
        visualize=True,
    )
    return np.asarray(picture, dtype=np.float64)


METHOD = Method(
    name="hog",
    title="HOG picture",
    summary="What the features see: the edges of each cell, by direction and strength.",
    needs="a model on histograms of oriented gradients (hog_svm)",
    per_class=False,
    source="Dalal and Triggs 2005",
    probe=probe,
    suits=suits,
)
