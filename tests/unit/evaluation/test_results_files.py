import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from fer.errors import DataError
from fer.evaluation import leaderboard, metrics, readme, report, results, speed, stored
from fer.history import HISTORY, read_history
from fer.labels import FER7
from fer.viz import model_order


def store(root, model="attention_cnn", n=120, skill=2.0, parameters=1_200_000, data="fer2013", seed=0, **card):
    """Write one model's results as scripts/evaluate.py does; returns the folder."""
    truth, rng = np.random.default_rng(99), np.random.default_rng(seed)
    splits = {}
    for key in ("val", "test"):
        labels = np.concatenate([np.arange(7), truth.integers(0, 7, n - 7)])
        probs = softmax(rng.normal(size=(n, 7)) + skill * np.eye(7)[labels], axis=1).astype(np.float32)
        seen = np.array(["exact"] * 5 + ["near"] * 3 + [""] * (n - 8))
        splits[key] = {
            "rows": np.arange(n) + 1000,
            "labels": labels,
            "single": probs,
            "flip": probs[:, :],
            "seen": seen,
        }
    frame = results.predictions_frame(splits, FER7.names)
    metrics = report.summarise(
        frame,
        {
            "model": model,
            "title": model.replace("_", " ").title(),
            "data": {"name": data, "fingerprint": "f" * 64, "label_set": "fer7", "labels": list(FER7.names)},
            "checkpoint": {"sha256": "0" * 64},
            "parameters": parameters,
            "trained": {"epochs": 20, "seconds": 3000.0, "device": "cpu"},
            "marks": {"distilled_from": "", "pretrained": False, "extra_annotation": False},
            "temperature": {"value": 1.25, "source": "checkpoint"},
            "cost": None,
            "twin_of": None,
            "titles": {"val": "PublicTest", "test": "PrivateTest"},
        }
        | card,
    )
    folder = results.folder_of(data, model, root)
    results.write_predictions(frame, folder)
    results.write_json(metrics, folder / results.METRICS)
    epochs = [{"epoch": e, "phase": "main", "val_accuracy": e / 10, "train_loss": 2 / e, "lr": 0.1} for e in (1, 2, 3)]
    results.write_text("".join(json.dumps(e) + "\n" for e in epochs), folder / HISTORY)
    return folder


def test_what_was_written_is_read_again(tmp_path):
    folder = store(tmp_path)
    r = results.read_result(folder)
    assert (r.name, r.title, r.splits, r.class_names) == ("attention_cnn", "Attention Cnn", ("val", "test"), FER7.names)
    assert r.split_title("test") == "PrivateTest" and len(r.history) == 3
    probs, labels = r.probs("test"), r.labels("test")
    assert probs.shape == (120, 7) and probs.dtype == np.float32 and labels.dtype == np.int64
    assert r.scores("test")["accuracy"] == pytest.approx((probs.argmax(1) == labels).mean(), abs=1e-6)
    assert r.probs("val", "flip").shape == (120, 7)
    assert r.rows("val")[0] == 1000


def test_metrics_json_says_what_the_issue_asks_for(tmp_path):
    m = json.loads((store(tmp_path) / "metrics.json").read_text())
    assert (m["format"], m["schema"], m["model"], m["data"]["name"]) == ("fer-results", 2, "attention_cnn", "fer2013")
    test = m["splits"]["test"]
    assert test["title"] == "PrivateTest" and m["splits"]["val"]["title"] == "PublicTest"
    assert test["leakage"] | {"exact": 5, "near": 3, "kept": 112} == test["leakage"]
    assert test["leakage"]["accuracy"] != test["single"]["accuracy"]
    assert test["uncalibrated"]["nll"] != test["calibrated"]["nll"] == test["single"]["nll"]
    assert set(test["single"]["per_class"]) == set(FER7.names) and test["flip"]["n"] == 120


def test_everything_can_be_made_again_from_the_predictions(tmp_path):
    folder = store(tmp_path)
    r = results.read_result(folder)
    assert report.summarise(r.predictions, report.card_of(r.metrics)) == r.metrics


def test_small_models_come_first(tmp_path):
    store(tmp_path, "vit_tiny", parameters=5_500_000)
    store(tmp_path, "baseline_cnn", parameters=400_000)
    store(tmp_path)
    assert [r.name for r in results.read_results(tmp_path)] == ["baseline_cnn", "attention_cnn", "vit_tiny"]
    assert results.read_results(tmp_path, "other") == [] == results.read_results(tmp_path / "absent")


def _edit(change):
    def damage(folder):
        path = folder / "metrics.json"
        metrics = json.loads(path.read_text())
        change(metrics)
        path.write_text(json.dumps(metrics))

    return damage


def _frame(change):
    def damage(folder):
        path = folder / "predictions.parquet"
        change(pd.read_parquet(path)).to_parquet(path)

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "metrics.json").unlink(), "no such file"),
        (lambda f: (f / "metrics.json").write_text('{"format": "fer-res'), "damaged"),
        (lambda f: (f / "metrics.json").write_bytes(b"\xff\xfe\x00"), "damaged"),
        (lambda f: (f / "metrics.json").write_text("[1, 2]"), "not a results file"),
        (_edit(lambda m: m.update(schema=3)), "newer than 2; update"),
        (_edit(lambda m: m.pop("splits")), "incomplete"),
        (_edit(lambda m: m["splits"].clear()), "incomplete"),
        (_edit(lambda m: m["data"].pop("labels")), "incomplete"),
        (_edit(lambda m: m.pop("temperature")), "incomplete"),
        (_edit(lambda m: m["temperature"].update(value=0)), "incomplete"),
        (_edit(lambda m: m.update(parameters="many")), "incomplete"),
        (_edit(lambda m: m["splits"]["test"]["single"].pop("macro_f1")), "incomplete"),
        (_edit(lambda m: m["splits"]["test"]["single"].update(accuracy="high")), "incomplete"),
        (_edit(lambda m: m["splits"]["test"]["single"]["confusion"].pop()), "incomplete"),
        (_edit(lambda m: m["splits"]["test"].update(leakage={"exact": 1})), "incomplete"),
        (_edit(lambda m: m["splits"]["test"]["leakage"].update(accuracy="high")), "incomplete, accuracy"),
        (_edit(lambda m: m["splits"]["test"].update(majority={"label": "happy"})), "incomplete"),
        (_edit(lambda m: m["splits"]["test"].update(crowd={"cross_entropy": 1.2})), "'crowd_entropy' is missing"),
        (_edit(lambda m: m.update(trained=["cpu"])), "incomplete, trained"),
        (_edit(lambda m: m.update(marks="distilled")), "incomplete, marks"),
        (_edit(lambda m: m.update(cost={"latency_ms": {"batch_1": "fast"}})), "incomplete, batch_1"),
        (_frame(lambda p: p.assign(p_angry="x")), "does not hold numbers"),
        (_frame(lambda p: p.assign(label="x")), "does not hold numbers"),
        (_frame(lambda p: p.assign(row="x")), "does not hold numbers"),
        (_frame(lambda p: p.drop(columns="flip_sad")), "'flip_sad' is missing"),
        (_edit(lambda m: m["splits"]["test"].update(n=7)), "120 predictions of split test"),
        (_edit(lambda m: m["data"].update(labels=["angry", "contempt"])), "'contempt' is missing"),
        (lambda f: (f / "predictions.parquet").write_bytes(b"PAR1"), "damaged or not a parquet"),
        (lambda f: (f / "predictions.parquet").write_text("row,split"), "damaged or not a parquet"),
        (lambda f: (f / "history.jsonl").write_text('{"epoch": 1\n{"epoch": 2}\n'), "line 1 is damaged"),
    ],
)
def test_a_broken_folder_is_named_and_left_out(tmp_path, damage, message):
    store(tmp_path, "baseline_cnn", parameters=400_000)
    folder = store(tmp_path)
    damage(folder)
    with pytest.raises(DataError, match=message) as e:
        results.read_result(folder)
    assert "attention_cnn" in str(e.value)
    problems = []
    assert [r.name for r in results.read_results(tmp_path, problems=problems)] == ["baseline_cnn"]
    assert len(problems) == 1


def test_predictions_and_history_may_be_absent(tmp_path):
    folder = store(tmp_path)
    (folder / "predictions.parquet").unlink()
    (folder / "history.jsonl").unlink()
    r = results.read_result(folder)
    assert r.predictions is None and r.history == []
    with pytest.raises(DataError, match="absent"):
        r.probs("test")


def test_a_half_written_last_epoch_is_left_out(tmp_path):
    folder = store(tmp_path)
    with open(folder / "history.jsonl", "a") as f:
        f.write('{"epoch": 4, "val_acc')
    assert [h["epoch"] for h in read_history(folder)] == [1, 2, 3]


def test_unknown_split_and_view(tmp_path):
    r = results.read_result(store(tmp_path))
    for call in (r.probs, r.labels, r.scores, r.split_title):
        with pytest.raises(DataError, match="train"):
            call("train")
    with pytest.raises(DataError, match="ten_crop"):
        r.scores("test", "ten_crop")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "metrics.json"
    results.write_json({"a": 1}, path)
    with pytest.raises(ValueError):
        results.write_json({"a": float("nan")}, path)
    assert json.loads(path.read_text()) == {"a": 1} and len(list(tmp_path.iterdir())) == 1


def test_comparison_pairs_the_same_rows(tmp_path):
    a = results.read_result(store(tmp_path, "baseline_cnn", skill=1.0, seed=1, parameters=1))
    b = results.read_result(store(tmp_path, skill=4.0, seed=2))
    shuffled = results.ModelResult(b.name, b.title, b.metrics, b.predictions.sample(frac=1, random_state=0))
    one, two = report.comparison([a, b]), report.comparison([a, shuffled])
    assert one == two and one["n"] == 120
    (pair,) = one["pairs"]
    right = [r.probs("test").argmax(1) == r.labels("test") for r in (a, b)]
    assert pair["only_a"] == int((right[0] & ~right[1]).sum()) and pair["only_b"] == int((right[1] & ~right[0]).sum())
    assert pair["difference"] < 0 and pair["p"] < 0.001
    assert report.comparison([a])["pairs"] == [] == report.comparison([])["pairs"]
    wrong = b.predictions.assign(label=(b.predictions["label"] + 1) % 7)
    with pytest.raises(DataError, match="row 1000"):
        report.comparison([a, results.ModelResult(b.name, b.title, b.metrics, wrong)])


def test_leaderboard_has_every_real_data_set_and_no_drawn_faces(tmp_path):
    store(tmp_path)
    store(tmp_path, "baseline_cnn", parameters=400_000)
    store(tmp_path, data="ferplus")
    store(tmp_path, data="synthetic")
    leaderboard.write(tmp_path)
    rows = leaderboard.read(tmp_path)
    assert [(r["data"], r["model"]) for r in rows] == [
        ("fer2013", "baseline_cnn"), ("fer2013", "attention_cnn"), ("ferplus", "attention_cnn")
    ]  # fmt: skip
    single = results.read_result(tmp_path / "fer2013" / "attention_cnn").scores("test")
    assert float(rows[1]["test_accuracy"]) == single["accuracy"] and rows[1]["leaked"] == "8"
    table = leaderboard.readme_table(rows)
    untested = [{**rows[0], "test_split": "", "test_low": "", "test_accuracy": ""}, *rows[1:]]
    head = table.splitlines()[2]
    assert "PrivateTest" in head and leaderboard.readme_table(untested).splitlines()[2] == head, "the others' title"
    assert f"{100 * single['accuracy']:.1f} [" in table and "**ferplus**" in table and "synthetic" not in table


def test_marks_are_shown(tmp_path):
    store(tmp_path, "vit_tiny", marks={"distilled_from": "attention_cnn", "pretrained": True, "extra_annotation": True})
    leaderboard.write(tmp_path)
    for rows in (leaderboard.build(tmp_path), leaderboard.read(tmp_path)):
        assert "distilled from `attention_cnn`, pretrained, extra annotation" in leaderboard.readme_table(rows)
    store(tmp_path, "vit_tiny")
    leaderboard.write(tmp_path)
    assert "pretrained" not in leaderboard.readme_table(leaderboard.read(tmp_path))


@pytest.fixture
def bundled(tmp_path, monkeypatch):
    """Function: name, SHA-256 -> a manifest in the folder of checkpoints; results below tmp_path are the committed."""
    from fer.checkpoint import Manifest, write_manifest
    from fer.models import get_model

    def bundle(name, sha256):
        entry = get_model(name)
        manifest = Manifest(name, FER7.names, FER7.name, entry.SPEC.input, entry.RECIPE, weights={"sha256": sha256})
        write_manifest(tmp_path / "checkpoints" / name, manifest)

    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    return bundle


def test_rows_of_weights_that_are_not_bundled_say_so(tmp_path, bundled):
    root, ours, other = tmp_path / "results", "a" * 64, "b" * 64
    store(root, "vgg8", checkpoint={"sha256": ours})
    store(root, "vgg8@fer2013", data="ferplus", checkpoint={"sha256": ours})
    store(root, "vgg8", data="ferplus", checkpoint={"sha256": other})  # of that name, trained on other faces
    store(root, "tiny_cnn", checkpoint=None)
    store(root, "vit_tiny", checkpoint={"sha256": other}, marks={"distilled_from": "vgg8"})

    def marked(root=root):
        leaderboard.write(root)
        rows = leaderboard.read(root)
        assert [leaderboard.marks(r) for r in rows] == [leaderboard.marks(r) for r in leaderboard.build(root)]
        return {(r["data"], r["model"]): (r["bundled"], leaderboard.marks(r)) for r in rows}

    assert {said for said, _ in marked().values()} == {""}, "no checkpoints at all: nothing to go by"
    bundled("vgg8", ours)
    assert marked() == {
        ("fer2013", "vgg8"): ("True", "–"),
        ("ferplus", "vgg8@fer2013"): ("True", "–"),
        ("ferplus", "vgg8"): ("False", "weights not bundled"),
        ("fer2013", "tiny_cnn"): ("", "–"),  # whose weights, nobody knows
        ("fer2013", "vit_tiny"): ("False", "distilled from `vgg8`, weights not bundled"),
    }
    assert leaderboard.readme_table(leaderboard.read(root)).count("weights not bundled") == 2
    bundled("vit_tiny", other)
    assert not any("not bundled" in said for _, said in marked().values())


def test_results_of_runs_are_not_marked_as_not_bundled(tmp_path, bundled, monkeypatch):
    from fer import paths

    bundled("vgg8", "a" * 64)
    store(tmp_path / "elsewhere", "vgg8", checkpoint={"sha256": "b" * 64})
    assert [r["bundled"] for r in leaderboard.build(tmp_path / "elsewhere")] == [""]
    assert leaderboard.bundled() == leaderboard.bundled(tmp_path / "results") == {"a" * 64: "vgg8"}
    monkeypatch.setenv("FER_RESULTS", str(paths.ROOT / "runs" / "results"))
    assert leaderboard.bundled() is None, "the lab may be shown what runs scored"


def test_the_table_of_speed_has_the_marks_of_the_net_that_was_timed(tmp_path, bundled):
    times = {"batch_1": 2.0, "batch_32": 32.0}
    timed = speed.BackendSpeed("vgg8", "a" * 64, times, times)
    speed.write_speed(
        speed.SpeedReport("cpu", 2, {"torch": "2", "onnxruntime": "1"}, (timed,)), root := tmp_path / "results"
    )
    bundled("vgg8", "a" * 64)
    store(root, "vgg8", checkpoint={"sha256": "a" * 64}, marks={"distilled_from": "vit_tiny"})
    store(root, "vgg8", data="muxspace", checkpoint={"sha256": "b" * 64})
    leaderboard.write(root)
    assert speed.speed_table(root).splitlines()[2].endswith("| distilled from `vit_tiny` |")


def test_leaderboard_absent_or_foreign(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        leaderboard.read(tmp_path)
    (tmp_path / "leaderboard.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="not a leaderboard"):
        leaderboard.read(tmp_path)


def test_the_committed_readme_shows_the_committed_results():
    from fer import paths

    front = paths.ROOT / "README.md"
    if not results.list_data():
        pytest.skip("no results committed yet")
    committed = (paths.results_dir() / leaderboard.FILE).read_text(encoding="utf-8")
    assert leaderboard.to_csv(leaderboard.build()) == committed
    text = front.read_text(encoding="utf-8")
    for part in (readme.LEADERBOARD, readme.ENSEMBLES, readme.ATTENTION, readme.SEEDS, readme.ABLATIONS, readme.SPEED):
        assert all(m in text for m in readme.markers(part)), f"the README has lost its part {part}"
    assert readme.is_current(front), "run: python scripts/evaluate.py --from-predictions --readme"


def test_the_reported_validation_accuracy_is_what_training_chose_by():
    """Of an estimator too, whose calibration is fitted on these faces and would flatter it by half a point."""
    from fer.checkpoint import read_manifest, trained_models

    for name in trained_models():
        manifest = read_manifest(name)
        scored = results.read_result(results.folder_of(manifest.data["name"], name))
        allowed = 5e-7 if manifest.classical else 2e-3  # nets are stored in half precision
        assert abs(scored.scores("val")["accuracy"] - manifest.training["val_accuracy"]) <= allowed, name
        assert ("out_of_fold" in scored.metrics["temperature"]) == manifest.classical


def test_every_stored_history_is_that_of_the_weights_that_were_scored():
    for data in results.list_data():
        for r in results.read_results(None, data):
            trained = r.metrics["trained"]
            assert len(r.history) == trained["epochs"], r.folder
            best = r.history[trained["best_epoch"] - 1]
            assert best["epoch"] == trained["best_epoch"], r.folder
            if trained["data"] != data:
                home = results.folder_of(trained["data"], r.name.split("@")[0]) / HISTORY
                assert (r.folder / HISTORY).read_bytes() == home.read_bytes()
            elif len(r.history) > 1:  # the weights are stored in half precision: a face or two may fall the other way
                assert best["val_accuracy"] == pytest.approx(r.scores("val")["accuracy"], abs=1.5e-3), r.folder
                last = [e for e in r.history if e["phase"] == r.history[-1]["phase"]]
                assert best["val_accuracy"] == max(e["val_accuracy"] for e in last), r.folder


def test_every_line_of_the_seeds_follows_from_stored_predictions_and_a_history():
    for data in results.list_data():
        lines = stored.read_seeds(None, data)
        own = {r.metrics["checkpoint"]["sha256"]: r for r in results.read_results(None, data)}
        for line in lines:
            r = own.get(line["sha256"])
            if r and r.metrics["data"]["fingerprint"].startswith(line["data"]):
                frame, history, names = r.predictions, r.history, r.class_names
            else:
                folder = stored.seed_run(line, None, data)
                frame, history = pd.read_parquet(folder / results.PREDICTIONS), read_history(folder)
                names = tuple(c.removeprefix("p_") for c in frame if c.startswith("p_"))
                results.check_predictions(frame, names)
            for split in ("val", "test"):
                part = frame[frame["split"] == split]
                probs = part[[f"p_{c}" for c in names]].to_numpy(dtype=np.float32)
                found = metrics.score(probs, part["label"].to_numpy(dtype=np.int64), names).as_dict()
                assert found["accuracy"] == pytest.approx(line[f"{split}_accuracy"], abs=1e-6), line
            assert found["macro_f1"] == pytest.approx(line["macro_f1"], abs=1e-6), line
            assert len(history) == line["epochs"] and len(line["recipe"]) == 8, line
            chosen = history[line["best_epoch"] - 1]["val_accuracy"]
            assert chosen == pytest.approx(line["val_accuracy"], abs=1.5e-3), f"that epoch was not so right: {line}"
        stray = set((results.folder_of(data, results.SEED_RUNS)).glob("*/*")) - {
            stored.seed_run(r, None, data) for r in lines
        }
        assert not stray, "predictions of a run without a line"


def test_the_committed_metrics_follow_from_the_committed_predictions():
    for data in results.list_data():
        for r in results.read_results(None, data):
            assert r.predictions is not None
            again = report.summarise(r.predictions, report.card_of(r.metrics))
            assert again["splits"].keys() == set(r.splits)
            same(json.loads(json.dumps(again["splits"])), r.metrics["splits"], f"{data} {r.name}")


def same(new, old, where):
    """Equal, numbers up to rounding: views, intervals, copies left out, calibration, prediction sets and all."""
    if isinstance(new, dict):
        assert new.keys() == old.keys(), where
        for key in new:
            same(new[key], old[key], f"{where} {key}")
    elif isinstance(new, list):
        assert len(new) == len(old), where
        for i, pair in enumerate(zip(new, old, strict=True)):
            same(*pair, f"{where} {i}")
    elif isinstance(new, float):
        assert new == pytest.approx(old, abs=2e-6), where
    else:
        assert new == old, where


def test_the_committed_ensembles_and_comparison_follow_from_the_committed_predictions():
    for data in results.list_data():
        found = {r.name: r for r in results.read_results(None, data)}
        for entry in stored.read_ensembles(None, data) or []:
            again = report.ensemble_entry([found[n] for n in entry["members"]], entry["view"], entry)
            same(json.loads(json.dumps(again)), entry, f"{data} {entry['members']}")
        compared = json.loads((results.folder_of(data, stored.COMPARISON)).read_text())
        ordered = [found[n] for n in model_order(found)]
        again = json.loads(json.dumps(report.comparison(ordered, "test")))
        same(again, {k: compared[k] for k in again}, data)


def test_the_commonest_class_is_scored_beside_every_model(tmp_path):
    data = {"name": "fer2013", "fingerprint": "f" * 64, "label_set": "fer7", "labels": list(FER7.names)}
    folder = store(tmp_path, data="fer2013")
    assert results.read_result(folder).metrics["splits"]["test"]["majority"] is None
    assert "Always answering" not in leaderboard.readme_table(leaderboard.build(tmp_path))
    frame = results.read_result(folder).predictions
    card = report.card_of(results.read_result(folder).metrics) | {"data": data | {"majority": "happy"}}
    split = report.summarise(frame, card)["splits"]["test"]
    labels = frame[frame["split"] == "test"]["label"].to_numpy()
    share = (labels == FER7.index("happy")).mean()
    assert split["majority"]["accuracy"] == pytest.approx(share, abs=1e-6)
    assert split["majority"]["macro_f1"] == pytest.approx(2 * share / (1 + share) / 7, abs=1e-6)
    results.write_json(report.summarise(frame, card), folder / results.METRICS)
    leaderboard.write(tmp_path)
    table = leaderboard.readme_table(leaderboard.read(tmp_path))
    assert f"Always answering *happy*, the commonest class in training, would be right in {100 * share:.1f} %" in table
