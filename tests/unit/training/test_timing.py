"""Schedules that fit a time, whatever the clock says."""

import dataclasses

import pytest

from fer.specs import InputSpec, Phase, Recipe
from fer.training import Job, timing

PHASES = (Phase(name="a", epochs=50), Phase(name="b", epochs=50, freeze=("features",)))
JOB = Job("custom_cnn", Recipe(phases=PHASES, batch_size=20), input=InputSpec(16, 1, 16))


def test_an_epoch_has_one_full_batch_however_short_the_time(blob_data, monkeypatch):
    """Where less is left than one step takes, a batch of a few faces would be too small for its parts and processes."""
    monkeypatch.setattr(timing, "epoch_seconds", lambda trainer: [1000.0, 1000.0])
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
    monkeypatch.setattr(timing, "_measured", lambda trainer, phase, patience_s: measured.append(phase.name) or 100.0)
    job, _ = timing.shortened(JOB, blob_data, 5000.0, "cpu")
    assert measured == ["a", "b"] and job.recipe.epochs == pytest.approx(50, abs=2)
    assert list(tmp_path.iterdir()) == []
