"""Bars: probabilities of one face, scores per class, counts, shares that add up to one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fer.errors import ConfigError
from fer.labels import COLORS, LabelSet, canonical
from fer.viz.style import INK, SPARE_COLORS, dress, model_color, model_order, shown, variant, with_emoji

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Light to dark: the order survives without colour.
_STEPS = ("#56B4E9", "#2C86C9", "#8C7BD8", "#C8699F", "#D1601F", "#9C6B4A", "#7F8893", "#5E6670", "#454B52")
_PATTERNS = ("", "/", ".", "x", "-", "|", "+", "\\")


def probability_bars(
    probs: Sequence[float] | np.ndarray, labels: LabelSet | Sequence[str], title: str = "", height: int | None = None
) -> Figure:
    """One horizontal bar per class, in the order of the label set.

    Args:
        probs: (C,) probabilities.
        labels: LabelSet or class names, C of them.
    """
    import plotly.graph_objects as go

    names = list(labels.names if isinstance(labels, LabelSet) else labels)
    values = [float(p) for p in np.asarray(probs).reshape(-1)]
    if len(values) != len(names):
        raise ConfigError(f"expected {len(names)} probabilities for {', '.join(names)}, got {len(values)}")
    fig = go.Figure(
        go.Bar(
            x=values,
            y=[with_emoji(n) for n in names],
            orientation="h",
            marker_color=[COLORS.get(canonical(n), INK) for n in names],
            text=[f"{v:.0%}" for v in values],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x:.1%}<extra></extra>",
        )
    )
    fig.update_yaxes(autorange="reversed")
    fig.update_xaxes(range=[0, 1.12], tickformat=".0%", tickvals=[0, 0.5, 1])
    return dress(fig, title, height or 60 + 30 * len(names))


def per_class_bars(
    values: Mapping[str, Mapping[str, float]],
    metric: str = "recall",
    title: str = "",
    height: int = 400,
    titles: Mapping[str, str] | None = None,
    intervals: Mapping[str, Mapping[str, tuple[float, float]]] | None = None,
) -> Figure:
    """Grouped bars: one group per class, one bar per model, hatched for a variant of a model.

    Args:
        values: {model: {class: value in 0..1}}; a class that a model lacks is left out of its bars.
        metric: What the values are; title of the axis.
        titles: {model: name for people}; a model without one is shown by its name.
        intervals: {model: {class: (low, high)}}, drawn as error bars where given.
    """
    import plotly.graph_objects as go

    classes = list(dict.fromkeys(c for per_model in values.values() for c in per_model))
    fig = go.Figure()
    for model in model_order(values):
        mine, name = values[model], shown(model, titles)
        bars = (intervals or {}).get(model, {})
        fig.add_bar(
            name=name,
            x=[with_emoji(c) for c in classes],
            y=[mine.get(c) for c in classes],
            error_y=_error_bars([mine.get(c) for c in classes], [bars.get(c) for c in classes]) if bars else None,
            marker={"color": model_color(model), "pattern": _pattern(variant(model))},
            customdata=[("" if c not in bars else f" ({bars[c][0]:.1%} to {bars[c][1]:.1%})") for c in classes],
            hovertemplate=f"{name}<br>%{{x}}: %{{y:.1%}}%{{customdata}}<extra></extra>",
        )
    fig.update_layout(barmode="group", bargap=0.25, bargroupgap=0.06)
    fig.update_yaxes(title_text=metric, range=[0, 1], tickformat=".0%")
    return dress(fig, title, height)


def _error_bars(values: Sequence[float | None], intervals: Sequence[tuple[float, float] | None]) -> dict[str, object]:
    known = [
        (v, i) if v is not None and i is not None else (0.0, (0.0, 0.0)) for v, i in zip(values, intervals, strict=True)
    ]
    return {
        "type": "data",
        "symmetric": False,
        "array": [high - v for v, (_, high) in known],
        "arrayminus": [v - low for v, (low, _) in known],
        "thickness": 1.2,
        "width": 2,
        "color": INK,
    }


def count_bars(
    counts: Mapping[str, Mapping[str, float]],
    unit: str = "faces",
    title: str = "",
    height: int = 360,
    share: bool = False,
) -> Figure:
    """Grouped bars of counts: one group per class, one bar per part (a split, for example), told apart by hatching too.

    Args:
        counts: {part: {class: number}}.
        unit: Title of the vertical axis.
        share: The numbers are shares, 0..1.
    """
    import plotly.graph_objects as go

    classes = list(dict.fromkeys(c for part in counts.values() for c in part))
    palette = ("#2C86C9", "#E08A00", "#0FA37F", *SPARE_COLORS)
    fig = go.Figure()
    for place, (part, numbers) in enumerate(counts.items()):
        fig.add_bar(
            name=part,
            x=[with_emoji(c) for c in classes],
            y=[numbers.get(c) for c in classes],
            marker={
                "color": palette[place % len(palette)],
                "pattern": _pattern(place),
            },
            hovertemplate=f"{part}<br>%{{x}}: %{{y{':.1%' if share else ':,'}}} {'' if share else unit}<extra></extra>",
        )
    fig.update_layout(barmode="group", bargap=0.25, bargroupgap=0.06)
    fig.update_yaxes(title_text=unit, rangemode="tozero", tickformat=".0%" if share else ",")
    return dress(fig, title, height)


def share_stack(
    rows: Mapping[str, Sequence[float]],
    parts: Sequence[str],
    unit: str = "share of the faces",
    title: str = "",
    height: int | None = None,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """One horizontal bar per model, cut into shares that add up to one.

    Args:
        rows: {model: one share in 0..1 per part}.
        parts: Names of the parts, in order.
        unit: Title of the horizontal axis.
        titles: {model: name for people}.

    Raises:
        ConfigError: a row with another number of shares.
    """
    import plotly.graph_objects as go

    order = model_order(rows)
    for model in order:
        if len(rows[model]) != len(parts):
            raise ConfigError(f"{model}: expected {len(parts)} shares, got {len(rows[model])}")
    fig = go.Figure()
    for place, part in enumerate(parts):
        values = [float(rows[m][place]) for m in order]
        fig.add_bar(
            name=part,
            y=[shown(m, titles) for m in order],
            x=values,
            orientation="h",
            marker={
                "color": _STEPS[place % len(_STEPS)],
                "pattern": _pattern(place),
            },
            hovertemplate=f"%{{y}}<br>{part}: %{{x:.1%}}<extra></extra>",
        )
    fig.update_layout(barmode="stack", bargap=0.35, legend_traceorder="normal")
    fig.update_xaxes(title_text=unit, range=[0, 1], tickformat=".0%")
    fig.update_yaxes(autorange="reversed")
    return dress(fig, title, height or 110 + 42 * len(order))


def _pattern(place: int) -> dict[str, object]:
    """A hatching of its own for each part, so that the parts are told apart without colour."""
    shape = _PATTERNS[place % len(_PATTERNS)]
    return {"shape": shape, "fillmode": "overlay", "fgcolor": "rgba(255,255,255,0.5)", "size": 7, "solidity": 0.25}
