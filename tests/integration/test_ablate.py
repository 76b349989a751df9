"""scripts/ablate.py: one lever at a time, going on where it stopped, and never the test split."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

import fer.data
from fer.errors import CheckpointError, ConfigError
from fer.evaluation import ablations
from fer.paths import ROOT
from fer.training.events import StepEnded
from fer.training.levers import LEVERS, PLAIN, job_of, named, relative_cost

SMALL = ["--model", "tiny_cnn", "--data", "synthetic:n=3,seed=1", "--epochs", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("script_ablate", ROOT / "scripts" / "ablate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def main(script):
    return script.main


def test_rows_histories_and_going_on(main, tmp_path, capsys, monkeypatch):
    opened, real = [], fer.data.open_dataset
    monkeypatch.setattr(fer.data, "open_dataset", lambda *a, **kw: opened.append(kw["splits"]) or real(*a, **kw))
    options = [*SMALL, "--results", str(tmp_path)]
    assert main([*options, "--lever", "no_ema,longer", "--seeds", "1,2"]) == 0
    out = capsys.readouterr().out.splitlines()
    # every lever has the first seed before any has the second
    assert [line.partition(":")[0] for line in out[:6]] == [
        f"tiny_cnn {lever}, seed {seed}" for seed in (1, 2) for lever in (PLAIN, "no_ema", "longer")
    ]
    assert "**`tiny_cnn`, 1 epoch**" in out and sum("| 1, 2 |" in line for line in out) == 3
    rows = ablations.read(tmp_path, "synthetic")
    assert {(r["lever"], r["trained"], r["epochs"]) for r in rows} == {
        (PLAIN, 1, 1),
        ("no_ema", 1, 1),
        ("longer", 2, 1),
    }
    for row in rows:
        told = ablations.of_history(ablations.history_file(row, tmp_path, "synthetic").read_text().splitlines())
        assert {k: row[k] for k in told} == told
    assert len({r["job"] for r in rows}) == 6
    # the same again trains nothing, another lever trains itself alone, --again all
    assert main([*options, "--lever", "no_smoothing", "--seeds", "1"]) == 0
    assert next(line for line in capsys.readouterr().out.splitlines() if line.startswith("tiny_cnn")).startswith(
        "tiny_cnn no_smoothing, seed 1"
    )
    assert main([*options, "--lever", "no_ema", "--seeds", "1", "--again"]) == 0
    assert capsys.readouterr().out.count(", seed 1:") == 2
    assert set(opened) == {("train", "val")}


def test_several_views_and_several_nets(main, tmp_path, monkeypatch):
    """Judged otherwise than by the best epoch: by more views of the plain net, or by the nets at the ends of cycles."""
    import fer.training

    jobs, train = [], fer.training.train
    monkeypatch.setattr(fer.training, "train", lambda job, *a, **kw: jobs.append(job) or train(job, *a, **kw))
    options = [*SMALL[:-4], "--epochs", "4", "--device", "cpu", "--results", str(tmp_path), "--seeds", "1"]
    assert main([*options, "--lever", "snapshots,ten_crop,flip_view"]) == 0
    assert [job.recipe.snapshots for job in jobs] == [False, True], "the plain net is trained once"
    rows = {r["lever"]: r for r in ablations.read(tmp_path, "synthetic")}
    ends = {}
    for lever, row in rows.items():
        lines = ablations.history_file(row, tmp_path, "synthetic").read_text().splitlines()
        ends[lever] = {k: v for k, v in json.loads(lines[-1]).items() if k in ("view", "nets", "val_accuracy")}
        assert row["trained"] == 4 and row["val_accuracy"] == round(ends[lever]["val_accuracy"], 6)
        seconds = [json.loads(line)["seconds"] for line in lines]
        assert row["seconds"] == round(4 * min(seconds[:4]) + seconds[4], 1), "what slowed one epoch does not count"
    assert {k: (e.get("view"), e.get("nets")) for k, e in ends.items()} == {
        PLAIN: ("single", 1),
        "flip_view": ("flip", 1),
        "ten_crop": ("tencrop", 1),
        "snapshots": ("single", 2),
    }
    # views that were not asked for at first train the plain net again, and leave its row alone
    main([*options, "--lever", "ten_crop", "--seeds", "2"])
    before = ablations.read(tmp_path, "synthetic")
    assert main([*options, "--lever", "flip_view", "--seeds", "2"]) == 0
    now = ablations.read(tmp_path, "synthetic")
    assert len(now) == len(before) + 1 == 7 and all(r in now for r in before)


def test_no_run_is_begun_that_would_end_too_late(main, tmp_path, capsys):
    options = [*SMALL, "--results", str(tmp_path), "--seeds", "1", "--lever", "no_ema", "--budget", "seconds=0.01"]
    assert main(options) == 1
    assert "2 runs left for want of time" in capsys.readouterr().err
    assert ablations.read(tmp_path, "synthetic") == []


@pytest.fixture
def clocked(script, monkeypatch):
    """Runs that only a clock takes for real: 100 s for one of the plain recipe, 1 s for every view of the faces."""
    now, done = [1000.0], []

    def trained(job, lever, folder, data, args):
        training_s = 0.0 if folder.is_dir() else 50.0 * relative_cost(job.recipe)
        folder.mkdir(exist_ok=True)
        view = LEVERS[lever].view
        scoring_s = float(script.SHOWN[view])
        now[0] += training_s + scoring_s
        done.append(lever)
        row = {"trained": 2, "val_accuracy": 0.5, "best_epoch": 1, "train_accuracy": 0.5, "seconds": 100.0 + scoring_s}
        row |= {"device": "cpu, 9 threads", "teacher": "", "extra_annotation": False, "git_commit": ""}
        return row, [json.dumps({"view": view, "seconds": scoring_s})]

    monkeypatch.setattr(script, "trained", trained)
    monkeypatch.setattr(script, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return done


def test_what_runs_took_before_says_whether_one_may_begin(main, tmp_path, clocked, monkeypatch):
    """In the first place of a command as well; and what is known of the plain recipe says what SAM will take."""
    options = [*SMALL[:4], "--epochs", "2", "--device", "cpu", "--results", str(tmp_path), "--seeds", "1"]
    assert main([*options, "--lever", "plain"]) == 0
    clocked.clear()
    assert main([*options, "--lever", "sam", "--budget", "seconds=150"]) == 1 and clocked == []
    assert main([*options, "--lever", "no_smoothing", "--budget", "seconds=150"]) == 0
    assert main([*options, "--lever", "sam", "--budget", "seconds=210"]) == 0
    assert main([*options, "--lever", "no_ema", "--budget", "seconds=90"]) == 1
    assert clocked == ["no_smoothing", "sam"]
    rows = ablations.read(tmp_path, "synthetic")
    ablations.write([r | {"device": "NVIDIA H200"} for r in rows], tmp_path, "synthetic")
    assert main([*options, "--lever", "no_ema", "--budget", "seconds=90"]) == 0, "unknown on this device"


def test_views_of_a_net_that_is_there_take_their_own_time_alone(main, tmp_path, clocked):
    options = [*SMALL[:4], "--epochs", "2", "--device", "cpu", "--results", str(tmp_path), "--seeds", "1"]
    assert main([*options, "--lever", "flip_view,ten_crop,no_ema", "--budget", "seconds=115"]) == 1
    assert clocked == [PLAIN, "flip_view", "ten_crop"]
    clocked.clear()
    assert main([*options, "--lever", "flip_view", "--seeds", "2", "--budget", "seconds=102"]) == 1
    assert clocked == [PLAIN], "its time is over"


def test_epochs_without_mixing_are_told_apart(script):
    job = job_of("tiny_cnn", "mixup", 1, 5)
    lines = [json.dumps({"phase": job.recipe.phases[0].name, "epoch": n}) for n in range(1, 6)]
    assert script.unmixed(job.recipe, lines) == [5]
    assert script.unmixed(job_of("tiny_cnn", PLAIN, 1, 5).recipe, lines) == []


def test_runs_of_a_lever_with_other_teachers_are_not_averaged(main, tmp_path, capsys, monkeypatch):
    options = [*SMALL, "--results", str(tmp_path), "--lever", "no_ema", "--seeds"]
    assert main([*options, "1"]) == 0
    before = ablations.read(tmp_path, "synthetic")
    monkeypatch.setitem(LEVERS, "no_ema", replace(LEVERS["no_ema"], settings=("ema_decay=0.5",)))
    assert main([*options, "2"]) == 2
    assert "(no_ema, seed 1), which cannot be compared" in capsys.readouterr().err
    assert ablations.read(tmp_path, "synthetic") == before
    assert main([*options, "1,2"]) == 0, "both are trained by the new one"
    rows = ablations.read(tmp_path, "synthetic")
    assert sorted((r["lever"], r["seed"]) for r in rows) == [(n, s) for n in ("no_ema", PLAIN) for s in (1, 2)]
    assert before[0] in rows and before[1] not in rows


def test_runs_on_other_data_are_not_compared(main, tmp_path, capsys):
    options = [*SMALL, "--results", str(tmp_path), "--seeds"]
    assert main([*options, "1,2", "--lever", "plain"]) == 0
    before = ablations.read(tmp_path, "synthetic")
    for changed in (["--data", "synthetic:n=3,seed=2"], ["--data", "synthetic:n=3,seed=2", "--again"]):
        assert main([*options, "2", "--lever", "no_ema", *changed]) == 2
        assert "over 1 epochs by another recipe, with or without --amp, or on other data" in capsys.readouterr().err
    assert ablations.read(tmp_path, "synthetic") == before
    assert main([*options, "3", "--lever", "plain", "--epochs", "2", "--data", "synthetic:n=3,seed=2"]) == 0
    assert len(ablations.read(tmp_path, "synthetic")) == 3, "another length is another table"


def test_runs_in_mixed_precision_are_not_compared_with_others(main, tmp_path, capsys, monkeypatch):
    options = [*SMALL, "--results", str(tmp_path), "--seeds"]
    assert main([*options, "1", "--lever", "plain"]) == 0
    assert main([*options, "1", "--lever", "plain", "--amp"]) == 0, "without effect on the CPU: the same run"
    assert len(ablations.read(tmp_path, "synthetic")) == 1
    monkeypatch.setattr("fer.training.step.half_precision", lambda device, amp: "bfloat16" if amp else None)
    assert main([*options, "2", "--lever", "no_ema", "--amp"]) == 2
    assert "with or without --amp" in capsys.readouterr().err
    assert len(ablations.read(tmp_path, "synthetic")) == 1


def test_rows_of_another_process_are_kept(main, tmp_path, monkeypatch):
    """Written while a run was trained."""
    import fer.training

    train = fer.training.train

    def meanwhile(*args, **options):
        rows = ablations.read(tmp_path, "synthetic")
        ablations.write([*rows, *(r | {"model": "other"} for r in rows)], tmp_path, "synthetic")
        return train(*args, **options)

    monkeypatch.setattr(fer.training, "train", meanwhile)
    assert main([*SMALL, "--results", str(tmp_path), "--seeds", "1", "--lever", "no_ema"]) == 0
    found = {(r["model"], r["lever"]) for r in ablations.read(tmp_path, "synthetic")}
    assert found == {("tiny_cnn", PLAIN), ("other", PLAIN), ("tiny_cnn", "no_ema")}


def test_other_votes_are_another_run(script, tmp_path, blob_data):
    (tmp_path / "folder").mkdir()
    votes, other, gone = tmp_path / "folder" / "fer2013new.csv", tmp_path / "b.csv", tmp_path / "gone.csv"
    votes.write_text("1,2")
    other.write_text("2,1")
    for lever, same in (("votes", False), ("mixup", True)):
        job = job_of("tiny_cnn", lever, 1)
        digests = [script.digest_of(job, blob_data, file) for file in (votes, other, gone)]
        assert len(set(digests)) == (1 if same else 3), lever
        assert script.digest_of(job, blob_data, votes.parent) == digests[0]


def test_what_fails_leaves_nothing_for_others_to_go_on_with(main, tmp_path, monkeypatch):
    """The plain run is cut in its second epoch: nothing may be made from its half-trained net."""
    import fer.training

    options = [*SMALL[:-4], "--epochs", "3", "--device", "cpu", "--results", str(tmp_path), "--seeds", "1"]
    train = fer.training.train

    def failing(job, data, run, *rest, **more):
        def cut(event):
            if isinstance(event, StepEnded) and event.epoch == 2:
                raise RuntimeError("out of memory")

        return train(job, data, run, *rest, listeners=[cut] if not job.recipe.mixup else [], **more)

    monkeypatch.setattr(fer.training, "train", failing)
    assert main([*options, "--lever", "flip_view,mixup"]) == 1
    assert [r["lever"] for r in ablations.read(tmp_path, "synthetic")] == ["mixup"]
    monkeypatch.undo()
    assert main([*options, "--lever", "flip_view,mixup"]) == 0
    assert {(r["lever"], r["trained"]) for r in ablations.read(tmp_path, "synthetic")} == {
        (PLAIN, 3),
        ("flip_view", 3),
        ("mixup", 3),
    }


def test_what_does_not_fit_is_said_and_votes_are_no_must(main, tmp_path, capsys, monkeypatch):
    short = {k: LEVERS[k] for k in (PLAIN, "flip_view", "snapshots", "drop_path", "votes", "no_ema")}
    monkeypatch.setattr("fer.training.levers.LEVERS", short)
    options = [*SMALL, "--results", str(tmp_path), "--seeds", "1,2"]
    assert main([*options]) == 0, "all that can be done is done"
    said = capsys.readouterr().err
    for lever in ("snapshots", "drop_path"):
        assert said.count(f"tiny_cnn {lever}: left out, it changes nothing here") == 1
    assert "votes: left out, there are no FER+ votes" in said
    rows = ablations.read(tmp_path, "synthetic")
    assert {r["lever"] for r in rows} == {PLAIN, "flip_view", "no_ema"} and len(rows) == 6


def test_what_cannot_be_done_does_not_stop_the_others(main, tmp_path, capsys):
    options = [*SMALL, "--results", str(tmp_path), "--seeds", "1", "--lever", "votes,no_ema"]
    assert main(options) == 1
    assert "error: tiny_cnn votes, seed 1:" in capsys.readouterr().err
    assert [r["lever"] for r in ablations.read(tmp_path, "synthetic")] == [PLAIN, "no_ema"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lever", "mixupp"], "did you mean 'mixup'"),
        (["--seeds", "1,x"], "--seeds takes whole numbers"),
        (["--model", "hog_svm"], "not trained in epochs"),
        (["--model", "resnet34_attention"], "trains on affectnet as well"),
        (["--lever", ","], "no lever named"),
    ],
)
def test_wrong_options(main, tmp_path, capsys, options, message):
    assert main([*SMALL, "--results", str(tmp_path), *options]) == 2
    assert message in capsys.readouterr().err


def test_every_lever_changes_what_it_says_and_nothing_else():
    plain = job_of("vit_tiny", PLAIN, 7, 4)
    for name, lever in LEVERS.items():
        job = job_of("vit_tiny", name, 7, 4)
        if name == PLAIN or lever.view != "single":
            assert job == plain
            continue
        if name == "crop40":
            assert job is None, "its input has 40 px anyway"
            continue
        assert job != plain and job.seed == 7
        changed = {k for k in vars(job.recipe) if getattr(job.recipe, k) != getattr(plain.recipe, k)}
        said = {s.partition("=")[0].partition(".")[0] for s in lever.settings} | (
            {"teacher"} if lever.teacher else set()
        )
        assert changed == said | ({"phases"} if lever.longer > 1 or lever.cycles > 1 else set()), name
        assert (job.model_args != plain.model_args) == bool(lever.model_args)
        if "augment" in changed:
            before, after = vars(plain.recipe.augment), vars(job.recipe.augment)
            assert {f"augment.{k}={v:g}" for k, v in after.items() if v != before[k]} == set(lever.settings)
    assert job_of("vit_tiny", "longer", 7, 3).recipe.epochs == 6
    assert job_of("vit_tiny", "snapshots", 7, 6).recipe.phases[0].cycle_ends() == (3, 6)
    assert job_of("vit_tiny", "snapshots", 7, 3) is None, "three epochs are not two cycles alike"
    assert job_of("tiny_cnn", "drop_path", 7) is None, "it has no such argument"
    assert job_of("tiny_cnn", "crop40", 7).spec.size_px == 40
    assert job_of("cbam_cnn4", "crop40", 7) is None, "it takes multiples of 16 px"
    assert job_of("cbam_cnn4", "distilled", 7) is None, "it is the teacher: that is distilled_self"
    assert [job_of(m, "distilled_self", 7).recipe.teacher for m in ("tiny_cnn", "cbam_cnn4")] == [
        "tiny_cnn",
        "cbam_cnn4",
    ]
    with pytest.raises(CheckpointError, match="emotionnet has no checkpoint"):
        job_of("emotionnet", "distilled_self", 7)


def test_the_plain_recipe_always_comes_first():
    assert named("sam, mixup,sam") == [PLAIN, "sam", "mixup"] and named("all") == list(LEVERS)
    assert named("sam,ten_crop") == [PLAIN, "ten_crop", "sam"], "then what needs its weights"
    with pytest.raises(ConfigError):
        named("")
