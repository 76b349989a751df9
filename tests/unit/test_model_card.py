"""Model cards from manifests and made-up results: what the Hub reads, and what people read."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from fer.checkpoint import Manifest
from fer.errors import ConfigError, DataError
from fer.evaluation import read_result
from fer.evaluation.results import folder_of
from fer.labels import FER7
from fer.model_card import repo_name, write_card
from fer.models import get_model
from fer.publish import NOTES, notes_of, scored_with
from tests.hub_routes import card_errors
from tests.stand_in_results import sha256, write_stand_in

REPO = "somebody/fer-attention-cnn"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_stand_in(tmp_path_factory.mktemp("results"), n=210)


def manifest(name="attention_cnn", **changes):
    entry = get_model(name)
    made = Manifest(
        model=name,
        labels=FER7.names,
        label_set=FER7.name,
        input=entry.SPEC.input,
        recipe=entry.RECIPE,
        data={"name": "fer2013", "fingerprint": "f" * 64, "n_train": 28709, "n_val": 3589},
        weights={"file": "model.safetensors", "sha256": sha256(name), "parameters": 1_177_000},
        training={"val_accuracy": 0.6543, "epochs": 3, "best_epoch": 2},
    )
    return replace(made, **changes)


def test_the_metadata_hold_the_stored_scores(root):
    card = ModelCard(write_card(manifest(), REPO, scored_with(manifest(), root)))
    stored = read_result(folder_of("fer2013", "attention_cnn", root)).scores("test")
    shown = {e.metric_type: e for e in card.data.eval_results}
    assert {k: e.metric_value for k, e in shown.items()} == {
        "accuracy": round(stored["accuracy"], 4),
        "f1": round(stored["macro_f1"], 4),
    }
    one = shown["accuracy"]
    assert (one.dataset_type, one.dataset_name, one.dataset_split) == (
        "fer2013",
        "data in the form of fer2013 (PrivateTest)",
        "test",
    )
    assert card.data.model_name == "fer-attention-cnn" and card.data.license == "mit"
    assert list(card_errors(str(card), "model")) == []


def test_the_text_shows_every_view_every_class_and_what_keeps_it_honest(root):
    result = read_result(folder_of("fer2013", "attention_cnn", root))
    card = write_card(manifest(), REPO, [result])
    for view in ("single", "flip", "tencrop"):
        scores = result.scores("test", view)
        assert f"| {scores['accuracy']:.1%} [" in card and f"| {scores['nll']:.3f} |" in card
    for name in FER7.names:
        per_class = result.scores("test")["per_class"][name]
        assert f"| {name} | {per_class['precision']:.1%} | {per_class['recall']:.1%} |" in card
    leakage = result.metrics["splits"]["test"]["leakage"]
    assert f"left out): {leakage['accuracy']:.1%}" in card and "Always answering *happy*" in card
    assert "An expression is not a feeling" in card and "AI Act" in card
    assert f'model="hf:{REPO}"' in card


def test_scores_of_other_weights_are_not_shown(root):
    other = manifest(weights={"file": "model.safetensors", "sha256": "0" * 64})
    assert scored_with(other, root) == []
    card = write_card(other, REPO, [])
    assert "have not been scored" in card and "65.4%" in card and "PrivateTest" not in card
    assert ModelCard(card).data.eval_results is None and list(card_errors(card, "model")) == []


def test_what_only_chose_is_no_score(root):
    result = read_result(folder_of("fer2013", "attention_cnn", root))
    metrics = {**result.metrics, "splits": {"val": result.metrics["splits"]["val"]}}
    card = write_card(manifest(), REPO, [replace(result, metrics=metrics)])
    assert ModelCard(card).data.eval_results is None and "model-index" not in card
    assert "have not been scored on a test split" in card and "these faces chose its epoch" in card
    assert "No test split was asked" not in write_card(manifest(), REPO, [result])


def test_a_damaged_result_is_nobodys(root, tmp_path):
    (tmp_path / "fer2013" / "attention_cnn").mkdir(parents=True)
    (tmp_path / "fer2013" / "attention_cnn" / "metrics.json").write_text("{")
    assert scored_with(manifest(), tmp_path) == []


def test_marks_are_told():
    trained = {"teacher": "vgg8", "pretrained": True, "extra_annotation": True, "epochs": 4, "best_epoch": 1}
    card = write_card(manifest(training=trained, model_args={"attention": False}), REPO)
    for words in ("distilled from `vgg8`", "ImageNet weights at the start", "FER+ votes", "| attention=False |"):
        assert words in card
    plain = write_card(manifest(), REPO)
    assert "distilled" not in plain and "none, from scratch" in plain


@pytest.mark.parametrize(
    ("data", "license", "words"),
    [
        ("fer2013", "mit", "may not be passed on"),
        ("ferplus-majority", "mit", "Barsoum"),
        ("muxspace", "other", "muxspace/facial_expressions"),
        ("affectnet@fer7", "other", "non-commercial research only"),
        ("my faces", "other", "ask them for its source"),
    ],
)
def test_every_data_set_has_its_terms(data, license, words):
    counts = {"fer2013": (28_709, 3_589), "ferplus-majority": (25_060, 3_199)}.get(data, (100, 10))
    card = write_card(manifest(data={"name": data, "n_train": counts[0], "n_val": counts[1]}), REPO)
    assert words in card and ModelCard(card).data.license == license
    assert list(card_errors(card, "model")) == []


@pytest.mark.parametrize("names", [["a.int8.onnx"], ["a.int8.onnx", "b.fp32.onnx"]])
def test_exports_are_told_with_their_input_and_what_they_cost(names):
    accuracy = {"title": "PublicTest", "n": 3589, "split": "val", "torch": 0.65, "int8": 0.6443, "fp32": 0.65}
    onnx = {n: {"precision": n.split(".")[1], "accuracy": accuracy} for n in names}
    card = write_card(manifest(), REPO, onnx=onnx)
    text = " ".join(card.split())
    assert f"browser too: {' and '.join(f'`{n}`' for n in names)}. " in text
    assert f"{'Its' if len(names) == 1 else 'Their'} input `faces` is uint8 [n, 44, 44], pixels" in text
    assert "the graph normalises them itself, so do not do it before" in text and "temperature 1.000 goes" in text
    assert "On PublicTest (3,589 validation faces, crops as uint8) `a.int8.onnx` is right on 64.4%, the net" in text
    assert max(len(line) for line in card.split("## Load it")[1].split("## What it is for")[0].splitlines()) <= 120
    assert "is right on" not in write_card(manifest(), REPO, onnx={n: {} for n in names})


def test_it_says_how_to_get_the_package():
    text = " ".join(write_card(manifest(), REPO).split())
    assert "`python -m pip install .` in its folder" in text and "address was not told" in text
    text = " ".join(write_card(manifest(), REPO, project_url="https://example.org/lab").split())
    assert "[The project](https://example.org/lab) holds the package" in text and "was not told" not in text


def test_what_neutral_faces_are_taken_for_is_counted(root):
    result = read_result(folder_of("fer2013", "attention_cnn", root))
    scores = result.scores("test")
    row = scores["confusion"][FER7.index("neutral")]
    most = max((k, n) for k, n in zip(row, FER7.names, strict=True) if n != "neutral")
    text = " ".join(write_card(manifest(), REPO, [result]).split())
    assert f"Of the {sum(row):,} neutral faces it called {most[0] / sum(row):.0%} *{most[1]}*" in text
    assert "neutral face is often" not in text and "neutral faces it called" not in write_card(manifest(), REPO)


def test_notes_belong_to_the_weights_they_speak_of(root, tmp_path):
    write_stand_in(tmp_path, n=210)
    path = tmp_path / "fer2013" / NOTES
    path.write_text(json.dumps({sha256("attention_cnn"): "Scored twice.", "1" * 64: "Of another one."}))
    scored = scored_with(manifest(), tmp_path)
    assert notes_of(manifest(), scored) == ["Scored twice."]
    assert "\n\nScored twice.\n\n" in write_card(manifest(), REPO, scored, ["Scored twice."])
    path.write_text("[]")
    with pytest.raises(DataError, match=NOTES):
        notes_of(manifest(), scored)


@pytest.mark.parametrize(
    ("name", "changes", "expected"),
    [
        ("attention_cnn", {}, "fer-attention-cnn"),
        ("vit_tiny", {"data": {"name": "muxspace"}}, "fer-vit-tiny-muxspace"),
        ("vit_tiny", {"data": {"name": "affectnet@fer7"}}, "fer-vit-tiny-affectnet"),
        ("attention_cnn", {"model_args": {"attention": False}}, "fer-attention-cnn-attention-false"),
        ("baseline_cnn", {"data": {"name": "My Faces!"}}, "fer-baseline-cnn-my-faces"),
    ],
)
def test_names_of_repositories(name, changes, expected):
    assert repo_name(manifest(name, **changes)) == expected


def test_drawn_faces_have_none():
    with pytest.raises(ConfigError, match="synthetic faces"):
        repo_name(manifest(data={"name": "synthetic"}))
    with pytest.raises(ConfigError, match="synthetic faces"):
        repo_name(manifest(data={"name": "synthetic-ferplus8"}))
