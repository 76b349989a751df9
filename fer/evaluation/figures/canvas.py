"""The look of every static picture, and how it is written. Nothing global is touched: no pyplot, no backend switch.

Colours are Okabe and Ito's or a single hue from light to dark, so that they hold for colour-blind readers and in print.
The colours of models are the caller's; every model has a marker of its own besides.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from fer.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, RULE = "#22262B", "#69717B", "#DDE1E6"
BLUE, SKY, ORANGE, VERMILION = "#0072B2", "#56B4E9", "#E69F00", "#D55E00"
MARKERS = ("o", "s", "D", "P", "^", "*", "X", "v", "p", "<", "h", ">")
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


def look(name: str, position: int, colors: Mapping[str, str] | None) -> tuple[str, str]:
    """Colour and marker of a model: the caller's colour, or the one blue of all that have none."""
    return (colors or {}).get(name, BLUE), MARKERS[position % len(MARKERS)]


def line_style(name: str) -> str:
    """Line style of a model: broken for a variant ("attention_cnn@no_attention"), which has its model's colour."""
    return "--" if "@" in name else "-"


def blank(size: tuple[float, float], head_inches: float = 0.62) -> Figure:
    """An empty figure that keeps room for the headline."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    room = (0.01, 0.01, 0.98, 0.98 - head_inches / size[1])
    return Figure(figsize=size, facecolor="white", layout=ConstrainedLayoutEngine(rect=room, wspace=0.06, hspace=0.06))


def titled(size: tuple[float, float], title: str, caption: str) -> tuple[Figure, Axes]:
    """A figure with one pane, a headline and a caption."""
    figure = blank(size)
    headline(figure, title, caption)
    return figure, figure.subplots()


def headline(figure: Figure, title: str, caption: str) -> None:
    """Title and, below it, what is drawn: one line, or more where `blank` left room for them."""
    inch = 1 / figure.get_figheight()
    figure.text(0.02, 1 - 0.12 * inch, title, fontsize=14, fontweight="bold", color=INK, va="top")
    figure.text(0.02, 1 - 0.42 * inch, caption, fontsize=9, color=SOFT, va="top")


def subtitle(axes: Axes, text: str) -> None:
    """The small bold line above a pane."""
    axes.set_title(text, loc="left", fontsize=10, color=INK, fontweight="bold")


def legend_columns(titles: Sequence[str], width_inches: float) -> int:
    """How many columns of a legend with these titles fit below a figure."""
    entry_inches = 0.6 + 0.075 * max(map(len, titles))
    return max(1, min(len(titles), int(width_inches / entry_inches)))


def legend_inches(titles: Sequence[str], width_inches: float) -> float:
    """Height of that legend."""
    return 0.1 + 0.2 * -(-len(titles) // legend_columns(titles, width_inches))


def legend_below(figure: Figure, axes: Axes) -> None:
    """One legend below all panes, of what is drawn in `axes`."""
    handles, titles = axes.get_legend_handles_labels()
    columns = legend_columns(titles, figure.get_figwidth())
    figure.legend(handles, titles, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def matrix(axes: Axes, share: np.ndarray, names: Sequence[str], colormap: str, top: float) -> None:
    """A square of shares, rows true, columns predicted, coloured from 0 to `top`."""
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


def grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Quiet rules across one axis, a line only along the other."""
    axes.grid(axis=axis, color=RULE, linewidth=0.8, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=INK, labelsize=9)
    for name, side in axes.spines.items():
        side.set_visible(name == ("bottom" if axis == "y" else "left"))
        side.set_color(SOFT)
