"""scripts/train.py --budget: what each model is measured to take decides, once; and what has begun goes on."""

import json
import sys

import pytest

import fer.models
import fer.training
from fer import checkpoint
from fer.training import timing
from fer.training.budget import Cost
from fer.training.events import EpochEnded
from tests.small_checkpoints import script

QUICK = ["--data", "synthetic:n=2,seed=1", "--batch-size", "7", "--device", "cpu"]
MODELS = ("baseline_cnn", "custom_cnn", "tiny_cnn")


@pytest.fixture
def main():
    return script("train").main


@pytest.fixture
def pace(monkeypatch):
    """Seconds of an epoch by model, as if measured; the names of those that were."""
    seconds, asked = {}, []

    def measured(job, *_):
        asked.append(job.model)
        whole = job.recipe.epochs * seconds[job.model]
        return Cost((seconds[job.model],), (0.0,), 0.0, 0.0, job.stretch * whole)

    monkeypatch.setattr(fer.models, "MODELS", {k: fer.models.MODELS[k] for k in MODELS})
    monkeypatch.setattr(timing, "measured", measured)
    seconds["asked"] = asked
    return seconds


def trained(out, model):
    """Epochs of every run of a model."""
    return [checkpoint.read_manifest(run).recipe.epochs for run in sorted((out / model).iterdir())]


def test_a_dear_model_gets_what_a_cheap_one_after_it_leaves_over(main, pace, tmp_path, capsys):
    pace.update(baseline_cnn=1000.0, custom_cnn=3000.0, tiny_cnn=10.0)
    command = ["--model", "all", *QUICK, "--epochs", "3", "--out", str(tmp_path)]
    # equal shares of 4,000 s would be 1,333; the one in the middle can have all that the others do not need
    assert main([*command, "--budget", "seconds=12500"]) == 0, capsys.readouterr().err
    assert [trained(tmp_path, m) for m in MODELS] == [[3], [3], [3]]
    assert main([*command, "--budget", "seconds=8000", "--again"]) == 0
    assert [trained(tmp_path, m) for m in MODELS] == [[3, 3], [3, 2], [3, 3]]
    assert pace["asked"] == [*MODELS, *MODELS], "all are measured before the first is trained"


def test_the_same_command_again_leaves_alone_what_is_done_and_measures_the_rest(main, pace, tmp_path, monkeypatch):
    """Whatever is measured then: the schedule of a run that was cut stands."""
    pace.update(baseline_cnn=10.0, custom_cnn=10.0, tiny_cnn=10.0)
    command = ["--model", "all", *QUICK, "--epochs", "2", "--out", str(tmp_path)]
    command += ["--budget", "seconds=1000", "--stretch", "2"]
    real = fer.training.train

    def interrupted(job, *a, **kw):
        def cut(event):
            if job.model == "custom_cnn" and isinstance(event, EpochEnded) and event.epoch == 2:
                raise KeyboardInterrupt

        return real(job, *a[:-1], [*a[-1], cut], **kw)

    monkeypatch.setattr(fer.training, "train", interrupted)
    assert main(command) == 130
    monkeypatch.setattr(fer.training, "train", real)
    assert trained(tmp_path, "baseline_cnn") == [4]
    (run,) = (tmp_path / "baseline_cnn").iterdir()
    said = json.loads((run / "run.json").read_text())
    assert said["asked_recipe"]["phases"][0]["epochs"] == 2 and said["recipe"]["phases"][0]["epochs"] == 4
    assert said["budget_s"] == pytest.approx(1000 / 3) and said["stretch"] == 2.0
    pace.update(baseline_cnn=1e6, custom_cnn=1e6, tiny_cnn=10.0)  # the machine is busy now
    pace["asked"].clear()
    assert main([*command, "--resume"]) == 0
    assert pace["asked"] == ["custom_cnn", "tiny_cnn"]
    assert [trained(tmp_path, m) for m in MODELS[:2]] == [[4], [4]]
    (run,) = (tmp_path / "custom_cnn").iterdir()
    rows = [json.loads(line)["epoch"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert rows == [1, 2, 3, 4] and json.loads((run / "run.json").read_text())["stretch"] == 2.0
    # without --stretch it is another request
    pace.update(baseline_cnn=10.0, custom_cnn=10.0)
    assert main([*command[:-2], "--model", "baseline_cnn,custom_cnn"]) == 0
    assert [trained(tmp_path, m) for m in MODELS[:2]] == [[4, 2], [4, 2]]


def test_what_goes_on_takes_its_time_off_that_of_the_others(main, pace, tmp_path, monkeypatch, capsys):
    """1,000 s of 4,000 are left to a run that was cut: so much less there is for the other one."""
    pace.update(baseline_cnn=1000.0, custom_cnn=1000.0)
    command = ["--model", "baseline_cnn", *QUICK, "--epochs", "2", "--stretch", "2", "--out", str(tmp_path)]
    real = fer.training.train

    def interrupted(*a, **kw):
        def cut(event):
            if isinstance(event, EpochEnded) and event.epoch == 3:
                raise KeyboardInterrupt

        return real(*a[:-1], [*a[-1], cut], **kw)

    monkeypatch.setattr(fer.training, "train", interrupted)
    assert main([*command, "--budget", "hours=9"]) == 130
    monkeypatch.setattr(fer.training, "train", real)
    command += ["--model", "custom_cnn,baseline_cnn", "--budget", "seconds=3200", "--resume"]
    assert main(command) == 0
    # 3,200 s but for the reserve and the one epoch that the history of the other one lacks
    assert trained(tmp_path, "custom_cnn") == [2] and trained(tmp_path, "baseline_cnn") == [4]
    assert "goes on to the end of its 4 epochs" in capsys.readouterr().err


def test_a_model_that_cannot_be_measured_does_not_stop_the_others(main, tmp_path, capsys, monkeypatch):
    """Here one whose packages are not installed: it is found out before anything is fitted or trained."""
    names = ("hog_svm", "custom_cnn")
    monkeypatch.setattr(fer.models, "MODELS", {k: fer.models.MODELS[k] for k in names})
    monkeypatch.setattr("fer.models.hog_svm.HogSvm.fit", lambda *a: pytest.fail("nothing may be fitted"))
    for gone in ("skops", "skops.io"):
        monkeypatch.setitem(sys.modules, gone, None)
    command = ["--model", "all", *QUICK, "--out", str(tmp_path)]
    for more in (["--budget", "seconds=5"], ["--epochs", "1"]):
        assert main([*command, *more]) == 1
        err = capsys.readouterr().err
        assert "1 of 2 models failed:\n  hog_svm: hog_svm needs the package skops" in err
        assert "python -m pip install skops" in err and "Traceback" not in err
    assert len(trained(tmp_path, "custom_cnn")) == 2 and not list((tmp_path / "hog_svm").glob("*/run.json"))


@pytest.mark.parametrize(
    "options", [["--stretch", "2"], ["--stretch", "0.5", "--budget", "seconds=9"], ["--stretch", "nan"]]
)
def test_a_factor_goes_with_a_budget_and_makes_nothing_shorter(main, tmp_path, capsys, options):
    assert main(["--model", "baseline_cnn", *QUICK, "--out", str(tmp_path), *options]) == 2
    assert "--stretch takes a factor of at least 1 and goes with --budget" in capsys.readouterr().err
