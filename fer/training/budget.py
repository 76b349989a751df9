"""Fits a recipe into a time: fewer epochs, and where even one is too long, a share of the training split in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from fer.errors import ConfigError
from fer.specs import Phase, Recipe

UNITS_S = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}


def parse_budget(text: str) -> float:
    """Seconds.

    Raises:
        ConfigError: not of the form minutes=N.

    >>> parse_budget("minutes=1.5")
    90.0
    """
    unit, _, number = (part.strip() for part in text.partition("="))
    try:
        seconds = float(number) * UNITS_S[unit]
    except (KeyError, ValueError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ConfigError(f"a budget is minutes=N, hours=N or seconds=N with N above 0, got {text!r}")
    return seconds


def fit(recipe: Recipe, epoch_s: Sequence[float], budget_s: float, fixed_s: Sequence[float] | None = None) -> Recipe:
    """The recipe with its schedules shortened so that training should end within a time.

    Args:
        epoch_s: Measured seconds of one epoch, for each phase.
        budget_s: Seconds for all of it.
        fixed_s: What of an epoch's seconds stays when it sees fewer faces, for each phase; None = nothing.

    Returns:
        The recipe itself where it fits; else every phase gets fewer epochs in proportion, one at least, and its
        warm-up and restarts shrink with it. Where one epoch per phase is too long, `epoch_share` shrinks as well. A
        snapshot ensemble keeps its cycles, then all of the same length, or as many as there are epochs for; with
        fewer than two it is none.

    >>> fit(Recipe(phases=(Phase(epochs=10), Phase(epochs=30))), [2.0, 2.0], 40.0).epochs
    20
    """
    needed = sum(p.epochs * s for p, s in zip(recipe.phases, epoch_s, strict=True))
    if needed <= budget_s:
        return recipe
    epochs = [max(1, math.floor(p.epochs * budget_s / needed)) for p in recipe.phases]
    # phases held at one epoch take from the others
    while sum(n * s for n, s in zip(epochs, epoch_s, strict=True)) > budget_s and max(epochs) > 1:
        epochs[epochs.index(max(epochs))] -= 1
    left = sum(n * s for n, s in zip(epochs, epoch_s, strict=True))
    stays = sum(n * s for n, s in zip(epochs, fixed_s or [0.0] * len(epochs), strict=True))
    share = min(1.0, max(budget_s - stays, 1e-6 * left) / (left - stays)) * recipe.epoch_share if left > stays else 1.0
    phases = tuple(_shorter(p, n) for p, n in zip(recipe.phases, epochs, strict=True))
    kept = _with_cycles(phases[-1], len(recipe.phases[-1].cycle_ends())) if recipe.snapshots else None
    return replace(
        recipe,
        phases=(*phases[:-1], kept or phases[-1]),
        epoch_share=share,
        snapshots=kept is not None,
    )


def _shorter(phase: Phase, epochs: int) -> Phase:
    factor = epochs / phase.epochs
    return replace(
        phase,
        epochs=epochs,
        warmup_epochs=phase.warmup_epochs * factor,
        restart_epochs=max(phase.restart_epochs * factor, 0.01),
    )


def _with_cycles(phase: Phase, cycles: int) -> Phase | None:
    """The phase with cycles of the same length that end with an epoch, shorter where need be; None = too short."""
    warmup = math.floor(phase.warmup_epochs)
    cycles = min(cycles, phase.epochs - warmup)
    if cycles < 2:
        return None
    length = (phase.epochs - warmup) // cycles
    return replace(
        phase, epochs=warmup + cycles * length, warmup_epochs=warmup, restart_epochs=length, restart_factor=1.0
    )
