"""Can the confidence be believed, and does it hold when the picture gets worse?"""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fer import viz
from fer.evaluation.stored import read_robustness
from streamlit_app import charts, computed
from streamlit_app.selection import Selection, choose, marks, measured

LEVELS = (0.8, 0.9, 0.95)
ALL = "mean of all"
FEW = 10


def main() -> None:
    """Render the page."""
    st.title("Calibration and robustness")
    chosen = choose(view=True)
    st.caption(chosen.place)
    found = computed.confidence(chosen.key, chosen.results)
    if without := [r.title for r in chosen.results if r.name not in found]:
        st.info(
            f"No predictions stored for {', '.join(without)}; `python scripts/evaluate.py` stores them.",
            icon=":material/info:",
        )
    if found:
        _calibration(chosen, found)
        left, right = st.columns(2, gap="large")
        with left:
            _selective(chosen, found)
        with right:
            _sets(chosen)
    _robustness(chosen)


def _calibration(chosen: Selection, found: dict[str, dict[str, Any]]) -> None:
    st.subheader("Does it know how sure it may be?")
    single = chosen.view == "single"
    kinds = {"calibrated": "with the temperature fitted on validation", "uncalibrated": "as the net says it"}
    kind, note = "calibrated", " What the net itself says is known for one view alone: this is the mean of several."
    if single:
        note = ""
        kind = st.segmented_control(
            "Confidence", list(kinds), default=kind, required=True, format_func=kinds.get, key="temperature"
        )
    st.caption(
        "Above the dotted line a model is right more often than it says, below it is too sure of itself. The lower "
        f"panel shows which share of all faces got that confidence. Bins with fewer than {FEW} faces are not "
        f"drawn.{note}"
    )
    curves = {m: (r.confidence, r.accuracy, r.counts) for m, f in found.items() for r in [f[kind]]}
    frame = pd.concat(
        pd.DataFrame(
            {"model": m, "bin_low": r.edges[:-1], "bin_high": r.edges[1:], "faces": r.counts,
             "confidence": r.confidence, "accuracy": r.accuracy}
        )
        for m, f in found.items()
        for r in [f[kind]]
    )  # fmt: skip
    charts.show(
        viz.reliability_figure(curves, titles=chosen.titles, fewest=FEW),
        frame,
        f"{chosen.data}_{chosen.split}_{chosen.view}_reliability",
        f"Lines: share of right answers on {chosen.title} against the confidence, one line per model.",
    )
    lines = []
    for r in chosen.results:
        if r.name not in found:
            continue
        line = {"model": r.title, "marks": marks(r), "temperature": float(r.metrics["temperature"]["value"])}
        for key, words in (("uncalibrated_scores", "as it is"), ("calibrated_scores", "calibrated")):
            if scores := found[r.name].get(key):
                line |= {f"ECE {words} (%)": 100 * scores["ece"], f"NLL {words} (nats)": scores["nll"]}
        lines.append(line | {"Brier calibrated": found[r.name]["calibrated_scores"]["brier"]})
    three = st.column_config.NumberColumn(format="%.3f")
    charts.table(
        pd.DataFrame(lines),
        f"{chosen.data}_{chosen.split}_{chosen.view}_calibration",
        "One row per model: calibration error, log-likelihood and Brier score"
        + (", before and after temperature scaling." if single else "."),
        {
            "temperature": st.column_config.NumberColumn(
                format="%.2f", help="Above 1: the net was too sure of itself."
            ),
            "NLL as it is (nats)": three,
            "NLL calibrated (nats)": three,
            "Brier calibrated": st.column_config.NumberColumn(format="%.3f", help="0 is best, 2 worst."),
        },
    )


def _selective(chosen: Selection, found: dict[str, dict[str, Any]]) -> None:
    st.subheader("Answering only when sure")
    fitted_on = next((r.split_title("val") for r in chosen.results if computed.on_validation(r, chosen.view)), "")
    st.caption(
        "Wrong answers among the surest faces. The area under the curve (AURC) sums it up; smaller is better."
        + (_about_the_threshold(chosen, fitted_on) if fitted_on else "")
    )
    lines = {m: (f["risk"].coverage, f["risk"].risk) for m, f in found.items()}
    frame = pd.concat(
        pd.DataFrame({"model": m, "coverage": c[::10], "error": r[::10]}).round(6) for m, (c, r) in lines.items()
    )
    figure = viz.line_figure(lines, "faces answered, the surest first (%)", "wrong answers (%)", titles=chosen.titles)
    figure.update_yaxes(range=None, rangemode="tozero")
    charts.show(
        figure,
        frame,
        f"{chosen.data}_{chosen.split}_{chosen.view}_risk",
        f"Lines: share of wrong answers on {chosen.title} when only the surest faces are answered.",
    )
    by_name = {r.name: r for r in chosen.results}
    rows = []
    for m, f in found.items():
        share, right = f["answered"] or (np.nan, np.nan)
        row = {"model": chosen.titles[m], "AURC (%)": 100 * f["risk"].aurc}
        if fitted_on:
            row |= {"answered (%)": 100 * share, "right among them (%)": 100 * right}
        rows.append(row | {"marks": marks(by_name[m])})
    charts.table(
        pd.DataFrame(rows),
        f"{chosen.data}_{chosen.split}_{chosen.view}_selective",
        "One row per model: area under the risk-coverage curve"
        + ("; share of faces answered from a threshold on, and of right answers among them." if fitted_on else "."),
    )


def _about_the_threshold(chosen: Selection, fitted_on: str) -> str:
    """Where the threshold of the table comes from, for the caption."""
    wanted = f"{100 * computed.RIGHT:.0f} %"
    note = " These are the faces that it was chosen on, so both are optimistic." if chosen.split == "val" else ""
    return (
        f" In the table each model has a threshold: the lowest confidence that gave {wanted} right answers on "
        f"{fitted_on} (validation). Shown are the share of {chosen.title} at least that sure, and how many of these "
        "answers are right."
        f"{note} Empty: no confidence gave {wanted}, no face is that sure, or validation is not stored."
    )


def _sets(chosen: Selection) -> None:
    st.subheader("“Fear or surprise, 90 %”")
    level = st.segmented_control(
        "Promised", LEVELS, default=0.9, required=True, format_func=lambda v: f"{100 * v:.0f} %", key="level"
    )
    found = computed.prediction_sets(chosen.key, level, chosen.results)
    if not found:
        st.info(
            "Sets are fitted on the validation split, which is not stored for these models.", icon=":material/info:"
        )
        return
    note = " These are the faces the sets were fitted on." if chosen.split == "val" else ""
    st.caption(
        f"Sets of expressions that hold the label with {100 * level:.0f} % probability (split-conformal, fitted on "
        f"validation). Measured on {chosen.title}: the smaller the sets, the better.{note}"
    )
    sizes = {m: f["score"].sizes[1:] for m, f in found.items()}
    most = max(max((i for i, n in enumerate(s) if n), default=0) for s in sizes.values()) + 1
    shares = {m: [n / max(sum(s), 1) for n in s[:most]] for m, s in sizes.items()}
    parts = [f"{i} expression{'s' if i > 1 else ''}" for i in range(1, most + 1)]
    charts.show(
        viz.share_stack(shares, parts, "faces (%)", titles=chosen.titles),
        pd.DataFrame([{"model": m} | dict(zip(parts, s, strict=True)) for m, s in shares.items()]),
        f"{chosen.data}_{chosen.split}_{chosen.view}_sets",
        f"Bars: how many expressions the prediction sets hold on {chosen.title}, one bar per model.",
    )
    by_name = {r.name: r for r in chosen.results}
    charts.table(
        pd.DataFrame(
            [
                {
                    "model": chosen.titles[m],
                    "promised (%)": 100 * level,
                    "measured (%)": 100 * f["score"].coverage,
                    "expressions per set": f["score"].mean_size,
                    "enters from (%)": 100 * f["threshold"],
                    "marks": marks(by_name[m]),
                }
                for m, f in found.items()
            ]
        ),
        f"{chosen.data}_{chosen.split}_{chosen.view}_coverage",
        "One row per model: promised and measured coverage of its prediction sets, and their mean size.",
        {
            "expressions per set": st.column_config.NumberColumn(format="%.2f"),
            "enters from (%)": st.column_config.NumberColumn(
                format="%.1f", help="Probability from which an expression enters the set; the likeliest always does."
            ),
        },
    )


def _robustness(chosen: Selection) -> None:
    st.subheader("When the picture gets worse")
    found = {r.name: content for r in chosen.results if (content := measured(read_robustness, r))}
    if not found:
        st.info(
            "No robustness is stored for these models. `python scripts/evaluate.py --robustness` measures it once on a "
            "seeded subset of the test faces.",
            icon=":material/blur_on:",
        )
        return
    if without := [r.title for r in chosen.results if r.name not in found]:
        st.caption(f"Not measured for {', '.join(without)}.")
    kinds = list(dict.fromkeys(c for content in found.values() for c in content["accuracy"]))
    kind = st.pills(
        "Corruption", [ALL, *kinds], default=ALL, required=True, format_func=lambda k: k.replace("_", " "), key="kind"
    )
    lines = {m: _curve(content, kind) for m, content in found.items() if kind == ALL or kind in content["accuracy"]}
    n = max(content["n"] for content in found.values())
    st.caption(
        f"Accuracy on {n:,} faces drawn once from the test split (one view per face), with seeded corruptions. "
        "Strength 0 is the face as it is."
    )
    figure = viz.line_figure(
        lines, "strength", "accuracy (% of the faces)", titles=chosen.titles, share_x=False, markers=True
    )
    figure.update_xaxes(dtick=1)
    charts.show(
        figure,
        pd.DataFrame(
            [
                {"model": m, "corruption": kind, "strength": s, "accuracy": a}
                for m, c in lines.items()
                for s, a in zip(*c, strict=True)
            ]
        ),
        f"{chosen.data}_robustness_{kind.replace(' ', '_')}",
        f"Lines: accuracy of every model as the corruption ({kind.replace('_', ' ')}) gets stronger.",
    )
    by_name = {r.name: r for r in chosen.results}
    charts.table(
        pd.DataFrame(
            [
                {
                    "model": chosen.titles[m],
                    "marks": marks(by_name[m]),
                    "untouched (%)": 100 * content["clean"],
                    "corrupted (%)": 100 * content["mean"],
                }
                | {f"{k.replace('_', ' ')} (%)": 100 * sum(v) / len(v) for k, v in content["accuracy"].items()}
                for m, content in found.items()
            ]
        ),
        f"{chosen.data}_robustness",
        "One row per model: accuracy on untouched faces, mean over all corruptions, and mean per corruption.",
        {
            "corrupted (%)": st.column_config.NumberColumn(
                format="%.1f", help="Mean over all corruptions and strengths: the one figure to remember."
            )
        },
    )


def _curve(content: dict[str, Any], kind: str) -> tuple[list[float], list[float]]:
    """Strengths and accuracies, beginning with the untouched face."""
    cells = content["accuracy"]
    means = [sum(values) / len(cells) for values in zip(*cells.values(), strict=True)] if kind == ALL else cells[kind]
    return [0, *content["strengths"]], [content["clean"], *means]


main()
