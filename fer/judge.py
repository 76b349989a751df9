"""Faces of a validation split that decide whether another form of a net may take its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fer.specs import InputSpec
from fer.transforms import normalise, prepare

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Judge:
    """Faces that decide whether a smaller form of a net may be used.

    Attributes:
        faces: uint8 faces of a validation split, any size.
        labels: (N,) int.
        source: data, split and title, for the metadata.
    """

    faces: np.ndarray
    labels: np.ndarray
    source: dict[str, str]

    def accuracy(self, answer: Callable[[np.ndarray], np.ndarray], spec: InputSpec) -> float:
        """Accuracy (0..1) of `answer`, prepared faces in, logits out."""
        return float(np.mean(_in_batches(answer, prepare(self.faces, spec)).argmax(axis=1) == self.labels))

    def accuracy_of(self, module: nn.Module, spec: InputSpec) -> float:
        """Accuracy (0..1) of a net in eval mode on the CPU, normalised faces in, logits out."""
        import torch

        def answer(faces: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return module(normalise(torch.from_numpy(np.ascontiguousarray(faces)), spec)).numpy()

        return self.accuracy(answer, spec)


def _in_batches(answer: Callable[[np.ndarray], np.ndarray], faces: np.ndarray, size: int = 256) -> np.ndarray:
    """`answer` of all faces, some at a time."""
    return np.concatenate([answer(faces[i : i + size]) for i in range(0, len(faces), size)])
