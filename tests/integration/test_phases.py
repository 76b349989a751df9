"""Phases proven on data: frozen parts stand still, a new head keeps the rest, and a run resumes inside either phase."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from fer import checkpoint
from fer.data.dataset import Dataset
from fer.data.synthetic import read_synthetic
from fer.errors import ConfigError
from fer.labels import AFFECTNET8, FER7
from fer.models import get_model
from fer.specs import Augment, InputSpec, Phase, Recipe
from fer.training import Job, train
from fer.training.events import EpochEnded, PhaseStarted, StepEnded
from fer.training.folders import earlier_run

TINY = InputSpec(size_px=32, channels=1, resize_px=32)
MILD = Augment(rotate_deg=3, shift=0.02, erase=0.0)


@pytest.fixture(scope="module")
def seven(blob_data):
    few = {"train": np.arange(28), "val": np.arange(14)}
    return Dataset("blobs", FER7, {k: blob_data[k].take(i) for k, i in few.items()})


@pytest.fixture(scope="module")
def eight():
    """Drawn faces with contempt."""
    drawn = read_synthetic(n=4, size_px=32, seed=1, contempt=1)
    assert drawn.label_set == AFFECTNET8 and "contempt" in drawn.label_set.names
    assert (drawn["train"].labels == AFFECTNET8.index("contempt")).any()
    return drawn


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def each_epoch_is_kept(monkeypatch):
    monkeypatch.setattr("fer.training.state.EVERY_S", 0.0)


def snapshots(run_job, data, run, **options):
    """(Weights, those of the best epoch) after the first phase and one epoch of the second, and what training said."""
    seen, events = [], []

    def watch(event):
        events.append(event)
        last = isinstance(event, StepEnded) and event.epoch == run_job.recipe.epochs and event.step == event.steps
        if (last or isinstance(event, PhaseStarted)) and (run / "state.pt").exists():
            state = torch.load(run / "state.pt", weights_only=True)
            seen.append((state["stepper"]["module"], state["best_state"]))

    train(run_job, data, run, "cpu", listeners=[watch], **options)
    return seen, events


def transfer_job():
    """resnet18_transfer's own two phases, shortened."""
    head, whole = get_model("resnet18_transfer").RECIPE.phases
    phases = (dataclasses.replace(head, epochs=2), dataclasses.replace(whole, epochs=2))
    recipe = dataclasses.replace(
        get_model("resnet18_transfer").RECIPE, phases=phases, batch_size=14, ema_decay=0.0, augment=MILD
    )
    return Job("resnet18_transfer", recipe, input=TINY)


@pytest.mark.slow
def test_the_backbone_stands_still_in_the_first_phase_and_moves_in_the_second(seven, tmp_path):
    job = transfer_job()
    torch.manual_seed(job.seed)
    start = get_model(job.model).build(7, TINY).state_dict()
    seen, events = snapshots(job, seven, tmp_path / "r")
    (after_head, _), (end, _) = seen
    backbone = [k for k in start if k.startswith("backbone.")]
    assert len(backbone) > 100, "weights and batch-norm statistics"
    assert all(torch.equal(start[k], after_head[k]) for k in backbone)
    assert not torch.equal(start["classifier.weight"], after_head["classifier.weight"])
    matrices = [k for k in backbone if start[k].ndim > 1]
    moved = [k for k in matrices if not torch.equal(start[k], end[k])]
    assert len(moved) == len(matrices)
    first, second = (e for e in events if isinstance(e, PhaseStarted))
    assert first.trainable == 512 * 7 + 7 and second.trainable > 11_000_000


def attention_job():
    """resnet34_attention's own two phases, shortened; the second hardly moves, so that what it began with shows."""
    own = get_model("resnet34_attention").RECIPE
    first, second = own.phases
    assert first.data == "affectnet" and second.data == ""
    phases = (
        dataclasses.replace(first, epochs=2, lr=0.01),
        dataclasses.replace(second, epochs=2, lr=1e-9, weight_decay=0.0),
    )
    return Job(
        "resnet34_attention",
        dataclasses.replace(own, phases=phases, batch_size=14, ema_decay=0.0, augment=MILD),
        input=TINY,
    )


@pytest.mark.slow
def test_eight_classes_become_seven_and_the_backbone_is_kept(seven, eight, tmp_path):
    job, asked = attention_job(), []

    def open_data(name):
        asked.append(name)
        return eight

    seen, _ = snapshots(job, seven, tmp_path / "r", open_data=open_data)
    assert asked == ["affectnet"]
    (_, eighth), _ = seen  # the best epoch on the eight classes
    heads = [k for k in eighth if k.startswith("classifier")]
    assert eighth[heads[-1]].shape[0] == 8
    module, manifest = checkpoint.load_module(tmp_path / "r")
    end = module.state_dict()
    assert manifest.labels == FER7.names and end[heads[-1]].shape[0] == 7
    kept = [k for k in end if k.startswith("backbone.") and end[k].ndim > 1]
    torch.manual_seed(job.seed)
    start = get_model(job.model).build(7, TINY).state_dict()
    rows = [json.loads(line) for line in (tmp_path / "r" / "history.jsonl").read_text().splitlines()]
    assert [r["phase"] for r in rows] == ["affectnet", "affectnet", "fer2013", "fer2013"]
    for k in kept:
        torch.testing.assert_close(end[k], eighth[k].half().float(), atol=1e-6, rtol=1e-3)
        assert not torch.equal(start[k], eighth[k]), f"{k}: the first phase moved it"
    (other,) = manifest.data["other_phases"]
    assert other["phase"] == "affectnet" and other["fingerprint"] == eight.fingerprint
    assert manifest.data["fingerprint"] == seven.fingerprint
    assert manifest.training["best_epoch"] in (3, 4), "validation scores on other data do not count"


def test_between_the_phases_the_checkpoint_is_that_of_the_phase(seven, eight, tmp_path):
    def stop(event):
        if isinstance(event, EpochEnded) and event.epoch == 1:
            raise Stop

    with pytest.raises(Stop):
        train(attention_job(), seven, tmp_path, "cpu", listeners=[stop], open_data=lambda name: eight)
    assert checkpoint.read_manifest(tmp_path).labels == AFFECTNET8.names


def test_a_phase_with_other_data_needs_a_way_to_open_it(seven, tmp_path):
    with pytest.raises(ConfigError, match="phase affectnet trains on affectnet"):
        train(attention_job(), seven, tmp_path, "cpu")


def learnt(run):
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


SMALL_TWO = Job(
    "custom_cnn",
    Recipe(
        phases=(
            Phase(name="eight", epochs=2, lr=2e-3, data="affectnet", schedule="warm_restarts", restart_epochs=1.0),
            Phase(name="seven", epochs=2, lr=2e-3, lr_factors={"features": 0.1}, schedule="plateau", watch="loss"),
        ),
        batch_size=14,
        ema_decay=0.9,
        mixup=0.4,
        cutmix=1.0,
        mix_off=0.5,
        sam_rho=0.05,
        loss="focal",
        augment=MILD,
    ),
    input=TINY,
)


OWN = [
    pytest.param(make, at, id=f"{name}-{at}", marks=pytest.mark.slow)
    for name, make in [("transfer", transfer_job), ("attention", attention_job)]
    for at in (1, 2, 3)
]
FEATURES = [pytest.param(lambda: SMALL_TWO, at, id=f"all features-{at}") for at in (1, 2, 3)]


@pytest.mark.parametrize(("make", "stop_at"), OWN + FEATURES)
def test_resume_inside_either_phase_equals_an_uninterrupted_run(seven, eight, tmp_path, make, stop_at):
    job, how = make(), {"open_data": lambda name: eight}
    whole = train(job, seven, tmp_path / "whole", "cpu", **how)

    def cut(event):
        if isinstance(event, StepEnded) and event.epoch == stop_at + 1:
            raise Stop

    with pytest.raises(Stop):
        train(job, seven, tmp_path / "cut", "cpu", listeners=[cut], **how)
    run = train(job, seven, tmp_path / "cut", "cpu", resume=True, **how)
    a, b = (checkpoint.load_module(r)[0].state_dict() for r in (whole, run))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert learnt(whole) == learnt(run)


def test_files_of_a_phase_on_other_classes_than_those_of_the_state_do_not_lead_astray(
    seven, eight, tmp_path, monkeypatch
):
    """Cut after an epoch of the second phase, of which only the first has been written down as a state."""
    monkeypatch.setattr("fer.training.state.EVERY_S", 30.0)
    how = {"open_data": lambda name: eight}
    whole = train(SMALL_TWO, seven, tmp_path / "whole", "cpu", **how)

    def cut(event):
        if isinstance(event, EpochEnded) and event.epoch == 3:
            raise Stop

    run = tmp_path / "cut"
    with pytest.raises(Stop):
        train(SMALL_TWO, seven, run, "cpu", listeners=[cut], **how)
    assert checkpoint.read_manifest(run).labels == FER7.names
    assert torch.load(run / "state.pt", weights_only=True)["epoch"] == 2
    train(SMALL_TWO, seven, run, "cpu", resume=True, **how)
    a, b = (checkpoint.load_module(r)[0].state_dict() for r in (whole, run))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert learnt(whole) == learnt(run)


def test_resume_over_other_data_of_a_phase_is_refused(seven, eight, tmp_path):
    def cut(event):
        if isinstance(event, EpochEnded):
            raise Stop

    with pytest.raises(Stop):
        train(SMALL_TWO, seven, tmp_path, "cpu", listeners=[cut], open_data=lambda name: eight)
    other = read_synthetic(n=4, size_px=32, seed=2, contempt=1)
    with pytest.raises(ConfigError, match="phase_data"):
        train(SMALL_TWO, seven, tmp_path, "cpu", resume=True, open_data=lambda name: other)


def test_resume_with_other_votes_is_refused(seven, tmp_path):
    def cut(event):
        if isinstance(event, EpochEnded):
            raise Stop

    recipe = dataclasses.replace(transfer_job().recipe, phases=(Phase(epochs=2),), ferplus_weight=0.4)
    job, votes = Job("custom_cnn", recipe, input=TINY), np.eye(8, dtype=np.float32)[np.arange(28) % 8]
    run = tmp_path / "custom_cnn" / "1"
    with pytest.raises(Stop):
        train(job, seven, run, "cpu", votes=votes, listeners=[cut])
    find = lambda v: earlier_run(tmp_path, job, seven, [seven], reuse=True, votes=v)  # noqa: E731
    with pytest.raises(ConfigError, match=r"other options \(votes_sha256\)"):
        train(job, seven, run, "cpu", resume=True, votes=votes[::-1])
    train(job, seven, run, "cpu", resume=True, votes=votes)
    assert find(votes) == run and find(votes[::-1]) is None


def test_votes_mark_the_checkpoint(seven, tmp_path):
    recipe = dataclasses.replace(transfer_job().recipe, phases=(Phase(epochs=1),), ferplus_weight=0.4, ema_decay=0.9)
    job = Job("custom_cnn", recipe, input=TINY)
    votes = np.full((28, 8), 1 / 8, dtype=np.float32)
    run = train(job, seven, tmp_path / "r", "cpu", votes=votes)
    assert checkpoint.read_manifest(run).training["extra_annotation"] is True
    with pytest.raises(ConfigError, match="needs the FER\\+ votes"):
        train(job, seven, tmp_path / "s", "cpu")
    with pytest.raises(ConfigError, match="votes of 28 training rows"):
        train(job, seven, tmp_path / "t", "cpu", votes=votes[:5])
    further = train(
        dataclasses.replace(job, recipe=dataclasses.replace(recipe, ferplus_weight=0.0, init=str(run))),
        seven,
        tmp_path / "u",
        "cpu",
    )
    assert checkpoint.read_manifest(further).training["extra_annotation"] is True, "it began with such weights"


def test_votes_go_with_frozen_parts_and_rates(seven, tmp_path):
    phases = (Phase(epochs=1, freeze=("features",)), Phase(epochs=1, lr_factors={"features": 0.1}))
    recipe = Recipe(phases=phases, batch_size=14, ferplus_weight=0.3, augment=MILD)
    votes = np.full((28, 8), 1 / 8, dtype=np.float32)
    train(Job("custom_cnn", recipe, input=TINY), seven, tmp_path, "cpu", votes=votes)


def test_a_teacher_teaches_the_phases_on_its_own_classes(seven, eight, tmp_path):
    plain = Recipe(phases=(Phase(epochs=1),), batch_size=14, augment=MILD)
    teacher = train(Job("custom_cnn", plain, input=TINY), seven, tmp_path / "t", "cpu")
    taught = dataclasses.replace(SMALL_TWO, recipe=dataclasses.replace(SMALL_TWO.recipe, teacher=str(teacher)))
    run = train(taught, seven, tmp_path / "r", "cpu", open_data=lambda name: eight)
    assert checkpoint.read_manifest(run).training["teacher"] == "custom_cnn"
    backwards = dataclasses.replace(taught.recipe, phases=taught.recipe.phases[::-1])
    last = train(
        dataclasses.replace(taught, recipe=backwards), seven, tmp_path / "b", "cpu", open_data=lambda name: eight
    )
    assert checkpoint.read_manifest(last).labels == AFFECTNET8.names
    assert checkpoint.read_manifest(last).training["teacher"] == "custom_cnn", "the phase before was taught"
    only_eight = dataclasses.replace(taught, recipe=dataclasses.replace(taught.recipe, phases=taught.recipe.phases[:1]))
    with pytest.raises(ConfigError, match=r"teacher .* knows"):
        train(only_eight, seven, tmp_path / "s", "cpu", open_data=lambda name: eight)


def test_a_net_of_other_classes_can_be_begun_with(seven, eight, tmp_path):
    recipe = dataclasses.replace(SMALL_TWO.recipe, phases=(Phase(epochs=1, optimizer="sgd", lr=1e-9),), sam_rho=0.0)
    first = train(Job("custom_cnn", recipe, input=TINY, seed=1), eight, tmp_path / "eight", "cpu")
    second = train(
        Job("custom_cnn", dataclasses.replace(recipe, init=str(first)), input=TINY), seven, tmp_path / "seven", "cpu"
    )
    a, b = (checkpoint.load_module(r)[0].state_dict() for r in (first, second))
    matrices = [k for k in a if a[k].ndim > 1 and a[k].shape == b[k].shape]
    assert len(matrices) >= 4 and all(torch.allclose(a[k], b[k], atol=1e-3) for k in matrices)
    assert checkpoint.read_manifest(second).labels == FER7.names
