import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import fer
from fer import checkpoint
from fer.errors import CheckpointError, ConfigError
from fer.judge import Judge
from fer.promotion import promote, require_improvement
from tests.conftest import blobs


@pytest.fixture
def folder(untrained, tmp_path):
    return Path(shutil.copytree(untrained("baseline_cnn"), tmp_path / "baseline_cnn"))


def edit(folder, **changes):
    file = folder / checkpoint.MANIFEST
    raw = json.loads(file.read_text(encoding="utf-8"))
    for key, value in changes.items():
        raw.pop(key) if value is ... else raw.__setitem__(key, value)
    file.write_text(json.dumps(raw), encoding="utf-8")


def test_the_manifest_says_everything_needed(folder):
    m = checkpoint.read_manifest(folder)
    raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (raw["format"], raw["schema"]) == ("fer-checkpoint", 2)
    assert raw["labels"] == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert raw["input"] == {"size_px": 48, "channels": 1, "resize_px": 48, "mean": 0.5, "std": 0.25}
    assert raw["weights"]["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert (raw["weights"]["dtype"], raw["weights"]["parameters"]) == ("float16", 361_127)
    assert m.to_json() == raw


@pytest.mark.parametrize("part", ["", "config.json", "model.safetensors"])
def test_a_path_to_folder_manifest_or_weights_loads(folder, part):
    assert fer.load(folder / part if part else folder).name == "baseline_cnn"


def test_the_folder_name_means_nothing(folder, tmp_path):
    other = shutil.move(folder, tmp_path / "vit_tiny_best_final")
    assert fer.load(other).name == "baseline_cnn"


def test_bundled_weights_are_known_by_their_manifests_alone(folder, monkeypatch):
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder.parent))
    sha256 = checkpoint.read_manifest(folder).weights["sha256"]
    (folder / checkpoint.WEIGHTS).unlink()
    assert checkpoint.bundled_weights() == {sha256: "baseline_cnn"}
    edit(folder, weights={"sha256": "1" * 64, "made_from": sha256})
    assert checkpoint.bundled_weights(folder.parent) == {"1" * 64: "baseline_cnn", sha256: "baseline_cnn"}
    (folder / checkpoint.MANIFEST).write_text("{oops")
    assert checkpoint.bundled_weights() == {} == checkpoint.bundled_weights(folder.parent / "nowhere")


def test_by_name_from_the_checkpoints_folder(folder, monkeypatch):
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder.parent))
    assert checkpoint.trained_models() == ["baseline_cnn"]
    assert fer.load("baseline_cnn").name == "baseline_cnn"
    with pytest.raises(CheckpointError, match=r"vit_tiny has no checkpoint.*there: baseline_cnn.*scripts/train.py"):
        fer.load("vit_tiny")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda f: (f / "config.json").write_text("{"), "not readable as JSON"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
        (lambda f: (f / "config.json").write_text("[]"), "not a checkpoint of this project"),
        (lambda f: edit(f, format="other"), "not a checkpoint of this project"),
        (lambda f: edit(f, schema=99), "schema 99 is newer than 2"),
        (lambda f: edit(f, schema=...), "schema must be a whole number, got None"),
        (lambda f: edit(f, schema="1"), "whole number"),
        (lambda f: edit(f, conformal={"thresholds": {"0.9": 1.5}}), "must be probabilities"),
        (lambda f: edit(f, conformal={"thresholds": {"0.9": "high"}}), "damaged or from another version"),
        (lambda f: edit(f, conformal={"thresholds": 0.9}), "damaged or from another version"),
        (lambda f: edit(f, labels=...), "damaged or from another version"),
        (lambda f: edit(f, input={"size": 3}), "size_px"),
        (lambda f: edit(f, model="resnet900"), "unknown model 'resnet900'"),
        (lambda f: edit(f, model="vit_tiny"), "do not fit vit_tiny"),
        (lambda f: edit(f, model_args={"widths": [8, 8, 8]}), "do not fit baseline_cnn"),
        (lambda f: edit(f, labels=["happy", "sad"]), "not those of fer7"),
        (lambda f: edit(f, temperature=0), "temperature"),
        (lambda f: edit(f, surprise=1), "surprise"),
        (lambda f: edit(f, temperature=float("inf")), "finite"),
        (lambda f: edit(f, model_args={"nonsense": 1}), "arguments do not fit baseline_cnn"),
        (lambda f: edit(f, model_args={"dropout": 7}), "arguments do not fit baseline_cnn"),
        (lambda f: edit(f, model_args=None), "must be an object"),
        (lambda f: edit(f, weights="x"), "must be an object"),
        (lambda f: edit(f, weights={"file": 5}), "absent"),
        (lambda f: edit(f, training=None), "must be an object"),
        (lambda f: edit(f, data=[]), "must be an object"),
        (lambda f: edit(f, label_set="mine", labels=[1, 2]), "must be str"),
        (lambda f: edit(f, label_set="mine", labels=["happy", "happy"]), "distinct"),
        (lambda f: (f / "model.safetensors").unlink(), "absent"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "SHA-256"),
        (lambda f: flip_a_bit(f / "model.safetensors"), "SHA-256"),
    ],
)
def test_a_bad_checkpoint_says_what_is_wrong(folder, damage, expected):
    damage(folder)
    with pytest.raises(CheckpointError, match=expected):
        fer.load(folder)


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


def test_a_pickle_is_never_opened(folder):
    """Right checksum, but the bytes are a pickle that would leave a trace."""
    evil = b"cos\nsystem\n(S'touch " + str(folder / "owned").encode() + b"'\ntR."
    (folder / "model.safetensors").write_bytes(evil)
    edit(folder, weights={"file": "model.safetensors", "sha256": hashlib.sha256(evil).hexdigest()})
    with pytest.raises(CheckpointError, match="safetensors"):
        fer.load(folder)
    assert not (folder / "owned").exists()


def test_weights_outside_the_folder_are_not_reached(folder, tmp_path):
    shutil.copy(folder / "model.safetensors", tmp_path / "outside.safetensors")
    weights = checkpoint.read_manifest(folder).weights
    edit(folder, weights=weights | {"file": "../outside.safetensors"})
    with pytest.raises(CheckpointError, match="absent"):
        fer.load(folder)


@pytest.mark.parametrize(
    "name", ["/no/such/place", "nowhere/model", "x.safetensors", "~nosuchuser/x", "x" * 5000, "a\0b"]
)
def test_absent_paths(name):
    with pytest.raises(CheckpointError, match=r"no such checkpoint|neither a model nor a usable path"):
        fer.load(name)


def test_a_folder_that_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        fer.load(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'attention_cnn'"):
        fer.load("atention_cnn")


def test_a_write_that_fails_leaves_the_good_file(folder, monkeypatch):
    import os

    before = (folder / "config.json").read_bytes()
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.set_temperature(folder, 2.0)
    assert (folder / "config.json").read_bytes() == before


def test_temperature_softens_and_keeps_the_order(folder):
    faces = np.random.default_rng(0).integers(0, 256, (8, 48, 48), dtype=np.uint8)
    cold = fer.load(folder).predict_proba(faces)
    fitted = {"data": "fer2013", "split": "PublicTest", "n": 9, "thresholds": {"0.9": 0.25}}
    assert checkpoint.set_temperature(folder, 2.0, fitted) == checkpoint.read_manifest(folder)
    assert checkpoint.read_manifest(folder).conformal == fitted
    checkpoint.set_temperature(folder, 4.0)
    assert checkpoint.read_manifest(folder).conformal == {}, "they were for probabilities of another temperature"
    warm = fer.load(folder).predict_proba(faces)
    np.testing.assert_array_equal(cold.argmax(1), warm.argmax(1))
    expected = cold**0.25 / (cold**0.25).sum(1, keepdims=True)
    np.testing.assert_allclose(warm, expected, atol=1e-5)


def test_promotion_copies_real_models_and_refuses_synthetic_ones(folder, tmp_path):
    target = promote(folder, tmp_path / "shelf")
    assert target == tmp_path / "shelf" / "baseline_cnn"
    assert sorted(p.name for p in target.iterdir()) == ["config.json", "model.safetensors"]
    m = checkpoint.read_manifest(folder)
    for name in ("synthetic", "synthetic-ferplus8", "synthetic-fer7+contempt"):
        checkpoint.write_manifest(folder, replace(m, data={"name": name}))
        with pytest.raises(CheckpointError, match="synthetic"):
            promote(folder, tmp_path / "other", force=True)
    assert not (tmp_path / "other").exists()


def load_state(folder):
    return checkpoint.load_module(folder)[0].state_dict()


def test_a_better_net_or_one_for_other_data_is_not_replaced(folder, tmp_path):
    shelf, plain = tmp_path / "shelf", checkpoint.read_manifest(folder)

    def run(name, accuracy, **changes):
        """Another net: its weights are not those of `folder`."""
        target = shutil.copytree(folder, tmp_path / name)
        state = {k: v + 0.01 if v.is_floating_point() else v for k, v in load_state(folder).items()}
        training = {} if accuracy is None else {"val_accuracy": accuracy}
        return checkpoint.save(
            target, state, replace(plain, training=training, **{"data": {"name": "faces"}} | changes)
        )

    def there():
        return checkpoint.read_manifest(shelf / "baseline_cnn").training.get("val_accuracy")

    checkpoint.write_manifest(folder, replace(plain, training={"val_accuracy": 0.6}, data={"name": "faces"}))
    promote(folder, shelf)
    promote(folder, shelf)  # the same weights again
    for name, worse, said in (("worse", 0.59, "60.00%, this one: 59.00%"), ("unknown", None, "this one: not known")):
        with pytest.raises(ConfigError, match=f"better on the validation split .*{said}.*--force-promote"):
            promote(run(name, worse), shelf)
    swapped = {"labels": plain.labels[::-1], "label_set": "own"}
    for name, changes in (("data", {"data": {"name": "others"}}), ("classes", swapped)):
        with pytest.raises(ConfigError, match=r"another net, trained on faces \(7 classes\)"):
            promote(run(name, 0.9, **changes), shelf)
    marked = checkpoint.read_manifest(shelf / "baseline_cnn")
    checkpoint.write_manifest(shelf / "baseline_cnn", replace(marked, data={"name": "faces", "fingerprint": "a"}))
    with pytest.raises(ConfigError, match=r"trained on other pictures of faces"):
        promote(run("pictures", 0.9, data={"name": "faces", "fingerprint": "b"}), shelf)
    assert there() == 0.6
    promote(run("better", 0.61), shelf)
    assert there() == 0.61
    promote(tmp_path / "worse", shelf, force=True)
    assert there() == 0.59
    raw = json.loads((shelf / "baseline_cnn" / "config.json").read_text())
    for text in ("{", json.dumps(raw | {"schema": raw["schema"] + 1})):  # damaged, or a later version's
        (shelf / "baseline_cnn" / "config.json").write_text(text)
        with pytest.raises(ConfigError, match=r"is not to be read \(.*--force-promote"):
            promote(tmp_path / "better", shelf)
    promote(tmp_path / "unknown", shelf, force=True)
    assert there() is None


def test_of_two_copies_of_fer2013_the_faces_at_hand_decide(folder, tmp_path):
    """Two files of it can differ in a few labels; a net from one must not keep all nets from the other away."""
    shelf, plain = tmp_path / "shelf", checkpoint.read_manifest(folder)
    copy = {"name": "fer2013", "n_train": 28709, "n_val": 3589}
    checkpoint.write_manifest(folder, replace(plain, training={"val_accuracy": 0.9}, data=copy | {"fingerprint": "a"}))
    promote(folder, shelf)
    faces = blobs(70, 1).faces
    answers = fer.load(folder, backend="torch").predict_proba(faces).argmax(axis=1)
    half = np.where(np.arange(70) < 35, answers, (answers + 1) % 7)  # labels of which it gets one half right
    judge = Judge(faces, half, {"data": "fer2013", "split": "val", "title": "PublicTest"})

    def run(name, accuracy, **changes):
        target = shutil.copytree(folder, tmp_path / name)
        state = {k: v + 0.01 if v.is_floating_point() else v for k, v in load_state(folder).items()}
        data = copy | {"fingerprint": "b"} | changes
        return checkpoint.save(target, state, replace(plain, training={"val_accuracy": accuracy}, data=data))

    with pytest.raises(ConfigError, match=r"better on the validation split \(50.00%, this one: 49.00%"):
        promote(run("worse", 0.49), shelf, judge=judge)
    with pytest.raises(ConfigError, match="other pictures of fer2013"):
        promote(run("unjudged", 0.99), shelf)
    with pytest.raises(ConfigError, match="other pictures of fer2013"):  # only the form of FER2013
        promote(run("unlike", 0.99, n_train=70), shelf, judge=judge)
    promote(run("better", 0.51), shelf, judge=judge)
    assert checkpoint.read_manifest(shelf / "baseline_cnn").training["val_accuracy"] == 0.51


def test_an_estimator_is_judged_out_of_fold_on_faces_that_its_calibration_knows(untrained, tmp_path, monkeypatch):
    copy = {"name": "fer2013", "n_train": 28709, "n_val": 3589}
    folder = Path(shutil.copytree(untrained("hog_svm"), tmp_path / "hog_svm"))
    plain = checkpoint.read_manifest(folder)
    checkpoint.write_manifest(folder, replace(plain, data=copy | {"fingerprint": "a"}))
    promote(folder, tmp_path / "shelf")
    val = blobs(70, 1)
    wrong = np.eye(7)[(val.labels + 1) % 7]
    monkeypatch.setattr("fer.promotion.out_of_fold", lambda predictor, faces, labels: wrong)
    other = replace(plain, data=copy | {"fingerprint": "b"}, weights=plain.weights | {"sha256": "b"})
    other = replace(other, training=plain.training | {"val_accuracy": 0.01})
    judge = Judge(val.faces, val.labels, {})
    require_improvement(other, tmp_path / "shelf" / "hog_svm", judge)  # 0 % out of fold, all right in sample
    with pytest.raises(ConfigError, match="other pictures of fer2013"):
        require_improvement(other, tmp_path / "shelf" / "hog_svm")
