"""Two or more models against each other: is the difference real, where does it lie, what does it cost?"""

import math
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fer import viz
from fer.evaluation import ModelResult
from fer.evaluation.pareto import front, timed_alike
from fer.evaluation.stored import read_seeds
from fer.evaluation.twins import in_words
from fer.labels import EMOJI
from streamlit_app import charts, computed
from streamlit_app.selection import Selection, choose, marks, stored
from streamlit_app.verdict import CHANCE, pattern, turned, verdict

MEASURES = {
    "recall": "Recall: of the faces that are so, how many were called so",
    "precision": "Precision: of the faces called so, how many are so",
    "f1": "F1: the harmonic mean of recall and precision",
}
CELLS = ("share of the true expression (%)", "number of faces", "mistakes only (%)")
COSTS = {
    "parameters": ("parameters", 1.0),
    "multiply-adds (millions)": ("macs", 1e-6),
    "time for one face (ms)": ("batch_1", 1.0),
    "time per face, 32 at once (ms)": ("batch_32", 1 / 32),
}
TIMES = ("time for one face (ms)", "time per face, 32 at once (ms)")
MOST_IN_A_ROW = 3
WORST = 5


def main() -> None:
    """Render the page."""
    st.title("Models against each other")
    chosen = choose(view=True)
    st.caption(chosen.place)
    data = computed.aligned(chosen.key, chosen.results)
    pairs = computed.pairs(chosen.key, data)
    a, b = _pair(chosen, data, pairs)
    sections = {
        "Expressions": lambda: _per_class(chosen),
        "Confusion": lambda: _confusion(chosen, a, b),
        "ROC and PR": lambda: _curves(chosen, data),
        "All pairs": lambda: _differences(chosen, data, pairs),
        "Cost": lambda: _cost(chosen),
        "What attention bought": lambda: _attention(chosen),
    }
    for tab, draw in zip(st.tabs(list(sections), key="section", on_change="rerun"), sections.values(), strict=True):
        if tab.open:
            with tab:
                draw()


# --- the verdict on two models ----------------------------------------------------------------------------------------


def _pair(chosen: Selection, data: computed.Aligned, pairs: list[dict[str, Any]]) -> tuple[str, str]:
    """Draw the pickers of two models and what the tests say about them; returns their names ("" for too few)."""
    if data.left_out:
        st.info(
            f"Without predictions for the same classes: {', '.join(data.left_out)}. What needs single answers leaves "
            "them out; `python scripts/evaluate.py` stores the predictions.",
            icon=":material/info:",
        )
    names = list(data.probs)
    if len(names) < 2:
        st.info("Choose two models or more in the side bar to compare them.", icon=":material/touch_app:")
        return "", ""
    left, right = st.columns(2)
    known = "baseline_cnn" in names and "attention_cnn" in names
    first, second = ("attention_cnn", "baseline_cnn") if known else (names[1], names[0])
    a = left.selectbox("Is this model", names, names.index(first), format_func=chosen.titles.get, key="first")
    others = [n for n in names if n != a]
    place = others.index(second) if second in others else 0
    b = right.selectbox("better than this one?", others, place, format_func=chosen.titles.get, key="second")
    pair = turned(next(p for p in pairs if {p["a"], p["b"]} == {a, b}), a)
    real = pair["p_holm"] < CHANCE
    icon = ":material/balance:" if not real else ":material/trending_up:"
    (st.success if real and pair["difference"] > 0 else st.info)(
        f"{verdict(pair, chosen, len(pairs))}\n\n{pattern(pair, len(pairs))}", icon=icon
    )
    agreement = pair["agreement"]
    st.caption(
        f"Both right {100 * agreement.both_right:.1f} % · only {chosen.titles[a]} {pair['only_a']:,} faces · only "
        f"{chosen.titles[b]} {pair['only_b']:,} faces · both wrong {100 * agreement.both_wrong:.1f} % · the same "
        f"answer {100 * agreement.same_answer:.1f} % (kappa {agreement.kappa:.2f})"
    )
    return a, b


# --- sections ---------------------------------------------------------------------------------------------------------


def _per_class(chosen: Selection) -> None:
    measure = st.segmented_control("Measure", list(MEASURES), default="recall", required=True, key="measure")
    note = "" if measure == "f1" else " Thin bars are 95 % intervals (Wilson)."
    st.caption(f"{MEASURES[measure]} · {chosen.title}.{note}")
    values, intervals, lines = {}, {}, []
    for result in chosen.results:
        scores = result.scores(chosen.split, chosen.view)
        per_class, counts = scores["per_class"], np.array(scores["confusion"])
        values[result.name] = {c: per_class[c][measure] for c in result.class_names}
        if measure != "f1":
            totals = counts.sum(axis=1 if measure == "recall" else 0)
            intervals[result.name] = {
                c: computed.wilson(counts[i, i], totals[i]) for i, c in enumerate(result.class_names)
            }
        for c in result.class_names:
            low, high = intervals.get(result.name, {}).get(c, (None, None))
            line = {"model": result.name, "marks": marks(result), "class": c} | per_class[c]
            lines.append(line | {f"{measure}_low": low, f"{measure}_high": high})
    charts.show(
        viz.per_class_bars(values, f"{measure} (%)", titles=chosen.titles, intervals=intervals),
        pd.DataFrame(lines).dropna(axis=1, how="all"),
        f"{chosen.data}_{chosen.split}_{chosen.view}_{measure}",
        f"Bars: {measure} of every expression for every model on {chosen.title}, with 95 % intervals.",
    )


def _confusion(chosen: Selection, a: str, b: str) -> None:
    cells = st.segmented_control("Cells show", CELLS, default=CELLS[0], required=True, key="cells")
    st.caption("Rows are the labels of the data set, columns what the model said; the diagonal is right.")
    wide = math.ceil(len(chosen.results) / math.ceil(len(chosen.results) / MOST_IN_A_ROW))
    for start in range(0, len(chosen.results), wide):
        part = chosen.results[start : start + wide]
        for result, column in zip(part, st.columns(wide, gap="medium"), strict=False):
            with column:
                _matrix(result, chosen, cells, 310 if wide == MOST_IN_A_ROW else 400)
    by_name = {r.name: r for r in chosen.results}
    if not a:
        return
    names, one, two = by_name[a].class_names, _counts(by_name[a], chosen), _counts(by_name[b], chosen)
    st.subheader(f"{chosen.titles[a]} minus {chosen.titles[b]}")
    st.caption(
        "Percentage points of each true expression. Blue: the first model says so more often, orange: less often. On "
        "the diagonal blue is better, elsewhere orange is."
    )
    points = 100 * (viz.row_shares(one) - viz.row_shares(two))
    with st.container(width=520):
        charts.show(
            viz.difference_figure(one, two, names, theme=charts.theme()),
            _framed(points.round(4), names),
            f"{chosen.data}_{chosen.split}_{a}_minus_{b}",
            f"Difference of the confusion matrices of {chosen.titles[a]} and {chosen.titles[b]}, percentage points.",
        )


def _matrix(result: ModelResult, chosen: Selection, cells: str, height_px: int) -> None:
    names, matrix = result.class_names, _counts(result, chosen)
    st.subheader(result.title)
    charts.show(
        viz.confusion_figure(
            matrix,
            names,
            normalise=cells != CELLS[1],
            diagonal=cells != CELLS[2],
            height=height_px,
            theme=charts.theme(),
        ),
        _framed(matrix, names),
        f"{chosen.data}_{chosen.split}_{result.name}_confusion",
        f"Confusion matrix of {result.title} on {chosen.title}: true expressions down, predictions across.",
    )
    rates = viz.row_shares(matrix)
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


def _counts(result: ModelResult, chosen: Selection) -> np.ndarray:
    return np.array(result.scores(chosen.split, chosen.view)["confusion"])


def _framed(matrix: np.ndarray, names: tuple[str, ...]) -> pd.DataFrame:
    frame = pd.DataFrame(matrix, columns=[f"predicted {n}" for n in names])
    frame.insert(0, "true", names)
    return frame


def _curves(chosen: Selection, data: computed.Aligned) -> None:
    if not data.probs:
        return
    name = st.pills(
        "Expression against all others",
        data.names,
        default=data.names[0],
        required=True,
        format_func=lambda n: f"{EMOJI[n]} {n}",
        key=f"class_{chosen.data}",
    )
    k = data.names.index(name)
    found = computed.curves(chosen.key, k, data)
    share = float((data.labels == k).mean())
    kinds = {
        "roc": ("ROC", f"faces wrongly called {name} (%)", f"{name} faces found (%)", ("guessing", [0, 1], [0, 1])),
        "precision_recall": (
            "Precision and recall", f"{name} faces found (%)", f"right when calling {name} (%)",
            ("guessing", [0, 1], [share, share]),
        ),
    }  # fmt: skip
    for (kind, (title, x, y, guess)), column in zip(kinds.items(), st.columns(2, gap="large"), strict=True):
        lines = {m: (c[kind].x, c[kind].y) for m, c in found.items() if len(c[kind].x)}
        points = [pd.DataFrame({"model": m, "x": c[0], "y": c[1]}) for m, c in lines.items()]
        with column:
            st.subheader(title)
            charts.show(
                viz.line_figure(lines, x, y, titles=chosen.titles, reference=guess, height=400),
                pd.concat(points) if points else pd.DataFrame(columns=["model", "x", "y"]),
                f"{chosen.data}_{chosen.split}_{name}_{kind}",
                f"{title} curve of every model for {name} against the other expressions on {chosen.title}.",
            )
    by_name = {r.name: r for r in chosen.results}
    charts.table(
        pd.DataFrame(
            [
                {
                    "model": chosen.titles[m],
                    "marks": marks(by_name[m]),
                    "area under ROC (%)": 100 * c["roc"].area,
                    "average precision (%)": 100 * c["precision_recall"].area,
                }
                for m, c in found.items()
            ]
        ),
        f"{chosen.data}_{chosen.split}_{name}_areas",
        f"Areas under both curves for {name}, one row per model.",
    )


def _differences(chosen: Selection, data: computed.Aligned, pairs: list[dict[str, Any]]) -> None:
    if not pairs:
        return
    st.caption(
        f"The exact McNemar test on the same faces of {chosen.title} and the chi-square test of the patterns of "
        "mistakes, each with Holm's correction. A p-value below 0.05 means that chance alone would rarely give such a "
        "difference. It does not cover the luck of one training run against another. Kappa: 1 is the same answer "
        "everywhere, 0 what chance would give."
    )
    titles, marked = chosen.titles, {r.name: marks(r) for r in chosen.results}
    table = pd.DataFrame(
        [
            {
                "pair": f"{titles[p['a']]} − {titles[p['b']]}",
                "difference (points)": 100 * p["difference"],
                "95 % interval": f"{100 * p['interval'][0]:+.1f} to {100 * p['interval'][1]:+.1f}",
                "verdict": "hardly chance" if p["p_holm"] < CHANCE else "may be chance",
                "p (McNemar)": p["p_holm"],
                "p (chi-square)": p["chi2_p_holm"],
                "only the first right": p["only_a"],
                "only the second right": p["only_b"],
                "both right (%)": 100 * p["agreement"].both_right,
                "both wrong (%)": 100 * p["agreement"].both_wrong,
                "same answer (%)": 100 * p["agreement"].same_answer,
                "kappa": p["agreement"].kappa,
                "marks": f"{marked[p['a']]} / {marked[p['b']]}",
            }
            for p in pairs
        ]
    ).round({"difference (points)": 4})
    number = st.column_config.NumberColumn
    charts.table(
        table,
        f"{chosen.data}_{chosen.split}_{chosen.view}_pairs",
        "One row per pair of models: the difference in accuracy, whether it may be chance, and how far they agree.",
        {"p (McNemar)": number(format="%.2g"), "p (chi-square)": number(format="%.2g"), "kappa": number(format="%.2f")},
    )
    st.subheader("Who says the same?")
    st.caption("Share of the faces on which two models give the same answer, right or wrong, in per cent.")
    names = list(data.probs)
    matrix = computed.same_answers(chosen.key, data)
    frame = pd.DataFrame(matrix.round(6), columns=names)
    frame.insert(0, "model", names)
    with st.container(width=520):
        charts.show(
            viz.agreement_figure(matrix, [titles[n] for n in names], theme=charts.theme()),
            frame,
            f"{chosen.data}_{chosen.split}_agreement",
            f"Cells: share of the faces of {chosen.title} on which two models give the same answer.",
        )


def _cost(chosen: Selection) -> None:
    alike = timed_alike(chosen.results)
    rows = [_costs(r, chosen, timed) for r, timed in zip(chosen.results, alike, strict=True)]
    measured = [c for c in COSTS if any(r[c] is not None for r in rows)]
    if not measured:
        st.info("No cost is stored for these models. `python scripts/evaluate.py` measures it.", icon=":material/info:")
        return
    cost = st.segmented_control("Against", measured, default=measured[0], required=True, key=f"cost_{len(measured)}")
    on_front = front(
        np.array([np.nan if r[cost] is None else r[cost] for r in rows]), np.array([r["accuracy"] for r in rows])
    )
    for line, best in zip(rows, on_front, strict=True):
        line["pareto_front"] = bool(best)
    st.caption(
        f"Accuracy on {chosen.title}, bars are 95 % intervals. The dotted line joins the Pareto front: the models that "
        "no other one beats in both."
    )
    if cost in TIMES and not all(alike):
        left_out = ", ".join(r.title for r, timed in zip(chosen.results, alike, strict=True) if not timed)
        st.caption(f"Left out, timed on torch and not on ONNX Runtime: {left_out}.")
    charts.show(
        viz.comparison_scatter(
            rows, cost, x_title=cost, front=[r["model"] for r in rows if r["pareto_front"]], height=440
        ),
        pd.DataFrame(rows),
        f"{chosen.data}_{chosen.split}_{COSTS[cost][0]}",
        f"Points: accuracy on {chosen.title} against {cost}, one per model; a line joins the Pareto front.",
    )


def _costs(result: ModelResult, chosen: Selection, timed: bool) -> dict[str, Any]:
    scores, cost = result.scores(chosen.split, chosen.view), result.metrics.get("cost") or {}
    low, high = scores["accuracy_interval"]
    have = {"parameters": result.metrics.get("parameters")} | cost | ((cost.get("latency_ms") or {}) if timed else {})
    return {
        "model": result.name,
        "title": result.title,
        "marks": marks(result),
        "accuracy": scores["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
    } | {name: None if have.get(k) is None else have[k] * factor for name, (k, factor) in COSTS.items()}


def _attention(chosen: Selection) -> None:
    effects = computed.twins(chosen.key, chosen.results, stored(read_seeds, chosen.root, chosen.data) or [])
    if not effects:
        st.info(
            "What attention buys is answered by an attention net and its twin: the same net, recipe and seed with the "
            "attention switched off. No such pair is among the chosen models. `python scripts/train.py --model "
            "attention_cnn --model-arg attention=false` trains a twin.",
            icon=":material/compare_arrows:",
        )
        return
    st.caption(
        "Each attention net against its twin, trained alike with the attention switched off, on the same faces "
        f"of {chosen.title}, one view per face. Not a small net against a larger one."
    )
    for effect in effects:
        st.subheader(f"{effect.attention_title} minus {effect.twin_title}")
        st.markdown(" ".join(in_words(effect)))
        lines = [
            {"model": effect.attention, "title": f"{EMOJI[c]} {c}", "value": 100 * e.difference,
             "low": 100 * e.interval.low, "high": 100 * e.interval.high, "p (Holm)": e.p_holm, "faces": e.n}
            for c, e in effect.per_class.items()
        ]  # fmt: skip
        charts.show(
            viz.interval_dots(lines, "recall with attention minus without (points)", reference=("", 0), share=False),
            pd.DataFrame(lines).drop(columns="model").rename(columns={"title": "class", "value": "difference"}),
            f"{chosen.data}_{chosen.split}_{effect.attention}_and_{effect.twin}",
            f"Points with bars: change of the recall of every expression that attention brings to {effect.attention}.",
        )


main()
