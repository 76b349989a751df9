"""What the demo says about its own answers: prediction sets, marks of doubt, all models side by side, the cards."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fer.checkpoint import read_manifest, trained_models
from fer.data.synthetic import draw_face, draw_scene
from fer.inference import FaceResult
from fer.labels import AFFECTNET8, FER7

pytest_plugins = ("tests.demo_fixtures",)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bundled(demo):
    """The models that come with the project, loaded once for all tests here."""
    return demo.analysis.Models()


def scored(folder: Path, sha256: str) -> None:
    """Stored scores of baseline_cnn, as marks.py reads them."""
    metrics = {
        "checkpoint": {"sha256": sha256},
        "splits": {"test": {"title": "PrivateTest", "conformal": {"0.9": {"threshold": 0.2, "coverage": 0.915}}}},
    }
    place = folder / "fer2013" / "baseline_cnn"
    place.mkdir(parents=True, exist_ok=True)
    (place / "metrics.json").write_text(json.dumps(metrics))


def face(probs, score=1.0, labels=FER7) -> FaceResult:
    return FaceResult(box=(0, 0, 9, 9), score=score, probs=np.asarray(probs, np.float32), labels=labels)


# --- prediction sets --------------------------------------------------------------------------------------------------

FITTED = {"data": "fer2013", "split": "PublicTest", "n": 3589, "thresholds": {"0.9": 0.2}}
PROBS = np.array([0.05, 0.0, 0.3, 0.05, 0.1, 0.4, 0.1], np.float32)


def test_a_set_holds_the_classes_above_the_threshold_the_likeliest_first(demo, untrained, tmp_path, monkeypatch):
    manifest = replace(read_manifest(untrained("baseline_cnn")), conformal=FITTED)
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    scored(tmp_path, manifest.weights["sha256"])
    sets = demo.marks.prediction_sets(manifest)
    assert sets.of(PROBS, FER7) == ("surprise", "fear")
    assert (sets.level, sets.coverage, sets.split) == (0.9, 0.915, "PrivateTest")
    assert "PrivateTest's faces it held 91.5%" in demo.cards.set_note(sets)


def test_without_a_threshold_there_are_no_sets_and_what_other_weights_held_is_not_claimed(
    demo, untrained, tmp_path, monkeypatch
):
    plain = read_manifest(untrained("baseline_cnn"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path))
    scored(tmp_path, plain.weights["sha256"])
    assert demo.marks.prediction_sets(plain) is None
    scored(tmp_path, "0" * 64)
    sets = demo.marks.prediction_sets(replace(plain, conformal=FITTED))
    assert (sets.threshold, sets.coverage) == (0.2, None) and demo.marks.accuracy(plain) is None
    assert "held" not in demo.cards.set_note(sets)
    (tmp_path / "fer2013" / "baseline_cnn" / "metrics.json").write_text("{")
    assert demo.marks.prediction_sets(replace(plain, conformal=FITTED)).coverage is None


@pytest.mark.parametrize("name", trained_models())
def test_bundled_models_have_sets_that_grow_with_doubt(demo, name):
    sets = demo.marks.prediction_sets(read_manifest(name))
    sure, torn = np.full(7, 0.005), np.full(7, 0.02)
    sure[3], torn[2], torn[5] = 0.97, 0.45, 0.45
    assert sets.of(sure, FER7) == ("happy",) and set(sets.of(torn, FER7)) == {"fear", "surprise"}
    assert 0.85 < sets.coverage < 0.97


# --- marks of doubt ---------------------------------------------------------------------------------------------------


def crops_without_faces() -> dict[str, list[np.ndarray]]:
    import cv2

    rng = np.random.default_rng(0)
    sizes = [int(s) for s in rng.integers(48, 280, 12)]
    bricks = []
    for s in sizes:
        wall = np.full((s, s), 150, np.uint8)
        step = max(s // 9, 5)
        for row, y in enumerate(range(0, s, step)):
            cv2.line(wall, (0, y), (s, y), 220, 2)
            for x in range(-(row % 2) * step, s, 2 * step):
                cv2.line(wall, (x, y), (x, y + step), 220, 2)
        bricks.append(cv2.cvtColor(cv2.add(wall, rng.integers(0, 30, wall.shape, dtype=np.uint8)), cv2.COLOR_GRAY2RGB))
    clouds = [cv2.GaussianBlur(rng.normal(128, 900, (s, s)), (0, 0), s / 14).clip(0, 255) for s in sizes]
    return {
        "noise": [rng.integers(0, 256, (s, s, 3), dtype=np.uint8) for s in sizes],
        "flat": [np.full((s, s, 3), rng.integers(0, 256, 3), np.uint8) for s in sizes],
        "bricks": bricks,
        "clouds": [np.repeat(c.astype(np.uint8)[:, :, None], 3, 2) for c in clouds],
        "landscapes": [draw_scene([], np.random.default_rng(s), max(s, 64), max(s, 64))[0] for s in sizes],
    }


def test_crops_without_a_face_are_marked_and_drawn_faces_are_not(demo, bundled):
    model = bundled.predictor(None)

    def marked(crop):
        (result,) = demo.analysis.find_faces(crop, model, whole=True)
        return "no_face" in [d.name for d in demo.marks.doubts(result, crop, whole=True)]

    for kind, crops in crops_without_faces().items():
        assert sum(map(marked, crops)) >= len(crops) - 1, kind
    faces = [draw_face(FER7.names[i % 7], np.random.default_rng(i), (48, 96, 200)[i % 3]) for i in range(42)]
    assert sum(map(marked, faces)) <= 4, "a tenth of the drawn faces at most"


def test_the_nets_alone_could_not_tell(demo, bundled):
    """Why the detector is asked: a net may be surer of noise than of faces."""
    noise = crops_without_faces()["noise"]
    surest = max(bundled.predictor(name).predict_proba(noise).max(axis=1).mean() for name in bundled.names)
    assert surest > demo.marks.UNSURE_BELOW


def test_how_often_the_unsure_are_right_is_what_the_stored_predictions_say(demo, bundled):
    from fer.evaluation.results import read_result

    below, above = [], []
    for name in bundled.names:
        scored = read_result(ROOT / "results" / demo.marks.DATA / name)
        probs, labels = scored.probs("test"), scored.labels("test")
        right, unsure = probs.argmax(1) == labels, probs.max(1) < demo.marks.UNSURE_BELOW
        below.append(100 * right[unsure].mean())
        above.append(100 * right[~unsure].mean())
    assert (round(min(below)), round(max(below))) == demo.marks.RIGHT_BELOW
    assert (round(min(above)), round(max(above))) == demo.marks.RIGHT_ABOVE
    told = "right in {} to {} % of such cases, and in {} to {} % of the others"
    assert told.format(*demo.marks.RIGHT_BELOW, *demo.marks.RIGHT_ABOVE) in " ".join(demo.about.TEXT.split())


def test_a_small_face_does_not_make_a_large_picture_a_face(demo):
    picture, (box,) = draw_scene(["happy"], np.random.default_rng(4), 200, 200, "plain")
    wide = np.full((600, 600, 3), 128, np.uint8)
    wide[:200, :200] = picture
    around = face([1, 0, 0, 0, 0, 0, 0])
    assert [d.name for d in demo.marks.doubts(around, wide, whole=True)] == ["no_face"]
    left, top, right, bottom = box
    assert demo.marks.doubts(around, picture[top:bottom, left:right], whole=True) == []


def test_what_the_detector_is_not_sure_of_is_marked(demo):
    crop = np.zeros((9, 9, 3), np.uint8)
    (doubt,) = demo.marks.doubts(face([0.9, 0.1, 0, 0, 0, 0, 0], score=0.62), crop, whole=False)
    assert doubt.name == "no_face" and "62%" in doubt.text
    assert demo.marks.doubts(face([0.9, 0.1, 0, 0, 0, 0, 0], score=0.95), crop, whole=False) == []


def test_an_answer_below_one_half_is_marked_and_the_set_stands_on_the_card(demo):
    marks, crop = demo.marks, np.zeros((9, 9, 3), np.uint8)
    result = face([0.05, 0, 0.3, 0.05, 0.1, 0.4, 0.1])
    found = marks.doubts(result, crop, whole=False)
    assert [d.name for d in found] == ["unsure"]
    seen = demo.analysis.Seen(result, crop, None, tuple(found), ("surprise", "fear"))
    html = demo.cards.face_cards([seen])
    assert "Unsure: surprise" in html and "90% set: <b>surprise or fear</b>" in html
    none = demo.analysis.Seen(result, crop, None, (marks.Doubt("no_face", "Perhaps no face"),), ("surprise",))
    assert "set:" not in demo.cards.face_cards([none]), "what is promised for faces is not said of a wall"
    plain = demo.cards.face_cards([demo.analysis.Seen(face([0.6, 0.4, 0, 0, 0, 0, 0]), crop, None)])
    assert "fer-doubt" not in plain and "set:" not in plain


# --- all models -------------------------------------------------------------------------------------------------------


def test_agreement_in_a_sentence(demo):
    say = demo.compare.agreement
    assert say([("A", "sad")]) == "A says sad."
    assert say([("A", "sad"), ("B", "sad")]) == "Both models say sad."
    assert say([("A", "sad"), ("B", "sad"), ("C", "sad")]) == "All 3 models say sad."
    three = [("A", "sad"), ("B", "fear"), ("C", "sad"), ("D", "sad"), ("E", "happy"), ("F", "fear"), ("G", "sad")]
    assert say(three) == "4 of 7 models say sad; B and F say fear; E says happy."
    even = [("A", "sad"), ("B", "fear"), ("C", "sad"), ("D", "fear"), ("E", "happy")]
    assert say(even) == "The models disagree: A and C say sad; B and D say fear; E says happy."


def test_the_table_has_a_row_per_model_and_frames_the_sets(demo):
    sets = demo.marks.PredictionSets(0.9, 0.2, 0.91, "PrivateTest")
    one = demo.compare.Opinion("One", FER7, np.stack([PROBS, PROBS[::-1]]), sets)
    eight = np.array([[0.1, 0.7, 0, 0.1, 0, 0, 0, 0.1]] * 2, np.float32)
    two = demo.compare.Opinion("<Two>", AFFECTNET8, eight, None)
    html = demo.compare.table([one, two], 0)
    assert html.count('scope="row"') == 2 and "&lt;Two&gt;" in html and "<Two>" not in html
    assert html.count('scope="col"') == 8, "seven shared classes and contempt"
    first, second = re.findall(r"<tr><th scope=\"row\">.*?</tr>", html)
    assert first.count("<td>·</td>") == 1 and second.count("<td>·</td>") == 0
    assert first.count("fer-in") == 2 and re.search(r'class="fer-in fer-top"[^>]*>40<', first)
    assert "fer-in" not in second and re.search(r'class="fer-top"[^>]*>70<', second)
    assert html != demo.compare.table([one, two], 1), "every face has its own answers"


def test_a_model_that_cannot_be_loaded_is_left_out_of_the_comparison(demo, untrained, tmp_path, monkeypatch):
    for name in ("baseline_cnn", "attention_cnn"):
        shutil.copytree(untrained(name), tmp_path / name)
    (tmp_path / "baseline_cnn" / "model.safetensors").write_bytes(b"no weights")
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path))
    opinions = demo.compare.ask_all(demo.analysis.Models(), [draw_face("sad", np.random.default_rng(0), 64)])
    assert [o.title for o in opinions] == ["Attention CNN"]


def test_all_bundled_models_answer_one_face_within_a_second_of_work(demo, bundled):
    crop = draw_face("happy", np.random.default_rng(0), 200)
    demo.compare.ask_all(bundled, [crop])  # loads them
    began = time.process_time()
    opinions = demo.compare.ask_all(bundled, [crop])
    assert time.process_time() - began < 1
    assert [o.title for o in opinions] == [bundled.title(name) for name in bundled.names]
    assert all(o.probs.shape == (1, 7) for o in opinions)


# --- examples and cards -----------------------------------------------------------------------------------------------


def test_portraits_come_out_of_installed_packages_and_show_a_face(demo):
    from fer.faces import detect

    found = demo.photo.portraits()
    assert found, "scikit-image is among the requirements"
    for path in found:
        assert not path.is_relative_to(ROOT / "demo") and len(detect(path)) == 1


def test_portraits_of_absent_packages_are_left_out(demo, monkeypatch, tmp_path):
    monkeypatch.setattr(demo.photo, "PORTRAITS", {"no_such_package": "a.png", "json": "no_such_file.png"})
    assert demo.photo.portraits() == []


def test_the_notice_with_its_link_stands_above_all_pages_and_leads_to_the_cards(demo, bundled):
    app = demo.app.build_app(bundled).config
    by_id = {c["id"]: c for c in app["components"]}

    def inside_tabs(node, found=None):
        found = [] if found is None else found
        for child in node.get("children") or ():
            kind = by_id[child["id"]]["type"]
            found.append(child["id"])
            if kind != "tabs":
                inside_tabs(child, found)
        return found

    outside = [by_id[i] for i in inside_tabs(app["layout"])]
    notice = [c for c in outside if "An expression is not a feeling" in str(c["props"].get("value"))]
    assert len(notice) == 1 and "fer-to-about" in notice[0]["props"]["value"]
    assert any(c["props"].get("elem_id") == "fer-to-about" for c in outside)
    titles = [c["props"]["label"] for c in by_id.values() if c["type"] == "accordion"]
    assert [bundled.title(name) for name in bundled.names] == titles[-len(bundled.names) :]


def test_every_bundled_model_has_a_card_and_a_damaged_one_says_so(demo, bundled, tmp_path, monkeypatch, untrained):
    for name in bundled.names:
        text = demo.about._reader(bundled, name)()
        assert text.startswith(f"# {bundled.title(name)}") and "An expression is not a feeling" in text
        assert f'model="{name}"' in text and "hf:" not in text
    shutil.copytree(untrained("baseline_cnn"), tmp_path / "baseline_cnn")
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path))
    damaged = demo.analysis.Models()
    (tmp_path / "baseline_cnn" / "config.json").write_text("{")
    assert "cannot be written" in demo.about._reader(damaged, "baseline_cnn")()
