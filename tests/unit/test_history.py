import json

import pytest

from fer.errors import DataError
from fer.history import HISTORY, promoted_history, read_history

ROWS = [{"epoch": e, "val_accuracy": a} for e, a in ((1, 0.4), (2, 0.612345678), (3, 0.5))]
TRAINING = {"epochs": 3, "val_accuracy": 0.612346, "best_epoch": 2}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    folder = tmp_path / "fer2013" / "vgg8"
    folder.mkdir(parents=True)
    (folder / HISTORY).write_text("".join(json.dumps(r) + "\n" for r in ROWS))
    return folder


def test_the_history_of_the_run_is_found(home):
    assert read_history(home) == ROWS
    assert promoted_history("vgg8", "fer2013", TRAINING) == home / HISTORY


@pytest.mark.parametrize(
    ("model", "data", "training"),
    [
        ("vgg8", "fer2013", TRAINING | {"epochs": 2}),
        ("vgg8", "fer2013", TRAINING | {"val_accuracy": 0.6124}),
        ("vgg8", "fer2013", TRAINING | {"best_epoch": 3}),
        ("vgg8", "fer2013", TRAINING | {"best_epoch": 4}),
        ("vgg8", "fer2013", {}),
        ("tiny_cnn", "fer2013", TRAINING),
        ("vgg8", "muxspace", TRAINING),
        ("vgg8", "", TRAINING),
    ],
)
def test_that_of_another_run_is_not(home, model, data, training):
    assert promoted_history(model, data, training) is None


def test_one_without_its_best_epoch_and_one_of_a_net_without_attention_are_found(home):
    assert promoted_history("vgg8", "fer2013", {k: TRAINING[k] for k in ("epochs", "val_accuracy")}) == home / HISTORY
    twin = home.rename(home.with_name("vgg8@no_attention"))
    assert promoted_history("vgg8", "fer2013", TRAINING) == twin / HISTORY


def test_rows_of_what_was_trained_before_may_be_missing(home):
    (home / HISTORY).write_text("".join(json.dumps(r) + "\n" for r in ROWS[1:]))
    assert promoted_history("vgg8", "fer2013", TRAINING) == home / HISTORY
    assert promoted_history("vgg8", "fer2013", TRAINING | {"epochs": 2}) is None


def test_a_damaged_one_is_nobodys(home):
    (home / HISTORY).write_text("{\n" + json.dumps(ROWS[1]) + "\n")
    assert promoted_history("vgg8", "fer2013", TRAINING) is None
    with pytest.raises(DataError, match="line 1 is damaged"):
        read_history(home)
