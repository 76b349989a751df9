"""The parts of scoring, with predictors whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from fer.checkpoint import Manifest, read_manifest, trained_models
from fer.data import Dataset, Split
from fer.data.ferplus import VOTE_NAMES
from fer.errors import ConfigError, DataError
from fer.evaluation import stored
from fer.evaluation.results import list_data
from fer.labels import FER7, FERPLUS8
from fer.models import get_model, get_preset
from fer.scoring import answers as ask
from fer.scoring import card, facts
from fer.scoring.cost import cost, multiply_adds
from fer.scoring.robustness import robustness
from fer.scoring.score import Options, Scorer
from fer.scoring.seed_lines import add_seed_rows, require_free_line, require_lines_apart, seed_row
from fer.specs import InputSpec


class Brightness:
    """Says happy with a probability that is the brightness of the centre of what it sees; sad otherwise."""

    def __init__(self, spec=None, labels=FER7, temperature=1.0):
        self.input_spec, self.labels, self.temperature = spec or InputSpec(), labels, temperature
        self.name, self.sizes, self.manifest = "brightness", [], manifest()

    def predict_proba(self, faces):
        from fer.transforms import prepare

        seen = prepare(faces, self.input_spec)
        self.sizes.append(faces.shape[1])
        p = 0.05 + 0.9 * seen[:, 4:-4, 4:-4].mean(axis=(1, 2)) / 255
        out = np.zeros((len(faces), len(self.labels)), dtype=np.float32)
        out[:, self.labels.index("happy")], out[:, self.labels.index("sad")] = p, 1 - p
        return out


def manifest(model="attention_cnn", data="fer2013", **changes):
    entry = get_model(model)
    made = {
        "model": model,
        "labels": FER7.names,
        "label_set": FER7.name,
        "input": entry.SPEC.input,
        "recipe": entry.RECIPE,
        "data": {"name": data},
        "weights": {"sha256": "a"},
    }
    return Manifest(**made | changes)


def dataset(name="fer2013", n=30, seed=0):
    rng = np.random.default_rng(seed)
    splits = {}
    for i, key in enumerate(("train", "val", "test")):
        labels = np.where(np.arange(n) % 2 == 0, FER7.index("happy"), FER7.index("sad"))
        level = np.where(labels == FER7.index("happy"), 190, 60)
        faces = (level[:, None, None] + rng.integers(-20, 20, (n, 48, 48))).astype(np.uint8)
        splits[key] = Split(faces, np.eye(7, dtype=np.float32)[labels], np.arange(n) + i * n)
    return Dataset(name, FER7, splits, {"train": "Training", "val": "PublicTest", "test": "PrivateTest"})


def test_answers_are_without_temperature_and_in_the_classes_of_the_data():
    faces = dataset()["test"].faces
    plain = ask.answers(Brightness(), faces, FER7)
    hot = Brightness(temperature=2.0)
    cooled = ask.answers(hot, faces, FER7)
    # what the predictor says at temperature 2 is the square root of what it would say at 1
    p = plain[:, FER7.index("happy")]
    assert cooled[:, FER7.index("happy")] == pytest.approx(p**2 / (p**2 + (1 - p) ** 2), abs=1e-4)
    wide = ask.answers(Brightness(labels=FERPLUS8), faces, FER7)
    assert wide.shape == plain.shape and wide == pytest.approx(plain, abs=1e-6)


def test_ten_crops_are_not_resized_and_cropped_again():
    faces = np.zeros((3, 48, 48), dtype=np.uint8)
    faces[:, :8, :] = 255  # only the upper crops show more of the bright rim
    predictor = Brightness(InputSpec(size_px=40, resize_px=48))
    out = ask.ten_crop_answers(predictor, faces, FER7, batch_size=2)
    assert out.shape == (10, 3, 7) and set(predictor.sizes) == {40}
    happy = out[:, :, FER7.index("happy")]
    assert (happy[0] > happy[4]).all() and (happy[4] >= happy[2]).all()
    assert happy[5:] == pytest.approx(happy[:5], abs=1e-6)
    assert predictor.input_spec.resize_px == 48, "the predictor itself is as it was"
    # the bright rows 0..7 of 48: of the upper crop, rows 4..35 are averaged, of which 4 are bright
    assert happy[0, 0] == pytest.approx(0.05 + 0.9 * 4 / 32, abs=1e-3)


def test_the_temperature_is_the_checkpoints_or_fitted_on_validation():
    data = dataset()
    raw = {k: ask.answers(Brightness(), data[k].faces, FER7) for k in ("val", "test")}
    assert ask.temperature_of(Brightness(temperature=1.5), raw, data) == {"value": 1.5, "source": "checkpoint"}
    fitted = ask.temperature_of(Brightness(), raw, data)
    assert fitted["source"] == "fitted on PublicTest" and fitted["value"] < 1  # it is always right and too modest
    assert ask.temperature_of(Brightness(), {"test": raw["test"]}, data)["source"] == "none"
    estimator = Brightness()
    estimator.manifest = manifest("hog_svm", weights={"sha256": "a", "file": "model.skops"})
    assert ask.temperature_of(estimator, raw, data) == {"value": 1.0, "source": "own calibration"}


def test_multiply_adds_are_counted_by_hand_for_a_small_net():
    import torch

    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1, stride=2), torch.nn.Flatten(), torch.nn.Linear(4 * 4 * 4, 7)
    )
    small = SimpleNamespace(module=net, input_spec=InputSpec(size_px=8, resize_px=8))
    assert multiply_adds(small) == 4 * 4 * 4 * 9 + 64 * 7
    assert multiply_adds(SimpleNamespace(input_spec=small.input_spec)) is None


def test_cost_has_bytes_and_time_of_the_checkpoint(untrained, monkeypatch):
    import fer
    from fer.scoring import cost as module

    monkeypatch.setattr(module, "_SECONDS", 0.0)
    folder = untrained("baseline_cnn")
    predictor = fer.load(folder, backend="torch")
    found = cost(predictor, folder)
    assert found["bytes"] == (folder / "model.safetensors").stat().st_size
    assert found["parameters"] == predictor.manifest.weights["parameters"] and found["macs"] > 1e6
    time = found["latency_ms"]
    assert 0 < time["batch_1"] < time["batch_32"] and time["threads"] >= 1 and time["cpu"]
    assert time["runtime"] == "torch"
    assert cost(predictor, folder, with_latency=False)["latency_ms"] is None


def test_robustness_of_a_model_that_looks_at_brightness_only():
    found = robustness(Brightness(), dataset(n=40), n=25)
    assert (found["n"], found["clean"], found["strengths"]) == (25, 1.0, [1, 2, 3, 4, 5])
    assert found["accuracy"]["blur"] == [1.0] * 5 and found["accuracy"]["brightness"][-1] < 0.9
    cells = np.array(list(found["accuracy"].values()))
    assert cells.shape == (9, 5) and found["mean"] == pytest.approx(cells.mean(), abs=1e-6)
    assert robustness(Brightness(), dataset(n=40), n=25) == found
    assert robustness(Brightness(), dataset(n=40), n=99)["n"] == 40


def test_robustness_is_kept_for_the_same_weights_and_faces_only(tmp_path, monkeypatch):
    asked = []

    def ask_again(first, sha256="a"):
        scorer = Scorer(first, tmp_path, None, asked.append, asked.append)
        scorer._robustness(Brightness, manifest(weights={"sha256": sha256}), "x", tmp_path, Options())
        return len(asked), stored.read_robustness(tmp_path)

    monkeypatch.setenv("FER_DATA", str(tmp_path / "no votes"))
    count, found = ask_again(dataset(n=8))
    assert count == 1 and found["fingerprint"] == dataset(n=8).fingerprint
    assert ask_again(dataset(n=8))[0] == 1
    assert ask_again(dataset(n=8, seed=1))[0] == 2, "other faces"
    assert ask_again(dataset(n=8, seed=1), "b")[0] == 3, "other weights"
    del found["fingerprint"]
    stored.write_robustness(found, tmp_path)
    assert ask_again(dataset(n=8))[0] == 3, "a file that does not say is taken at its word"


@pytest.mark.parametrize(
    ("model", "data", "args", "name", "twin"),
    [
        ("attention_cnn", "fer2013", {}, "attention_cnn", None),
        ("attention_cnn", "fer2013", {"attention": True}, "attention_cnn", None),
        ("attention_cnn", "fer2013", {"attention": False}, "attention_cnn@no_attention", "attention_cnn"),
        ("baseline_cnn4", "fer2013", {"dropout": 0.2}, "baseline_cnn4", "cbam_cnn4"),
        ("attention_cnn", "muxspace", {}, "attention_cnn@muxspace", None),
        ("baseline_cnn4", "muxspace", {}, "baseline_cnn4@muxspace", "cbam_cnn4@muxspace"),
        (
            "attention_cnn",
            "muxspace",
            {"attention": False},
            "attention_cnn@no_attention@muxspace",
            "attention_cnn@muxspace",
        ),
    ],
)
def test_names_and_twins_of_rows(model, data, args, name, twin):
    m = manifest(model, data, model_args=args)
    assert (card.row_name(m, "fer2013"), card.twin_of(m, "fer2013")) == (name, twin)
    assert card.is_foreign(m, "fer2013") == (data != "fer2013")


def test_a_card_says_how_it_was_trained():
    recipe = get_model("attention_cnn").RECIPE
    made = card.card_for(manifest(seed=7, data="muxspace"), "attention_cnn@muxspace", dataset())
    assert made["title"] == "Attention CNN (from muxspace)" and made["data"]["majority"] == "happy"
    assert made["trained"] | {"data": "muxspace", "recipe_name": "best", "seed": 7, "model_args": {}} == made["trained"]
    assert card.recipe_name(manifest(recipe=replace(recipe, batch_size=3))) == "best, changed"
    assert card.recipe_name(manifest(recipe=get_preset("attention_cnn", "reference").recipe)) == "reference"
    off = card.card_for(manifest(model_args={"attention": False}), "x", dataset())
    assert off["title"] == "Attention CNN (no attention)"
    assert off["trained"]["recipe"] == card.recipe_digest(manifest())


@pytest.mark.parametrize(
    ("seen", "marks"),
    [("ferplus-votes", (False, True)), ("imagenet", (True, False)), ("fer2013", (False, False))],
)
def test_what_a_teacher_has_seen_marks_its_pupil(seen, marks):
    teacher = {"role": "teacher", "model": "vgg8", "sha256": "a", "data": [seen], "sure": True, "direct": True}
    taught = manifest(training={"epochs": 3, "teacher": "vgg8", "ancestors": [teacher]})
    made = card.card_for(taught, "attention_cnn", dataset())["marks"]
    assert (made["pretrained"], made["extra_annotation"]) == marks and made["distilled_from"] == "vgg8"


def test_an_estimator_knows_its_validation_faces_in_another_copy_of_the_data():
    known = manifest(model="hog_svm", weights={"file": "model.skops"})
    assert known.data.get("fingerprint") != dataset(n=8).fingerprint
    assert ask.was_calibrated_on(known, dataset(n=8))
    assert not ask.was_calibrated_on(replace(known, data={"name": "muxspace"}), dataset(n=8))
    assert not ask.was_calibrated_on(manifest(), dataset(n=8)), "a net"


def votes_file(folder, counts, usages):
    head = "Usage,Image name," + ",".join(VOTE_NAMES)
    lines = [f"{u},fer{i}.png," + ",".join(map(str, c)) for i, (u, c) in enumerate(zip(usages, counts, strict=True))]
    path = folder / "fer2013new.csv"
    path.write_text("\n".join([head, *lines]) + "\n")
    return path


def test_votes_become_shares_over_the_classes_of_the_data(tmp_path, monkeypatch):
    data = dataset(n=2)
    zero = dict.fromkeys(VOTE_NAMES, 0)
    rows = [
        {"happy": 9, "neutral": 1},  # single votes count: somebody gave them
        {"contempt": 5, "angry": 5},  # contempt is no class of FER2013
        {"unknown": 8, "angry": 2},
        {"contempt": 10},
        {"sad": 5, "fear": 5},
        {"happy": 10},
    ]
    counts = [list((zero | r).values()) for r in rows]
    path = votes_file(tmp_path, counts, ["Training"] * 2 + ["PublicTest"] * 2 + ["PrivateTest"] * 2)
    votes = facts.votes_of(data, path)
    at = {c: FER7.index(c) for c in FER7.names}
    assert votes["train"][0, [at["happy"], at["neutral"]]].tolist() == pytest.approx([0.9, 0.1])
    assert votes["train"][1] == pytest.approx(np.eye(7)[at["angry"]])
    assert not votes["val"].any()
    assert votes["test"][0, [at["sad"], at["fear"]]].tolist() == [0.5, 0.5] and votes["test"][1].max() == 1
    assert facts.votes_of(replace(data, name="muxspace"), path) is None
    monkeypatch.setenv("FER_DATA", str(tmp_path / "elsewhere"))
    assert facts.votes_of(data) is None
    with pytest.raises(DataError, match="no such file"):
        facts.votes_of(data, tmp_path / "nowhere.csv")
    monkeypatch.setenv("FER_DATA", str(tmp_path))
    assert (facts.votes_of(data)["test"] == votes["test"]).all()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    said: list[str] = []
    assert facts.votes_of(data, note=said.append) is None and said[0].endswith("; scored without votes")
    with pytest.raises(DataError, match="5 rows, but fer2013 has row 5"):
        facts.votes_of(data, path, said.append)


def test_facts_count_classes_copies_and_conflicts(tmp_path):
    data = dataset(n=20)
    test = data["test"]
    test.faces[0] = data["train"].faces[0]  # a copy with the same label
    test.faces[3] = data["train"].faces[2]  # a copy with another
    found = facts.data_facts(data, None)
    assert found["counts"]["test"] == dict.fromkeys(FER7.names, 0) | {"happy": 10, "sad": 10}
    assert found["copies"]["test"]["exact"] == 2 and found["copies"]["val"]["exact"] == 0
    assert found["conflicting"] == 2 and found["crowd"] is None  # both sides of the pair
    votes = {k: np.eye(7)[s.labels] for k, s in data.splits.items()}
    crowd = facts.data_facts(data, votes)["crowd"]["test"]
    assert crowd["label_agreement"] == 1.0 and crowd["agreement_per_class"]["happy"] == 1.0
    path = stored.write_data(facts.data_facts(data, votes), tmp_path, data.name)
    assert path.is_file() and stored.read_data(tmp_path, data.name)["titles"]["test"] == "PrivateTest"


SCORES = {"accuracy": 0.5, "macro_f1": 0.4}
METRICS = {"data": {"name": "fer2013"}, "splits": {k: {"single": SCORES} for k in ("val", "test")}, "twin_of": None}


def test_a_seed_row_replaces_that_of_the_same_model_seed_length_and_recipe(tmp_path):
    row = dict.fromkeys(stored.SEED_COLUMNS, "") | {"model": "a", "seed": 1, "epochs": 3, "val_accuracy": 0.5}
    row |= {"recipe": "e", "sha256": "v"}
    add_seed_rows([row], tmp_path, "fer2013")
    others = [{"val_accuracy": 0.6, "sha256": "w"}, {"seed": 2, "sha256": "x"}, {"epochs": 9, "sha256": "y"}]
    others.append({"recipe": "f", "sha256": "z"})
    add_seed_rows([row | other for other in others], tmp_path, "fer2013")
    kept = [(r["seed"], r["epochs"], r["recipe"], r["val_accuracy"]) for r in stored.read_seeds(tmp_path, "fer2013")]
    assert kept == [(1, 3, "e", 0.6), (1, 3, "f", 0.5), (1, 9, "e", 0.5), (2, 3, "e", 0.5)]


def test_a_line_without_a_recipe_is_that_of_the_same_weights_and_may_be_of_any_recipe(tmp_path):
    old = dict.fromkeys(stored.SEED_COLUMNS, "") | {"model": "attention_cnn", "seed": 1, "epochs": 3, "sha256": "a"}
    stored.write_seeds([old], tmp_path, "fer2013")
    run = manifest(training={"epochs": 3, "best_epoch": 2}, seed=1)
    require_free_line(run, tmp_path, "fer2013")
    with pytest.raises(ConfigError, match="another run of attention_cnn with seed 1"):
        require_free_line(replace(run, weights={"sha256": "b"}), tmp_path, "fer2013")
    add_seed_rows([seed_row(run, METRICS)], tmp_path, "fer2013")
    (line,) = stored.read_seeds(tmp_path, "fer2013")
    assert (line["sha256"], line["recipe"], line["best_epoch"]) == ("a", card.recipe_digest(run), 2)


def test_seeds_of_one_recipe_share_its_digest_and_nothing_else_does():
    plain = manifest("vgg8", training={"teacher": "cbam_cnn4"}, seed=1)
    plain = replace(plain, recipe=replace(plain.recipe, teacher="cbam_cnn4", init="runs/vgg8/1"))
    own = card.recipe_digest(plain)
    elsewhere = replace(plain.recipe, teacher="/home/me/cbam_cnn4", init="runs/vgg8/2", name="best")
    assert own == card.recipe_digest(replace(plain, seed=2, recipe=elsewhere, weights={"sha256": "b"}))
    (phase,) = plain.recipe.phases
    twin = replace(plain, model_args={"attention": False})
    assert own == card.recipe_digest(twin), "its row has another name; the recipe is the same"
    changed = [
        replace(plain, recipe=replace(plain.recipe, init="")),
        replace(plain, recipe=replace(plain.recipe, phases=(replace(phase, lr=phase.lr / 2),))),
        replace(plain, recipe=replace(plain.recipe, augment=replace(plain.recipe.augment, erase=0.9))),
        replace(plain, recipe=replace(plain.recipe, ema_decay=0.0)),
        replace(plain, input=replace(plain.input, size_px=40)),
        replace(plain, model_args={"width": 1}),
        replace(plain, training={"teacher": "vgg8"}),
    ]
    assert len({own, *map(card.recipe_digest, changed)}) == len(changed) + 1


def test_a_field_that_a_later_version_adds_changes_no_digest(monkeypatch):
    own, to_dict = card.recipe_digest(manifest()), card.to_dict

    def later(spec):
        out = to_dict(spec) | {"invented": 0}
        return out | {"phases": [p | {"invented": []} for p in out["phases"]]} if "phases" in out else out

    monkeypatch.setattr(card, "to_dict", later)
    assert card.recipe_digest(manifest()) == own


def test_lines_of_bundled_nets_name_their_recipe():
    lines = {r["sha256"]: r["recipe"] for data in list_data() for r in stored.read_seeds(None, data)}
    found = {name: read_manifest(name) for name in trained_models()}
    assert {n: lines[m.weights["sha256"]] for n, m in found.items()} == {
        n: card.recipe_digest(m) for n, m in found.items()
    }


def test_a_run_by_another_recipe_has_a_line_of_its_own(tmp_path):
    one = manifest(training={"epochs": 3}, seed=1)
    other = replace(one, weights={"sha256": "b"}, recipe=replace(one.recipe, batch_size=7))
    add_seed_rows([seed_row(one, METRICS)], tmp_path, "fer2013")
    require_free_line(other, tmp_path, "fer2013")
    require_lines_apart({"a": one, "b": other}, "fer2013")
    again = replace(one, weights={"sha256": "c"})
    with pytest.raises(ConfigError, match="another run of attention_cnn with seed 1 over 3 epochs"):
        require_free_line(again, tmp_path, "fer2013")
    with pytest.raises(ConfigError, match="a and c are both"):
        require_lines_apart({"a": one, "c": again}, "fer2013")


def test_two_runs_of_one_name_are_refused(tmp_path, untrained):
    import shutil

    folders = [shutil.copytree(untrained("baseline_cnn"), tmp_path / side / "run") for side in "ab"]
    with pytest.raises(ConfigError, match="would overwrite each other"):
        card.row_names([str(f) for f in folders], "blobs")
    assert list(card.row_names([str(folders[0])], "blobs").values()) == ["baseline_cnn"]
    assert list(card.row_names([str(folders[0])], "fer2013").values()) == ["baseline_cnn@blobs"]
