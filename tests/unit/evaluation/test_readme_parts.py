"""The README's table of the spread over seeds."""

from __future__ import annotations

from fer.evaluation import readme, stored

DATA = readme.MAIN_DATA


def run(model, seed, val, test, epochs=6, twin_of=""):
    return {"model": model, "twin_of": twin_of, "seed": seed, "epochs": epochs, "val_accuracy": val,
            "test_accuracy": test, "macro_f1": test - 0.05, "sha256": "", "git_commit": ""}  # fmt: skip


def test_each_length_has_its_line_and_a_pair_its_difference(tmp_path):
    rows = [run("with", s, v, v + 0.01) for s, v in ((1, 0.60), (2, 0.62), (3, 0.64))]
    rows += [run("without", s, v, v + 0.01, twin_of="with") for s, v in ((1, 0.60), (2, 0.60), (3, 0.61))]
    rows += [run("with", 42, 0.66, 0.67, epochs=28), run("lonely", 1, 0.5, 0.5)]
    stored.write_seeds(rows, tmp_path, DATA)
    lines = readme.seeds_text(tmp_path).splitlines()[2:]
    assert lines == [
        "| `with` | 6 | 1, 2, 3 | 62.0 ± 2.0 | 63.0 ± 2.0 | 61.0 to 65.0 | 58.0 ± 2.0 |",
        "| `without` | 6 | 1, 2, 3 | 60.3 ± 0.6 | 61.3 ± 0.6 | 61.0 to 62.0 | 56.3 ± 0.6 |",
        # differences 0, 2, 3 points: standard deviation 1.53, Student's t with 2 degrees of freedom 4.303
        "| `with` minus `without` | 6 | 1, 2, 3 | +1.7 [-2.1, +5.5] | +1.7 [-2.1, +5.5] | +0.0 to +3.0 | – |",
    ]


def test_single_runs_have_no_spread(tmp_path):
    stored.write_seeds([run("a", 1, 0.6, 0.6), run("a", 2, 0.7, 0.7, epochs=7)], tmp_path, DATA)
    assert readme.seeds_text(tmp_path) == "No model has been trained with several seeds yet."


def test_the_ensemble_that_is_told_is_the_best_on_validation(tmp_path):
    assert readme.ensembles_text(tmp_path) == "No ensemble has been scored yet."
    said = {"members": ["a", "b", "c"], "view": "flip", "test_interval": [0.68, 0.72], "test_nll": 0.8}
    one = said | {"weights": [0.3, 0.7, 0.0], "val_accuracy": 0.66, "test_accuracy": 0.70}
    lucky = said | {"weights": [1.0, 0.0, 0.0], "val_accuracy": 0.65, "test_accuracy": 0.75}
    stored.write_ensembles([lucky, one], tmp_path, DATA)
    text = readme.ensembles_text(tmp_path)
    assert text.startswith("On FER2013 2 ensembles were tried")
    assert "The best there (66.0 %) reaches **70.0 %** [68.0, 72.0] on PrivateTest with face and mirror image." in text
    assert text.endswith("Its members: `b` 70 %, `a` 30 %.") and "75" not in text
    without = {"exact": 1000, "near": 24, "accuracy": 0.66, "accuracy_interval": [0.64, 0.68]}
    for leakage, told in (
        (without, " image (66.0 % [64.0, 68.0] without the 1,024 faces that have a copy in training). Its members"),
        ({"exact": 3, "near": 0, "accuracy": None}, " image. Its members"),  # every face has one
        (None, " image. Its members"),
    ):
        stored.write_ensembles([one | {"leakage": leakage}], tmp_path, DATA)
        assert readme.ensembles_text(tmp_path).startswith("On FER2013 one ensemble was tried")
        assert told in readme.ensembles_text(tmp_path)
