"""A chart as the lab shows it: Plotly, described for screen readers, with its numbers to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

FONT = "'Source Sans', 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Noto Color Emoji', sans-serif"


def show(figure: Figure, data: pd.DataFrame, name: str, alt: str) -> None:
    """Draw a figure with a button for its data.

    Args:
        figure: What to draw; its background stays transparent, so it reads in both themes.
        data: The numbers in the figure, one row per bar, cell or point.
        name: File name without suffix, also the key of the widgets: once per page.
        alt: One sentence on what the chart shows.
    """
    # Streamlit's own font and ink, which follow the theme; a named emoji font, or some systems draw outlines only.
    figure.update_layout(font={"family": FONT, "color": None}, hoverlabel_font_family=FONT)
    figure.update_layout(legend={"y": 1.0, "yanchor": "bottom", "x": 0, "font_color": None})
    figure.update_annotations(font_color=None)
    st.plotly_chart(
        figure,
        key=name,
        alt=alt,
        config={"displaylogo": False, "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2}},
    )
    download(data, name)


def download(data: pd.DataFrame, name: str, label: str = "Data (CSV)") -> None:
    """A quiet button that saves a table as CSV."""
    st.download_button(
        label,
        data.to_csv(index=False).encode(),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=f"{name}_csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )
