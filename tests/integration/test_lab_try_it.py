"""Try it: one picture under all models, and a checkpoint of the visitor's own."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from fer.labels import FER7
from tests.lab_driver import charts, encoded, messages, numbers, open_page, scene, sound
from tests.stand_in_results import MODELS

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


def upload(app, data: bytes, name: str = "photo.jpg"):
    app.file_uploader[0].set_value((name, data, "image/jpeg")).run()
    return sound(app)


def bomb() -> bytes:
    """A PNG header that promises 40,000 x 40,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def test_without_checkpoints_the_page_says_how_to_train(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "nothing"))
    app = open_page("try_it")
    assert "scripts/train.py" in messages(app) and not app.error


def test_every_model_answers_with_its_own_probabilities(checkpoints):
    import fer
    from fer.faces import crop, detect

    image = scene(["happy"])
    face = crop(image, detect(image)[0].box)
    app = upload(open_page("try_it"), encoded(image))
    bars = {t["name"]: numbers(t["y"]) for t in charts(app)[0]["data"]}
    shown = {m.label: m for m in app.metric}
    for model, (title, *_) in MODELS.items():
        probs = fer.load(checkpoints / model).predict_proba([face])[0]
        assert bars[title] == pytest.approx(probs, abs=1e-5)
        assert shown[title].value.split()[-1] == FER7.names[probs.argmax()]
        assert shown[title].delta == f"{100 * probs.max():.0f} % probability"
    assert len(app.image) == 1 + len(MODELS), "the picture and one overlay per model"


def test_each_of_several_faces_can_be_chosen(checkpoints):
    from fer.faces import detect

    image = scene(["happy", "sad"], 900)
    assert len(detect(image)) == 2
    app = upload(open_page("try_it"), encoded(image))
    picker = next(s for s in app.segmented_control if "2 faces" in s.label)
    first = numbers(charts(app)[0]["data"][0]["y"])
    picker.set_value(1).run()
    assert not np.allclose(numbers(charts(app)[0]["data"][0]["y"]), first)


BAD = {
    "text": (b"this is not a picture", "not a picture"),
    "empty": (b"", "0 bytes"),
    "truncated": (encoded(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))[:9000], "damaged"),
    "bomb": (bomb(), "too large"),
}


@pytest.mark.parametrize(("data", "expected"), BAD.values(), ids=BAD)
def test_a_bad_upload_is_a_sentence(checkpoints, data, expected):
    app = upload(open_page("try_it"), data)
    assert "photo.jpg" in messages(app) and expected in messages(app)
    assert not app.metric


def test_a_picture_without_a_face_says_so_and_can_be_taken_whole(checkpoints):
    app = upload(open_page("try_it"), encoded(np.full((1, 1, 3), 90, np.uint8)))
    assert "No face found" in messages(app) and not app.error and not app.metric
    app.toggle[0].set_value(True).run()
    assert len(app.metric) == len(MODELS) and not app.error


def test_camera_and_drawn_faces_work_as_well(checkpoints):
    app = open_page("try_it")
    app.segmented_control[0].set_value("Drawn face").run()
    assert len(app.metric) == len(MODELS)
    app.segmented_control[0].set_value("Camera").run()
    app.camera_input[0].upload("snapshot.jpg", encoded(scene(["neutral"]), "JPEG"), "image/jpeg").run()
    assert len(sound(app).metric) == len(MODELS)


def test_a_damaged_checkpoint_leaves_the_other_models_working(checkpoints):
    weights = checkpoints / "vit_tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    app = open_page("try_it")
    app.segmented_control[0].set_value("Drawn face").run()
    assert "vit_tiny" in messages(app)
    assert [m.label for m in app.metric] == ["Baseline CNN", "Attention CNN"]


def test_a_checkpoint_of_ones_own_answers_beside_the_others(checkpoints, untrained, tmp_path):
    import fer
    from fer.faces import crop, detect

    mine = tmp_path / "runs" / "my run"
    shutil.copytree(untrained("custom_cnn"), mine)
    image = scene(["happy"])
    app = open_page("try_it")
    app.text_input[0].set_value(str(mine)).run()
    assert "7 expressions" in messages(app)
    upload(app, encoded(image))
    assert [m.label for m in app.metric][-1] == "yours: my run" and len(app.metric) == len(MODELS) + 1
    probs = fer.load(mine).predict_proba([crop(image, detect(image)[0].box)])[0]
    bars = {t["name"]: numbers(t["y"]) for t in charts(app)[0]["data"]}
    assert bars["yours: my run"] == pytest.approx(probs, abs=1e-5)


def test_a_folder_without_a_usable_checkpoint_is_a_sentence(checkpoints, tmp_path):
    app = open_page("try_it")
    app.text_input[0].set_value(str(tmp_path / "nowhere")).run()
    assert "nowhere" in messages(sound(app)) and app.error
    broken = tmp_path / "broken"
    shutil.copytree(checkpoints / "baseline_cnn", broken)
    (broken / "model.safetensors").write_bytes(b"nonsense")
    app.text_input[0].set_value(str(broken)).run()
    assert sound(app).error
    app.text_input[0].set_value("~nobody_of_this_name/run").run()
    assert sound(app).error and "usable path" in messages(app)


def test_a_checkpoint_that_is_named_by_a_file_is_read_again_when_it_changes(checkpoints, untrained, tmp_path):
    from fer import checkpoint

    mine = tmp_path / "mine"
    shutil.copytree(untrained("custom_cnn"), mine)
    app = open_page("try_it")
    app.text_input[0].set_value(str(mine / "config.json")).run()
    assert "from mine: 7 expressions" in messages(sound(app))
    title = checkpoint.get_model("baseline_cnn").SPEC.title
    shutil.rmtree(mine)
    shutil.copytree(untrained("baseline_cnn"), mine)
    assert f"{title} from mine" in messages(sound(app.run()))
