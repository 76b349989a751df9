"""What the result pages look at: data set, split, view and models, chosen in the side bar and kept between pages."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from fer.errors import DataError
from fer.paths import ROOT, checkpoints_dir, results_dir

if TYPE_CHECKING:
    from collections.abc import Callable

    from fer.evaluation import ModelResult

# The final test first: it is the number that counts.
SPLIT_ORDER = ("test", "val")
PURPOSE = {"test": "final test, not for choosing", "val": "used to choose epoch and recipe"}
HOW_TO = (
    "Train and score the models with\n\n"
    "```\npython scripts/train.py --model all --promote\npython scripts/evaluate.py\n```\n\nthen reload this page."
)
Stamp = tuple[tuple[str, int, int], ...]
KINDS = (".json", ".parquet", ".jsonl", ".npz", ".csv")
VIEWS = {"single": "one view", "flip": "with the mirror image", "tencrop": "ten crops"}


@dataclass(frozen=True)
class Selection:
    """What a page shows.

    Attributes:
        root: Folder of results.
        data: Name of the data set.
        split: Key of the split, "val" or "test".
        title: What the data's authors call the split.
        view: single, flip or tencrop.
        n: Faces in the split.
        results: Chosen models that were scored on split and view, in the order of every table.
        everyone: All models of the data set, chosen or not, in that order.
        stamp: Changes when a file of the data set does.
    """

    root: Path
    data: str
    split: str
    title: str
    view: str
    n: int
    results: tuple[ModelResult, ...]
    everyone: tuple[ModelResult, ...]
    stamp: Stamp

    @property
    def titles(self) -> dict[str, str]:
        """Name of every chosen model -> name for people."""
        return {r.name: r.title for r in self.results}

    @property
    def all_titles(self) -> dict[str, str]:
        """The same of every model of the data set."""
        return {r.name: r.title for r in self.everyone}

    @property
    def key(self) -> tuple:
        """All that a computation from these results depends on, for caches."""
        return (str(self.root), self.data, self.split, self.view, tuple(r.name for r in self.results), self.stamp)

    @property
    def place(self) -> str:
        """Where the numbers come from, for captions."""
        return f"{self.data} · {self.title} · {self.n:,} faces · {VIEWS[self.view]}"


def choose_data() -> tuple[Path, str]:
    """Draw the picker of the data set; without results, say so and end the page."""
    root = results_dir()
    names = _data_sets(root)
    if not names:
        st.info(f"No results yet in `{_short(root)}`. {HOW_TO}", icon=":material/science:")
        st.stop()
    if len(names) == 1:
        return root, names[0]
    with st.sidebar:
        return root, st.selectbox("Data set", names, key="data", persist_state="session")


def choose(split: bool = True, view: bool = False) -> Selection:
    """Draw the pickers in the side bar and return what was chosen; without results, say so and end the page.

    Args:
        split: Offer the splits and keep the models scored on the chosen one; otherwise all models are meant, whatever
            they were scored on.
        view: Offer the ways of looking at a face; otherwise "single" is meant.
    """
    root, data = choose_data()
    seen = stamp(root / data)
    results, problems = load(str(root), data, seen)
    _report(problems, nothing_left=not results)
    if not results:
        st.info(HOW_TO, icon=":material/science:")
        st.stop()
    splits = [s for s in SPLIT_ORDER if any(s in r.splits for r in results)]
    titles = {s: next(r.split_title(s) for r in results if s in r.splits) for s in splits}
    with st.sidebar:
        chosen_split = splits[0]
        if split:
            chosen_split = st.radio(
                "Split",
                splits,
                format_func=lambda s: titles.get(s, s),
                captions=[PURPOSE[s] for s in splits],
                key=f"split_{data}",
                persist_state="session",
            )
        chosen_view = _view(results, chosen_split, data) if view else "single"
        wanted = _models(results, data)
    picked = [r for r in results if r.name in wanted]
    if split:
        if absent := [r.title for r in picked if chosen_split not in r.splits]:
            st.caption(f"Not scored on {titles[chosen_split]}: {', '.join(absent)}.")
        picked = [r for r in picked if chosen_split in r.splits]
    chosen = tuple(r for r in picked if chosen_view == "single" or chosen_view in r.views(chosen_split))
    if without := [r.title for r in picked if r not in chosen]:
        st.caption(f"Not scored {VIEWS[chosen_view]}: {', '.join(without)}.")
    if not chosen:
        st.info("Choose at least one model in the side bar.", icon=":material/touch_app:")
        st.stop()
    n = max(r.metrics["splits"].get(chosen_split, {"n": 0})["n"] for r in chosen)
    return Selection(root, data, chosen_split, titles[chosen_split], chosen_view, n, chosen, tuple(results), seen)


def _view(results: list[ModelResult], split: str, data: str) -> str:
    views = [v for v in VIEWS if any(split in r.splits and v in r.views(split) for r in results)]
    if len(views) < 2:
        return "single"
    return st.radio(
        "Each face is shown",
        views,
        format_func=VIEWS.get,
        captions=[
            {"single": "the headline", "flip": "mean of two answers", "tencrop": "mean of ten"}[v] for v in views
        ],
        key=f"view_{data}_{split}",
        persist_state="session",
        help="Test-time augmentation: the model answers for several versions of a face, and the mean counts.",
    )


def _models(results: list[ModelResult], data: str) -> list[str]:
    titles = {r.name: r.title for r in results}
    if len(titles) < 2:
        return list(titles)
    return st.pills(
        "Models",
        list(titles),
        selection_mode="multi",
        default=list(titles),
        format_func=titles.get,
        key=f"models_{data}",
        persist_state="session",
    )


def stamp(folder: Path) -> Stamp:
    """Name, time and size of every result file of a data set: changes when any of them does."""
    files = sorted(p for p in [*folder.glob("*"), *folder.glob("*/*")] if p.suffix in KINDS)
    return tuple((str(p.relative_to(folder)), (s := p.stat()).st_mtime_ns, s.st_size) for p in files)


@st.cache_resource(max_entries=8, show_spinner="Reading the results …")
def load(root: str, data: str, stamp: Stamp) -> tuple[list[ModelResult], list[str]]:
    """Results of one data set and one line per folder that had to be left out; read again when `stamp` changes.

    Of results that share a title, two runs of one model for example, the titles get the names behind them.
    """
    from fer.evaluation import read_results
    from fer.viz import model_order

    problems: list[str] = []
    found = {r.name: r for r in read_results(root, data, problems)}
    titles = [r.title for r in found.values()]
    found = {n: r if titles.count(r.title) == 1 else replace(r, title=f"{r.title}, {n}") for n, r in found.items()}
    return [found[name] for name in model_order(found)], [p.replace(f"{root}/", "") for p in problems]


def row(result: ModelResult) -> dict[str, Any]:
    """One model as the leaderboard has it; "" where something was not measured."""
    from fer.evaluation.leaderboard import row_of

    # Without its folder the line holds what metrics.json holds, and a damaged file beside it does no harm.
    return row_of(replace(result, folder=None), _bundled(str(results_dir()), stamp(checkpoints_dir())))


@st.cache_data(max_entries=8, show_spinner=False)
def _bundled(root: str, stamp: Stamp) -> set[str] | None:
    """`fer.evaluation.leaderboard.bundled`, read again when `stamp`, that of the checkpoints, changes."""
    from fer.evaluation.leaderboard import bundled

    return None if (known := bundled(root)) is None else set(known)


def marks(result: ModelResult) -> str:
    """Help that a model had (a teacher, other data, other labels), weights that are not here; else a dash."""
    from fer.evaluation.leaderboard import cells

    return cells(row(result))["marks"].replace("`", "")


def stored(read: Callable[..., Any], *args: Any) -> Any:
    """What a reader of `fer.evaluation.stored` gives; a file that it cannot read becomes a warning and None."""
    try:
        return read(*args)
    except DataError as error:
        st.warning(str(error).replace(f"{results_dir()}/", ""), icon=":material/report:")
        return None


def measured(read: Callable[..., Any], result: ModelResult) -> Any:
    """A stored measurement of a model (`read_robustness`, `read_explanation`), None unless of this very checkpoint."""
    from fer.evaluation.stored import fits

    found = stored(read, result.folder)
    if found and not fits(found, result):
        st.caption(
            f"What is stored about {result.title} was measured on an earlier checkpoint or other faces and is left out."
        )
        return None
    return found


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
        else f"{len(problems)} model{'s' if len(problems) > 1 else ''} left out:"
    )
    show = st.error if nothing_left else st.warning
    show("\n".join([lead, "", *(f"- {p}" for p in problems)]), icon=":material/report:")


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
