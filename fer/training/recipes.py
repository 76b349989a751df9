"""A model's own recipe plus what the user asked for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fer.errors import ConfigError
from fer.settings import override
from fer.specs import Phase, Recipe


def resolve(
    recipe: Recipe,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    weight_decay: float | None = None,
    teacher: str | None = None,
    init: str | None = None,
    settings: Iterable[str] = (),
) -> Recipe:
    """The recipe with the shorthand options, then `key=value` settings, applied.

    Args:
        epochs, lr, weight_decay: For every phase; a warm-up shrinks in proportion when the phase gets shorter,
            cycles of warm restarts with it.
        settings: For example "augment.flip=0", "phases.0.schedule=cosine".

    Raises:
        ConfigError: unknown key (names the nearest) or impossible value.

    >>> resolve(Recipe(), epochs=3, settings=["label_smoothing=0"]).label_smoothing
    0.0
    """
    recipe = replace(recipe, phases=tuple(_phase(p, epochs, lr, weight_decay) for p in recipe.phases))
    if batch_size is not None:
        recipe = replace(recipe, batch_size=batch_size)
    if teacher is not None:
        recipe = replace(recipe, teacher=teacher)
    if init is not None:
        recipe = replace(recipe, init=init)
    pairs = []
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set takes key=value, got {text!r}; for example --set label_smoothing=0.1")
        pairs.append((key.strip(), value.strip()))
    return override(recipe, *pairs)


def without_phases(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """The recipe without the phases of these names, which `skipped` then lists; names it does not have are ignored.

    Raises:
        ConfigError: nothing would be left.
    """
    gone = tuple(p.name for p in recipe.phases if p.name in set(names))
    left = tuple(p for p in recipe.phases if p.name not in gone)
    if not left:
        raise ConfigError(f"leaving out {', '.join(gone)} leaves nothing to train")
    return replace(recipe, phases=left, skipped=recipe.skipped + gone)


def _phase(phase: Phase, epochs: int | None, lr: float | None, weight_decay: float | None) -> Phase:
    if epochs is not None:
        if epochs < 1:
            raise ConfigError(f"--epochs must be at least 1, got {epochs}")
        shorter = min(1.0, epochs / phase.epochs)
        cycle = phase.restart_epochs  # which ends with the last epoch, if it did so before
        if phase.schedule == "warm_restarts":
            cycle = max(cycle * epochs / phase.epochs, 0.01)
        warmup = phase.warmup_epochs * shorter
        phase = replace(phase, epochs=epochs, warmup_epochs=warmup, restart_epochs=cycle)
    if lr is not None:
        phase = replace(phase, lr=lr)
    if weight_decay is not None:
        phase = replace(phase, weight_decay=weight_decay)
    return phase
