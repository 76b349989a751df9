"""How much attention every position receives in a net that attends over the positions of its feature map.

Vaswani et al. 2017, "Attention Is All You Need", equation 1: row i of softmax(Q K^T / sqrt(d)) says how much position i
takes from every other. The net averages over its tokens, so a position counts with the mean of its column.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fer.explain.method import Method

if TYPE_CHECKING:
    import torch

    from fer.models.layers import SelfAttention


def _layers(module: torch.nn.Module) -> list[SelfAttention]:
    from fer.models.layers import SelfAttention

    return [m for m in module.modules() if isinstance(m, SelfAttention)]


def supports(module: torch.nn.Module) -> bool:
    """Whether the net has a self-attention layer that can be recorded."""
    return bool(_layers(module))


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int = 0) -> np.ndarray:
    """Attention that every position receives, mean over heads and queries: float64 (h, h), sums to 1.

    `target` is not used: attention does not depend on the class asked about.
    """
    import torch

    layer = _layers(module)[-1]
    try:
        layer.record = True
        with torch.no_grad():
            module(batch)
        attention = layer.last_attention
        assert attention is not None
        received = attention[0].double().mean(dim=(0, 1)).cpu().numpy()  # (T,)
    finally:
        layer.record, layer.last_attention = False, None
    side = math.isqrt(received.size)  # the input is a square, so its feature map is
    return received.reshape(side, side)


METHOD = Method(
    name="self_attention",
    title="Self-attention",
    summary="How much attention each position receives from all others.",
    needs="a net with self-attention over the positions of its feature map",
    supports=supports,
    compute=compute,
    per_class=False,
    source="Vaswani et al. 2017",
)
