"""Lines: training curves, and any quantity of several models over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.viz.style import INK, dress, model_color, model_dash, model_marker, model_order, shown

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

MOST_POINTS = 240

MOST_MARKERS = 8  # on one training curve


def history_figure(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    metrics: Sequence[str] = ("accuracy", "loss"),
    title: str = "",
    height: int = 420,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Training curves: one panel per metric, validation drawn solid with markers, training dotted.

    The training loss of a net is what was minimised, whatever its recipe adds; the validation loss is one against the
    labels alone. Say so beside the figure: the two do not compare, nor do the training losses of two models.

    Args:
        histories: {model: one record per epoch}, records as in history.jsonl (epoch, train_loss, val_accuracy, ...).
        metrics: Names without the `train_` / `val_` prefix.
        titles: {model: name for people}; a model without one is shown by its name.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    fig = make_subplots(rows=1, cols=len(metrics), subplot_titles=list(metrics), horizontal_spacing=0.09)
    for model in model_order(histories):
        records = histories[model]
        for column, metric in enumerate(metrics, start=1):
            for part, dash, width in (("val", "solid", 2.5), ("train", "dot", 1.5)):
                points = [(r["epoch"], r[f"{part}_{metric}"]) for r in records if r.get(f"{part}_{metric}") is not None]
                if not points:
                    continue
                fig.add_trace(
                    go.Scatter(
                        x=[p[0] for p in points],
                        y=[p[1] for p in points],
                        # dashes say what is training: a few markers tell models apart that look alike in colour
                        mode="lines+markers" if len(points) == 1 or part == "val" else "lines",
                        name=f"{shown(model, titles)} ({'validation' if part == 'val' else 'training'})",
                        legendgroup=f"{model} {part}",
                        showlegend=column == 1,
                        line={"color": model_color(model), "dash": dash, "width": width},
                        marker={"symbol": model_marker(model), "size": 7, "maxdisplayed": MOST_MARKERS},
                        hovertemplate="epoch %{x}: %{y:.3f}",
                    ),
                    row=1,
                    col=column,
                )
            if "accuracy" in metric:
                fig.update_yaxes(tickformat=".0%", row=1, col=column)
    fig.update_xaxes(title_text="epoch")
    fig.update_annotations(font={"color": INK, "size": 14})
    return dress(fig, title, height)


def line_figure(
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x: str,
    y: str,
    title: str = "",
    height: int = 380,
    titles: Mapping[str, str] | None = None,
    share_x: bool = True,
    share_y: bool = True,
    reference: tuple[str, Sequence[float], Sequence[float]] | None = None,
    markers: bool = False,
) -> Figure:
    """One line per model, each with its colour and dash.

    Args:
        lines: {model: (x values, y values)}; values that are no numbers leave a gap.
        x, y: Titles of the axes, with the unit.
        titles: {model: name for people}.
        share_x, share_y: The axis holds shares: 0 to 1, written in per cent.
        reference: (name, x values, y values) of a thin grey line to compare with.
        markers: Draw the points too.
    """
    import plotly.graph_objects as go

    fig = go.Figure()
    if reference:
        name, at, values = reference
        fig.add_scatter(
            x=list(at), y=list(values), mode="lines", name=name, line={"color": INK, "width": 1, "dash": "dot"},
            hoverinfo="skip",
        )  # fmt: skip
    hover = f"%{{x{':.1%' if share_x else ''}}}, %{{y{':.1%' if share_y else ':.4g'}}}"
    for model in model_order(lines):
        xs, ys = (np.asarray(v, dtype=np.float64) for v in lines[model])
        keep = thin(xs, ys)
        fig.add_scatter(
            x=xs[keep],
            y=ys[keep],
            mode="lines+markers" if markers or len(keep) == 1 else "lines",
            name=shown(model, titles),
            line={"color": model_color(model), "dash": model_dash(model), "width": 2},
            marker={"symbol": model_marker(model), "size": 7},
            hovertemplate=f"{shown(model, titles)}<br>{hover}<extra></extra>",
        )
    fig.update_xaxes(title_text=x, **_share_axis(share_x))
    fig.update_yaxes(title_text=y, **_share_axis(share_y))
    return dress(fig, title, height)


def thin(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Positions of at most `most` points that keep a curve's shape: evenly spaced along its length, both ends kept.

    Args:
        x, y: (N,) numbers.

    Returns:
        (<= most,) int64, increasing.
    """
    if len(x) <= most:
        return np.arange(len(x))
    steps = np.abs(np.diff(x)) / (np.ptp(x) or 1) + np.abs(np.diff(y)) / (np.ptp(y) or 1)
    length = np.concatenate([[0], np.cumsum(np.nan_to_num(steps))])
    at = np.searchsorted(length, np.linspace(0, length[-1], most - 1))
    return np.unique(np.append(at, len(x) - 1).clip(0, len(x) - 1))


def reliability_figure(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    title: str = "",
    height: int = 440,
    titles: Mapping[str, str] | None = None,
    fewest: int = 1,
) -> Figure:
    """Accuracy against confidence, bin by bin, and below it the share of all faces that each bin holds.

    Args:
        curves: {model: (mean confidence, accuracy, number of faces)} per bin; an empty bin holds NaN and 0.
        titles: {model: name for people}.
        fewest: Bins with fewer faces are not drawn; their faces count in the shares all the same.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[0.74, 0.26], vertical_spacing=0.05)
    fig.add_trace(
        go.Scatter(
            x=[0, 1], y=[0, 1], mode="lines", name="as sure as right", hoverinfo="skip",
            line={"color": INK, "width": 1, "dash": "dot"},
        ),
        row=1, col=1,
    )  # fmt: skip
    for model in model_order(curves):
        confidence, accuracy, counts = (np.asarray(v, dtype=np.float64) for v in curves[model])
        keep, total = counts >= max(fewest, 1), max(counts.sum(), 1)
        look = {"color": model_color(model), "dash": model_dash(model), "width": 2}
        fig.add_trace(
            go.Scatter(
                x=confidence[keep],
                y=accuracy[keep],
                customdata=counts[keep],
                mode="lines+markers",
                name=shown(model, titles),
                legendgroup=model,
                line=look,
                marker={"symbol": model_marker(model), "size": 7},
                hovertemplate=f"{shown(model, titles)}<br>sure %{{x:.1%}}, right %{{y:.1%}}<br>"
                "%{customdata:.0f} faces<extra></extra>",
            ),
            row=1,
            col=1,
        )
        fig.add_trace(
            go.Scatter(
                x=confidence[keep],
                y=counts[keep] / total,
                mode="lines",
                legendgroup=model,
                showlegend=False,
                line=look | {"width": 1.5},
                hovertemplate=f"{shown(model, titles)}<br>%{{y:.1%}} of the faces<extra></extra>",
            ),
            row=2,
            col=1,
        )
    fig.update_xaxes(range=[0, 1.02], tickformat=".0%")
    fig.update_xaxes(title_text="confidence (probability of the answer)", row=2, col=1)
    fig.update_yaxes(title_text="right answers", range=[0, 1.02], tickformat=".0%", row=1, col=1)
    fig.update_yaxes(title_text="faces", rangemode="tozero", tickformat=".0%", nticks=3, row=2, col=1)
    return dress(fig, title, height)


def _share_axis(share: bool) -> dict[str, Any]:
    return {"range": [-0.01, 1.01], "tickformat": ".0%"} if share else {}
