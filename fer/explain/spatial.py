"""The mask that a net lays over its last feature map, read out of the net itself (Woo et al. 2018, CBAM, eq. 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fer.explain.method import Method

if TYPE_CHECKING:
    import torch

    from fer.models.layers import SpatialGate


def _gates(module: torch.nn.Module) -> list[SpatialGate]:
    from fer.models.layers import SpatialGate

    return [m for m in module.modules() if isinstance(m, SpatialGate)]


def supports(module: torch.nn.Module) -> bool:
    """Whether the net has a spatial gate."""
    return bool(_gates(module))


def compute(module: torch.nn.Module, batch: torch.Tensor, target: int = 0) -> np.ndarray:
    """The last gate's mask: float64 (h, w) in (0, 1).

    `target` is not used: the mask is the same whatever class is asked about.
    """
    import torch

    gate = _gates(module)[-1]
    try:
        gate.record = True
        with torch.no_grad():
            module(batch)
        mask = gate.last_spatial
        assert mask is not None
        return mask[0, 0].double().cpu().numpy()
    finally:
        gate.record, gate.last_spatial = False, None


METHOD = Method(
    name="spatial",
    title="Spatial attention",
    summary="The mask the net itself lays over its last feature map.",
    needs="a net with spatial attention over its last feature map",
    supports=supports,
    compute=compute,
    per_class=False,
    source="Woo et al. 2018",
)
