"""One contract for every model of the table: train, resume, save, load, evaluate, explain through the same calls."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import fer
from fer import checkpoint
from fer.data import dataset
from fer.data.dataset import Dataset
from fer.errors import CheckpointError
from fer.explain import methods_for
from fer.labels import FER7
from fer.models import MODELS, get_model, get_preset, list_models
from fer.settings import override
from fer.training import Job, train
from fer.training.events import EpochEnded, RunEnded, RunStarted, StepEnded

ROOT = Path(__file__).resolve().parents[2]


def script(name):
    spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(blob_data):
    pick = {"train": (blob_data["train"], 28), "val": (blob_data["val"], 14), "test": (blob_data["val"], 21)}
    return Dataset("blobs", FER7, {k: s.take(np.arange(n)) for k, (s, n) in pick.items()})


@pytest.fixture(scope="module")
def cache():
    return {}


class Stop(Exception):
    pass


def short_job(name):
    """The model's own recipe without the phase that needs other data, one or two epochs per phase."""
    recipe = get_preset(name).recipe
    phases = [p for p in recipe.phases if not p.data]
    phases = [dataclasses.replace(p, epochs=2 if len(phases) == 1 else 1, warmup_epochs=0.0) for p in phases]
    return Job(name, dataclasses.replace(recipe, phases=tuple(phases), batch_size=14))


@pytest.fixture
def trained(request, data, cache, tmp_path_factory):
    """(run folder, events) of a model that was cut after its first epoch and resumed."""
    name = request.param
    if name not in cache:
        run, events, job = tmp_path_factory.mktemp("every") / name, [], short_job(name)

        def cut(event):
            if isinstance(event, StepEnded) and event.epoch == 2:
                raise Stop

        if get_model(name).SPEC.backend == "torch":
            with pytest.raises(Stop):
                train(job, data, run, "cpu", listeners=[cut])
            assert (run / "state.pt").is_file()
            train(job, data, run, "cpu", resume=True, listeners=[events.append])
        else:  # one fit, nothing to cut
            train(job, data, run, "cpu", listeners=[events.append])
        cache[name] = run, events
    return cache[name]


def models_with(*slow):
    """Every model; these are tried in `make test-all` alone."""
    params = [pytest.param(m, marks=pytest.mark.slow) if m in slow else m for m in list_models()]
    return pytest.mark.parametrize("trained", params, indirect=True)


# test_train_options trains these as well, with all others in one command
every = models_with("resnet34_attention", "resnet18_transfer")
every_large_ones_slow = models_with("resnet34_attention", "resnet18_transfer", "emotionnet")


def test_there_are_twelve():
    assert len(MODELS) == 12


@every
def test_training_says_what_it_does_and_resumes(trained, data):
    run, events = trained
    name = checkpoint.read_manifest(run).model
    one_fit = get_model(name).SPEC.backend == "classical"
    assert isinstance(events[0], RunStarted) and isinstance(events[-1], RunEnded)
    assert events[0].first_epoch == (1 if one_fit else 2)
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert [r["epoch"] for r in rows] == [1] if one_fit else [1, 2]
    assert all(np.isfinite(r["val_loss"]) and r["images_per_second"] > 0 for r in rows)
    assert sum(isinstance(e, EpochEnded) for e in events) == 1
    with pytest.raises(CheckpointError, match="finished"):
        train(short_job(name), data, run, "cpu", resume=True)


@every
def test_the_checkpoint_is_whole(trained, data):
    run, _ = trained
    manifest = checkpoint.read_manifest(run)
    assert manifest.labels == FER7.names and manifest.data["fingerprint"] == data.fingerprint
    assert manifest.weights["sha256"] and (run / manifest.weights["file"]).suffix in (".safetensors", ".skops")
    assert manifest.training["extra_annotation"] is False and manifest.training["seconds"] > 0
    changed = run / manifest.weights["file"]
    good = changed.read_bytes()
    changed.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="SHA-256"):
        fer.load(run)
    changed.write_bytes(good)


@every
def test_predictions_keep_the_contract(trained):
    predictor = fer.load(trained[0])
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    before = faces.copy()
    p = predictor.predict_proba(faces)
    assert p.shape == (5, 7) and p.dtype == np.float32
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    for i in range(5):
        np.testing.assert_allclose(predictor.predict_proba(faces[i : i + 1])[0], p[i], atol=1e-5)
    np.testing.assert_array_equal(faces, before)
    assert predictor.predict_proba([]).shape == (0, 7)
    np.testing.assert_allclose(fer.load(trained[0]).predict_proba(faces), p, atol=1e-6)


@every
def test_what_was_saved_in_half_precision_answers_like_what_was_trained(trained, data):
    """The validation loss of the history is that of the weights before they were rounded and written."""
    run, _events = trained
    manifest = checkpoint.read_manifest(run)
    if get_model(manifest.model).SPEC.backend == "classical":
        pytest.skip("validation figures of a fit are cross-validated; its own tests compare memory and file")
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    row = rows[manifest.training["best_epoch"] - 1]
    p = fer.load(run).predict_proba(data["val"].faces).astype(float)
    loss = -np.log(p[np.arange(len(p)), data["val"].labels]).mean()
    assert loss == pytest.approx(row["val_loss"], abs=5e-3)


@every
def test_every_method_explains(trained):
    predictor = fer.load(trained[0])
    face = np.random.default_rng(1).integers(0, 256, (60, 50), dtype=np.uint8)
    names = methods_for(predictor)
    assert names and "occlusion" in names
    own = get_model(predictor.name).SPEC.attention
    assert names[0] == own
    heat = fer.explain(predictor, face)
    assert heat.shape == (60, 50) and heat.dtype == np.float32 and heat.min() >= 0 and heat.max() <= 1
    np.testing.assert_array_equal(heat, fer.explain(predictor, face))


# one net of each kind in every run of the suite
@models_with(*(set(list_models()) - {"baseline_cnn", "vit_tiny", "hog_svm"}))
def test_the_evaluation_script_scores_it(trained, data, tmp_path, capsys):
    packed = dataset.save(data, tmp_path / "blobs.npz")
    out = tmp_path / "results"
    code = script("evaluate").main(
        ["--checkpoint", str(trained[0]), "--data", str(packed), "--out", str(out), "--device", "cpu"]
    )
    assert code == 0, capsys.readouterr().err
    (metrics,) = out.rglob("metrics.json")
    assert metrics.parent.name == checkpoint.read_manifest(trained[0]).model


@pytest.mark.parametrize("name", list_models())
def test_recipes_are_data(name):
    entry = get_model(name)
    assert override(entry.RECIPE, ("batch_size", "8")).batch_size == 8
    if hasattr(entry, "REFERENCE"):
        preset = get_preset(name, "reference")
        assert preset.recipe.name == "reference" and entry.RECIPE.name == "best"


def test_a_model_added_on_the_fly_goes_through_everything(data, tmp_path, monkeypatch):
    """The file and the line that the README shows, word for word."""
    import re

    import fer.models

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Add a model")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.S)
    key, _, module = re.search(r'`"(\w+)": "([\w.]+)(\.\w+)",`', section).groups()
    assert module == f".{key}"
    (tmp_path / f"{key}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(fer.models.MODELS, key, key)
    packed = dataset.save(data, tmp_path / "blobs.npz")
    common = ["--data", str(packed), "--device", "cpu"]
    assert script("train").main(["--model", key, *common, "--epochs", "1", "--out", str(tmp_path / "runs")]) == 0
    (run,) = (tmp_path / "runs" / key).iterdir()
    p = fer.load(run).predict_proba(data["test"].faces)
    assert p.shape == (21, 7) and fer.explain(fer.load(run), data["test"].faces[0]).shape == (48, 48)
    assert script("evaluate").main(["--checkpoint", str(run), *common, "--out", str(tmp_path / "results")]) == 0
    assert (tmp_path / "results" / "blobs" / key / "metrics.json").is_file()
