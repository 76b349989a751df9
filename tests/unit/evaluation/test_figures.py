import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from sklearn.metrics import roc_auc_score

from fer.errors import DataError
from fer.evaluation import figures
from fer.evaluation.metrics import ece
from fer.evaluation.pareto import timed_alike
from fer.evaluation.results import ModelResult, read_results
from fer.evaluation.selective import coverage_at
from fer.evaluation.stored import read_robustness
from tests.stand_in_results import write_stand_in

COLORS = {"baseline_cnn": "#e69f00", "attention_cnn": "#0072b2", "vit_tiny": "#009e73"}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    return read_results(write_stand_in(tmp_path_factory.mktemp("results"), n=300))


def without(result, **changes):
    """The same result with parts of its metrics replaced and without predictions."""
    return ModelResult(result.name, result.title, result.metrics | changes, None, folder=result.folder)


def texts(figure):
    import matplotlib.text

    found = [*figure.texts, *figure.findobj(matplotlib.text.Text)]
    return " | ".join(dict.fromkeys(t.get_text() for t in found if t.get_text()))


def lines_of(axes, label_start):
    return [line for line in axes.get_lines() if str(line.get_label()).startswith(label_start)]


def test_every_picture_is_written_small_and_in_the_callers_colours(stored, tmp_path):
    one = figures.write_all(stored[0], tmp_path / "m")
    assert [p.name for p in one] == [
        "confusion_matrix.png",
        "misclassification_heatmap.png",
        "per_class.png",
        "roc_pr.png",
        "reliability.png",
        "history.png",
    ]
    robust = {r.name: read_robustness(r.folder) for r in stored}
    together = figures.write_comparison(stored, tmp_path, colors=COLORS, stored_robustness=robust)
    assert [p.name for p in together] == [
        "model_comparison.png",
        "risk_coverage.png",
        "accuracy_cost.png",
        "robustness.png",
    ]
    for path in (*one, *together):
        assert path.stat().st_size < 90_000
        with Image.open(path) as picture:
            seen = {to_hex(np.array(rgb) / 255) for _, rgb in picture.convert("RGB").getcolors(1 << 16)}
        if path in together:
            assert set(COLORS.values()) <= seen, path.name


def test_only_what_is_known_is_drawn(stored, tmp_path):
    bare = [without(r, cost=None, parameters=None) for r in stored]
    assert [p.name for p in figures.write_all(bare[0], tmp_path)] == [
        "confusion_matrix.png",
        "misclassification_heatmap.png",
        "per_class.png",
    ]
    assert [p.name for p in figures.write_comparison(bare, tmp_path)] == ["model_comparison.png"]
    with pytest.raises(DataError, match="known cost"):
        figures.accuracy_cost(bare)
    with pytest.raises(DataError, match="stored predictions"):
        figures.risk_coverage_curves(bare)
    with pytest.raises(DataError, match="corruptions"):
        figures.robustness({}, {})


def test_roc_and_precision_recall_name_the_areas(stored):
    r = stored[0]
    figure = figures.roc_pr(r)
    truth, probs = r.labels(), r.probs()
    for k, name in enumerate(r.class_names):
        area = roc_auc_score(truth == k, probs[:, k])
        assert f"{name}, AUC {area:.3f}" in texts(figure)
    mean = np.mean([roc_auc_score(truth == k, probs[:, k]) for k in range(7)])
    assert f"mean AUC {mean:.3f}" in texts(figure)


def test_a_class_without_faces_has_no_curve(stored):
    r = stored[0]
    kept = r.predictions[r.predictions["label"] != 1]
    figure = figures.roc_pr(ModelResult(r.name, r.title, r.metrics, kept))
    assert "disgust" not in texts(figure) and "fear, AUC" in texts(figure) and "nan" not in texts(figure)


def test_reliability_shows_before_and_after_and_the_counts(stored):
    r = stored[0]
    hot = r.metrics | {"temperature": {"value": 2.0, "source": "fitted"}}
    figure = figures.reliability_diagram(ModelResult(r.name, r.title, hot, r.predictions))
    probs, labels = r.probs().astype(float), r.labels()
    raw = probs**2 / (probs**2).sum(axis=1, keepdims=True)  # dividing by a temperature of 2 undone
    assert f"calibrated, ECE {100 * ece(probs, labels):.1f}" in texts(figure)
    assert f"as trained, ECE {100 * ece(raw, labels):.1f}" in texts(figure)
    bars = [bar.get_height() for bar in figure.axes[1].patches]
    assert sum(bars) == len(labels) and len(bars) == 15
    assert "as trained" not in texts(figures.reliability_diagram(r))  # temperature 1: one curve


def test_risk_coverage_names_what_can_be_answered(stored):
    figure = figures.risk_coverage_curves(stored, colors=COLORS)
    shares = {r.name: coverage_at(r.probs(), r.labels(), 0.9) for r in stored}
    assert None in shares.values() and len(set(shares.values())) > 1
    for r in stored:
        share = shares[r.name]
        (line,) = lines_of(figure.axes[0], r.title)
        assert ("(none;" if share is None else f"({100 * share:.1f} %;") in line.get_label()
        assert line.get_color() == COLORS[r.name]
        assert line.get_ydata()[-1] == pytest.approx(100 * (1 - r.scores()["accuracy"]), abs=1e-3)


def test_the_share_that_can_be_answered_is_called_optimistic(stored):
    assert "chosen on these same faces, so the share is optimistic" in texts(figures.risk_coverage_curves(stored))


def test_the_losses_of_a_net_are_not_called_one_quantity(stored):
    r = stored[0]
    said = texts(figures.history(r))
    assert "Loss (the two do not compare)" in said and "nats" not in said
    assert "training, as minimised" in said and "validation, labels alone" in said
    at_once = [{"epoch": 1, "train_loss": 0.3, "val_loss": 1.1, "train_accuracy": 0.9, "val_accuracy": 0.6, "lr": 0.0}]
    said = texts(figures.history(ModelResult(r.name, r.title, r.metrics, None, at_once)))
    assert "minimised" not in said and "augmented" not in said and "do not compare" not in said


def test_many_long_names_stay_inside_the_comparison(stored):
    metrics = stored[0].metrics | {"trained": {"data": "elsewhere"}}
    found = [ModelResult(f"m{i}", f"Net number {i} (without attention)", metrics, None) for i in range(9)]
    figure = figures.model_comparison(found)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0
    assert all(axes.get_position().width > 0.2 for axes in figure.axes), "the panes keep their room"
    assert "of those trained on these data" in texts(figure)
    assert "of those trained on these data" not in texts(figures.model_comparison(stored))


def test_a_variant_has_a_broken_line(stored):
    found = [ModelResult(n, n, stored[0].metrics, stored[0].predictions) for n in ("baseline_cnn", "baseline_cnn@run")]
    _, plain, variant = figures.risk_coverage_curves(found).axes[0].get_lines()
    assert (plain.get_linestyle(), variant.get_linestyle()) == ("-", "--")


def test_cost_panes_are_those_that_were_measured_and_the_front_leaves_out_who_is_beaten(stored):
    figure = figures.accuracy_cost(stored)
    assert [a.get_title("left") for a in figure.axes] == [
        "Parameters, millions",
        "Multiply-adds per face, millions",
        "Milliseconds for one face",
    ]
    front = figure.axes[0].get_lines()[0]
    accuracy = {r.name: 100 * r.scores()["accuracy"] for r in stored}
    assert accuracy["attention_cnn"] > max(accuracy["baseline_cnn"], accuracy["vit_tiny"])  # the ViT is beaten
    assert list(front.get_xdata()) == pytest.approx([0.389383, 1.177])
    assert list(front.get_ydata()) == pytest.approx([accuracy["baseline_cnn"], accuracy["attention_cnn"]])
    old = [without(r, cost=None) for r in stored]  # schema 1 knows the parameters only
    assert len(figures.accuracy_cost(old).axes) == 1
    cost = stored[0].metrics["cost"] | {"latency_ms": None, "macs": None}
    assert len(figures.accuracy_cost([without(stored[0], cost=cost), *stored[1:]]).axes) == 3


def test_what_was_timed_on_torch_is_no_rival_of_what_was_timed_on_onnx_runtime(stored):
    def on(*runtimes):
        kinds = zip(stored, runtimes, strict=True)
        costs = [r.metrics["cost"] | {"latency_ms": r.metrics["cost"]["latency_ms"] | {"runtime": k}} for r, k in kinds]
        return [without(r, cost=c) for r, c in zip(stored, costs, strict=True)]

    def drawn(results):
        panes = figures.accuracy_cost(results).axes
        points = [next(iter(lines_of(pane, r.title))).get_xdata()[0] for pane in panes for r in results]
        return np.isfinite(np.array(points, dtype=float)).reshape(len(panes), len(results)).tolist()

    assert drawn(on("torch", "torch", "torch")) == [[True] * 3] * 3
    assert drawn(on("torch", "ONNX Runtime", "scikit-learn")) == [[True] * 3, [True] * 3, [False, True, True]]
    assert timed_alike(on("torch", "torch", "torch")) == [True] * 3
    assert timed_alike(on("torch", "ONNX Runtime", "scikit-learn")) == [False, True, True]
    assert timed_alike([without(stored[0], cost=None), *on("torch", "torch", "torch")[1:]]) == [True] * 3


def test_robustness_starts_at_the_clean_accuracy(stored):
    robust = {r.name: read_robustness(r.folder) for r in stored}
    figure = figures.robustness(robust, {r.name: r.title for r in stored}, COLORS)
    panes = {a.get_title("left"): a for a in figure.axes}
    assert len(panes) == 9 and {"Noise", "JPEG", "Occluded mouth"} <= set(panes)
    for r in stored:
        content = robust[r.name]
        (line,) = lines_of(panes["Occluded mouth"], r.title)
        assert list(line.get_xdata()) == [0, 1, 2, 3, 4, 5]
        expected = [content["clean"], *content["accuracy"]["occluded_mouth"]]
        assert list(line.get_ydata()) == pytest.approx([100 * v for v in expected])
        assert f"({100 * content['mean']:.1f})" in line.get_label()
    partial = {"vit_tiny": robust["vit_tiny"] | {"accuracy": {"noise": robust["vit_tiny"]["accuracy"]["noise"]}}}
    assert len(figures.robustness(partial, {}).axes) == 1


def test_models_without_a_colour_share_one_and_differ_by_marker(stored):
    panes = figures.model_comparison(stored).axes
    drawn = [line for line in panes[1].get_lines() if not str(line.get_label()).startswith("_")]
    assert len({line.get_color() for line in drawn}) == 1 and len({line.get_marker() for line in drawn}) == 3


def test_ten_models_keep_their_legend_inside(stored):
    found = [
        ModelResult(f"{r.name}@{i}", f"{r.title} with a long name", r.metrics, r.predictions, folder=r.folder)
        for i in range(4)
        for r in stored
    ][:10]
    robust, titles = {r.name: read_robustness(r.folder) for r in found}, {r.name: r.title for r in found}
    drawn = figures.accuracy_cost(found), figures.risk_coverage_curves(found), figures.robustness(robust, titles)
    for figure in drawn:
        figure.draw_without_rendering()
        legend = figure.legends[0].get_window_extent()
        assert legend.y0 >= 0 and legend.x0 >= 0 and legend.x1 <= figure.bbox.x1
        assert legend.y1 <= min(a.get_window_extent().y0 for a in figure.axes)
