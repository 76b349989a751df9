"""The demo's page and its endpoint, on untrained nets and drawn faces."""

from __future__ import annotations

import functools
import importlib
import io
import json
import os
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType

import httpx
import numpy as np
import pytest
from PIL import Image

from fer.errors import ImageError
from fer.labels import FER7

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "demo" / "examples").glob("*.jpg"))
ONE = ROOT / "demo" / "examples" / "1-happy.jpg"


@pytest.fixture(scope="module")
def demo():
    """The modules of the demo, as `python demo/app.py` imports them."""
    sys.path.insert(0, str(ROOT / "demo"))
    try:
        yield {name: importlib.import_module(name) for name in ("app", "photo", "analysis", "cards", "marks")}
    finally:
        sys.path.remove(str(ROOT / "demo"))


@pytest.fixture(scope="module")
def trained(untrained, tmp_path_factory):
    """A folder of checkpoints, and one of results that were measured on the first of them only."""
    root = tmp_path_factory.mktemp("home")
    for name in ("baseline_cnn", "attention_cnn"):
        shutil.copytree(untrained(name), root / "checkpoints" / name)
        config = root / "checkpoints" / name / "config.json"
        about = json.loads(config.read_text())
        sha = about["weights"]["sha256"]
        if name == "baseline_cnn":
            config.write_text(json.dumps(about | {"conformal": {"thresholds": {"0.9": 0.01}}}))
        folder = root / "results" / "fer2013" / name
        folder.mkdir(parents=True)
        metrics = {
            "checkpoint": {"sha256": sha if name == "baseline_cnn" else "0" * 64},
            "splits": {
                "test": {
                    "title": "PrivateTest",
                    "single": {"accuracy": 0.6125},
                    "conformal": {"0.9": {"coverage": 0.915}},
                }
            },
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CHECKPOINTS", str(root / "checkpoints"))
        patch.setenv("FER_RESULTS", str(root / "results"))
        patch.setenv("GRADIO_TEMP_DIR", str(root / "uploads"))
        yield root


@pytest.fixture(scope="module")
def client(demo, trained):
    gradio_client = pytest.importorskip("gradio_client")
    app = demo["app"].build_app()
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **demo["app"].launch_options())
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


def broken_pictures(folder: Path) -> dict[str, Path]:
    photo = ONE.read_bytes()
    bomb = io.BytesIO()
    Image.new("1", (12000, 12000)).save(bomb, "PNG")
    contents = {
        "text.jpg": b"not a picture",
        "empty.jpg": b"",
        "cut.jpg": photo[: len(photo) // 2],
        "bomb.png": bomb.getvalue(),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


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


# --- what the page shows ----------------------------------------------------------------------------------------------


@pytest.fixture
def page(demo, trained, monkeypatch):
    """Function: run the page's own handler on a file and read the components by name."""
    import gradio as gr

    names = ["status", "take_whole", "boxed", "look", "methods", "faces", "whole", "facts"]
    with gr.Blocks():
        components = [gr.HTML() for _ in names]
    models = demo["analysis"].Models()
    warnings: list[str] = []
    monkeypatch.setattr(demo["photo"].gr, "Warning", lambda text, **_: warnings.append(text))

    def show(path, model="attention_cnn", method=None, whole=False, every=False, session="anna"):
        upload = None
        if path is not None:
            upload = {"path": str(trained / "uploads" / Path(path).name), "orig_name": Path(path).name}
            (trained / "uploads").mkdir(exist_ok=True)
            shutil.copyfile(path, upload["path"])
        out = demo["photo"]._show(models, components, session, upload, model, method, whole, every)
        return {name: out.get(c) for name, c in zip(names, components, strict=True)} | {"warnings": list(warnings)}

    return show


def test_a_face_gets_a_card_with_seven_bars_a_crop_and_a_heat_map(page):
    out = page(ONE)
    assert "1 face found" in out["status"]
    assert out["faces"].count('role="meter"') == 7 and out["faces"].count("<article") == 1
    assert out["faces"].count("data:image/jpeg;base64,") == 1 and out["faces"].count("data:image/png;base64,") == 1
    assert out["methods"]["value"] == "cbam"
    assert [c[1] for c in out["methods"]["choices"]] == [
        "cbam",
        "grad_cam",
        "occlusion",
        "channel",
        "grad_cam_pp",
        "layer_cam",
        "integrated_gradients",
    ]
    with Image.open(out["boxed"]["value"]) as boxed, Image.open(ONE) as picture:
        assert out["boxed"]["visible"] and boxed.format == "JPEG" and boxed.size == picture.size
        difference = np.abs(np.asarray(boxed).astype(int) - np.asarray(picture)).max(axis=2)
        assert 0.01 < (difference > 60).mean() < 0.2, "the box is drawn"


def test_the_picture_with_boxes_goes_when_it_is_replaced_or_cleared_and_with_the_visitor(page, demo, trained):
    first = Path(page(ONE)["boxed"]["value"])
    others = Path(page(ONE, session="ben")["boxed"]["value"])
    second = Path(page(ONE, model="baseline_cnn")["boxed"]["value"])
    assert second.is_file() and not first.parent.exists()
    page(None)
    assert not second.parent.exists()
    third = Path(page(ONE)["boxed"]["value"])
    demo["photo"].leave("anna")
    assert not third.parent.exists() and others.is_file()
    demo["photo"].leave("ben")
    assert list((trained / "uploads").glob("photo-*")) == [] and demo["photo"]._shown == {}


def test_who_leaves_while_a_picture_is_looked_at_leaves_no_picture_with_boxes(page, demo, trained, monkeypatch):
    draw = demo["photo"].draw_faces
    monkeypatch.setattr(demo["photo"], "draw_faces", lambda *a, **k: demo["photo"].leave("anna") or draw(*a, **k))
    assert page(ONE)["boxed"]["value"] is None
    assert list((trained / "uploads").glob("photo-*")) == [] and demo["photo"]._shown == {}


def test_an_older_answer_does_not_take_the_place_of_a_newer_one(page, demo, trained, monkeypatch):
    """Two of a visitor's questions may be at work at the same time, and the first one may be the slower."""
    find, newer = demo["photo"].find_faces, []

    def slow_at_first(*args):
        if not newer:
            newer.append(None)
            newer[0] = page(ONE, model="baseline_cnn")
        return find(*args)

    monkeypatch.setattr(demo["photo"], "find_faces", slow_at_first)
    assert not any(page(ONE).values()), "nothing is changed on the page"
    shown = Path(newer[0]["boxed"]["value"])
    assert shown.is_file() and list((trained / "uploads").glob("photo-*")) == [shown.parent], "and leaves no folder"
    demo["photo"].leave("anna")


@pytest.mark.parametrize("fault", [ImageError("no"), RuntimeError()])
def test_neither_an_answer_nor_a_fault_comes_back_after_the_picture_was_cleared(page, demo, monkeypatch, fault):
    def cleared(*args):
        page(None)
        raise fault

    monkeypatch.setattr(demo["photo"], "find_faces", cleared)
    assert not any(page(ONE).values())


def test_the_method_follows_the_model(page):
    assert page(ONE, method="grad_cam")["methods"]["value"] == "grad_cam"
    assert page(ONE, model="baseline_cnn", method="cbam")["methods"]["value"] == "grad_cam"


def test_no_face_offers_the_whole_picture_and_the_offer_works(page, tmp_path):
    Image.new("RGB", (300, 200), (90, 110, 100)).save(tmp_path / "wall.png")
    out = page(tmp_path / "wall.png")
    assert "No face found" in out["status"] and out["take_whole"]["visible"] and out["faces"] == ""
    assert not out["warnings"], "no face is no fault"
    taken = page(tmp_path / "wall.png", whole=True)
    assert taken["faces"].count("<article") == 1 and not taken["take_whole"]["visible"] and taken["whole"] is True


def test_bad_uploads_are_told_and_leave_nothing_of_the_last_picture(page, tmp_path):
    for name, path in broken_pictures(tmp_path).items():
        out = page(path)
        assert name in out["status"] and 'role="alert"' in out["status"]
        assert out["faces"] == "" and out["boxed"]["value"] is None and out["warnings"]
        assert "Traceback" not in out["status"]


def test_a_fault_of_ours_is_logged_and_admitted(page, demo, monkeypatch, caplog):
    monkeypatch.setattr(demo["photo"], "find_faces", lambda *_: 1 / 0)
    out = page(ONE)
    assert demo["cards"].OOPS in out["status"] and "ZeroDivisionError" in caplog.text


def test_on_zero_gpu_a_space_can_start_and_no_model_is_handed_to_another_process(demo, page, trained, monkeypatch):
    stub, decorated = ModuleType("spaces"), []

    def gpu(task):
        decorated.append(task)

        @functools.wraps(task)
        def in_a_worker(*args, **options):
            pickle.dumps((args, options))
            return task(*args, **options)

        return in_a_worker

    stub.GPU = gpu
    monkeypatch.setitem(sys.modules, "spaces", stub)
    for name in ("app", "photo"):
        monkeypatch.delitem(sys.modules, name)
    uploads = os.environ["GRADIO_TEMP_DIR"]
    monkeypatch.setenv("GRADIO_TEMP_DIR", uploads)  # a new app makes a folder of its own in it
    photo = importlib.import_module("app").photo
    monkeypatch.setenv("GRADIO_TEMP_DIR", uploads)
    assert decorated and photo is not demo["photo"], "a Space is refused without such a function"
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(demo["analysis"].Models().predictor(None))
    monkeypatch.setitem(demo, "photo", photo)
    assert "1 face found" in page(ONE)["status"]


def test_clearing_the_picture_clears_the_page(page):
    out = page(None)
    assert out["faces"] == "" and out["whole"] is False and "Upload a picture" in out["status"]


def test_accuracy_is_shown_for_the_weights_it_was_measured_on_only(page):
    assert "61.3%" in page(None, model="baseline_cnn")["facts"] or "61.2%" in page(None, model="baseline_cnn")["facts"]
    assert "not evaluated" in page(None, model="attention_cnn")["facts"]


def test_many_faces_are_numbered_and_the_rest_is_counted(demo):
    from fer.inference import FaceResult

    result = FaceResult(box=(0, 0, 9, 9), score=1.0, probs=np.full(7, 1 / 7, np.float32), labels=FER7)
    seen = demo["analysis"].Seen(result, np.zeros((9, 9, 3), np.uint8), None)
    html = demo["cards"].face_cards([seen] * 3, left_out=2)
    assert ">3</span>" in html and "2 smaller faces" in html and "fer-single" not in html and "fer-heat" not in html


def test_thirty_small_faces_of_a_group_have_a_row_each(demo):
    from types import SimpleNamespace

    from fer.data.drawn_clip import draw_person, paint_people, pose_of

    rng, people = np.random.default_rng(5), []
    for n in range(30):
        x, y, person = 80 + 160 * (n % 10), 195 + 355 * (n // 10), draw_person(n, plain=True)
        people.append((person, person.acts("neutral", rng), pose_of((x - 40, y - 40, x + 40, y + 40))))
    image = paint_people(people, 1600, 1066, rng)
    stand_in = SimpleNamespace(labels=FER7, predict_proba=lambda faces: np.full((len(faces), 7), 1 / 7, np.float32))
    results = demo["analysis"].find_faces(image, stand_in, whole=False)
    rows = {(round((r.box[0] + r.box[2]) / 320 - 0.5), (r.box[1] + r.box[3]) // 2 // 355) for r in results}
    assert len(results) == 30 and len(rows) == 30, "each person once"
    assert demo["analysis"].MOST_CARDS >= 30


def test_emoji_are_pictures_of_the_project_and_small_in_a_crowd(demo):
    import icons
    from fer.inference import FaceResult

    result = FaceResult(box=(0, 0, 9, 9), score=1.0, probs=np.eye(7, dtype=np.float32)[1], labels=FER7)
    seen = demo["analysis"].Seen(result, np.zeros((9, 9, 3), np.uint8), None)
    html = demo["cards"].face_cards([seen] * 8)
    assert "fer-many" in html and "🤢" not in html
    head = demo["app"].launch_options()["head"]
    for name in FER7.names:
        assert f'class="fer-icon fer-icon-{name}"' in html
        assert f'.fer-icon-{name} {{ background-image: url("data:image/webp;base64,' in head
    assert len({icons.picture(name) for name in FER7.names}) == 7
    assert icons.icon("puzzled", "🤔") == '<span class="fer-icon" aria-hidden="true">🤔</span>'


def test_text_from_outside_is_escaped(demo):
    assert "<script>" not in demo["cards"].message("<script>alert(1)</script>.jpg: no picture")


# --- uploads and examples --------------------------------------------------------------------------------------------


def test_an_upload_that_was_deleted_is_told_as_what_it_is(demo, tmp_path):
    with pytest.raises(ImageError, match=r"no longer here.*choose it again"):
        demo["analysis"].open_upload({"path": str(tmp_path / "gone.jpg"), "orig_name": "gone.jpg"}, tmp_path)


def test_uploads_outside_the_folder_are_refused(demo, tmp_path):
    with pytest.raises(ImageError, match="no picture was uploaded"):
        demo["analysis"].open_upload({"path": str(ONE)}, tmp_path)
    with pytest.raises(ImageError, match="no picture was uploaded"):
        demo["analysis"].open_upload(None, tmp_path)


def test_examples_are_small_and_drawn_faces_are_found_in_them():
    from fer.faces import detect

    assert len(EXAMPLES) >= 4
    for path in EXAMPLES:
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
    assert demo["analysis"].shrink(np.zeros((900, 3000, 3), np.uint8)).shape == (384, 1280, 3)
    small = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert np.array_equal(demo["analysis"].shrink(small), small)
