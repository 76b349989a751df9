"""Pictures of one model's stored scores: confusions, classes, training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import DataError
from fer.evaluation.figures.canvas import (
    BLUE,
    INK,
    ORANGE,
    RULE,
    SKY,
    SOFT,
    VERMILION,
    blank,
    grid,
    headline,
    matrix,
    subtitle,
    titled,
)
from fer.evaluation.leaderboard import percent
from fer.evaluation.results import ModelResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix(result: ModelResult, split: str = "test") -> Figure:
    """Rows true, columns predicted: share of the row in colour and in per cent, count below."""
    counts, names = _counts(result, split), result.class_names
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    scores = result.scores(split)
    low, high = scores["accuracy_interval"]
    figure, axes = titled(
        (6.6, 6.3),
        f"{result.title} on {result.split_title(split)}",
        f"Accuracy {percent(scores['accuracy'])} % (95 % interval {percent(low)} to {percent(high)}), "
        f"{scores['n']:,} faces. Per cent of each true class, count below.",
    )
    matrix(axes, share, names, "Blues", 1.0)
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
    figure, axes = titled(
        (6.6, 6.3),
        f"What {result.title} mistakes for what",
        f"{result.split_title(split)}, per cent of each true class. {found if worst > 0 else 'No mistakes.'}",
    )
    axes.set_facecolor("#EEF0F2")
    matrix(axes, share, names, "Oranges", max(worst, 0.01))
    for i, j in np.ndindex(*counts.shape):
        if i != j:
            ink = "white" if share[i, j] > 0.65 * worst > 0 else INK
            axes.text(j, i, f"{100 * share[i, j]:.1f}", ha="center", va="center", color=ink, fontsize=11)
    return figure


def per_class(result: ModelResult, split: str = "test") -> Figure:
    """Precision, recall and F1 of every class as bars."""
    scores, names = result.scores(split), result.class_names
    figure, axes = titled(
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
    grid(axes, "y")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1.0), ncols=3, frameon=False, fontsize=9, borderaxespad=0.2)
    return figure


def history(result: ModelResult) -> Figure:
    """Loss, accuracy and learning rate over the epochs, with the best epoch marked.

    A net's training loss is what was minimised (smoothed or mixed labels, a teacher, votes), its validation loss one
    against the labels alone: the pane says that they do not compare. A model with a learning rate of 0 was fitted at
    once and scored on training faces as they are.

    Raises:
        DataError: no history stored.
    """
    from matplotlib.ticker import MaxNLocator

    epochs = [h for h in result.history if "epoch" in h]
    if not epochs:
        raise DataError(f"{result.name}: no training history stored")
    figure = blank((8.6, 5.2), 0.55)
    panes = figure.subplot_mosaic([["loss", "accuracy"], ["lr", "lr"]], height_ratios=[3, 1])
    x = [h["epoch"] for h in epochs]
    val = np.array([_number(h.get("val_accuracy")) for h in epochs])
    best = int(np.nanargmax(val)) if np.isfinite(val).any() else None
    said = (
        f"Best validation accuracy {percent(val[best])} % after epoch {x[best]} of {x[-1]}." if best is not None else ""
    )
    in_steps = any(_number(h.get("lr")) != 0 for h in epochs)
    if in_steps:
        said = f"{said} Training figures are of augmented faces.".strip()
    headline(figure, f"Training of {result.title}", said)
    dots = "o" if len(x) < 4 else None
    plain = ("training", "validation")
    losses = ("Loss (the two do not compare)", "training, as minimised", "validation, labels alone")
    told = {"loss": losses if in_steps else ("Loss", *plain), "accuracy": ("Accuracy, per cent", *plain)}
    for key, (title, *sides) in told.items():
        axes = panes[key]
        for side, color, dash, label in zip(("train", "val"), (SOFT, BLUE), ((0, (4, 2)), "-"), sides, strict=True):
            y = [(100 if key == "accuracy" else 1) * _number(h.get(f"{side}_{key}")) for h in epochs]
            axes.plot(x, y, color=color, linestyle=dash, linewidth=1.9, marker=dots, label=label)
        subtitle(axes, title)
        axes.legend(frameon=False, fontsize=9)
    if best is not None:
        panes["accuracy"].plot(x[best], 100 * val[best], "o", color=VERMILION, markersize=7, zorder=3)
        panes["accuracy"].axvline(x[best], color=VERMILION, linewidth=0.9, linestyle=":", zorder=1)
    rate = panes["lr"]
    rate.plot(x, [_number(h.get("lr")) for h in epochs], color=ORANGE, linewidth=1.9, marker=dots)
    subtitle(rate, "Learning rate")
    rate.set_xlabel("epoch", color=SOFT)
    rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    phases = [h.get("phase") for h in epochs]
    for axes in panes.values():
        grid(axes, "y")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        for i in range(1, len(x)):
            if phases[i] != phases[i - 1]:
                axes.axvline((x[i - 1] + x[i]) / 2, color=RULE, linewidth=1.2)
    return figure


def _counts(result: ModelResult, split: str) -> np.ndarray:
    return np.array(result.scores(split)["confusion"], dtype=np.int64)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")
