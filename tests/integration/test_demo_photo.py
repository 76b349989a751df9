"""What the demo's page for photographs shows, on untrained nets and drawn faces."""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fer.errors import ImageError
from fer.labels import FER7
from tests.demo_stand_ins import ONE, broken_pictures

pytest_plugins = ("tests.demo_fixtures",)


@pytest.fixture
def page(demo, trained, monkeypatch):
    """Function: run the page's own handler on a file and read the components by name."""
    import gradio as gr

    names = ["status", "take_whole", "boxed", "look", "methods", "faces", "whole", "facts"]
    with gr.Blocks():
        components = [gr.HTML() for _ in names]
    models = demo.analysis.Models()
    warnings: list[str] = []
    monkeypatch.setattr(demo.photo.gr, "Warning", lambda text, **_: warnings.append(text))

    def show(path, model="attention_cnn", method=None, whole=False, every=False, session="anna"):
        upload = None
        if path is not None:
            upload = {"path": str(trained / "uploads" / Path(path).name), "orig_name": Path(path).name}
            (trained / "uploads").mkdir(exist_ok=True)
            shutil.copyfile(path, upload["path"])
        out = demo.photo._show(models, components, session, upload, model, method, whole, every)
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
    demo.photo.leave("anna")
    assert not third.parent.exists() and others.is_file()
    demo.photo.leave("ben")
    assert list((trained / "uploads").glob("photo-*")) == [] and demo.photo._shown == {}


def test_who_leaves_while_a_picture_is_looked_at_leaves_no_picture_with_boxes(page, demo, trained, monkeypatch):
    draw = demo.photo.draw_faces
    monkeypatch.setattr(demo.photo, "draw_faces", lambda *a, **k: demo.photo.leave("anna") or draw(*a, **k))
    assert page(ONE)["boxed"]["value"] is None
    assert list((trained / "uploads").glob("photo-*")) == [] and demo.photo._shown == {}


def test_an_older_answer_does_not_take_the_place_of_a_newer_one(page, demo, trained, monkeypatch):
    """Two of a visitor's questions may be at work at the same time, and the first one may be the slower."""
    find, newer = demo.photo.find_faces, []

    def slow_at_first(*args):
        if not newer:
            newer.append(None)
            newer[0] = page(ONE, model="baseline_cnn")
        return find(*args)

    monkeypatch.setattr(demo.photo, "find_faces", slow_at_first)
    assert not any(page(ONE).values()), "nothing is changed on the page"
    shown = Path(newer[0]["boxed"]["value"])
    assert shown.is_file() and list((trained / "uploads").glob("photo-*")) == [shown.parent], "and leaves no folder"
    demo.photo.leave("anna")


@pytest.mark.parametrize("fault", [ImageError("no"), RuntimeError()])
def test_neither_an_answer_nor_a_fault_comes_back_after_the_picture_was_cleared(page, demo, monkeypatch, fault):
    def cleared(*args):
        page(None)
        raise fault

    monkeypatch.setattr(demo.photo, "find_faces", cleared)
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
    monkeypatch.setattr(demo.photo, "find_faces", lambda *_: 1 / 0)
    out = page(ONE)
    assert demo.cards.OOPS in out["status"] and "ZeroDivisionError" in caplog.text


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
    assert decorated and photo is not demo.photo, "a Space is refused without such a function"
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(demo.analysis.Models().predictor(None))
    monkeypatch.setattr(demo, "photo", photo)
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
    seen = demo.analysis.Seen(result, np.zeros((9, 9, 3), np.uint8), None)
    html = demo.cards.face_cards([seen] * 3, left_out=2)
    assert ">3</span>" in html and "2 smaller faces" in html and "fer-single" not in html and "fer-heat" not in html


def test_thirty_small_faces_of_a_group_have_a_row_each(demo):
    from fer.data.drawn_clip import draw_person, paint_people, pose_of

    rng, people = np.random.default_rng(5), []
    for n in range(30):
        x, y, person = 80 + 160 * (n % 10), 195 + 355 * (n // 10), draw_person(n, plain=True)
        people.append((person, person.acts("neutral", rng), pose_of((x - 40, y - 40, x + 40, y + 40))))
    image = paint_people(people, 1600, 1066, rng)
    stand_in = SimpleNamespace(labels=FER7, predict_proba=lambda faces: np.full((len(faces), 7), 1 / 7, np.float32))
    results = demo.analysis.find_faces(image, stand_in, whole=False)
    rows = {(round((r.box[0] + r.box[2]) / 320 - 0.5), (r.box[1] + r.box[3]) // 2 // 355) for r in results}
    assert len(results) == 30 and len(rows) == 30, "each person once"
    assert demo.analysis.MOST_CARDS >= 30


def test_emoji_are_pictures_of_the_project_and_small_in_a_crowd(demo):
    import icons
    from fer.inference import FaceResult

    result = FaceResult(box=(0, 0, 9, 9), score=1.0, probs=np.eye(7, dtype=np.float32)[1], labels=FER7)
    seen = demo.analysis.Seen(result, np.zeros((9, 9, 3), np.uint8), None)
    html = demo.cards.face_cards([seen] * 8)
    assert "fer-many" in html and "🤢" not in html
    head = demo.app.launch_options()["head"]
    for name in FER7.names:
        assert f'class="fer-icon fer-icon-{name}"' in html
        assert f'.fer-icon-{name} {{ background-image: url("data:image/webp;base64,' in head
    assert len({icons.picture(name) for name in FER7.names}) == 7
    assert icons.icon("puzzled", "🤔") == '<span class="fer-icon" aria-hidden="true">🤔</span>'


def test_text_from_outside_is_escaped(demo):
    assert "<script>" not in demo.cards.message("<script>alert(1)</script>.jpg: no picture")
