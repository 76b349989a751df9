"""Compare: verdicts are the project's own tests, figures the stored counts and curves."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from fer.labels import FER7
from tests.lab_driver import charts, messages, metrics, numbers, open_page, sound, table
from tests.stand_in_results import MODELS

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


def test_the_verdict_is_one_sentence_with_the_numbers_of_mcnemar(results):
    from fer.evaluation import read_results
    from fer.evaluation.report import comparison

    pairs = {(p["a"], p["b"]): p for p in comparison(read_results(results), "test")["pairs"]}
    p = pairs["baseline_cnn", "attention_cnn"]
    app = open_page("compare")
    verdict = messages(app).split("\n")[0]
    assert verdict.startswith("On the 400 faces of PrivateTest, **Attention CNN** is right")
    assert f"{100 * abs(p['difference']):.1f} points {'more' if p['difference'] < 0 else 'less'} often" in verdict
    assert ("chance alone would rarely" in verdict) == (p["p_holm"] < 0.05) and "for 3 pairs" in verdict
    app.selectbox(key="first").set_value("baseline_cnn").run()
    app.selectbox(key="second").set_value("attention_cnn").run()
    low, high = (100 * v for v in p["interval"])
    assert f"95 % interval {low:+.1f} to {high:+.1f}" in messages(app), "turned round"
    assert f"only Baseline CNN {p['only_a']} faces" in "\n".join(c.value for c in app.caption)


def test_bars_are_the_scores_of_each_class_with_wilson_intervals(results):
    from statsmodels.stats.proportion import proportion_confint

    app = open_page("compare")
    for measure in ("recall", "precision", "f1"):
        app.segmented_control(key="measure").set_value(measure).run()
        bars = {t["name"]: t for t in charts(app)[0]["data"]}
        for model, (title, *_) in MODELS.items():
            scores = metrics(results, model)["splits"]["test"]["single"]
            heights = numbers(bars[title]["y"])
            assert heights == pytest.approx([scores["per_class"][c][measure] for c in FER7.names])
            if measure == "f1":
                assert not bars[title].get("error_y", {}).get("array")
                continue
            confusion = np.array(scores["confusion"])
            totals = confusion.sum(axis=1 if measure == "recall" else 0)
            low, high = proportion_confint(np.diag(confusion), totals, method="wilson")
            assert heights + numbers(bars[title]["error_y"]["array"]) == pytest.approx(high, abs=1e-6)
            assert heights - numbers(bars[title]["error_y"]["arrayminus"]) == pytest.approx(low, abs=1e-6)


def test_confusion_matrices_and_their_difference_are_those_of_metrics_json(results):
    app = open_page("compare", section="Confusion")
    counts = {m: np.array(metrics(results, m)["splits"]["test"]["single"]["confusion"], float) for m in MODELS}
    shares = {m: c / c.sum(axis=1, keepdims=True) for m, c in counts.items()}
    drawn = charts(app)
    for figure, model in zip(drawn, MODELS, strict=False):
        assert numbers(figure["data"][0]["z"]) == pytest.approx(shares[model])
        assert figure["data"][0]["text"][3][3] == f"{100 * shares[model][3, 3]:.0f}"
    assert numbers(drawn[3]["data"][0]["z"]) == pytest.approx(100 * (shares["attention_cnn"] - shares["baseline_cnn"]))
    worst = shares["baseline_cnn"] * (1 - np.eye(7))
    true, said = np.unravel_index(worst.argmax(), worst.shape)
    first = table(app, "most frequent mistakes").iloc[0]
    assert [w.split()[-1] for w in first["most frequent mistakes"].split("→")] == [FER7.names[true], FER7.names[said]]
    assert first["share (%)"] == pytest.approx(100 * worst.max())
    app.segmented_control(key="cells").set_value("mistakes only (%)").run()
    shown = numbers(charts(app)[0]["data"][0]["z"])
    assert np.isnan(np.diag(shown)).all() and shown[0, 1] == pytest.approx(shares["baseline_cnn"][0, 1])


def test_roc_and_precision_recall_agree_with_scikit_learn(results):
    from sklearn.metrics import average_precision_score, roc_auc_score

    from fer.evaluation import read_results

    app = open_page("compare", section="ROC and PR")
    app.pills(key="class_fer2013").set_value("fear").run()
    shown = table(app, "area under ROC (%)").set_index("model")
    for r in read_results(results):
        truth, score = r.labels("test") == 2, r.probs("test")[:, 2]
        assert shown.loc[r.title, "area under ROC (%)"] == pytest.approx(100 * roc_auc_score(truth, score))
        assert shown.loc[r.title, "average precision (%)"] == pytest.approx(100 * average_precision_score(truth, score))
    roc, recall = charts(app)
    assert [t["name"] for t in roc["data"]] == ["guessing", "Baseline CNN", "Attention CNN", "ViT-Tiny"]
    assert numbers(recall["data"][0]["y"])[0] == pytest.approx(truth.mean()), "guessing is right as often as it occurs"


def test_all_pairs_are_judged_with_the_projects_own_tests(results):
    from fer.evaluation import read_results
    from fer.evaluation.agreement import agreement
    from fer.evaluation.report import comparison

    app = open_page("compare", section="All pairs")
    shown = table(app, "pair").set_index("pair")
    assert len(shown) == 3
    by_name = {r.name: r for r in read_results(results)}
    for p in comparison(list(by_name.values()), "test")["pairs"]:
        ours, sign = f"{MODELS[p['a']][0]} − {MODELS[p['b']][0]}", 1
        if ours not in shown.index:
            ours, sign = f"{MODELS[p['b']][0]} − {MODELS[p['a']][0]}", -1
        line = shown.loc[ours]
        assert line["difference (points)"] == pytest.approx(sign * 100 * p["difference"], abs=1e-3)
        assert line["p (McNemar)"] == pytest.approx(p["p_holm"])
        assert line["verdict"] == ("hardly chance" if p["p_holm"] < 0.05 else "may be chance")
        a, b = (by_name[p[k]].probs("test").argmax(axis=1) for k in "ab")
        expected = agreement(a, b, by_name[p["a"]].labels("test"))
        assert line["kappa"] == pytest.approx(expected.kappa)
        assert line["both wrong (%)"] == pytest.approx(100 * expected.both_wrong)
    matrix = numbers(charts(app)[0]["data"][0]["z"])
    assert (np.diag(matrix) == 1).all() and (matrix == matrix.T).all()


def test_the_pareto_front_holds_whom_nobody_beats(results):
    app = open_page("compare", section="Cost")
    figure = charts(app)[0]
    front = next(t for t in figure["data"] if t["name"] == "Pareto front")
    cost = {m: v["parameters"] for m in MODELS for v in [metrics(results, m)]}
    score = {m: metrics(results, m)["splits"]["test"]["single"]["accuracy"] for m in MODELS}
    best = [m for m in MODELS if not any(cost[o] < cost[m] and score[o] >= score[m] for o in MODELS)]
    assert numbers(front["x"]).tolist() == sorted(cost[m] for m in best)
    assert app.segmented_control[0].options == [
        "parameters", "multiply-adds (millions)", "time for one face (ms)", "time per face, 32 at once (ms)",
    ]  # fmt: skip


def test_times_of_another_runtime_are_left_out_and_named(results):
    for model, runtime in zip(MODELS, ("torch", "ONNX Runtime", "ONNX Runtime"), strict=True):
        file = results / "fer2013" / model / "metrics.json"
        content = json.loads(file.read_text())
        content["cost"]["latency_ms"]["runtime"] = runtime
        file.write_text(json.dumps(content))
    app = open_page("compare", section="Cost")
    assert "timed on torch" not in "".join(c.value for c in app.caption)
    assert sum(len(t["x"]) for t in charts(app)[0]["data"] if t["name"] != "Pareto front") == 3
    app.segmented_control[0].set_value("time for one face (ms)").run()
    title = metrics(results, next(iter(MODELS)))["title"]
    assert f"Left out, timed on torch and not on ONNX Runtime: {title}." in [c.value for c in app.caption]
    shown = [v for t in charts(app)[0]["data"] if t["name"] != "Pareto front" for v in t["x"] if v is not None]
    assert len(shown) == 2


def test_what_attention_bought_is_told_of_twins_only(stand_in_twins, monkeypatch, results):
    app = open_page("compare", section="What attention bought")
    assert "No such pair" in messages(app)
    monkeypatch.setenv("FER_RESULTS", str(stand_in_twins))
    app = open_page("compare", section="What attention bought")
    assert sorted(s.value for s in app.subheader) == [
        "Attention CNN minus Attention CNN (no attention)", "CBAM CNN, four layers minus Baseline CNN, four layers",
    ]  # fmt: skip
    text = "\n".join(m.value for m in app.markdown)
    assert "exact McNemar test" in text and "Over 3 seeds" in text
    assert len(charts(app)) == 2 and len(charts(app)[0]["data"]) >= 6


def test_one_attention_net_may_have_two_twins(stand_in_twins, monkeypatch, tmp_path):
    folder = tmp_path / "two"
    shutil.copytree(stand_in_twins, folder)
    for name in ("attention_cnn@no_attention", "baseline_cnn4"):
        file = folder / "fer2013" / name / "metrics.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"twin_of": "cbam_cnn4"}))
    monkeypatch.setenv("FER_RESULTS", str(folder))
    app = sound(open_page("compare", section="What attention bought"))
    assert len(app.subheader) == 2 and len(charts(app)) == 2


def test_models_with_other_classes_are_named_and_left_out_of_what_needs_the_same(results):
    import shutil

    folder = results / "fer2013" / "vit_tiny"
    shutil.move(folder / "predictions.parquet", folder / "gone")
    app = open_page("compare")
    assert "ViT-Tiny" in messages(app) and not app.error
    assert app.selectbox(key="first").options == ["Baseline CNN", "Attention CNN"]
