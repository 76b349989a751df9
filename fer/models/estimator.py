"""What a model without a net (backend "classical") offers in place of torch.nn.Module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np


class Estimator(Protocol):
    """Prepared faces in, log-probabilities out. Faces are uint8 (N, S, S) or (N, S, S, 3), labels int (N,).

    Attributes:
        settings: All arguments of `build`.
        n_parameters: How many numbers were learnt.
    """

    @property
    def settings(self) -> dict[str, Any]: ...

    @property
    def n_parameters(self) -> int: ...

    def features(self, faces: np.ndarray) -> object:
        """What is computed of every face by itself, before anything is learnt, in proportional time."""
        ...

    def fit(self, faces: np.ndarray, labels: np.ndarray, class_weights: np.ndarray | None = None) -> Estimator:
        """Learn from the training split."""
        ...

    def calibrate(self, faces: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Fit the probabilities on the validation split without learning anything else anew.

        Returns:
            Log-probabilities (N, C) of these faces, each from a calibration that did not see the face.
        """
        ...

    def out_of_fold(self, faces: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What `calibrate` returns for the faces that it was given, once more and without changing anything."""
        ...

    def log_proba(self, faces: np.ndarray) -> np.ndarray:
        """Calibrated log-probabilities, float64 (N, C)."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """All that was learnt, as plain arrays."""
        ...

    def load_state(self, state: Mapping[str, np.ndarray]) -> Estimator:
        """Inverse of `state`.

        Raises:
            ValueError: arrays that do not fit.
        """
        ...
