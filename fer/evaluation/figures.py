"""Static pictures (matplotlib) for results/ and the README. Nothing global is touched: no pyplot, no backend switch.

Colours are Okabe and Ito's or a single hue from light to dark, so that they hold for colour-blind readers and in print.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fer.errors import DataError
from fer.evaluation.leaderboard import percent
from fer.evaluation.results import ModelResult
from fer.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE = "#22262B", "#69717B", "#DDE1E6"
BLUE, SKY, ORANGE, GREEN, VERMILION, PURPLE = "#0072B2", "#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
MODEL_COLORS = (ORANGE, BLUE, GREEN, PURPLE, VERMILION, SKY, SOFT)
MARKERS = ("o", "s", "D", "P", "^", "*", "X", "v")
DPI = 120
_PALETTE = 255


def save(figure: Figure, path: str | Path) -> Path:
    """Write a PNG with a palette of its 255 commonest colours (a third of the size, no flat colour changes).

    A half-written file never replaces a good one, and the same figure gives the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    packed, where, counts = np.unique(pixels.view(np.uint32).ravel(), return_inverse=True, return_counts=True)
    colors = packed.view(np.uint8).reshape(-1, 4)[:, :3]
    palette = colors[np.argsort(-counts, kind="stable")[:_PALETTE]]
    # Pillow's own quantisation moves even the white ground by a few steps; the nearest common colour does not.
    distance = np.abs(colors[:, None].astype(np.int16) - palette.astype(np.int16)).sum(axis=2)
    picture = Image.fromarray(distance.argmin(axis=1).astype(np.uint8)[where].reshape(pixels.shape[:2]), "P")
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    path = Path(path)
    with replacing(path) as part:
        part.write_bytes(buffer.getvalue())
    return path


def write_all(result: ModelResult, folder: str | Path, split: str = "test") -> list[Path]:
    """Every picture of one model; the training history only where there is one.

    Returns:
        The files written.
    """
    folder = Path(folder)
    if split not in result.splits:
        split = result.splits[-1]
    made = [
        save(confusion_matrix(result, split), folder / "confusion_matrix.png"),
        save(misclassification_heatmap(result, split), folder / "misclassification_heatmap.png"),
        save(per_class(result, split), folder / "per_class.png"),
    ]
    if result.history:
        made.append(save(history(result), folder / "history.png"))
    return made


def confusion_matrix(result: ModelResult, split: str = "test") -> Figure:
    """Rows true, columns predicted: share of the row in colour and in per cent, count below."""
    counts, names = _counts(result, split), result.class_names
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    scores = result.scores(split)
    low, high = scores["accuracy_interval"]
    figure, axes = _figure(
        (6.6, 6.3),
        f"{result.title} on {result.split_title(split)}",
        f"Accuracy {percent(scores['accuracy'])} % (95 % interval {percent(low)} to {percent(high)}), "
        f"{scores['n']:,} faces. Per cent of each true class, count below.",
    )
    _matrix(axes, share, names, "Blues", 1.0)
    for i, j in np.ndindex(*counts.shape):
        ink = "white" if share[i, j] > 0.62 else INK
        axes.text(j, i - 0.08, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=12)
        axes.text(j, i + 0.25, f"{counts[i, j]:,}", ha="center", va="center", color=ink, fontsize=7.5, alpha=0.85)
    return figure


def misclassification_heatmap(result: ModelResult, split: str = "test") -> Figure:
    """The confusion matrix without its diagonal, coloured up to the most frequent confusion."""
    counts, names = _counts(result, split), result.class_names
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(share, np.nan)
    worst = np.nanmax(share)
    i, j = np.unravel_index(np.nanargmax(share), share.shape)
    found = f"Most often: {names[i]} taken for {names[j]}, {100 * worst:.1f} % of the {names[i]} faces."
    figure, axes = _figure(
        (6.6, 6.3),
        f"What {result.title} mistakes for what",
        f"{result.split_title(split)}, per cent of each true class. {found if worst > 0 else 'No mistakes.'}",
    )
    axes.set_facecolor("#EEF0F2")
    _matrix(axes, share, names, "Oranges", max(worst, 0.01))
    for i, j in np.ndindex(*counts.shape):
        if i != j:
            ink = "white" if share[i, j] > 0.65 * worst > 0 else INK
            axes.text(j, i, f"{100 * share[i, j]:.1f}", ha="center", va="center", color=ink, fontsize=11)
    return figure


def per_class(result: ModelResult, split: str = "test") -> Figure:
    """Precision, recall and F1 of every class as bars."""
    scores, names = result.scores(split), result.class_names
    figure, axes = _figure(
        (8.2, 4.4),
        f"{result.title} on {result.split_title(split)}, class by class",
        f"Macro-F1 {percent(scores['macro_f1'])}, balanced accuracy {percent(scores['balanced_accuracy'])} %.",
    )
    x = np.arange(len(names))
    kinds = (("precision", SKY, "Precision"), ("recall", BLUE, "Recall"), ("f1", ORANGE, "F1"))
    for k, (key, color, title) in enumerate(kinds):
        values = [100 * scores["per_class"][c][key] for c in names]
        at = x + (k - 1) * 0.27
        axes.bar(at, values, 0.25, color=color, label=title, zorder=2)
        for a, v in zip(at, values, strict=True):
            axes.text(a, v + 1.2, f"{v:.0f}", ha="center", va="bottom", fontsize=8, color=SOFT)
    axes.set_xticks(x, names, fontsize=10, color=INK)
    for a, c in zip(x, names, strict=True):
        axes.annotate(
            f"n = {scores['per_class'][c]['support']:,}",
            (a, 0),
            xytext=(0, -19),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
            color=SOFT,
        )
    axes.set_ylim(0, 105)
    axes.set_ylabel("per cent", color=SOFT)
    _grid(axes, "y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=3, frameon=False, fontsize=9, borderaxespad=0.2)
    return figure


def history(result: ModelResult) -> Figure:
    """Loss, accuracy and learning rate over the epochs, with the best epoch marked.

    Raises:
        DataError: no history stored.
    """
    from matplotlib.ticker import MaxNLocator

    epochs = [h for h in result.history if "epoch" in h]
    if not epochs:
        raise DataError(f"{result.name}: no training history stored")
    figure = _canvas((8.6, 5.2), 0.55)
    panes = figure.subplot_mosaic([["loss", "accuracy"], ["lr", "lr"]], height_ratios=[3, 1])
    x = [h["epoch"] for h in epochs]
    val = np.array([_number(h.get("val_accuracy")) for h in epochs])
    best = int(np.nanargmax(val)) if np.isfinite(val).any() else None
    said = (
        f"Best validation accuracy {percent(val[best])} % after epoch {x[best]} of {x[-1]}." if best is not None else ""
    )
    _headline(figure, f"Training of {result.title}", f"{said} Training figures are of augmented faces.".strip())
    dots = "o" if len(x) < 4 else None
    for key, factor in (("loss", 1), ("accuracy", 100)):
        axes = panes[key]
        for side, color, dash, title in (("train", SOFT, (0, (4, 2)), "training"), ("val", BLUE, "-", "validation")):
            y = [factor * _number(h.get(f"{side}_{key}")) for h in epochs]
            axes.plot(x, y, color=color, linestyle=dash, linewidth=1.9, marker=dots, label=title)
        axes.set_title(
            "Loss" if key == "loss" else "Accuracy, per cent", loc="left", fontsize=10, color=INK, fontweight="bold"
        )
        axes.legend(frameon=False, fontsize=9)
    if best is not None:
        panes["accuracy"].plot(x[best], 100 * val[best], "o", color=VERMILION, markersize=7, zorder=3)
        panes["accuracy"].axvline(x[best], color=VERMILION, linewidth=0.9, linestyle=":", zorder=1)
    rate = panes["lr"]
    rate.plot(x, [_number(h.get("lr")) for h in epochs], color=ORANGE, linewidth=1.9, marker=dots)
    rate.set_title("Learning rate", loc="left", fontsize=10, color=INK, fontweight="bold")
    rate.set_xlabel("epoch", color=SOFT)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    phases = [h.get("phase") for h in epochs]
    for axes in panes.values():
        _grid(axes, "y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        for i in range(1, len(x)):
            if phases[i] != phases[i - 1]:
                axes.axvline((x[i - 1] + x[i]) / 2, color=RULE, linewidth=1.2)
    return figure


def model_comparison(
    results: Sequence[ModelResult], split: str = "test", colors: Mapping[str, str] | None = None
) -> Figure:
    """Accuracy with its interval, and F1 class by class, of all models.

    Args:
        results: In the order of every table.
        split: The split of the full dots; validation, if scored, is drawn hollow.
        colors: Model name -> hex colour; default: Okabe and Ito's in order.

    Raises:
        DataError: nothing to draw, or models with different classes.
    """
    results = [r for r in results if split in r.splits]
    if not results:
        raise DataError(f"no model was scored on split {split!r}")
    names = results[0].class_names
    if any(r.class_names != names for r in results):
        raise DataError("these models were scored on different classes; they cannot share a figure")
    height = max(3.6, 1.5 + 0.52 * len(results), 1.5 + 0.42 * len(names))
    figure = _canvas((10.4, height))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    title = results[0].split_title(split)
    _headline(figure, f"{len(results)} models on {results[0].metrics['data']['name']}", _caption(results, split))
    for i, r in enumerate(results):
        color = (colors or {}).get(r.name) or MODEL_COLORS[i % len(MODEL_COLORS)]
        marker = MARKERS[i % len(MARKERS)]
        s = r.scores(split)
        low, high = (100 * v for v in s["accuracy_interval"])
        left.plot([low, high], [i, i], color=color, linewidth=3.2, alpha=0.45, solid_capstyle="round", zorder=2)
        left.plot(100 * s["accuracy"], i, marker, color=color, markersize=9, zorder=4)
        left.annotate(
            f"{percent(s['accuracy'])} %",
            (100 * s["accuracy"], i),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            fontsize=10,
            color=INK,
            fontweight="bold",
        )
        if "val" in r.splits and split != "val":
            left.plot(
                100 * r.scores("val")["accuracy"],
                i,
                marker,
                markersize=7,
                zorder=3,
                markerfacecolor="white",
                color=color,
            )
        f1 = [100 * s["per_class"][c]["f1"] for c in names]
        right.plot(f1, np.arange(len(names)), marker, color=color, markersize=8, label=r.title, zorder=3, alpha=0.92)
    left.set_yticks(range(len(results)), [r.title for r in results], fontsize=10, color=INK)
    left.set_ylim(len(results) - 0.5, -0.6)
    left.margins(x=0.12)
    left.set_title(f"Accuracy on {title}, per cent", loc="left", fontsize=10, color=INK, fontweight="bold")
    values = np.array([[100 * r.scores(split)["per_class"][c]["f1"] for c in names] for r in results])
    right.hlines(np.arange(len(names)), values.min(axis=0), values.max(axis=0), color=RULE, linewidth=3, zorder=1)
    right.set_yticks(range(len(names)), names, fontsize=10, color=INK)
    right.set_ylim(len(names) - 0.5, -0.5)
    right.set_xlim(max(0, np.floor(values.min() / 10) * 10 - 5), 102)
    right.set_title(f"F1 per class on {title}, per cent", loc="left", fontsize=10, color=INK, fontweight="bold")
    right.legend(
        frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.3 / height), ncols=min(len(results), 4)
    )
    for axes in (left, right):
        _grid(axes, "x")
    return figure


def _caption(results: Sequence[ModelResult], split: str) -> str:
    text = f"Bars: 95 % bootstrap interval, {results[0].scores(split)['n']:,} faces."
    if split != "val" and any("val" in r.splits for r in results):
        text += f" Hollow: {results[0].split_title('val')}, on which training chose."
    return text


def _counts(result: ModelResult, split: str) -> np.ndarray:
    return np.array(result.scores(split)["confusion"], dtype=np.int64)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _canvas(size: tuple[float, float], head_inches: float = 0.62) -> Figure:
    """An empty figure that keeps room for the headline."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    room = (0.01, 0.01, 0.98, 0.98 - head_inches / size[1])
    return Figure(figsize=size, facecolor="white", layout=ConstrainedLayoutEngine(rect=room, wspace=0.06, hspace=0.06))


def _figure(size: tuple[float, float], title: str, caption: str) -> tuple[Figure, Axes]:
    figure = _canvas(size)
    _headline(figure, title, caption)
    return figure, figure.subplots()


def _headline(figure: Figure, title: str, caption: str) -> None:
    inch = 1 / figure.get_figheight()
    figure.text(0.02, 1 - 0.12 * inch, title, fontsize=14, fontweight="bold", color=INK, va="top")
    figure.text(0.02, 1 - 0.42 * inch, caption, fontsize=9, color=SOFT, va="top")


def _matrix(axes: Axes, share: np.ndarray, names: Sequence[str], colormap: str, top: float) -> None:
    axes.imshow(share, cmap=colormap, vmin=0, vmax=top)
    axes.set_xticks(range(len(names)), names, fontsize=10, color=INK)
    axes.set_yticks(range(len(names)), names, fontsize=10, color=INK)
    axes.set_xlabel("predicted", color=SOFT)
    axes.set_ylabel("true", color=SOFT)
    axes.set_xticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    axes.grid(axis=axis, color=RULE, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK, labelsize=9)
    for name, side in axes.spines.items():
        side.set_visible(name == ("bottom" if axis == "y" else "left"))
        side.set_color(SOFT)
