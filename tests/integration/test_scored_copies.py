"""What scripts/evaluate.py opens and replaces: splits, copies of the data, ensembles."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fer import checkpoint
from fer.data import load, save
from fer.evaluation import leaderboard, report, results, stored
from fer.labels import FER7
from tests.scored_fixtures import read
from tests.small_checkpoints import bundle, dataset

pytest_plugins = ("tests.scored_fixtures",)

SEVEN = [f"tencrop_{c}" for c in FER7.names]


@pytest.fixture
def place(scored_place):
    return scored_place


def test_other_data_are_scored_anew(place, evaluate):
    changed = dataset()
    changed["test"].faces[5] = 255 - changed["test"].faces[5]
    fingerprint = load(save(changed, place / "data" / "fer2013.npz")).fingerprint
    old = read(place, "baseline_cnn").probs("test")
    assert evaluate.main(["--model", "baseline_cnn", "--out", str(place / "results")]) == 0
    assert read(place, "baseline_cnn").metrics["data"]["fingerprint"] == fingerprint
    assert (read(place, "baseline_cnn").probs("test")[5] != old[5]).any()
    assert stored.read_data(place / "results", "fer2013")["fingerprint"] == fingerprint


def test_ten_crops_of_one_split_leave_the_other_as_it_was(place, evaluate):
    whole, folder = read(place), place / "results" / "fer2013" / "attention_cnn"
    without = whole.predictions.drop(columns=SEVEN)
    results.write_predictions(without, folder)
    results.write_json(report.summarise(without, report.card_of(whole.metrics)), folder / results.METRICS)
    assert evaluate.main(["--model", "attention_cnn", "--split", "val", "--ten-crop"]) == 0
    half = read(place)
    assert half.splits == ("val", "test") and half.views("test") == ("single", "flip")
    assert half.probs("val", "tencrop") == pytest.approx(whole.probs("val", "tencrop"), abs=1e-6)
    assert evaluate.main(["--model", "attention_cnn", "--ten-crop"]) == 0
    pd.testing.assert_frame_equal(read(place).predictions, whole.predictions)
    assert evaluate.main(["--model", "attention_cnn", "--split", "val", "--ten-crop", "--again"]) == 0
    pd.testing.assert_frame_equal(read(place).predictions, whole.predictions, check_exact=False, atol=1e-6)


def test_scores_of_validation_alone_are_no_line_and_take_none(place, evaluate):
    file = place / "results" / "fer2013" / stored.SEEDS
    text = file.read_bytes()
    bundle(place / "checkpoints", "baseline_cnn", seed=31, bold=2.0)
    assert evaluate.main(["--model", "baseline_cnn", "--split", "val"]) == 0
    assert read(place, "baseline_cnn").splits == ("val",) and file.read_bytes() == text
    assert evaluate.main(["--model", "baseline_cnn"]) == 0
    assert [r["seed"] for r in stored.read_seeds(place / "results", "fer2013")] == [1, 0, 31]


def other_copy(place):
    """FER2013 with one pixel and one label of the test split changed, in data/; its fingerprint."""
    elsewhere = dataset()
    elsewhere["test"].faces[0, 0, 0] ^= 1
    elsewhere["test"].targets[0] = np.roll(elsewhere["test"].targets[0], 1)
    return load(save(elsewhere, place / "data" / "fer2013.npz")).fingerprint


def test_another_copy_of_the_data_does_not_replace_what_is_stored(place, evaluate, monkeypatch, capsys):
    folder = place / "results" / "fer2013"
    before = {p: p.read_bytes() for p in (place / "results").rglob("*.*")}
    fingerprint = other_copy(place)
    monkeypatch.setattr(evaluate.paths, "ROOT", place)
    own = bundle(place / "runs" / "mine", "vit_tiny", seed=7)
    data = checkpoint.read_manifest(own).data | {"fingerprint": fingerprint}
    checkpoint.write_manifest(own, replace(checkpoint.read_manifest(own), data=data))
    # a run on this copy leaves a line, and the facts are still those of the copy that the results are of
    assert evaluate.main(["--checkpoint", str(own), "--seed-row"]) == 0
    (line,) = [r for r in stored.read_seeds(place / "results", "fer2013") if r["data"] == fingerprint[:8]]
    assert line["model"] == "vit_tiny" and (folder / "data.json").read_bytes() == before[folder / "data.json"]
    assert evaluate.main(["--checkpoint", str(place / "checkpoints" / "baseline_cnn"), "--seed-row"]) == 2
    assert "--seed-row is for runs on this one" in capsys.readouterr().err
    (folder / "data.json").write_text("{")  # which is then told by the results themselves
    assert evaluate.main(["--model", "baseline_cnn"]) == 0
    said = capsys.readouterr()
    assert "results/fer2013/ was made on another copy" in said.err and "--out results" in said.err
    here = place / "runs" / f"results-{fingerprint[:8]}"
    (found,) = results.read_results(here)
    assert found.name == "baseline_cnn" and found.metrics["data"]["fingerprint"] == fingerprint
    assert stored.read_data(here, "fer2013")["fingerprint"] == fingerprint
    same = {p for p in before if p not in (folder / "data.json", folder / stored.SEEDS)}
    assert {p: p.read_bytes() for p in same} == {p: before[p] for p in same}


def test_results_of_two_copies_are_never_compared(place, evaluate, capsys):
    fingerprint = other_copy(place)
    shutil.rmtree(place / "checkpoints" / "attention_cnn")
    assert evaluate.main(["--out", str(place / "results")]) == 0, "its row stays, and is of other labels"
    assert "attention_cnn: scored on another copy of fer2013" in capsys.readouterr().err
    assert results.copy_of(place / "results", "fer2013") == fingerprint
    assert [r.name for r in results.read_results(place / "results")] == ["baseline_cnn"]
    assert stored.read_comparison(place / "results", "fer2013")["pairs"] == []
    assert [r["model"] for r in leaderboard.read(place / "results")] == ["baseline_cnn"]
    (place / "results" / "fer2013" / "data.json").unlink()
    shutil.copytree(place / "results" / "fer2013" / "attention_cnn", place / "results" / "fer2013" / "another")
    assert len(results.read_results(place / "results")) == 2, "without facts the copy that most are of"


@pytest.mark.usefixtures("nobody_asked")
def test_an_ensemble_is_chosen_on_validation_before_the_test_split_is_opened(place, evaluate):
    (known,) = stored.read_ensembles(place / "results", "fer2013")
    argv = ["--from-predictions", "--ensemble", "attention_cnn,baseline_cnn", "--ensemble-view", "flip"]
    assert evaluate.main([*argv, "--split", "val"]) == 0
    one, two = stored.read_ensembles(place / "results", "fer2013")
    assert one == known and one["test_accuracy"] is not None, "what is known stays"
    assert (two["test_accuracy"], two["test_interval"], two["scorings"]) == (None, None, 0)
    assert evaluate.main(argv) == 0
    one, opened = stored.read_ensembles(place / "results", "fer2013")
    assert one == known and opened["test_accuracy"] is not None and opened["scorings"] == 1
    assert opened["val_accuracy"] == two["val_accuracy"]


@pytest.mark.usefixtures("nobody_asked")
def test_ensembles_are_made_again_with_every_score(place, evaluate, capsys):
    path = place / "results" / "fer2013" / stored.ENSEMBLES
    (entry,) = stored.read_ensembles(place / "results", "fer2013")
    assert entry["members"] == ["baseline_cnn", "attention_cnn"] and sum(entry["weights"]) == pytest.approx(1, abs=1e-5)
    a, b = (read(place, m) for m in entry["members"])
    mean = sum(w * r.probs("test") for w, r in zip(entry["weights"], (a, b), strict=True))
    assert entry["test_accuracy"] == pytest.approx((mean.argmax(axis=1) == a.labels("test")).mean(), abs=1e-6)
    before = path.read_bytes()
    path.write_text(json.dumps({**json.loads(before), "ensembles": [{**entry, "test_accuracy": 0.99}]}))
    assert evaluate.main(["--from-predictions"]) == 0
    assert path.read_bytes() == before and "Ensembles" in capsys.readouterr().out
    seen = a.frame("test")["seen"].to_numpy()
    unseen = (mean.argmax(axis=1) == a.labels("test"))[seen == ""].mean()
    assert (seen == "exact").sum() == entry["leakage"]["exact"] == 3
    assert entry["leakage"]["accuracy"] == pytest.approx(unseen, abs=1e-6)
    older = {k: v for k, v in entry.items() if k != "leakage"}
    path.write_text(json.dumps({**json.loads(before), "ensembles": [older]}))
    assert evaluate.main(["--from-predictions"]) == 0, "an entry of before it was counted gets it, and nothing else"
    assert path.read_bytes() == before and f"no copies {100 * unseen:.1f}" in capsys.readouterr().out
    assert (
        evaluate.main(["--from-predictions", "--ensemble", "attention_cnn,baseline_cnn", "--ensemble-view", "flip"])
        == 0
    )
    one, two = stored.read_ensembles(place / "results", "fer2013")
    assert one == entry and two["view"] == "flip"
    mean = sum(w * read(place, m).probs("test", "flip") for w, m in zip(two["weights"], two["members"], strict=True))
    assert two["test_accuracy"] == pytest.approx((mean.argmax(axis=1) == a.labels("test")).mean(), abs=1e-6)
    assert evaluate.main(["--from-predictions"]) == 0
    assert stored.read_ensembles(place / "results", "fer2013") == [one, two]
    assert evaluate.main(["--from-predictions", "--ensemble", "baseline_cnn,atention_cnn"]) == 2
    assert "did you mean 'attention_cnn'" in capsys.readouterr().err
    assert evaluate.main(["--from-predictions", "--ensemble", "baseline_cnn"]) == 2
    assert "two models or more" in capsys.readouterr().err


@pytest.mark.usefixtures("nobody_asked")
@pytest.mark.parametrize("lacking", ["metrics.json", "predictions.parquet"])
def test_an_ensemble_whose_member_cannot_be_read_stays_as_it_was(place, evaluate, capsys, lacking):
    path = place / "results" / "fer2013" / stored.ENSEMBLES
    before = path.read_bytes()
    (place / "results" / "leaderboard.csv").unlink()
    (place / "results" / "fer2013" / "attention_cnn" / lacking).unlink()
    assert evaluate.main(["--from-predictions"]) == 0
    said = capsys.readouterr()
    assert path.read_bytes() == before and "baseline_cnn + attention_cnn stays as it was stored" in said.err
    assert (place / "results" / "leaderboard.csv").is_file()
    assert evaluate.main(["--from-predictions", "--ensemble", "baseline_cnn,attention_cnn"]) == 2
