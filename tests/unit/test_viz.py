"""Figures show the numbers they are given, in the order and colours that all tables share."""

from __future__ import annotations

import numpy as np
import pytest

from fer import viz
from fer.errors import ConfigError, ImageError
from fer.labels import FER7
from fer.models import list_models


def test_overlay_leaves_cold_parts_and_paints_hot_ones():
    face = np.full((4, 6), 100, np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[0, 0] = 1
    full = viz.overlay_heatmap(face, heat, opacity=1.0)
    assert full.shape == (4, 6, 3) and full.dtype == np.uint8
    assert (full[1:] == 100).all() and (full[0, 1:] == 100).all()
    assert full[0, 0].tolist() == viz.colorize(np.ones((1, 1)))[0, 0].tolist()
    half = viz.overlay_heatmap(face, heat, opacity=0.5)
    assert np.abs(half[0, 0].astype(int) - (100 + full[0, 0].astype(int)) / 2).max() <= 0.5
    assert (viz.overlay_heatmap(face, heat, opacity=0.0) == 100).all()


def test_overlay_equals_the_rgba_picture_laid_over_the_face():
    rng = np.random.default_rng(0)
    face = rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    heat = rng.random((9, 7), dtype=np.float32)
    rgba = viz.heatmap_rgba(heat).astype(np.float64)
    alpha = 0.6 * rgba[..., 3:] / 255
    composed = face * (1 - alpha) + rgba[..., :3] * alpha
    assert np.abs(viz.overlay_heatmap(face, heat, 0.6) - composed).max() <= 1.0


@pytest.mark.parametrize(
    ("face", "heat", "opacity", "error"),
    [
        (np.zeros((4, 4), np.uint8), np.zeros((4, 5)), 0.5, ImageError),
        (np.zeros((4, 4), np.float32), np.zeros((4, 4)), 0.5, ImageError),
        (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4)), 0.5, ImageError),
        (np.zeros((4, 4), np.uint8), np.zeros((1, 4, 4)), 0.5, ImageError),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4)), 1.5, ConfigError),
    ],
)
def test_overlay_refuses_what_does_not_fit(face, heat, opacity, error):
    with pytest.raises(error):
        viz.overlay_heatmap(face, heat, opacity)


def test_colours_get_lighter_with_heat():
    luma = viz.colorize(np.linspace(0, 1, 30)[None])[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luma) > 0).all()


def test_model_colours_are_distinct_and_hold_on_white_and_on_dark():
    def luminance(color: str) -> float:
        rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    assert len(set(viz.MODEL_COLORS.values())) == len(viz.MODEL_COLORS)
    assert list(viz.MODEL_COLORS) == list_models()
    for color in viz.MODEL_COLORS.values():
        assert 1.05 / (luminance(color) + 0.05) > 2.5, "too pale for a white ground"
        assert (luminance(color) + 0.05) / 0.06 > 3, "too dark for a dark ground"
    assert viz.model_color("other") == viz.model_color("other")


def test_probability_bars_keep_values_and_order():
    probs = np.array([0.05, 0.0, 0.1, 0.6, 0.1, 0.05, 0.1], np.float32)
    bar = viz.probability_bars(probs, FER7).data[0]
    assert np.allclose(bar.x, probs)
    assert [t.split()[-1] for t in bar.y] == list(FER7.names)
    assert bar.marker.color[3] == FER7.colors[3]
    with pytest.raises(ConfigError, match="expected 7"):
        viz.probability_bars(probs[:6], FER7)


def test_confusion_rows_are_shares_of_the_true_class_and_an_empty_row_stays_zero():
    matrix = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
    heat = viz.confusion_figure(matrix, ["angry", "disgust", "fear"], "t").data[0]
    assert np.allclose(heat.z, [[0.75, 0.25, 0], [0, 0, 0], [0.25, 0.25, 0.5]])
    assert np.allclose(np.asarray(heat.customdata)[..., 0], matrix)
    counts = viz.confusion_figure(matrix, ["angry", "disgust", "fear"], normalise=False).data[0]
    assert np.allclose(counts.z, matrix)
    with pytest.raises(ConfigError):
        viz.confusion_figure(matrix, FER7.names)


def test_per_class_bars_follow_the_model_order_and_leave_gaps():
    fig = viz.per_class_bars({"vit_tiny": {"happy": 0.9}, "baseline_cnn": {"angry": 0.4, "happy": 0.8}}, "recall")
    assert [b.name for b in fig.data] == ["baseline_cnn", "vit_tiny"]
    assert [b.marker.color for b in fig.data] == [viz.MODEL_COLORS[b.name] for b in fig.data]
    by_class = dict(zip([t.split()[-1] for t in fig.data[1].x], fig.data[1].y, strict=True))
    assert by_class == {"happy": 0.9, "angry": None}
    assert fig.layout.yaxis.title.text == "recall"


def test_history_shows_validation_solid_and_training_dotted():
    records = [
        {"epoch": e, "train_loss": 2 / e, "val_loss": 2.2 / e, "train_accuracy": 0.1 * e, "val_accuracy": 0.09 * e}
        for e in (1, 2, 3)
    ]
    fig = viz.history_figure({"attention_cnn": records})
    assert len(fig.data) == 4
    by_name = {(t.name, t.xaxis): t for t in fig.data}
    val = by_name[("attention_cnn (validation)", "x")]
    assert list(val.y) == [r["val_accuracy"] for r in records] and val.line.dash == "solid"
    assert by_name[("attention_cnn (training)", "x2")].line.dash == "dot"
    assert viz.history_figure({}).data == ()
    assert len(viz.history_figure({"a": [{"epoch": 1, "train_loss": 1.0, "val_loss": None}]}).data) == 1


def test_comparison_scatter_has_points_and_intervals():
    rows = [
        {"model": "vit_tiny", "parameters": 5_500_000, "accuracy": 0.62, "accuracy_low": 0.6, "accuracy_high": 0.65},
        {"model": "baseline_cnn", "parameters": 400_000, "accuracy": 0.6},
        {"model": "unknown", "parameters": None, "accuracy": 0.6},
    ]
    fig = viz.comparison_scatter(rows)
    assert [t.name for t in fig.data] == ["baseline_cnn", "vit_tiny"]
    assert fig.layout.xaxis.type == "log"
    assert fig.data[1].error_y.array[0] == pytest.approx(0.03) and fig.data[1].error_y.arrayminus[0] == pytest.approx(
        0.02
    )
    assert viz.comparison_scatter([]).data == ()


def test_plotly_is_not_imported_with_the_module():
    import subprocess
    import sys

    code = "import sys, fer.viz; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
