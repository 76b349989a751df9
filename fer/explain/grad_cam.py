"""Grad-CAM: which parts of the last convolutional map raise the score of a class.

Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", eq. 1 and 2:
weight of channel k = mean over positions of d score / d A_k; map = ReLU(sum_k weight_k A_k).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from fer.explain.method import Method

if TYPE_CHECKING:
    import numpy as np
    import torch


def supports(module: torch.nn.Module) -> bool:
    """Whether the net names the convolutional layer to look at."""
    import torch

    return isinstance(getattr(module, "cam_layer", None), torch.nn.Module)


@contextmanager
def _activations(layer: torch.nn.Module) -> Iterator[list[torch.Tensor]]:
    """Keep the outputs of a layer as tensors that gradients can be taken for, as long as the context lasts."""
    kept: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        kept.append(output.detach().requires_grad_(True))
        return kept[-1].clone()  # a following in-place ReLU must not write into what is kept

    handle = layer.register_forward_hook(keep)
    try:
        yield kept
    finally:
        handle.remove()


def map_and_gradient(module: torch.nn.Module, batch: torch.Tensor, target: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The last feature map and the gradient of the score of class `target` by it.

    Args:
        module: A net with a `cam_layer`, in eval mode, that nobody else uses.
        batch: float (1, C, S, S).

    Returns:
        Activations (K, h, w) of `module.cam_layer` and gradient (K, h, w), both float32 and detached.
    """
    import torch

    layer = cast("torch.nn.Module", module.cam_layer)
    with torch.inference_mode(False), torch.enable_grad(), _activations(layer) as kept:
        scores = module(batch.clone())  # a batch made under inference_mode cannot take part in a backward pass
        (gradient,) = torch.autograd.grad(scores[0, target], kept[-1])
    return kept[-1].detach()[0].float(), gradient[0].float()


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int) -> np.ndarray:
    """Grad-CAM of class `target` on the grid of `module.cam_layer`: float32 (h, w), at least 0, unscaled."""
    activations, gradient = map_and_gradient(module, batch, target)
    weights = gradient.mean(dim=(1, 2), keepdim=True)  # (K, 1, 1)
    return (weights * activations).sum(dim=0).relu().cpu().numpy()


METHOD = Method(
    name="grad_cam",
    title="Grad-CAM",
    summary="Where the last convolutional layer speaks for the class asked about.",
    needs="a convolutional net that names its last feature map (`cam_layer`)",
    supports=supports,
    compute=compute,
    per_class=True,
    source="Selvaraju et al. 2017",
)
