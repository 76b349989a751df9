"""What scripts/evaluate.py stores beyond the two views: ten crops, robustness, cost, ensembles, seeds, other data."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fer import checkpoint
from fer.data import save
from fer.evaluation import leaderboard, results, stored
from fer.history import HISTORY, read_history
from fer.labels import FER7
from fer.scoring.seed_lines import keep_superseded
from tests.scored_fixtures import read
from tests.small_checkpoints import bundle, dataset, script

pytest_plugins = ("tests.scored_fixtures",)

SEVEN = [f"tencrop_{c}" for c in FER7.names]


@pytest.fixture
def place(scored_place):
    return scored_place


def test_everything_the_lab_reads_is_stored(place):
    r = read(place)
    assert r.views("test") == ("single", "flip", "tencrop") == r.views("val")
    m = r.metrics
    assert m["cost"]["macs"] > 1e6 and m["cost"]["latency_ms"]["batch_32"] > 0
    assert m["trained"]["seed"] == 1 and m["trained"]["recipe_name"] == "best" and m["twin_of"] is None
    test = m["splits"]["test"]
    assert set(test["conformal"]) == {"0.8", "0.9", "0.95"} and "conformal" not in m["splits"]["val"]
    assert sum(test["conformal"]["0.9"]["sizes"]) == 42 and test["crowd"] is None
    assert 0 <= test["selective"]["aurc"] <= 1
    found = stored.read_robustness(place / "results" / "fer2013" / "attention_cnn")
    assert found["checkpoint_sha256"] == checkpoint.read_manifest("attention_cnn").weights["sha256"]
    assert found["n"] == 42 and len(found["accuracy"]) == 9
    facts = stored.read_data(place / "results", "fer2013")
    assert facts["copies"]["test"]["exact"] == 3 and facts["counts"]["train"]["angry"] == 6
    (row,) = [r for r in leaderboard.read(place / "results") if r["model"] == "attention_cnn"]
    assert float(row["robustness"]) == found["mean"] and float(row["tencrop_accuracy"]) == test["tencrop"]["accuracy"]
    assert int(row["macs"]) == m["cost"]["macs"] and row["trained_on"] == "fer2013"


def test_ten_crops_are_the_mean_of_what_the_predictor_says_of_each(place):
    import fer
    from fer.specs import InputSpec

    predictor = fer.load("attention_cnn")
    faces = dataset()["test"].faces
    assert (predictor.input_spec.size_px, predictor.input_spec.resize_px) == (44, 48)
    crops = [faces[:, y : y + 44, x : x + 44] for y, x in ((0, 0), (0, 4), (4, 0), (4, 4), (2, 2))]
    predictor.input_spec = InputSpec(44, 1, 44)
    expected = np.mean([predictor.predict_proba(c) for f in crops for c in (f, f[:, :, ::-1].copy())], axis=0)
    assert read(place).probs("test", "tencrop") == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("nobody_asked")
def test_what_is_stored_of_the_same_checkpoint_is_used_again(place, evaluate):
    folder = place / "results" / "fer2013"
    before = {p: p.read_bytes() for p in folder.rglob("*.*")}
    assert evaluate.main(["--model", "all"]) == 0
    assert evaluate.main(["--ten-crop", "--robustness"]) == 0
    assert {p: p.read_bytes() for p in before} == before
    with pytest.raises(AssertionError, match="was loaded"):
        evaluate.main(["--again"])


def test_asked_again_the_ten_crops_stay_unless_they_are_asked_for_too(place, evaluate, monkeypatch):
    before, path = read(place), place / "results" / "fer2013" / "attention_cnn" / "predictions.parquet"
    changed = before.predictions.copy()
    changed[[f"p_{c}" for c in FER7.names]] = changed[SEVEN] = np.float32(1 / 7)
    results.write_predictions(changed, path.parent)
    assert evaluate.main(["--model", "attention_cnn", "--again"]) == 0
    assert read(place).probs("test") == pytest.approx(before.probs("test"), abs=1e-6)
    assert read(place).probs("test", "tencrop") == pytest.approx(1 / 7)
    assert evaluate.main(["--model", "attention_cnn", "--again", "--ten-crop"]) == 0
    assert read(place).probs("val", "tencrop") == pytest.approx(before.probs("val", "tencrop"), abs=1e-6)


def test_another_checkpoint_is_asked_and_loses_what_was_of_the_old_one(place, evaluate):
    bundle(place / "checkpoints", "attention_cnn", seed=9, bold=1e4)
    assert evaluate.main(["--model", "attention_cnn"]) == 0
    r = read(place)
    assert r.views("test") == ("single", "flip")
    (row,) = [r for r in leaderboard.read(place / "results") if r["model"] == "attention_cnn"]
    assert row["robustness"] == "" == row["tencrop_accuracy"], "the robustness stored is that of another checkpoint"
    assert evaluate.main(["--model", "attention_cnn", "--robustness", "--ten-crop"]) == 0
    assert read(place).views("test")[-1] == "tencrop"
    found = stored.read_robustness(place / "results" / "fer2013" / "attention_cnn")
    assert found["checkpoint_sha256"] == r.metrics["checkpoint"]["sha256"]


@pytest.mark.usefixtures("nobody_asked")
def test_results_of_the_first_schema_are_read_and_made_new(place, evaluate):
    path = place / "results" / "fer2013" / "attention_cnn" / "metrics.json"
    new = json.loads(path.read_text())
    old = {k: v for k, v in copy.deepcopy(new).items() if k not in ("cost", "twin_of")} | {
        "schema": 1,
        "latency_ms": None,
    }
    for key, split in old["splits"].items():
        for gone in ("crowd", "selective", "conformal", "tencrop"):
            split.pop(gone, None)
        for view in ("single", "flip"):
            for gone in ("weighted_f1", "weighted_precision", "weighted_recall", "macro_precision", "macro_recall"):
                del old["splits"][key][view][gone]
    path.write_text(json.dumps(old))
    r = read(place)
    assert r.metrics["schema"] == 1 and r.views("test") == ("single", "flip")
    assert leaderboard.row_of(r)["macs"] == "" == leaderboard.row_of(r)["tencrop_accuracy"]
    assert evaluate.main(["--from-predictions"]) == 0
    made = json.loads(path.read_text())
    assert made["schema"] == 2 and made["splits"] == new["splits"] and made["cost"] is None


def test_a_model_of_other_data_never_takes_the_row_of_one_trained_there(place, evaluate, capsys):
    save(dataset("muxspace"), place / "data" / "muxspace.npz")
    native = bundle(place / "runs", "attention_cnn", seed=4, data="muxspace")
    out = ["--data", "muxspace", "--out", str(place / "results")]
    assert evaluate.main([*out, "--checkpoint", str(native)]) == 0
    before = (place / "results" / "muxspace" / "attention_cnn" / "metrics.json").read_bytes()
    assert evaluate.main([*out, "--model", "attention_cnn"]) == 0
    folder = place / "results" / "muxspace"
    assert (folder / "attention_cnn" / "metrics.json").read_bytes() == before
    foreign = read(place, "attention_cnn@fer2013", "muxspace")
    assert foreign.metrics["trained"]["data"] == "fer2013" and foreign.title == "Attention CNN (from fer2013)"
    assert foreign.metrics["splits"]["test"]["leakage"] is None, "copies of faces that it was not trained on"
    rows = {r["model"]: r for r in leaderboard.read(place / "results") if r["data"] == "muxspace"}
    assert "trained on fer2013" in leaderboard.readme_table([rows["attention_cnn@fer2013"]])
    assert "trained on" not in leaderboard.readme_table([rows["attention_cnn"]])
    assert [r["model"] for r in stored.read_seeds(place / "results", "muxspace")] == ["attention_cnn"], "its own alone"
    file = place / "results" / "fer2013" / stored.SEEDS
    text = file.read_bytes()
    assert evaluate.main(["--checkpoint", str(native), "--seed-row"]) == 2, "not a seed of the nets trained on fer2013"
    assert "was trained on muxspace" in capsys.readouterr().err and file.read_bytes() == text


def test_a_run_without_attention_is_the_twin_of_its_model(place, evaluate, capsys):
    run = bundle(place / "runs", "attention_cnn", seed=3, bold=1e4, model_args={"attention": False})
    before = (place / "results" / "fer2013" / "attention_cnn" / "metrics.json").read_bytes()
    assert evaluate.main(["--checkpoint", str(run), "--out", str(place / "results")]) == 0
    twin = read(place, "attention_cnn@no_attention")
    assert twin.metrics["twin_of"] == "attention_cnn" and twin.metrics["trained"]["model_args"] == {"attention": False}
    assert (place / "results" / "fer2013" / "attention_cnn" / "metrics.json").read_bytes() == before
    again = bundle(place / "again", "attention_cnn", seed=3, bold=1e3, model_args={"attention": False})
    file = place / "results" / "fer2013" / stored.SEEDS
    text = file.read_bytes()
    assert evaluate.main(["--checkpoint", str(again), "--out", str(place / "results")]) == 2
    assert "a line of another run of attention_cnn@no_attention with seed 3" in capsys.readouterr().err
    assert file.read_bytes() == text and b"attention_cnn@no_attention" in text
    (row,) = [r for r in leaderboard.read(place / "results") if r["model"] == twin.name]
    assert row["twin_of"] == "attention_cnn" and "twin of `attention_cnn`" in leaderboard.readme_table([row])
    assert leaderboard.marks(row).endswith("weights not bundled"), "it is a run"
    assert {r["bundled"] for r in leaderboard.read(place / "results") if r is not row} == {"True", "False"}
    capsys.readouterr()
    assert evaluate.main(["--from-predictions"]) == 0 and "weights not bundled" in capsys.readouterr().out
    assert script("compare").main(["attention_cnn", twin.name]) == 0
    assert capsys.readouterr().out.count("weights not bundled)") == 1
    assert evaluate.main(["--checkpoint", str(run), "--out", str(place / "runs" / "results")]) == 0
    assert "not bundled" not in capsys.readouterr().out, "runs are among themselves there"


def test_a_seed_has_a_line_its_predictions_and_its_history_and_is_no_model(place, evaluate, capsys):
    before = sorted(p.name for p in (place / "results" / "fer2013").iterdir())
    runs = [bundle(place / f"seed{s}", "baseline_cnn", seed=s, bold=3.0) for s in (11, 12)]
    for run in runs:
        epochs = checkpoint.read_manifest(run).training["epochs"]
        (run / HISTORY).write_text("".join(f'{{"epoch": {e + 1}}}\n' for e in range(epochs)))
    argv = [a for r in runs for a in ("--checkpoint", str(r))]
    assert evaluate.main([*argv, "--seed-row"]) == 0
    kept = place / "results" / "fer2013" / results.SEED_RUNS
    assert sorted(p.name for p in kept.parent.iterdir() if p != kept) == before
    assert {r.name for r in results.read_results(place / "results")} == {
        n for n in before if (kept.parent / n).is_dir()
    }
    rows = stored.read_seeds(place / "results", "fer2013")
    assert [(r["model"], r["seed"]) for r in rows] == [
        ("attention_cnn", 1), ("baseline_cnn", 0), ("baseline_cnn", 11), ("baseline_cnn", 12)
    ]  # fmt: skip
    scores = read(place, "baseline_cnn").scores("test")
    assert rows[1]["test_accuracy"] == scores["accuracy"] and rows[1]["macro_f1"] == scores["macro_f1"]
    assert rows[2]["sha256"] == checkpoint.read_manifest(runs[0]).weights["sha256"] != rows[3]["sha256"]
    for line in rows[2:]:
        folder = stored.seed_run(line, place / "results", "fer2013")
        frame = pd.read_parquet(folder / results.PREDICTIONS)
        names = [c for c in frame if c.startswith("p_")]
        for split in ("val", "test"):
            part = frame[frame["split"] == split]
            right = part[names].to_numpy().argmax(axis=1) == part["label"].to_numpy()
            assert right.mean() == pytest.approx(line[f"{split}_accuracy"], abs=1e-6)
        assert len(read_history(folder)) == line["epochs"]
    other = bundle(place / "again", "baseline_cnn", seed=12, bold=1.0)
    file = place / "results" / "fer2013" / stored.SEEDS
    text = file.read_bytes()
    assert evaluate.main(["--checkpoint", str(runs[1]), "--seed-row"]) == 0 and file.read_bytes() == text
    assert evaluate.main(["--checkpoint", str(other), "--seed-row"]) == 2 and file.read_bytes() == text
    assert "another run of baseline_cnn with seed 12" in capsys.readouterr().err
    # by another copy of the data the bundled nets are scored anew, and the lines stay those of the first copy
    for name in ("baseline_cnn", "attention_cnn"):
        known = checkpoint.read_manifest(name)
        own = known.data | {"fingerprint": dataset().fingerprint}
        checkpoint.write_manifest(place / "checkpoints" / name, replace(known, data=own))
    elsewhere = dataset()
    elsewhere["test"].faces[0] ^= 1
    save(elsewhere, place / "data" / "fer2013.npz")
    counted = {m: read(place, m).predictions for m in ("baseline_cnn", "attention_cnn")}
    assert evaluate.main(["--out", str(place / "results")]) == 0 and file.read_bytes() == text
    assert "another copy of fer2013" in capsys.readouterr().err
    for line in rows[:2]:
        folder = stored.seed_run(line, place / "results", "fer2013")
        pd.testing.assert_frame_equal(pd.read_parquet(folder / results.PREDICTIONS), counted[line["model"]])
    assert evaluate.main(["--checkpoint", str(place / "checkpoints" / "baseline_cnn"), "--seed-row"]) == 0
    assert file.read_bytes() == text
    shutil.copytree(place / "checkpoints" / "baseline_cnn", place / "moved")
    assert evaluate.main(["--checkpoint", str(place / "moved"), "--seed-row"]) == 2, "no seed of nets for these data"
    assert "was trained on another fer2013" in capsys.readouterr().err and file.read_bytes() == text
    with pytest.raises(SystemExit):
        evaluate.main(["--checkpoint", str(runs[1]), "--seed-row", "--split", "val"])
    assert "both splits" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate.main(["--seed-row"])
    assert "--checkpoint" in capsys.readouterr().err


def test_what_a_line_was_counted_from_outlives_the_weights_in_the_models_folder(place, evaluate):
    folder = place / "results" / "fer2013" / "baseline_cnn"
    lines = lambda: [r for r in stored.read_seeds(place / "results", "fer2013") if r["model"] == "baseline_cnn"]  # noqa: E731
    kept = lambda: sorted(p.name for p in (folder.parent / results.SEED_RUNS / "baseline_cnn").glob("*"))  # noqa: E731
    old, (line,) = read(place, "baseline_cnn"), lines()
    history = [{"epoch": e + 1, "val_accuracy": line["val_accuracy"]} for e in range(line["epochs"])]
    (folder / HISTORY).write_text("".join(json.dumps(e) + "\n" for e in history))
    bundle(place / "checkpoints", "baseline_cnn", seed=5, bold=2.0)
    assert evaluate.main(["--model", "baseline_cnn"]) == 0
    new = read(place, "baseline_cnn")
    assert new.scores()["accuracy"] != old.scores()["accuracy"]
    place_of_line = stored.seed_run(line, place / "results", "fer2013")
    assert kept() == [place_of_line.name]
    pd.testing.assert_frame_equal(pd.read_parquet(place_of_line / results.PREDICTIONS), old.predictions)
    assert read_history(place_of_line) == history
    assert [r["seed"] for r in lines()] == [0, 5] and lines()[0] == line
    # the same seed once more, other weights: its line is replaced, and what stood behind that goes too
    (folder / HISTORY).write_text("".join(json.dumps(e | {"val_accuracy": 2.0}) + "\n" for e in history))
    bundle(place / "checkpoints", "baseline_cnn", seed=5, bold=4.0)
    assert evaluate.main(["--model", "baseline_cnn"]) == 0
    assert kept() == [place_of_line.name] and lines()[1]["sha256"] != new.metrics["checkpoint"]["sha256"]
    # back to the first: promotion has put another history there, which is not stored as this one's
    third = lines()[1]
    bundle(place / "checkpoints", "baseline_cnn", seed=6, bold=2.0)
    assert evaluate.main(["--model", "baseline_cnn"]) == 0
    third_place = stored.seed_run(third, place / "results", "fer2013")
    assert (third_place / results.PREDICTIONS).is_file() and not (third_place / HISTORY).exists()


def test_promotion_keeps_the_history_behind_a_line(place, evaluate, monkeypatch):
    folder = place / "results" / "fer2013" / "baseline_cnn"
    (line,) = [r for r in stored.read_seeds(place / "results", "fer2013") if r["model"] == "baseline_cnn"]
    history = [{"epoch": e + 1, "val_accuracy": line["val_accuracy"]} for e in range(line["epochs"])]
    (folder / HISTORY).write_text("".join(json.dumps(e) + "\n" for e in history))
    keep_superseded("baseline_cnn", checkpoint.read_manifest("baseline_cnn"), place / "results", "fer2013")
    kept = stored.seed_run(line, place / "results", "fer2013")
    assert not kept.exists(), "the same weights"
    other = bundle(place / "again", "baseline_cnn", seed=12, bold=1.0)
    keep_superseded("baseline_cnn", checkpoint.read_manifest(other), place / "results", "fer2013")
    assert read_history(kept) == history and (kept / results.PREDICTIONS).is_file()


def test_two_runs_for_one_line_are_refused_before_either_is_scored(place, evaluate, capsys):
    runs = [bundle(place / side, "baseline_cnn", seed=21, bold=b) for side, b in (("a", 1.0), ("b", 2.0))]
    before = (place / "results" / "fer2013" / stored.SEEDS).read_bytes()
    assert evaluate.main(["--seed-row", *(a for r in runs for a in ("--checkpoint", str(r)))]) == 2
    assert "are both baseline_cnn with seed 21 over 3 epochs" in capsys.readouterr().err
    assert (place / "results" / "fer2013" / stored.SEEDS).read_bytes() == before


def test_votes_of_the_crowd_are_scored_and_stay_when_they_are_gone(place, evaluate):
    from fer.data.ferplus import VOTE_NAMES

    rng = np.random.default_rng(0)
    usage = {"train": "Training", "val": "PublicTest", "test": "PrivateTest"}
    lines = ["Usage,Image name," + ",".join(VOTE_NAMES)]
    of_row = {int(r): k for k, s in dataset().splits.items() for r in s.rows}
    for row in range(max(of_row) + 1):
        votes = rng.multinomial(10, np.full(8, 1 / 8))
        lines.append(f"{usage[of_row.get(row, 'train')]},fer{row}.png,{','.join(map(str, votes))},0,0")
    votes = place / "fer2013new.csv"
    votes.write_text("\n".join(lines) + "\n")
    assert evaluate.main(["--votes", str(votes)]) == 0
    crowd = read(place).metrics["splits"]["test"]["crowd"]
    assert crowd["n"] == 42 and crowd["cross_entropy"] > crowd["crowd_entropy"] > 1
    facts = stored.read_data(place / "results", "fer2013")
    assert facts["crowd"]["test"]["agreement"] == crowd["agreement"]
    for argv in (["--from-predictions"], [], ["--again"]):
        assert evaluate.main(argv) == 0
        assert read(place).metrics["splits"]["test"]["crowd"] == crowd
    assert stored.read_data(place / "results", "fer2013") == facts


def test_latency_is_kept_measured_again_or_left_out(place, evaluate, monkeypatch):
    measured = iter(range(1, 100))
    monkeypatch.setattr("fer.scoring.cost.fastest", lambda call: float(next(measured)))

    def latency():
        return (read(place).metrics["cost"]["latency_ms"] or {}).get("batch_1")

    kept = latency()
    for argv, expected in ((["--latency", "none"], kept), ([], kept), (["--latency", "again"], 1000.0)):
        assert evaluate.main(["--model", "attention_cnn", *argv]) == 0
        assert latency() == expected
    bundle(place / "checkpoints", "attention_cnn", seed=9)
    assert evaluate.main(["--model", "attention_cnn", "--latency", "none"]) == 0
    assert latency() is None and read(place).metrics["cost"]["macs"] > 0
    assert evaluate.main(["--model", "attention_cnn"]) == 0
    assert latency() == 3000.0


def test_a_damaged_robustness_file_is_named_and_the_row_stays(place, evaluate, capsys):
    path = place / "results" / "fer2013" / "baseline_cnn" / stored.ROBUSTNESS
    before = path.read_bytes()
    path.write_text("{")
    assert evaluate.main(["--from-predictions"]) == 0
    assert "left out: " in (err := capsys.readouterr().err) and "--robustness" in err
    rows = {r["model"]: r for r in leaderboard.read(place / "results")}
    assert rows["baseline_cnn"]["robustness"] == "" != rows["attention_cnn"]["robustness"]
    assert evaluate.main(["--robustness"]) == 0
    assert path.read_bytes() == before


def test_one_net_that_learnt_the_faces_does_not_stop_the_others(place, evaluate, capsys, monkeypatch):
    runs = [str(bundle(place / f"run{i}", name)) for i, name in enumerate(("baseline_cnn", "tiny_cnn"))]
    known = {"baseline_cnn"}
    monkeypatch.setattr("fer.scoring.score.learnt_val", lambda manifest, data: "fer2013" * (manifest.model in known))
    command = [a for run in runs for a in ("--checkpoint", run)] + ["--split", "val", "--out", str(place / "scores")]
    assert evaluate.main(command) == 0
    said = capsys.readouterr()
    assert "note: baseline_cnn is left out: baseline_cnn learnt from fer2013" in said.err and "tiny_cnn" in said.out
    assert sorted(p.parent.name for p in (place / "scores").rglob("metrics.json")) == ["tiny_cnn"]
    known.add("tiny_cnn")
    assert evaluate.main(command) == 2 and "tiny_cnn learnt from fer2013" in capsys.readouterr().err
