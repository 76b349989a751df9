"""Attention: stored maps and scores, and one face under every model and method, only when asked."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fer.labels import FER7
from tests.lab_driver import captions, charts, encoded, helps, messages, numbers, open_page, scene, score, sound, table
from tests.stand_in_results import MODELS, sha256

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
        assert line["faces"] == m.get("n", 300)
        assert line["both boxes (%)"] == pytest.approx(100 * m["pointing"])
        assert line["sanity"] == m["sanity"] or (m["sanity"] is None and np.isnan(line["sanity"]))
    assert "Measured on faces of PrivateTest, as many of each expression" in captions(app)
    assert helps(app, "sanity").startswith("Mean absolute rank correlation") and "near 0" not in helps(app, "sanity")
    app.pills(key="curves_of").set_value("occlusion").run()
    deletion, insertion = charts(app)[1:3]
    for figure, kind in ((deletion, "deletion"), (insertion, "insertion")):
        line = next(t for t in figure["data"] if t["name"] == "Attention CNN")
        assert numbers(line["y"]) == pytest.approx(stored["occlusion"][f"{kind}_curve"])


def test_models_run_only_when_asked_and_show_every_method(results, checkpoints):
    from fer.explain import methods_for

    score(results, checkpoints, {m: m for m in MODELS})
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


def test_a_result_is_answered_by_the_weights_that_were_scored(results, checkpoints):
    from fer.explain import methods_for

    score(results, checkpoints, {"attention_cnn": "baseline_cnn"})
    app = open_page("attention")
    assert "not here: Baseline CNN, ViT-Tiny." in captions(app)
    sound(app.button(key="ask_all").click().run())
    assert [m.value.split("**")[1] for m in app.markdown if m.value.startswith("**")] == ["Attention CNN"]
    asked, namesake = (len(methods_for(checkpoints / m)) for m in ("baseline_cnn", "attention_cnn"))
    assert len(app.image) == 1 + asked and asked != namesake


def test_bundled_weights_are_known_by_their_checksum_or_what_they_were_made_from(results, checkpoints, monkeypatch):
    from fer import checkpoint
    from fer.evaluation import read_results
    from streamlit_app import live

    titles = {r.name: r.title for r in read_results(results)}
    found, absent = live.scored_here(read_results(results))
    assert found == {} and absent == list(titles.values()), "the names alone say nothing"
    score(results, checkpoints, {"baseline_cnn": "vit_tiny"})
    config = checkpoints / "attention_cnn" / "config.json"
    int8 = json.loads(config.read_text())
    int8["weights"]["made_from"] = sha256("attention_cnn")
    config.write_text(json.dumps(int8))
    expected = {"baseline_cnn": "vit_tiny", "attention_cnn": "attention_cnn"}, [titles["vit_tiny"]]
    assert live.scored_here(read_results(results)) == expected
    with monkeypatch.context() as m:
        m.setattr(checkpoint, "read_manifest", lambda path: pytest.fail("read again though nothing changed"))
        assert live.scored_here(read_results(results)) == expected
    config.write_text("{oops")
    assert live.scored_here(read_results(results))[0] == {"baseline_cnn": "vit_tiny"}


def test_models_are_asked_about_the_face_as_it_is(results, checkpoints, monkeypatch):
    from streamlit_app import live

    score(results, checkpoints, {"vit_tiny": "vit_tiny"})
    app = open_page("attention")
    app.segmented_control(key="attention_source").set_value("Upload").run()
    face = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    app.file_uploader[0].set_value(("me.png", encoded(np.repeat(face[:, :, None], 3, axis=2)), "image/png")).run()
    asked = []
    for name in ("ask", "heatmap"):
        kept = getattr(live, name)
        monkeypatch.setattr(live, name, lambda m, f, *a, kept=kept: (asked.append(np.asarray(f)), kept(m, f, *a))[1])
    sound(app.button(key="ask_all").click().run())
    assert len(asked) > 2 and all(a.shape[:2] == (48, 48) for a in asked)


def test_an_uploaded_face_takes_the_place_of_the_drawn_one(results, checkpoints):
    score(results, checkpoints, {"vit_tiny": "vit_tiny"})
    app = open_page("attention")
    app.segmented_control(key="attention_source").set_value("Upload").run()
    assert not app.image
    app.file_uploader[0].set_value(("me.png", encoded(scene(["fear"])), "image/png")).run()
    assert len(sound(app).image) == 1
    app.file_uploader[0].set_value(("me.png", b"nonsense", "image/png")).run()
    assert "not a picture" in messages(sound(app))


def test_without_checkpoints_the_stored_part_still_shows(results):
    app = open_page("attention")
    assert "has a checkpoint here" in messages(app) and len(charts(app)) == 3
