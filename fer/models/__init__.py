"""The table of models. A new model is one file (module, SPEC, RECIPE, build) and one line here."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from fer.errors import ConfigError, unknown_name
from fer.specs import ModelSpec, Preset, Recipe

if TYPE_CHECKING:
    from torch import nn

MODELS: dict[str, str] = {
    "baseline_cnn": "fer.models.baseline_cnn",
    "attention_cnn": "fer.models.attention_cnn",
    "vit_tiny": "fer.models.vit_tiny",
    "baseline_cnn4": "fer.models.baseline_cnn4",
    "cbam_cnn4": "fer.models.cbam_cnn4",
    "custom_cnn": "fer.models.custom_cnn",
    "resnet18_transfer": "fer.models.resnet18_transfer",
    "resnet34_attention": "fer.models.resnet34_attention",
    "emotionnet": "fer.models.emotionnet",
    "vgg8": "fer.models.vgg8",
    "tiny_cnn": "fer.models.tiny_cnn",
    "hog_svm": "fer.models.hog_svm",
}

# First choice for moving pictures: the fastest of the bundled nets within a point of the best on PublicTest, in 8 bits.
LIVE_MODEL = "tiny_cnn"

RECIPES = ("best", "reference")


class ModelFile(Protocol):
    """What a model's file offers. `REFERENCE: Preset`, the recipe of the project it comes from, may be absent."""

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


def get_preset(name: str, recipe: str = "best") -> Preset:
    """A model's recipe with the input and the model arguments that belong to it.

    Args:
        recipe: "best" (from scratch at the faces' own resolution) or "reference" (as the project did that the model
            comes from: its optimizer, schedule and augmentation, ImageNet weights and 224 px where it used them).

    Raises:
        ConfigError: unknown model or recipe, or a model without a reference recipe.
    """
    entry = get_model(name)
    if recipe == "best":
        return Preset(entry.RECIPE)
    if recipe != "reference":
        raise unknown_name("recipe", recipe, RECIPES)
    preset = getattr(entry, "REFERENCE", None)
    if preset is None:
        raise ConfigError(f"{name} has no reference recipe; use --recipe best")
    return replace(preset, recipe=replace(preset.recipe, name="reference"))
