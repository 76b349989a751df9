"""What the result pages look at: data set, split and models, chosen in the side bar and kept between pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from fer.paths import ROOT, results_dir

if TYPE_CHECKING:
    from fer.evaluation import ModelResult

# The final test first: it is the number that counts.
SPLIT_ORDER = ("test", "val")
PURPOSE = {"test": "final test, not for choosing", "val": "used to choose epoch and recipe"}
HOW_TO = (
    "Train and score the models with\n\n"
    "```\npython scripts/train.py --model all --promote\npython scripts/evaluate.py\n```\n\nthen reload this page."
)
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Selection:
    """What a page shows.

    Attributes:
        data: Name of the data set.
        split: Key of the split, "val" or "test".
        title: What the data's authors call the split.
        n: Faces in it.
        results: Chosen models that were scored on the split, in the order of every table.
    """

    data: str
    split: str
    title: str
    n: int
    results: tuple[ModelResult, ...]


def choose() -> Selection:
    """Draw the pickers in the side bar and return what was chosen; without results, say so and end the page."""
    root = results_dir()
    names = _data_sets(root)
    if not names:
        st.info(f"No results yet in `{_short(root)}`. {HOW_TO}", icon=":material/science:")
        st.stop()
    with st.sidebar:
        data = names[0]
        if len(names) > 1:
            data = st.selectbox("Data set", names, key="data", persist_state="session")
    results, problems = load(str(root), data, stamp(root / data))
    _report(problems, nothing_left=not results)
    if not results:
        st.info(HOW_TO, icon=":material/science:")
        st.stop()
    splits = [s for s in SPLIT_ORDER if any(s in r.splits for r in results)]
    titles = {s: next(r.split_title(s) for r in results if s in r.splits) for s in splits}
    by_name = {r.name: r for r in results}
    with st.sidebar:
        split = st.radio(
            "Split",
            splits,
            format_func=lambda s: titles.get(s, s),
            captions=[PURPOSE[s] for s in splits],
            key=f"split_{data}",
            persist_state="session",
        )
        wanted = list(by_name)
        if len(by_name) > 1:
            wanted = st.pills(
                "Models",
                list(by_name),
                selection_mode="multi",
                default=list(by_name),
                format_func=lambda n: by_name[n].title,
                key=f"models_{data}",
                persist_state="session",
            )
    chosen = tuple(r for n, r in by_name.items() if n in wanted and split in r.splits)
    if not chosen:
        st.info("Choose at least one model in the side bar.", icon=":material/touch_app:")
        st.stop()
    return Selection(data, split, titles[split], max(r.metrics["splits"][split]["n"] for r in chosen), chosen)


def stamp(folder: Path) -> Stamp:
    """Name, time and size of every result file of a data set: changes when any of them does."""
    files = sorted(p for p in folder.glob("*/*") if p.suffix in (".json", ".parquet", ".jsonl"))
    return tuple((f"{p.parent.name}/{p.name}", (s := p.stat()).st_mtime_ns, s.st_size) for p in files)


@st.cache_data(max_entries=8, show_spinner="Reading the results …")
def load(root: str, data: str, stamp: Stamp) -> tuple[list[ModelResult], list[str]]:
    """Results of one data set and one line per folder that had to be left out; read again when `stamp` changes."""
    from fer.evaluation import read_results
    from fer.viz import model_order

    problems: list[str] = []
    found = {r.name: r for r in read_results(root, data, problems)}
    usable = []
    for name in model_order(found):
        if missing := _missing(found[name]):
            problems.append(f"{name}: metrics.json has no usable {missing}; make it again with scripts/evaluate.py")
        else:
            usable.append(found[name])
    return usable, [p.replace(f"{root}/", "") for p in problems]


def row(result: ModelResult) -> dict[str, Any]:
    """One model as the leaderboard has it; "" where something was not measured."""
    from fer.evaluation.leaderboard import row_of

    return row_of(result)


def _missing(result: ModelResult) -> str:
    """The first thing that the pages need and the metrics lack; "" where all is there."""
    c = len(result.class_names)
    try:
        if not result.splits:
            return "split"
        for split in result.splits:
            scores = result.scores(split)
            float(scores["accuracy"]), [float(v) for v in scores["accuracy_interval"]]
            float(scores["macro_f1"]), float(scores["balanced_accuracy"])
            for name in result.class_names:
                [float(scores["per_class"][name][k]) for k in ("recall", "precision", "f1", "support")]
            if [len(r) for r in scores["confusion"]] != [c] * c:
                return "confusion matrix"
        row(result)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return str(error).strip("'") or type(error).__name__
    return ""


def _data_sets(root: Path) -> list[str]:
    """Folders that hold at least one model's folder; FER2013 first, drawn faces last."""
    found = [p.name for p in root.glob("*") if p.is_dir() and any(q.is_dir() for q in p.glob("*"))]
    return sorted(found, key=lambda n: (n != "fer2013", n.startswith("synthetic"), n))


def _report(problems: list[str], nothing_left: bool) -> None:
    if not problems:
        return
    lead = (
        "The results cannot be read:"
        if nothing_left
        else f"{len(problems)} model{'s' if len(problems) > 1 else ''} left out, the results cannot be read:"
    )
    show = st.error if nothing_left else st.warning
    show("\n".join([lead, "", *(f"- {p}" for p in problems)]), icon=":material/report:")


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
