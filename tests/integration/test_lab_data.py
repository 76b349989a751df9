"""Data: classes, copies and the crowd, as data.json has them, or what the results tell where there is none."""

from __future__ import annotations

import json

import pytest

from fer.labels import FER7
from tests.lab_driver import charts, messages, metrics, numbers, open_page, sound, table

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


def facts(results) -> dict:
    return json.loads((results / "fer2013" / "data.json").read_text(encoding="utf-8"))


def test_bars_are_shares_or_counts_of_every_split(results):
    app, stored = open_page("data"), facts(results)
    assert [m.value for m in app.metric] == [
        f"{sum(stored['counts'][s].values()):,} faces" for s in ("train", "val", "test")
    ]
    bars = {t["name"]: numbers(t["y"]) for t in charts(app)[0]["data"]}
    counts = stored["counts"]["train"]
    assert bars["Training"] == pytest.approx([counts[c] / sum(counts.values()) for c in FER7.names])
    app.segmented_control(key="balance").set_value("number of faces").run()
    bars = {t["name"]: numbers(t["y"]) for t in charts(app)[0]["data"]}
    assert bars["PrivateTest"].tolist() == [stored["counts"]["test"][c] for c in FER7.names]


def test_copies_and_what_they_are_worth(results):
    app, stored = open_page("data"), facts(results)
    shown = table(app, "exact copies").set_index("split")
    assert shown.loc["PrivateTest", "exact copies"] == stored["copies"]["test"]["exact"]
    both, n = sum(stored["copies"]["val"].values()), sum(stored["counts"]["val"].values())
    assert shown.loc["PublicTest", "together (%)"] == pytest.approx(100 * both / n)
    assert f"{stored['conflicting']:,} faces have a copy that carries another label" in "".join(
        c.value for c in app.caption
    )
    test = metrics(results, "vit_tiny")["splits"]["test"]
    line = table(app, "without copies (%)").set_index("model").loc["ViT-Tiny"]
    expected = 100 * (test["leakage"]["accuracy"] - test["single"]["accuracy"])
    assert line["difference (points)"] == pytest.approx(expected)
    assert line["marks"] == "distilled from attention_cnn"


def test_the_crowd_sets_the_ceiling(results):
    app, stored = open_page("data"), facts(results)
    crowd = stored["crowd"]["test"]
    text = "\n".join(m.value for m in app.markdown)
    assert f"**{100 * crowd['agreement']:.1f} %**" in text and f"**{100 * crowd['label_agreement']:.1f} %**" in text
    assert "no answer agrees with single voters more often" in text
    assert (
        "At most so much would the crowd score" in text
        if "label_agreement_by_lot" not in crowd
        else f"**{100 * crowd['label_agreement_by_lot']:.1f} %**" in text
    )
    assert f"{crowd['unanimous_n']:,} of {crowd['n']:,} faces all votes that count" in text and "contempt" in text
    bars = {t["name"]: numbers(t["y"]) for t in charts(app)[1]["data"]}
    assert bars["PrivateTest"] == pytest.approx([crowd["agreement_per_class"][c] for c in FER7.names])
    mine = metrics(results, "attention_cnn")["splits"]["test"]["crowd"]
    line = table(app, "cross-entropy (nats)").set_index("model").loc["Attention CNN"]
    assert line["cross-entropy (nats)"] == mine["cross_entropy"]
    assert line["unanimous faces (%)"] == pytest.approx(100 * mine["unanimous_accuracy"])
    assert line["split"] == "PrivateTest"
    # one that was scored on validation alone stands beside the others under its own split
    file = results / "fer2013" / "attention_cnn" / "metrics.json"
    alone = json.loads(file.read_text())
    alone["splits"]["val"]["crowd"] = mine
    del alone["splits"]["test"]
    file.write_text(json.dumps(alone))
    splits = table(sound(open_page("data")), "cross-entropy (nats)").set_index("model")["split"]
    assert splits["Attention CNN"] == "PublicTest" and splits["Baseline CNN"] == "PrivateTest"


def test_without_facts_the_scored_splits_are_told_from_the_results(results):
    (results / "fer2013" / "data.json").unlink()
    app = open_page("data")
    assert "No facts about fer2013" in messages(app) and not app.warning
    assert [m.label for m in app.metric] == ["PublicTest", "PrivateTest"]
    leakage = metrics(results, "baseline_cnn")["splits"]["test"]["leakage"]
    assert table(app, "near copies").set_index("split").loc["PrivateTest", "near copies"] == leakage["near"]
