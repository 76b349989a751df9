"""What the tests of the lab look at: stand-in results and small checkpoints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.stand_in_results import MODELS, TWINS, write_stand_in


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory) -> Path:
    """Results of three models, each with every file that there can be."""
    return write_stand_in(tmp_path_factory.mktemp("results"), n=400)


@pytest.fixture(scope="session")
def stand_in_twins(tmp_path_factory) -> Path:
    """The same with two more attention nets' worth of twins."""
    return write_stand_in(tmp_path_factory.mktemp("twins"), n=400, models=MODELS | TWINS)


@pytest.fixture
def results(stand_in, tmp_path, monkeypatch) -> Path:
    """A private copy of the stand-in results, to which FER_RESULTS points; there are no checkpoints."""
    folder = tmp_path / "results"
    shutil.copytree(stand_in, folder)
    monkeypatch.setenv("FER_RESULTS", str(folder))
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "no_checkpoints"))
    return folder


@pytest.fixture
def checkpoints(untrained, tmp_path, monkeypatch) -> Path:
    """Untrained checkpoints of the stand-in models, to which FER_CHECKPOINTS points."""
    folder = tmp_path / "checkpoints"
    for name in MODELS:
        shutil.copytree(untrained(name), folder / name)
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder))
    return folder
