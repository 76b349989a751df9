"""Training as a whole: it learns, resumes exactly, and says what is wrong."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import fer
from fer import checkpoint
from fer.ancestry import ancestors
from fer.data import open_dataset
from fer.data.dataset import Dataset
from fer.errors import CheckpointError, ConfigError, DataError
from fer.labels import FER7
from fer.model_card import write_card
from fer.models import get_model
from fer.specs import Augment, Phase, Recipe
from fer.training import Job, train
from fer.training.earlier import Teachers
from fer.training.events import EpochEnded, RunEnded, RunStarted, StepEnded
from fer.training.job import differences

QUICK = Recipe(
    phases=(Phase(epochs=4, optimizer="adamw", lr=3e-3, schedule="one_cycle"),),
    batch_size=20,
    ema_decay=0.9,
    augment=Augment(flip=0, rotate_deg=3, shift=0.02, erase=0.2),
)
SMALL = {"widths": (4, 8, 8), "hidden": 8, "dropout": 0.3}


def weights(run):
    return checkpoint.load_module(run)[0].state_dict()


def job(recipe=QUICK, **kw):
    return Job("baseline_cnn", recipe, model_args=dict(SMALL), **kw)


def test_it_learns_and_writes_everything(blob_data, tmp_path):
    events = []
    recipe = dataclasses.replace(QUICK, phases=(dataclasses.replace(QUICK.phases[0], epochs=12),), batch_size=10)
    args = {"widths": (16, 32, 32), "hidden": 32, "dropout": 0.0}
    run = train(
        Job("baseline_cnn", recipe, model_args=args), blob_data, tmp_path / "r", "cpu", listeners=[events.append]
    )
    assert sorted(p.name for p in run.iterdir()) == ["config.json", "history.jsonl", "model.safetensors", "run.json"]
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == list(range(1, 13))
    assert set(history[0]) == {
        "phase",
        "epoch",
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_accuracy",
        "lr",
        "images_per_second",
        "seconds",
    }
    best = max(history, key=lambda r: r["val_accuracy"])
    assert best["val_accuracy"] > 0.9, "seven bright spots are easy"
    manifest = checkpoint.read_manifest(run)
    assert manifest.training["val_accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert manifest.data == {"name": "blobs", "fingerprint": blob_data.fingerprint, "n_train": 140, "n_val": 70}
    assert manifest.recipe == recipe and manifest.training["teacher"] == ""
    p = fer.load(run).predict_proba(blob_data["val"].faces)
    assert (p.argmax(1) == blob_data["val"].labels).mean() == pytest.approx(best["val_accuracy"], abs=0.03)
    kinds = [type(e) for e in events]
    assert kinds[0] is RunStarted and kinds[-1] is RunEnded and kinds.count(EpochEnded) == 12 and StepEnded in kinds


def learnt(run):
    """History without the figures that a clock decides."""
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in rows]


class Stop(Exception):
    pass


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"phases": (Phase(epochs=4, optimizer="sgd", lr=0.05, schedule="plateau", patience=1),), "ema_decay": 0.0},
        {
            "phases": (
                Phase(name="a", epochs=2, lr=1e-3, freeze=("features",)),
                Phase(name="b", epochs=2, lr=1e-3, schedule="cosine"),
            )
        },
    ],
    ids=["one_cycle-ema", "sgd-plateau", "two-phases"],
)
@pytest.mark.parametrize("stop_at", [1, 2, 3])
def test_resume_equals_an_uninterrupted_run(blob_data, tmp_path, monkeypatch, change, stop_at):
    monkeypatch.setattr("fer.training.state.EVERY_S", 0.0)
    recipe = dataclasses.replace(QUICK, **change)
    whole = train(job(recipe), blob_data, tmp_path / "whole", "cpu")

    def cut(event):  # after all steps of the next epoch, before it is kept
        if isinstance(event, StepEnded) and event.epoch == stop_at + 1:
            raise Stop

    with pytest.raises(Stop):
        train(job(recipe), blob_data, tmp_path / "cut", "cpu", listeners=[cut])
    resumed = []
    run = train(job(recipe), blob_data, tmp_path / "cut", "cpu", resume=True, listeners=[resumed.append])
    assert resumed[0].first_epoch == stop_at + 1
    a, b = weights(whole), weights(run)
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert learnt(whole) == learnt(run)


def test_what_trained_the_epochs_before_an_interrupt_is_told(blob_data, tmp_path, monkeypatch):
    monkeypatch.setattr("fer.training.state.EVERY_S", 0.0)

    def cut(event):
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train(job(), blob_data, tmp_path / "r", "cpu", listeners=[cut])
    file = tmp_path / "r" / "state.pt"
    state = torch.load(file, weights_only=True)
    assert state["device"].startswith("cpu") and state["precision"] == "float32"
    torch.save(state | {"device": "cuda (a card)", "precision": "bfloat16"}, file)
    told = checkpoint.read_manifest(train(job(), blob_data, tmp_path / "r", "cpu", resume=True)).training
    assert told["device"].startswith("cuda (a card), then cpu") and told["precision"] == "bfloat16, then float32"


def test_resume_of_other_options_or_a_finished_run_is_refused(blob_data, tmp_path):
    def cut(event):
        if isinstance(event, EpochEnded) and event.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train(job(), blob_data, tmp_path / "r", "cpu", listeners=[cut])
    with pytest.raises(ConfigError, match=r"other options \(seed\)"):
        train(job(seed=1), blob_data, tmp_path / "r", "cpu", resume=True)
    train(job(), blob_data, tmp_path / "r", "cpu", resume=True)
    with pytest.raises(CheckpointError, match="finished"):
        train(job(), blob_data, tmp_path / "r", "cpu", resume=True)


def test_a_fresh_run_in_a_used_folder_does_not_go_on_with_what_lay_there(blob_data, tmp_path):
    def cut_after(epoch):
        def cut(event):
            if isinstance(event, StepEnded) and event.epoch == epoch:
                raise Stop

        return [cut]

    (tmp_path / "r" / "snapshots" / "epoch-009").mkdir(parents=True)
    for seed, stop_at in ((1, 3), (2, 1)):
        with pytest.raises(Stop):
            train(job(seed=seed), blob_data, tmp_path / "r", "cpu", listeners=cut_after(stop_at))
    resumed = []
    run = train(job(seed=2), blob_data, tmp_path / "r", "cpu", resume=True, listeners=[resumed.append])
    whole = train(job(seed=2), blob_data, tmp_path / "whole", "cpu")
    assert resumed[0].first_epoch == 1 and learnt(run) == learnt(whole)
    assert not (run / "snapshots").exists()


def test_a_damaged_resume_state_is_an_error(blob_data, tmp_path):
    def cut(event):
        if isinstance(event, StepEnded) and event.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train(job(), blob_data, tmp_path, "cpu", listeners=[cut])
    (tmp_path / "state.pt").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="damaged resume state"):
        train(job(), blob_data, tmp_path, "cpu", resume=True)


def test_early_stopping_and_frozen_parts(blob_data, tmp_path):
    phase = Phase(epochs=60, lr=1e-2, schedule="constant", early_stopping=2, freeze=("features",))
    recipe = dataclasses.replace(QUICK, phases=(phase,), ema_decay=0.0)
    torch.manual_seed(42)
    start = get_model("baseline_cnn").build(7, **SMALL).state_dict()
    events = []
    run = train(job(recipe), blob_data, tmp_path / "r", "cpu", listeners=[events.append])
    assert events[-1].stopped_early and sum(isinstance(e, EpochEnded) for e in events) < 60
    end = weights(run)
    for key in ("features.0.0.0.weight", "features.2.0.1.running_mean"):
        assert torch.equal(end[key], start[key].half().float() if start[key].ndim > 1 else start[key])
    assert not torch.allclose(end["classifier.2.weight"], start["classifier.2.weight"], atol=1e-2)


def test_seeds_give_different_nets_and_the_same_seed_the_same(blob_data, tmp_path):
    one = dataclasses.replace(QUICK, phases=(dataclasses.replace(QUICK.phases[0], epochs=1),))
    a, b, c = (
        weights(train(job(one, seed=s), blob_data, tmp_path / n, "cpu")) for n, s in [("a", 1), ("b", 1), ("c", 2)]
    )
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert not torch.equal(a["classifier.2.weight"], c["classifier.2.weight"])


def test_distillation_follows_the_teacher_and_is_marked(blob_data, tmp_path, untrained):
    teacher = untrained("attention_cnn")  # 44 px; the student takes 48
    recipe = dataclasses.replace(QUICK, teacher=str(teacher), distill_weight=1.0, ema_decay=0.0)
    run = train(job(recipe), blob_data, tmp_path / "r", "cpu")
    plain = train(job(dataclasses.replace(recipe, teacher="")), blob_data, tmp_path / "p", "cpu")
    assert checkpoint.read_manifest(run).training["teacher"] == "attention_cnn"
    faces = blob_data["val"].faces
    want = fer.load(teacher).predict_proba(faces)
    gap = lambda r: np.abs(fer.load(r).predict_proba(faces) - want).mean()  # noqa: E731
    assert gap(run) < gap(plain) / 2


def test_several_teachers_teach_their_mean_and_are_all_recorded(blob_data, tmp_path, untrained):
    opposed = []
    for name, answer in [("attention_cnn", 0), ("baseline_cnn", 3)]:
        module, manifest = checkpoint.load_module(untrained(name))
        [p for p in module.parameters() if p.shape == (7,)][-1].data[answer] += 9.0  # each is sure of another class
        opposed.append(str(checkpoint.save(tmp_path / name, module.state_dict(), manifest)))
    student, cpu, x = get_model("baseline_cnn").SPEC.input, torch.device("cpu"), torch.randn(3, 1, 48, 48)
    each = [Teachers([name], student, FER7.names, cpu)(x).softmax(dim=1) for name in opposed]
    both = Teachers(opposed, student, FER7.names, cpu)(x).softmax(dim=1)
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)
    assert (both[:, [0, 3]] > 0.4).all() and (each[0][:, 0] > 0.8).all(), "of logits the mean would be another"
    one = (dataclasses.replace(QUICK.phases[0], epochs=1),)
    recipe = dataclasses.replace(QUICK, phases=one, teacher=", ".join(opposed), ema_decay=0.0)
    run = train(job(recipe), blob_data, tmp_path / "r", "cpu")
    made = checkpoint.read_manifest(run)
    assert made.training["teacher"] == "attention_cnn, baseline_cnn"
    shas = [checkpoint.read_manifest(t).weights["sha256"] for t in opposed]
    assert [(a.role, a.model, a.sha256, a.direct) for a in ancestors(made)] == [
        ("teacher", m, s, True) for m, s in zip(["attention_cnn", "baseline_cnn"], shas, strict=True)
    ]
    card = write_card(made, "somebody/net")
    assert "distilled from `attention_cnn` (trained on " in card and ") and `baseline_cnn` (trained on " in card
    assert differences(run, job(recipe).describe(blob_data)) == []
    checkpoint.write_manifest(Path(opposed[1]), dataclasses.replace(manifest, weights={"sha256": "0" * 64}))
    assert differences(run, job(recipe).describe(blob_data)) == ["teacher_sha256"], "the second counts too"
    other = dataclasses.replace(QUICK, teacher=f"{opposed[0]},nowhere/at/all")
    with pytest.raises(CheckpointError, match="nowhere"):
        train(job(other), blob_data, tmp_path / "x", "cpu")


def test_teachers_that_cannot_teach_together_are_found_before_the_first_epoch(tmp_path, untrained):
    seven, eight = (
        open_dataset(f"synthetic:n=2,seed=1{more}", splits=("train", "val")) for more in ("", ",contempt=1")
    )
    module, manifest = get_model("baseline_cnn").build(8), checkpoint.read_manifest(untrained("baseline_cnn"))
    manifest = dataclasses.replace(manifest, labels=eight.label_set.names, label_set=eight.label_set.name)
    other = checkpoint.save(tmp_path / "other", module.state_dict(), manifest)
    colour = dataclasses.replace(get_model("baseline_cnn").SPEC.input, channels=3)
    phases = tuple(Phase(name=n, epochs=1, data=n) for n in ("other", ""))
    for names, spec, message in (
        ((untrained("baseline_cnn"), other), None, "must know the same classes"),
        ((untrained("baseline_cnn"),), colour, "takes 1 channel"),  # it would teach in the second phase
    ):
        asked = Job("baseline_cnn", Recipe(phases=phases, teacher=",".join(map(str, names))), input=spec)
        with pytest.raises(ConfigError, match=message):
            train(asked, seven, tmp_path / "r", "cpu", open_data=lambda name: eight)
        assert not (tmp_path / "r" / "history.jsonl").exists()


def test_more_epochs_for_a_finished_run(blob_data, tmp_path, untrained):
    first = train(job(), blob_data, tmp_path / "first", "cpu")
    manifest = checkpoint.read_manifest(first)
    descent = {"teacher": "vit_tiny", "pretrained": True}
    checkpoint.write_manifest(first, dataclasses.replace(manifest, training=manifest.training | descent))
    tiny = (Phase(epochs=2, optimizer="sgd", lr=1e-9, schedule="constant"),)
    run = train(
        job(dataclasses.replace(QUICK, phases=tiny, init=str(first), ema_decay=0.0)),
        blob_data,
        tmp_path / "more",
        "cpu",
    )
    a, b = weights(first), weights(run)
    assert all(torch.allclose(a[k], b[k], atol=1e-4) for k in a if "running" not in k and "num_batches" not in k)
    history = [json.loads(line)["epoch"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert history == [1, 2, 3, 4, 5, 6]
    before, after = checkpoint.read_manifest(first).training, checkpoint.read_manifest(run).training
    assert after["epochs"] == 6 and after["seconds"] > before["seconds"] and after["best_epoch"] > 4
    assert checkpoint.read_manifest(run).recipe.init == str(first)
    assert {k: after[k] for k in descent} == descent, "where the weights come from is not forgotten"
    with pytest.raises(ConfigError, match="cannot begin there"):
        train(job(dataclasses.replace(QUICK, init=str(untrained("attention_cnn")))), blob_data, tmp_path / "x", "cpu")
    with pytest.raises(ConfigError, match="do not fit these model arguments"):
        train(job(dataclasses.replace(QUICK, init=str(untrained("baseline_cnn")))), blob_data, tmp_path / "y", "cpu")


@pytest.mark.parametrize("scored", ["these weights", "others"])
def test_the_history_of_a_bundled_checkpoint_lies_in_the_results(blob_data, tmp_path, monkeypatch, scored):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    first = train(job(), blob_data, tmp_path / "first", "cpu")
    results = tmp_path / "results" / "blobs" / "baseline_cnn"
    results.mkdir(parents=True)
    (first / "history.jsonl").rename(results / "history.jsonl")
    if scored == "others":  # as long, and as right in an epoch that was not the best of this run
        rows = [json.loads(line) for line in (results / "history.jsonl").read_text().splitlines()]
        best = checkpoint.read_manifest(first).training["best_epoch"] - 1
        other = (best + 1) % len(rows)
        rows[other]["val_accuracy"], rows[best]["val_accuracy"] = rows[best]["val_accuracy"], 0.0
        (results / "history.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    one = (dataclasses.replace(QUICK.phases[0], epochs=1),)
    run = train(job(dataclasses.replace(QUICK, phases=one, init=str(first))), blob_data, tmp_path / "more", "cpu")
    history = [json.loads(line)["epoch"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert history == ([1, 2, 3, 4, 5] if scored == "these weights" else [5])


def test_an_empty_split_and_a_diverging_loss_are_clear_errors(blob_data, tmp_path):
    empty = blob_data["val"].take(np.array([], dtype=int))
    with pytest.raises(DataError, match="train and val"):
        train(job(), Dataset("x", FER7, {"train": blob_data["train"], "val": empty}), tmp_path / "e", "cpu")
    wild = dataclasses.replace(
        QUICK, phases=(Phase(epochs=3, optimizer="sgd", lr=1e12, schedule="constant"),), ema_decay=0.0
    )
    with pytest.raises(ConfigError, match="loss is"):
        train(job(wild), blob_data, tmp_path / "w", "cpu")


def test_a_net_that_becomes_nan_is_no_result(blob_data, tmp_path, monkeypatch):
    """The loss of the last steps may still be finite when the weights are not any more."""
    import fer.training.loop

    def gone(module, split, *rest):
        return torch.full((len(split), 7), float("nan"))

    monkeypatch.setattr(fer.training.loop, "evaluate", gone)
    with pytest.raises(ConfigError, match="validation loss is nan"):
        train(job(), blob_data, tmp_path / "r", "cpu")
    assert not (tmp_path / "r" / "model.safetensors").exists()


def test_epochs_count_on_after_a_phase_that_stopped_early(blob_data, tmp_path):
    still = Phase(name="a", epochs=9, lr=1e-12, schedule="constant", early_stopping=2)
    moving = Phase(name="b", epochs=2, lr=1e-3, schedule="constant")
    recipe = dataclasses.replace(QUICK, phases=(still, moving), ema_decay=0.0)
    run = train(job(recipe), blob_data, tmp_path / "r", "cpu")
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    done = sum(r["phase"] == "a" for r in rows)
    assert done < 9 and [r["epoch"] for r in rows] == list(range(1, done + 3))
    training = checkpoint.read_manifest(run).training
    assert training["epochs"] == done + 2 and training["best_epoch"] <= done + 2

    def cut(event):
        if isinstance(event, StepEnded) and event.epoch == done + 2:
            raise Stop

    with pytest.raises(Stop):
        train(job(recipe), blob_data, tmp_path / "cut", "cpu", listeners=[cut])
    again = train(job(recipe), blob_data, tmp_path / "cut", "cpu", resume=True)
    assert learnt(again) == learnt(run)


def test_more_epochs_draw_new_views(blob_data, tmp_path, monkeypatch):
    from fer.training.stream import AugmentedStream

    asked, real = [], AugmentedStream.epoch
    monkeypatch.setattr(AugmentedStream, "epoch", lambda self, n, *a: (asked.append(n), real(self, n, *a))[1])
    first = train(job(), blob_data, tmp_path / "first", "cpu")
    train(job(dataclasses.replace(QUICK, init=str(first))), blob_data, tmp_path / "more", "cpu")
    assert asked == [1, 2, 3, 4, 5, 6, 7, 8]
