"""scripts/explain.py from the command line, on drawn faces and untrained checkpoints."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from fer import paths
from fer.evaluation import stored
from fer.images import read_image, save_image


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("explain_script", paths.ROOT / "scripts" / "explain.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def face(tmp_path_factory) -> Path:
    from fer.data.synthetic import draw_face

    path = tmp_path_factory.mktemp("faces") / "face.png"
    save_image(draw_face("happy", np.random.default_rng(0), 96), path)
    return path


def test_a_study_is_written_and_can_be_read(script, untrained, tmp_path, capsys):
    out = tmp_path / "results"
    arguments = ["--model", str(untrained("baseline_cnn")), "--data", "synthetic:n=5,size_px=48", "--n", "9"]
    assert script.main([*arguments, "--n-probing", "2", "--out", str(out)]) == 0
    text = capsys.readouterr().out
    folder = out / "synthetic" / "baseline_cnn@blobs"  # trained on other faces: where evaluate.py puts its scores
    found, maps = stored.read_explanation(folder), stored.read_maps(folder)
    assert found["model"] == "baseline_cnn@blobs" and found["split"] == "val" and found["n"] == 9
    assert sum(found["counts"].values()) == 9 and len(found["checkpoint_sha256"]) == 64
    assert set(found["methods"]) == set(maps)
    assert set(maps) == {"grad_cam", "grad_cam_pp", "layer_cam", "integrated_gradients", "occlusion"}
    assert found["methods"]["grad_cam"]["n"] == 9 and found["methods"]["occlusion"]["n"] == 2
    for name, m in found["methods"].items():
        assert maps[name].shape == (7, 48, 48) and name in text
        assert m["steps"][0] == 0 and m["steps"][-1] == 1 and m["deletion_curve"][0] == m["insertion_curve"][-1]
    again = script.main([*arguments, "--n-probing", "1", "--methods", "occlusion", "--out", str(out)])
    later = stored.read_explanation(folder)
    assert again == 0 and set(stored.read_maps(folder)) == set(maps), "the other methods are kept"
    assert later["methods"]["occlusion"]["n"] == 1 and later["methods"]["grad_cam"] == found["methods"]["grad_cam"]
    empty = [i for i, c in enumerate(found["counts"].values()) if c == 0]
    assert all(not maps["grad_cam"][i].any() for i in empty)
    # the same weights and counts, but other pictures
    seeded = [a.replace("size_px=48", "size_px=48,seed=2") for a in arguments]
    assert script.main([*seeded, "--n-probing", "1", "--methods", "occlusion", "--out", str(out)]) == 0
    assert stored.read_explanation(folder)["fingerprint"] != later["fingerprint"]
    assert set(stored.read_maps(folder)) == {"occlusion"}
    other = ["--model", str(untrained("baseline_cnn")), "--data", "synthetic:n=5,size_px=48", "--n", "3"]
    assert script.main([*other, "--methods", "layer_cam", "--out", str(out)]) == 0
    assert set(stored.read_maps(folder)) == {"layer_cam"}, "of other faces nothing is kept"


def test_hog_svm_is_studied_without_a_net(script, untrained, tmp_path):
    arguments = ["--model", str(untrained("hog_svm")), "--data", "synthetic:n=5", "--n", "2", "--methods", "hog"]
    assert script.main([*arguments, "--out", str(tmp_path)]) == 0
    (method,) = stored.read_explanation(tmp_path / "synthetic" / "hog_svm@blobs")["methods"].values()
    assert method["sanity"] is None and method["title"] == "HOG picture"


def test_one_face_is_shown_under_every_method(script, untrained, face, tmp_path, capsys):
    save = tmp_path / "out.png"
    models = f"{untrained('baseline_cnn')},{untrained('vit_tiny')}"
    arguments = [str(face), "--no-detect", "--model", models, "--method", "all", "--target", "fear"]
    assert script.main([*arguments, "--save", str(save)]) == 0
    picture = read_image(save)
    high, wide = script.TILE_PX + script.TILE_PX // 8, script.TILE_PX
    assert picture.shape == (2 * high, 6 * wide, 3), "two models; the face and at most five methods"
    assert not np.array_equal(picture[:wide, :wide], picture[:wide, wide : 2 * wide])
    text = capsys.readouterr().out
    assert text.count("fear") == 2 and "gradient_rollout" in text and str(save) in text


def test_a_photograph_is_searched_for_faces(script, untrained, tmp_path, capsys):
    from fer.data.synthetic import draw_scene

    photo, save = tmp_path / "photo.png", tmp_path / "out.png"
    picture, _ = draw_scene(["happy"], np.random.default_rng(3), 320, 320, "plain")
    save_image(picture, photo)
    model = str(untrained("baseline_cnn"))
    assert script.main([str(photo), "--model", model, "--method", "layer_cam", "--save", str(save)]) == 0
    assert read_image(save).shape[1] == 2 * script.TILE_PX and "face 1" in capsys.readouterr().out
    save.unlink()
    save_image(np.full((80, 80, 3), 128, np.uint8), photo)
    assert script.main([str(photo), "--model", model, "--save", str(save)]) == 0
    assert "no face found" in capsys.readouterr().out and not save.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--method", "gradcam"], "did you mean 'grad_cam'"),
        (["--method", "rollout"], "rollout needs a vision transformer"),
        (["--target", "hapy"], "happy"),
        (["--save", "SELF"], "overwrite the picture itself"),
    ],
)
def test_mistakes_end_in_one_line(script, untrained, face, tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    arguments = [str(face) if a == "SELF" else a for a in arguments]
    assert script.main([str(face), "--no-detect", "--model", str(untrained("baseline_cnn")), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_faces_to_study_is_said(script, untrained, tmp_path, capsys):
    model = str(untrained("baseline_cnn"))
    assert script.main(["--model", model, "--data", "synthetic:n=5", "--n", "0", "--out", str(tmp_path)]) == 2
    assert "at least 1" in capsys.readouterr().err
    assert script.main(["--list"]) == 0
    assert "integrated_gradients" in capsys.readouterr().out
