"""The one way in which a validation split is cut: seeded, stratified, and blind to the order things come in."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np

from fer.errors import ConfigError, DataError

VAL_FRACTION = 0.15
TEST_FRACTION = 0.15
SEED = 42


def stratified_holdout(
    keys: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    fraction: float = VAL_FRACTION,
    seed: int = SEED,
    groups: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Choose a fraction of every class: `grouped_split` into what is held out and what is not.

    Within a class the items with the smallest SHA-256 of "seed/key" are taken, so the choice depends neither on the
    order of the items nor on the platform, and an item added or removed elsewhere moves at most the items at the edge.

    Args:
        keys: N distinct names, for example "happy/Training_00000007.png".
        labels: N class indices.
        fraction: Share of each class to hold out, above 0 and below 1; rounded to the nearest whole item, but a class
            of two or more keeps at least one on either side and a class of one stays where it is.
        seed: Another seed, another choice.
        groups: N values, equal for what may not be parted (identical images); None = every item is on its own.

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
    return grouped_split(keys, labels, keys if groups is None else groups, {"val": fraction}, seed) == "val"


def grouped_split(
    keys: Sequence[str],
    labels: Sequence[int] | np.ndarray,
    groups: Sequence[Hashable],
    fractions: Mapping[str, float],
    seed: int = SEED,
) -> np.ndarray:
    """Deal every class out to several splits so that what belongs together (identical images) stays on one side.

    A group counts for the class of its first member by key. Within a class the groups are taken in the order of the
    SHA-256 of "seed/first key"; each split takes groups until it is as near to its share as whole groups allow, what
    remains is train. A class of three or more groups has at least one in every split, a smaller one stays in train.

    Args:
        keys: N distinct names.
        labels: N class indices.
        groups: N values, equal for what may not be parted.
        fractions: Split -> share of each class, for example {"test": 0.15, "val": 0.15}; together below 1.
        seed: Another seed, another choice.

    Returns:
        (N,) strings: "train" or a key of `fractions`.

    Raises:
        ConfigError: a fraction outside (0, 1), or together 1 or more.
        DataError: a key occurs twice.

    >>> where = grouped_split([str(i) for i in range(40)], [0] * 40, [i // 2 for i in range(40)], {"test": 0.15})
    >>> int((where == "test").sum()), bool((where[::2] == where[1::2]).all())
    (6, True)
    """
    if not all(0 < f < 1 for f in fractions.values()) or sum(fractions.values()) >= 1:
        raise ConfigError(f"the fractions of a split must be above 0 and together below 1, got {dict(fractions)}")
    _distinct(keys)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for i in sorted(range(len(keys)), key=keys.__getitem__):
        members[groups[i]].append(i)
    by_class: dict[int, list[list[int]]] = defaultdict(list)
    for group in members.values():
        by_class[int(labels[group[0]])].append(group)
    where = np.full(len(keys), "train", dtype=f"U{max(map(len, ['train', *fractions]))}")
    for waiting in by_class.values():
        if len(waiting) <= len(fractions):
            continue
        total = sum(map(len, waiting))
        waiting.sort(key=lambda g: hashlib.sha256(_bytes(f"{seed}/{keys[g[0]]}")).digest())
        for later, (split, fraction) in zip(range(len(fractions), 0, -1), fractions.items(), strict=True):
            wanted, taken, spare = fraction * total, 0, len(waiting) - later
            rest = []
            for group in waiting:
                nearer = abs(taken + len(group) - wanted) <= abs(taken - wanted)
                first = not taken and 2 * len(group) <= total
                if spare and (nearer or first):
                    where[group] = split
                    taken += len(group)
                    spare -= 1
                else:
                    rest.append(group)
            waiting = rest
    return where


def _bytes(name: str) -> bytes:
    """UTF-8; of a file name that is none, its own bytes."""
    return name.encode("utf-8", "surrogateescape")


def shared_images(images: Mapping[str, Iterable[Hashable]]) -> dict[str, int]:
    """How many different images lie in two splits, for Dataset.notes; only where there are some.

    Args:
        images: Split -> one value per face, equal for identical images.

    >>> shared_images({"train": [1, 2, 2], "val": [2, 2, 3], "test": [4]})
    {'images_in_train_and_val': 1}
    """
    sets = {split: set(part) for split, part in images.items()}
    found = {f"images_in_{a}_and_{b}": len(sets[a] & sets[b]) for a, b in combinations(sets, 2)}
    return {name: n for name, n in found.items() if n}


def _distinct(keys: Sequence[str]) -> None:
    if len(set(keys)) != len(keys):
        seen: set[str] = set()
        twice = next(k for k in keys if k in seen or seen.add(k))  # type: ignore[func-returns-value]
        raise DataError(f"{twice!r} occurs twice; a split needs distinct names")
