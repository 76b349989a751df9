"""The feature map as channel attention leaves it: the mean of its channels, weighted as the net weights them.

Woo et al. 2018, "CBAM: Convolutional Block Attention Module", equation 2. The attention itself has no place in the
picture, one number per channel; the map shows where the channels that it lets through are active.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fer.explain.method import Method

if TYPE_CHECKING:
    import torch

    from fer.models.layers import ChannelAttention


def _layers(module: torch.nn.Module) -> list[ChannelAttention]:
    from fer.models.layers import ChannelAttention

    return [m for m in module.modules() if isinstance(m, ChannelAttention)]


def supports(module: torch.nn.Module) -> bool:
    """Whether the net has channel attention."""
    return bool(_layers(module))


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int = 0) -> np.ndarray:
    """sum_k c_k A_k / sum_k c_k of the last channel attention c over its feature map A: float64 (h, w).

    `target` is not used: attention is the same whatever class is asked about.
    """
    import torch

    kept: list[np.ndarray] = []

    def keep(_module: torch.nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        features, weights = inputs[0][0].double(), output[0].double()  # (K, h, w), (K, 1, 1)
        kept.append(((weights * features).sum(dim=0) / weights.sum()).cpu().numpy())

    handle = _layers(module)[-1].register_forward_hook(keep)
    try:
        with torch.no_grad():
            module(batch)
    finally:
        handle.remove()
    return kept[-1]


METHOD = Method(
    name="channel",
    title="Channel attention",
    summary="Where those feature channels are active that the net's channel attention lets through.",
    needs="a net with channel attention (CBAM)",
    supports=supports,
    compute=compute,
    per_class=False,
    source="Woo et al. 2018",
)
