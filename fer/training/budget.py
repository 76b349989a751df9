"""Shares a time among several trainings, and fits a recipe into its part.

That means fewer epochs, and where even one is too long, a share of the training split in each; or, on request, more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fer.errors import ConfigError
from fer.specs import Phase, Recipe

UNITS_S = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}

# of a budget, for what is not measured: files that are written, a net that is promoted, a machine that gets busier
RESERVED = 0.03


@dataclass(frozen=True)
class Cost:
    """What one training takes here, as it was measured.

    Attributes:
        epoch_s: Seconds of one epoch, for each phase; of a model without a net, of a fit of the whole training split.
        fixed_s: What of them stays when an epoch sees fewer faces.
        once_s: Seconds of what comes once: data and net are made ready, the finished net is calibrated.
        least: Smallest share of the training split that an epoch may see.
        use_s: Seconds that the training can make use of, all in all.
        begun: Whether it goes on with an earlier run, whose schedule stands however short the time.
        measured_on: What computed, and in which precision.
        square_s: What of `epoch_s` falls with the square of the share of the faces (an SVM), the rest with the share.
    """

    epoch_s: tuple[float, ...]
    fixed_s: tuple[float, ...]
    once_s: float
    least: float
    use_s: float
    begun: bool = False
    measured_on: str = ""
    square_s: float = 0.0


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


def shares(use_s: Sequence[float], left_s: float) -> list[float]:
    """Seconds for each of several models: what it can use, or an equal part of what those that use less leave over.

    >>> shares([100.0, 10.0, 300.0], 150.0)
    [70.0, 10.0, 70.0]
    """
    out = list(use_s)
    for served, i in enumerate(sorted(range(len(out)), key=out.__getitem__)):
        out[i] = min(out[i], max(left_s, 0.0) / (len(out) - served))
        left_s -= out[i]
    return out


def share_of_first(costs: Sequence[Cost | None], left_s: float) -> float:
    """Seconds for the first of several models that are still to be trained; 0 where it takes none.

    Args:
        costs: None = nothing is left to train.
        left_s: Seconds for all of them. Runs that have begun take theirs off it before the others share.
    """
    first, *others = costs
    if first is None:
        return 0.0
    free = [c for c in others if c is not None and not c.begun]
    left_s -= sum(c.use_s for c in others if c is not None and c.begun)
    return shares([first.use_s, *(c.use_s for c in free)], left_s)[0]


class Clock:
    """A budget that runs.

    Args:
        budget_s: Seconds for everything that a command does.
        began: Since when, by time.monotonic(); None = from now on.
    """

    def __init__(self, budget_s: float, began: float | None = None):
        self.budget_s, self.began = budget_s, time.monotonic() if began is None else began

    def share(self, costs: Sequence[Cost | None], models: int) -> float:
        """Seconds for the next model, see `share_of_first`: what one leaves over comes to those after it.

        Args:
            costs: Of the models that are left.
            models: How many there are in all.
        """
        reserved = RESERVED * self.budget_s * len(costs) / models
        return share_of_first(costs, self.budget_s - (time.monotonic() - self.began) - reserved)


def fit(
    recipe: Recipe,
    epoch_s: Sequence[float],
    budget_s: float,
    fixed_s: Sequence[float] | None = None,
    stretch: float = 1.0,
) -> Recipe:
    """The recipe with its schedules shortened, or lengthened, so that training should end within a time.

    Args:
        epoch_s: Measured seconds of one epoch, for each phase.
        budget_s: Seconds for all of it.
        fixed_s: What of an epoch's seconds stays when it sees fewer faces, for each phase; None = nothing.
        stretch: How many times as many epochs every phase may get where there is time; 1 = no more than it says.

    Returns:
        The recipe itself where it fits; else every phase gets fewer epochs in proportion, one at least, and its
        warm-up and restarts shrink with it. Where one epoch per phase is too long, `epoch_share` shrinks as well. A
        snapshot ensemble keeps its cycles, then all of the same length, or as many as there are epochs for; with
        fewer than two it is none. Phases grow likewise, with warm-up and restarts.

    >>> recipe = Recipe(phases=(Phase(epochs=10), Phase(epochs=30)))
    >>> fit(recipe, [2.0, 2.0], 40.0).epochs, fit(recipe, [2.0, 2.0], 120.0, stretch=4.0).epochs
    (20, 60)
    """
    needed = sum(p.epochs * s for p, s in zip(recipe.phases, epoch_s, strict=True))
    enough_s = budget_s * (1 + 1e-9)  # what was added up elsewhere may be less by a rounding
    if needed <= enough_s:
        factor = min(stretch, enough_s / needed) if needed else stretch
        grown = _scaled(recipe, [math.floor(p.epochs * factor + 1e-9) for p in recipe.phases])
        return grown if grown.epochs > recipe.epochs else recipe
    epochs = [max(1, math.floor(p.epochs * budget_s / needed)) for p in recipe.phases]
    # phases held at one epoch take from the others
    while sum(n * s for n, s in zip(epochs, epoch_s, strict=True)) > budget_s and max(epochs) > 1:
        epochs[epochs.index(max(epochs))] -= 1
    left = sum(n * s for n, s in zip(epochs, epoch_s, strict=True))
    stays = sum(n * s for n, s in zip(epochs, fixed_s or [0.0] * len(epochs), strict=True))
    share = min(1.0, max(budget_s - stays, 1e-6 * left) / (left - stays)) * recipe.epoch_share if left > stays else 1.0
    return replace(_scaled(recipe, epochs), epoch_share=share)


def _scaled(recipe: Recipe, epochs: Sequence[int]) -> Recipe:
    """The recipe with these epochs, one number for each phase."""
    phases = tuple(_of_length(p, n) for p, n in zip(recipe.phases, epochs, strict=True))
    kept = _with_cycles(phases[-1], len(recipe.phases[-1].cycle_ends())) if recipe.snapshots else None
    return replace(recipe, phases=(*phases[:-1], kept or phases[-1]), snapshots=kept is not None)


def _of_length(phase: Phase, epochs: int) -> Phase:
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
