"""Class-specific attention rollout: attention counts as far as more of it would raise the score of the class.

Chefer, Gur and Wolf 2021, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
Transformers", eq. 5 and 6: per layer A' = mean over heads of ReLU(dS/dA * A); R = R + A' R from the
identity on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.explain.method import Method
from fer.explain.rollout import recording, supports, to_grid

if TYPE_CHECKING:
    import torch


def relevance(layers: Sequence[np.ndarray]) -> np.ndarray:
    """Relevance of every input token for every output token.

    Args:
        layers: One (T, T) matrix A' per layer, first layer first, rows = queries, at least 0.

    Returns:
        float64 (T, T).

    >>> relevance([np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [1.0, 0.0]])]).tolist()
    [[1.0, 1.0], [1.0, 2.0]]
    """
    total = np.eye(len(layers[0]))
    for attention in layers:
        total = total + np.asarray(attention, dtype=np.float64) @ total
    return total


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int) -> np.ndarray:
    """Relevance of every patch for the score of class `target`: float64 (h, w), at least 0, unscaled."""
    import torch

    vit: Any = module
    with torch.inference_mode(False), torch.enable_grad(), recording(vit.blocks) as kept:
        scores = vit(batch.clone().requires_grad_(True))  # so that there is a graph whether or not weights have one
        gradients = torch.autograd.grad(scores[0, target], kept)
    layers = [(g[0] * a[0]).relu().mean(dim=0) for a, g in zip(kept, gradients, strict=True)]
    return to_grid(vit, relevance([layer.detach().float().cpu().numpy() for layer in layers]))


METHOD = Method(
    name="gradient_rollout",
    title="Gradient-weighted rollout",
    summary="How much of each patch reaches the answer by attention that speaks for the class asked about.",
    needs="a vision transformer built like timm's",
    supports=supports,
    compute=compute,
    per_class=True,
    source="Chefer et al. 2021",
)
