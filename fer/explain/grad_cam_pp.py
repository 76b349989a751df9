"""Grad-CAM++: Grad-CAM whose channel weights count every position that speaks for the class, however small the region.

Chattopadhay et al. 2018, "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional Networks",
eq. 10, 11 and 19 with Y = exp(S): with g = dS / dA_k, alpha = g^2 / (2 g^2 + g^3 sum_ab A_k); weight of channel k =
sum over positions of alpha ReLU(g), times exp(S), which is the same for all channels and falls away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer.explain.grad_cam import map_and_gradient, supports
from fer.explain.method import Method

if TYPE_CHECKING:
    import numpy as np
    import torch


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int) -> np.ndarray:
    """Grad-CAM++ of class `target` on the grid of `module.cam_layer`: float32 (h, w), at least 0, unscaled."""
    import torch

    activations, gradient = map_and_gradient(module, batch, target)  # (K, h, w) each
    below = 2 * gradient**2 + gradient**3 * activations.sum(dim=(1, 2), keepdim=True)
    alpha = torch.where(below != 0, gradient**2 / below, 0.0)
    weights = (alpha * gradient.relu()).sum(dim=(1, 2), keepdim=True)  # (K, 1, 1)
    return (weights * activations).sum(dim=0).relu().cpu().numpy()


METHOD = Method(
    name="grad_cam_pp",
    title="Grad-CAM++",
    summary="Grad-CAM that also counts small and several regions which speak for the class.",
    needs="a convolutional net that names its last feature map (`cam_layer`)",
    supports=supports,
    compute=compute,
    per_class=True,
    source="Chattopadhay et al. 2018",
)
