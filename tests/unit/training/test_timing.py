"""Schedules that fit a time, whatever the clock says."""

import dataclasses
from pathlib import Path

import pytest

from fer.specs import InputSpec, Phase, Recipe
from fer.training import Job, timing

PHASES = (Phase(name="a", epochs=50), Phase(name="b", epochs=50, freeze=("features",)))
JOB = Job("custom_cnn", Recipe(phases=PHASES, batch_size=20), input=InputSpec(16, 1, 16))


def test_an_epoch_has_one_full_batch_however_short_the_time(blob_data, monkeypatch):
    """Where less is left than one step takes, a batch of a few faces would be too small for its parts and processes."""
    monkeypatch.setattr(timing, "epoch_seconds", lambda trainer: ([1000.0, 1000.0], [0.0, 0.0]))
    job, seconds = timing.shortened(JOB, blob_data, 0.0, "cpu")
    assert seconds == 1000 and job.asked == JOB.recipe
    assert [p.epochs for p in job.recipe.phases] == [1, 1]
    assert round(job.recipe.epoch_share * 140) == 20
    asked = dataclasses.replace(JOB, recipe=dataclasses.replace(JOB.recipe, epoch_share=0.01))
    assert timing.shortened(asked, blob_data, 0.0, "cpu")[0].recipe.epoch_share == 0.01, "never more than asked for"
    assert timing.shortened(JOB, blob_data, 1e6, "cpu")[0].recipe == JOB.recipe


def test_every_phase_is_measured_and_nothing_is_written(blob_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, seconds = timing.shortened(JOB, blob_data, 1e6, "cpu")
    assert 0 < seconds < 60
    measured = []
    monkeypatch.setattr(
        timing, "_measured", lambda trainer, phase, patience_s: measured.append(phase.name) or (100.0, 10.0)
    )
    job, _ = timing.shortened(JOB, blob_data, 5000.0, "cpu")
    assert measured == ["a", "b"] and job.recipe.epochs == pytest.approx(50, abs=2)
    assert list(tmp_path.iterdir()) == []


def test_a_measured_epoch_counts_validation_when_it_is_warm_and_the_writing(blob_data, monkeypatch):
    """Whatever validation and writing take, an epoch takes; what only the first call takes is left out."""
    cost = {"validation": 0.0, "writing": 0.0}
    now, asked = [0.0], []
    real_evaluate, real_write = timing.evaluate, timing.resume_state.write

    def evaluate(module, split, *rest):
        now[0] += 100.0 if not asked else cost["validation"] * len(split)
        asked.append(len(split))
        return real_evaluate(module, split, *rest)

    def write(folder, state):
        now[0] += cost["writing"]
        assert set(state) == {"stepper", "optimizer", "best_state"}
        real_write(folder, state)

    monkeypatch.setattr(timing, "evaluate", evaluate)
    monkeypatch.setattr(timing.resume_state, "write", write)
    clock = timing.time.perf_counter
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock() + now[0])
    found = []
    for cost["validation"], cost["writing"] in ((0.0, 0.0), (2.0, 7.0)):
        asked.clear()
        job = dataclasses.replace(JOB, recipe=dataclasses.replace(JOB.recipe, phases=PHASES[:1]))
        trainer = timing.Trainer(job, blob_data, Path(), timing.Processes.join("cpu"), False, 0, (), None, None)
        (whole,), (fixed,) = timing.epoch_seconds(trainer, patience_s=0.1)
        assert whole > fixed and whole < 300
        found.append(fixed)
    assert found[1] - found[0] == pytest.approx(2.0 * len(blob_data["val"]) + 7.0, abs=5.0)
