"""scripts/compare.py on made-up results: what it says is what the stored predictions give."""

import json

import numpy as np
import pytest

from fer.evaluation import stored
from fer.evaluation.results import read_result
from tests.small_checkpoints import script
from tests.stand_in_results import MODELS, write_stand_in


@pytest.fixture(scope="module")
def compare():
    return script("compare")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_stand_in(tmp_path_factory.mktemp("results"), n=300)


@pytest.fixture
def ask(compare, root, capsys):
    """Run it; returns the exit status, what was printed and what was said of errors."""

    def run(*argv):
        status = compare.main([*argv, "--results", str(root)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def right(root, model, split="test", view="single"):
    r = read_result(root / "fer2013" / model)
    return r.probs(split, view).argmax(axis=1) == r.labels(split)


def test_the_verdict_is_one_sentence_with_the_numbers_of_the_predictions(ask, root):
    status, out, _ = ask("attention_cnn", "baseline_cnn")
    a, b = right(root, "attention_cnn"), right(root, "baseline_cnn")
    (said,) = [line for line in out.splitlines() if line.startswith("On the ")]
    points = 100 * (a.mean() - b.mean())
    assert status == 0 and "300 faces of PrivateTest" in said and said.count(". ") == 0
    assert f"Attention CNN gets {abs(points):.1f} points {'more' if points >= 0 else 'fewer'} right" in said
    assert f"only attention_cnn right: {(a & ~b).sum()}" in out and f"only baseline_cnn right: {(b & ~a).sum()}" in out
    assert f"both wrong {100 * (~a & ~b).mean():.1f} %" in out
    assert "Holm" not in said, "one pair needs no correction"
    assert "over 3 seeds of 20 epochs each, test accuracy" in out, "which need not be the nets above"


def test_an_interval_over_seeds_takes_three(compare, tmp_path, capsys):
    root = write_stand_in(tmp_path, n=40, models=dict([*MODELS.items()][:2]))
    argv = ["attention_cnn", "baseline_cnn", "--results", str(root)]

    def over_seeds():
        assert compare.main(argv) == 0
        return next(line for line in capsys.readouterr().out.splitlines() if "test accuracy" in line)

    assert "over 3 seeds of 20 epochs each, test accuracy" in (three := over_seeds()) and "95 % interval" in three
    rows = [r for r in stored.read_seeds(root, "fer2013") if r["seed"] != 42]
    stored.write_seeds(rows, root, "fer2013")
    assert "over 2 seeds" in (two := over_seeds()) and two.endswith(" points")


def test_several_models_are_corrected_together_and_marked(ask):
    status, out, _ = ask(*MODELS)
    assert status == 0
    assert len([line for line in out.splitlines() if line.startswith("On the ")]) == 3
    assert "after Holm's correction for 3 pairs" in out and "(distilled from attention_cnn)" in out
    assert ask("all")[1].count("On the ") == 3


def test_split_and_view(ask, root):
    out = json.loads(ask("attention_cnn", "vit_tiny", "--split", "val", "--view", "tencrop", "--json")[1])
    a, b = (right(root, m, "val", "tencrop") for m in ("attention_cnn", "vit_tiny"))
    (pair,) = out["pairs"]
    assert (out["split"], out["title"], out["view"], out["n"]) == ("val", "PublicTest", "tencrop", 300)
    assert (pair["only_a"], pair["only_b"]) == ((a & ~b).sum(), (b & ~a).sum())
    assert out["models"]["vit_tiny"] == pytest.approx(b.mean(), abs=1e-6)
    single = json.loads(ask("attention_cnn", "vit_tiny", "--split", "val", "--json")[1])
    assert single["pairs"][0]["difference"] != pair["difference"]


def test_json_has_everything(ask):
    out = json.loads(ask("attention_cnn", "baseline_cnn", "--json")[1])
    (pair,) = out["pairs"]
    assert set(pair["chi2"]) == {"statistic", "dof", "p", "p_holm"}
    assert set(pair["agreement"]) == {"both_right", "both_wrong", "same_answer", "kappa"}
    assert pair["p_holm"] == pair["p"] and len(out["verdicts"]) == 1
    (over_seeds,) = out["seeds"]
    assert np.sign(over_seeds["test_accuracy"]["difference"]["mean"]) == 1
    assert over_seeds["test_accuracy"]["seeds"] == [1, 2, 42]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["attention_cnn"], "two models or more"),
        (["attention_cnn", "attention_cnn"], "two models or more"),
        (["attention_cnn", "baselin_cnn"], "did you mean 'baseline_cnn'"),
        (["attention_cnn", "vit_tiny", "--data", "fer2031"], "did you mean 'fer2013'"),
    ],
)
def test_mistakes_are_explained_in_one_line(ask, argv, message):
    status, _, err = ask(*argv)
    assert status == 2 and err.startswith("error: ") and message in err


def test_what_was_not_predicted_is_named(compare, tmp_path, capsys):
    root = write_stand_in(tmp_path, n=40, models=dict([*MODELS.items()][:2]))
    for path in root.glob("*/*/metrics.json"):
        m = json.loads(path.read_text())
        for split in m["splits"].values():
            del split["tencrop"]
        path.write_text(json.dumps(m))
    argv = ["attention_cnn", "baseline_cnn", "--results", str(root)]
    assert compare.main([*argv, "--view", "tencrop"]) == 2
    assert "no 'tencrop' scores" in capsys.readouterr().err
    (root / "fer2013" / "attention_cnn" / "predictions.parquet").unlink()
    assert compare.main(argv) == 2
    assert "predictions.parquet is absent" in capsys.readouterr().err
    assert compare.main(["a", "b", "--results", str(tmp_path / "nowhere")]) == 2
    assert "scripts/evaluate.py makes them" in capsys.readouterr().err
