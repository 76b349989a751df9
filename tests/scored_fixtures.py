"""Two bundled models and what scripts/evaluate.py stored of them, for tests to work on."""

import shutil

import pytest

from fer.data import save
from fer.evaluation import figures, results
from tests.small_checkpoints import bundle, dataset, script, setup


@pytest.fixture(scope="module")
def evaluate():
    return script("evaluate")


@pytest.fixture(scope="module")
def scored_pair(tmp_path_factory, evaluate):
    """Two bundled models, scored once with everything; the tests work on copies."""
    base = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        setup(patch, base)
        patch.setattr(figures, "write_all", lambda *a, **k: [])
        patch.setattr(figures, "write_comparison", lambda *a, **k: [])
        bundle(base / "checkpoints", "baseline_cnn", bold=3.0)
        bundle(base / "checkpoints", "attention_cnn", seed=1, bold=1e4, teacher="baseline_cnn")
        save(dataset(), base / "data" / "fer2013.npz")
        argv = ["--ten-crop", "--robustness", "--ensemble", "baseline_cnn,attention_cnn", "--batch-size", "16"]
        assert evaluate.main(argv) == 0
    return base


@pytest.fixture
def scored_place(scored_pair, tmp_path, monkeypatch):
    """Folder of the two, their data and their results, for one test alone; pictures are not drawn."""
    monkeypatch.setattr(figures, "write_all", lambda *a, **k: [])
    monkeypatch.setattr(figures, "write_comparison", lambda *a, **k: [])
    shutil.copytree(scored_pair, tmp_path / "place")
    setup(monkeypatch, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def nobody_asked(monkeypatch):
    """Fails the test when a model is loaded."""

    def refuse(*args, **kwargs):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("fer.scoring.score.load", refuse)


def read(place, model="attention_cnn", data="fer2013"):
    return results.read_result(place / "results" / data / model)
