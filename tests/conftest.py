"""Shared fixtures: small made-up data, and a checkpoint trained on nothing, so that no test needs the real data."""

from __future__ import annotations

import getpass
import os
import tempfile
from pathlib import Path

# before torch is imported: test processes share the cores, and threads that wait for each other are slow there
os.environ.setdefault("OMP_NUM_THREADS", "1")
# untrained nets are exported once for all test processes and runs, and never into the user's own cache
os.environ["FER_CACHE"] = str(Path(tempfile.gettempdir()) / f"fer-tests-{getpass.getuser()}")

import numpy as np
import pytest

from fer.data.dataset import Dataset, Split
from fer.labels import FER7


@pytest.fixture(autouse=True)
def _quiet_places(tmp_path, monkeypatch):
    """Prepared data default to the test's own folder (tests that promote or score move the other places themselves)."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))


def blobs(n: int, seed: int, side: int = 48) -> Split:
    """Faces whose class is the place of a bright spot: learnable in seconds, by position, not by mean brightness."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 7
    faces = rng.integers(40, 90, (n, side, side), dtype=np.uint8)
    for face, label in zip(faces, labels, strict=True):
        angle = 2 * np.pi * label / 7
        r, c = int(24 + 14 * np.sin(angle)), int(24 + 14 * np.cos(angle))
        face[r - 4 : r + 4, c - 4 : c + 4] = 230
    return Split(faces, np.eye(7, dtype=np.float32)[labels], np.arange(n, dtype=np.int64))


@pytest.fixture(scope="session")
def blob_data() -> Dataset:
    """140 training and 70 validation faces of the seven classes; there is no test split."""
    return Dataset("blobs", FER7, {"train": blobs(140, 0), "val": blobs(70, 1)})


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """Function: name -> folder of a valid, untrained checkpoint (made once); one that has no net saw the blobs."""
    import torch

    from fer import checkpoint
    from fer.models import get_model
    from fer.training import Job
    from fer.training.classical import train_classical

    made = {}

    def make(name: str):
        if name not in made:
            entry = get_model(name)
            folder = tmp_path_factory.mktemp("checkpoints") / name
            if entry.SPEC.backend == "classical":
                data = Dataset("blobs", FER7, {"train": blobs(140, 0), "val": blobs(70, 1)})
                made[name] = train_classical(Job(name, entry.RECIPE), data, folder)
                return made[name]
            torch.manual_seed(0)
            module = entry.build(7)
            manifest = checkpoint.Manifest(
                model=name,
                labels=FER7.names,
                label_set=FER7.name,
                input=entry.SPEC.input,
                recipe=entry.RECIPE,
                data={"name": "blobs"},
                weights={"parameters": sum(p.numel() for p in module.parameters())},
            )
            made[name] = checkpoint.save(folder, module.state_dict(), manifest)
        return made[name]

    return make
