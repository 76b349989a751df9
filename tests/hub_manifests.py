"""Manifests of made-up nets, and what their cards say of data and licence."""

from dataclasses import replace

from huggingface_hub import ModelCard

from fer import checkpoint
from fer.labels import FER7
from fer.model_card import write_card
from fer.models import get_model
from tests.hub_routes import card_errors
from tests.small_checkpoints import bundle as bundle_of

LICENSE = "affectnet-non-commercial-research"
COUNTS = {"fer2013": {"n_train": 28_709, "n_val": 3_589}}
NOT_KNOWN = {"license": "other", "license_name": "terms-not-fully-known", "license_link": "LICENSE"}


def bundle(*args, **options):
    """A small checkpoint; one of FER2013 tells its counts."""
    folder = bundle_of(*args, **options)
    made = checkpoint.read_manifest(folder)
    checkpoint.write_manifest(folder, replace(made, data=made.data | COUNTS.get(made.data["name"], {})))
    return folder


def manifest(name="attention_cnn", init="", teacher="", data="fer2013", phases=None, other=(), **training):
    entry = get_model(name)
    recipe = replace(entry.RECIPE, init=init, teacher=teacher)
    return checkpoint.Manifest(
        model=name,
        labels=FER7.names,
        label_set=FER7.name,
        input=entry.SPEC.input,
        recipe=replace(recipe, phases=phases) if phases else recipe,
        data={"name": data} | COUNTS.get(data, {}) | ({"other_phases": list(other)} if other else {}),
        weights={"file": "model.safetensors", "sha256": "1" * 64},
        training=training,
    )


def card_of(made):
    card = write_card(made, "somebody/net")
    assert list(card_errors(card, "model")) == []
    return ModelCard(card).data.license, card[card.index("## Data and licence") :]
