"""Small checkpoints of untrained nets and a small data set, for tests that score them as a user would."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np

from fer import checkpoint, paths
from fer.data import Dataset, Split
from fer.labels import FER7


def script(name):
    """A file of scripts/ as a module."""
    spec = importlib.util.spec_from_file_location(f"tested_{name}", paths.ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def faces_of(n, seed):
    """Coarse random pictures."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 6, 6), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, 8, 8), dtype=np.uint8))


def dataset(name="fer2013", label_set=FER7):
    """40 training, 35 validation and 42 test faces, of which three are copies of training faces."""
    splits = {}
    for i, (key, n) in enumerate((("train", 40), ("val", 35), ("test", 42))):
        faces = faces_of(n, i)
        if key == "test":
            faces[:3] = splits["train"].faces[:3]
        targets = np.eye(len(label_set), dtype=np.float32)[np.arange(n) % len(label_set)]
        splits[key] = Split(faces, targets, np.arange(n) + 100 * i)
    titles = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
    return Dataset(name, label_set, splits, titles)


def bundle(root, name, label_set=FER7, seed=0, temperature=2.0, bold=1.0, data="fer2013", model_args=None, **training):
    """An untrained net as a checkpoint below `root`; returns its folder."""
    import torch

    from fer.models import get_model

    torch.manual_seed(seed)
    entry, args = get_model(name), model_args or {}
    net = entry.build(len(label_set), entry.SPEC.input, **args)
    with torch.no_grad():  # an untrained net says nearly the same of every face; a bold last layer tells them apart
        [p for p in net.parameters() if p.ndim == 2][-1].normal_(std=bold)
    manifest = checkpoint.Manifest(
        name,
        label_set.names,
        label_set.name,
        entry.SPEC.input,
        entry.RECIPE,
        model_args=args,
        data={"name": data, "n_train": 40},
        seed=seed,
        weights={"parameters": sum(p.numel() for p in net.parameters())},
        training={"epochs": 3, "seconds": 61.0, "device": "cpu", "teacher": ""} | training,
        temperature=temperature,
    )
    return checkpoint.save(root / name, net.state_dict(), manifest)


def setup(patch, base):
    """Checkpoints, results and data below `base`; latency takes one call instead of seconds."""
    for variable, folder in (("FER_CHECKPOINTS", "checkpoints"), ("FER_RESULTS", "results"), ("FER_DATA", "data")):
        patch.setenv(variable, str(base / folder))
    patch.setattr("fer.scoring.cost._SECONDS", 0.0)
    patch.setattr("fer.scoring.cost._LEAST", 1)
