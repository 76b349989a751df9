"""The landing page: who is how good, at what cost, and whether the difference is real."""

import pandas as pd
import streamlit as st

from fer import viz
from fer.evaluation import ModelResult
from fer.evaluation.leaderboard import cells
from fer.evaluation.report import comparison
from fer.paths import results_dir
from streamlit_app import charts
from streamlit_app.selection import Selection, Stamp, choose, row, stamp

CARD_PX = 300
MEASURES = {
    "recall": "Recall: of the faces that are so, how many were called so",
    "precision": "Precision: of the faces called so, how many are so",
    "f1": "F1: the harmonic mean of recall and precision",
}


def main() -> None:
    """Render the page."""
    st.title("Models side by side")
    chosen = choose()
    st.caption(f"{chosen.data} · {chosen.title} · {chosen.n:,} faces · one view per face")
    _cards(chosen)
    _table(chosen)
    left, right = st.columns([3, 2], gap="large")
    with left:
        _per_class(chosen)
    with right:
        _cost(chosen)
    _differences(chosen)


def _cards(chosen: Selection) -> None:
    best = max(r.scores(chosen.split)["accuracy"] for r in chosen.results)
    with st.container(horizontal=True):
        for result in chosen.results:
            scores = result.scores(chosen.split)
            low, high = scores["accuracy_interval"]
            with st.container(border=True, width=CARD_PX):
                st.metric(
                    result.title,
                    f"{100 * scores['accuracy']:.1f} %",
                    f"{100 * low:.1f} to {100 * high:.1f} %",
                    delta_color="off",
                    delta_arrow="off",
                    delta_description="95 % interval",
                    icon=":material/trophy:" if scores["accuracy"] == best and len(chosen.results) > 1 else None,
                    help=f"Accuracy: share of the faces of {chosen.title} that got the right label.",
                )
                st.caption(_in_short(result))


def _in_short(result: ModelResult) -> str:
    """Size, training time and marks of a model in one line."""
    line = cells(row(result))
    parts = [f"{line['parameters']} parameters", line["trained"], line["marks"]]
    return " · ".join(p.replace("`", "") for p in parts if not p.startswith("–"))


def table_of(chosen: Selection) -> pd.DataFrame:
    """One row per model; shares in per cent, so that the table sorts by number."""
    lines = []
    for result in chosen.results:
        r = row(result)
        line = {"model": result.title}
        for split in ("val", "test"):
            if split in result.splits:
                line[f"{result.split_title(split)} (%)"] = 100 * r[f"{split}_accuracy"]
        scores = result.scores(chosen.split)
        low, high = scores["accuracy_interval"]
        lines.append(
            line
            | {
                "95 % interval": f"{100 * low:.1f} to {100 * high:.1f}",
                "macro-F1 (%)": 100 * scores["macro_f1"],
                "balanced (%)": 100 * scores["balanced_accuracy"],
                "parameters": _number(r["parameters"]),
                "epochs": _number(r["epochs"]),
                "training (min)": _number(r["seconds"], 1 / 60),
                "marks": cells(r)["marks"].replace("`", ""),
                "device": r["device"] or "–",
            }
        )
    return pd.DataFrame(lines).round(4)


def _table(chosen: Selection) -> None:
    table = table_of(chosen)
    shares = st.column_config.NumberColumn(format="%.1f")
    config = {c: shares for c in table.columns if c.endswith("(%)")}
    config["model"] = st.column_config.TextColumn(pinned=True)
    config["95 % interval"] = st.column_config.TextColumn(
        help=f"Of the accuracy on {chosen.title}, in per cent; from 10,000 bootstrap resamples."
    )
    config["macro-F1 (%)"] = st.column_config.NumberColumn(
        format="%.1f", help=f"On {chosen.title}: mean F1 of the classes, every class counts the same."
    )
    config["balanced (%)"] = st.column_config.NumberColumn(
        format="%.1f", help=f"Balanced accuracy on {chosen.title}: mean recall of the classes."
    )
    config["parameters"] = st.column_config.NumberColumn(format="localized", help="Numbers learned in training.")
    config["epochs"] = st.column_config.NumberColumn(format="%d")
    config["training (min)"] = st.column_config.NumberColumn(format="%.0f", help="Wall-clock time of the training.")
    config["marks"] = st.column_config.TextColumn(help="Help that a model had: a teacher, other data, other labels.")
    st.dataframe(table, hide_index=True, column_config=config, alt="One row per model with its scores and its cost.")
    charts.download(table, f"{chosen.data}_leaderboard", "Table (CSV)")


def _per_class(chosen: Selection) -> None:
    st.subheader("Per expression")
    measure = st.segmented_control(
        "Measure", list(MEASURES), default="recall", required=True, key="measure", label_visibility="collapsed"
    )
    st.caption(f"{MEASURES[measure]} · {chosen.title}")
    values, lines = {}, []
    for result in chosen.results:
        per_class = result.scores(chosen.split)["per_class"]
        values[result.name] = {c: per_class[c][measure] for c in result.class_names}
        lines += [{"model": result.name, "class": c} | per_class[c] for c in result.class_names]
    charts.show(
        viz.per_class_bars(values, measure, titles={r.name: r.title for r in chosen.results}),
        pd.DataFrame(lines),
        f"{chosen.data}_{chosen.split}_per_class",
        f"Bars: {measure} of every expression for every model on {chosen.title}.",
    )


def _cost(chosen: Selection) -> None:
    st.subheader("Accuracy and size")
    st.caption(f"Bars are 95 % intervals · {chosen.title}")
    lines = []
    for result in chosen.results:
        scores = result.scores(chosen.split)
        low, high = scores["accuracy_interval"]
        lines.append(
            {
                "model": result.name,
                "title": result.title,
                "parameters": _number(result.metrics.get("parameters")),
                "accuracy": scores["accuracy"],
                "accuracy_low": low,
                "accuracy_high": high,
            }
        )
    charts.show(
        viz.comparison_scatter(lines),
        pd.DataFrame(lines),
        f"{chosen.data}_{chosen.split}_size",
        f"Points: accuracy on {chosen.title} against the number of parameters, one per model.",
    )


@st.cache_data(max_entries=32, show_spinner="Comparing the models …")
def _pairs(root: str, data: str, split: str, names: tuple[str, ...], stamp: Stamp, _chosen: Selection) -> list[dict]:
    return comparison(_chosen.results, split)["pairs"]


def _differences(chosen: Selection) -> None:
    with_predictions = [r for r in chosen.results if r.predictions is not None]
    if len(with_predictions) < 2:
        return
    st.subheader("Is the difference real?")
    st.caption(
        f"The exact McNemar test on the same faces of {chosen.title}, with Holm's correction for several pairs. "
        "A p-value below 0.05 means that chance alone would rarely give such a difference. "
        "It does not cover the luck of one training run against another."
    )
    root, names = results_dir(), tuple(r.name for r in chosen.results)
    pairs = _pairs(str(root), chosen.data, chosen.split, names, stamp(root / chosen.data), chosen)
    titles = {r.name: r.title for r in chosen.results}
    table = pd.DataFrame(
        [
            {
                "pair": f"{titles[p['a']]} − {titles[p['b']]}",
                "difference (points)": 100 * p["difference"],
                "95 % interval": f"{100 * p['interval'][0]:+.1f} to {100 * p['interval'][1]:+.1f}",
                "only the first right": p["only_a"],
                "only the second right": p["only_b"],
                "p (Holm)": p["p_holm"],
                "verdict": "hardly chance" if p["p_holm"] < 0.05 else "may be chance",
            }
            for p in pairs
        ]
    ).round({"difference (points)": 4})
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "pair": st.column_config.TextColumn(pinned=True),
            "difference (points)": st.column_config.NumberColumn(format="%+.1f"),
            "p (Holm)": st.column_config.NumberColumn(format="%.2g"),
        },
        alt="One row per pair of models: the difference in accuracy and whether it may be chance.",
    )
    charts.download(table, f"{chosen.data}_{chosen.split}_pairs", "Table (CSV)")


def _number(value: object, factor: float = 1) -> float | int | None:
    return None if value in (None, "") else value if factor == 1 else float(value) * factor


main()
