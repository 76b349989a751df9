"""The demo's endpoint for photographs, its uploads and examples, on untrained nets and drawn faces."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from fer.errors import ImageError
from fer.labels import FER7
from tests.demo_stand_ins import EXAMPLES, ONE, broken_pictures

pytest_plugins = ("tests.demo_fixtures",)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def client(demo, trained):
    gradio_client = pytest.importorskip("gradio_client")
    app = demo.app.build_app()
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **demo.app.launch_options())
    yield gradio_client.Client(address, verbose=False)
    app.close(verbose=False)


def ask(client, picture, *args):
    from gradio_client import handle_file

    return client.predict(handle_file(str(picture)), *args, api_name="/analyze")


# --- the endpoint -----------------------------------------------------------------------------------------------------


def test_a_drawn_face_comes_back_with_box_label_and_probabilities(client):
    answer = ask(client, ONE, "baseline_cnn", False)
    assert answer["model"] == "baseline_cnn" and answer["labels"] == list(FER7.names)
    (face,) = answer["faces"]
    left, top, right, bottom = face["box"]
    assert 0 <= left < right <= answer["width"] and 0 <= top < bottom <= answer["height"]
    assert right - left > answer["width"] / 5
    assert sum(face["probs"].values()) == pytest.approx(1, abs=1e-4)
    assert face["label"] == max(face["probs"], key=face["probs"].get)
    assert face["emoji"] == FER7.emoji[FER7.index(face["label"])]
    ranked = sorted(face["probs"], key=face["probs"].get, reverse=True)
    allowed = [name for name in ranked if face["probs"][name] >= 0.01]
    assert face["prediction_set"] == {"level": 0.9, "labels": allowed}
    assert face["doubts"] == (["unsure"] if face["confidence"] < 0.5 else [])


def test_inputs_have_names_and_defaults(client):
    from gradio_client import handle_file

    answer = client.predict(picture=handle_file(str(ONE)), whole_picture=True, api_name="/analyze")
    assert answer["model"] == "attention_cnn", "the default"
    assert [f["box"] for f in answer["faces"]] == [[0, 0, answer["width"], answer["height"]]]
    assert answer["faces"][0]["prediction_set"] is None, "its manifest holds no threshold"


def test_no_face_is_an_empty_list(client, tmp_path):
    Image.new("RGB", (300, 200), (90, 110, 100)).save(tmp_path / "wall.png")
    assert ask(client, tmp_path / "wall.png", "", False)["faces"] == []


def odd_pictures(folder: Path) -> dict[str, Path]:
    with Image.open(ONE) as picture:
        small = picture.resize((96, 80))
    exif = Image.Exif()
    exif[0x0112] = 6
    small.save(folder / "turned.jpg", exif=exif)
    small.convert("CMYK").save(folder / "cmyk.jpg")
    small.convert("RGBA").save(folder / "rgba.png")
    small.convert("P").save(folder / "palette.png")
    small.save(folder / "moving.gif", save_all=True, append_images=[small.rotate(5)])
    Image.fromarray((np.arange(80 * 96) % 65536).reshape(80, 96).astype(np.uint16)).save(folder / "deep.png")
    Image.new("RGB", (1, 1)).save(folder / "dot.png")
    return {p.name: p for p in folder.iterdir()}


def test_what_is_no_picture_is_told_by_its_name(client, tmp_path):
    from gradio_client.exceptions import AppError

    for name, path in broken_pictures(tmp_path).items():
        with pytest.raises(AppError) as caught:
            ask(client, path, "", True)
        assert name in str(caught.value) and str(tmp_path) not in str(caught.value), caught.value
        assert "uploads" not in str(caught.value), "the server's own paths stay private"


def test_odd_pictures_are_read(client, tmp_path):
    for name, path in odd_pictures(tmp_path).items():
        answer = ask(client, path, "", True)
        assert len(answer["faces"]) == 1, name
        size = {"turned.jpg": (80, 96), "dot.png": (1, 1)}.get(name, (96, 80))
        assert (answer["width"], answer["height"]) == size, name


def test_an_unknown_model_names_those_there_are(client):
    from gradio_client.exceptions import AppError

    with pytest.raises(AppError, match=r"no model 'vgg'.*baseline_cnn, attention_cnn"):
        ask(client, ONE, "vgg", False)


def test_files_that_were_not_uploaded_cannot_be_named(client):
    """A request may hold any path; with the type mark Gradio refuses it, without the demo does."""
    url = client.src.rstrip("/") + "/gradio_api/call/analyze"
    for record in (
        {"path": str(ONE)},
        {"path": str(ONE), "meta": {"_type": "gradio.FileData"}},
        {"path": "../" + str(ONE)},
    ):
        event = httpx.post(url, json={"data": [record, "", True]}).json()["event_id"]
        reply = httpx.get(f"{url}/{event}", timeout=20).text
        assert "event: error" in reply and "probs" not in reply


def test_an_example_survives_that_somebody_sends_the_same_file(client, trained):
    """Gradio names a file after its content: the upload and the example are one file."""
    (kept,) = (trained / "uploads").rglob(ONE.name)
    ask(client, ONE, "", False)
    assert kept.read_bytes() == ONE.read_bytes()


def test_every_public_endpoint_is_documented(client):
    found = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    told = (ROOT / "demo" / "README.md").read_text(encoding="utf-8")
    assert "/analyze" in found
    assert [name for name in found if name not in told] == []


# --- uploads and examples --------------------------------------------------------------------------------------------


def test_an_upload_that_was_deleted_is_told_as_what_it_is(demo, tmp_path):
    with pytest.raises(ImageError, match=r"no longer here.*choose it again"):
        demo.analysis.open_upload({"path": str(tmp_path / "gone.jpg"), "orig_name": "gone.jpg"}, tmp_path)


def test_uploads_outside_the_folder_are_refused(demo, tmp_path):
    with pytest.raises(ImageError, match="no picture was uploaded"):
        demo.analysis.open_upload({"path": str(ONE)}, tmp_path)
    with pytest.raises(ImageError, match="no picture was uploaded"):
        demo.analysis.open_upload(None, tmp_path)


def test_examples_are_small_and_drawn_faces_are_found_in_them():
    from fer.faces import detect

    examples = sorted(EXAMPLES.glob("*.jpg"))
    assert len(examples) >= 4
    for path in examples:
        assert path.stat().st_size < 200_000
        assert detect(path), f"no face found in {path.name}"


def test_the_space_front_matter_names_what_there_is():
    text = (ROOT / "demo" / "README.md").read_text(encoding="utf-8")
    front = dict(line.split(": ", 1) for line in text.split("---")[1].strip().splitlines())
    assert (ROOT / "demo" / front["app_file"]).is_file() and front["sdk"] == "gradio" and front["license"] == "mit"
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert f"gradio=={front['sdk_version']}" in pins, "the Space runs the version that is tested here"
    assert len(front["short_description"]) <= 60


def test_large_pictures_are_shown_at_a_size_that_a_phone_can_load(demo):
    assert demo.analysis.shrink(np.zeros((900, 3000, 3), np.uint8)).shape == (384, 1280, 3)
    small = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(demo.analysis.shrink(small), small)
