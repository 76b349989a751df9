"""All methods of one model over many faces: what is stored as explanation.json and maps.npz."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import ConfigError
from fer.explain import METHODS, explain, faithfulness, methods_for, resolve
from fer.transforms import prepare

if TYPE_CHECKING:
    from fer.data import Split
    from fer.inference import Predictor

MAP_PX = 48  # side of a mean map
SANITY_FACES = 50  # faces of which the map is made again with untrained nets
SANITY_NETS = 5  # untrained nets, in turn


@dataclass(frozen=True, eq=False)
class Study:
    """What a model's methods showed on a set of faces.

    Attributes:
        methods: Method -> its figures, see `study`.
        maps: Method -> uint8 (C, MAP_PX, MAP_PX), mean heat of the faces predicted as each class; zeros without faces.
        counts: Class -> number of faces predicted as that class.
    """

    methods: dict[str, dict[str, Any]]
    maps: dict[str, np.ndarray]
    counts: dict[str, int]


def choose(split: Split, n: int, seed: int = 0) -> np.ndarray:
    """Positions of n faces, as many of each class as there are, drawn by seed; every beginning is balanced as well.

    Args:
        split: Faces with targets.
        n: Faces wanted; fewer where the split has fewer.

    Returns:
        (n,) int64 without repeats.

    Raises:
        ConfigError: n below 1.
    """
    if n < 1:
        raise ConfigError(f"the number of faces must be at least 1, got {n}")
    labels = split.labels
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)  # how many of its class come before it
    for c in np.unique(labels):
        of_class = order[labels[order] == c]
        turn[of_class] = np.arange(len(of_class))
    return order[np.argsort(turn[order], kind="stable")][:n]


def study(
    predictor: Predictor,
    faces: np.ndarray | Sequence[np.ndarray],
    methods: Sequence[str] | None = None,
    n_probing: int | None = None,
    seed: int = 0,
    on_method: Callable[[str, dict[str, Any]], None] | None = None,
) -> Study:
    """Explain the predicted class of every face by every method and measure how far to believe it.

    Figures of a method, means over its faces:

    - `n`, `title`, `per_class`, `ms` (time of one map);
    - `deletion`, `insertion` (areas under the curves), `deletion_random`, `insertion_random` (the same for random maps
      on the same faces), `steps`, `deletion_curve`, `insertion_curve`;
    - `eyes_brows`, `mouth`, `pointing`: share of the heat in these boxes and in both, of the faces whose map is not
      empty; `area`: the same for a map that is warm everywhere the model sees, which is chance;
    - `sanity`: mean absolute rank correlation with the maps of untrained nets on at most SANITY_FACES faces; None for a
      model without a net and where their maps are empty.

    What the measures mean: `fer.explain.faithfulness`.

    Args:
        predictor: A loaded model.
        faces: uint8 faces of any size, at least one.
        methods: Keys of METHODS; None = all that the model has.
        n_probing: Faces for the methods that ask a model hundreds of times (`probe`), the first ones; None = all.
        seed: Of random maps and untrained nets.
        on_method: Called with name and figures as each method is done.

    Raises:
        ConfigError: a method that the model does not have, or no faces.
    """
    if not len(faces):
        raise ConfigError("no faces to explain; name a data set whose split has some")
    names = [resolve(predictor, m) for m in methods] if methods else methods_for(predictor)
    wholes = prepare(faces, predictor.input_spec, crop=False)
    targets = predictor.predict_proba(wholes).argmax(axis=1)
    chance = _random_curves(predictor, wholes, targets, seed)
    figures: dict[str, dict[str, Any]] = {}
    maps: dict[str, np.ndarray] = {}
    for name in names:
        probing = METHODS[name].probe is not None
        n = min(n_probing or len(wholes), len(wholes)) if probing else len(wholes)
        start = time.perf_counter()
        heats = [explain(predictor, w, name, int(t)) for w, t in zip(wholes[:n], targets[:n], strict=True)]
        spent_ms = (time.perf_counter() - start) * 1000
        found = [
            faithfulness.curves(predictor, w, h, int(t), seed=seed)
            for w, h, t in zip(wholes[:n], heats, targets[:n], strict=True)
        ]
        figures[name] = (
            {"title": METHODS[name].title, "per_class": METHODS[name].per_class, "n": n}
            | _areas(found)
            | {f"{k}_random": v for k, v in _areas(chance[:n]).items() if k in ("deletion", "insertion")}
            | _pointing(heats, predictor)
            | {"sanity": _sanity(predictor, name, wholes, heats, targets, seed), "ms": round(spent_ms / n, 2)}
        )
        maps[name] = _mean_maps(heats, targets[:n], len(predictor.labels))
        if on_method:
            on_method(name, figures[name])
    counts = np.bincount(targets, minlength=len(predictor.labels))
    return Study(figures, maps, {c: int(k) for c, k in zip(predictor.labels.names, counts, strict=True)})


def _random_curves(
    predictor: Predictor, wholes: np.ndarray, targets: np.ndarray, seed: int
) -> list[faithfulness.Curves]:
    """Curves of one random map per face."""
    side = wholes.shape[1]
    found = []
    for i, (whole, target) in enumerate(zip(wholes, targets, strict=True)):
        heat = faithfulness.random_map(np.random.default_rng([seed, i]), side)
        found.append(faithfulness.curves(predictor, whole, heat, int(target), seed=seed))
    return found


def _areas(found: Sequence[faithfulness.Curves]) -> dict[str, Any]:
    """Mean areas and curves."""
    return {
        "deletion": round(float(np.mean([c.deletion_area for c in found])), 4),
        "insertion": round(float(np.mean([c.insertion_area for c in found])), 4),
        "steps": [round(float(v), 4) for v in found[0].steps],
        "deletion_curve": [round(float(v), 4) for v in np.mean([c.deletion for c in found], axis=0)],
        "insertion_curve": [round(float(v), 4) for v in np.mean([c.insertion for c in found], axis=0)],
    }


def _pointing(heats: Sequence[np.ndarray], predictor: Predictor) -> dict[str, float]:
    """Mean shares of heat in the boxes, and the share of a map that is warm wherever the model sees."""
    spec = predictor.input_spec
    even = np.zeros((spec.resize_px, spec.resize_px))
    faithfulness.seen(even, spec)[...] = 1
    boxes = {"eyes_brows": faithfulness.EYES_BROWS, "mouth": faithfulness.MOUTH}
    warm = [h for h in heats if h.any()] or [np.zeros_like(even)]
    shares = {k: float(np.mean([faithfulness.box_share(h, box) for h in warm])) for k, box in boxes.items()}
    shares["pointing"] = sum(shares.values())
    shares["area"] = sum(faithfulness.box_share(even, box) for box in boxes.values())
    return {k: round(v, 4) for k, v in shares.items()}


def _sanity(
    predictor: Predictor,
    method: str,
    wholes: np.ndarray,
    heats: Sequence[np.ndarray],
    targets: np.ndarray,
    seed: int,
) -> float | None:
    """Mean absolute rank correlation with the maps of untrained nets; None without a net or such maps."""
    if getattr(predictor, "module", None) is None:
        return None
    nets = [faithfulness.reinitialised(predictor, seed + k) for k in range(SANITY_NETS)]
    spec = predictor.input_spec
    found = []
    for i, heat in enumerate(heats[:SANITY_FACES]):
        other = explain(nets[i % SANITY_NETS], wholes[i], method, int(targets[i]))
        if other.any():  # an untrained net may answer the same whatever is covered; an empty map is no other map
            found.append(abs(faithfulness.rank_correlation(*(faithfulness.seen(h, spec) for h in (heat, other)))))
    return round(float(np.mean(found)), 4) if found else None


def _mean_maps(heats: Sequence[np.ndarray], targets: np.ndarray, n_classes: int) -> np.ndarray:
    """uint8 (C, MAP_PX, MAP_PX): 255 times the mean heat of the faces of each predicted class."""
    import cv2

    maps = np.zeros((n_classes, MAP_PX, MAP_PX), dtype=np.uint8)
    for c in np.unique(targets):
        mean = np.stack([h for h, t in zip(heats, targets, strict=True) if t == c]).mean(axis=0)
        how = cv2.INTER_AREA if len(mean) > MAP_PX else cv2.INTER_LINEAR
        maps[c] = np.rint(255 * np.clip(cv2.resize(mean, (MAP_PX, MAP_PX), interpolation=how), 0, 1)).astype(np.uint8)
    return maps
