"""The one way in which a validation split is cut: seeded, stratified, and blind to the order things come in."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from fer.errors import ConfigError, DataError

VAL_FRACTION = 0.15
SEED = 42


def stratified_holdout(
    keys: Sequence[str], labels: Sequence[int], fraction: float = VAL_FRACTION, seed: int = SEED
) -> np.ndarray:
    """Choose a fraction of every class.

    Within a class the items with the smallest SHA-256 of "seed/key" are taken, so the choice depends neither on the
    order of the items nor on the platform, and an item added or removed elsewhere moves at most the items at the edge.

    Args:
        keys: N distinct names, for example "happy/Training_00000007.png".
        labels: N class indices.
        fraction: Share of each class to hold out, above 0 and below 1; rounded to the nearest whole item, but a class
            of two or more keeps at least one on either side and a class of one stays where it is.
        seed: Another seed, another choice.

    Returns:
        (N,) bool, True = held out.

    Raises:
        ConfigError: fraction outside (0, 1).
        DataError: a key occurs twice.

    >>> held = stratified_holdout([str(i) for i in range(40)], [0] * 20 + [1] * 20)
    >>> int(held[:20].sum()), int(held[20:].sum())
    (3, 3)
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the validation fraction must lie between 0 and 1, got {fraction}")
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        twice = next(k for k in keys if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise DataError(f"{twice!r} occurs twice; a split needs distinct names")
    by_class: dict[int, list[int]] = defaultdict(list)
    for i, label in enumerate(labels):
        by_class[int(label)].append(i)
    held = np.zeros(len(keys), dtype=bool)
    for members in by_class.values():
        n = int(np.clip(np.floor(fraction * len(members) + 0.5), min(1, len(members) - 1), len(members) - 1))
        members.sort(key=lambda i: hashlib.sha256(f"{seed}/{keys[i]}".encode()).digest())
        held[members[:n]] = True
    return held
