"""Curves: the lines of history.jsonl."""

from __future__ import annotations

import json

import pytest

from tests.lab_driver import captions, charts, numbers, open_page

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


def test_curves_are_the_lines_of_history_jsonl(results):
    app = open_page("curves")
    lines = (results / "fer2013" / "vit_tiny" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    accuracy, loss, rates = charts(app)
    for figure, metric in ((accuracy, "accuracy"), (loss, "loss")):
        named = {t["name"]: t for t in figure["data"]}
        assert numbers(named["ViT-Tiny"]["y"]) == pytest.approx([e[f"val_{metric}"] for e in epochs])
        assert numbers(named["ViT-Tiny (training)"]["y"]) == pytest.approx([e[f"train_{metric}"] for e in epochs])
        assert numbers(named["ViT-Tiny"]["x"]).tolist() == [e["epoch"] for e in epochs]
    named = {t["name"]: t for t in rates["data"]}
    positive = [e for e in epochs if e["lr"] > 0]
    assert numbers(named["ViT-Tiny"]["y"]) == pytest.approx([e["lr"] for e in positive])
    assert rates["layout"]["yaxis"]["type"] == "log"
    told = captions(app)
    assert "training loss of a net is what was minimised" in told and "compares neither with" in told
    assert "Loss" in (titles := [s.value for s in app.subheader]) and not any("nats" in t for t in titles)
    facts = app.dataframe[0].value.set_index("model").loc["ViT-Tiny"]
    assert facts["best validation (%)"] == pytest.approx(100 * max(e["val_accuracy"] for e in epochs))
    assert facts["epochs"] == len(epochs) and facts["marks"] == "distilled from attention_cnn"


def test_odd_values_in_a_history_are_left_out(results):
    path = results / "fer2013" / "vit_tiny" / "history.jsonl"
    odd = [
        '{"epoch": 1, "val_accuracy": NaN}',
        '{"val_loss": 1}',
        '{"epoch": "two", "lr": 0.1}',
        '{"epoch": 3, "val_accuracy": 0.5, "lr": "fast"}',
    ]
    path.write_text("\n".join(odd) + "\n", encoding="utf-8")
    app = open_page("curves")
    assert "Fitted at once" not in captions(app)
    facts = app.dataframe[0].value.set_index("model").loc["ViT-Tiny"]
    assert facts["best epoch"] == 3 and facts["best validation (%)"] == pytest.approx(50)
    path.write_text('{"epoch": 1, "train_accuracy": 0.98, "val_accuracy": 0.58, "lr": 0.0}\n', encoding="utf-8")
    assert "Fitted at once, and scored on the training faces as they are: ViT-Tiny." in captions(open_page("curves"))
