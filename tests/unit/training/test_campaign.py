"""What each training of a command finds before it begins."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from fer.models.hog_svm import RECIPE as ONE_FIT
from fer.specs import Phase, Recipe
from fer.training import Job, timing
from fer.training.budget import Cost
from fer.training.campaign import Campaign
from fer.training.job import write_description

JOB = Job("custom_cnn", Recipe(phases=(Phase(epochs=9),)), budget_s=60.0)


@pytest.fixture
def campaign(tmp_path, blob_data, monkeypatch):
    """A command on a device of a name, where nothing is measured."""
    cost = Cost((1.0,), (0.0,), 0.0, 0.0, 9.0)
    monkeypatch.setattr(timing, "measured", lambda *args: cost)

    def on(title, **more):
        here = SimpleNamespace(main=True, title=title, device=torch.device("cpu"), agreed=lambda value: value)
        return Campaign(blob_data, "blobs", tmp_path, here, reuse=True, **more)

    return on


def test_what_a_budget_made_short_on_a_slow_device_is_trained_anew_on_a_fast_one(campaign, blob_data, tmp_path, caplog):
    slow, fast = campaign("cpu, 1 thread"), campaign("NVIDIA H200")
    cost = slow.cost(JOB)
    assert cost.measured_on == campaign("cpu, 2 threads").place(JOB) == "cpu, float32"
    run = tmp_path / "custom_cnn" / "1"
    job = timing.fitted(JOB, dataclasses.replace(cost, epoch_s=(100.0,)), 50.0)
    write_description(run, job.describe(blob_data) | {"finished": True})
    assert slow.cost(JOB) is None and slow.earlier(JOB, slow.material(JOB)) == (run, True)
    assert caplog.messages == [f"{run} has 1 epochs with 50% of the faces, what such a budget allowed"]
    caplog.clear()
    assert fast.cost(JOB) and fast.earlier(JOB, fast.material(JOB)) == (None, False)
    (said,) = caplog.messages
    assert said.endswith("its time was measured on cpu, float32, not on NVIDIA H200, float32")


def test_a_job_is_measured_as_it_will_be_trained(campaign, tmp_path, monkeypatch):
    """With its threads that augment ahead, and on the disk that its run will be written to."""
    asked, stand_in = [], timing.measured
    monkeypatch.setattr(timing, "measured", lambda *args: asked.append(args) or stand_in(*args))
    here = campaign("cpu, 1 thread", workers=3)
    for out in (tmp_path, tmp_path / "not" / "yet"):
        dataclasses.replace(here, out=out).cost(JOB)
    assert [args[-2:] for args in asked] == [(3, tmp_path)] * 2


def test_one_fit_is_the_same_on_any_accelerator(campaign):
    """It runs on the CPU."""
    job = Job("hog_svm", ONE_FIT, budget_s=60.0)
    places = {campaign(title).place(job) for title in ("cpu, 1 thread", "NVIDIA H200")}
    assert places == {"cpu"}
