"""Calibration and robustness: recomputed from the stored predictions, or read from robustness.json."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.lab_driver import captions, charts, messages, metrics, numbers, open_page, table

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


def test_what_the_net_itself_says_is_offered_for_one_view_only(results):
    app = open_page("reliability")
    assert any(c.key == "temperature" for c in app.segmented_control)
    app.sidebar.radio[1].set_value("flip").run()
    assert not any(c.key == "temperature" for c in app.segmented_control), "the mean of raw views is not stored"
    shown = table(app, "temperature")
    assert "ECE calibrated (%)" in shown and not [c for c in shown if "as it is" in c]
    assert "known for one view" in captions(app) and not messages(app)


def test_shares_of_the_confidence_are_of_all_faces(results):
    from fer.evaluation import read_results
    from fer.evaluation.metrics import reliability

    drawn = charts(open_page("reliability"))[0]["data"]
    places = [i for i, t in enumerate(drawn) if t.get("name") == "ViT-Tiny"]
    result = next(r for r in read_results(results) if r.name == "vit_tiny")
    counts = reliability(result.probs("test"), result.labels("test")).counts
    assert counts[counts < 10].sum() > 0, "some bins are left out"
    assert numbers(drawn[places[0] + 1]["y"]) == pytest.approx(counts[counts >= 10] / 400)


def surer_when_right(results, model: str, split: str, share: float) -> None:
    """Make a share of the right answers of a split, by row, surer than all others."""
    import pandas as pd

    path = results / "fer2013" / model / "predictions.parquet"
    frame = pd.read_parquet(path)
    columns = [c for c in frame if c.startswith("p_")]
    right = frame[columns].to_numpy().argmax(axis=1) == frame["label"]
    at = frame.index[right & (frame["split"] == split)]
    at = at[: int(share * len(at))]
    frame.loc[at, columns] = np.eye(7, dtype=np.float32)[frame.loc[at, "label"]]
    frame.to_parquet(path)


def test_the_threshold_for_answering_is_chosen_on_validation_and_measured_on_the_split(results):
    from fer.evaluation import read_results

    surer_when_right(results, "vit_tiny", "val", 0.8)
    surer_when_right(results, "vit_tiny", "test", 0.2)
    app = open_page("reliability")
    result = next(r for r in read_results(results) if r.name == "vit_tiny")

    def sure_and_right(split):
        probs = result.probs(split).astype(float)
        return probs.max(axis=1), probs.argmax(axis=1) == result.labels(split)

    sure, right = sure_and_right("val")
    threshold = min(t for t in sure if right[sure >= t].mean() >= 0.9)
    sure, right = sure_and_right("test")
    shown = table(app, "answered (%)").set_index("model").loc["ViT-Tiny"]
    assert shown["answered (%)"] == pytest.approx(100 * (sure >= threshold).mean())
    assert shown["right among them (%)"] == pytest.approx(100 * right[sure >= threshold].mean())
    assert shown["right among them (%)"] < 89, "the test says what came of it, not what was wanted"
    told = "gave 90 % right answers on PublicTest (validation). Shown are the share of PrivateTest at least that sure"
    assert told in captions(app)
    assert "optimistic" not in captions(app)
    app.sidebar.radio[0].set_value("val").run()
    assert "These are the faces that it was chosen on, so both are optimistic." in captions(app)
    assert table(app, "answered (%)").set_index("model").loc["ViT-Tiny", "right among them (%)"] >= 90


def test_without_validation_there_is_no_threshold_to_speak_of(results):
    import pandas as pd

    for folder in (results / "fer2013").glob("*/"):
        if (path := folder / "metrics.json").is_file():
            content = json.loads(path.read_text())
            del content["splits"]["val"]
            path.write_text(json.dumps(content))
            frame = pd.read_parquet(folder / "predictions.parquet")
            frame[frame["split"] == "test"].to_parquet(folder / "predictions.parquet")
    app = open_page("reliability")
    assert "answered (%)" not in table(app, "AURC (%)") and "right answers on" not in captions(app)


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
