"""Figures that compare models: the numbers they are given, limits that hold, and looks that need no colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fer import viz
from fer.errors import ConfigError
from fer.viz.lines import thin
from fer.viz.style import model_dash, model_marker
from tests.stand_in_results import MODELS, TWINS

NAMES = ["angry", "disgust", "fear"]
A = np.array([[3, 1, 0], [0, 0, 0], [2, 2, 4]])
B = np.array([[1, 1, 2], [0, 0, 0], [0, 0, 5]])
RESULTS = Path(viz.__file__).parents[2] / "results"


def test_mistakes_alone_leave_the_diagonal_out_and_set_the_scale():
    heat = viz.confusion_figure(A, NAMES, diagonal=False).data[0]
    assert np.isnan(np.diag(heat.z)).all() and heat.zmax == 0.25
    assert heat.text[0] == ["", "25", ""] and viz.confusion_figure(A, NAMES).data[0].zmax == 1


def test_the_difference_is_in_points_of_the_row_and_symmetric_about_nothing():
    heat = viz.difference_figure(A, B, NAMES).data[0]
    assert np.allclose(heat.z, [[50, 0, -50], [0, 0, 0], [25, 25, -50]])
    assert heat.zmin == -heat.zmax == -50 and heat.text[0] == ["+50", "", "-50"]
    assert np.allclose(viz.difference_figure(B, A, NAMES).data[0].z, -heat.z)
    assert viz.difference_figure(A, A, NAMES).data[0].zmax > 0, "no difference is no scale of nothing"
    with pytest.raises(ConfigError):
        viz.difference_figure(A, B[:2], NAMES)


def test_matrices_recede_into_either_ground():
    light, dark = (viz.confusion_figure(A, NAMES, theme=t).data[0] for t in ("light", "dark"))
    assert light.colorscale[0][1] != dark.colorscale[0][1] and light.textfont.color != dark.textfont.color


def test_agreement_keeps_the_shares():
    shares = np.array([[1, 0.7], [0.7, 1]])
    heat = viz.agreement_figure(shares, ["one", "two"]).data[0]
    assert np.allclose(heat.z, shares) and heat.text[0] == ["100", "70"] and heat.zmin == pytest.approx(0.6)


def test_maps_lie_on_a_grid_and_a_class_without_faces_stays_empty():
    maps = np.zeros((3, 4, 4), np.uint8)
    maps[0, 1, 2], maps[2] = 200, 7
    fig = viz.map_grid({"one": maps, "two": maps.astype(np.float32) / 255}, NAMES)
    assert [t.name for t in fig.data] == ["angry", "fear"] * 2
    assert (np.asarray(fig.data[0].z) == maps[0]).all() and (np.asarray(fig.data[2].z) == maps[0]).all()
    assert fig.data[0].zmax == 255 and fig.data[0].xaxis != fig.data[1].xaxis
    with pytest.raises(ConfigError, match="expected 3 maps"):
        viz.map_grid({"one": maps[:2]}, NAMES)


def test_every_model_has_one_marker_and_one_look_of_line_everywhere():
    fig = viz.line_figure({"vit_tiny": ([0, 1], [0, 1]), "baseline_cnn": ([0, 1], [1, 0])}, "x (%)", "y (%)")
    assert [t.name for t in fig.data] == ["baseline_cnn", "vit_tiny"]
    assert [t.line.dash for t in fig.data] == [model_dash("baseline_cnn"), model_dash("vit_tiny")]
    assert model_dash("baseline_cnn") != model_dash("vit_tiny")
    assert len({model_marker(m) for m in viz.MODEL_COLORS}) == len(viz.MODEL_COLORS)
    assert len({(viz.model_color(m), model_dash(m)) for m in viz.MODEL_COLORS}) == len(viz.MODEL_COLORS)
    assert fig.layout.xaxis.title.text == "x (%)" and fig.layout.yaxis.tickformat == ".0%"


def test_all_models_with_results_look_different():
    stored: dict[str, set[str]] = {"the table": set(viz.MODEL_COLORS), "stand-ins": {*MODELS, *TWINS}}
    for path in RESULTS.glob("*/*/metrics.json"):
        stored.setdefault(path.parts[-3], set()).add(path.parent.name)
    for names in stored.values():
        assert len({(viz.model_color(m), model_dash(m)) for m in names}) == len(names)
        assert len({(viz.model_color(m), model_marker(m)) for m in names}) == len(names)
    everywhere = set().union(*stored.values(), ["cbam_cnn4@fer2013", "baseline_cnn4@fer2013"])
    assert len({(viz.model_color(m), model_dash(m), model_marker(m)) for m in everywhere}) == len(everywhere)


def test_a_variant_looks_like_its_model_and_is_told_from_it_in_every_kind_of_figure():
    twins = ("attention_cnn", "attention_cnn@no_attention")
    assert len({viz.model_color(m) for m in twins}) == 1
    assert [model_marker(m) for m in twins] == ["square", "square-open"]
    records = [{"epoch": e, "val_loss": 1 / e, "train_loss": 2 / e} for e in (1, 2)]
    plain, _, variant, training = viz.history_figure({m: records for m in twins}, ("loss",)).data
    assert (plain.mode, variant.mode, training.mode) == ("lines+markers", "lines+markers", "lines")
    assert variant.marker.symbol == "square-open" and variant.line.dash == "solid"
    several = viz.history_figure({m: records for m in ("baseline_cnn4", "tiny_cnn", "vgg8")}, ("loss",)).data
    marks = [t.marker.symbol for t in several if t.name.endswith("(validation)")]
    assert len(set(marks)) == 3 and all(t.marker.maxdisplayed == 8 for t in several), "not by colour alone"
    plain, variant = viz.per_class_bars({m: {"happy": 0.5} for m in twins}).data
    assert not plain.marker.pattern.shape and variant.marker.pattern.shape


def test_thinning_keeps_both_ends_and_the_shape():
    x = np.linspace(0, 1, 5000)
    y = np.where(x < 0.5, 0.0, 1.0)
    kept = thin(x, y, 100)
    assert len(kept) <= 100 and kept[0] == 0 and kept[-1] == 4999
    assert np.abs(np.interp(x, x[kept], y[kept]) - y).mean() < 0.01, "the step is where it was"
    assert thin(x[:7], y[:7], 100).tolist() == list(range(7))


def test_the_reference_line_comes_first_and_a_gap_stays_a_gap():
    fig = viz.line_figure(
        {"a": ([0, 1, 2], [1, np.nan, 3])}, "x", "y", share_x=False, reference=("guess", [0, 2], [0, 1])
    )
    assert fig.data[0].name == "guess" and np.isnan(fig.data[1].y[1])


def test_reliability_leaves_empty_bins_out_and_shares_the_faces():
    fig = viz.reliability_figure({"a": ([0.1, np.nan, 0.9], [0.2, np.nan, 0.8], [30, 0, 10])})
    line, faces = fig.data[1], fig.data[2]
    assert list(line.x) == [0.1, 0.9] and list(line.y) == [0.2, 0.8]
    assert list(faces.y) == [0.75, 0.25]
    line, faces = viz.reliability_figure({"a": ([0.1, 0.5, 0.9], [0.2, 0.5, 0.8], [30, 4, 6])}, fewest=5).data[1:]
    assert list(line.x) == [0.1, 0.9] and list(faces.y) == [0.75, 0.15], "those in a bin that is left out count"


def test_stacked_shares_are_told_apart_by_hatching_too():
    fig = viz.share_stack({"vit_tiny": [0.5, 0.5], "baseline_cnn": [0.25, 0.75]}, ["one", "two"])
    assert [b.name for b in fig.data] == ["one", "two"] and list(fig.data[1].x) == [0.75, 0.5]
    assert fig.data[0].marker.pattern.shape != fig.data[1].marker.pattern.shape
    assert all(b.marker.pattern.fillmode == "overlay" for b in fig.data), "else the hatching replaces the colour"
    with pytest.raises(ConfigError, match="expected 2 shares"):
        viz.share_stack({"a": [1.0]}, ["one", "two"])


def test_counts_keep_their_order_and_unit():
    fig = viz.count_bars({"Training": {"happy": 5, "sad": 2}, "Test": {"happy": 1}}, "faces")
    assert list(fig.data[0].y) == [5, 2] and list(fig.data[1].y) == [1, None]
    assert fig.layout.yaxis.title.text == "faces"


def test_bars_carry_their_intervals():
    values = {"vit_tiny": {"happy": 0.8, "sad": 0.5}}
    bar = viz.per_class_bars(values, intervals={"vit_tiny": {"happy": (0.7, 0.85), "sad": (0.4, 0.6)}}).data[0]
    assert np.allclose(bar.error_y.array, [0.05, 0.1]) and np.allclose(bar.error_y.arrayminus, [0.1, 0.1])
    assert viz.per_class_bars(values).data[0].error_y.array is None


def test_dots_show_the_first_row_on_top_and_the_reference():
    rows = [
        {"model": "a", "title": "A", "value": 0.6, "low": 0.5, "high": 0.8},
        {"model": "b", "title": "B", "value": 0.4},
    ]
    fig = viz.interval_dots(rows, reference=("chance", 0.1))
    assert [t.y[0] for t in fig.data] == ["A", "B"] and fig.layout.yaxis.autorange == "reversed"
    assert np.allclose([fig.data[0].error_x.array[0], fig.data[0].error_x.arrayminus[0]], [0.2, 0.1])
    assert fig.layout.shapes[0].x0 == 0.1


def test_the_front_is_joined_from_the_cheapest_on():
    rows = [{"model": m, "parameters": p, "accuracy": a} for m, p, a in (("a", 9, 0.9), ("b", 1, 0.5), ("c", 5, 0.4))]
    line = viz.comparison_scatter(rows, front=["a", "b"]).data[0]
    assert line.name == "Pareto front" and list(line.x) == [1, 9] and line.line.shape == "hv"
    assert [t.name for t in viz.comparison_scatter(rows, front=["a"]).data] == ["a", "b", "c"]
