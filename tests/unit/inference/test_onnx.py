"""The ONNX backends: the same answers as torch, only from a file that fits the checkpoint, and in any thread."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import fer
from fer import checkpoint, export
from fer.errors import CheckpointError, ConfigError, ExportError
from fer.explain import methods_for
from fer.inference import TorchPredictor
from fer.inference.onnx import OnnxPredictor, cache_path, load_onnx
from fer.models import MODELS

ROOT = Path(__file__).resolve().parents[3]
NETS = [name for name in MODELS if name != "hog_svm"]
SLOW = {"resnet18_transfer", "resnet34_attention", "emotionnet", "vit_tiny"}


@pytest.fixture
def folder(untrained, tmp_path):
    return Path(shutil.copytree(untrained("baseline_cnn"), tmp_path / "baseline_cnn"))


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the test's own."""
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def decided(folder: Path) -> Path:
    """The same checkpoint made to tell faces apart: an untrained net answers nearly 1/7 to everything."""
    import torch

    module, manifest = checkpoint.load_module(folder)
    x = TorchPredictor(module, manifest).preprocess(faces(16))
    norms = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for norm in norms:  # means and variances of these very faces, without which the signal dies on the way
            norm.momentum = 1.0
        module.train()(x)
        logits = module.eval()(x)
        last = [m for m in module.modules() if isinstance(m, torch.nn.Linear)][-1]
        gain = 2 / logits.std(dim=0).mean()
        last.weight *= gain
        last.bias.copy_((last.bias - logits.mean(dim=0)) * gain)
    return checkpoint.save(folder, module.state_dict(), manifest)


def faces(n: int = 9, side: int = 48) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 6, 6), dtype=np.uint8)
    return coarse.repeat(side // 6, axis=1).repeat(side // 6, axis=2)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NETS])
def test_probabilities_equal_torchs_in_any_batch(name, untrained, tmp_path):
    folder = decided(Path(shutil.copytree(untrained(name), tmp_path / name)))
    checkpoint.set_temperature(folder, 0.7)
    eager, exported = fer.load(folder, backend="torch"), fer.load(folder, backend="onnx")
    assert isinstance(eager, TorchPredictor) and isinstance(exported, OnnxPredictor)
    expected = eager.predict_proba(faces())
    assert expected.max(axis=1).mean() > 0.3 and np.ptp(expected, axis=0).max() > 0.1, "the nets have something to say"
    got = exported.predict_proba(faces())
    assert got.dtype == np.float32 and np.abs(got - expected).max() < 1e-4
    alone = np.concatenate([exported.predict_proba([face]) for face in faces()])
    assert np.abs(alone - got).max() < 1e-5
    assert np.abs(exported.predict_proba(faces(), batch_size=4) - got).max() < 1e-5
    assert exported.predict_proba([]).shape == (0, 7)


def test_faces_of_any_kind_are_prepared_alike(folder):
    rng = np.random.default_rng(1)
    mixed = [rng.integers(0, 256, s, dtype=np.uint8) for s in ((30, 50, 3), (200, 180), (48, 48, 3))]
    a, b = (fer.load(folder, backend=k).predict_proba(mixed) for k in ("torch", "onnx"))
    assert np.abs(a - b).max() < 1e-4


def test_the_file_takes_pixels_and_says_what_it_is(folder, cache):
    checkpoint.set_temperature(folder, 1.5)
    fer.load(folder, backend="onnx")
    (file,) = (cache / "onnx").glob("*.onnx")
    session = ort.InferenceSession(str(file))
    (into,) = session.get_inputs()
    assert into.type == "tensor(uint8)" and into.shape[1:] == [48, 48] and isinstance(into.shape[0], str)
    info = json.loads(session.get_modelmeta().custom_metadata_map["fer"])
    manifest = checkpoint.read_manifest(folder)
    assert info["labels"] == list(manifest.labels) and info["input"]["size_px"] == 48
    assert info["checkpoint_sha256"] == manifest.weights["sha256"]
    assert (info["temperature"], info["precision"]) == (1.5, "fp32")


def test_the_cache_is_written_once_and_read_afterwards(folder, cache, monkeypatch):
    fer.load(folder, backend="onnx")
    (file,) = (cache / "onnx").iterdir()
    monkeypatch.setattr(export, "export_fp32", lambda *a: pytest.fail("exported again"))
    assert fer.load(folder, backend="onnx").file == file
    assert fer.load(folder).precision == "fp32", "what is there already is used by default"


def test_other_weights_get_another_file(folder, cache):
    fer.load(folder, backend="onnx")
    decided(folder)
    a, b = (fer.load(folder, backend=k).predict_proba(faces()) for k in ("torch", "onnx"))
    assert np.abs(a - b).max() < 1e-4
    assert len(list((cache / "onnx").iterdir())) == 2


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_stale_export_is_ignored_with_a_line(folder, cache, caplog, precision):
    data, info = export.export_fp32(folder)
    export.write(data, info, folder / export.file_name(precision))
    assert load_onnx(folder, precision).file == folder / export.file_name(precision)
    decided(folder)
    with caplog.at_level(logging.WARNING):
        if precision == "fp32":
            assert load_onnx(folder, precision).file.parent == cache / "onnx"
        else:
            with pytest.raises(ExportError, match=r"no usable int8 export.*scripts/export_onnx.py --int8"):
                fer.load(folder, backend="onnx-int8")
    assert "model." + precision + ".onnx is ignored: stale" in caplog.text


def test_the_fastest_is_int8_where_it_fits_and_moving_pictures_take_it(folder, cache, caplog, monkeypatch):
    import torch

    from fer.inference.live import LivePipeline

    assert fer.load(folder, backend="fastest").runtime == "torch", "nothing was exported"
    data, info = export.export_fp32(folder)
    export.write(data, info, folder / export.file_name("int8"))
    assert fer.load(folder, backend="fastest").file.name == "model.int8.onnx"
    assert LivePipeline(folder).predictor.file.name == "model.int8.onnx"
    monkeypatch.setattr("fer.device.pick_device", lambda name: torch.device("cpu"))
    assert fer.load(folder, device="auto", backend="fastest").file.name == "model.int8.onnx", "a machine without a GPU"
    assert fer.load(folder).runtime == "torch", "never unasked"
    decided(folder)
    with caplog.at_level(logging.WARNING):
        assert fer.load(folder, backend="fastest").runtime == "torch"
    assert "8-bit file is not used" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"not ONNX", "cut", "foreign"])
def test_a_damaged_or_foreign_file_is_ignored_and_made_again(folder, cache, caplog, damage):
    fer.load(folder, backend="onnx")
    (file,) = (cache / "onnx").iterdir()
    good = file.read_bytes()
    if damage == "foreign":
        model = onnx.load_model_from_string(good)
        del model.metadata_props[:]
        file.write_bytes(model.SerializeToString())
    else:
        file.write_bytes(good[:1000] if damage == "cut" else damage)
    expected = fer.load(folder, backend="torch").predict_proba(faces())
    assert np.abs(fer.load(folder, backend="onnx").predict_proba(faces()) - expected).max() < 1e-4
    assert "is ignored" in caplog.text and len(list((cache / "onnx").iterdir())) == 1


def test_damaged_weights_are_refused_though_an_export_is_there(folder, cache):
    fer.load(folder, backend="onnx")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    for backend in ("auto", "onnx"):
        with pytest.raises(CheckpointError, match="SHA-256"):
            fer.load(folder, backend=backend)


def test_the_default_is_onnx_for_bundled_models_and_torch_for_runs(folder, cache, monkeypatch):
    assert isinstance(fer.load(folder), TorchPredictor)
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder.parent))
    assert isinstance(fer.load("baseline_cnn"), OnnxPredictor)
    assert isinstance(fer.load("baseline_cnn", device="auto"), (OnnxPredictor, TorchPredictor))
    assert isinstance(fer.load("baseline_cnn", backend="torch"), TorchPredictor)


def test_the_default_never_takes_int8(folder, cache, monkeypatch):
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder.parent))
    data, info = export.export_fp32(folder)
    export.write(data, info, folder / export.file_name("int8"))
    assert fer.load("baseline_cnn").file.parent == cache / "onnx"


@pytest.mark.parametrize("obstacle", ["cache is a file", "no runtime"])
def test_the_default_falls_back_to_torch_with_a_line(folder, tmp_path, monkeypatch, caplog, obstacle):
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder.parent))
    monkeypatch.setenv("FER_CACHE", str(tmp_path / "cache"))
    if obstacle == "cache is a file":
        (tmp_path / "cache").write_text("")
    else:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(fer.load("baseline_cnn"), TorchPredictor)
    assert "runs on torch" in caplog.text
    with pytest.raises((ExportError, ConfigError), match=r"FER_CACHE|pip install onnx onnxruntime"):
        fer.load("baseline_cnn", backend="onnx")


@pytest.fixture
def locked(tmp_path, monkeypatch):
    """A folder that nobody may enter, root neither: what lies below can be neither looked at nor made."""
    place = tmp_path / "locked"
    place.mkdir()

    def refuse(call):
        def checked(path, *args, **options):
            if isinstance(path, (str, os.PathLike)) and place in Path(path).parents:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return call(path, *args, **options)

        return checked

    for name in ("stat", "mkdir"):
        monkeypatch.setattr(os, name, refuse(getattr(os, name)))
    return place


def test_a_cache_below_a_folder_that_may_not_be_entered_is_as_a_read_only_one(folder, locked, monkeypatch, caplog):
    monkeypatch.setenv("FER_CACHE", str(locked / "home" / "cache"))
    with pytest.raises(ExportError, match="no usable fp32 export"):
        load_onnx(folder, "fp32", make=False)
    with pytest.raises(ExportError, match=r"cannot be written \(Permission denied\); set FER_CACHE"):
        fer.load(folder, backend="onnx")
    assert isinstance(fer.load(folder), TorchPredictor)
    assert "runs on torch" not in caplog.text, "a run's own checkpoint is not exported unasked"
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder.parent))
    assert isinstance(fer.load("baseline_cnn"), TorchPredictor)
    assert "runs on torch" in caplog.text and "Permission denied" in caplog.text


def test_a_wrong_backend_device_or_number_of_threads_is_an_error(folder, untrained):
    with pytest.raises(ConfigError, match="did you mean 'onnx'"):
        fer.load(folder, backend="onx")
    with pytest.raises(ConfigError, match="run on the CPU"):
        fer.load(folder, device="cuda", backend="onnx")
    with pytest.raises(ConfigError, match="at least 1"):
        fer.load(folder, backend="onnx", threads=0)
    with pytest.raises(ConfigError, match="holds no net"):
        fer.load(untrained("hog_svm"), backend="onnx")
    assert fer.load(untrained("hog_svm"), backend="torch").name == "hog_svm"


def test_threads_are_torchs_unless_given(folder):
    import torch

    assert fer.load(folder, backend="onnx").threads == torch.get_num_threads()
    assert fer.load(folder, backend="onnx", threads=3).threads == 3


@pytest.mark.parametrize("name", ["baseline_cnn", "attention_cnn"])
def test_it_can_be_explained_like_the_net_it_comes_from(name, untrained):
    exported, eager = (fer.load(untrained(name), backend=k) for k in ("onnx", "torch"))
    assert methods_for(exported) == methods_for(eager)
    face = faces(1)[0]
    for method in ("auto", "grad_cam", "occlusion"):
        a, b = fer.explain(exported, face, method, target=2), fer.explain(eager, face, method, target=2)
        assert np.abs(a - b).max() < 0.02


def test_the_net_behind_an_export_is_never_another_one(folder):
    exported = fer.load(folder, backend="onnx")
    decided(folder)
    with pytest.raises(CheckpointError, match="load it again"):
        exported.module  # noqa: B018


def test_many_threads_get_what_one_gets(folder, cache):
    exported = fer.load(folder, backend="onnx")
    expected = exported.predict_proba(faces())
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: exported.predict_proba(faces()), range(64)):
            assert np.array_equal(got, expected)


def test_many_threads_may_make_the_first_export(folder, cache):
    go, found = threading.Barrier(4), []

    def first():
        go.wait()
        found.append(fer.load(folder, backend="onnx").predict_proba(faces()))

    threads = [threading.Thread(target=first) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(found) == 4 and all(np.array_equal(p, found[0]) for p in found)
    assert len(list((cache / "onnx").iterdir())) == 1


def test_an_exported_net_answers_without_torch(folder):
    file = cache_path(checkpoint.read_manifest(folder))
    fer.load(folder, backend="onnx")
    assert file.is_file()
    code = (
        "import sys, numpy, fer\n"
        f"p = fer.load({str(folder)!r}).predict_proba(numpy.zeros((1, 48, 48), numpy.uint8))\n"
        "print(p.shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "(1, 7) False", done.stderr
