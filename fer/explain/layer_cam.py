"""Layer-CAM: every position of the feature map is weighted by its own gradient, not by its channel's mean.

Jiang et al. 2021, "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", eq. 5 and 6: map =
ReLU(sum_k ReLU(d score / d A_k) A_k), position by position.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer.explain.grad_cam import map_and_gradient, supports
from fer.explain.method import Method

if TYPE_CHECKING:
    import numpy as np
    import torch


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int) -> np.ndarray:
    """Layer-CAM of class `target` on the grid of `module.cam_layer`: float32 (h, w), at least 0, unscaled."""
    activations, gradient = map_and_gradient(module, batch, target)  # (K, h, w) each
    return (gradient.relu() * activations).sum(dim=0).relu().cpu().numpy()


METHOD = Method(
    name="layer_cam",
    title="Layer-CAM",
    summary="Grad-CAM with a weight for every position: finer, where the net reads some places only.",
    needs="a convolutional net that names its last feature map (`cam_layer`)",
    supports=supports,
    compute=compute,
    per_class=True,
    source="Jiang et al. 2021",
)
