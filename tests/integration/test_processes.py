"""Two processes (gloo) learn what one learns."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import fer
from fer import checkpoint

ROOT = Path(__file__).resolve().parents[2]

# SGD: Adam divides by gradients near zero and turns rounding into steps of the full rate
OPTIONS = """
--model vit_tiny --data synthetic:n=6,seed=1 --device cpu --threads 1 --batch-size 15 --epochs 2 --lr 0.02
--model-arg drop_path=0 --set phases.0.optimizer=sgd --set mixup=0.4 --set cutmix=1 --set clip_norm=1
"""


ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def two_processes():
    """What stands before a script that two processes are to run."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]


def start(launcher, options, out):
    command = [*launcher, str(ROOT / "scripts" / "train.py"), *options.split(), "--out", str(out)]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("processes")
    one = start([sys.executable], OPTIONS, place / "one")
    two = start(two_processes(), OPTIONS, place / "two")
    assert one.returncode == two.returncode == 0, two.stderr[-3000:]
    return place, two


def test_weights_and_figures_are_equal(runs):
    place, _ = runs
    (one,), (two,) = ((place / n / "vit_tiny").glob("*/") for n in ("one", "two"))
    a, b = (checkpoint.load_module(r)[0].state_dict() for r in (one, two))
    half = 2**-11  # matrices are stored in half precision, which may round either way
    for k in a:
        torch.testing.assert_close(a[k], b[k], atol=1e-4, rtol=2 * half, msg=k)
    rows = [[json.loads(line) for line in (r / "history.jsonl").read_text().splitlines()] for r in (one, two)]
    for x, y in zip(*rows, strict=True):
        for key in ("train_loss", "val_loss", "train_accuracy", "val_accuracy"):
            assert x[key] == pytest.approx(y[key], abs=1e-4), key
    assert checkpoint.read_manifest(two).training["device"].startswith("2 x cpu")


def test_only_the_first_process_reports_and_writes(runs):
    place, two = runs
    assert two.stderr.count("epoch   2/2") == 1
    assert len(list((place / "two" / "vit_tiny").iterdir())) == 1
    assert two.stdout.strip().count("\n") == 0, "one line: the run folder"


def test_uneven_parts_a_budget_and_a_fit_end_well_in_two_processes(tmp_path):
    """Processes that decide by their own clock, or cut batches differently, wait for each other for ever."""
    options = "--model custom_cnn,hog_svm --data synthetic:n=5,seed=1 --device cpu --threads 1 --batch-size 9"
    done = start(two_processes(), options + " --set accumulate=4 --budget seconds=30", tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    for model in ("custom_cnn", "hog_svm"):
        (run,) = (tmp_path / model).iterdir()
        faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
        assert fer.load(run).predict_proba(faces).shape == (3, 7)
    assert done.stderr.count("min allow") == 2
