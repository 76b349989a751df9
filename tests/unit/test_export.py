"""Writing ONNX files: int8 only where it costs next to nothing, and a file that says where it comes from."""

import dataclasses
import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

import fer
from fer import checkpoint, export
from fer.data.dataset import Dataset, save
from fer.errors import ExportError
from fer.labels import FER7
from fer.models import get_model
from fer.settings import override
from fer.training import Job, train
from tests.conftest import blobs

ROOT = Path(__file__).resolve().parents[2]
BUNDLE_LIMIT = 60 * 10**6


@pytest.fixture(scope="module")
def data():
    return Dataset("blobs", FER7, {"train": blobs(700, 0), "val": blobs(350, 1)}, titles={"val": "PublicTest"})


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A net that has learnt the blobs, so that there is accuracy to lose."""
    recipe = override(get_model("baseline_cnn").RECIPE, ("phases.0.epochs", "4"), ("batch_size", "32"))
    return train(Job("baseline_cnn", recipe), data, tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def judge(data):
    return export.Judge(data["val"].faces, data["val"].labels, {"data": "blobs", "split": "val", "title": "PublicTest"})


@pytest.fixture(scope="module")
def fp32(trained, judge):
    return export.export_fp32(trained, judge)


def operators(data: bytes) -> Counter:
    return Counter(node.op_type for node in onnx.load_model_from_string(data).graph.node)


def test_int8_keeps_the_accuracy_and_says_so(trained, data, judge, fp32, tmp_path):
    assert fp32[1].accuracy["torch"] > 0.8 and fp32[1].accuracy["fp32"] == fp32[1].accuracy["torch"]
    int8, info = export.export_int8(*fp32, data["train"].faces[:128], judge)
    assert info.accuracy["int8"] >= info.accuracy["torch"] - export.MAX_LOSS and info.accuracy["n"] == 350
    assert operators(int8)["QuantizeLinear"] > 3, "static: ranges are in the file"
    assert len(int8) < 0.4 * len(fp32[0])
    path = export.write(int8, info, tmp_path / "model.int8.onnx")
    card = json.loads((tmp_path / "model.int8.json").read_text())
    inside = {p.key: p.value for p in onnx.load_model(str(path)).metadata_props}["fer"]
    assert card | json.loads(inside) == card
    assert card["accuracy"]["title"] == "PublicTest" and card["precision"] == "int8"
    assert card["checkpoint_sha256"] == checkpoint.read_manifest(trained).weights["sha256"]


def test_int8_is_refused_when_the_calibration_is_broken(data, judge, fp32):
    black = np.zeros((64, 48, 48), np.uint8)  # nothing ever gets past the first layers: every range is too small
    with pytest.raises(
        ExportError, match=r"int8 loses \d+\.\d\d points of accuracy on PublicTest.*refused, at most 0.3"
    ):
        export.export_int8(*fp32, black, judge)


def test_int8_as_fer_load_gives_it(trained, data, judge, fp32):
    int8, info = export.export_int8(*fp32, data["train"].faces[:128], judge)
    export.write(int8, info, trained / export.file_name("int8"))
    predictor = fer.load(trained, backend="onnx-int8")
    probs = predictor.predict_proba(data["val"].faces)
    assert (probs.argmax(axis=1) == data["val"].labels).mean() == pytest.approx(info.accuracy["int8"])
    assert predictor.precision == "int8" and np.allclose(probs.sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_a_transformer_gets_dynamic_int8(untrained, data):
    fp32, info = export.export_fp32(untrained("vit_tiny"))
    judge = export.Judge(data["val"].faces[:7], np.zeros(7, int), {"title": "val"})
    info = dataclasses.replace(info, accuracy={"torch": 0.0})
    int8, _ = export.export_int8(fp32, info, data["train"].faces[:7], judge)
    found = operators(int8)
    assert found["DynamicQuantizeLinear"] > 12 and found["QuantizeLinear"] == 0
    assert len(int8) < 0.4 * len(fp32)


def test_a_net_that_onnx_answers_otherwise_is_refused(trained, monkeypatch):
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"differ by .* use backend 'torch'"):
        export.export_fp32(trained)


def script():
    spec = importlib.util.spec_from_file_location("script_export_onnx", ROOT / "scripts" / "export_onnx.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_writes_both_files_and_never_opens_the_test_split(trained, data, tmp_path, capsys, monkeypatch):
    module = script()
    save(data, tmp_path / "blobs.npz")
    asked = []
    real = module.open_dataset
    monkeypatch.setattr(module, "open_dataset", lambda name, splits: asked.append(splits) or real(name, splits))
    args = ["--model", str(trained), "--data", str(tmp_path / "blobs.npz"), "--out", str(tmp_path / "out")]
    assert module.main([*args, "--int8", "--runs", "2"]) == 0
    assert asked == [["train", "val"]]
    written = sorted(p.name for p in (tmp_path / "out" / "baseline_cnn").iterdir())
    assert written == ["model.fp32.json", "model.fp32.onnx", "model.int8.json", "model.int8.onnx"]
    assert "PublicTest torch" in capsys.readouterr().out


def test_the_script_reports_a_refusal_and_writes_no_int8(trained, data, tmp_path, capsys, monkeypatch):
    module = script()
    save(data, tmp_path / "blobs.npz")
    monkeypatch.setattr(export, "MAX_LOSS", -1.0)
    args = ["--model", str(trained), "--data", str(tmp_path / "blobs.npz"), "--out", str(tmp_path / "out")]
    assert module.main([*args, "--int8", "--runs", "0"]) == 1
    assert "refused" in capsys.readouterr().err
    assert not (tmp_path / "out" / "baseline_cnn" / "model.int8.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "vit"], "did you mean 'vit_tiny'"),
        (["--model", "hog_svm"], "holds no net"),
        (["--model", "baseline_cnn", "--int8", "--data", "fer2013"], "prepare_data.py"),
        (["--runs", "-1"], "--runs"),
    ],
)
def test_the_script_says_what_is_wrong(arguments, message, capsys):
    assert script().main(arguments) == 2
    assert message in capsys.readouterr().err


def test_what_is_bundled_fits_its_checkpoint_and_the_limit():
    bundled = sorted((ROOT / "checkpoints").glob("*/model.int8.onnx"))
    for file in bundled:
        predictor = fer.load(file.parent, backend="onnx-int8")
        card = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        assert predictor.file == file and card["checkpoint_sha256"] == predictor.manifest.weights["sha256"]
        assert card["accuracy"]["torch"] - card["accuracy"]["int8"] <= export.MAX_LOSS
    total = sum(f.stat().st_size for f in (ROOT / "checkpoints").rglob("*") if f.is_file())
    assert total < BUNDLE_LIMIT
