"""Where a model looked: heat maps in the frame of the face.

A new method is one file with a METHOD and one line in the table METHODS.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import ConfigError, ImageError, unknown_name
from fer.explain import (
    cbam,
    channel,
    grad_cam,
    grad_cam_pp,
    gradient_rollout,
    hog,
    integrated_gradients,
    layer_cam,
    occlusion,
    rollout,
    self_attention,
    spatial,
)
from fer.explain.frame import to_face
from fer.explain.method import Method

if TYPE_CHECKING:
    from fer.inference import Predictor

__all__ = ["METHODS", "Method", "explain", "methods_for", "resolve"]

METHODS: dict[str, Method] = {
    m.METHOD.name: m.METHOD
    for m in (
        cbam,
        spatial,
        self_attention,
        grad_cam,
        rollout,
        occlusion,
        channel,
        grad_cam_pp,
        layer_cam,
        gradient_rollout,
        integrated_gradients,
        hog,
    )
}


def methods_for(model: str | Path | Predictor) -> list[str]:
    """Names of the methods that work for a model, the one that "auto" means first.

    Occlusion works for all; the others look into a net, or into the features of a model without one.
    """
    predictor = _predictor(model)
    names = [name for name, method in METHODS.items() if method.works_for(predictor)]
    return sorted(names, key=lambda name: name != _preferred(predictor))


def resolve(model: str | Path | Predictor, method: str = "auto") -> str:
    """The method that a name stands for, checked against the model.

    "auto" is the attention named in the model's SPEC where the model has it (an `attention_cnn` built with its
    attention switched off has not), otherwise the first that works.

    Raises:
        ConfigError: unknown method, or one that this model cannot answer.
    """
    predictor = _predictor(model)
    possible = methods_for(predictor)
    if method == "auto":
        return possible[0]
    if method not in METHODS:
        raise unknown_name("explanation method", method, ["auto", *METHODS])
    if method in possible:
        return method
    can = f"This model can be explained by: {', '.join(possible)}."
    raise ConfigError(f"{method} needs {METHODS[method].needs}; model {predictor.name!r} has none. {can}")


def explain(
    model: str | Path | Predictor, face: np.ndarray, method: str = "auto", target: str | int | None = None
) -> np.ndarray:
    """A heat map of what a model looked at in one face.

    Safe to call from several threads at once, also while the same predictor predicts in others.

    Args:
        model: Name, checkpoint path or a loaded Predictor (load it once to explain many faces).
        face: uint8 (H, W) or (H, W, 3) crop of one face, any size.
        method: Key of METHODS or "auto".
        target: Class to ask about, name or index; None is the predicted one. Only `per_class` methods depend on it.

    Returns:
        float32 (H, W) in [0, 1], in the frame of the face. Parts that the net never saw (outside its centre crop) are
        0; a map without any contrast is all zeros. The same input gives the same map.

    Raises:
        ImageError: `face` is no uint8 picture.
        ConfigError: unknown method or class, or a method that this model cannot answer.
        CheckpointError: the model cannot be loaded.
    """
    face = np.asarray(face)
    if face.dtype != np.uint8 or face.ndim not in (2, 3) or (face.ndim == 3 and face.shape[2] != 3) or not face.size:
        raise ImageError(f"expected a uint8 face of shape (H, W) or (H, W, 3), got {face.dtype} {face.shape}")
    predictor = _predictor(model)
    chosen = METHODS[resolve(predictor, method)]
    wanted = _target(predictor, target)
    if wanted is None:
        wanted = int(np.argmax(predictor.predict_proba([face])[0])) if chosen.per_class else 0
    return to_face(chosen.grid(predictor, face, wanted), predictor.input_spec, face.shape[0], face.shape[1])


def _predictor(model: str | Path | Predictor) -> Predictor:
    if isinstance(model, (str, Path)):
        from fer.inference import load

        return load(model)
    return model


def _target(predictor: Predictor, target: str | int | None) -> int | None:
    if target is None:
        return None
    if isinstance(target, str):
        return predictor.labels.index(target)
    if not 0 <= target < len(predictor.labels):
        raise ConfigError(f"class index must be 0..{len(predictor.labels) - 1}, got {target}")
    return int(target)


def _preferred(predictor: Predictor) -> str | None:
    """The attention that the model's SPEC names; None for a model that is not in the table."""
    from fer.models import MODELS, get_model

    name = getattr(predictor.manifest, "model", predictor.name)
    return get_model(name).SPEC.attention if name in MODELS else None


class _CallableModule(types.ModuleType):
    """`fer.explain` is the public function and this package; importing the package must not hide the function."""

    def __call__(self, *args: Any, **options: Any) -> np.ndarray:
        return explain(*args, **options)


sys.modules[__name__].__class__ = _CallableModule
