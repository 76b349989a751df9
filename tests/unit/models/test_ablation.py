"""Which model arguments make another net, and which only matter while training."""

import json
from pathlib import Path

import pytest
import torch

import fer
from fer import checkpoint
from fer.errors import ConfigError
from fer.labels import FER7
from fer.models import get_model, get_preset, list_models
from fer.models.ablation import changed_by, require_own_net
from fer.promotion import promote
from fer.settings import from_dict
from fer.specs import InputSpec

BUNDLED = sorted((Path(fer.__file__).parents[1] / "checkpoints").glob("*/config.json"))


def changed(model, args, recipe="best"):
    spec = get_preset(model, recipe).input or get_model(model).SPEC.input
    return changed_by(model, args, spec, recipe, 7)


@pytest.mark.parametrize(
    ("model", "args", "expected"),
    [
        ("baseline_cnn4", {}, []),
        ("baseline_cnn4", {"dropout": 0.2}, []),
        ("cbam_cnn4", {"dropout": 0.2}, []),
        ("cbam_cnn4", {"attention": True}, []),
        ("cbam_cnn4", {"attention": False}, ["attention"]),
        ("attention_cnn", {"attention": False, "dropout": 0.0}, ["attention"]),
        ("attention_cnn", {"reduction": 8}, ["reduction"]),
        ("vit_tiny", {"drop_path": 0.3}, []),
        ("vit_tiny", {"patch_px": 4}, ["patch_px"]),
        # the same parameters, another function of them
        ("emotionnet", {"heads": 4, "drop_path": 0.0}, ["heads"]),
        ("emotionnet", {"early_strides": [1, 1]}, []),
        ("emotionnet", {"early_strides": [2, 1]}, ["early_strides"]),
        ("resnet34_attention", {"kernel_size": 5}, ["kernel_size"]),
        ("custom_cnn", {"nonsense": 1}, ["nonsense"]),
        ("hog_svm", {"components": 128, "cell_px": 8}, []),
        ("hog_svm", {"components": 64, "cell_px": 8}, ["components"]),
    ],
)
def test_what_makes_another_net(model, args, expected):
    assert changed(model, args) == expected


def test_the_reference_recipe_has_arguments_of_its_own():
    own = get_preset("resnet18_transfer", "reference").model_args
    small = InputSpec(size_px=32, channels=3, resize_px=32)
    assert changed_by("resnet18_transfer", own, small, "reference", 7) == []
    assert changed_by("resnet18_transfer", own | {"pretrained": False}, small, "reference", 7) == []
    assert changed_by("resnet18_transfer", own, small, "best", 7) == ["stem"]
    assert changed_by("resnet18_transfer", {}, small, "reference", 7) == ["stem"]


@pytest.mark.parametrize("config", BUNDLED, ids=lambda p: p.parent.name)
def test_what_is_bundled_is_the_model_itself(config):
    raw = json.loads(config.read_text(encoding="utf-8"))
    spec = from_dict(InputSpec, raw["input"])
    require_own_net(raw["model"], raw["model_args"], spec, raw["recipe"].get("name", "best"), len(raw["labels"]))
    assert raw["model"] in list_models()


def test_the_error_names_the_arguments_and_random_numbers_go_on_undisturbed():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with pytest.raises(ConfigError, match=r"attention_cnn with attention=False is another net .*--force-promote"):
        require_own_net("attention_cnn", {"attention": False, "dropout": 0.1}, InputSpec(44, 1, 48), "best", 7)
    assert torch.equal(torch.rand(3), expected)


def test_an_ablation_is_not_promoted_unless_told_so(tmp_path):
    entry, shelf = get_model("attention_cnn"), tmp_path / "shelf"

    def trained(**args):
        manifest = checkpoint.Manifest(
            "attention_cnn", FER7.names, FER7.name, entry.SPEC.input, entry.RECIPE, args, {"name": "fer2013"}
        )
        return checkpoint.save(tmp_path / "run", entry.build(7, **args).state_dict(), manifest)

    promote(trained(dropout=0.1), shelf)
    bundled = (shelf / "attention_cnn" / "model.safetensors").read_bytes()
    run = trained(attention=False)
    with pytest.raises(ConfigError, match="attention=False"):
        promote(run, shelf)
    assert (shelf / "attention_cnn" / "model.safetensors").read_bytes() == bundled
    promote(run, shelf, force=True)
    assert checkpoint.read_manifest(shelf / "attention_cnn").model_args == {"attention": False}
