"""scripts/overfit.py says who can learn a slice by heart, and says so when one cannot."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fer.data import dataset
from fer.models import get_model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("script_overfit", ROOT / "scripts" / "overfit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_net_and_an_svm_learn_and_leave_their_curves(script, blob_data, tmp_path, capsys):
    packed = dataset.save(blob_data, tmp_path / "blobs.npz")
    command = ["--data", str(packed), "--faces", "21", "--device", "cpu", "--out", str(tmp_path / "out")]
    assert script.main([*command, "--model", "custom_cnn,hog_svm"]) == 0
    out = capsys.readouterr().out
    assert out.count(" learnt: ") == 2 and "NOT" not in out
    rows = [json.loads(line) for line in (tmp_path / "out" / "custom_cnn.jsonl").read_text().splitlines()]
    assert rows[-1]["accuracy"] >= 0.98 and rows[-1]["loss"] < rows[0]["loss"]
    assert (tmp_path / "out" / "curves.png").stat().st_size > 5000


def test_a_single_fit_without_loss_is_seen_in_the_picture(script, tmp_path, monkeypatch, capsys):
    """A logarithmic axis has no place for 0."""
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    rows = [{"epoch": e, "loss": 2.0 / e, "accuracy": 0.1 * e} for e in (1, 2, 3)]
    (tmp_path / "custom_cnn.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (tmp_path / "hog_svm.jsonl").write_text(json.dumps({"epoch": 1, "loss": 0.0, "accuracy": 1.0}) + "\n")
    shown = {}
    real = Figure.savefig

    def look(figure, *args, **kw):
        (axes,) = figure.axes
        assert isinstance(axes, Axes) and axes.get_yscale() == "log"
        real(figure, *args, **kw)
        low, high = axes.get_ylim()
        for line in axes.lines:
            shown[line.get_label()] = [low < y < high for y in line.get_ydata()]

    monkeypatch.setattr(Figure, "savefig", look)
    assert script.main(["--draw-only", "--out", str(tmp_path)]) == 0
    assert shown == {"custom_cnn": [True] * 3, "hog_svm: one fit, loss 0": [True]}
    assert script.main(["--draw-only", "--out", str(tmp_path / "nowhere")]) == 2
    assert "no curves here" in capsys.readouterr().err


def test_a_net_whose_input_never_arrives_is_found_out(script, blob_data, tmp_path, capsys, monkeypatch):
    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(7))

        def forward(self, x):
            return self.bias.expand(len(x), 7)

    monkeypatch.setattr(get_model("custom_cnn"), "build", lambda *args, **kw: Deaf())
    packed = dataset.save(blob_data, tmp_path / "blobs.npz")
    command = ["--data", str(packed), "--faces", "21", "--epochs", "3", "--device", "cpu", "--out", str(tmp_path)]
    assert script.main([*command, "--model", "custom_cnn"]) == 1
    assert "custom_cnn         NOT learnt (target 98%): 14.3% of 21 faces after 3 epochs" in capsys.readouterr().out


def test_the_slice_holds_every_class_alike(script, blob_data):
    part = script.slice_of(blob_data, 30, 0)
    counts = np.bincount(part["train"].labels, minlength=7)
    assert counts.sum() == 30 and counts.max() - counts.min() <= 1
    assert part["val"] is part["train"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--model", "nobody"], "unknown model"),
        (["--faces", "0"], "--faces must"),
        (["--data", "synthetic:n=2", "--faces", "3"], "too few"),
    ],
)
def test_bad_arguments(script, args, expected, capsys):
    assert script.main(args) == 2
    assert expected in capsys.readouterr().err
