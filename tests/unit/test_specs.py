import dataclasses

import pytest

from fer.errors import ConfigError
from fer.settings import from_dict, override, to_dict
from fer.specs import Augment, InputSpec, Phase, Recipe


def test_a_recipe_survives_json():
    recipe = Recipe(phases=(Phase(epochs=3, freeze=("backbone",)), Phase(name="two", lr=0.5)), augment=Augment(flip=0))
    assert from_dict(Recipe, to_dict(recipe)) == recipe
    assert isinstance(to_dict(recipe)["phases"][0]["freeze"], list)


@pytest.mark.parametrize(
    ("key", "text", "read"),
    [
        ("batch_size", "32", lambda r: r.batch_size == 32),
        ("phases.1.epochs", "7", lambda r: (r.phases[0].epochs, r.phases[1].epochs) == (20, 7)),
        ("augment.flip", "0", lambda r: r.augment.flip == 0.0),
        ("phases.0.schedule", "cosine", lambda r: r.phases[0].schedule == "cosine"),
        ("phases.0.freeze", '["stem"]', lambda r: r.phases[0].freeze == ("stem",)),
        ("teacher", "attention_cnn", lambda r: r.teacher == "attention_cnn"),
    ],
)
def test_any_field_can_be_set(key, text, read):
    recipe = Recipe(phases=(Phase(), Phase(name="b")))
    assert read(override(recipe, (key, text)))
    assert recipe == Recipe(phases=(Phase(), Phase(name="b"))), "the original must not change"


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("augment.flop", "0", "did you mean 'flip'"),
        ("phases.0.epoch", "3", "did you mean 'epochs'"),
        ("phases.5.epochs", "3", "out of range"),
        ("batch_size", "many", "must be int"),
        ("teacher", " , ", "teacher names no checkpoint, got ' , '"),
        ("batch_size", "1.5", "must be int"),
        ("batch_size.deep", "1", "deeper"),
        ("phases.0.optimizer", "adamm", "did you mean 'adamw'|did you mean 'adam'"),
        ("label_smoothing", "1.5", "label_smoothing"),
        ("phases.0.lr", "-1", "positive"),
        ("augment.rotate_deg", "NaN", "finite"),
        ("augment.brightness", "-1", "brightness"),
        ("phases.²", "1", "out of range"),
    ],
)
def test_a_wrong_setting_says_what_is_wrong(key, text, expected):
    with pytest.raises(ConfigError, match=expected):
        override(Recipe(), (key, text))


@pytest.mark.parametrize("fields", [{"channels": 2}, {"size_px": 4}, {"size_px": 64, "resize_px": 48}, {"std": 0}])
def test_input_spec_refuses_nonsense(fields):
    with pytest.raises(ConfigError):
        InputSpec(**fields)


def test_settings_are_checked_together_not_one_by_one():
    augment = override(Recipe(), ("augment.scale_min", "1.2"), ("augment.scale_max", "1.4")).augment
    assert (augment.scale_min, augment.scale_max) == (1.2, 1.4)


def test_from_dict_refuses_unknown_keys_and_wrong_types():
    with pytest.raises(ConfigError, match="did you mean 'size_px'"):
        from_dict(InputSpec, {"size": 48})
    with pytest.raises(ConfigError, match="must be int"):
        from_dict(InputSpec, {"size_px": "48"})
    with pytest.raises(ConfigError, match="must be int"):
        from_dict(InputSpec, {"size_px": True})


def test_specs_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().batch_size = 3
