"""Grids of coloured cells: confusion matrices, their difference, agreement between models, average heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fer.errors import ConfigError
from fer.viz.heat import PLASMA
from fer.viz.style import INK, dress

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# From the ground of the page to a blue on which the same ink still reads, so empty cells recede; and the ink.
_BLUES = {
    "light": ([[0, "#F3F6F9"], [1, "#58A6E8"]], "#13202C"),
    "dark": ([[0, "#1C232B"], [1, "#2774B8"]], "#F2F6FA"),
}
# Orange for less, blue for more: told apart with the common forms of colour blindness.
_DIVERGING = {
    "light": ([[0, "#F0A04B"], [0.5, "#F3F6F9"], [1, "#58A6E8"]], "#13202C"),
    "dark": ([[0, "#A8580B"], [0.5, "#1C232B"], [1, "#2774B8"]], "#F2F6FA"),
}


def row_shares(matrix: np.ndarray) -> np.ndarray:
    """Share of each true class (row) that went to each predicted one.

    Args:
        matrix: (C, C) counts.

    Returns:
        (C, C) float64; zeros for a class without faces.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)


def confusion_figure(
    matrix: np.ndarray,
    names: Sequence[str],
    title: str = "",
    normalise: bool = True,
    height: int = 460,
    diagonal: bool = True,
    theme: str = "light",
) -> Figure:
    """A confusion matrix: rows are the true classes, columns the predicted ones.

    Args:
        matrix: (C, C) counts, `matrix[true, predicted]`.
        names: C class names.
        normalise: Colour and print each row's shares in per cent (recall on the diagonal) instead of counts.
        diagonal: False leaves the right answers out, so that the mistakes fill the scale.
        theme: "light" or "dark", the ground of the page.

    Raises:
        ConfigError: a matrix that does not fit the names.
    """
    counts = _square(matrix, names)
    shares = row_shares(counts)
    cells = (shares if normalise else counts).copy()
    if not diagonal:
        np.fill_diagonal(cells, np.nan)
    top = np.nanmax(cells, initial=0) if not (normalise and diagonal) else 1
    fig = _cells(
        cells,
        names,
        [[_cell(v, normalise) for v in row] for row in cells],
        _BLUES[theme],
        (0, top or 1),
        np.dstack([counts, shares]),
        "true %{y}<br>predicted %{x}<br>%{customdata[0]:.0f} faces, %{customdata[1]:.1%}<extra></extra>",
    )
    return _true_predicted(fig, title, height)


def difference_figure(
    a: np.ndarray, b: np.ndarray, names: Sequence[str], title: str = "", height: int = 460, theme: str = "light"
) -> Figure:
    """Row shares of one confusion matrix minus those of another, in percentage points.

    Args:
        a, b: (C, C) counts, `matrix[true, predicted]`.
        names: C class names.
        theme: "light" or "dark", the ground of the page.

    Raises:
        ConfigError: a matrix that does not fit the names.
    """
    a, b = _square(a, names), _square(b, names)
    points = 100 * (row_shares(a) - row_shares(b))
    top = max(float(np.abs(points).max(initial=0)), 1.0)
    text = [[f"{v:+.0f}" if abs(v) >= 0.5 else "" for v in row] for row in points]
    fig = _cells(
        points,
        names,
        text,
        _DIVERGING[theme],
        (-top, top),
        np.dstack([a, b]),
        "true %{y}<br>predicted %{x}<br>%{z:+.1f} points (%{customdata[0]:.0f} and %{customdata[1]:.0f} faces)"
        "<extra></extra>",
    )
    return _true_predicted(fig, title, height)


def agreement_figure(
    matrix: np.ndarray, titles: Sequence[str], title: str = "", height: int = 380, theme: str = "light"
) -> Figure:
    """Share of faces on which two models give the same answer, for every pair.

    Args:
        matrix: (M, M) shares in 0..1.
        titles: M names of models.
        theme: "light" or "dark", the ground of the page.
    """
    shares = _square(matrix, titles)
    off = shares[~np.eye(len(shares), dtype=bool)]
    fig = _cells(
        shares,
        titles,
        [[f"{100 * v:.0f}" for v in row] for row in shares],
        _BLUES[theme],
        (max(0.0, float(off.min(initial=1)) - 0.1), 1),
        None,
        "%{y}<br>%{x}<br>the same answer for %{z:.1%} of the faces<extra></extra>",
    )
    return _cell_axes(dress(fig, title, height))


def map_grid(rows: Mapping[str, np.ndarray], names: Sequence[str], title: str = "", cell_px: int = 104) -> Figure:
    """Average heat maps: one row of pictures per entry, one column per class.

    Args:
        rows: {title of the row: (C, H, W) heat, uint8 0..255 or float 0..1}; a map that is zero everywhere (a class
            without faces) is left out.
        names: C class names.
        cell_px: Height of one picture.

    Raises:
        ConfigError: a row with another number of maps.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    gap_px, head_px = 34, 30
    n = max(len(rows), 1)
    height = head_px + n * (cell_px + gap_px)
    fig = make_subplots(
        rows=n,
        cols=len(names),
        horizontal_spacing=0.008,
        vertical_spacing=min(gap_px / max(height - head_px, 1), 1 / n),
        column_titles=list(names),
    )
    scale = [[i / (len(PLASMA) - 1), f"rgb({r:.0f},{g:.0f},{b:.0f})"] for i, (r, g, b) in enumerate(PLASMA)]
    for place, (text, maps) in enumerate(rows.items(), start=1):
        maps = np.asarray(maps)
        if maps.ndim != 3 or len(maps) != len(names):
            raise ConfigError(f"{text}: expected {len(names)} maps (C, H, W), got {maps.shape}")
        heat = maps if maps.dtype == np.uint8 else np.rint(np.clip(maps, 0, 1) * 255).astype(np.uint8)
        for column, (name, one) in enumerate(zip(names, heat, strict=True), start=1):
            if one.any():
                fig.add_trace(
                    go.Heatmap(
                        z=one,
                        zmin=0,
                        zmax=255,
                        colorscale=scale,
                        showscale=False,
                        name=name,
                        hovertemplate=f"{text}<br>{name}<br>heat %{{z}} of 255<extra></extra>",
                    ),
                    row=place,
                    col=column,
                )
        fig.add_annotation(
            text=f"<b>{text}</b>", xref="paper", x=0, xanchor="left", showarrow=False, yref="paper", yanchor="bottom",
            y=fig.get_subplot(place, 1).yaxis.domain[1],
        )  # fmt: skip
    fig.update_xaxes(visible=False, constrain="domain")
    fig.update_yaxes(visible=False, autorange="reversed", constrain="domain", constraintoward="top")
    for i in range(1, n * len(names) + 1):
        number = "" if i == 1 else str(i)
        fig.update_layout({f"yaxis{number}": {"scaleanchor": f"x{number}"}})
    fig.update_annotations(font={"color": INK, "size": 12})
    fig.for_each_annotation(lambda a: a.update(yshift=18, font={"size": 11}) if a.text in names else None)
    return dress(fig, title, height).update_layout(margin={"l": 0, "r": 0, "t": 44, "b": 0})


def _square(matrix: np.ndarray, names: Sequence[str]) -> np.ndarray:
    values = np.asarray(matrix, dtype=np.float64)
    if values.shape != (len(names), len(names)):
        raise ConfigError(f"expected a matrix of shape ({len(names)}, {len(names)}), got {values.shape}")
    return values


def _cell(value: float, normalise: bool) -> str:
    shown = 100 * value if normalise else value
    return f"{shown:.0f}" if shown >= 0.5 else ""


def _cells(
    values: np.ndarray,
    names: Sequence[str],
    text: list[list[str]],
    look: tuple[list[list[object]], str],
    limits: tuple[float, float],
    customdata: np.ndarray | None,
    hover: str,
) -> Figure:
    """Cells with their numbers; axes that show every name once."""
    import plotly.graph_objects as go

    scale, ink = look
    fig = go.Figure(
        go.Heatmap(
            z=values,
            x=list(names),
            y=list(names),
            text=text,
            texttemplate="%{text}",
            textfont={"size": 11, "color": ink},
            customdata=customdata,
            hovertemplate=hover,
            hoverongaps=False,
            colorscale=scale,
            zmin=limits[0],
            zmax=limits[1],
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": list(names), "ticks": ""}
    fig.update_xaxes(**ticks)
    fig.update_yaxes(**ticks)
    return fig


def _true_predicted(fig: Figure, title: str, height: int) -> Figure:
    fig = _cell_axes(dress(fig, title, height))
    fig.update_xaxes(title={"text": "predicted", "standoff": 4})
    fig.update_yaxes(title={"text": "true", "standoff": 4})
    return fig


def _cell_axes(fig: Figure) -> Figure:
    """Square cells, the first row on top."""
    fig.update_xaxes(side="bottom", tickangle=-45, constrain="domain", showgrid=False)
    fig.update_yaxes(autorange="reversed", scaleanchor="x", constrain="domain", constraintoward="top", showgrid=False)
    return fig.update_layout(margin={"l": 0, "r": 0, "t": fig.layout.margin.t if fig.layout.title.text else 8, "b": 0})
