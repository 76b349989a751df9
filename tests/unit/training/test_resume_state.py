"""When the resume state is written, and that a run goes on rightly where its files are ahead of it."""

import dataclasses
import json

import pytest
import torch

from fer import checkpoint
from fer.specs import Augment, Phase, Recipe
from fer.training import Job, loop, train
from fer.training import state as resume_state
from fer.training.events import EpochEnded, RunStarted

SMALL = {"widths": (4, 8, 8), "hidden": 8, "dropout": 0.3}
PHASES = (
    Phase(name="a", epochs=3, lr=3e-3, freeze=("features",)),
    Phase(name="b", epochs=5, lr=3e-3, schedule="plateau", patience=1),
)
RECIPE = Recipe(phases=PHASES, batch_size=20, ema_decay=0.9, augment=Augment(flip=0, rotate_deg=3, erase=0.2))


def job(recipe=RECIPE):
    return Job("baseline_cnn", recipe, model_args=dict(SMALL))


@pytest.fixture
def written(monkeypatch):
    """Epochs whose state was written."""
    epochs, real = [], resume_state.write
    monkeypatch.setattr(resume_state, "write", lambda run, state: epochs.append(state["epoch"]) or real(run, state))
    return epochs


class Stop(Exception):
    pass


def learnt(run):
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


def test_half_a_minute_passes_between_two_writings_but_no_phase_ends_without(blob_data, tmp_path, written, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(loop.time, "monotonic", lambda: now[0])

    def epoch_takes(seconds):
        def tick(event):
            now[0] += seconds * isinstance(event, EpochEnded)

        written.clear()
        train(job(), blob_data, tmp_path / str(seconds), "cpu", listeners=[tick])
        return list(written)

    assert resume_state.EVERY_S == 30
    assert epoch_takes(1.0) == [1, 3, 8], "the first, so that there is something to go on from, and the ends of phases"
    assert epoch_takes(15.0) == [1, 3, 5, 7, 8]
    assert epoch_takes(31.0) == [1, 2, 3, 4, 5, 6, 7, 8]
    monkeypatch.setattr(resume_state, "EVERY_S", 0.0)
    assert epoch_takes(0.0) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_it_is_written_where_a_phase_stops_early(blob_data, tmp_path, written):
    still = Phase(epochs=9, optimizer="sgd", lr=1e-12, schedule="constant", early_stopping=2)
    run = train(job(dataclasses.replace(RECIPE, phases=(still,), ema_decay=0.0)), blob_data, tmp_path / "r", "cpu")
    last = len(learnt(run))
    assert 1 < last < 9 and written == [1, last]


@pytest.mark.parametrize("stop_at", [pytest.param(2, marks=pytest.mark.slow), 6, 7])
def test_files_that_are_ahead_of_the_state_do_not_lead_astray(blob_data, tmp_path, written, stop_at):
    """Cut after epochs that are in the history, and the best of them in the checkpoint, but in no state."""
    whole = train(job(), blob_data, tmp_path / "whole", "cpu")
    kept = 1 if stop_at == 2 else 3

    def cut(event):
        if isinstance(event, EpochEnded) and event.epoch == stop_at:
            raise Stop

    written.clear()
    with pytest.raises(Stop):
        train(job(), blob_data, tmp_path / "cut", "cpu", listeners=[cut])
    run = tmp_path / "cut"
    assert written == [1, 3][: 1 + (stop_at > 3)] and len(learnt(run)) == stop_at > kept
    assert checkpoint.read_manifest(run).training["best_epoch"] == stop_at, "or the test shows nothing"
    events = []

    def look(event):
        events.append(event)
        if isinstance(event, RunStarted):  # what is there while the first epoch runs again is what the state knows
            said = checkpoint.read_manifest(run).training
            assert said["epochs"] == kept and said["best_epoch"] <= kept

    train(job(), blob_data, run, "cpu", resume=True, listeners=[look])
    assert events[0].first_epoch == kept + 1
    a, b = (checkpoint.load_module(r)[0].state_dict() for r in (whole, run))
    assert all(torch.equal(a[k], b[k]) for k in a) and learnt(whole) == learnt(run)
    assert (
        checkpoint.read_manifest(run).training["best_epoch"] == checkpoint.read_manifest(whole).training["best_epoch"]
    )
