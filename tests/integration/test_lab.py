"""The lab as a whole, driven without a browser: every page on full, empty, partial, old and damaged results."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.lab_driver import PAGES, RESULT_PAGES, messages, metrics, open_page, sound
from tests.stand_in_results import MODELS, write_stand_in

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)
NOT_IN_SCHEMA_1 = ("cost", "twin_of")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_renders_in_under_a_second_from_cached_results(results, page):
    app = open_page(page)
    assert not app.error and not app.warning
    times = []
    for _ in range(3):
        start = time.process_time()  # not the clock on the wall: the machine may be busy with something else
        app.run()
        times.append(time.process_time() - start)
    assert min(times) < 1, f"{page} took {min(times):.2f} s of processor time"


def test_a_page_that_raises_is_noticed_though_the_app_catches_it(results, monkeypatch):
    def broken(*args):
        raise RuntimeError("a bug")

    monkeypatch.setattr("streamlit_app.computed.aligned", broken)
    with pytest.raises(AssertionError, match="the page raised"):
        open_page("compare")


def test_several_data_sets_are_offered_and_not_mixed(results):
    write_stand_in(results, "rafdb", n=60, models={"baseline_cnn": ("Baseline CNN", 0.3, 389_383, "")})
    app = open_page()
    assert app.sidebar.selectbox[0].options == ["fer2013", "rafdb"]
    app.sidebar.selectbox[0].set_value("rafdb").run()
    expected = metrics(results, "baseline_cnn", "rafdb")["splits"]["test"]["single"]["accuracy"]
    assert [m.value for m in app.metric] == [f"{100 * expected:.1f} %"]


def test_results_are_read_again_when_a_file_changes(results):
    app = open_page()
    path = results / "fer2013" / "vit_tiny" / "metrics.json"
    changed = json.loads(path.read_text(encoding="utf-8"))
    changed["splits"]["test"]["single"]["accuracy"] = 0.123
    path.write_text(json.dumps(changed), encoding="utf-8")
    app.run()
    assert "12.3 %" in [m.value for m in app.metric]


@pytest.mark.parametrize("page", ["compare", "reliability"])
def test_only_the_chosen_models_are_shown(results, page):
    app = open_page(page)
    app.sidebar.pills[0].set_value(["attention_cnn"]).run()
    assert not app.exception and not app.error
    assert [t["name"] for t in json.loads(app.get("plotly_chart")[0].proto.spec)["data"] if "legendgroup" not in t][
        -1
    ] in ("Attention CNN", "as sure as right")
    app.sidebar.pills[0].set_value([]).run()
    assert "at least one model" in messages(sound(app))


# --- no numbers, old or broken ones -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", RESULT_PAGES)
@pytest.mark.parametrize("exists", [True, False])
def test_empty_results_say_what_to_do(tmp_path, monkeypatch, page, exists):
    folder = tmp_path / "none"
    if exists:
        folder.mkdir()
        (folder / "leaderboard.csv").write_text("data,model\n")
    monkeypatch.setenv("FER_RESULTS", str(folder))
    app = open_page(page)
    assert "No results yet" in messages(app) and "scripts/evaluate.py" in messages(app)
    assert not app.error and not app.dataframe


@pytest.mark.parametrize("page", RESULT_PAGES)
def test_results_of_the_first_schema_still_show(results, page):
    """Only metrics.json as it once was, predictions without ten crops, and the history."""
    for model in MODELS:
        folder = results / "fer2013" / model
        old = {k: v for k, v in metrics(results, model).items() if k not in NOT_IN_SCHEMA_1} | {"schema": 1}
        for split in old["splits"].values():
            for key in ("tencrop", "conformal", "selective", "crowd"):
                split.pop(key, None)
        (folder / "metrics.json").write_text(json.dumps(old), encoding="utf-8")
        for name in ("robustness.json", "explanation.json", "maps.npz"):
            (folder / name).unlink()
    for name in ("comparison.json", "ensembles.json", "data.json", "seeds.csv"):
        (results / "fer2013" / name).unlink()
    app = open_page(page)
    assert not app.error and not app.warning
    missing = {"data": "No facts about fer2013", "attention": "scripts/explain.py", "reliability": "--robustness"}
    assert missing.get(page, "") in messages(app)
    assert app.dataframe or app.get("plotly_chart") or page == "attention"


@pytest.mark.parametrize("page", RESULT_PAGES)
def test_models_without_predictions_or_history_still_have_their_numbers(results, page):
    for model in MODELS:
        (results / "fer2013" / model / "predictions.parquet").unlink()
        (results / "fer2013" / model / "history.jsonl").unlink()
    app = open_page(page)
    assert not app.error and not app.warning
    said = {"curves": "No training history", "errors": "No single answers", "reliability": "No predictions stored"}
    assert said.get(page, "") in messages(app)


def _newer(folder: Path) -> None:
    m = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    (folder / "metrics.json").write_text(json.dumps(m | {"schema": 99}), encoding="utf-8")


def _without(*keys: str):
    def damage(folder: Path) -> None:
        m = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        place = m
        for key in keys[:-1]:
            place = place[key]
        del place[keys[-1]]
        (folder / "metrics.json").write_text(json.dumps(m), encoding="utf-8")

    return damage


DAMAGE = {
    "newer schema": _newer,
    "half-written metrics": lambda f: (f / "metrics.json").write_bytes((f / "metrics.json").read_bytes()[:500]),
    "metrics that are a list": lambda f: (f / "metrics.json").write_text("[1, 2]"),
    "no metrics": lambda f: (f / "metrics.json").unlink(),
    "broken predictions": lambda f: (f / "predictions.parquet").write_bytes(b"PAR1 nonsense"),
    "broken history": lambda f: (f / "history.jsonl").write_text("{oops\n{}\n"),
    "no per-class scores": _without("splits", "test", "single", "per_class"),
    "a class missing": _without("splits", "test", "single", "per_class", "sad"),
    "no interval": _without("splits", "val", "single", "accuracy_interval"),
    "no confusion matrix": _without("splits", "test", "single", "confusion"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_one_damaged_model_is_named_and_the_others_still_show(results, damage):
    damage(results / "fer2013" / "attention_cnn")
    app = open_page()
    assert "attention_cnn" in messages(app) and "1 model left out" in messages(app)
    assert app.dataframe[0].value["model"].tolist() == ["Baseline CNN", "ViT-Tiny"]


@pytest.mark.parametrize("page", RESULT_PAGES)
def test_nothing_but_damaged_results_is_an_error_with_a_way_out(results, page):
    for model in MODELS:
        _newer(results / "fer2013" / model)
    app = open_page(page)
    assert "schema 99 is newer" in messages(app) and app.error
    assert not app.dataframe


BESIDE = {
    "leaderboard": ("ensembles.json", "seeds.csv"),
    "compare": ("seeds.csv",),
    "data": ("data.json",),
    "attention": ("attention_cnn/explanation.json", "vit_tiny/maps.npz"),
    "reliability": ("attention_cnn/robustness.json",),
}


@pytest.mark.parametrize(("page", "names"), BESIDE.items(), ids=BESIDE)
def test_a_damaged_file_beside_the_metrics_is_named_and_the_rest_shows(results, page, names):
    for name in names:
        (results / "fer2013" / name).write_bytes(b"PK nonsense")
    app = open_page(page, section="What attention bought") if page == "compare" else open_page(page)
    assert not app.error
    for name in names:
        assert Path(name).name in "\n".join(w.value for w in app.warning)
    assert app.dataframe or page == "compare"


def test_about_says_what_it_cannot_do_and_lists_every_model(results):
    from fer.models import get_model, list_models

    text = "\n".join(m.value for m in open_page("about").markdown)
    assert "not a feeling" in text
    for name in list_models():
        assert get_model(name).SPEC.title in text
    assert "holds the accuracy on all such faces in 95 of 100 test sets" in text
