"""Occlusion: cover one patch of the face after another and see how far the probability of the class falls.

Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", section 4.2. Their grey square is here
the mean colour of the face, which adds less of an edge of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fer.explain.method import Method
from fer.transforms import prepare

if TYPE_CHECKING:
    from fer.inference import Predictor

SHARE = 0.2  # side of the patch, of the side that the model sees
STEPS = 12  # places of the patch along each side
_NOISE = 1e-6  # float32 probabilities differ by less from batch to batch
_BATCH = 48


def probe(predictor: Predictor, face: np.ndarray, target: int) -> np.ndarray:
    """How far covering a place lowers the probability of class `target`.

    Args:
        predictor: Anything with `predict_proba` and `input_spec`; asked about 1 + STEPS^2 faces.
        face: uint8 (H, W) or (H, W, 3).

    Returns:
        float64 (S, S) over the model's input: at each pixel the mean fall over all patches that cover it, 0 where the
        probability rises.
    """
    spec = predictor.input_spec
    whole = prepare([face], spec, crop=False)[0]  # (R, R) or (R, R, 3): predicting it again resizes nothing
    margin, size = (spec.resize_px - spec.size_px) // 2, spec.size_px
    seen = whole[margin : margin + size, margin : margin + size]
    fill = np.rint(seen.reshape(size * size, -1).mean(axis=0)).astype(np.uint8)
    patch = max(1, round(SHARE * size))
    starts = np.unique(np.rint(np.linspace(0, size - patch, STEPS)).astype(int))
    places = [(int(r), int(c)) for r in starts for c in starts]
    falls: list[float] = []
    for i in range(0, len(places), _BATCH):
        part = places[i : i + _BATCH]
        covered = np.repeat(whole[None], len(part) + 1, axis=0)
        for one, (r, c) in zip(covered[1:], part, strict=True):
            one[margin + r : margin + r + patch, margin + c : margin + c + patch] = fill
        probs = predictor.predict_proba(covered)[:, target].astype(np.float64)
        falls += list(probs[0] - probs[1:])
    total, times = np.zeros((size, size)), np.zeros((size, size))
    for (r, c), fall in zip(places, falls, strict=True):
        total[r : r + patch, c : c + patch] += fall
        times[r : r + patch, c : c + patch] += 1
    heat = total / times
    return np.where(heat > _NOISE, heat, 0.0)


METHOD = Method(
    name="occlusion",
    title="Occlusion",
    summary="How far the probability of the class falls when that part of the face is covered.",
    needs="a model that gives probabilities",
    per_class=True,
    source="Zeiler and Fergus 2014",
    probe=probe,
)
