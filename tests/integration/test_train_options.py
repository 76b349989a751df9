"""Options of scripts/train.py that belong to several models, phases, recipes and a time budget."""

import json

import numpy as np
import pytest

import fer
import fer.models
from fer import checkpoint
from fer.data.ferplus import VOTE_NAMES
from fer.errors import DataError
from fer.models import get_model, list_models
from fer.training.request import Request
from tests.small_checkpoints import script


@pytest.fixture
def main():
    return script("train").main


@pytest.fixture
def few(monkeypatch):
    """The table reduced to the models named, so that "all" is quick."""

    def choose(*names):
        monkeypatch.setattr(fer.models, "MODELS", {k: fer.models.MODELS[k] for k in names})

    return choose


QUICK = ["--data", "synthetic:n=2,seed=1", "--epochs", "1", "--batch-size", "7", "--device", "cpu"]
TINY = ["--set", "input.size_px=32", "--set", "input.resize_px=32"]


def runs(out, model):
    return sorted((out / model).glob("*/"))


@pytest.mark.parametrize("error", [DataError("this one is broken"), MemoryError("this one is broken")], ids=type)
def test_a_failed_model_does_not_stop_the_others_and_is_named_at_the_end(
    main, few, tmp_path, capsys, monkeypatch, error
):
    few("baseline_cnn", "attention_cnn", "custom_cnn")

    def broken(*args, **kw):
        raise error

    monkeypatch.setattr(get_model("attention_cnn"), "build", broken)
    # a request builds every model first; here it must fail while training
    import fer.training.job
    import fer.training.loop
    import fer.training.request

    real, calls = fer.training.job.build, []

    def late(job, n):
        calls.append(job.model)
        return None if calls.count(job.model) == 1 else real(job, n)

    monkeypatch.setattr(fer.training.request, "build", late)
    monkeypatch.setattr(fer.training.loop, "build", late)
    assert main(["--model", "all", *QUICK, "--out", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "1 of 3 models failed:\n  attention_cnn: this one is broken" in err
    assert len(runs(tmp_path, "baseline_cnn")) == len(runs(tmp_path, "custom_cnn")) == 1


def test_of_several_models_what_is_trained_already_is_left_alone(main, few, tmp_path, capsys):
    few("baseline_cnn", "custom_cnn")
    command = ["--model", "all", *QUICK, "--out", str(tmp_path)]
    assert main(command) == 0
    assert main([*command, "--model", "baseline_cnn"]) == 0, "one model asked for by name is trained"
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().err.count("is finished; nothing to train") == 2
    assert [len(runs(tmp_path, m)) for m in ("baseline_cnn", "custom_cnn")] == [2, 1]
    for change in (["--seed", "7"], ["--set", "label_smoothing=0.2"], ["--data", "synthetic:n=3,seed=1"], ["--again"]):
        before = len(runs(tmp_path, "custom_cnn"))
        assert main([*command, *change]) == 0
        assert len(runs(tmp_path, "custom_cnn")) == before + 1, change


@pytest.mark.slow
def test_a_budget_is_kept_and_recorded(main, few, tmp_path, capsys):
    few("baseline_cnn", "custom_cnn")
    command = ["--model", "all", "--data", "synthetic:n=40,seed=1", "--device", "cpu", "--out", str(tmp_path)]
    short = ["--budget", "seconds=10", "--set", "batch_size=16"]
    assert main([*command, *short]) == 0
    err, spent = capsys.readouterr().err, 0.0
    for name in ("baseline_cnn", "custom_cnn"):
        assert f"{name}: " in err and "min allow" in err
        (run,) = runs(tmp_path, name)
        manifest = checkpoint.read_manifest(run)
        recipe, spent = manifest.recipe, spent + manifest.training["seconds"]
        assert recipe.epochs < get_model(name).RECIPE.epochs or recipe.epoch_share < 1
    assert spent < 20, "their own recipes take minutes"
    assert main([*command, *short, "--resume"]) == 0
    assert capsys.readouterr().err.count("is finished; nothing to train") == 2
    assert [len(runs(tmp_path, m)) for m in ("baseline_cnn", "custom_cnn")] == [1, 1]
    assert main([*command, "--budget", "soon"]) == 2
    assert "minutes=N" in capsys.readouterr().err


def test_the_reference_recipe_brings_its_input_and_can_do_without_imagenet(main, tmp_path):
    options = ["--model", "resnet18_transfer", "--recipe", "reference", "--no-pretrained", *QUICK, *TINY]
    assert main([*options, "--out", str(tmp_path)]) == 0
    (run,) = runs(tmp_path, "resnet18_transfer")
    manifest = checkpoint.read_manifest(run)
    assert manifest.recipe.name == "reference" and manifest.input.channels == 3
    assert manifest.model_args == {"stem": "imagenet", "pretrained": False}
    assert manifest.training["pretrained"] is False
    assert [p.optimizer for p in manifest.recipe.phases] == ["adam", "adam"]


def test_weights_that_cannot_be_had_stop_the_run(main, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    options = ["--model", "resnet18_transfer", "--recipe", "reference", *QUICK, *TINY]
    assert main([*options, "--out", str(tmp_path / "runs")]) != 0
    err = capsys.readouterr().err
    assert "--no-pretrained" in err and "Traceback" not in err
    assert not list((tmp_path / "runs").rglob("*.safetensors"))


def test_a_phase_is_left_out_on_request_only_and_the_manifest_says_so(main, tmp_path, capsys, blob_data):
    packed = packed_as("blobs", blob_data, 14, tmp_path)
    command = ["--model", "resnet34_attention", *QUICK, *TINY, "--data", str(packed), "--out", str(tmp_path / "runs")]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "affectnet" in err and "--skip-phase affectnet" in err
    assert main([*command, "--skip-phase", "affectnet"]) == 0
    (run,) = runs(tmp_path / "runs", "resnet34_attention")
    recipe = checkpoint.read_manifest(run).recipe
    assert recipe.skipped == ("affectnet",) and [p.name for p in recipe.phases] == ["fer2013"]
    assert main([*command, "--skip-phase", "afectnet"]) == 2
    assert "did you mean 'affectnet'" in capsys.readouterr().err


def packed_as(name, blob_data, n, place):
    from fer.data import dataset

    place.mkdir(exist_ok=True)
    splits = {k: s.take(np.arange(n)) for k, s in blob_data.splits.items()}
    return dataset.save(dataset.Dataset(name, blob_data.label_set, splits), place / f"{name}.npz")


def test_of_all_models_those_without_their_data_go_without_that_phase(tmp_path, caplog, blob_data, monkeypatch):
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    asked = Request(epochs=1).without_absent("fer2013")
    assert "resnet34_attention goes without its phase affectnet" in caplog.text and "--source affectnet" in caplog.text
    assert asked == Request(epochs=1, skip_phases=("affectnet",))
    assert asked.job("resnet34_attention").recipe.skipped == ("affectnet",)
    alone, drawn, already = Request("resnet34_attention"), Request(), Request(skip_phases=["affectnet"])
    caplog.clear()
    assert alone.without_absent("fer2013") == alone, "it was asked for by name: training says what is not there"
    assert drawn.without_absent("synthetic:n=2@fer7") == drawn, "drawn faces stand in"
    assert tuple(already.without_absent("fer2013").skip_phases) == ("affectnet",)
    packed_as("affectnet", blob_data, 7, tmp_path / "data")
    assert Request().without_absent("fer2013") == Request() and not caplog.text


@pytest.mark.slow
def test_the_one_command_for_every_model_on_a_slice(main, tmp_path, capsys, caplog, blob_data, monkeypatch):
    """Whatever is asked for by name `all`, within a budget; each with its own recipe at its own size."""
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    packed_as("fer2013", blob_data, 70, tmp_path / "data")
    budget = ["--recipe", "best", "--budget", "minutes=1", "--stretch", "4", "--device", "cpu"]
    assert main(["--model", "all", *budget, "--out", str(tmp_path / "runs")]) == 0, capsys.readouterr().err
    assert "resnet34_attention goes without its phase affectnet" in caplog.text
    for name in list_models():
        (run,) = runs(tmp_path / "runs", name)
        manifest = checkpoint.read_manifest(run)
        assert manifest.recipe.name == "best" and manifest.data["name"] == "fer2013", name
        assert manifest.input == get_model(name).SPEC.input, name
        assert fer.load(str(run), backend="torch").predict_proba(blob_data["val"].faces[:2]).shape == (2, 7), name


@pytest.mark.slow
def test_drawn_faces_stand_in_for_affectnet(main, tmp_path):
    assert main(["--model", "resnet34_attention", *QUICK, *TINY, "--out", str(tmp_path)]) == 0
    (run,) = runs(tmp_path, "resnet34_attention")
    manifest = checkpoint.read_manifest(run)
    (other,) = manifest.data["other_phases"]
    assert other["name"] == "synthetic" and other["fingerprint"] != manifest.data["fingerprint"]
    assert len(manifest.labels) == 7


def test_votes_are_looked_up_by_row(main, tmp_path, capsys, blob_data):
    from fer.data import dataset

    n = 14
    splits = {k: s.take(np.arange(n)) for k, s in blob_data.splits.items()}
    splits["val"] = dataset.Split(splits["val"].faces, splits["val"].targets, np.arange(n, 2 * n, dtype=np.int64))
    packed = dataset.save(dataset.Dataset("fer2013", blob_data.label_set, splits), tmp_path / "f.npz")
    command = ["--model", "custom_cnn", *QUICK, *TINY, "--data", str(packed), "--set", "ferplus_weight=0.4"]
    command += ["--out", str(tmp_path / "runs")]
    assert main(command) == 2
    assert "fer2013new.csv" in capsys.readouterr().err
    votes = tmp_path / "fer2013new.csv"
    lines = ["Usage,Image name," + ",".join(VOTE_NAMES)]
    lines += [f"{'Training' if i < n else 'PublicTest'},fer{i:07d}.png,6,4,0,0,0,0,0,0,0,0" for i in range(2 * n)]
    votes.write_text("\n".join(lines) + "\n")
    assert main([*command, "--votes", str(votes)]) == 0
    (run,) = runs(tmp_path / "runs", "custom_cnn")
    assert checkpoint.read_manifest(run).training["extra_annotation"] is True
    blobs = dataset.save(dataset.Dataset("blobs", blob_data.label_set, splits), tmp_path / "b.npz")
    assert main([*command, "--data", str(blobs), "--votes", str(votes)]) == 2
    assert "not to blobs" in capsys.readouterr().err


@pytest.mark.slow
def test_every_model_on_drawn_faces_in_one_command(main, tmp_path, capsys):
    """The small form of `train.py --model all --data synthetic --epochs 1`."""
    assert main(["--model", "all", *QUICK, "--batch-size", "14", "--out", str(tmp_path)]) == 0, capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "logs") == sorted(fer.models.list_models())
    for name in fer.models.list_models():
        (run,) = runs(tmp_path, name)
        row = json.loads((run / "history.jsonl").read_text().splitlines()[0])
        assert np.isfinite(row["val_loss"])


@pytest.mark.slow
def test_the_whole_command_of_the_readme(main, tmp_path):
    command = ["--model", "all", "--data", "synthetic", "--epochs", "1", "--out", str(tmp_path)]
    assert main(command) == 0


def test_a_run_that_ends_on_other_classes_is_calibrated_on_them(main, tmp_path):
    options = ["--model", "resnet34_attention", "--skip-phase", "fer2013", *QUICK, *TINY]
    assert main([*options, "--out", str(tmp_path)]) == 0
    (run,) = runs(tmp_path, "resnet34_attention")
    manifest = checkpoint.read_manifest(run)
    assert len(manifest.labels) == 8 and manifest.recipe.skipped == ("fer2013",)
    import fer
    from fer.data import open_dataset
    from fer.evaluation.calibration import fit_temperature, log_probabilities

    predictor, val = fer.load(run), open_dataset("synthetic:n=2,seed=1,contempt=1")["val"]
    logits = log_probabilities(predictor.predict_proba(val.faces)) * predictor.temperature
    assert fit_temperature(logits, val.labels) == pytest.approx(manifest.temperature, rel=0.05)


def test_of_several_models_one_without_a_reference_recipe_is_named(main, few, tmp_path, capsys):
    few("custom_cnn", "vgg8")
    options = ["--model", "all", "--recipe", "reference", *QUICK, *TINY, "--out", str(tmp_path)]
    assert main(options) == 1
    assert "1 of 2 models failed:\n  vgg8: vgg8 has no reference recipe" in capsys.readouterr().err
    assert len(runs(tmp_path, "custom_cnn")) == 1


def test_a_teacher_that_may_know_the_validation_faces_is_told(main, tmp_path, capsys, monkeypatch):
    asked = []

    def learnt(manifest, data):
        asked.append((manifest.model, data.name))
        return "fer2013" if manifest.model == "vgg8" else ""

    monkeypatch.setattr("fer.ancestry.learnt_val", learnt)
    options = [*QUICK, "--out", str(tmp_path), "--model", "tiny_cnn", "--teacher", "cbam_cnn4,vgg8"]
    assert main(options) == 0
    said = capsys.readouterr().err
    assert "warning: vgg8 learnt from fer2013, which may hold the validation faces of synthetic" in said
    assert "warning: cbam_cnn4" not in said and asked == [("cbam_cnn4", "synthetic"), ("vgg8", "synthetic")]
