"""What all figures share: one colour, marker and dash per model, one ink, one look.

A name with an "@" is a variant of the model before it ("attention_cnn@no_attention", "vit_tiny@fer2013"). It has the
colour of that model, an open marker and another dash.

Every figure has a transparent ground and mid-tone ink, so that it reads in a light and in a dark theme. Colours come
from Okabe and Ito (2008), lightened or darkened until they hold on both grounds; models keep one order, one marker and
one dash everywhere, so no figure depends on colour alone. Plotly is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fer.labels import EMOJI, canonical

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
    "tiny_cnn": "#E573A8",
    "hog_svm": "#7F8893",
}
SPARE_COLORS = ("#5E8C31", "#B05CC6", "#3D7A8C", "#C2933C", "#6678B0", "#A8506B")
MARKERS = (
    "circle",
    "square",
    "diamond",
    "cross",
    "triangle-up",
    "star",
    "x",
    "pentagon",
    "hexagon",
    "triangle-down",
    "hexagram",
    "hourglass",
)
DASHES = ("solid", "dash", "dashdot", "dot", "longdash", "longdashdot")
INK = "#7A828C"
GRID = "rgba(127, 135, 145, 0.25)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"


def model_order(names: Iterable[str]) -> list[str]:
    """Names without repeats, in the order of every table: the spine's models first, the rest by name.

    >>> model_order(["zeta", "vit_tiny", "baseline_cnn", "alpha"])
    ['baseline_cnn', 'vit_tiny', 'alpha', 'zeta']
    """
    known = list(MODEL_COLORS)
    return sorted(set(names), key=lambda n: (known.index(n) if n in known else len(known), n))


def model_color(name: str) -> str:
    """Hex colour of a model and its variants; one outside `MODEL_COLORS` gets a spare one that depends on its name."""
    return MODEL_COLORS.get(_model(name)) or SPARE_COLORS[_number(name) % len(SPARE_COLORS)]


def model_marker(name: str) -> str:
    """Plotly's name of a model's marker, open for a variant: the same in every figure."""
    return MARKERS[_number(name) % len(MARKERS)] + ("-open" if variant(name) else "")


def model_dash(name: str) -> str:
    """Plotly's name of a model's line style: the same in every figure."""
    return DASHES[(_number(name) + variant(name)) % len(DASHES)]


def variant(name: str) -> int:
    """0 for a model, 1 to 5 for a variant of it; depends on what follows the "@" only.

    >>> variant("vit_tiny"), variant("vit_tiny@fer2013"), variant("attention_cnn@no_attention")
    (0, 1, 4)
    """
    suffix = name.partition("@")[2]
    return 1 + sum(suffix.encode()) % (len(DASHES) - 1) if suffix else 0


def _model(name: str) -> str:
    return name.partition("@")[0]


def _number(name: str) -> int:
    known, model = list(MODEL_COLORS), _model(name)
    return known.index(model) if model in known else sum(model.encode())


def shown(name: str, titles: Mapping[str, str] | None) -> str:
    """A model's name for people; its own where `titles` has none."""
    return (titles or {}).get(name, name)


def with_emoji(name: str) -> str:
    """A class name behind its emoji; a name without one as it is."""
    return f"{EMOJI.get(canonical(name), '')} {name}".strip()


def dress(fig: Figure, title: str, height: int) -> Figure:
    """Give a figure the look that all figures share; returns it."""
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
