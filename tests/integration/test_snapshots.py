"""Snapshot ensembles: the nets at the ends of a run's cycles, each a checkpoint."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from fer import checkpoint
from fer.errors import ConfigError
from fer.evaluation.ensemble import average
from fer.inference import load
from fer.scoring.answers import answers, mirrored, validation_accuracy
from fer.settings import override
from fer.specs import Augment, Phase, Recipe
from fer.training import Job, train
from fer.training.budget import fit
from fer.training.events import EpochEnded

CYCLES = Phase(epochs=4, optimizer="adamw", lr=3e-3, schedule="warm_restarts", restart_epochs=2)
RECIPE = Recipe(phases=(CYCLES,), batch_size=20, augment=Augment(flip=0), snapshots=True)
SMALL = {"widths": (4, 8, 8), "hidden": 8, "dropout": 0.3}


def job(recipe=RECIPE):
    return Job("baseline_cnn", recipe, model_args=dict(SMALL))


def snapshots(run):
    return sorted((run / "snapshots").iterdir())


class Stop(Exception):
    pass


def test_a_checkpoint_at_the_end_of_every_cycle(blob_data, tmp_path):
    run = train(job(), blob_data, tmp_path / "run", "cpu")
    assert [s.name for s in snapshots(run)] == ["epoch-002", "epoch-004"]
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    for folder, epoch in zip(snapshots(run), (2, 4), strict=True):
        said = checkpoint.read_manifest(folder).training
        assert (said["best_epoch"], said["epochs"]) == (epoch, epoch)
        assert said["val_accuracy"] == round(history[epoch - 1]["val_accuracy"], 6)
        assert len((folder / "history.jsonl").read_text().splitlines()) == epoch
        # it is the net of that epoch: its loss is the one that was seen then, but for half precision
        probs = answers(load(str(folder), backend="torch"), blob_data["val"].faces, blob_data.label_set)
        loss = -(blob_data["val"].targets * np.log(probs)).sum(axis=1).mean()
        assert loss == pytest.approx(history[epoch - 1]["val_loss"], abs=2e-3)
    assert history[1]["val_loss"] != pytest.approx(history[3]["val_loss"], abs=1e-2), "or the test shows nothing"


def test_they_are_the_same_after_an_interrupt(blob_data, tmp_path):
    whole = train(job(), blob_data, tmp_path / "whole", "cpu")

    def cut(event):
        if isinstance(event, EpochEnded) and event.epoch == 3:
            raise Stop

    with pytest.raises(Stop):
        train(job(), blob_data, tmp_path / "cut", "cpu", listeners=[cut])
    run = train(job(), blob_data, tmp_path / "cut", "cpu", resume=True)
    for a, b in zip(snapshots(whole), snapshots(run), strict=True):
        states = [checkpoint.load_module(s)[0].state_dict() for s in (a, b)]
        assert a.name == b.name and all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_after_another_run_the_epochs_count_on_and_without_the_wish_there_are_none(blob_data, tmp_path):
    plain = train(job(dataclasses.replace(RECIPE, snapshots=False)), blob_data, tmp_path / "plain", "cpu")
    assert not (plain / "snapshots").exists()
    more = train(job(dataclasses.replace(RECIPE, init=str(plain))), blob_data, tmp_path / "more", "cpu")
    assert [s.name for s in snapshots(more)] == ["epoch-006", "epoch-008"]
    assert checkpoint.read_manifest(snapshots(more)[0]).training["best_epoch"] == 6


def test_several_nets_answer_together(blob_data, tmp_path):
    run = train(job(), blob_data, tmp_path / "run", "cpu")
    val, nets = blob_data["val"], [load(str(s), backend="torch") for s in snapshots(run)]
    for view, kinds in (("single", [val.faces]), ("flip", [val.faces, mirrored(val.faces)])):
        probs = average([answers(net, faces, blob_data.label_set) for net in nets for faces in kinds])
        expected = (probs.argmax(axis=1) == val.labels).mean()
        assert validation_accuracy([str(s) for s in snapshots(run)], blob_data, view) == expected
    alone = [validation_accuracy([str(s)], blob_data) for s in snapshots(run)]
    said = [checkpoint.read_manifest(s).training["val_accuracy"] for s in snapshots(run)]
    assert alone == pytest.approx(said, abs=1e-6)


def test_cycles_of_fractions_of_an_epoch_end_with_epochs_too():
    phase = Phase(epochs=3, schedule="warm_restarts", restart_epochs=0.1)
    assert phase.cycle_ends() == (1, 2, 3)
    assert dataclasses.replace(phase, restart_epochs=1.1).cycle_ends() == ()
    with pytest.raises(ConfigError, match="restart_epochs"):
        Phase(schedule="warm_restarts", restart_epochs=1e-9)


@pytest.mark.parametrize(
    "phases",
    [
        (Phase(epochs=4),),
        (Phase(epochs=4, schedule="warm_restarts", restart_epochs=3),),
        (Phase(epochs=4, schedule="warm_restarts", restart_epochs=1.5),),
        (CYCLES, Phase(epochs=2)),
    ],
    ids=["no cycles", "one cycle", "one that ends with an epoch", "not in the last phase"],
)
def test_a_recipe_without_cycles_has_no_snapshots(phases):
    with pytest.raises(ConfigError, match="snapshots needs a last phase"):
        Recipe(phases=phases, snapshots=True)
    assert override(RECIPE, ("snapshots", "false")).snapshots is False


@pytest.mark.parametrize(
    ("seconds", "ends"),
    [(200.0, (8, 14, 20)), (130.0, (5, 9, 13)), (30.0, (1, 2, 3)), (29.0, (1, 2)), (19.0, ()), (5.0, ())],
)
def test_within_a_budget_the_cycles_stay_or_there_is_no_ensemble(seconds, ends):
    """Twenty epochs of ten seconds; a warm-up of two, then three cycles."""
    phase = Phase(epochs=20, warmup_epochs=2, schedule="warm_restarts", restart_epochs=6)
    fitted = fit(dataclasses.replace(RECIPE, phases=(Phase(epochs=1), phase)), [0.0, 10.0], seconds)
    assert fitted.snapshots == bool(ends) and fitted.phases[0].epochs == 1
    if ends:
        assert fitted.phases[1].cycle_ends() == ends and fitted.phases[1].epochs == ends[-1]
    assert fitted.epoch_share == min(1.0, seconds / 10)
