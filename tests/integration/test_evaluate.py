"""scripts/evaluate.py and scripts/run_all.py with small checkpoints and small data, as a user would call them."""

import json
import shutil

import numpy as np
import pytest

from fer import checkpoint, paths
from fer.data import Dataset, save
from fer.evaluation import figures, leaderboard, results
from fer.evaluation.readme import markers
from fer.labels import FER7, FERPLUS8, LabelSet
from tests.small_checkpoints import bundle, dataset, script, setup
from tests.stand_in_results import write_stand_in


@pytest.fixture(scope="module")
def evaluate():
    return script("evaluate")


@pytest.fixture(scope="module")
def scored(tmp_path_factory, evaluate):
    """Two bundled models, scored once; the tests work on copies."""
    base = tmp_path_factory.mktemp("scored")
    with pytest.MonkeyPatch.context() as patch:
        setup(patch, base)
        bundle(base / "checkpoints", "baseline_cnn")
        bundle(base / "checkpoints", "attention_cnn", seed=1, bold=1e4, teacher="baseline_cnn")
        save(dataset(), base / "data" / "fer2013.npz")
        (base / "results" / "fer2013" / "baseline_cnn").mkdir(parents=True)
        epochs = [{"epoch": e, "val_accuracy": 0.2, "train_loss": 1.9, "lr": 0.1, "phase": "main"} for e in (1, 2)]
        (base / "results" / "fer2013" / "baseline_cnn" / "history.jsonl").write_text("\n".join(map(json.dumps, epochs)))
        assert evaluate.main([]) == 0
    return base


@pytest.fixture
def place(scored, tmp_path, monkeypatch):
    """A private copy of what was scored."""
    shutil.copytree(scored, tmp_path / "place")
    setup(monkeypatch, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def no_pictures(monkeypatch):
    """Pictures take most of the time; the tests that are not about them do without."""
    monkeypatch.setattr(figures, "write_all", lambda *a, **k: [])
    monkeypatch.setattr(figures, "write_comparison", lambda *a, **k: [])


def test_every_trained_model_is_scored_and_stored(place):
    folder = place / "results" / "fer2013"
    for name in ("baseline_cnn", "attention_cnn"):
        have = {p.name for p in (folder / name).iterdir()}
        assert have >= {"metrics.json", "predictions.parquet", "confusion_matrix.png", "per_class.png"}
        assert "misclassification_heatmap.png" in have
        r = results.read_result(folder / name)
        assert (r.split_title("val"), r.split_title("test")) == ("PublicTest", "PrivateTest")
        assert len(r.labels("val")) == 35 and len(r.labels("test")) == 42
        assert r.rows("test").tolist() == list(range(200, 242))
        assert r.metrics["splits"]["test"]["leakage"]["exact"] == 3
        assert r.metrics["checkpoint"]["sha256"] == checkpoint.read_manifest(name).weights["sha256"]
    assert (folder / "baseline_cnn" / "history.png").is_file()
    assert (folder / "model_comparison.png").is_file()
    assert len(json.loads((folder / "comparison.json").read_text())["pairs"]) == 1
    rows = leaderboard.read(place / "results")
    assert [r["model"] for r in rows] == ["baseline_cnn", "attention_cnn"]
    assert rows[1]["distilled_from"] == "baseline_cnn" and rows[1]["epochs"] == "3"


def test_stored_probabilities_are_those_of_the_predictor(place):
    import fer

    split = dataset()["test"]
    predictor = fer.load("attention_cnn")
    r = results.read_result(place / "results" / "fer2013" / "attention_cnn")
    single = predictor.predict_proba(split.faces)
    mirrored = predictor.predict_proba(split.faces[:, :, ::-1].copy())
    assert r.probs("test") == pytest.approx(single, abs=1e-5)
    assert r.probs("test", "flip") == pytest.approx((single + mirrored) / 2, abs=1e-5)
    assert not np.allclose(single, mirrored, atol=1e-4)
    assert r.metrics["temperature"] == {"value": 2.0, "source": "checkpoint"}
    assert r.labels("test").tolist() == split.labels.tolist()


def test_made_again_from_predictions_without_models_or_data(place, evaluate, capsys):
    before = {p: p.read_bytes() for p in place.rglob("results/**/*") if p.is_file() and p.suffix != ".parquet"}
    assert all(p.unlink() is None for p in place.glob("checkpoints/*/*") if p.name != checkpoint.MANIFEST)
    shutil.rmtree(place / "data")
    made = {"leaderboard.csv", "comparison.json"}
    assert all(p.unlink() is None for p in before if p.suffix == ".png" or p.name in made)
    assert evaluate.main(["--from-predictions"]) == 0
    assert {p: p.read_bytes() for p in before} == before
    assert "PrivateTest" in capsys.readouterr().out


@pytest.mark.usefixtures("no_pictures")
def test_marked_models_carry_a_star_wherever_they_are_printed(evaluate, tmp_path, capsys):
    root = write_stand_in(tmp_path / "r", n=140)
    assert evaluate.main(["--from-predictions", "--out", str(root)]) == 0
    out = capsys.readouterr().out
    assert "attention_cnn - vit_tiny*: " in out and "  * vit_tiny: distilled from attention_cnn" in out
    assert "attention_cnn*" not in out and "* baseline_cnn" not in out


@pytest.mark.usefixtures("no_pictures")
def test_readme_equals_what_is_printed(place, evaluate, capsys):
    readme = place / "README.md"
    readme.write_text("x\n" + "\n".join(markers("leaderboard")) + "\n")
    assert evaluate.main(["--check-readme", str(readme)]) == 1
    assert evaluate.main(["--from-predictions", "--readme", str(readme)]) == 0
    printed = capsys.readouterr().out
    assert evaluate.main(["--check-readme", str(readme)]) == 0
    for line in readme.read_text().splitlines():
        if line.startswith("| `"):
            cells = [c.strip().replace("`", "") for c in line.strip("|").split("|")]
            (shown,) = [p for p in printed.splitlines() if p.startswith(cells[0] + " ") and " - " not in p]
            assert [c for c in cells if c] == [c.strip() for c in shown.split("  ") if c.strip()]


@pytest.mark.usefixtures("no_pictures")
def test_one_model_of_several(place, evaluate):
    shutil.rmtree(place / "results")
    assert evaluate.main(["--model", "attention_cnn", "--batch-size", "10"]) == 0
    assert [r.name for r in results.read_results()] == ["attention_cnn"]


@pytest.mark.usefixtures("no_pictures")
def test_a_run_goes_to_its_own_folder_and_two_of_a_kind_are_told_apart(place, evaluate, capsys):
    before = (place / "results" / "leaderboard.csv").read_bytes()
    run = bundle(place / "runs" / "later", "baseline_cnn", seed=5)
    (run / "history.jsonl").write_text('{"epoch": 1, "val_accuracy": 0.3}\n')
    out = place / "elsewhere"
    assert evaluate.main(["--checkpoint", str(run), "--model", "baseline_cnn", "--out", str(out)]) == 0
    assert {r.name for r in results.read_results(out)} == {"baseline_cnn", "baseline_cnn@baseline_cnn"}
    later = results.read_result(out / "fer2013" / "baseline_cnn@baseline_cnn")
    assert later.history == [{"epoch": 1, "val_accuracy": 0.3}]
    assert (place / "results" / "leaderboard.csv").read_bytes() == before
    # a run is chosen by its validation score; the test split is opened when that is asked for, and then kept
    assert all(r.splits == ("val",) for r in results.read_results(out))
    assert "--split all" in capsys.readouterr().out
    assert evaluate.main(["--checkpoint", str(run), "--out", str(out), "--robustness"]) == 2
    assert "add --split all" in capsys.readouterr().err
    kept = later.folder / "metrics.json"
    for argv, splits in ((["--split", "all"], ("val", "test")), ([], ("val", "test"))):
        assert evaluate.main(["--checkpoint", str(run), "--out", str(out), *argv]) == 0
        found = results.read_result(out / "fer2013" / "baseline_cnn")
        assert found.splits == splits and found.metrics["checkpoint"]["seed"] == 5
    assert results.read_result(kept.parent).splits == ("val",), "another run's"
    text = (place / "results" / "fer2013" / "baseline_cnn" / "metrics.json").read_bytes()
    assert evaluate.main(["--checkpoint", str(run), "--out", str(place / "results")]) == 2
    assert "would take the row of the bundled baseline_cnn" in capsys.readouterr().err
    assert (place / "results" / "fer2013" / "baseline_cnn" / "metrics.json").read_bytes() == text
    for argv, data, committed in (
        (["--checkpoint", str(run)], "fer2013", False),
        (["--checkpoint", str(place / "checkpoints" / "baseline_cnn")], "fer2013", True),
        ([], "fer2013", True),
        ([], "synthetic", False),
    ):
        where = evaluate.default_out(evaluate.build_parser().parse_args(argv), dataset(data))
        assert (where == paths.results_dir()) == committed


def test_two_runs_that_would_share_a_folder_of_results_are_refused(place, evaluate, capsys):
    runs = [str(bundle(place / side / "runs", "baseline_cnn", seed=i)) for i, side in enumerate("ab")]
    argv = ["--checkpoint", runs[0], "--checkpoint", runs[1], "--out", str(place / "elsewhere")]
    assert evaluate.main(argv) == 2
    assert "would overwrite each other" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
def test_damaged_results_are_named_once_and_the_others_go_on(place, evaluate, capsys):
    path = place / "results" / "fer2013" / "baseline_cnn" / "metrics.json"
    metrics = json.loads(path.read_text())
    del metrics["splits"]["test"]["title"]  # not needed
    path.write_text(json.dumps(metrics))
    assert evaluate.main(["--from-predictions"]) == 0
    assert "left out" not in capsys.readouterr().err
    path.write_text(json.dumps(metrics | {"temperature": None}))
    assert evaluate.main(["--from-predictions"]) == 0
    assert capsys.readouterr().err.count("left out: ") == 1
    assert [r["model"] for r in leaderboard.read(place / "results")] == ["attention_cnn"]


@pytest.mark.usefixtures("no_pictures")
def test_a_checkpoint_without_temperature_gets_one_fitted_on_validation(place, evaluate):
    bundle(place / "checkpoints", "baseline_cnn", temperature=1.0)
    assert evaluate.main(["--model", "baseline_cnn"]) == 0
    m = results.read_result(place / "results" / "fer2013" / "baseline_cnn").metrics
    assert m["temperature"]["source"] == "fitted on PublicTest"
    val = m["splits"]["val"]
    assert val["calibrated"]["nll"] < val["uncalibrated"]["nll"]


@pytest.mark.usefixtures("no_pictures")
def test_other_classes_are_matched_by_name(place, evaluate, capsys):
    bundle(place / "checkpoints", "baseline_cnn", label_set=FERPLUS8)
    assert evaluate.main(["--model", "baseline_cnn"]) == 0
    r = results.read_result(place / "results" / "fer2013" / "baseline_cnn")
    assert r.class_names == FER7.names and r.probs("test").sum(axis=1) == pytest.approx(1, abs=1e-5)
    save(dataset("ferplus", FERPLUS8), place / "data" / "ferplus.npz")
    assert evaluate.main(["--model", "attention_cnn", "--data", "ferplus"]) == 0
    assert "knows no contempt" in capsys.readouterr().err
    save(dataset("odd", LabelSet("odd", ("contempt",))), place / "data" / "odd.npz")
    assert evaluate.main(["--model", "attention_cnn", "--data", str(place / "data" / "odd.npz")]) == 2
    assert "no mass on any class" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
def test_drawn_faces_stay_out_of_the_leaderboard(place, evaluate):
    save(dataset("synthetic"), place / "drawn.npz")
    out = place / "results"
    before = (out / "leaderboard.csv").read_bytes()
    assert evaluate.main(["--data", str(place / "drawn.npz"), "--out", str(out)]) == 0
    assert (out / "synthetic" / "baseline_cnn@fer2013" / "metrics.json").is_file()
    leaderboard.write(out)
    assert (out / "leaderboard.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model", "vit"], "did you mean 'vit_tiny'"),
        (["--model", "vit_tiny"], "train it with"),
        (["--checkpoint", "nowhere/run"], "no such checkpoint"),
        (["--data", "nowhere.csv"], "no such file"),
        (["--data", "fer2031"], "did you mean 'fer2013'"),
        (["--from-predictions", "--data", "fer2031"], "did you mean 'fer2013'"),
        (["--from-predictions", "--model", "atention_cnn"], "did you mean 'attention_cnn'"),
        (["--check-readme", "nowhere.md"], "no such file"),
    ],
)
def test_mistakes_are_explained_in_one_line(place, evaluate, argv, message, capsys):
    assert evaluate.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err


def test_without_data_or_models_it_says_what_to_do(place, evaluate, capsys):
    (place / "data" / "fer2013.npz").unlink()
    for asked in (["--ten-crop"], ["--again"], ["--out", str(place / "elsewhere")]):
        assert evaluate.main(asked) == 2
        assert capsys.readouterr().err.startswith("error: ")
    shutil.rmtree(place / "checkpoints")
    assert evaluate.main([]) == 2
    assert "scripts/train.py" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
def test_without_data_the_stored_predictions_are_enough(place, evaluate, capsys):
    (place / "data" / "fer2013.npz").unlink()
    leaderboard_csv = place / "results" / "leaderboard.csv"
    before = leaderboard_csv.read_bytes()
    leaderboard_csv.unlink()
    assert evaluate.main(["--model", "all"]) == 0
    err = capsys.readouterr().err
    assert "prepare_data" in err and "stored predictions alone" in err
    assert leaderboard_csv.read_bytes() == before


def test_a_data_set_without_splits_to_score(place, evaluate, capsys):
    save(Dataset("fer2013", FER7, {"train": dataset()["train"]}), place / "data" / "fer2013.npz")
    assert evaluate.main([]) == 2
    assert "no validation or test split" in capsys.readouterr().err


def pretend(place, called, fails=(), kept=()):
    """In place of the scripts: train leaves finished runs of what does not fail and prints their folders.

    Args:
        kept: What is not promoted, since something better is there.
    """

    def fake(name):
        def main(argv):
            called.append([name, *argv])
            wanted = [m for m in argv[1].split(",") if m not in fails]
            if name == "train":
                for model in wanted:
                    print(bundle(place / "finished", model, epochs=1))
                    if "--promote" in argv and model not in kept:
                        bundle(place / "checkpoints", model, epochs=1)
            return 1 if name == "train" and fails else 3 if name == "train" and kept else 0

        return main

    return fake


def test_run_all_calls_the_scripts_in_order(place, monkeypatch):
    module, called = script("run_all"), []
    monkeypatch.setattr(module, "script", pretend(place, called))
    common = ["--model", "baseline_cnn", "--epochs", "1", "--device", "cpu", "--skip-phase", "affectnet"]
    assert module.main(["--data", "synthetic", "--out", str(place / "out"), *common]) == 0
    assert [c[0] for c in called] == ["train", "evaluate"] and "--promote" not in called[0]
    assert called[0][-2:] == ["--skip-phase", "affectnet"]
    assert called[1][1:3] == ["--checkpoint", str(place / "finished" / "baseline_cnn")]
    assert called[1][-2:] == ["--split", "all"]

    called.clear()
    (place / "data" / "fer2013.npz").unlink()
    assert module.main(["--model", "vit_tiny,baseline_cnn,attention_cnn"]) == 0
    assert [c[0] for c in called] == ["prepare_data", "train", "evaluate"]
    assert "--promote" in called[1] and called[-1][called[-1].index("--out") + 1] == str(place / "results")
    assert called[1][2] == called[-1][2] == "baseline_cnn,attention_cnn,vit_tiny"
    called.clear()
    assert module.main(["--model", "baseline_cnn", "--budget", "minutes=1", "--stretch", "2"]) == 0
    at = called[-2].index("--budget")
    assert called[-2][at : at + 4] == ["--budget", "minutes=1", "--stretch", "2.0"]
    assert "--promote" not in called[-2] + called[-1], "a shortened model is not bundled"


def test_run_all_scores_the_models_that_were_trained_when_another_fails(place, monkeypatch, capsys):
    module, called = script("run_all"), []
    monkeypatch.setattr(module, "script", pretend(place, called, fails=("attention_cnn",)))
    assert module.main(["--model", "baseline_cnn,attention_cnn,vit_tiny"]) == 1
    assert called[-1][0] == "evaluate" and called[-1][2] == "baseline_cnn,vit_tiny"
    assert "1 of 3 models failed" in capsys.readouterr().err


def test_run_all_scores_what_was_not_promoted_beside_what_was(place, monkeypatch):
    module, called = script("run_all"), []
    bundle(place / "checkpoints", "baseline_cnn", seed=3)
    monkeypatch.setattr(module, "script", pretend(place, called, kept=("baseline_cnn",)))
    assert module.main(["--model", "baseline_cnn,vit_tiny"]) == 0
    assert [c[0] for c in called] == ["train", "evaluate", "evaluate"]
    assert called[1][1:3] == ["--model", "vit_tiny"]
    assert called[2][1:3] == ["--checkpoint", str(place / "finished" / "baseline_cnn")]
    assert called[2][called[2].index("--out") + 1].endswith("results")
    assert called[2][-2:] == ["--split", "val"] and "--split" not in called[1], "the test split is not for what lost"


def test_run_all_stops_at_the_first_failure(place, monkeypatch):
    module = script("run_all")
    monkeypatch.setattr(module, "script", lambda name: lambda argv: 2)
    assert module.main(["--data", "synthetic"]) == 2
    assert module.main(["--model", "vit"]) == 2


@pytest.mark.slow
def test_run_all_on_drawn_faces_from_nothing(tmp_path, monkeypatch):
    pytest.importorskip("fer.data.synthetic")
    setup(monkeypatch, tmp_path)
    argv = ["--data", "synthetic:n=10", "--epochs", "1", "--model", "baseline_cnn", "--device", "cpu"]
    assert script("run_all").main([*argv, "--out", str(tmp_path / "out")]) == 0
    (result,) = results.read_results(tmp_path / "out" / "results", "synthetic")
    assert result.name == "baseline_cnn" and result.history
    assert not (tmp_path / "checkpoints").exists() and not (tmp_path / "results").exists()
