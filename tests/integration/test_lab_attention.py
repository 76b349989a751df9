"""Attention: stored maps and scores, and one face under every model and method, only when asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fer.labels import FER7
from tests.lab_driver import charts, encoded, messages, numbers, open_page, scene, table
from tests.stand_in_results import MODELS

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


def test_average_maps_are_those_of_maps_npz(results):
    app = open_page("attention")
    app.pills(key="average_method").set_value("occlusion").run()
    drawn = charts(app)[0]["data"]
    assert len(drawn) == 6 * len(MODELS), "nobody was taken for disgust: those maps are left out"
    with np.load(results / "fer2013" / "vit_tiny" / "maps.npz") as z:
        expected = z["occlusion"]
    last_row = drawn[-6:]
    assert [t["name"] for t in last_row] == [c for c in FER7.names if c != "disgust"]
    assert (numbers(last_row[1]["z"]) == expected[2]).all()


def test_a_method_that_one_model_has_is_shown_for_that_one(results):
    app = open_page("attention")
    app.pills(key="average_method").set_value("cbam").run()
    assert len(charts(app)[0]["data"]) == 6 * len(MODELS)
    app.pills(key="curves_of").set_value("cbam").run()
    assert [t["name"] for t in charts(app)[1]["data"]] == ["Attention CNN"]


def test_maps_of_another_checkpoint_are_left_out_with_their_scores(results):
    path = results / "fer2013" / "vit_tiny" / "explanation.json"
    stale = json.loads(path.read_text())
    path.write_text(json.dumps(stale | {"checkpoint_sha256": "e" * 64}))
    app = open_page("attention")
    assert len(charts(app)[0]["data"]) == 6 * (len(MODELS) - 1)
    assert "ViT-Tiny" not in table(app, "deletion")["model"].tolist()
    assert any("ViT-Tiny was measured on an earlier checkpoint" in c.value for c in app.caption)


def test_the_number_of_faces_is_that_of_the_method(results):
    for model in MODELS:
        path = results / "fer2013" / model / "explanation.json"
        content = json.loads(path.read_text())
        content["methods"]["occlusion"]["n"] = 35
        path.write_text(json.dumps(content))
    app = open_page("attention")
    app.pills(key="average_method").set_value("grad_cam").run()
    assert any("(300 faces, seeded)" in c.value for c in app.caption)
    app.pills(key="average_method").set_value("occlusion").run()
    assert any("(35 faces, seeded)" in c.value for c in app.caption)


def test_scores_and_curves_are_those_of_explanation_json(results):
    app = open_page("attention")
    stored = json.loads((results / "fer2013" / "attention_cnn" / "explanation.json").read_text())["methods"]
    shown = table(app, "deletion")
    shown = shown[shown["model"] == "Attention CNN"].set_index("method")
    assert len(shown) == len(stored) == 4
    for m in stored.values():
        line = shown.loc[m["title"]]
        assert line["deletion"] == m["deletion"] and line["insertion"] == m["insertion"]
        assert line["both boxes (%)"] == pytest.approx(100 * m["pointing"])
        assert line["sanity"] == m["sanity"] or (m["sanity"] is None and np.isnan(line["sanity"]))
    app.pills(key="curves_of").set_value("occlusion").run()
    deletion, insertion = charts(app)[1:3]
    for figure, kind in ((deletion, "deletion"), (insertion, "insertion")):
        line = next(t for t in figure["data"] if t["name"] == "Attention CNN")
        assert numbers(line["y"]) == pytest.approx(stored["occlusion"][f"{kind}_curve"])


def test_models_run_only_when_asked_and_show_every_method(results, checkpoints):
    from fer.explain import methods_for

    app = open_page("attention")
    assert len(app.image) == 1, "the drawn face alone"
    app.button(key="ask_all").click().run()
    assert not app.exception and not app.error
    methods = sum(len(methods_for(checkpoints / m)) for m in MODELS)
    assert len(app.image) == 1 + methods and methods > 2 * len(MODELS)
    told = [m.value for m in app.markdown if m.value.startswith("**")]
    assert [t.split("**")[1] for t in told] == [title for title, *_ in MODELS.values()]
    app.pills(key="attention_expression").set_value("sad").run()
    assert len(app.image) == 1, "another face: ask again"


def test_an_uploaded_face_takes_the_place_of_the_drawn_one(results, checkpoints):
    app = open_page("attention")
    app.segmented_control(key="attention_source").set_value("Upload").run()
    assert not app.image
    app.file_uploader[0].set_value(("me.png", encoded(scene(["fear"])), "image/png")).run()
    assert len(app.image) == 1 and not app.exception
    app.file_uploader[0].set_value(("me.png", b"nonsense", "image/png")).run()
    assert "not a picture" in messages(app) and not app.exception


def test_without_checkpoints_the_stored_part_still_shows(results):
    app = open_page("attention")
    assert "has a checkpoint here" in messages(app) and len(charts(app)) == 3
