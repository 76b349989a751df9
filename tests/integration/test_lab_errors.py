"""Errors: the right faces in the right order, everybody's answers, and the pictures where they are at hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fer.data.dataset import Dataset, Split, save
from fer.labels import FER7, FERPLUS8
from tests.lab_driver import captions, charts, messages, numbers, open_page, picture_captions, score, table
from tests.stand_in_results import MODELS

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)
N = 400


@pytest.fixture
def answers(results) -> dict:
    from fer.evaluation import read_results

    return {r.name: r for r in read_results(results)}


@pytest.fixture
def pictures(results, answers, tmp_path, monkeypatch) -> Path:
    """Made-up faces and votes for the rows of the stand-in's test split, with the fingerprint of its results."""
    folder = tmp_path / "data"
    monkeypatch.setenv("FER_DATA", str(folder))
    any_result = answers["vit_tiny"]
    rows, labels = any_result.rows("test"), any_result.labels("test")
    faces = np.random.default_rng(0).integers(0, 255, (N, 48, 48), dtype=np.uint8)
    data = Dataset("fer2013", FER7, {"test": Split(faces, np.eye(7, dtype=np.float32)[labels], rows)})
    save(data, folder / "fer2013.npz")
    votes = np.tile(np.array([0.25, 0, 0, 0, 0, 0, 0, 0.75], np.float32), (N, 1))
    save(Dataset("ferplus", FERPLUS8, {"test": Split(faces, votes, rows)}), folder / "ferplus.npz")
    for model in MODELS:
        path = results / "fer2013" / model / "metrics.json"
        stored = json.loads(path.read_text())
        stored["data"]["fingerprint"] = data.fingerprint
        path.write_text(json.dumps(stored))
    return folder


def test_the_surest_mistakes_of_a_model_come_first(results, answers):
    app = open_page("errors")
    assert "not on this machine" in messages(app) and "prepare_data.py" in messages(app)
    app.selectbox(key="errors_model").set_value("vit_tiny").run()
    r = answers["vit_tiny"]
    probs, labels, rows = r.probs("test"), r.labels("test"), r.rows("test")
    wrong = probs.argmax(axis=1) != labels
    surest = np.flatnonzero(wrong)[np.argsort(-probs[wrong].max(axis=1), kind="stable")]
    shown = table(app, "confidence (%)")
    assert shown["row"].tolist() == rows[surest[:24]].tolist() and "face" not in shown and "crowd" not in shown
    assert shown["confidence (%)"].tolist() == pytest.approx((100 * probs[surest[:24]].max(axis=1)).tolist())
    assert shown["labelled"][0].endswith(FER7.names[labels[surest[0]]])
    bars = {t["name"]: numbers(t["y"]) for t in charts(app)[0]["data"]}
    for model, (title, *_) in MODELS.items():
        assert bars[title] == pytest.approx(answers[model].probs("test")[surest[0]], abs=1e-6)
    assert not app.image and not app.toggle


def test_filters_hold_and_an_empty_answer_says_so(results, answers):
    app = open_page("errors")
    app.multiselect(key="errors_true").set_value(["fear"]).run()
    app.multiselect(key="errors_said").set_value(["sad", "happy"]).run()
    shown = table(app, "confidence (%)")
    assert len(shown) and set(shown["labelled"].str.split().str[-1]) == {"fear"}
    assert set(shown["called"].str.split().str[-1]) <= {"sad", "happy"}
    assert shown["confidence (%)"].is_monotonic_decreasing
    app.multiselect(key="errors_said").set_value(["fear"]).run()
    assert "No face fits" in messages(app) and not app.dataframe
    app.segmented_control(key="errors_kind").set_value("all").run()
    assert (table(app, "called")["called"].str.split().str[-1] == "fear").all(), "right answers are among all faces"


def test_copies_in_training_are_told_beside_a_model_that_was_trained_on_other_data(results, answers):
    import pandas as pd

    path = results / "fer2013" / "vit_tiny" / "predictions.parquet"
    pd.read_parquet(path).drop(columns="seen").to_parquet(path)
    shown = table(open_page("errors", errors_kind="all"), "copy in training").set_index("row")["copy in training"]
    frame = answers["baseline_cnn"].frame("test").set_index("row")["seen"].replace("", "–")
    assert shown.tolist() == frame[shown.index].tolist() and "exact" in shown.tolist()


@pytest.mark.parametrize("kind", ["disagree", "labels"])
def test_the_gallery_is_the_packages_own(results, answers, kind):
    from fer.evaluation.gallery import disagreements, label_errors

    app = open_page("errors")
    app.segmented_control(key="errors_kind").set_value(kind).run()
    everybody = [answers[m].probs("test") for m in MODELS]
    pick = disagreements if kind == "disagree" else label_errors
    expected = pick(everybody, answers["vit_tiny"].labels("test"), 24)
    assert table(app, "row")["row"].tolist() == answers["vit_tiny"].rows("test")[expected].tolist()


def test_with_the_pictures_the_faces_and_the_votes_show(pictures):
    app = open_page("errors")
    assert not app.info and not app.warning
    shown = table(app, "face")
    assert shown["face"].str.startswith("data:image/png;base64,").all()
    assert shown["crowd"][0].split(",")[0].endswith("contempt 75 %")
    assert len(app.image) == 1
    crowd = next(t for t in charts(app)[0]["data"] if "crowd" in t["name"])
    named = dict(zip([x.split()[-1] for x in crowd["x"]], numbers(crowd["y"]), strict=True))
    assert named["contempt"] == pytest.approx(0.75) and named["neutral"] == pytest.approx(0.25)


def test_overlays_come_on_demand_one_per_model_with_a_checkpoint(pictures, results, checkpoints):
    score(results, checkpoints, {m: m for m in MODELS})
    app = open_page("errors")
    assert len(app.image) == 1
    app.toggle(key="errors_overlays").set_value(True).run()
    assert len(app.image) == 1 + len(MODELS) and not app.error


def test_the_weights_that_were_scored_are_asked_and_no_namesake(pictures, results, checkpoints):
    from fer.explain import METHODS, methods_for

    score(results, checkpoints, {"baseline_cnn": "vit_tiny"})
    path = results / "fer2013" / "baseline_cnn" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": "vit_tiny@elsewhere", "title": "ViT there"}))
    app = open_page("errors")
    app.toggle(key="errors_overlays").set_value(True).run()
    first, other = (METHODS[methods_for(checkpoints / m)[0]].title for m in ("vit_tiny", "baseline_cnn"))
    assert picture_captions(app)[1:] == [f"ViT there: {first}"] and first != other and not app.error
    assert "not here: Attention CNN, ViT-Tiny." in captions(app), "bundled are other weights of those names"


def test_without_the_weights_that_were_scored_nothing_is_asked(pictures, checkpoints):
    app = open_page("errors")
    assert not app.toggle and "weights that were scored are not here" in captions(app)


def test_other_pictures_than_those_scored_are_not_shown(pictures, results):
    for path in (results / "fer2013").glob("*/metrics.json"):
        stored = json.loads(path.read_text())
        stored["data"]["fingerprint"] = "0" * 64
        path.write_text(json.dumps(stored))
    app = open_page("errors")
    assert "fingerprints differ" in messages(app) and not app.image and "crowd" not in table(app, "row")


def test_damaged_pictures_are_a_sentence(pictures):
    (pictures / "fer2013.npz").write_bytes(b"PK nonsense")
    app = open_page("errors")
    assert "cannot be read" in messages(app) and not app.error and len(app.dataframe) == 1
