"""The spatial attention that a CBAM net applies on its way, read out of the net itself.

Woo et al. 2018, "CBAM: Convolutional Block Attention Module", equation 3. Each stage multiplies its feature map by a
mask in (0, 1); a position that several stages let through counts with the product, so the masks are multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from fer.explain.frame import over_input
from fer.explain.method import Method

if TYPE_CHECKING:
    import torch

    from fer.models.layers import CBAM


def _blocks(module: torch.nn.Module) -> list[CBAM]:
    """The last CBAM block of every stage that has one; a net that names no stages is one stage."""
    from fer.models.layers import CBAM

    stages: Iterable[torch.nn.Module] = getattr(module, "stages", (module,))
    per_stage = [[m for m in stage.modules() if isinstance(m, CBAM)] for stage in stages]
    return [blocks[-1] for blocks in per_stage if blocks]


def supports(module: torch.nn.Module) -> bool:
    """Whether the net has stages with CBAM blocks (the same net with attention switched off has none)."""
    return bool(_blocks(module))


@contextmanager
def _recording(blocks: list[CBAM]) -> Iterator[None]:
    """Have the blocks keep their masks as long as the context lasts."""
    try:
        for block in blocks:
            block.record = True
        yield
    finally:
        for block in blocks:
            block.record = False
            block.last_spatial = block.last_channel = None


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int = 0) -> np.ndarray:
    """Product of the stages' spatial masks at every pixel of the net's input: float64 (S, S) in (0, 1).

    `target` is not used: the masks are the same whatever class is asked about.
    """
    import torch

    blocks = _blocks(module)
    with torch.no_grad(), _recording(blocks):
        module(batch)
        kept = [block.last_spatial for block in blocks]
    masks = [mask[0, 0].float().cpu().numpy() for mask in kept if mask is not None]  # each (h, w)
    return np.prod([over_input(mask, batch.shape[-1]) for mask in masks], axis=0)


METHOD = Method(
    name="cbam",
    title="CBAM attention",
    summary="The spatial attention the net itself applies, all stages multiplied.",
    needs="a net with CBAM attention",
    supports=supports,
    compute=compute,
    per_class=False,
    source="Woo et al. 2018",
)
