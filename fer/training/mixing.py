"""Mixup and CutMix on whole batches, one share per image, keyed like every other random choice."""

from __future__ import annotations

import numpy as np
import torch

from fer.specs import Phase, Recipe
from fer.transforms import on_device

N_MIX = 4  # columns of random numbers that `mix` reads


def mixes(recipe: Recipe, phase: Phase, done: int) -> bool:
    """Whether images are mixed in an epoch of a phase that has so many behind it.

    >>> recipe = Recipe(phases=(Phase(epochs=10),), mixup=0.2)
    >>> [mixes(recipe, recipe.phases[0], n) for n in (0, 7, 8, 9)]
    [True, True, False, False]
    """
    return bool(recipe.mixup or recipe.cutmix) and done < phase.epochs * (1 - recipe.mix_off)


def mix(
    x: torch.Tensor, y: torch.Tensor, other_x: torch.Tensor, other_y: torch.Tensor, random: np.ndarray, recipe: Recipe
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes each image with a partner (mixup, Zhang et al. 2018) or pastes a box of it (CutMix, Yun et al. 2019).

    Args:
        x, other_x: (N, C, S, S) views and their partners.
        y, other_y: (N, K) targets; they are mixed in the share of the pixels.
        random: (N, 4) uniform numbers: which of the two, share, centre of the box.
        recipe: `mixup` and `cutmix` are the alphas of Beta(alpha, alpha); 0 switches one off.

    Returns:
        Mixed views and targets.
    """
    from scipy.stats import beta

    n, size = len(x), x.shape[-1]
    cut = random[:, 0] < (0.5 if recipe.mixup and recipe.cutmix else float(recipe.cutmix > 0))
    keep = np.empty(n)
    for chosen, alpha in ((cut, recipe.cutmix), (~cut, recipe.mixup)):
        if chosen.any():
            keep[chosen] = beta.ppf(random[chosen, 1], alpha, alpha)
    u = on_device(torch.from_numpy(random).float(), x.device)
    share = on_device(torch.from_numpy(keep).float(), x.device)
    # a box of sides sqrt(1 - share), cut off at the picture's edge; the targets follow the pixels that really changed
    half = (1 - share).sqrt() * size / 2
    ticks = torch.arange(size, device=x.device, dtype=torch.float32) + 0.5
    rows = (ticks[None] - u[:, 2:3] * size).abs() < half[:, None]
    columns = (ticks[None] - u[:, 3:4] * size).abs() < half[:, None]
    box = (rows[:, :, None] & columns[:, None, :]).float()
    is_cut = on_device(torch.from_numpy(cut), x.device)
    mask = torch.where(is_cut[:, None, None], 1 - box, share[:, None, None])
    kept = mask.mean(dim=(1, 2))[:, None]
    mask = mask[:, None].to(x.dtype)
    return x * mask + other_x * (1 - mask), y * kept + other_y * (1 - kept)
