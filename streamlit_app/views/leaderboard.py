"""The landing page: who is how good, how sure that is, and at what cost."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from fer import viz
from fer.evaluation import ModelResult, ablations
from fer.evaluation.results import weights_of
from fer.evaluation.seeds import FEWEST, SeedDifference, seed_table
from fer.evaluation.stored import read_ensembles, read_notes, read_robustness, read_seeds
from fer.models import MODELS, get_model
from streamlit_app import charts
from streamlit_app.selection import Selection, choose, marks, measured, row, stored

MOST_CARDS_IN_A_ROW = 4
_EXTRA = ["extra annotation"]


def main() -> None:
    """Render the page."""
    st.title("Leaderboard")
    chosen = choose(view=True)
    st.caption(chosen.place)
    _cards(chosen)
    _table(chosen)
    _dots(chosen)
    _ensembles(chosen)
    _seeds(chosen)
    _levers(chosen)


def _cards(chosen: Selection) -> None:
    """One card per model, baseline, attention and ViT first, in rows of equal length as far as that goes."""
    results = chosen.results
    best = max(r.scores(chosen.split, chosen.view)["accuracy"] for r in results)
    rows = math.ceil(len(results) / MOST_CARDS_IN_A_ROW)
    wide = math.ceil(len(results) / rows)
    for start in range(0, len(results), wide):
        for result, column in zip(results[start : start + wide], st.columns(wide), strict=False):
            scores = result.scores(chosen.split, chosen.view)
            low, high = scores["accuracy_interval"]
            with column, st.container(border=True, height="stretch"):
                st.metric(
                    result.title,
                    f"{100 * scores['accuracy']:.1f} %",
                    f"{100 * low:.1f} to {100 * high:.1f} %",
                    delta_color="off",
                    delta_arrow="off",
                    icon=":material/trophy:" if scores["accuracy"] == best and len(results) > 1 else None,
                    help=f"Accuracy on {chosen.title}: share of the faces that got the right label, and its "
                    "95 % interval.",
                )
                st.caption(_in_short(result))


def _in_short(result: ModelResult) -> str:
    """Size and marks of a model in one line."""
    parameters, mark = row(result)["parameters"], marks(result)
    parts = [f"{parameters / 1e6:.2f} M parameters" if parameters else "", "" if mark == "–" else mark]
    return " · ".join(p for p in parts if p) or "–"


def table_of(chosen: Selection) -> pd.DataFrame:
    """One row per model; shares in per cent, so that the table sorts by number."""
    lines = []
    for result in chosen.results:
        r, cost = row(result), result.metrics.get("cost") or {}
        latency = cost.get("latency_ms") or {}
        line = {"model": result.title, "marks": marks(result)}
        for split in ("val", "test"):
            if split in result.splits and chosen.view in result.views(split):
                line[f"{result.split_title(split)} (%)"] = 100 * result.scores(split, chosen.view)["accuracy"]
        scores = result.scores(chosen.split, chosen.view)
        low, high = scores["accuracy_interval"]
        without = _unleaked(result.metrics["splits"][chosen.split])
        lines.append(
            line
            | {
                "95 % interval": f"{100 * low:.1f} to {100 * high:.1f}",
                "macro-F1 (%)": 100 * scores["macro_f1"],
                "balanced (%)": 100 * scores["balanced_accuracy"],
                "top 2 (%)": 100 * scores["top2"],
                "ECE (%)": 100 * scores["ece"],
                "no copies (%)": None if without is None or chosen.view != "single" else 100 * without,
                "corrupted (%)": None if (found := measured(read_robustness, result)) is None else 100 * found["mean"],
                "parameters": _number(r["parameters"]),
                "multiply-adds (M)": _number(cost.get("macs"), 1e-6),
                "one face (ms)": _number(latency.get("batch_1")),
                "of 32 (ms)": _number(latency.get("batch_32"), 1 / 32),
                "epochs": _number(r["epochs"]),
                "training (min)": _number(r["seconds"], 1 / 60),
                "device": r["device"] or "–",
            }
        )
    return pd.DataFrame(lines).dropna(axis=1, how="all").round(4)


def _table(chosen: Selection) -> None:
    table = table_of(chosen)
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    on = f"on {chosen.title}"
    cpus = sorted({_measured_on(r) for r in chosen.results} - {""})
    config = {
        "95 % interval": text(help=f"Of the accuracy {on}, in per cent; bootstrap."),
        "macro-F1 (%)": number(format="%.1f", help=f"Mean F1 of the classes {on}: every class counts the same."),
        "balanced (%)": number(format="%.1f", help=f"Balanced accuracy {on}: mean recall of the classes."),
        "top 2 (%)": number(format="%.1f", help=f"Label among the two likeliest classes, {on}."),
        "ECE (%)": number(format="%.1f", help=f"Expected calibration error {on}: how far confidence and accuracy lie "
                          "apart; smaller is better."),
        "no copies (%)": number(format="%.1f", help=f"Accuracy {on} without the faces that have a copy in training."),
        "corrupted (%)": number(format="%.1f", help="Mean accuracy under nine corruptions, one view."),
        "parameters": number(format="localized", help="Numbers learned in training."),
        "multiply-adds (M)": number(format="%.1f", help="Millions of multiplications and additions for one face."),
        "one face (ms)": number(format="%.1f", help=f"Time for one face alone. {'; '.join(cpus)}"),
        "of 32 (ms)": number(format="%.1f", help="Time per face when 32 are answered together, the same machine."),
        "epochs": number(format="%d"),
        "training (min)": number(format="%.0f", help="Wall-clock time of the training."),
    }  # fmt: skip
    charts.table(
        table,
        f"{chosen.data}_{chosen.split}_{chosen.view}_leaderboard",
        "One row per model with its scores and its cost.",
        {k: v for k, v in config.items() if k in table},
    )
    notes = stored(read_notes, chosen.root, chosen.data) or {}
    told = {r.title: notes[sha] for r in chosen.results if (sha := weights_of(r)) in notes}
    if told:
        with st.expander("How these were trained, and how often they were scored", icon=":material/info:"):
            for title, note in told.items():
                st.caption(f"**{title}**: {note}")


def _measured_on(result: ModelResult) -> str:
    """The machine that the latency was measured on; "" where it was not."""
    latency = (result.metrics.get("cost") or {}).get("latency_ms")
    if not latency:
        return ""
    parts = [latency.get("cpu", "a CPU"), f"{latency.get('threads', '?')} threads", latency.get("runtime", "")]
    return ", ".join(p for p in parts if p)


def _dots(chosen: Selection) -> None:
    st.subheader("How sure the accuracies are")
    lines = []
    for result in chosen.results:
        scores = result.scores(chosen.split, chosen.view)
        low, high = scores["accuracy_interval"]
        lines.append(
            {"model": result.name, "title": result.title, "value": scores["accuracy"], "low": low, "high": high}
        )
    lines.sort(key=lambda line: -line["value"])
    majority = next((m for r in chosen.results if (m := r.metrics["splits"][chosen.split].get("majority"))), None)
    floor = (
        f" Always answering “{majority['label']}” would give {100 * majority['accuracy']:.1f} %." if majority else ""
    )
    st.caption(
        f"Accuracy on {chosen.title}; the bars are 95 % intervals: made this way, they hold the accuracy on all such "
        "faces in 95 of 100 test sets. Overlapping bars do not mean that two models are equal; “Compare” tests that on "
        "the same faces." + floor
    )
    charts.show(
        viz.interval_dots(lines, "accuracy (% of the faces)"),
        pd.DataFrame(lines).rename(columns={"value": "accuracy"}),
        f"{chosen.data}_{chosen.split}_{chosen.view}_accuracy",
        f"Points with bars: accuracy of every model on {chosen.title} and its 95 % interval, the best on top.",
    )


def _ensembles(chosen: Selection) -> None:
    found = stored(read_ensembles, chosen.root, chosen.data)
    found = [e for e in found or () if e["test_accuracy"] is not None]
    if not found or chosen.split != "test":
        return
    st.subheader("Together")
    st.caption(
        "The mean of several models' stored probabilities; the weights were fitted on the validation split. "
        "The first row, best there, is the one to quote: the others were tried as well. "
        f"Test: {chosen.title}."
    )
    titles, marked = chosen.all_titles, _marked(chosen)
    table = pd.DataFrame(
        [
            {
                "members": " + ".join(
                    f"{titles.get(m, m)} ({w:.0%})" for m, w in zip(e["members"], e["weights"], strict=True) if w > 0
                ),
                "view": e["view"],
                "validation (%)": 100 * e["val_accuracy"],
                "test (%)": 100 * e["test_accuracy"],
                "95 % interval": "{:.1f} to {:.1f}".format(*(100 * v for v in e["test_interval"])),
                "no copies (%)": None if (without := _unleaked(e)) is None else 100 * without,
                "NLL (nats)": e["test_nll"],
                "marks": "; ".join(dict.fromkeys(v for m in e["members"] if (v := marked.get(m, "–")) != "–")) or "–",
            }
            for e in sorted(found, key=lambda e: -e["val_accuracy"])
        ]
    ).dropna(axis=1, how="all")
    number = st.column_config.NumberColumn
    config = {
        "no copies (%)": number(format="%.1f", help="Test accuracy without the faces that have a copy in training."),
        "NLL (nats)": number(format="%.3f", help="Negative log-likelihood, smaller is better."),
    }
    charts.table(
        table,
        f"{chosen.data}_ensembles",
        "One row per ensemble with its members, their weights and its accuracy.",
        {k: v for k, v in config.items() if k in table},
    )


def _unleaked(scored: Mapping[str, Any]) -> float | None:
    """Accuracy without the faces that have a copy in training, of a split or an ensemble; None where not known."""
    return (scored.get("leakage") or {}).get("accuracy")


def _seeds(chosen: Selection) -> None:
    """Spread over training runs that differ in the seed only, of the models trained more than once."""
    runs = stored(lambda: seed_table(read_seeds(chosen.root, chosen.data))) or []
    lines, marked = [], _marked(chosen)
    for summary in runs:
        if len(summary.seeds) < 2:
            continue
        title = chosen.all_titles.get(summary.model, summary.model)
        title += f", recipe {summary.recipe}" if summary.recipe else ""
        line = {"model": title, "epochs": summary.epochs}
        line["runs"] = len(summary.seeds)
        for name, spread in (("validation", summary.val_accuracy), ("test", summary.test_accuracy)):
            if spread is not None:
                line |= {
                    f"{name}, mean (%)": 100 * spread.mean,
                    f"{name}, deviation (%)": 100 * spread.std if spread.n >= FEWEST else None,
                }
                line |= {f"{name}, range": f"{100 * spread.low:.1f} to {100 * spread.high:.1f}"}
        lines.append(line | {"seeds": ", ".join(map(str, summary.seeds)), "marks": marked.get(summary.model, "–")})
    if not lines:
        return
    st.subheader("The luck of the seed")
    st.caption(
        "The same recipe, equally long, trained several times. The intervals above cover the choice of test faces; "
        "this is what another random start changes."
    )
    charts.table(
        pd.DataFrame(lines),
        f"{chosen.data}_seeds",
        "One row per model: mean, standard deviation and range of its accuracy over several training runs.",
    )


def _levers(chosen: Selection) -> None:
    """What one change of a recipe did, for each model and length it was tried with."""
    groups = ablations.tables(stored(ablations.read, chosen.root, chosen.data) or [])
    if not groups:
        return
    st.subheader("One lever of training at a time")
    st.caption(
        "The plain recipe and one change of it, compared over the seeds that both were trained with, on the validation "
        "split alone. An interval takes three seeds. "
        "A short schedule favours what learns fast: what regularises may do better in long runs."
    )
    for (model, epochs), rows in groups.items():
        lines = [
            {
                "lever": r.title,
                "validation, mean (%)": 100 * r.val_accuracy.mean,
                "plain, same seeds (%)": 100 * r.difference.b.mean if r.difference else None,
                "minus plain (points)": _points_more(r),
                "95 % interval": _interval(r.difference),
                "time": "–" if r.cost is None else f"×{r.cost:.1f}",
                "seeds": ", ".join(map(str, r.seeds)),
                "marks": ", ".join([f"distilled from {r.teacher}"] * bool(r.teacher) + _EXTRA * r.extra_annotation)
                or "–",
            }
            for r in rows
        ]
        title = get_model(model).SPEC.title if model in MODELS else model
        st.markdown(f"**{chosen.all_titles.get(model, title)}, {epochs} epoch{'s' * (epochs != 1)}**")
        charts.table(
            pd.DataFrame(lines),
            f"{chosen.data}_levers_{model}_{epochs}",
            f"One row per lever: accuracy of {model} with it on the validation split, and what it changed.",
        )


def _points_more(r: ablations.Row) -> float | None:
    """Points above the plain recipe, which is itself by none."""
    if r.lever == ablations.PLAIN:
        return 0.0
    return 100 * r.difference.difference.mean if r.difference else None


def _interval(change: SeedDifference | None) -> str:
    if change is None or change.interval is None:
        return "–"
    return f"{100 * change.interval.low:+.1f} to {100 * change.interval.high:+.1f}"


def _marked(chosen: Selection) -> dict[str, str]:
    """Marks of all models: tables of ensembles and seeds list those that were not chosen too."""
    return {r.name: marks(r) for r in chosen.everyone}


def _number(value: object, factor: float = 1) -> float | int | None:
    return None if value in (None, "") else value if factor == 1 else float(value) * factor


main()
