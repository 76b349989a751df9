"""What the models learn from: classes, splits, copies, and how far people agree with the labels."""

from typing import Any

import pandas as pd
import streamlit as st

from fer import viz
from fer.evaluation import ModelResult
from fer.evaluation.stored import read_data
from streamlit_app import charts
from streamlit_app.selection import Selection, choose, marks, stored

ORDER = ("train", "val", "test")
USE = {
    "train": "what the models learn from",
    "val": "what every choice is made on",
    "test": "touched once per finished model; exceptions are told below the leaderboard",
}


def main() -> None:
    """Render the page."""
    st.title("The data")
    chosen = choose(split=False)
    facts = stored(read_data, chosen.root, chosen.data)
    if facts is None:
        st.info(
            f"No facts about {chosen.data} are stored. `python scripts/evaluate.py` writes `data.json` where the "
            "prepared data are at hand. Below is what the models' results tell about the faces they were scored on.",
            icon=":material/database:",
        )
    counts = facts["counts"] if facts else _counted(chosen)
    titles = facts["titles"] if facts else {s: chosen.results[0].split_title(s) for s in counts}
    _balance(chosen, counts, titles)
    _copies(chosen, facts, titles)
    _crowd(chosen, facts, titles)


def _counted(chosen: Selection) -> dict[str, dict[str, int]]:
    """Faces per split and class, from the scores of the first model."""
    first = chosen.results[0]
    per_class = {s: first.scores(s)["per_class"] for s in ORDER if s in first.splits}
    return {s: {c: int(v[c]["support"]) for c in first.class_names} for s, v in per_class.items()}


def _balance(chosen: Selection, counts: dict[str, dict[str, int]], titles: dict[str, str]) -> None:
    st.subheader("Classes and splits")
    splits = [s for s in ORDER if s in counts]
    for split, column in zip(splits, st.columns(max(len(splits), 1)), strict=True):
        with column, st.container(border=True, height="stretch"):
            st.metric(titles.get(split, split), f"{sum(counts[split].values()):,} faces")
            st.caption(USE[split])
    shown = st.segmented_control(
        "Bars show", ["share of the split (%)", "number of faces"], default="share of the split (%)", required=True,
        key="balance",
    )  # fmt: skip
    share = shown != "number of faces"
    totals = {s: max(sum(counts[s].values()), 1) for s in splits}
    values = {titles.get(s, s): {c: n / totals[s] if share else n for c, n in counts[s].items()} for s in splits}
    frame = pd.DataFrame(
        [
            {"split": s, "title": titles.get(s, s), "class": c, "faces": n, "share": round(n / totals[s], 6)}
            for s in splits
            for c, n in counts[s].items()
        ]
    )
    charts.show(
        viz.count_bars(values, shown if share else "faces", share=share),
        frame,
        f"{chosen.data}_classes",
        "Bars: how many faces every expression has in every split.",
    )
    if splits:
        biggest = counts[splits[0]]
        common, rare = max(biggest, key=biggest.get), min(biggest, key=biggest.get)
        ratio = f"{biggest[common] / biggest[rare]:.0f} times as many" if biggest[rare] else "infinitely more"
        st.caption(
            f"In {titles.get(splits[0], splits[0])} there are {ratio} {common} faces as {rare} ones: accuracy hardly "
            "notices the rare class, macro-F1 and balanced accuracy do."
        )


def _copies(chosen: Selection, facts: dict[str, Any] | None, titles: dict[str, str]) -> None:
    st.subheader("Duplicates and leaks")
    lines = []
    if facts:
        for split in (s for s in ORDER if s in facts["copies"]):
            copies, n = facts["copies"][split], max(sum(facts["counts"][split].values()), 1)
            lines.append(_copy_line(titles.get(split, split), n, copies["exact"], copies["near"]))
    else:
        first = chosen.results[0]
        for split in (s for s in ORDER if s in first.splits):
            if leakage := first.metrics["splits"][split].get("leakage"):
                n = first.metrics["splits"][split]["n"]
                lines.append(_copy_line(first.split_title(split), n, leakage["exact"], leakage["near"]))
    if not lines:
        st.info("Nobody has looked for copies: the training split was not at hand.", icon=":material/content_copy:")
        return
    conflicting = f" {facts['conflicting']:,} faces have a copy that carries another label." if facts else ""
    st.caption(
        "Faces that also lie in the training split (of the training split itself: a second time). Exact: the same "
        "pixels; near: a re-encoded, brightened or slightly shifted copy, found by two perceptual hashes. A model may "
        f"know those by heart.{conflicting}"
    )
    charts.table(pd.DataFrame(lines), f"{chosen.data}_copies", "Exact and near copies in training, per split.")
    affected = [line for r in chosen.results if (line := _without_copies(r))]
    if affected:
        st.markdown("**What the leaks are worth**: accuracy on all faces and without the copies.")
        charts.table(
            pd.DataFrame(affected),
            f"{chosen.data}_without_copies",
            "Accuracy of every model with and without the faces that have a copy in training.",
        )


def _copy_line(title: str, n: int, exact: int, near: int) -> dict[str, Any]:
    return {
        "split": title, "faces": n, "exact copies": exact, "near copies": near,
        "together (%)": 100 * (exact + near) / n,
    }  # fmt: skip


def _without_copies(result: ModelResult) -> dict[str, Any] | None:
    split = "test" if "test" in result.splits else result.splits[0]
    leakage = result.metrics["splits"][split].get("leakage")
    if not leakage or leakage["accuracy"] is None:
        return None
    accuracy = result.scores(split)["accuracy"]
    return {
        "model": result.title,
        "marks": marks(result),
        "split": result.split_title(split),
        "all faces (%)": 100 * accuracy,
        "without copies (%)": 100 * leakage["accuracy"],
        "difference (points)": 100 * (leakage["accuracy"] - accuracy),
    }


def _crowd(chosen: Selection, facts: dict[str, Any] | None, titles: dict[str, str]) -> None:
    st.subheader("What people say")
    crowd = (facts or {}).get("crowd") or {}
    models = [line for r in chosen.results if (line := _against_crowd(r))]
    if not crowd and not models:
        st.info(
            "No crowd votes are stored for these faces. FER+ has ten people's votes for every face of FER2013: "
            "`python scripts/prepare_data.py --source ferplus FOLDER`, then `python scripts/evaluate.py`.",
            icon=":material/groups:",
        )
        return
    split = "test" if "test" in crowd else next(iter(crowd), None)
    if split:
        c = crowd[split]
        # files of earlier versions do not tell what a crowd scores that has to choose among equals
        by_lot = c.get("label_agreement_by_lot")
        score = (
            "At most so much would the crowd score by these labels"
            if by_lot is None
            else f"A crowd that has to choose one of these by lot would score **{100 * by_lot:.1f} %** by these labels"
        )
        st.markdown(
            f"Ten people voted on each face (FER+). On {titles.get(split, split)} the crowd's majority is the label of "
            f"the data set, or the label is one of several with most votes, for **{100 * c['label_agreement']:.1f} %** "
            f"of the faces. {score}, and a model that scores more has learnt the labels' habits. A random voter gives "
            f"the majority for **{100 * c['agreement']:.1f} %**: the ceiling, for no answer agrees with single voters "
            "more often than their majority (with the majority itself, in the table below, a model could always "
            f"agree). On {c['unanimous_n']:,} of {c['n']:,} faces all votes that count are the same; votes for another "
            "expression (contempt), “unknown” or “no face” do not count."
        )
        values = {
            titles.get(s, s): {k: v for k, v in crowd[s]["agreement_per_class"].items() if v is not None}
            for s in ORDER
            if s in crowd
        }
        charts.show(
            viz.count_bars(values, "voters who say the majority (%)", share=True),
            pd.DataFrame(
                [{"split": s, "class": k, "agreement": v} for s, row in values.items() for k, v in row.items()]
            ),
            f"{chosen.data}_crowd",
            "Bars: how often a random voter gives the crowd's majority, per expression and split.",
        )
    if models:
        st.markdown("**The models against the crowd**")
        st.caption(
            "Cross-entropy to the distribution of the votes, in nats: no model can get below the crowd's own entropy, "
            "which stands beside it. Smaller is better."
        )
        number = st.column_config.NumberColumn(format="%.3f")
        majority = st.column_config.NumberColumn(
            format="%.1f", help="Where several classes share the most votes, each of them counts as right."
        )
        charts.table(
            pd.DataFrame(models),
            f"{chosen.data}_models_and_crowd",
            "One row per model: cross-entropy to the crowd, accuracy on unanimous faces and against the majority.",
            {"cross-entropy (nats)": number, "crowd entropy (nats)": number, "crowd's majority (%)": majority},
        )


def _against_crowd(result: ModelResult) -> dict[str, Any] | None:
    split = "test" if "test" in result.splits else result.splits[0]
    crowd = result.metrics["splits"][split].get("crowd")
    if not crowd or crowd.get("cross_entropy") is None:
        return None

    def percent(key: str) -> float | None:
        return None if crowd.get(key) is None else 100 * crowd[key]

    return {
        "model": result.title,
        "marks": marks(result),
        "split": result.split_title(split),
        "cross-entropy (nats)": crowd["cross_entropy"],
        "crowd entropy (nats)": crowd["crowd_entropy"],
        "unanimous faces (%)": percent("unanimous_accuracy"),
        "crowd's majority (%)": percent("majority_accuracy"),
        "labels of the data (%)": 100 * result.scores(split)["accuracy"],
    }


main()
