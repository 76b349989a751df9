"""Schedules that fit a time, whatever the clock says."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fer.models.hog_svm import RECIPE as ONE_FIT
from fer.specs import InputSpec, Phase, Recipe
from fer.training import Job, classical, timing
from fer.training.budget import Cost

PHASES = (Phase(name="a", epochs=50), Phase(name="b", epochs=50, freeze=("features",)))
JOB = Job("custom_cnn", Recipe(phases=PHASES, batch_size=20), input=InputSpec(16, 1, 16))


def test_an_epoch_has_one_full_batch_however_short_the_time(blob_data, monkeypatch):
    """Where less is left than one step takes, a batch of a few faces would be too small for its parts and processes."""
    monkeypatch.setattr(timing, "epoch_seconds", lambda trainer, patience_s: ([1000.0, 1000.0], [0.0, 0.0], 0.0))
    monkeypatch.setattr(timing, "_calibration_s", lambda trainer: 0.0)
    cost = timing.measured(JOB, blob_data, "cpu")
    job = timing.fitted(JOB, cost, 0.0)
    assert cost.epoch_s == (1000.0, 1000.0) and job.asked == JOB.recipe
    assert [p.epochs for p in job.recipe.phases] == [1, 1]
    assert round(job.recipe.epoch_share * 140) == 20
    asked = dataclasses.replace(JOB, recipe=dataclasses.replace(JOB.recipe, epoch_share=0.01))
    assert timing.fitted(asked, cost, 0.0).recipe.epoch_share == 0.01, "never more than asked for"
    assert timing.fitted(JOB, cost, 1e6).recipe == JOB.recipe


def test_every_phase_is_measured_and_nothing_is_written(blob_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cost = timing.measured(JOB, blob_data, "cpu", patience_s=0.1)
    assert all(0 < s < 60 for s in cost.epoch_s) and all(
        0 < f < s for f, s in zip(cost.fixed_s, cost.epoch_s, strict=True)
    )
    measured = []
    monkeypatch.setattr(
        timing, "_measured", lambda trainer, phase, patience_s: measured.append(phase.name) or (100.0, 10.0, 1.0)
    )
    job = timing.fitted(JOB, timing.measured(JOB, blob_data, "cpu"), 5000.0)
    assert measured == ["a", "b"] and job.recipe.epochs == pytest.approx(50, abs=2)
    assert list(tmp_path.iterdir()) == []


def test_what_comes_once_is_kept_free_of_the_epochs(blob_data, monkeypatch):
    """The opening of data and net, and the calibration of the finished net and of every snapshot."""
    cycles = Phase(epochs=50, schedule="warm_restarts", restart_epochs=10)
    snapshots = dataclasses.replace(JOB, recipe=Recipe(phases=(PHASES[0], cycles), batch_size=20, snapshots=True))
    monkeypatch.setattr(timing, "epoch_seconds", lambda trainer, patience_s: ([10.0, 20.0], [0.0, 0.0], 30.0))
    monkeypatch.setattr(timing, "_calibration_s", lambda trainer: 100.0)
    for job, once in ((JOB, 130.0), (snapshots, 630.0)):
        cost = timing.measured(job, blob_data, "cpu")
        assert cost.once_s == pytest.approx(once, abs=5.0) and cost.use_s == pytest.approx(cost.once_s + 1500.0)
        longer = dataclasses.replace(job, stretch=3.0)
        assert timing.measured(longer, blob_data, "cpu").use_s == pytest.approx(once + 4500.0, abs=5.0)
        assert timing.fitted(job, cost, cost.use_s).recipe == job.recipe, "its whole need is enough"
        assert timing.fitted(job, cost, 1500.0).recipe.epochs < 100, "the epochs alone would fit"


def test_a_net_is_lengthened_where_its_job_may_be_stretched():
    cost = Cost((10.0, 20.0), (0.0, 0.0), 100.0, 0.1, 1e9)
    for stretch, seconds, epochs in ((1.0, 1e6, [50, 50]), (3.0, 1e6, [150, 150]), (3.0, 3100.0, [100, 100])):
        job = timing.fitted(dataclasses.replace(JOB, stretch=stretch), cost, seconds)
        assert [p.epochs for p in job.recipe.phases] == epochs and job.asked == JOB.recipe


def test_features_grow_with_the_faces_and_the_support_vector_machine_with_their_square(blob_data, monkeypatch):
    """140 faces and 70 of validation are asked for; the fit that is timed has 20."""
    now = [0.0]

    class Estimator:
        def features(self, faces):
            now[0] += 0.1 * len(faces)

        def fit(self, faces, labels, class_weights=None):
            self.features(faces)
            now[0] += 0.01 * len(faces) ** 2

        def calibrate(self, faces, labels):
            self.features(faces)

    monkeypatch.setattr(classical.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(classical, "build_estimator", lambda job, n_classes: Estimator())
    monkeypatch.setattr(classical, "_TRIED", 20)
    monkeypatch.setattr(classical, "_SEEN", 10)
    job = Job("hog_svm", ONE_FIT)
    # validation is answered twice, and the training loss needs the training faces
    assert classical.fit_seconds(job, blob_data) == pytest.approx((28.0, 14.0, 196.0))
    assert timing.fitted(job, timing.measured(job, blob_data, "cpu"), 84.0).recipe.epoch_share == pytest.approx(0.5)


def test_one_fit_takes_the_share_whose_square_fits(blob_data, monkeypatch):
    job = Job("hog_svm", ONE_FIT)
    monkeypatch.setattr(timing, "fit_seconds", lambda job, data: (10.0, 100.0, 400.0))
    cost = timing.measured(job, blob_data, "cpu")
    assert cost.use_s == 510.0 and cost.epoch_s == (500.0,)
    assert timing.fitted(job, cost, 160.0).recipe.epoch_share == 0.5, "10 s, half of 100 s, a quarter of 400 s"
    assert timing.fitted(job, cost, 1e6).recipe == job.recipe
    half = dataclasses.replace(job, recipe=dataclasses.replace(ONE_FIT, epoch_share=0.5))
    assert timing.measured(half, blob_data, "cpu").use_s == 160.0
    assert timing.fitted(half, cost, 1e6).recipe.epoch_share == 0.5, "never more than asked for"


@pytest.mark.parametrize(("step_s", "patience_s", "at_most"), [(1.0, 9.0, 11), (0.01, 4.0, 101), (9.0, 4.0, 3)])
def test_the_first_step_does_not_count_and_an_odd_one_little(monkeypatch, step_s, patience_s, at_most):
    """Neither for the pace nor for the patience: it may load and tune for longer than all others take together."""
    clock, steps, waits = [0.0], [], []

    class Loss:
        def item(self):
            waits.append(len(steps))

    def step(*_):
        steps.append(1)
        clock[0] += {1: 100.0, 3: 2.5 * step_s}.get(len(steps), step_s)
        return Loss(), None

    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])
    stream = SimpleNamespace(epoch=lambda number, mixing: [(torch.zeros(1), torch.zeros(1))] * 2)
    trainer = SimpleNamespace(
        stream=stream, stepper=SimpleNamespace(step=step), processes=SimpleNamespace(agreed=lambda tired: tired)
    )
    found, first_s = timing._step_seconds(trainer, None, patience_s)
    assert first_s == 100.0
    assert 3 <= len(steps) <= at_most and waits[0] == 1
    if step_s < 9.0:
        assert found == pytest.approx(step_s) and len(steps) >= 5
    if step_s == 0.01:
        assert len(waits) < len(steps) / 3, "the device is not waited for after each short step"


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
        (whole,), (fixed,), _ = timing.epoch_seconds(trainer, patience_s=0.1)
        assert whole > fixed and whole < 300
        found.append(fixed)
    assert found[1] - found[0] == pytest.approx(2.0 * len(blob_data["val"]) + 7.0, abs=5.0)


def test_the_writing_is_timed_where_the_run_will_be(blob_data, tmp_path, monkeypatch):
    workers, folders, stream = [], [], timing.Trainer
    monkeypatch.setattr(timing, "Trainer", lambda *args: workers.append(args[5]) or stream(*args))
    monkeypatch.setattr(timing.resume_state, "write", lambda folder, state: folders.append(folder.parent))
    timing.measured(JOB, blob_data, "cpu", patience_s=0.0, workers=2, beside=tmp_path)
    assert workers == [2] and folders == [tmp_path, tmp_path] and list(tmp_path.iterdir()) == []


def test_writing_counts_as_often_as_it_is_done(blob_data, monkeypatch):
    """Epochs of a few milliseconds: once in half a minute the state is written, which takes 300 s here."""
    clock, now = timing.time.perf_counter, [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock() + now[0])
    monkeypatch.setattr(timing.resume_state, "write", lambda folder, state: now.__setitem__(0, now[0] + 300.0))
    found = {}
    for every in (0.0, 30.0, 1e6):
        monkeypatch.setattr(timing.resume_state, "EVERY_S", every)
        job = dataclasses.replace(JOB, recipe=dataclasses.replace(JOB.recipe, phases=PHASES[:1]))
        trainer = timing.Trainer(job, blob_data, Path(), timing.Processes.join("cpu"), False, 0, (), None, None)
        _, (found[every],), _ = timing.epoch_seconds(trainer, patience_s=0.1)
    assert found[0.0] > 300 > 150 > found[30.0] > found[1e6]
