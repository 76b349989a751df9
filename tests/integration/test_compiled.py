"""Training with a compiled net: the same net comes out, under the same names, and no compiler is no end."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import torch
from torch import nn

from fer import checkpoint
from fer.specs import Augment, Phase, Recipe
from fer.training import Job, train, votes

RECIPE = Recipe(
    phases=(Phase(epochs=2, optimizer="sgd", lr=0.05, schedule="one_cycle"),),
    batch_size=20,
    ema_decay=0.9,
    accumulate=2,
    sam_rho=0.05,
    augment=Augment(erase=0.2),
)
JOB = Job("baseline_cnn", RECIPE, model_args={"widths": (4, 8, 8), "hidden": 8, "dropout": 0.0})


@pytest.fixture
def compiler(monkeypatch):
    """Says with which backend nets are compiled; yields it and the nets."""
    real, asked, nets = nn.Module.compile, {"backend": "aot_eager"}, []

    def compiled(self):
        nets.append(self)
        real(self, **asked)

    monkeypatch.setattr(nn.Module, "compile", compiled)
    torch._dynamo.reset()
    with torch._dynamo.config.patch(suppress_errors=False):
        yield asked, nets
    torch._dynamo.reset()


def weights(run):
    return checkpoint.load_module(run)[0].state_dict()


def require_alike(run, other):
    before, after = weights(run), weights(other)
    assert list(before) == list(after), "the names stay"
    for key, value in before.items():
        torch.testing.assert_close(after[key], value, rtol=1e-3, atol=1e-4, msg=key)


def test_the_same_net_comes_out(blob_data, tmp_path, compiler):
    asked, nets = compiler
    seen = []

    def backend(graph, inputs):
        seen.append(graph)
        return graph.forward

    asked["backend"] = backend
    plain = train(JOB, blob_data, tmp_path / "plain", "cpu")
    assert not nets
    run = train(JOB, blob_data, tmp_path / "compiled", "cpu", compiled=True)
    assert len(nets) == 1 and seen, "the net itself, and it was called"
    require_alike(plain, run)


def test_without_a_working_compiler_it_trains_as_it_is(blob_data, tmp_path, compiler):
    def broken(graph, inputs):
        raise RuntimeError("no compiler")

    asked, nets = compiler
    asked["backend"] = broken
    job = dataclasses.replace(JOB, recipe=dataclasses.replace(RECIPE, sam_rho=0.0, accumulate=1))
    run = train(job, blob_data, tmp_path / "compiled", "cpu", compiled=True)
    assert len(nets) == 1
    require_alike(train(job, blob_data, tmp_path / "plain", "cpu"), run)


def test_votes_are_learnt_beside_a_compiled_net(compiler):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Linear(6, 7))
    net.compile()
    both = votes.WithVotes(net, 7, 8)
    logits, guessed = both(torch.randn(3, 4))
    assert logits.shape == (3, 7) and guessed.shape == (3, 8)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_the_compiler_itself(blob_data, tmp_path):
    # one step: over several, the rounding of other kernels grows
    phases = (Phase(epochs=1, optimizer="sgd", lr=0.05, schedule="constant"),)
    job = dataclasses.replace(JOB, recipe=dataclasses.replace(RECIPE, phases=phases, batch_size=140, sam_rho=0.0))
    with torch._dynamo.config.patch(suppress_errors=False):
        run = train(job, blob_data, tmp_path / "compiled", "cpu", compiled=True)
    torch._dynamo.reset()
    require_alike(train(job, blob_data, tmp_path / "plain", "cpu"), run)
