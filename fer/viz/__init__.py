"""Figures (Plotly) and heat-map overlays, shared by the demo, the lab and the scripts.

`style` holds the look, `heat` the overlays, every other file one family of figures. Plotly is imported on first use.
"""

from fer.viz.bars import count_bars, per_class_bars, probability_bars, share_stack
from fer.viz.grids import agreement_figure, confusion_figure, difference_figure, map_grid, row_shares
from fer.viz.heat import colorize, heatmap_rgba, overlay_heatmap
from fer.viz.lines import history_figure, line_figure, reliability_figure
from fer.viz.points import comparison_scatter, interval_dots
from fer.viz.style import FONT, GRID, INK, MARKERS, MODEL_COLORS, SPARE_COLORS, model_color, model_order

__all__ = [
    "FONT",
    "GRID",
    "INK",
    "MARKERS",
    "MODEL_COLORS",
    "SPARE_COLORS",
    "agreement_figure",
    "colorize",
    "comparison_scatter",
    "confusion_figure",
    "count_bars",
    "difference_figure",
    "heatmap_rgba",
    "history_figure",
    "interval_dots",
    "line_figure",
    "map_grid",
    "model_color",
    "model_order",
    "overlay_heatmap",
    "per_class_bars",
    "probability_bars",
    "reliability_figure",
    "row_shares",
    "share_stack",
]
