"""Leaderboard: the numbers of metrics.json, the marks, ensembles and seeds."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from fer.evaluation import ablations
from tests.lab_driver import captions, charts, messages, metrics, numbers, open_page, score, table
from tests.stand_in_results import MODELS, TITLES

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


@pytest.mark.parametrize(("split", "view"), [("test", "single"), ("val", "tencrop")])
def test_the_table_shows_what_metrics_json_holds(results, split, view):
    app = open_page()
    app.sidebar.radio[0].set_value(split).run()
    app.sidebar.radio[1].set_value(view).run()
    shown = app.dataframe[0].value.set_index("model")
    assert list(shown.index) == ["Baseline CNN", "Attention CNN", "ViT-Tiny"], "the order of every table"
    for model, (title, *_) in MODELS.items():
        m, row = metrics(results, model), shown.loc[title]
        scores = m["splits"][split][view]
        for key, name in TITLES.items():
            assert row[f"{name} (%)"] == pytest.approx(100 * m["splits"][key][view]["accuracy"], abs=1e-3)
        for column, key in {
            "macro-F1": "macro_f1",
            "balanced": "balanced_accuracy",
            "top 2": "top2",
            "ECE": "ece",
        }.items():
            assert row[f"{column} (%)"] == pytest.approx(100 * scores[key], abs=1e-3)
        low, high = (100 * v for v in scores["accuracy_interval"])
        assert row["95 % interval"] == f"{low:.1f} to {high:.1f}"
        assert row["parameters"] == m["parameters"]
        assert row["multiply-adds (M)"] == pytest.approx(m["cost"]["macs"] / 1e6, abs=1e-3)
        assert row["one face (ms)"] == pytest.approx(m["cost"]["latency_ms"]["batch_1"], abs=1e-3)
        assert row["of 32 (ms)"] == pytest.approx(m["cost"]["latency_ms"]["batch_32"] / 32, abs=1e-3)
        assert row["training (min)"] == pytest.approx(m["trained"]["seconds"] / 60)
        if view == "single":
            assert row["no copies (%)"] == pytest.approx(100 * m["splits"][split]["leakage"]["accuracy"], abs=1e-3)
    assert shown.loc["ViT-Tiny", "marks"] == "distilled from attention_cnn"
    assert shown.loc["Baseline CNN", "marks"] == "–"


def test_cards_and_dots_show_the_accuracy_of_the_chosen_split(results):
    app = open_page()
    accuracy = {m: metrics(results, m)["splits"]["test"]["single"]["accuracy"] for m in MODELS}
    cards = {m.label: m.value for m in app.metric}
    assert cards == {MODELS[m][0]: f"{100 * a:.1f} %" for m, a in accuracy.items()}
    assert list(cards) == ["Baseline CNN", "Attention CNN", "ViT-Tiny"], "baseline, attention, ViT"
    assert any("distilled from attention_cnn" in c.value for c in app.caption)
    dots = charts(app)[0]["data"]
    best_first = sorted(accuracy, key=lambda m: -accuracy[m])
    assert [d["name"] for d in dots] == [MODELS[m][0] for m in best_first]
    assert [numbers(d["x"])[0] for d in dots] == pytest.approx([accuracy[m] for m in best_first])
    low, _ = metrics(results, best_first[0])["splits"]["test"]["single"]["accuracy_interval"]
    assert numbers(dots[0]["error_x"]["arrayminus"])[0] == pytest.approx(accuracy[best_first[0]] - low)
    assert "they hold the accuracy on all such faces in 95 of 100 test sets" in captions(app)


def test_ensembles_and_seeds_are_those_of_their_files(results):
    app = open_page()
    stored = json.loads((results / "fer2013" / "ensembles.json").read_text())["ensembles"]
    stored.sort(key=lambda e: -e["val_accuracy"])
    shown = table(app, "members")
    assert shown["test (%)"].tolist() == pytest.approx([100 * e["test_accuracy"] for e in stored])
    assert shown["members"][1] == "Baseline CNN (50%) + Attention CNN (50%)"
    lines = csv.DictReader((results / "fer2013" / "seeds.csv").read_text().splitlines())
    runs = [float(line["test_accuracy"]) for line in lines if line["model"] == "vit_tiny"]
    seeds = table(app, "runs").set_index("model").loc["ViT-Tiny"]
    assert seeds["runs"] == len(runs) == 3
    assert seeds["test, mean (%)"] == pytest.approx(100 * np.mean(runs))
    assert seeds["test, deviation (%)"] == pytest.approx(100 * np.std(runs, ddof=1))


def test_ensembles_are_also_shown_without_the_copies(results):
    assert "no copies (%)" not in table(open_page(), "members"), "not known of them"
    path = results / "fer2013" / "ensembles.json"
    content = json.loads(path.read_text())
    without = {"exact": 40, "near": 20, "kept": 340, "accuracy": 0.61, "accuracy_interval": [0.57, 0.65]}
    content["ensembles"][0] |= {"leakage": without, "val_accuracy": 0.70}
    path.write_text(json.dumps(content))
    app = open_page()
    shown = table(app, "members")["no copies (%)"]
    assert shown.tolist() == pytest.approx([61, np.nan], nan_ok=True)
    without["accuracy_interval"] = None
    path.write_text(json.dumps(content))
    assert "ensembles.json" in open_page().warning[0].value


def test_models_whose_weights_are_not_bundled_are_marked(results, checkpoints):
    score(results, checkpoints, {"baseline_cnn": "baseline_cnn"})
    app = open_page()
    shown = app.dataframe[0].value.set_index("model")["marks"]
    assert shown["Baseline CNN"] == "–" and shown["Attention CNN"] == "weights not bundled"
    assert shown["ViT-Tiny"] == "distilled from attention_cnn, weights not bundled"
    assert "weights not bundled" in table(app, "members")["marks"][0]
    score(results, checkpoints, {"attention_cnn": "attention_cnn"})
    assert open_page().dataframe[0].value.set_index("model")["marks"]["Attention CNN"] == "–"
    config = checkpoints / "attention_cnn" / "config.json"
    raw = json.loads(config.read_text())
    config.write_text(json.dumps(raw | {"weights": raw["weights"] | {"sha256": "e" * 64}}))  # a newer net was promoted
    assert open_page().dataframe[0].value.set_index("model")["marks"]["Attention CNN"] == "weights not bundled"


def test_models_that_were_not_chosen_keep_their_titles_and_marks_in_tables_that_list_them(results):
    app = open_page()
    app.sidebar.pills[0].set_value(["baseline_cnn"]).run()
    assert app.dataframe[0].value["model"].tolist() == ["Baseline CNN"]
    first = table(app, "members").iloc[0]
    assert "ViT-Tiny" in first["members"] and first["marks"] == "distilled from attention_cnn"
    assert table(app, "runs").set_index("model").loc["ViT-Tiny", "marks"] == "distilled from attention_cnn"


def test_levers_are_compared_with_the_plain_recipe(results):
    said = {"title": "", "epochs": 6, "trained": 6, "best_epoch": 6, "train_accuracy": 0.5, "seconds": 60.0}
    said |= {
        "device": "cpu",
        "teacher": "",
        "extra_annotation": False,
        "job": "",
        "git_commit": "",
        "model": "tiny_cnn",
    }
    scores = {("plain", 1): 0.60, ("plain", 2): 0.62, ("plain", 3): 0.64}
    scores |= {("votes", 1): 0.61, ("votes", 2): 0.65, ("votes", 3): 0.66, ("few", 1): 0.58, ("few", 2): 0.59}
    rows = [
        said | {"lever": lever, "seed": s, "title": f"the {lever}", "val_accuracy": v}
        for (lever, s), v in scores.items()
    ]
    rows = [r | {"extra_annotation": r["lever"] == "votes"} for r in rows]
    ablations.write([*rows, rows[0] | {"model": "withdrawn_net"}], results, "fer2013")
    app = open_page()
    assert any("withdrawn_net, 6 epochs" in m.value for m in app.markdown), "a model that is gone keeps its name"
    assert any("Tiny CNN, 6 epochs" in m.value for m in app.markdown)
    shown = table(app, "lever").set_index("lever")
    assert list(shown.index) == ["the plain", "the votes", "the few"]
    assert shown["validation, mean (%)"].tolist() == pytest.approx([62, 64, 58.5])
    assert shown["plain, same seeds (%)"].tolist() == pytest.approx([np.nan, 62, 61], nan_ok=True)
    assert shown.loc["the plain", "minus plain (points)"] == 0
    assert shown.loc["the votes", "minus plain (points)"] == pytest.approx(2)
    # differences 1, 3 and 2 points: standard error 0.58, Student's t with two degrees of freedom 4.303
    assert shown["95 % interval"].tolist() == ["–", "-0.5 to +4.5", "–"]
    assert shown["marks"].tolist() == ["–", "extra annotation", "–"]


def test_a_model_that_was_not_shown_in_that_way_is_named_and_left_out(results):
    path = results / "fer2013" / "vit_tiny" / "metrics.json"
    changed = json.loads(path.read_text())
    for split in changed["splits"].values():
        split.pop("tencrop")
    path.write_text(json.dumps(changed))
    app = open_page()
    app.sidebar.radio[1].set_value("tencrop").run()
    assert app.dataframe[0].value["model"].tolist() == ["Baseline CNN", "Attention CNN"]
    assert any("Not scored ten crops: ViT-Tiny" in c.value for c in app.caption) and "ViT" not in messages(app)


def test_two_runs_of_one_model_are_told_apart(results):
    path = results / "fer2013" / "vit_tiny" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"title": MODELS["attention_cnn"][0]}))
    app = open_page()
    expected = {"Baseline CNN", "Attention CNN, attention_cnn", "Attention CNN, vit_tiny"}
    assert set(app.dataframe[0].value["model"]) == expected == {t["y"][0] for t in charts(app)[0]["data"]}


def test_a_note_on_a_checkpoint_stands_below_the_table(results):
    sha256 = metrics(results, "vit_tiny")["checkpoint"]["sha256"]
    path = results / "fer2013" / "notes.json"
    path.write_text(json.dumps({sha256: "Scored twice.", "e" * 64: "Of weights that are gone."}))
    told = [c.value for c in open_page().caption]
    assert "**ViT-Tiny**: Scored twice." in told and not any("gone" in c for c in told)
    path.write_text(json.dumps({sha256: 3}))
    app = open_page()
    assert "notes.json" in app.warning[0].value and not app.error and app.dataframe


@pytest.mark.parametrize("changed", ["checkpoint_sha256", "fingerprint"])
def test_robustness_of_another_checkpoint_or_of_other_faces_is_left_out(results, changed):
    path = results / "fer2013" / "vit_tiny" / "robustness.json"
    stale = json.loads(path.read_text())
    path.write_text(json.dumps(stale | {changed: "e" * 64}))
    app = open_page()
    shown = app.dataframe[0].value.set_index("model")["corrupted (%)"]
    assert shown.isna().tolist() == [False, False, True]
    assert any("ViT-Tiny was measured on an earlier checkpoint" in c.value for c in app.caption)


def test_a_model_that_was_not_tested_yet_is_named_here_and_kept_where_no_split_matters(results):
    import pandas as pd

    folder = results / "fer2013" / "attention_cnn"
    stored = json.loads((folder / "metrics.json").read_text())
    del stored["splits"]["test"]
    (folder / "metrics.json").write_text(json.dumps(stored))
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame[frame["split"] == "val"].to_parquet(folder / "predictions.parquet")
    app = open_page()
    assert app.dataframe[0].value["model"].tolist() == ["Baseline CNN", "ViT-Tiny"]
    assert any("Not scored on PrivateTest: Attention CNN" in c.value for c in app.caption)
    app.sidebar.radio[0].set_value("val").run()
    assert "Attention CNN" in app.dataframe[0].value["model"].tolist() and not app.error
    for page in ("curves", "data", "attention"):
        app.switch_page(f"views/{page}.py").run()
        assert not app.exception and not app.error
        assert any("Attention CNN" in d.value.get("model", pd.Series(dtype=str)).tolist() for d in app.dataframe), page
