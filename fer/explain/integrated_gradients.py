"""Integrated gradients: what each pixel adds to the score of a class on the way from an empty face to this one.

Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", eq. 1, computed by captum. The empty face is
the mean colour of the face, as for occlusion: against black, the dark parts of a face could never count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fer.explain.method import Method

if TYPE_CHECKING:
    import numpy as np
    import torch

STEPS = 24  # points of the Gauss-Legendre rule


def supports(module: torch.nn.Module) -> bool:
    """Any net has gradients."""
    return True


def attributions(module: torch.nn.Module, batch: torch.Tensor, target: int, steps: int = STEPS) -> torch.Tensor:
    """Signed share of every input number in the score of class `target`.

    Args:
        module: Net in eval mode.
        batch: float (1, C, S, S).
        steps: Points of the integral.

    Returns:
        float (1, C, S, S); the sum is the score of the face minus that of the empty face ("completeness").
    """
    import torch
    from captum.attr import IntegratedGradients

    with torch.inference_mode(False), torch.enable_grad():
        face = batch.clone().requires_grad_(True)  # a batch made under inference_mode has no backward pass
        empty = batch.mean(dim=(2, 3), keepdim=True).clone().expand_as(batch)
        shares = IntegratedGradients(module).attribute(face, empty, target=target, n_steps=steps)
    return shares.detach()


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int) -> np.ndarray:
    """Size of each pixel's share in the score of class `target`, for or against it: float32 (S, S), unscaled."""
    return attributions(module, batch, target)[0].sum(dim=0).abs().float().cpu().numpy()


METHOD = Method(
    name="integrated_gradients",
    title="Integrated gradients",
    summary="How much each pixel adds to the score of the class, on the way from a plain face to this one.",
    needs="a net with gradients",
    supports=supports,
    compute=compute,
    per_class=True,
    source="Sundararajan et al. 2017",
)
