"""What gets mistaken for what, model by model."""

import numpy as np
import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from fer import viz
from fer.evaluation import ModelResult
from fer.labels import EMOJI
from streamlit_app import charts
from streamlit_app.selection import Selection, choose

PER_ROW = 3
WORST = 5
# Scale and ink: from the ground of the page to a blue on which the same ink still reads, so empty cells recede.
LIGHT = ([[0, "#F3F6F9"], [1, "#58A6E8"]], "#13202C")
DARK = ([[0, "#1C232B"], [1, "#2774B8"]], "#F2F6FA")
SHARE = "share of the true expression (%)"


def main() -> None:
    """Render the page."""
    st.title("What gets mistaken for what")
    chosen = choose()
    shares = (
        st.segmented_control(
            "Cells show",
            [SHARE, "number of faces"],
            default=SHARE,
            required=True,
            key="cells",
        )
        == SHARE
    )
    st.caption(
        f"{chosen.data} · {chosen.title} · {chosen.n:,} faces. Rows are the labels of the data set, columns what the "
        "model said; the diagonal is right."
    )
    for start in range(0, len(chosen.results), PER_ROW):
        part = chosen.results[start : start + PER_ROW]
        for result, column in zip(part, st.columns(min(PER_ROW, len(chosen.results)), gap="medium"), strict=False):
            with column:
                _matrix(result, chosen, shares)


def _matrix(result: ModelResult, chosen: Selection, shares: bool) -> None:
    names = result.class_names
    matrix = np.array(result.scores(chosen.split)["confusion"])
    st.subheader(result.title)
    frame = pd.DataFrame(matrix, columns=[f"predicted {n}" for n in names])
    frame.insert(0, "true", names)
    charts.show(
        _figure(matrix, names, shares),
        frame,
        f"{chosen.data}_{chosen.split}_{result.name}_confusion",
        f"Confusion matrix of {result.title} on {chosen.title}: true expressions down, predictions across.",
    )
    rates = _rates(matrix)
    np.fill_diagonal(rates, 0)
    worst = [np.unravel_index(i, rates.shape) for i in np.argsort(-rates, axis=None, kind="stable")[:WORST]]
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "most frequent mistakes": f"{EMOJI[names[t]]} {names[t]} → {EMOJI[names[p]]} {names[p]}",
                    "share (%)": 100 * rates[t, p],
                    "faces": int(matrix[t, p]),
                }
                for t, p in worst
                if rates[t, p] > 0
            ],
            columns=["most frequent mistakes", "share (%)", "faces"],
        ),
        hide_index=True,
        column_config={"share (%)": st.column_config.NumberColumn(format="%.1f", help="Of the true expression.")},
    )


def _figure(matrix: np.ndarray, names: tuple[str, ...], shares: bool) -> Figure:
    """The shared figure, made to fit a third of a page: bare numbers, names without emoji, no empty zeros."""
    figure = viz.confusion_figure(matrix, names, normalise=shares, height=340)
    shown = 100 * _rates(matrix) if shares else matrix
    text = [[f"{v:.0f}" if v >= 0.5 else "" for v in line] for line in shown]
    scale, ink = DARK if st.context.theme.type == "dark" else LIGHT
    figure.update_traces(text=text, texttemplate="%{text}", textfont={"size": 11, "color": ink}, colorscale=scale)
    ticks = {"tickmode": "array", "tickvals": list(range(len(names))), "ticktext": list(names), "ticks": ""}
    figure.update_xaxes(**ticks, title_text="")
    figure.update_yaxes(**ticks, title_text="", constraintoward="top")
    figure.update_layout(margin={"l": 0, "r": 0, "t": 8, "b": 0})
    return figure


def _rates(matrix: np.ndarray) -> np.ndarray:
    """Share of each true class (rows) that went to each predicted one; zeros for a class without faces."""
    totals = matrix.sum(axis=1, keepdims=True)
    return np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)


main()
