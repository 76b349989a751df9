"""The model card as the apps show it."""

import pytest

from fer.card_text import card_text
from fer.checkpoint import read_manifest
from fer.errors import CheckpointError
from fer.model_card import INTENDED, write_card


def test_the_card_of_a_local_checkpoint_loads_from_here_and_names_no_repository(untrained):
    folder = untrained("attention_cnn")
    text = card_text(folder)
    assert text.startswith("# Attention CNN") and "hf:" not in text and "library_name" not in text
    assert text.count("## Load it") == 1 and f'model="{folder}"' in text
    published = write_card(read_manifest(folder), "somebody/net")
    headings = [line for line in published.splitlines() if line.startswith("## ")]
    assert [line for line in text.splitlines() if line.startswith("## ")] == headings, "every other section stays"
    assert INTENDED in text and "An expression is not a feeling" in text


def test_scores_of_other_weights_are_not_quoted(untrained, tmp_path):
    from tests.stand_in_results import write_stand_in

    root = write_stand_in(tmp_path, n=70)
    assert "not been scored" in card_text(untrained("attention_cnn"), root)


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(CheckpointError):
        card_text(tmp_path / "none")
