"""Charts and tables as the lab shows them: described for screen readers, with their numbers to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from plotly.graph_objects import Figure

FONT = "'Source Sans', 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Noto Color Emoji', sans-serif"
LEGEND_LINE_PX = 14
MARKS_PX = 96


def theme() -> str:
    """ "dark" or "light": the ground of the page, for figures whose cells start from it."""
    return "dark" if st.context.theme.type == "dark" else "light"


def show(figure: Figure, data: pd.DataFrame | Callable[[], pd.DataFrame], name: str, alt: str) -> None:
    """Draw a figure with a button for its data; the camera in its corner saves the picture.

    Args:
        figure: What to draw; its background stays transparent, so it reads in both themes.
        data: The numbers in the figure, one row per bar, cell or point; where there are many, what makes them.
        name: File name without suffix, also the key of the widgets: once per page.
        alt: One sentence on what the chart shows.
    """
    # Streamlit's own font and ink, which follow the theme; a named emoji font, or some systems draw outlines only.
    figure.update_layout(font={"family": FONT, "color": None}, hoverlabel_font_family=FONT)
    figure.update_layout(legend={"y": 1.0, "yanchor": "bottom", "x": 0, "font_color": None})
    figure.update_annotations(font_color=None)
    listed = [t for t in figure.data if t.name and t.type != "heatmap" and t.showlegend is not False]
    entries = 0 if figure.layout.showlegend is False else len(listed)
    # A long legend breaks into lines above the drawing: it gets room of its own.
    figure.update_layout(height=figure.layout.height + LEGEND_LINE_PX * max(0, entries - 3))
    st.plotly_chart(
        figure,
        key=name,
        alt=alt,
        config={"displaylogo": False, "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2}},
    )
    download(data, name)


def table(data: pd.DataFrame, name: str, alt: str, config: dict[str, Any] | None = None) -> None:
    """Draw a sortable table with a button for its data.

    Columns whose name ends in (%) or (points) get one decimal; the first column stays in sight.

    Args:
        data: What to show.
        name: File name without suffix, once per page.
        alt: One sentence on what the table shows.
        config: Column settings beyond that.
    """
    number = st.column_config.NumberColumn
    settings: dict[str, Any] = {c: number(format="%.1f") for c in data.columns if str(c).endswith("(%)")}
    settings |= {c: number(format="%+.1f") for c in data.columns if str(c).endswith("(points)")}
    settings["marks"] = st.column_config.TextColumn(
        width=MARKS_PX,
        help="Help that a model had (a teacher, other data, other labels), or weights that are not in this project. "
        "A click shows all of it.",
    )
    settings[data.columns[0]] = st.column_config.TextColumn(pinned=True)
    st.dataframe(data, hide_index=True, column_config=settings | (config or {}), alt=alt)
    download(data, name, "Table (CSV)")


def download(data: pd.DataFrame | Callable[[], pd.DataFrame], name: str, label: str = "Data (CSV)") -> None:
    """A quiet button that saves a table as CSV; the text is only made once somebody asks for it."""
    st.download_button(
        label,
        lambda: (data() if callable(data) else data).to_csv(index=False).encode(),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=f"{name}_csv",
        icon=":material/download:",
        type="tertiary",
        on_click="ignore",
    )
