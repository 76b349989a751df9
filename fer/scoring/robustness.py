"""Accuracy under seeded corruptions (`fer.corruptions`), for robustness.json."""

from __future__ import annotations

from typing import Any

import numpy as np

from fer.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from fer.data import Dataset
from fer.inference.predictor import Predictor
from fer.scoring.answers import BATCH_SIZE, answers

FACES = 1_000
SEED = 0


def robustness(
    predictor: Predictor, dataset: Dataset, split: str = "test", n: int = FACES, batch_size: int = BATCH_SIZE
) -> dict[str, Any]:
    """Accuracy of every corruption at every strength, on a seeded subset that is the same for every model.

    Args:
        n: Faces of the subset; all where there are fewer.

    Returns:
        split, n, seed, clean (accuracy without corruption), mean (over all cells), strengths and accuracy
        (corruption -> one figure per strength), as in robustness.json.
    """
    whole = dataset[split]
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(whole))[:n])
    part = whole.take(chosen)

    def accuracy(faces: np.ndarray) -> float:
        probs = answers(predictor, faces, dataset.label_set, batch_size)
        return round(float((probs.argmax(axis=1) == part.labels).mean()), 6)

    found = {name: [accuracy(corrupt(part.faces, name, s, SEED)) for s in STRENGTHS] for name in CORRUPTIONS}
    return {
        "split": split,
        "n": len(part),
        "seed": SEED,
        "clean": accuracy(part.faces),
        "mean": round(float(np.mean(list(found.values()))), 6),
        "strengths": list(STRENGTHS),
        "accuracy": found,
    }
