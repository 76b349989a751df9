"""scripts/train.py from the command line: it resumes, survives interrupts, promotes, and never opens the test split."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fer
from fer import checkpoint
from fer.data import dataset, load
from fer.data.dataset import Dataset, Split
from fer.evaluation import conformal
from fer.history import HISTORY, read_history
from fer.labels import FER7
from fer.models import list_models
from fer.training.events import EpochEnded
from tests.small_checkpoints import script

ROOT = Path(__file__).resolve().parents[2]
TWO_SNAPSHOTS = ["--epochs", "2", "--set", "snapshots=true", "--set", "phases.0.schedule=warm_restarts"]
TWO_SNAPSHOTS += ["--set", "phases.0.restart_epochs=1"]


@pytest.fixture
def packed(blob_data, tmp_path):
    return dataset.save(blob_data, tmp_path / "blobs.npz")


@pytest.mark.parametrize(
    "name, options",
    [
        ("train", ["--model", "baseline_cnn", "--promote", "--force-promote"]),
        ("train", ["--model", "baseline_cnn", "--teacher", "OTHER", "--init", "OTHER", "--budget", "seconds=5"]),
        ("train", ["--model", "hog_svm"]),
        ("ablate", ["--model", "tiny_cnn", "--lever", "flip_view", "--seeds", "1"]),
    ],
    ids=["promoted", "taught", "classical", "ablation"],
)
def test_training_never_opens_the_test_split(blob_data, tmp_path, monkeypatch, untrained, name, options):
    """Which members of the packed file are read, seen from inside NumPy."""
    n = 7
    broken = Split(np.zeros((n, 48, 48), np.uint8), np.eye(7, dtype=np.float32), np.arange(n, dtype=np.int64))
    path = dataset.save(Dataset("blobs", FER7, {**blob_data.splits, "test": broken}), tmp_path / "d.npz")
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    opened = []
    real = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: (opened.append(key), real(self, key))[1])
    command = [str(untrained("baseline_cnn")) if o == "OTHER" else o for o in options]
    command += ["--data", str(path), "--epochs", "1", "--device", "cpu"]
    command += ["--out", str(tmp_path / "runs")] if name == "train" else ["--results", str(tmp_path / "rows")]
    if "hog_svm" in command:
        command = [o for o in command if o not in ("--epochs", "1")]
    assert script(name).main(command) == 0
    assert any(k.startswith("train_") for k in opened) and any(k.startswith("val_") for k in opened)
    assert not [k for k in opened if k.startswith("test_")]
    assert (tmp_path / "checkpoints" / "baseline_cnn").is_dir() == ("--promote" in options)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--model", "vit"], "did you mean 'vit_tiny'"),
        (["--data", "no/such/file.npz"], "no such file"),
        (["--device", "quantum", "--data", "synthetic"], "device must be"),
        (["--set", "augment.flop=1", "--data", "synthetic"], "did you mean 'flip'"),
        (["--epochs", "0", "--data", "synthetic"], "at least 1"),
        (["--teacher", "nobody", "--data", "synthetic", "--epochs", "1"], "unknown model 'nobody'"),
        (["--resume", "/no/such/run", "--data", "synthetic"], "no run here"),
        (["--model", ""], "names no model"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--seed", "9" * 25], "--seed must be at least 0"),
        (["--model", "resnet34_attention", "--model-arg", "kernel_size=4"], "kernel_size must be odd"),
        (["--model", "emotionnet", "--model-arg", "heads=0"], "heads"),
        (["--model-arg", "hidden=-1"], "does not take the arguments"),
        (["--model", "vgg8", "--recipe", "reference"], "vgg8 has no reference recipe"),
        (["--recipe", "refrence"], "did you mean 'reference'"),
        (["--num-workers", "-1"], "--num-workers must be"),
        (["--threads", "0"], "--threads must be"),
        (["--batch-size", "0"], "batch_size must be"),
        (["--model-arg", "foo=1"], "does not take the arguments"),
        (["--model-arg", "dropout=7"], "does not take the arguments"),
        (["--model-arg", "foo"], "key=value"),
        (["--set", "input.size=48"], "did you mean 'size_px'"),
        (["--model", "vit_tiny", "--set", "input.size_px=44"], "multiple"),
        (["--data", "synthetic:n=7", "--set", 'phases.0.freeze=["nose"]'], "unknown part to freeze"),
    ],
)
def test_bad_arguments_end_in_one_line(args, expected, capsys, tmp_path):
    base = [] if "--model" in args else ["--model", "baseline_cnn"]
    assert script("train").main([*base, *args, "--out", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert expected in err and "Traceback" not in err


def test_an_output_place_that_cannot_be_written(packed, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert (
        script("train").main(
            ["--model", "baseline_cnn", "--data", str(packed), "--epochs", "1", "--out", str(tmp_path / "file")]
        )
        == 2
    )
    assert "error:" in capsys.readouterr().err


def test_resume_of_all_goes_on_where_it_was_cut_and_trains_nothing_twice(packed, tmp_path, monkeypatch, capsys):
    import fer.models
    import fer.training

    monkeypatch.setattr(fer.models, "MODELS", {k: fer.models.MODELS[k] for k in ("baseline_cnn", "attention_cnn")})
    main, out = script("train").main, tmp_path / "runs"
    command = ["--data", str(packed), "--epochs", "2", "--batch-size", "70", "--out", str(out), "--device", "cpu"]
    real = fer.training.train

    def interrupted(job, *a, **kw):
        def cut(event):
            if job.model == "attention_cnn" and isinstance(event, EpochEnded):
                raise KeyboardInterrupt

        return real(job, *a[:-1], [*a[-1], cut], **kw)

    monkeypatch.setattr(fer.training, "train", interrupted)
    assert main(command) == 130
    monkeypatch.setattr(fer.training, "train", real)
    before = (out / "baseline_cnn").stat().st_mtime_ns
    assert main([*command, "--resume"]) == 0
    err = capsys.readouterr().err
    assert "is finished; nothing to train" in err
    for name in ("baseline_cnn", "attention_cnn"):
        (run,) = (out / name).iterdir()
        assert [json.loads(line)["epoch"] for line in (run / "history.jsonl").read_text().splitlines()] == [1, 2]
        assert checkpoint.read_manifest(run).temperature != 1.0
    assert (out / "baseline_cnn").stat().st_mtime_ns == before
    assert main([*command, "--model", "baseline_cnn", "--resume", str(next((out / "attention_cnn").iterdir()))]) == 2
    assert "is a run of attention_cnn" in capsys.readouterr().err


def test_what_is_calibrated_with_these_faces_is_not_calibrated_again(packed, blob_data, tmp_path, monkeypatch, capsys):
    import fer.scoring.calibrate

    asked, real = [], fer.scoring.calibrate.calibrate
    monkeypatch.setattr(fer.scoring.calibrate, "calibrate", lambda run, data: asked.append(run) or real(run, data))
    command = ["--model", "baseline_cnn", "--data", str(packed), "--out", str(tmp_path), *TWO_SNAPSHOTS]
    assert script("train").main(command) == 0
    run = Path(capsys.readouterr().out.strip())
    nets = [*sorted((run / "snapshots").iterdir()), run]
    assert asked == nets
    before = [(net / "config.json").read_bytes() for net in nets]
    assert script("train").main([*command, "--resume"]) == 0
    said = capsys.readouterr()
    assert asked == nets and f"temperature {checkpoint.read_manifest(run).temperature:.3f}" in said.err
    assert said.out.strip() == str(run) and [(net / "config.json").read_bytes() for net in nets] == before
    # thresholds that are not there, or of fewer faces, are fitted
    manifest = checkpoint.read_manifest(run)
    for other in ({}, manifest.conformal | {"n": 3}, manifest.conformal | {"thresholds": {}}):
        asked.clear()
        checkpoint.write_manifest(run, replace(manifest, conformal=other))
        assert script("train").main([*command, "--resume"]) == 0
        assert asked == [run] and checkpoint.read_manifest(run).conformal == manifest.conformal


def test_snapshots_are_calibrated_each_for_itself(packed, tmp_path, capsys):
    command = ["--model", "baseline_cnn", "--data", str(packed), "--out", str(tmp_path), *TWO_SNAPSHOTS]
    assert script("train").main(command) == 0, capsys.readouterr().err
    (run,) = (p for p in (tmp_path / "baseline_cnn").iterdir())
    val = load(packed)["val"]
    for folder in (run, *(run / "snapshots").iterdir()):
        fitted = checkpoint.read_manifest(folder).conformal
        assert (fitted["data"], fitted["n"]) == ("blobs", len(val))
        probs = fer.load(folder, backend="torch").predict_proba(val.faces)
        expected = {f"{level:g}": conformal.fit(probs, val.labels, level) for level in (0.8, 0.9, 0.95)}
        assert fitted["thresholds"] == pytest.approx(expected, abs=1e-4)
    found = [checkpoint.read_manifest(s).temperature for s in sorted((run / "snapshots").iterdir())]
    assert len(found) == 2 and 1.0 not in found and found[0] != found[1]
    assert checkpoint.read_manifest(run).temperature in found, "the best epoch is one of them"


@pytest.mark.parametrize(("text", "expected"), [("false", 0), ("False", 0), ("true", 4)])
def test_attention_is_one_argument_away(packed, tmp_path, text, expected):
    main = script("train").main
    assert (
        main(
            [
                "--model",
                "attention_cnn",
                "--data",
                str(packed),
                "--epochs",
                "1",
                "--out",
                str(tmp_path / "r"),
                "--model-arg",
                f"attention={text}",
            ]
        )
        == 0
    )
    (run,) = (tmp_path / "r" / "attention_cnn").iterdir()
    module = checkpoint.load_module(run)[0]
    assert sum(type(m).__name__ == "CBAM" for m in module.modules()) == expected


def test_list_names_every_model(capsys):
    assert script("train").main(["--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in list_models())


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Where promotion puts checkpoints; histories go to tmp_path / "results"."""
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "shelf"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    return tmp_path / "shelf"


def test_promote_puts_checkpoint_and_history_in_place(packed, tmp_path, capsys, shelf):
    main = script("train").main
    options = ["--model", "baseline_cnn", "--data", str(packed), "--epochs", "1", "--out", str(tmp_path / "runs")]
    assert main([*options, "--promote"]) == 0
    assert checkpoint.trained_models() == ["baseline_cnn"]
    kept = tmp_path / "results/blobs/baseline_cnn"
    first = read_history(kept)
    assert len(first) == 1 and fer.load("baseline_cnn").temperature != 1.0
    capsys.readouterr()
    # not scored yet, and it can be gone on with by its name, history and all
    assert main([*options, "--init", "baseline_cnn", "--seed", "7"]) == 0
    longer = Path(capsys.readouterr().out.strip())
    assert [e["epoch"] for e in read_history(longer)] == [1, 2] and read_history(longer)[0] == first[0]
    # a history of other weights, as an older version left it there, is not taken for this one's
    (kept / HISTORY).write_text((longer / HISTORY).read_text())
    assert main([*options, "--init", "baseline_cnn", "--seed", "8"]) == 0
    assert [e["epoch"] for e in read_history(capsys.readouterr().out.strip())] == [2]


def test_a_better_bundled_net_stays_and_the_run_says_so(packed, tmp_path, capsys, shelf):
    main = script("train").main
    options = ["--model", "baseline_cnn", "--data", str(packed), "--epochs", "1", "--out", str(tmp_path / "runs")]
    assert main([*options, "--promote"]) == 0
    better = checkpoint.read_manifest("baseline_cnn")
    better = replace(better, training=better.training | {"val_accuracy": 1.5})
    checkpoint.write_manifest(shelf / "baseline_cnn", better)
    before = (tmp_path / "results/blobs/baseline_cnn" / HISTORY).read_bytes()
    capsys.readouterr()
    assert main([*options, "--promote", "--seed", "7"]) == 3
    assert "was not promoted" in (err := capsys.readouterr().err) and "--force-promote" in err
    assert checkpoint.read_manifest("baseline_cnn") == better
    assert (tmp_path / "results/blobs/baseline_cnn" / HISTORY).read_bytes() == before
    assert main([*options, "--force-promote", "--seed", "7"]) == 0
    assert checkpoint.read_manifest("baseline_cnn").seed == 7


def test_a_finished_run_is_promoted_with_its_own_data_alone(packed, blob_data, tmp_path, capsys, shelf):
    main = script("train").main
    options = ["--model", "baseline_cnn", "--epochs", "1", "--out", str(tmp_path / "runs")]
    assert main([*options, "--data", str(packed)]) == 0
    run = capsys.readouterr().out.strip()
    before = (Path(run) / "config.json").read_bytes()
    again, val = [*options, "--resume", run, "--promote"], blob_data["val"]
    for rows in (np.arange(len(val) - 1), np.arange(len(val))[::-1]):  # fewer, or as many in another order
        dataset.save(
            Dataset("blobs", FER7, {"train": blob_data["train"], "val": val.take(rows)}), tmp_path / "other.npz"
        )
        assert main([*again, "--data", str(tmp_path / "other.npz")]) == 2
        assert "not on blobs" in capsys.readouterr().err
    assert (Path(run) / "config.json").read_bytes() == before and not shelf.exists()
    # other options have nothing left to change, and are named
    assert main([*again, "--data", str(packed), "--lr", "0.5"]) == 0
    assert "recipe.phases" in capsys.readouterr().err and checkpoint.trained_models() == ["baseline_cnn"]


def test_a_net_without_attention_leaves_its_history_to_its_own_row(packed, tmp_path, capsys, shelf):
    options = ["--model", "attention_cnn", "--data", str(packed), "--epochs", "1", "--out", str(tmp_path / "runs")]
    assert script("train").main([*options, "--model-arg", "attention=false", "--force-promote"]) == 0
    assert [p.name for p in (tmp_path / "results/blobs").iterdir()] == ["attention_cnn@no_attention"]


def test_promote_measures_int8_on_the_validation_split(packed, blob_data, tmp_path, monkeypatch, capsys, shelf):
    """A model whose SPEC asks for int8; the run keeps half precision."""
    from fer.models import get_model

    entry = get_model("baseline_cnn")
    monkeypatch.setattr(entry, "SPEC", replace(entry.SPEC, bundle_dtype="int8"))
    monkeypatch.setattr("fer.packing.MAX_LOSS", 1.0)  # one epoch on blobs is near chance: a face more or less
    options = ["--model", "baseline_cnn", "--data", str(packed), "--epochs", "1", "--out", str(tmp_path / "runs")]
    assert script("train").main([*options, "--promote"]) == 0
    said, (run,) = capsys.readouterr(), (tmp_path / "runs/baseline_cnn").iterdir()
    was, now = checkpoint.read_manifest(run), checkpoint.read_manifest("baseline_cnn")
    assert (was.weights["dtype"], now.weights["dtype"]) == ("float16", "int8")
    cost, val = now.weights["accuracy"], blob_data["val"]
    assert (cost["split"], cost["n"]) == ("val", len(val))
    for kind, place in (("float16", run), ("int8", "baseline_cnn")):
        right = (fer.load(place, backend="torch").predict_proba(val.faces).argmax(1) == val.labels).mean()
        assert cost[kind] == pytest.approx(right)
        assert f"{kind} {100 * right:.2f}" in said.err


def test_an_ablation_is_not_trained_to_be_promoted(tmp_path, capsys):
    """It is found out before data are read and hours are spent."""
    options = ["--model", "attention_cnn", "--data", "no/such/file.npz", "--model-arg", "attention=false", "--promote"]
    main = script("train").main
    assert main([*options, "--out", str(tmp_path / "runs")]) == 2
    err = capsys.readouterr().err
    assert "attention_cnn with attention=False is another net" in err and "--force-promote" in err
    assert not (tmp_path / "runs").exists()
    for allowed in (["--force-promote"], ["--model-arg", "attention=true"], ["--model-arg", "dropout=0.1"]):
        left = options[:4] if allowed[0] == "--model-arg" else options
        assert main([*left, *allowed, "--promote", "--out", str(tmp_path / "runs")]) == 2
        assert "no such file" in capsys.readouterr().err, allowed


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.slow
def test_a_run_is_left_alone_while_it_trains_and_resumes_after_a_kill(packed, tmp_path, capsys):
    """kill -9 from outside, then --resume through the command line: three epochs, none twice."""
    out = tmp_path / "runs"
    command = [
        sys.executable,
        str(ROOT / "scripts/train.py"),
        "--model",
        "attention_cnn",
        "--data",
        str(packed),
        "--epochs",
        "3",
        "--batch-size",
        "8",
        "--out",
        str(out),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not list(out.glob("*/*/state.pt")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGSTOP)  # it stands still, and is not dead
    (run,) = out.glob("attention_cnn/*")
    for resume in (["--resume"], ["--resume", str(run)]):
        assert script("train").main([*command[2:], *resume]) == 2
        err = capsys.readouterr().err
        assert f"{run} is being trained by another process" in err and "Traceback" not in err
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = len((run / "history.jsonl").read_text().splitlines())
    assert before >= 1
    assert script("train").main([*command[2:], "--resume"]) == 0
    history = [json.loads(line)["epoch"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert history == [1, 2, 3]
    assert list(out.glob("attention_cnn/*")) == [run]
    assert fer.load(run).name == "attention_cnn"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_says_how_to_go_on(packed, tmp_path):
    out = tmp_path / "runs"
    process = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "scripts/train.py"),
            "--model",
            "attention_cnn",
            "--data",
            str(packed),
            "--epochs",
            "50",
            "--out",
            str(out),
            "--threads",
            "1",
        ],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )
    deadline = time.time() + 120
    while not list(out.glob("*/*/state.pt")) and time.time() < deadline and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "--resume" in err and "Traceback" not in err
