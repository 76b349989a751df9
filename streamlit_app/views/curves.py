"""How the training went, epoch by epoch."""

import math
from typing import Any

import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from fer import viz
from fer.evaluation import ModelResult
from streamlit_app import charts
from streamlit_app.selection import Selection, choose, marks

DECADES = 4
ALT = {
    "accuracy": "Lines: accuracy of every model in training and validation over the epochs.",
    "loss": "Lines: what every model minimised in training, and its loss on validation, over the epochs.",
}
COLUMNS = (
    "phase",
    "epoch",
    "train_accuracy",
    "val_accuracy",
    "train_loss",
    "val_loss",
    "lr",
    "images_per_second",
    "seconds",
)


def main() -> None:
    """Render the page."""
    st.title("How the training went")
    chosen = choose(split=False)
    histories = {r.name: usable for r in chosen.results if (usable := _usable(r))}
    without = [r.title for r in chosen.results if r.name not in histories]
    if without:
        st.info(
            f"No training history stored for {', '.join(without)}. "
            "`python scripts/train.py --promote` keeps it beside the results.",
            icon=":material/history:",
        )
    if not histories:
        return
    at_once = [r.title for r in chosen.results if r.name in histories and not _in_steps(histories[r.name])]
    fitted = f" Fitted at once, and scored on the training faces as they are: {', '.join(at_once)}." if at_once else ""
    st.caption(
        "Solid: validation, dotted: training. A net's training accuracy is measured on augmented pictures, while the "
        f"weights still move, so it may lie below validation.{fitted}"
    )
    st.caption(
        "The training loss of a net is what was minimised, with all that its recipe asks for: smoothed or mixed "
        "labels, class weights, a teacher, votes. It compares neither with the validation loss nor with that of "
        "another model. The validation loss is against the labels alone: cross-entropy in nats, or focal loss where "
        "the recipe minimised that."
    )
    data = pd.DataFrame(
        [{"model": n} | {c: e.get(c) for c in COLUMNS if c in e} for n, entries in histories.items() for e in entries]
    )
    for metric, column in zip(("accuracy", "loss"), st.columns(2, gap="large"), strict=True):
        with column:
            st.subheader(metric.capitalize())
            columns = [c for c in ("model", "epoch", f"train_{metric}", f"val_{metric}") if c in data]
            charts.show(
                _figure(histories, metric, {r.name: r.title for r in chosen.results}),
                data[columns],
                f"{chosen.data}_{metric}_curves",
                ALT[metric],
            )
    _rates(chosen, histories)
    st.subheader("In numbers")
    table = pd.DataFrame([_facts(r, histories[r.name]) for r in chosen.results if r.name in histories])
    charts.table(
        table,
        f"{chosen.data}_trainings",
        "One row per model: epochs, best validation accuracy, gap to training, time.",
        {
            "gap at the end (points)": st.column_config.NumberColumn(
                format="%+.1f",
                help="Training minus validation accuracy in the last epoch: large means overfitting. "
                "Nets were scored on augmented training faces, what was fitted at once on the faces as they are, which "
                "makes the gap larger.",
            ),
            "time (min)": st.column_config.NumberColumn(format="%.0f"),
            "images per second": st.column_config.NumberColumn(format="%.0f"),
        },
    )
    charts.download(data, f"{chosen.data}_history", "All epochs (CSV)")


def _rates(chosen: Selection, histories: dict[str, list[dict[str, Any]]]) -> None:
    lines = {n: [(e["epoch"], e["lr"]) for e in entries if e.get("lr", 0) > 0] for n, entries in histories.items()}
    lines = {n: points for n, points in lines.items() if points}
    if not lines:
        return
    st.subheader("Learning rate")
    st.caption("At the end of each epoch, on a logarithmic scale; one without a history of it is left out.")
    figure = viz.line_figure(
        {n: tuple(zip(*points, strict=True)) for n, points in lines.items()},
        "epoch", "learning rate (step size)", titles=chosen.titles, share_x=False, share_y=False, height=300,
    )  # fmt: skip
    top = math.log10(max(v for points in lines.values() for _, v in points))
    figure.update_yaxes(type="log", exponentformat="power", dtick=1, range=[top - DECADES, top + 0.2])
    charts.show(
        figure,
        pd.DataFrame([{"model": n, "epoch": e, "lr": v} for n, points in lines.items() for e, v in points]),
        f"{chosen.data}_learning_rates",
        "Lines: learning rate of every model over the epochs.",
    )


def _figure(histories: dict[str, list[dict[str, Any]]], metric: str, titles: dict[str, str]) -> Figure:
    """One panel; the legend names each model once, the caption above says what is dotted."""
    figure = viz.history_figure(histories, (metric,), titles=titles, height=380)
    figure.for_each_trace(lambda t: t.update(showlegend=t.name.endswith("(validation)")))
    figure.for_each_trace(lambda t: t.update(name=t.name.removesuffix(" (validation)")))
    figure.layout.annotations = ()
    return figure


def _usable(result: ModelResult) -> list[dict[str, Any]]:
    """Epochs with a number; of a record only what the page draws, and of that only finite numbers."""
    out = []
    for entry in result.history:
        if not _finite(entry.get("epoch")):
            continue
        out.append({k: v for k, v in entry.items() if k in COLUMNS and (k == "phase" or _finite(v))})
    return out


def _in_steps(history: list[dict[str, Any]]) -> bool:
    """Was it trained in steps, with a learning rate, on augmented faces?"""
    return any(e.get("lr") != 0 for e in history)


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _facts(result: ModelResult, history: list[dict[str, Any]]) -> dict[str, Any]:
    scored = [e for e in history if "val_accuracy" in e]
    best = max(scored, key=lambda e: e["val_accuracy"], default=None)
    last = history[-1]
    both = "train_accuracy" in last and "val_accuracy" in last
    seconds = [e["seconds"] for e in history if "seconds" in e]
    speeds = sorted(e["images_per_second"] for e in history if "images_per_second" in e)
    return {
        "model": result.title,
        "marks": marks(result),
        "epochs": len(history),
        "best epoch": best["epoch"] if best else None,
        "best validation (%)": 100 * best["val_accuracy"] if best else None,
        "gap at the end (points)": 100 * (last["train_accuracy"] - last["val_accuracy"]) if both else None,
        "time (min)": sum(seconds) / 60 if seconds else None,
        "images per second": speeds[len(speeds) // 2] if speeds else None,
    }


main()
