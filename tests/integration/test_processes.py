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
from fer.training.job import write_description
from fer.training.lock import alone
from fer.training.processes import Processes

ROOT = Path(__file__).resolve().parents[2]

# SGD: Adam divides by gradients near zero and turns rounding into steps of the full rate
OPTIONS = """
--model vit_tiny --data synthetic:n=6,seed=1 --device cpu --threads 1 --batch-size 15 --epochs 2 --lr 0.02
--model-arg drop_path=0 --set phases.0.optimizer=sgd --set mixup=0.4 --set cutmix=1 --set clip_norm=1
"""


# dropout, whose random numbers each process draws for itself; a process that dies leaves the other one waiting
CUT_AND_RESUMED = """
import dataclasses, sys
from pathlib import Path
import torch
from fer.data import open_dataset
from fer.specs import InputSpec, Phase, Recipe
from fer.training import Job, loop, train

class Stop(Exception):
    pass

out, data = Path(sys.argv[1]), open_dataset("synthetic:n=4,seed=1", splits=("train", "val"))
recipe = Recipe(phases=(Phase(epochs=3, optimizer="sgd", lr=0.05, schedule="constant"),), batch_size=14)
job = Job("custom_cnn", recipe, model_args={"dropout": 0.5}, input=InputSpec(32, 1, 32))
torch.set_num_threads(1)
train(job, data, out / "whole", "cpu")
real = loop.Trainer._epoch

def cut(self, phase, first, epoch, *rest):
    if epoch == 3:
        raise Stop
    return real(self, phase, first, epoch, *rest)

loop.Trainer._epoch = cut
try:
    train(job, data, out / "cut", "cpu")
except Stop:
    loop.Trainer._epoch = real
train(job, data, out / "cut", "cpu", resume=True)
"""

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


def two_processes():
    """What stands before a script that two processes are to run."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = str(s.getsockname()[1])
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", port]


def start(launcher, options, out):
    return started([*launcher, str(ROOT / "scripts" / "train.py"), *options.split(), "--out", str(out)])


def started(command, **environment):
    env = {**ENV, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("processes")
    one = start([sys.executable], OPTIONS, place / "one")
    two = start(two_processes(), OPTIONS, place / "two")
    assert one.returncode == two.returncode == 0, two.stderr[-3000:]
    return place, two


@pytest.mark.slow
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


@pytest.mark.slow
def test_only_the_first_process_reports_and_writes(runs):
    place, two = runs
    assert two.stderr.count("epoch   2/2") == 1
    assert len(list((place / "two" / "vit_tiny").iterdir())) == 1
    assert two.stdout.strip().count("\n") == 0, "one line: the run folder"


@pytest.mark.slow
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


def test_a_resumed_run_of_two_processes_equals_an_uninterrupted_one(tmp_path):
    code = tmp_path / "cut_and_resumed.py"
    code.write_text(CUT_AND_RESUMED)
    done = started([*two_processes(), str(code), str(tmp_path)], PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr[-3000:]
    a, b = (checkpoint.load_module(tmp_path / n)[0].state_dict() for n in ("whole", "cut"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    rows = [json.loads((tmp_path / n / "history.jsonl").read_text().splitlines()[2]) for n in ("whole", "cut")]
    assert rows[0]["train_loss"] == rows[1]["train_loss"] and rows[0]["epoch"] == 3


@pytest.mark.slow
def test_two_processes_leave_a_run_alone_that_another_one_trains(runs, tmp_path):
    """The one that asks for the lock tells the other, which would wait for it for ever."""
    (run,) = (runs[0] / "one" / "vit_tiny").glob("*/")
    with alone(run, Processes(0, 1, torch.device("cpu"))):
        description = json.loads((run / "run.json").read_text())
        write_description(run, {k: v for k, v in description.items() if k != "finished"})
        done = start(two_processes(), f"{OPTIONS} --resume {run}", tmp_path)
        write_description(run, description)
    assert done.returncode != 0 and 'train.py", line' not in done.stderr, "torchrun's own traceback is enough"
    assert done.stderr.count("is being trained by another process") == 2


@pytest.mark.parametrize(
    ("environment", "device", "expected"),
    [
        # as mpirun sets it, for the second of two
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1"}, "cpu", "2 processes cannot train together"),
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, "auto", "one process trains"),
    ],
)
def test_processes_that_cannot_find_each_other_say_so(environment, device, expected):
    code = (
        "from fer.errors import ConfigError\nfrom fer.training.processes import Processes\n"
        f"try:\n    print(Processes.join({device!r}))\nexcept ConfigError as e:\n    print(e)"
    )
    done = started([sys.executable, "-c", code], PYTHONPATH=str(ROOT), **environment)
    assert done.returncode == 0 and expected in done.stdout + done.stderr, done.stderr
