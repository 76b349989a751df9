"""The table of the levers: paired with the plain recipe, seed by seed; and the files that it is read from."""

from __future__ import annotations

import json

import pytest

from fer.errors import DataError
from fer.evaluation import ablations, readme, results
from fer.paths import ROOT

DATA = readme.MAIN_DATA


def run(lever, seed, val, epochs=6, seconds=100.0, **more):
    said = {
        "model": "net",
        "title": f"title of {lever}",
        "trained": epochs,
        "best_epoch": epochs,
        "train_accuracy": 0.5,
    }
    said |= {"device": "cpu", "teacher": "", "extra_annotation": False, "job": f"{lever}{seed}", "git_commit": ""}
    return said | {"lever": lever, "seed": seed, "epochs": epochs, "val_accuracy": val, "seconds": seconds} | more


def test_a_lever_is_compared_with_the_plain_recipe_seed_by_seed(tmp_path):
    rows = [run("plain", s, v) for s, v in ((1, 0.60), (2, 0.62), (3, 0.64))]
    rows += [run("good", s, v, seconds=200.0) for s, v in ((1, 0.60), (2, 0.64), (3, 0.67))]
    # a fourth seed that the plain recipe was not trained with counts for the mean and not for the difference
    rows += [run("good", 4, 0.11), run("bad", 1, 0.59, teacher="cbam_cnn4", extra_annotation=True)]
    ablations.write(rows[::-1], tmp_path, DATA)
    lines = ablations.text(tmp_path, DATA).splitlines()
    assert lines[0] == "**`net`, 6 epochs**"
    assert lines[4:] == [
        "| title of plain | 1, 2, 3 | 62.0 ± 2.0 | – | – | – | – |",
        # differences 0, 2, 3: standard deviation 1.53, Student's t with two degrees of freedom 4.303
        "| title of good | 1, 2, 3, 4 | 50.5 ± 26.5 | 62.0 | +1.7 [-2.1, +5.5] | ×2.0 | – |",
        "| title of bad | 1 | 59.0 | 60.0 | -1.0 | ×1.0 | learnt from `cbam_cnn4`; extra annotation |",
    ]


def test_times_of_other_devices_are_not_compared():
    gpu, cpu = "NVIDIA H200", "cpu, 1 thread"
    rows = [run("plain", 1, 0.60, seconds=100.0, device=cpu), run("plain", 2, 0.62, seconds=1.0, device=gpu)]
    rows += [
        run("both", s, 0.65, seconds=3.0 * t, device=d) for s, t, d in ((1, 100.0, "cpu, 2 threads"), (2, 1.0, gpu))
    ]
    rows += [run("moved", 1, 0.65, seconds=2.0, device=gpu), run("moved", 2, 0.65, seconds=4.0, device=gpu)]
    rows += [
        run("elsewhere", 2, 0.65, seconds=4.0, device="Tesla T4"),
        run("many", 1, 0.65, device="2 x cpu, 1 thread"),
    ]
    ((_, table),) = ablations.tables(rows).items()
    assert {r.lever: r.cost for r in table} == {
        "plain": None,
        "both": 3.0,
        "moved": 4.0,
        "elsewhere": None,
        "many": None,
    }
    assert all(r.difference is not None for r in table[1:]), "accuracies are"


def test_two_seeds_have_no_interval(tmp_path):
    rows = [run("plain", s, v) for s, v in ((1, 0.60), (2, 0.62))] + [run("good", s, 0.65) for s in (1, 2)]
    ablations.write(rows, tmp_path, DATA)
    assert ablations.text(tmp_path, DATA).splitlines()[-1] == "| title of good | 1, 2 | 65.0 | 61.0 | +4.0 | ×1.0 | – |"


def test_another_length_is_another_experiment(tmp_path):
    ablations.write([run("plain", 1, 0.6), run("good", 1, 0.7, epochs=12)], tmp_path, DATA)
    ((_, short), (_, long)) = ablations.tables(ablations.read(tmp_path, DATA)).items()
    assert [r.lever for r in short] == ["plain"] and long[0].difference is None and long[0].cost is None


def test_a_run_is_replaced_by_its_repetition_alone(tmp_path):
    ablations.write([run("plain", 1, 0.6), run("plain", 2, 0.5), run("plain", 1, 0.7)], tmp_path, DATA)
    assert [(r["seed"], r["val_accuracy"]) for r in ablations.read(tmp_path, DATA)] == [(1, 0.7), (2, 0.5)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("val_accuracy", "accuracy", "line 2: no val_accuracy"),
        ("0.6", "much", "line 2: val_accuracy is 'much'"),
        ("0.6", "nan", "line 2: val_accuracy is 'nan'"),
        ("100.0", "inf", "line 2: seconds is 'inf'"),
        ("False", "maybe", "line 2: extra_annotation is 'maybe'"),
    ],
)
def test_a_damaged_table_says_where(tmp_path, old, new, message):
    file = ablations.write([run("plain", 1, 0.6)], tmp_path, DATA)
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        ablations.read(tmp_path, DATA)


def test_no_file_is_no_run(tmp_path):
    assert ablations.read(tmp_path, DATA) == [] and ablations.text(tmp_path, DATA) == "No lever has been pulled yet."


def test_of_equal_epochs_that_of_the_lower_loss_is_the_best():
    lines = [
        json.dumps({"epoch": n, "val_accuracy": v, "val_loss": x, "train_accuracy": 0.1 * n, "seconds": 2.0})
        for n, v, x in ((1, 0.5, 0.1), (2, 0.7, 0.9), (3, 0.7, 0.8), (4, 0.7, 0.8))
    ]
    assert ablations.of_history(lines) == {
        "trained": 4, "val_accuracy": 0.7, "best_epoch": 3, "train_accuracy": 0.4, "seconds": 8.0
    }  # fmt: skip
    for wrong in ([], ["{}"], ["no"], [lines[0], '{"view": "single", "unmixed": 3}']):
        with pytest.raises(DataError, match="not the history of a run"):
            ablations.of_history(wrong)


def test_epochs_that_cost_more_or_less_than_others_are_timed_apart():
    """A phase with most layers frozen, and the last epochs without mixup; within a kind the fastest counts."""
    lines = [
        json.dumps({"phase": p, "epoch": n, "val_accuracy": 0.5, "val_loss": 1.0, "train_accuracy": 0.5, "seconds": s})
        for n, (p, s) in enumerate((("head", 2.0), ("head", 9.0), ("all", 7.0), ("all", 5.0), ("all", 4.0)), start=1)
    ]
    judged = {"view": "single", "nets": 1, "val_accuracy": 0.5, "seconds": 0.5}
    assert ablations.of_history([*lines, json.dumps(judged)])["seconds"] == 2 * 2 + 3 * 4 + 0.5
    assert ablations.of_history([*lines, json.dumps(judged | {"unmixed": [5]})])["seconds"] == 2 * 2 + 2 * 5 + 4 + 0.5


def test_every_stored_run_is_what_its_history_says():
    here = ROOT / "results"
    files = sorted(here.glob(f"*/{ablations.FILE}"))
    assert files
    for file in files:
        data = file.parent.name
        for row in ablations.read(here, data):
            lines = ablations.history_file(row, here, data).read_text(encoding="utf-8").splitlines()
            told = ablations.of_history(lines)
            assert {k: row[k] for k in told} == told, row
        known = {ablations.history_file(r, here, data) for r in ablations.read(here, data)}
        assert known == set((file.parent / results.ABLATIONS).rglob("*.jsonl")), (
            "a history without its row, or the reverse"
        )


def test_the_histories_are_no_model_without_results(tmp_path):
    row = run("plain", 1, 0.6)
    ablations.write([row], tmp_path, DATA)
    history = ablations.history_file(row, tmp_path, DATA)
    history.parent.mkdir(parents=True)
    history.write_text("")
    problems = []
    assert results.read_results(tmp_path, DATA, problems) == [] and problems == []
    (tmp_path / DATA / "net").mkdir()
    assert results.read_results(tmp_path, DATA, problems) == [] and len(problems) == 1


def test_the_model_with_most_levers_comes_first(tmp_path):
    rows = [run("plain", 1, 0.5, epochs=1), run("good", 1, 0.6, epochs=1)]
    rows = [r | {"model": "a_net"} for r in rows] + [run(lever, 1, 0.5) for lever in ("plain", "good", "bad")]
    ablations.write(rows, tmp_path, DATA)
    heads = [line for line in ablations.text(tmp_path, DATA).splitlines() if line.startswith("**")]
    assert heads == ["**`net`, 6 epochs**", "**`a_net`, 1 epoch**"]
