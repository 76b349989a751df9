"""Pictures of all models of one data set beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import DataError
from fer.evaluation import pareto
from fer.evaluation.figures.canvas import (
    INK,
    RULE,
    SOFT,
    blank,
    grid,
    headline,
    legend_below,
    legend_inches,
    line_style,
    look,
    subtitle,
)
from fer.evaluation.leaderboard import percent
from fer.evaluation.results import ModelResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COSTS = {
    "parameters": "Parameters, millions",
    "macs": "Multiply-adds per face, millions",
    "latency_ms": "Milliseconds for one face",
}


def model_comparison(
    results: Sequence[ModelResult], split: str = "test", colors: Mapping[str, str] | None = None
) -> Figure:
    """Accuracy with its interval, and F1 class by class, of all models.

    Args:
        results: In the order of every table.
        split: The split of the full dots; validation, if scored, is drawn hollow.
        colors: Model name -> hex colour; models without one share a blue.

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
    width = 10.4
    figure = blank((width, height + legend_inches([r.title for r in results], width)))
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.15])
    title = results[0].split_title(split)
    headline(figure, f"{len(results)} models on {results[0].metrics['data']['name']}", _caption(results, split))
    for i, r in enumerate(results):
        color, marker = look(r.name, i, colors)
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
    subtitle(left, f"Accuracy on {title}, per cent")
    values = np.array([[100 * r.scores(split)["per_class"][c]["f1"] for c in names] for r in results])
    right.hlines(np.arange(len(names)), values.min(axis=0), values.max(axis=0), color=RULE, linewidth=3, zorder=1)
    right.set_yticks(range(len(names)), names, fontsize=10, color=INK)
    right.set_ylim(len(names) - 0.5, -0.5)
    right.set_xlim(max(0, np.floor(values.min() / 10) * 10 - 5), 102)
    subtitle(right, f"F1 per class on {title}, per cent")
    legend_below(figure, right)
    for axes in (left, right):
        grid(axes, "x")
    return figure


def _caption(results: Sequence[ModelResult], split: str) -> str:
    text = f"Bars: 95 % bootstrap interval, {results[0].scores(split)['n']:,} faces."
    if split != "val" and any("val" in r.splits for r in results):
        home = results[0].metrics["data"]["name"]
        foreign = any((r.metrics.get("trained") or {}).get("data") not in (None, "", home) for r in results)
        chose = "on which training chose" + ", of those trained on these data" * foreign
        text += f" Hollow: {results[0].split_title('val')}, {chose}."
    return text


def cost_of(result: ModelResult, kind: str) -> float:
    """What a model costs: a key and the unit of `COSTS`; NaN where that was not measured."""
    cost = result.metrics.get("cost") or {"parameters": result.metrics.get("parameters")}
    value = cost.get(kind)
    if value is None:
        return float("nan")
    return float(value["batch_1"]) if kind == "latency_ms" else float(value) / 1e6


def accuracy_cost(
    results: Sequence[ModelResult], split: str = "test", colors: Mapping[str, str] | None = None
) -> Figure:
    """Accuracy against parameters, multiply-adds and latency, with the Pareto front; a cost nobody has is left out.

    Args:
        results: In the order of every table.
        split: val or test.
        colors: Model name -> hex colour; models without one share a blue.

    Raises:
        DataError: no model was scored on the split, or no cost is known.
    """
    results = [r for r in results if split in r.splits]
    measured = {kind: np.array([cost_of(r, kind) for r in results]) for kind in COSTS}
    measured["latency_ms"][~np.array(pareto.timed_alike(results))] = np.nan
    measured = {kind: values for kind, values in measured.items() if np.isfinite(values).any()}
    if not measured:
        raise DataError(f"no model on split {split!r} with a known cost; score it again with scripts/evaluate.py")
    width = max(4.2 * len(measured), 6.4)
    figure = blank((width, 4.5 + legend_inches([r.title for r in results], width)))
    said = "Bars: 95 % bootstrap interval. Line: the Pareto front, where no model is as cheap and better."
    headline(figure, f"Accuracy on {results[0].split_title(split)} and what it costs", said)
    row = np.atleast_1d(figure.subplots(1, len(measured), sharey=True))
    for axes, (kind, cost) in zip(row, measured.items(), strict=True):
        _cost_pane(axes, results, split, cost, colors)
        subtitle(axes, COSTS[kind])
    row[0].set_ylabel("accuracy, per cent", color=SOFT)
    legend_below(figure, row[0])
    return figure


def _cost_pane(
    axes: Axes, results: Sequence[ModelResult], split: str, cost: np.ndarray, colors: Mapping[str, str] | None
) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    accuracy = np.array([100 * r.scores(split)["accuracy"] for r in results])
    best = np.flatnonzero(pareto.front(cost, accuracy))
    best = best[np.argsort(cost[best], kind="stable")]
    axes.step(cost[best], accuracy[best], where="post", color=SOFT, linewidth=1.2, zorder=1)
    for i, r in enumerate(results):
        color, marker = look(r.name, i, colors)
        low, high = (100 * v for v in r.scores(split)["accuracy_interval"])
        axes.plot([cost[i]] * 2, [low, high], color=color, linewidth=2.4, alpha=0.45, zorder=2)
        # a cost that is not known draws nothing here and still has its line in the legend
        axes.plot(cost[i], accuracy[i], marker, color=color, markersize=8, label=r.title, linestyle="", zorder=3)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    grid(axes, "y")


def robustness(
    stored: Mapping[str, Mapping[str, Any]], titles: Mapping[str, str], colors: Mapping[str, str] | None = None
) -> Figure:
    """Accuracy under every corruption, from the clean face (0) to strength 5, one pane per corruption.

    Args:
        stored: Model name -> content of its robustness.json, in the order of every table.
        titles: Model name -> name for people.
        colors: Model name -> hex colour; models without one share a blue.

    Raises:
        DataError: nothing stored.
    """
    kinds = list(dict.fromkeys(kind for content in stored.values() for kind in content["accuracy"]))
    if not kinds:
        raise DataError("no accuracy under corruptions is stored; scripts/evaluate.py --robustness measures it")
    columns = min(3, len(kinds))
    rows = -(-len(kinds) // columns)
    labels = [f"{titles.get(name, name)} ({percent(content['mean'])})" for name, content in stored.items()]
    width = max(3.4 * columns + 0.6, 6.4)
    figure = blank((width, 2.3 * rows + 0.8 + legend_inches(labels, width)))
    faces = " or ".join(f"{n:,}" for n in sorted({content["n"] for content in stored.values()}))
    said = f"Per cent of {faces} faces, by strength (0: clean). In brackets: mean over all corruptions and strengths."
    headline(figure, "Accuracy under corruption", said)
    panes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, kind in zip(panes, kinds, strict=False):
        for i, (name, content) in enumerate(stored.items()):
            color, marker = look(name, i, colors)
            values = content["accuracy"].get(kind, [])
            x = [0, *content["strengths"]][: len(values) + 1]
            y = [100 * v for v in (content["clean"], *values)]
            axes.plot(
                x, y, line_style(name), marker=marker, markersize=4.5, color=color, linewidth=1.6, label=labels[i]
            )
        subtitle(axes, "JPEG" if kind == "jpeg" else kind.replace("_", " ").capitalize())
        grid(axes, "y")
    for axes in panes[len(kinds) :]:
        axes.set_axis_off()
    legend_below(figure, panes[0])
    return figure
