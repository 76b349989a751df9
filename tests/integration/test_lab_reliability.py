"""Calibration and robustness: recomputed from the stored predictions, or read from robustness.json."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.lab_driver import charts, metrics, numbers, open_page, table

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


def test_reliability_and_risk_are_those_of_the_stored_predictions(results):
    from fer.evaluation import read_results
    from fer.evaluation.metrics import reliability
    from fer.evaluation.selective import risk_coverage

    app = open_page("reliability")
    result = next(r for r in read_results(results) if r.name == "vit_tiny")
    probs, labels = result.probs("test"), result.labels("test")
    bins = reliability(probs, labels)
    drawn, risk = charts(app)[:2]
    line = next(t for t in drawn["data"] if t.get("name") == "ViT-Tiny")
    keep = bins.counts >= 10
    assert numbers(line["x"]) == pytest.approx(bins.confidence[keep])
    assert numbers(line["y"]) == pytest.approx(bins.accuracy[keep])
    curve = next(t for t in risk["data"] if t.get("name") == "ViT-Tiny")
    assert numbers(curve["y"])[-1] == pytest.approx((probs.argmax(axis=1) != labels).mean()), "all answered: the error"
    shown = table(app, "AURC (%)").set_index("model").loc["ViT-Tiny", "AURC (%)"]
    assert shown == pytest.approx(100 * risk_coverage(probs, labels).aurc)


def test_the_temperature_can_be_taken_away(results):
    path = results / "fer2013" / "vit_tiny" / "metrics.json"
    changed = json.loads(path.read_text())
    path.write_text(json.dumps(changed | {"temperature": {"value": 2.0, "source": "checkpoint"}}))
    app = open_page("reliability")
    facts = table(app, "temperature").set_index("model")
    assert facts.loc["ViT-Tiny", "temperature"] == 2
    assert facts.loc["ViT-Tiny", "NLL as it is (nats)"] != facts.loc["ViT-Tiny", "NLL calibrated (nats)"]
    assert facts.loc["Baseline CNN", "NLL as it is (nats)"] == facts.loc["Baseline CNN", "NLL calibrated (nats)"]
    calibrated = numbers(next(t for t in charts(app)[0]["data"] if t.get("name") == "ViT-Tiny")["x"])
    app.segmented_control(key="temperature").set_value("uncalibrated").run()
    raw = numbers(next(t for t in charts(app)[0]["data"] if t.get("name") == "ViT-Tiny")["x"])
    assert raw.max() > calibrated.max(), "dividing by a temperature of 2 made it less sure"


def test_prediction_sets_are_fitted_on_validation_and_measured_on_the_split(results):
    from fer.evaluation import read_results
    from fer.evaluation.conformal import fit, sets

    app = open_page("reliability")
    app.segmented_control(key="level").set_value(0.8).run()
    for r in read_results(results):
        inside = sets(r.probs("test"), fit(r.probs("val"), r.labels("val"), 0.8))
        line = table(app, "promised (%)").set_index("model").loc[r.title]
        assert line["promised (%)"] == pytest.approx(80)
        assert line["measured (%)"] == pytest.approx(100 * inside[np.arange(400), r.labels("test")].mean())
        assert line["expressions per set"] == pytest.approx(inside.sum(axis=1).mean())
        bars = next(c for c in charts(app) if c["data"][0]["name"] == "1 expression")["data"]
        place = bars[0]["y"].index(r.title)
        assert numbers(bars[0]["x"])[place] == pytest.approx((inside.sum(axis=1) == 1).mean())
        assert sum(numbers(b["x"])[place] for b in bars) == pytest.approx(1)


def test_corruption_curves_are_those_of_robustness_json(results):
    app = open_page("reliability")
    stored = json.loads((results / "fer2013" / "attention_cnn" / "robustness.json").read_text())
    line = next(t for t in charts(app)[-1]["data"] if t["name"] == "Attention CNN")
    means = np.mean(list(stored["accuracy"].values()), axis=0)
    assert numbers(line["y"]) == pytest.approx([stored["clean"], *means])
    app.pills(key="kind").set_value("blur").run()
    line = next(t for t in charts(app)[-1]["data"] if t["name"] == "Attention CNN")
    assert numbers(line["x"]).tolist() == [0, 1, 2, 3, 4, 5]
    assert numbers(line["y"]) == pytest.approx([stored["clean"], *stored["accuracy"]["blur"]])
    row = table(app, "corrupted (%)").set_index("model").loc["Attention CNN"]
    assert row["corrupted (%)"] == pytest.approx(100 * stored["mean"])
    assert row["blur (%)"] == pytest.approx(100 * np.mean(stored["accuracy"]["blur"]))
    assert metrics(results, "vit_tiny")["marks"]["distilled_from"] in table(app, "corrupted (%)")["marks"].iloc[2]
