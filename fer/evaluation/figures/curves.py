"""Pictures drawn from stored predictions: ROC, precision-recall, reliability, risk-coverage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fer.errors import DataError
from fer.evaluation import ranking
from fer.evaluation.calibration import apply_temperature
from fer.evaluation.figures.canvas import (
    BLUE,
    INK,
    ORANGE,
    RULE,
    SKY,
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
from fer.evaluation.metrics import Reliability, ece, reliability
from fer.evaluation.results import ModelResult
from fer.evaluation.selective import coverage_at, risk_coverage
from fer.labels import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WANTED = 0.9
_DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (4, 1, 1, 1)))


def roc_pr(result: ModelResult, split: str = "test") -> Figure:
    """ROC and precision-recall curves, every class against the rest, with their areas.

    Raises:
        DataError: no predictions stored.
    """
    probs, labels = result.probs(split), result.labels(split)
    figure = blank((10.2, 5.0))
    panes = figure.subplots(1, 2)
    kinds = (
        ("ROC", ranking.roc, "false-positive rate, per cent", "true-positive rate, per cent", "AUC"),
        ("Precision and recall", ranking.precision_recall, "recall, per cent", "precision, per cent", "AP"),
    )
    means = []
    for axes, (title, curve, x, y, area) in zip(panes, kinds, strict=True):
        found = [curve(probs, labels, k) for k in range(probs.shape[1])]
        for k, (name, c) in enumerate(zip(result.class_names, found, strict=True)):
            if len(c.x):
                label = f"{name}, {area} {c.area:.3f}"
                style = {"color": COLORS.get(name, SOFT), "linestyle": _DASHES[k % len(_DASHES)]}
                axes.plot(100 * c.x, 100 * c.y, linewidth=1.7, label=label, **style)
        means.append(f"mean {area} {np.nanmean([c.area for c in found]):.3f}")
        subtitle(axes, title)
        axes.set_xlabel(x, color=SOFT)
        axes.set_ylabel(y, color=SOFT)
        axes.set_xlim(-1, 101)
        axes.set_ylim(-1, 102)
        grid(axes, "y")
        axes.legend(frameon=False, fontsize=8.5, loc="lower right" if area == "AUC" else "lower left")
    panes[0].plot([0, 100], [0, 100], color=RULE, linewidth=1.2, zorder=1)
    said = f"{result.split_title(split)}, {len(labels):,} faces, every class against the rest: {', '.join(means)}."
    headline(figure, f"How well {result.title} ranks the faces", said)
    return figure


def reliability_diagram(result: ModelResult, split: str = "test") -> Figure:
    """Accuracy over confidence before and after temperature scaling; below, how many faces each bin holds.

    Raises:
        DataError: no predictions stored.
    """
    probs, labels = result.probs(split), result.labels(split)
    temperature = float(result.metrics["temperature"]["value"])
    raw = apply_temperature(probs, 1 / temperature)
    figure = blank((6.6, 6.2))
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    upper.plot([0, 100], [0, 100], color=SOFT, linewidth=1, zorder=1)
    after, before = reliability(probs, labels), reliability(raw, labels)
    drawn = [(after, BLUE, "o", "-", f"calibrated, ECE {percent(ece(probs, labels))}")]
    if temperature != 1:
        drawn.append((before, ORANGE, "s", "--", f"as trained, ECE {percent(ece(raw, labels))}"))
    for r, color, marker, dash, label in drawn:
        upper.plot(
            100 * r.confidence, 100 * r.accuracy, marker=marker, markersize=6, color=color, linestyle=dash, label=label
        )
    _intervals(upper, after)
    upper.set_ylabel("accuracy, per cent", color=SOFT)
    upper.set_ylim(0, 102)
    upper.set_xlim(0, 101)
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    middle = 50 * (after.edges[1:] + after.edges[:-1])
    lower.bar(middle, after.counts, 100 / len(middle) * 0.9, color=SKY, zorder=2)
    for x, n in zip(middle, after.counts, strict=True):
        if n:
            lower.text(x, n, f"{n:,}", ha="center", va="bottom", fontsize=7.5, color=INK)
    lower.margins(y=0.18)
    lower.set_ylabel("faces", color=SOFT)
    lower.set_xlabel("confidence, per cent", color=SOFT)
    for axes in (upper, lower):
        grid(axes, "y")
    low = "Below the line: surer than right." if temperature == 1 else f"Temperature {temperature:.2f}."
    said = f"{result.split_title(split)}, {len(labels):,} faces. Bars: 95 % interval. {low}"
    headline(figure, f"Can the confidence of {result.title} be believed?", said)
    return figure


def _intervals(axes: Axes, r: Reliability) -> None:
    """Wilson's 95 % interval of the accuracy in every bin that holds faces."""
    from scipy.stats import binomtest

    for n, x, share in zip(r.counts, r.confidence, r.accuracy, strict=True):
        if n:
            interval = binomtest(round(n * share), int(n)).proportion_ci(0.95, "wilson")
            axes.plot([100 * x] * 2, [100 * interval.low, 100 * interval.high], color=BLUE, linewidth=2.2, alpha=0.4)


def risk_coverage_curves(
    results: Sequence[ModelResult], split: str = "test", colors: Mapping[str, str] | None = None
) -> Figure:
    """Share of wrong answers when only the surest faces are answered, of every model with stored predictions.

    The share that can be answered with few errors has its threshold from the same faces: an optimistic figure.

    Args:
        results: In the order of every table.
        split: val or test.
        colors: Model name -> hex colour; models without one share a blue.

    Raises:
        DataError: no model has predictions of this split.
    """
    results = [r for r in results if split in r.splits and r.predictions is not None]
    if not results:
        raise DataError(f"no model has stored predictions of split {split!r}; scripts/evaluate.py makes them")
    curves = [risk_coverage(r.probs(split), r.labels(split)) for r in results]
    reached = [coverage_at(r.probs(split), r.labels(split), WANTED) for r in results]
    titles = [
        f"{r.title} ({'none' if share is None else f'{percent(share)} %'}; {curve.aurc:.3f})"
        for r, curve, share in zip(results, curves, reached, strict=True)
    ]
    width = 8.2
    figure = blank((width, 5.2 + legend_inches(titles, width)), 0.8)
    axes = figure.subplots()
    axes.axhline(100 * (1 - WANTED), color=SOFT, linewidth=1, linestyle=":", zorder=1)
    for i, (r, curve, title) in enumerate(zip(results, curves, titles, strict=True)):
        color, marker = look(r.name, i, colors)
        at = np.linspace(0, len(curve.risk) - 1, 11)[1:].astype(int).tolist()
        x, y = 100 * curve.coverage, 100 * curve.risk
        axes.plot(
            x, y, line_style(r.name), color=color, linewidth=1.7, marker=marker, markersize=5, markevery=at, label=title
        )
    axes.set_xlim(0, 101)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("faces answered, the surest first, per cent", color=SOFT)
    axes.set_ylabel("wrong answers among them, per cent", color=SOFT)
    grid(axes, "y")
    legend_below(figure, axes)
    least = f"at most {100 * (1 - WANTED):.0f} % errors (dotted)"
    said = (
        f"In brackets: share of faces that can be answered with {least}; area under the curve (AURC).\n"
        "The threshold for that share is chosen on these same faces, so the share is optimistic."
    )
    headline(figure, f"Answering only when sure, {results[0].split_title(split)}", said)
    return figure
