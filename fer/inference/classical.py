"""The predictor of a model without a net."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from fer.transforms import Faces, prepare

if TYPE_CHECKING:
    from fer.checkpoint import Manifest
    from fer.models.estimator import Estimator

_log = logging.getLogger(__name__)


class ClassicalPredictor:
    """A trained estimator (backend "classical"). It runs on the CPU and may be shared by threads.

    Args:
        device: cpu and auto mean the CPU; another one that this machine has is not used, which is logged.

    Attributes:
        estimator: Prepared faces in, log-probabilities out.

    Raises:
        ConfigError: a device that is not there.
    """

    runtime = "scikit-learn"

    def __init__(self, estimator: Estimator, manifest: Manifest, device: str = "cpu"):
        if device not in ("cpu", "auto"):
            from fer.device import pick_device

            if pick_device(device).type != "cpu":
                _log.warning("%s runs on the CPU; device %s is not used", manifest.model, device)
        self.estimator = estimator
        self.manifest = manifest
        self.name = manifest.model
        self.labels = manifest.classes
        self.input_spec = manifest.input
        self.temperature = manifest.temperature

    def predict_proba(self, faces: Faces, batch_size: int = 256) -> np.ndarray:
        """Calibrated probabilities.

        Args:
            faces: uint8 (N, H, W) / (N, H, W, 3), or a sequence of (H, W) / (H, W, 3) of any size, RGB. Not changed.
            batch_size: Faces at a time.

        Returns:
            (N, C) float32, rows sum to 1; (0, C) for no faces.

        Raises:
            ImageError: a face that is not uint8 or has an impossible shape.
        """
        from scipy.special import softmax

        out = np.empty((len(faces), len(self.labels)), dtype=np.float32)
        for i in range(0, len(faces), batch_size):
            log_p = self.estimator.log_proba(prepare(faces[i : i + batch_size], self.input_spec))
            out[i : i + batch_size] = softmax(log_p / self.temperature, axis=1)
        return out

    def __repr__(self) -> str:
        return f"ClassicalPredictor({self.name!r}, {self.input_spec})"
