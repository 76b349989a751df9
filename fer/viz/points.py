"""Points: what a model costs against how good it is, and scores with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.viz.style import INK, dress, model_color, model_marker, model_order

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def comparison_scatter(
    rows: Sequence[Mapping[str, Any]],
    x: str = "parameters",
    y: str = "accuracy",
    title: str = "",
    height: int = 400,
    x_title: str = "",
    front: Sequence[str] = (),
) -> Figure:
    """One point per model: what it costs against how good it is, with the interval where the row has one.

    Args:
        rows: Records with `model`, x, y and, when known, `title` (name for people) and the bounds `{y}_low` and
            `{y}_high` of y.
        x: Field of the horizontal axis (logarithmic when the values span more than a factor of 4).
        y: Field of the vertical axis, 0..1.
        x_title: Title of the horizontal axis, with the unit; default: the field's name.
        front: Models on the Pareto front; joined by a line.
    """
    import plotly.graph_objects as go

    rows = [r for r in rows if r.get(x) is not None and r.get(y) is not None]
    by_model = {str(r["model"]): r for r in rows}
    costs = [float(r[x]) for r in rows]
    fig = go.Figure()
    best = sorted((by_model[m] for m in front if m in by_model), key=lambda r: r[x])
    if len(best) > 1:
        fig.add_scatter(
            x=[r[x] for r in best],
            y=[r[y] for r in best],
            mode="lines",
            name="Pareto front",
            line={"color": INK, "width": 1.5, "dash": "dot", "shape": "hv"},
            hoverinfo="skip",
        )
    for model in model_order(by_model):
        row = by_model[model]
        low, high = row.get(f"{y}_low"), row.get(f"{y}_high")
        shown = row.get("title") or model
        bars = None
        if low is not None and high is not None:
            bars = {"type": "data", "symmetric": False, "array": [high - row[y]], "arrayminus": [row[y] - low]}
        fig.add_scatter(
            x=[row[x]],
            y=[row[y]],
            error_y=bars,
            mode="markers+text",
            name=shown,
            text=[shown],
            # Beside the point, clear of its error bar and of the front, and towards the middle: no name is cut off.
            textposition="top right" if _left_half(row[x], costs) else "top left",
            marker={"size": 14, "color": model_color(model), "symbol": model_marker(model)},
            hovertemplate=f"{shown}<br>{x_title or x} %{{x:,}}<br>{y} %{{y:.1%}}<extra></extra>",
        )
    if costs and min(costs) > 0 and max(costs) > 4 * min(costs):
        span = np.log10([min(costs), max(costs)])
        ticks = [m * 10.0**e for e in range(int(span[0]) - 1, int(span[1]) + 2) for m in (1, 2, 5)]
        fig.update_xaxes(type="log", range=[span[0] - 0.15, span[1] + 0.15], tickvals=ticks, tickformat="~s")
    fig.update_xaxes(title_text=x_title or x.replace("_", " "))
    fig.update_yaxes(title_text=y.replace("_", " "), tickformat=".0%")
    fig.update_layout(showlegend=False)
    return dress(fig, title, height)


def interval_dots(
    rows: Sequence[Mapping[str, Any]],
    x: str = "accuracy",
    title: str = "",
    height: int | None = None,
    reference: tuple[str, float] | None = None,
    share: bool = True,
) -> Figure:
    """One line per row: a dot at the score, a bar over its interval; the first row on top.

    Args:
        rows: Records with `model`, `title`, `value`, `low` and `high` (the last two may be absent).
        x: Title of the horizontal axis, with the unit.
        reference: (name, value) of a dotted vertical line to compare with.
        share: Values are shares, written in per cent.
    """
    import plotly.graph_objects as go

    fig = go.Figure()
    form = ".1%" if share else ".3g"
    for row in rows:
        low, high = row.get("low"), row.get("high")
        bars = None
        if low is not None and high is not None:
            bars = {
                "type": "data", "symmetric": False, "array": [high - row["value"]],
                "arrayminus": [row["value"] - low], "thickness": 2, "width": 5,
            }  # fmt: skip
        fig.add_scatter(
            x=[row["value"]],
            y=[row["title"]],
            error_x=bars,
            mode="markers",
            name=row["title"],
            marker={"size": 11, "color": model_color(row["model"]), "symbol": model_marker(row["model"])},
            customdata=[[low, high]],
            hovertemplate=f"%{{y}}<br>%{{x:{form}}}"
            + (f" (%{{customdata[0]:{form}}} to %{{customdata[1]:{form}}})" if bars else "")
            + "<extra></extra>",
        )
    if reference:
        fig.add_vline(
            reference[1], line={"color": INK, "width": 1, "dash": "dot"},
            annotation={"text": reference[0], "font": {"size": 12, "color": INK}},
        )  # fmt: skip
    fig.update_xaxes(title_text=x, tickformat=".0%" if share else None)
    fig.update_yaxes(autorange="reversed", showgrid=False)
    fig.update_layout(showlegend=False)
    return dress(fig, title, height or 90 + 34 * len(rows))


def _left_half(value: float, values: Sequence[float]) -> bool:
    return float(value) ** 2 <= max(values) * min(values) if min(values) > 0 else value <= max(values) / 2
