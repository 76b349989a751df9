"""Losses over logits and probability-vector targets. A new loss is one function and one line in LOSSES."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F

from fer.specs import Recipe

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None, float], torch.Tensor]


def cross_entropy(
    logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """Mean cross-entropy against probability vectors.

    Args:
        logits: (N, C).
        targets: (N, C), rows sum to 1.
        weights: (C,) class weights, mean 1 over the training images (see `class_weights`).
        smoothing: Share of each target spread evenly over the classes.

    Returns:
        Scalar.
    """
    return F.cross_entropy(logits.float(), targets, weight=weights, label_smoothing=smoothing)


def focal(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor | None = None,
    smoothing: float = 0.0,
    gamma: float = 2.0,
) -> torch.Tensor:
    """Cross-entropy whose terms are weighed by (1 - p)^gamma: what is sure already counts less (Lin et al. 2017).

    Args:
        logits, targets, weights, smoothing: As for `cross_entropy`, which it equals for gamma 0.
        gamma: Exponent, 0 or more.

    Returns:
        Scalar.
    """
    targets = targets * (1 - smoothing) + smoothing / targets.shape[1]
    log_p = F.log_softmax(logits.float(), dim=1)
    least = torch.finfo(log_p.dtype).eps if 0 < gamma < 1 else 0.0  # such a power is infinitely steep at 0
    terms = -targets * (1 - log_p.exp()).clamp(min=least) ** gamma * log_p
    return (terms if weights is None else terms * weights).sum(dim=1).mean()


def distillation(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """KL(teacher || student) of softened outputs, times T squared (Hinton, Vinyals and Dean 2015). (N, C) each."""
    t = temperature
    log_p = F.log_softmax(student.float() / t, dim=1)
    log_q = F.log_softmax(teacher.float() / t, dim=1)
    return F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) * t * t


# a recipe's loss: from the recipe to a function of logits, targets, class weights and smoothing
LOSSES: dict[str, Callable[[Recipe], Loss]] = {
    "cross_entropy": lambda recipe: cross_entropy,
    "focal": lambda recipe: partial(focal, gamma=recipe.focal_gamma),
}


def class_weights(targets: torch.Tensor, kind: str) -> torch.Tensor | None:
    """(C,) weights with mean 1 over the training images; None for "none".

    Args:
        targets: (N, C) of the training split.
        kind: none, balanced (inverse frequency) or sqrt_balanced (its square root).
    """
    if kind == "none":
        return None
    counts = targets.sum(dim=0)
    inverse = torch.where(counts > 0, counts.sum() / (len(counts) * counts.clamp(min=1e-9)), torch.zeros_like(counts))
    w = inverse if kind == "balanced" else inverse.sqrt()
    return w / ((w * counts).sum() / counts.sum())
