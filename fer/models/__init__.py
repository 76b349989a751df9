"""The table of models. A new model is one file (module, SPEC, RECIPE, build) and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from fer.errors import unknown_name
from fer.specs import ModelSpec, Recipe

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, str] = {
    "baseline_cnn": "fer.models.baseline_cnn",
    "attention_cnn": "fer.models.attention_cnn",
    "vit_tiny": "fer.models.vit_tiny",
    "baseline_cnn4": "fer.models.baseline_cnn4",
    "cbam_cnn4": "fer.models.cbam_cnn4",
}


class ModelFile(Protocol):
    """What a model's file offers."""

    SPEC: ModelSpec
    RECIPE: Recipe

    def build(self, n_classes: int, spec: object = ..., **args: object) -> nn.Module: ...


def list_models() -> list[str]:
    """Names of all models, in the order of every table and legend."""
    return list(MODELS)


def get_model(name: str) -> ModelFile:
    """The file of a model: `get_model("vit_tiny").SPEC`, `.RECIPE`, `.build(n_classes)`.

    Raises:
        ConfigError: unknown name; the message names the nearest one.
    """
    if name not in MODELS:
        raise unknown_name("model", name, MODELS, "See scripts/train.py --list.")
    return cast(ModelFile, import_module(MODELS[name]))
