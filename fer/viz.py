"""Figures (Plotly) and heat-map overlays, shared by the demo, the lab and the scripts.

Every figure has a transparent ground and mid-tone ink, so that it reads in a light and in a dark theme. Colours come
from Okabe and Ito (2008), lightened or darkened until they hold on both grounds; models keep one order everywhere,
so no figure depends on colour alone. Plotly is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import ConfigError, ImageError
from fer.labels import COLORS, EMOJI, LabelSet, canonical

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

# Order of every table and legend; other models follow in alphabetical order.
MODEL_COLORS: dict[str, str] = {
    "baseline_cnn": "#E08A00",
    "attention_cnn": "#2C86C9",
    "vit_tiny": "#0FA37F",
    "baseline_cnn4": "#C8699F",
    "cbam_cnn4": "#8C7BD8",
    "custom_cnn": "#B0A315",
    "resnet18_transfer": "#D1601F",
    "resnet34_attention": "#3D9CCB",
    "emotionnet": "#9C6B4A",
    "vgg8": "#D4474F",
    "hog_svm": "#7F8893",
}
SPARE_COLORS = ("#5E8C31", "#B05CC6", "#3D7A8C", "#C2933C", "#6678B0", "#A8506B")
MARKERS = ("circle", "square", "diamond", "cross", "triangle-up", "star", "x", "pentagon", "hexagon")
INK = "#7A828C"
GRID = "rgba(127, 135, 145, 0.25)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"

# Eight stops of matplotlib's "plasma" (Smith and van der Walt): lightness rises evenly with the value.
_PLASMA = np.array(
    [
        [13, 8, 135],
        [83, 2, 163],
        [139, 10, 165],
        [184, 50, 137],
        [219, 92, 104],
        [244, 136, 73],
        [254, 189, 42],
        [240, 249, 33],
    ],
    dtype=np.float32,
)


# --- models -----------------------------------------------------------------------------------------------------------


def model_order(names: Iterable[str]) -> list[str]:
    """Names without repeats, in the order of every table: the spine's models first, the rest by name.

    >>> model_order(["zeta", "vit_tiny", "baseline_cnn", "alpha"])
    ['baseline_cnn', 'vit_tiny', 'alpha', 'zeta']
    """
    known = list(MODEL_COLORS)
    return sorted(set(names), key=lambda n: (known.index(n) if n in known else len(known), n))


def model_color(name: str) -> str:
    """Hex colour of a model; a model outside `MODEL_COLORS` gets a fixed spare one that depends on its name only."""
    return MODEL_COLORS.get(name) or SPARE_COLORS[sum(name.encode()) % len(SPARE_COLORS)]


# --- heat maps --------------------------------------------------------------------------------------------------------


def colorize(heatmap: np.ndarray) -> np.ndarray:
    """Colours of a heat map.

    Args:
        heatmap: (H, W) numbers in [0, 1]; others are clipped.

    Returns:
        uint8 (H, W, 3), dark blue at 0, yellow at 1.
    """
    where = np.clip(np.asarray(heatmap, dtype=np.float32), 0, 1) * (len(_PLASMA) - 1)
    stops = np.arange(len(_PLASMA))
    channels = [np.interp(where, stops, _PLASMA[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def heatmap_rgba(heatmap: np.ndarray) -> np.ndarray:
    """A heat map as a picture to lay over a face: the hotter, the more opaque.

    Args:
        heatmap: (H, W) numbers in [0, 1].

    Returns:
        uint8 (H, W, 4); alpha = 255 * heat.
    """
    heat = _heat(heatmap)
    return np.dstack([colorize(heat), np.rint(heat * 255).astype(np.uint8)])


def overlay_heatmap(face: np.ndarray, heatmap: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Lay a heat map over a face. Cold parts stay as they were; hot ones take the colour with weight `opacity`.

    Args:
        face: uint8 (H, W) or (H, W, 3).
        heatmap: (H, W) numbers in [0, 1], the size of the face.
        opacity: 0..1, weight of the colour where the heat is 1.

    Returns:
        uint8 (H, W, 3) RGB.

    Raises:
        ImageError: the two have different sizes, or the face is no uint8 picture.
        ConfigError: opacity outside 0..1.
    """
    face = np.asarray(face)
    heat = _heat(heatmap)
    if face.dtype != np.uint8 or face.ndim not in (2, 3) or (face.ndim == 3 and face.shape[2] != 3):
        raise ImageError(f"expected a uint8 face of shape (H, W) or (H, W, 3), got {face.dtype} {face.shape}")
    if face.shape[:2] != heat.shape:
        raise ImageError(f"the heat map must have the size of the face, got {heat.shape} for {face.shape[:2]}")
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity must be 0..1, got {opacity}")
    if face.ndim == 2:
        face = np.repeat(face[..., None], 3, axis=2)
    alpha = opacity * heat[..., None]
    return np.rint((1 - alpha) * face + alpha * colorize(heat)).astype(np.uint8)


def _heat(heatmap: np.ndarray) -> np.ndarray:
    heat = np.asarray(heatmap, dtype=np.float32)
    if heat.ndim != 2:
        raise ImageError(f"expected a heat map of shape (H, W), got {heat.shape}")
    return np.clip(heat, 0, 1)


# --- figures ----------------------------------------------------------------------------------------------------------


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
            y=[f"{_emoji(n)} {n}" for n in names],
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
    return _dress(fig, title, height or 60 + 30 * len(names))


def confusion_figure(
    matrix: np.ndarray, names: Sequence[str], title: str = "", normalise: bool = True, height: int = 460
) -> Figure:
    """A confusion matrix: rows are the true classes, columns the predicted ones.

    Args:
        matrix: (C, C) counts, `matrix[true, predicted]`.
        names: C class names.
        normalise: Colour and print each row's shares (recall on the diagonal) instead of counts.
    """
    import plotly.graph_objects as go

    counts = np.asarray(matrix, dtype=np.float64)
    if counts.shape != (len(names), len(names)):
        raise ConfigError(f"expected a matrix of shape ({len(names)}, {len(names)}), got {counts.shape}")
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    shown = shares if normalise else counts
    ticks = [f"{_emoji(n)} {n}" for n in names]
    fig = go.Figure(
        go.Heatmap(
            z=shown,
            x=ticks,
            y=ticks,
            customdata=np.dstack([counts, shares]),
            texttemplate="%{z:.0%}" if normalise else "%{z:.0f}",
            hovertemplate="true %{y}<br>predicted %{x}<br>"
            "%{customdata[0]:.0f} faces, %{customdata[1]:.1%}<extra></extra>",
            colorscale="Blues",
            zmin=0,
            zmax=1 if normalise else None,
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    fig.update_xaxes(title_text="predicted", side="bottom", tickangle=-45, constrain="domain", showgrid=False)
    fig.update_yaxes(title_text="true", autorange="reversed", scaleanchor="x", constrain="domain", showgrid=False)
    return _dress(fig, title, height)


def per_class_bars(
    values: Mapping[str, Mapping[str, float]],
    metric: str = "recall",
    title: str = "",
    height: int = 400,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Grouped bars: one group per class, one bar per model.

    Args:
        values: {model: {class: value in 0..1}}; a class that a model lacks is left out of its bars.
        metric: What the values are; title of the axis.
        titles: {model: name for people}; a model without one is shown by its name.
    """
    import plotly.graph_objects as go

    classes = list(dict.fromkeys(c for per_model in values.values() for c in per_model))
    fig = go.Figure()
    for model in model_order(values):
        mine, shown = values[model], (titles or {}).get(model, model)
        fig.add_bar(
            name=shown,
            x=[f"{_emoji(c)} {c}" for c in classes],
            y=[mine.get(c) for c in classes],
            marker_color=model_color(model),
            hovertemplate=f"{shown}<br>%{{x}}: %{{y:.1%}}<extra></extra>",
        )
    fig.update_layout(barmode="group", bargap=0.25, bargroupgap=0.06)
    fig.update_yaxes(title_text=metric, range=[0, 1], tickformat=".0%")
    return _dress(fig, title, height)


def history_figure(
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    metrics: Sequence[str] = ("accuracy", "loss"),
    title: str = "",
    height: int = 420,
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Training curves: one panel per metric, validation drawn solid, training dotted.

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
                        mode="lines+markers" if len(points) == 1 else "lines",
                        name=f"{(titles or {}).get(model, model)} ({'validation' if part == 'val' else 'training'})",
                        legendgroup=f"{model} {part}",
                        showlegend=column == 1,
                        line={"color": model_color(model), "dash": dash, "width": width},
                        hovertemplate="epoch %{x}: %{y:.3f}",
                    ),
                    row=1,
                    col=column,
                )
            if "accuracy" in metric:
                fig.update_yaxes(tickformat=".0%", row=1, col=column)
    fig.update_xaxes(title_text="epoch")
    fig.update_annotations(font={"color": INK, "size": 14})
    return _dress(fig, title, height)


def comparison_scatter(
    rows: Sequence[Mapping[str, Any]],
    x: str = "parameters",
    y: str = "accuracy",
    title: str = "",
    height: int = 400,
) -> Figure:
    """One point per model: what it costs against how good it is, with the interval where the row has one.

    Args:
        rows: Records with `model`, x, y and, when known, `title` (name for people) and the bounds `{y}_low` and
            `{y}_high` of y.
        x: Field of the horizontal axis (logarithmic when the values span more than a factor of 4).
        y: Field of the vertical axis, 0..1.
    """
    import plotly.graph_objects as go

    rows = [r for r in rows if r.get(x) is not None and r.get(y) is not None]
    by_model = {str(r["model"]): r for r in rows}
    costs = [float(r[x]) for r in rows]
    fig = go.Figure()
    for place, model in enumerate(model_order(by_model)):
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
            # Beside the point, clear of its error bar, and towards the middle, so that no name is cut off.
            textposition="middle right" if _left_half(row[x], costs) else "middle left",
            marker={"size": 14, "color": model_color(model), "symbol": MARKERS[place % len(MARKERS)]},
            hovertemplate=f"{shown}<br>{x} %{{x:,}}<br>{y} %{{y:.1%}}<extra></extra>",
        )
    if costs and min(costs) > 0 and max(costs) > 4 * min(costs):
        span = np.log10([min(costs), max(costs)])
        ticks = [m * 10.0**e for e in range(int(span[0]) - 1, int(span[1]) + 2) for m in (1, 2, 5)]
        fig.update_xaxes(type="log", range=[span[0] - 0.15, span[1] + 0.15], tickvals=ticks, tickformat="~s")
    fig.update_xaxes(title_text=x.replace("_", " "))
    fig.update_yaxes(title_text=y.replace("_", " "), tickformat=".0%")
    fig.update_layout(showlegend=False)
    return _dress(fig, title, height)


def _left_half(value: float, values: Sequence[float]) -> bool:
    return float(value) ** 2 <= max(values) * min(values) if min(values) > 0 else value <= max(values) / 2


def _emoji(name: str) -> str:
    return EMOJI.get(canonical(name), "")


def _dress(fig: Figure, title: str, height: int) -> Figure:
    """The look that all figures share."""
    fig.update_layout(
        title={"text": title, "x": 0, "xanchor": "left", "font": {"size": 16}} if title else None,
        height=height,
        margin={"l": 8, "r": 16, "t": 56 if title else 32, "b": 8},
        font={"family": FONT, "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        hoverlabel={"font_family": FONT},
    )
    fig.update_xaxes(automargin=True, gridcolor=GRID, zerolinecolor=GRID)
    fig.update_yaxes(automargin=True, gridcolor=GRID, zerolinecolor=GRID)
    return fig
