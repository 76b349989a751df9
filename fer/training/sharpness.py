"""Sharpness-aware minimisation: the gradient is taken where the loss is worst nearby (Foret et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def at_worst_point(module: nn.Module, rho: float) -> Iterator[None]:
    """Moves the weights by `rho` along their gradient, and back at the end.

    Gradients are cleared on entry: those of a backward pass inside are what the optimizer then gets. Running statistics
    of batch norms stand still inside, so that they describe the weights themselves.

    Args:
        rho: L2 length of the move over all weights.
    """
    moved = [p for p in module.parameters() if p.grad is not None]
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(p.grad) for p in moved]))
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [m.momentum for m in norms]
    before = [p.detach().clone() for p in moved]
    with torch.no_grad():
        for p in moved:
            p.add_(p.grad * (rho / (norm + 1e-12)))  # type: ignore[operator]
            p.grad = None
    for m in norms:
        m.momentum = 0.0
    try:
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(moved, before, strict=True):
                p.copy_(old)
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
