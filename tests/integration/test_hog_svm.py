"""hog_svm from training to explanation, through the same doors as the nets."""

import hashlib
import importlib.util
import json
import logging
import shutil
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fer
from fer import checkpoint
from fer.data.dataset import Dataset, Split
from fer.errors import CheckpointError, ConfigError, DataError
from fer.explain import explain, methods_for
from fer.labels import FER7
from fer.models.hog_svm import RECIPE
from fer.promotion import promote
from fer.specs import InputSpec, Phase
from fer.training import Job
from fer.training.classical import fit_seconds, train_classical
from fer.training.events import EpochEnded, PhaseStarted, RunEnded, RunStarted

ROOT = Path(__file__).resolve().parents[2]
JOB = Job("hog_svm", RECIPE)


def script(name):
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(untrained, tmp_path):
    return Path(shutil.copytree(untrained("hog_svm"), tmp_path / "hog_svm"))


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_run_writes_what_a_run_of_a_net_writes(blob_data, tmp_path):
    events = []
    run = train_classical(JOB, blob_data, tmp_path / "run", [events.append])
    assert sorted(p.name for p in run.iterdir()) == ["config.json", "history.jsonl", "model.skops", "run.json"]
    assert [type(e) for e in events] == [RunStarted, PhaseStarted, EpochEnded, RunEnded]
    (row,) = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert set(row) == set(EpochEnded.__dataclass_fields__) - {"best"}
    assert (row["phase"], row["epoch"]) == ("fit", 1) and row["val_accuracy"] > 0.9
    manifest = checkpoint.read_manifest(run)
    assert manifest.data == {"name": "blobs", "fingerprint": blob_data.fingerprint, "n_train": 140, "n_val": 70}
    assert manifest.training["val_accuracy"] == pytest.approx(row["val_accuracy"], abs=1e-6)
    assert manifest.weights["file"] == "model.skops" and manifest.weights["parameters"] > 1000
    assert {"scikit-learn", "scikit-image", "skops", "python"} <= set(manifest.versions)
    assert manifest.model_args["gamma"] == 2.0, "settings travel with the file, whatever the defaults become"
    assert json.loads((run / "run.json").read_text())["finished"] is True
    predictor = fer.load(run)
    assert (predictor.predict_proba(blob_data["val"].faces).argmax(1) == blob_data["val"].labels).mean() > 0.9


def test_the_same_run_again_learns_the_same(blob_data, tmp_path):
    recipe = replace(RECIPE, epoch_share=0.5)
    states = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_classical(Job("hog_svm", recipe, seed), blob_data, tmp_path / name)
        states.append(checkpoint.load_estimator(tmp_path / name)[0].arrays)
    assert all(np.array_equal(states[0][k], states[1][k]) for k in states[0])
    assert not np.array_equal(states[0]["mean"], states[2]["mean"]), "another seed draws another half"


def test_only_train_and_val_are_read(blob_data, tmp_path):
    opened = []

    class Watched(Dataset):
        def __getitem__(self, split):
            opened.append(split)
            return super().__getitem__(split)

    data = Watched("blobs", FER7, {**blob_data.splits, "test": blob_data["val"]})
    train_classical(JOB, data, tmp_path / "run")
    assert set(opened) == {"train", "val"}
    with pytest.raises(DataError, match="no split 'val'"):
        train_classical(JOB, Dataset("blobs", FER7, {"train": blob_data["train"]}), tmp_path / "other")


def test_colour_faces_of_another_size(blob_data, tmp_path):
    """Like Muxspace: larger RGB faces, and an input of 64 px asked for."""
    import cv2

    def large(split):
        faces = np.stack([cv2.resize(f, (90, 90)) for f in split.faces])
        return Split(np.repeat(faces[..., None], 3, axis=3), split.targets, split.rows)

    data = Dataset("colour", FER7, {k: large(s) for k, s in blob_data.splits.items()})
    job = Job("hog_svm", RECIPE, model_args={"components": 40}, input=InputSpec(60, 3, 64))
    predictor = fer.load(train_classical(job, data, tmp_path / "run"))
    assert predictor.input_spec == InputSpec(60, 3, 64) and predictor.estimator.components == 40
    assert (predictor.predict_proba(data["val"].faces).argmax(1) == data["val"].labels).mean() > 0.8


def test_resuming(blob_data, tmp_path):
    run = train_classical(JOB, blob_data, tmp_path / "run")
    with pytest.raises(CheckpointError, match="finished: there is nothing to resume"):
        train_classical(JOB, blob_data, run, resume=True)
    with pytest.raises(ConfigError, match=r"other options \(seed\)"):
        train_classical(replace(JOB, seed=7), blob_data, run, resume=True)
    description = json.loads((run / "run.json").read_text())
    description.pop("finished")
    (run / "run.json").write_text(json.dumps(description))
    (run / "model.skops").unlink()
    assert fer.load(train_classical(JOB, blob_data, run, resume=True)).name == "hog_svm"
    with pytest.raises(CheckpointError, match="no run here"):
        train_classical(JOB, blob_data, tmp_path / "nowhere", resume=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"teacher": "attention_cnn"}, "teacher"),
        ({"init": "hog_svm"}, "init"),
        ({"mixup": 0.2, "cutmix": 1.0}, "mixup, cutmix"),
        ({"ferplus_weight": 0.3}, "ferplus_weight"),
        ({"phases": (Phase(data="affectnet"),)}, r"phases\.0\.data"),
    ],
)
def test_what_cannot_be_done_is_refused(changes, named, blob_data, tmp_path):
    with pytest.raises(ConfigError, match=f"fitted in one go and holds no net: {named} cannot"):
        train_classical(Job("hog_svm", replace(RECIPE, **changes)), blob_data, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("module", "package"),
    [("sklearn.svm", "scikit-learn"), ("skimage.feature", "scikit-image"), ("skops.io", "skops"), ("skops", "skops")],
)
def test_packages_are_looked_for_before_the_fit(blob_data, tmp_path, monkeypatch, module, package):
    monkeypatch.setattr("fer.models.hog_svm.HogSvm.fit", lambda *a: pytest.fail("nothing may be fitted"))
    monkeypatch.setitem(sys.modules, module, None)
    for begin in (lambda: train_classical(JOB, blob_data, tmp_path / "run"), lambda: fit_seconds(JOB, blob_data)):
        with pytest.raises(
            ConfigError, match=f"hog_svm needs the package {package} .*: python -m pip install {package}$"
        ):
            begin()
    assert not (tmp_path / "run").exists()


def test_what_means_nothing_is_named_in_the_log(blob_data, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        train_classical(Job("hog_svm", replace(RECIPE, loss="focal", class_weights="balanced")), blob_data, tmp_path)
    assert "loss of the recipe means nothing" in caplog.text and "class_weights" not in caplog.text


def test_wrong_arguments_and_wrong_models(blob_data, tmp_path):
    with pytest.raises(ConfigError, match="hog_svm does not take the arguments"):
        train_classical(Job("hog_svm", RECIPE, model_args={"widths": [1]}), blob_data, tmp_path)
    with pytest.raises(ConfigError, match="vit_tiny is a torch net"):
        train_classical(Job("vit_tiny", RECIPE), blob_data, tmp_path)


# --- checkpoint -------------------------------------------------------------------------------------------------------


def test_half_precision_on_disk_changes_nothing(folder, blob_data):
    estimator, manifest = checkpoint.load_estimator(folder)
    faces = blob_data["val"].faces
    before = estimator.log_proba(faces)
    again = checkpoint.save_estimator(folder.parent / "again", estimator.state(), manifest)
    np.testing.assert_allclose(checkpoint.load_estimator(again)[0].log_proba(faces), before, atol=1e-3)
    assert checkpoint.read_manifest(again).weights["dtype"] == "float16"


def with_weights(folder, data: bytes):
    """Other bytes, with the checksum that belongs to them."""
    (folder / "model.skops").write_bytes(data)
    raw = json.loads((folder / "config.json").read_text())
    raw["weights"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "config.json").write_text(json.dumps(raw))


def test_a_changed_byte_is_refused(folder):
    data = bytearray((folder / "model.skops").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.skops").write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="SHA-256"):
        fer.load(folder)


class Stranger:
    """A type that nobody trusts."""

    made = 0

    def __init__(self):
        self.x = 1

    def __setstate__(self, state):
        Stranger.made += 1


def test_a_type_that_is_not_trusted_is_refused_before_it_is_made(folder):
    from skops.io import dumps

    state = checkpoint.load_estimator(folder)[0].state()
    with_weights(folder, dumps(state | {"more": Stranger()}))
    with pytest.raises(CheckpointError, match=r"not trusted .*Stranger"):
        fer.load(folder)
    assert Stranger.made == 0


def test_an_estimator_of_another_scikit_learn_is_refused_not_half_loaded(folder):
    from sklearn.svm import SVC
    from skops.io import dumps

    with_weights(folder, dumps(SVC().fit([[0.0], [1.0]], [0, 1])))
    with pytest.raises(CheckpointError, match="named arrays were expected"):
        fer.load(folder)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"cos\nsystem\n(S'true'\ntR."])
def test_what_is_no_skops_file_is_refused(folder, data):
    with_weights(folder, data)
    with pytest.raises(CheckpointError, match="not a skops file"):
        fer.load(folder)


def test_a_zip_with_something_else_in_it(folder):
    import io
    import zipfile

    for name, text in (("other.txt", "x"), ("schema.json", "{}"), ("schema.json", "[1]"), ("schema.json", "{")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as z:
            z.writestr(name, text)
        with_weights(folder, buffer.getvalue())
        with pytest.raises(CheckpointError, match=r"skops file|named arrays"):
            fer.load(folder)


def test_arrays_of_other_settings_are_refused(folder):
    raw = json.loads((folder / "config.json").read_text())
    raw["model_args"]["cell_px"] = 6
    (folder / "config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="weights do not fit hog_svm: mean is"):
        fer.load(folder)
    raw["model_args"] = {"widths": 3}
    (folder / "config.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="arguments do not fit hog_svm"):
        fer.load(folder)


@pytest.mark.parametrize("part", ["", "config.json", "model.skops"])
def test_it_is_found_loaded_and_promoted_like_a_net(folder, part, tmp_path, monkeypatch):
    target = promote(folder / part if part else folder, tmp_path / "shelf")
    assert sorted(p.name for p in target.iterdir()) == ["config.json", "model.skops"]
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "shelf"))
    assert checkpoint.trained_models() == ["hog_svm"] and fer.load("hog_svm").name == "hog_svm"


def test_synthetic_ones_are_not_promoted(folder, tmp_path):
    manifest = checkpoint.read_manifest(folder)
    checkpoint.write_manifest(folder, replace(manifest, data={"name": "synthetic"}))
    with pytest.raises(CheckpointError, match="synthetic"):
        promote(folder, tmp_path / "shelf")


def test_who_needs_a_net_is_told_so(folder, untrained, blob_data, tmp_path):
    from fer.models import get_model
    from fer.training import train

    with pytest.raises(ConfigError, match="is a hog_svm, which holds no torch net"):
        checkpoint.load_module(folder)
    recipe = replace(get_model("baseline_cnn").RECIPE, teacher=str(folder))
    with pytest.raises(ConfigError, match="holds no torch net"):
        train(Job("baseline_cnn", recipe), blob_data, tmp_path / "run", "cpu")
    with pytest.raises(ConfigError, match="a torch net"):
        checkpoint.load_estimator(untrained("baseline_cnn"))


# --- prediction and explanation ---------------------------------------------------------------------------------------


def test_temperature_softens_the_calibrated_probabilities(folder, blob_data):
    faces = blob_data["val"].faces
    cold = fer.load(folder).predict_proba(faces).astype(float)
    checkpoint.set_temperature(folder, 3.0)
    expected = cold ** (1 / 3) / (cold ** (1 / 3)).sum(1, keepdims=True)
    np.testing.assert_allclose(fer.load(folder).predict_proba(faces), expected, atol=1e-5)


def test_devices(folder, caplog):
    assert fer.load(folder, device="auto").name == "hog_svm"
    with pytest.raises(ConfigError, match="device must be"):
        fer.load(folder, device="gpu")


def test_threads_share_one_predictor(folder, blob_data):
    predictor, faces = fer.load(folder), blob_data["val"].faces
    expected = predictor.predict_proba(faces[:14])
    wrong = []

    def work():
        if not np.array_equal(predictor.predict_proba(faces[:14]), expected):
            wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_occlusion_finds_the_spot_that_decides(folder, blob_data):
    predictor = fer.load(folder)
    assert methods_for(predictor)[0] == "occlusion"
    for label, row, column in ((1, 35, 33), (3, 30, 11), (6, 13, 33)):
        face = blob_data["val"].faces[blob_data["val"].labels == label][0]
        heat = explain(predictor, face, target=label)
        assert heat.shape == (48, 48) and heat.max() == 1
        r, c = np.unravel_index(heat.argmax(), heat.shape)
        assert abs(r - row) <= 8 and abs(c - column) <= 8, "the bright spot of the class"


@pytest.mark.slow
def test_predict_and_evaluate_take_its_checkpoint(blob_data, folder, tmp_path, capsys, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "none"))
    picture = tmp_path / "face.png"
    Image.fromarray(blob_data["val"].faces[3]).save(picture)
    assert script("predict").main([str(picture), "--no-detect", "--checkpoint", str(folder), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["faces"][0]["label"] == "happy"

    out = tmp_path / "results"
    argv = ["--checkpoint", str(folder), "--data", "synthetic:n=70", "--out", str(out)]
    assert script("evaluate").main(argv) == 0
    metrics = json.loads((out / "synthetic" / "hog_svm@blobs" / "metrics.json").read_text())
    assert metrics["title"] == "HOG + SVM (from blobs)" and metrics["parameters"] > 1000
    single, mirrored = (metrics["splits"]["test"][k]["accuracy"] for k in ("single", "flip"))
    assert single == mirrored, "it answers mirrored faces alike"
