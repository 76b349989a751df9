"""The lab's pages, driven without a browser: right numbers, and a sentence where there are none."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.labels import FER7
from tests.stand_in_results import MODELS, TITLES, write_stand_in

testing = pytest.importorskip("streamlit.testing.v1", reason="streamlit is not installed")

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "streamlit_app" / "app.py"
RESULT_PAGES = ["compare", "confusion", "curves"]


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory) -> Path:
    return write_stand_in(tmp_path_factory.mktemp("results"), n=400)


@pytest.fixture
def results(stand_in, tmp_path, monkeypatch) -> Path:
    """A private copy of the stand-in results, to which FER_RESULTS points."""
    folder = tmp_path / "results"
    shutil.copytree(stand_in, folder)
    monkeypatch.setenv("FER_RESULTS", str(folder))
    return folder


def open_page(name: str = "compare"):
    app = testing.AppTest.from_file(str(APP), default_timeout=60)
    app.run()
    if name != "compare":
        app.switch_page(f"views/{name}.py").run()
    assert not app.exception, app.exception
    return app


def metrics(results: Path, model: str, data: str = "fer2013") -> dict:
    return json.loads((results / data / model / "metrics.json").read_text(encoding="utf-8"))


def messages(app) -> str:
    return "\n".join(e.value for kind in (app.error, app.warning, app.info) for e in kind)


def charts(app) -> list[dict]:
    return [json.loads(c.proto.spec) for c in app.get("plotly_chart")]


def numbers(values) -> np.ndarray:
    """Plotly writes arrays as lists or as base64."""
    if isinstance(values, dict):
        import base64

        array = np.frombuffer(base64.b64decode(values["bdata"]), dtype=np.dtype(values["dtype"]))
        return array.reshape([int(n) for n in str(values["shape"]).split(",")]) if "shape" in values else array
    return np.array(values, dtype=float)


# --- right numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["test", "val"])
def test_the_table_shows_what_metrics_json_holds(results, split):
    app = open_page()
    app.sidebar.radio[0].set_value(split).run()
    table = app.dataframe[0].value.set_index("model")
    assert list(table.index) == ["Baseline CNN", "Attention CNN", "ViT-Tiny"], "the order of every table"
    for model, (title, *_) in MODELS.items():
        m, row = metrics(results, model), table.loc[title]
        scores = m["splits"][split]["single"]
        for key, name in TITLES.items():
            assert row[f"{name} (%)"] == pytest.approx(100 * m["splits"][key]["single"]["accuracy"], abs=1e-3)
        assert row["macro-F1 (%)"] == pytest.approx(100 * scores["macro_f1"], abs=1e-3)
        assert row["balanced (%)"] == pytest.approx(100 * scores["balanced_accuracy"], abs=1e-3)
        low, high = (100 * v for v in scores["accuracy_interval"])
        assert row["95 % interval"] == f"{low:.1f} to {high:.1f}"
        assert row["parameters"] == m["parameters"]
        assert row["epochs"] == m["trained"]["epochs"]
        assert row["training (min)"] == pytest.approx(m["trained"]["seconds"] / 60)
    assert table.loc["ViT-Tiny", "marks"] == "distilled from attention_cnn"
    assert table.loc["Baseline CNN", "marks"] == "–"


def test_the_cards_show_the_accuracy_of_the_chosen_split(results):
    app = open_page()
    expected = {
        title: f"{100 * metrics(results, m)['splits']['test']['single']['accuracy']:.1f} %"
        for m, (title, *_) in MODELS.items()
    }
    assert {m.label: m.value for m in app.metric} == expected
    assert any("distilled from attention_cnn" in c.value for c in app.caption)


def test_bars_are_the_scores_of_each_class_and_follow_the_measure(results):
    app = open_page()
    for measure in ("recall", "precision", "f1"):
        app.segmented_control[0].set_value(measure).run()
        bars = {t["name"]: t for t in charts(app)[0]["data"]}
        for model, (title, *_) in MODELS.items():
            per_class = metrics(results, model)["splits"]["test"]["single"]["per_class"]
            assert numbers(bars[title]["y"]) == pytest.approx([per_class[c][measure] for c in FER7.names])
            assert [x.split()[-1] for x in bars[title]["x"]] == list(FER7.names)


def test_pairs_are_judged_with_the_projects_own_test(results):
    from fer.evaluation import read_results
    from fer.evaluation.report import comparison

    table = open_page().dataframe[1].value
    pairs = comparison(read_results(results), "test")["pairs"]
    by_name = {f"{MODELS[p['a']][0]} − {MODELS[p['b']][0]}": p for p in pairs}
    assert len(table) == 3
    for line in table.to_dict("records"):
        first, second = line["pair"].split(" − ")
        p = by_name.get(line["pair"]) or by_name[f"{second} − {first}"]
        assert abs(line["difference (points)"]) == pytest.approx(abs(100 * p["difference"]), abs=1e-3)
        assert line["p (Holm)"] == pytest.approx(p["p_holm"])
        assert line["verdict"] == ("hardly chance" if p["p_holm"] < 0.05 else "may be chance")


def test_confusion_matrices_are_those_of_metrics_json(results):
    app = open_page("confusion")
    drawn = charts(app)
    assert [s.value for s in app.subheader] == [title for title, *_ in MODELS.values()]
    for figure, model in zip(drawn, MODELS, strict=True):
        matrix = np.array(metrics(results, model)["splits"]["test"]["single"]["confusion"], dtype=float)
        shares = matrix / matrix.sum(axis=1, keepdims=True)
        assert numbers(figure["data"][0]["z"]) == pytest.approx(shares)
        assert figure["data"][0]["text"][3][3] == f"{100 * shares[3, 3]:.0f}"
    app.segmented_control[0].set_value("number of faces").run()
    counts = numbers(charts(app)[0]["data"][0]["z"])
    assert counts.tolist() == metrics(results, "baseline_cnn")["splits"]["test"]["single"]["confusion"]


def test_the_most_frequent_mistake_leads_its_list(results):
    app = open_page("confusion")
    matrix = np.array(metrics(results, "baseline_cnn")["splits"]["test"]["single"]["confusion"], dtype=float)
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    np.fill_diagonal(shares, 0)
    true, said = np.unravel_index(shares.argmax(), shares.shape)
    first = app.dataframe[0].value.iloc[0]
    assert FER7.names[true] in first["most frequent mistakes"].split("→")[0]
    assert FER7.names[said] in first["most frequent mistakes"].split("→")[1]
    assert first["share (%)"] == pytest.approx(100 * shares.max())
    assert first["faces"] == matrix[true, said]


def test_curves_are_the_lines_of_history_jsonl(results):
    app = open_page("curves")
    lines = (results / "fer2013" / "vit_tiny" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    epochs = [json.loads(line) for line in lines]
    accuracy, loss = charts(app)
    for figure, metric in ((accuracy, "accuracy"), (loss, "loss")):
        named = {t["name"]: t for t in figure["data"]}
        assert numbers(named["ViT-Tiny"]["y"]) == pytest.approx([e[f"val_{metric}"] for e in epochs])
        assert numbers(named["ViT-Tiny (training)"]["y"]) == pytest.approx([e[f"train_{metric}"] for e in epochs])
        assert numbers(named["ViT-Tiny"]["x"]).tolist() == [e["epoch"] for e in epochs]
    facts = app.dataframe[0].value.set_index("model").loc["ViT-Tiny"]
    assert facts["best validation (%)"] == pytest.approx(100 * max(e["val_accuracy"] for e in epochs))
    assert facts["epochs"] == len(epochs)


@pytest.mark.parametrize("page", RESULT_PAGES)
def test_only_the_chosen_models_are_shown(results, page):
    app = open_page(page)
    app.sidebar.pills[0].set_value(["attention_cnn"]).run()
    shown = app.dataframe[0].value
    if page != "confusion":
        assert shown["model"].tolist() == ["Attention CNN"]
    else:
        assert [s.value for s in app.subheader] == ["Attention CNN"]
    app.sidebar.pills[0].set_value([]).run()
    assert "at least one model" in messages(app) and not app.exception


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


def test_a_page_of_cached_results_renders_in_under_a_second(results):
    import time

    for page in RESULT_PAGES:
        app = open_page(page)
        times = []
        for _ in range(3):
            start = time.process_time()  # not the clock on the wall: the machine may be busy with something else
            app.run()
            times.append(time.process_time() - start)
        assert min(times) < 1, f"{page} took {min(times):.2f} s of processor time"


# --- no numbers, or broken ones ---------------------------------------------------------------------------------------


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


def test_models_without_predictions_or_history_still_have_their_numbers(results):
    for model in MODELS:
        (results / "fer2013" / model / "predictions.parquet").unlink()
        (results / "fer2013" / model / "history.jsonl").unlink()
    assert len(open_page().dataframe[0].value) == 3
    app = open_page("curves")
    assert "No training history" in messages(app) and not app.error


def test_odd_values_in_a_history_are_left_out(results):
    path = results / "fer2013" / "vit_tiny" / "history.jsonl"
    odd = [
        '{"epoch": 1, "val_accuracy": NaN}',
        '{"val_loss": 1}',
        '{"epoch": "two"}',
        '{"epoch": 3, "val_accuracy": 0.5}',
    ]
    path.write_text("\n".join(odd) + "\n", encoding="utf-8")
    facts = open_page("curves").dataframe[0].value.set_index("model").loc["ViT-Tiny"]
    assert facts["best epoch"] == 3 and facts["best validation (%)"] == pytest.approx(50)


def test_about_says_what_it_cannot_do_and_lists_every_model(results):
    from fer.models import get_model, list_models

    text = "\n".join(m.value for m in open_page("about").markdown)
    assert "not a feeling" in text
    for name in list_models():
        assert get_model(name).SPEC.title in text


# --- one picture, all models ------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoints(untrained, tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "checkpoints"
    for name in MODELS:
        shutil.copytree(untrained(name), folder / name)
    monkeypatch.setenv("FER_CHECKPOINTS", str(folder))
    return folder


def png(image: np.ndarray) -> bytes:
    return encoded(image, "PNG")


def encoded(image: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(image).save(out, format=kind)
    return out.getvalue()


def scene(expressions: list[str], width: int = 640) -> np.ndarray:
    from fer.data.synthetic import draw_scene

    return draw_scene(expressions, np.random.default_rng(4), width, 480)[0]


def upload(app, data: bytes, name: str = "photo.jpg"):
    app.file_uploader[0].set_value((name, data, "image/jpeg")).run()
    assert not app.exception, app.exception
    return app


def bomb() -> bytes:
    """A PNG header that promises 40,000 x 40,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def test_without_checkpoints_the_page_says_how_to_train(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "nothing"))
    app = open_page("try_it")
    assert "scripts/train.py" in messages(app) and not app.error


def test_every_model_answers_with_its_own_probabilities(checkpoints):
    import fer
    from fer.faces import crop, detect

    image = scene(["happy"])
    face = crop(image, detect(image)[0].box)
    app = upload(open_page("try_it"), png(image))
    bars = {t["name"]: numbers(t["y"]) for t in charts(app)[0]["data"]}
    shown = {m.label: m for m in app.metric}
    for model, (title, *_) in MODELS.items():
        probs = fer.load(checkpoints / model).predict_proba([face])[0]
        assert bars[title] == pytest.approx(probs, abs=1e-5)
        assert shown[title].value.split()[-1] == FER7.names[probs.argmax()]
        assert shown[title].delta == f"{100 * probs.max():.0f} % probability"
    assert len(app.image) == 1 + len(MODELS), "the picture and one overlay per model"


def test_each_of_several_faces_can_be_chosen(checkpoints):
    from fer.faces import detect

    image = scene(["happy", "sad"], 900)
    assert len(detect(image)) == 2
    app = upload(open_page("try_it"), png(image))
    picker = next(s for s in app.segmented_control if "2 faces" in s.label)
    first = numbers(charts(app)[0]["data"][0]["y"])
    picker.set_value(1).run()
    assert not np.allclose(numbers(charts(app)[0]["data"][0]["y"]), first)


BAD = {
    "text": (b"this is not a picture", "not a picture"),
    "empty": (b"", "0 bytes"),
    "truncated": (png(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))[:9000], "damaged"),
    "bomb": (bomb(), "too large"),
}


@pytest.mark.parametrize(("data", "expected"), BAD.values(), ids=BAD)
def test_a_bad_upload_is_a_sentence(checkpoints, data, expected):
    app = upload(open_page("try_it"), data)
    assert "photo.jpg" in messages(app) and expected in messages(app)
    assert not app.metric


def test_a_picture_without_a_face_says_so_and_can_be_taken_whole(checkpoints):
    app = upload(open_page("try_it"), png(np.full((1, 1, 3), 90, np.uint8)))
    assert "No face found" in messages(app) and not app.error and not app.metric
    app.toggle[0].set_value(True).run()
    assert len(app.metric) == len(MODELS) and not app.error


def test_camera_and_drawn_faces_work_as_well(checkpoints):
    app = open_page("try_it")
    app.segmented_control[0].set_value("Drawn face").run()
    assert len(app.metric) == len(MODELS)
    app.segmented_control[0].set_value("Camera").run()
    app.camera_input[0].upload("snapshot.jpg", encoded(scene(["neutral"]), "JPEG"), "image/jpeg").run()
    assert len(app.metric) == len(MODELS) and not app.exception


def test_a_damaged_checkpoint_leaves_the_other_models_working(checkpoints):
    weights = checkpoints / "vit_tiny" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    app = open_page("try_it")
    app.segmented_control[0].set_value("Drawn face").run()
    assert "vit_tiny" in messages(app)
    assert [m.label for m in app.metric] == ["Baseline CNN", "Attention CNN"]
