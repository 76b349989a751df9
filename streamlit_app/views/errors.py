"""When is it wrong? Faces, everybody's answers, the crowd's votes, and where each model looked."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st

from fer import viz
from fer.errors import FerError
from fer.evaluation.gallery import confident_mistakes, disagreements, label_errors
from fer.labels import EMOJI
from streamlit_app import charts, computed, live
from streamlit_app.faces import Faces, as_rgb, faces, thumbnail, votes
from streamlit_app.selection import Selection, choose

KINDS = {
    "mistakes": ("Surest mistakes", "Wrong answers of the model, the surest first."),
    "disagree": ("Models disagree", "Faces that got different answers, the greatest divergence first."),
    "labels": (
        "Likely label errors",
        "Faces whose label the models doubt together (confident learning), the most suspect first. Look before you "
        "believe: the models share their blind spots.",
    ),
    "all": ("All faces", "Right and wrong answers, the surest first."),
}
SHOWN = (12, 24, 48, 96)
PER_ROW = 4
CROWD = "ferplus"


@dataclass(frozen=True, eq=False)
class Case:
    """The face that was picked.

    Attributes:
        place: Position in the aligned predictions.
        row: Position in the data set's source.
        face: uint8 (H, W, 3), None where the pictures are not there.
    """

    place: int
    row: int
    face: np.ndarray | None


def main() -> None:
    """Render the page."""
    st.title("When is it wrong?")
    chosen = choose(view=True)
    data = computed.aligned(chosen.key, chosen.results)
    if not data.probs:
        st.info(
            "No single answers are stored for these models; `python scripts/evaluate.py` stores them.",
            icon=":material/info:",
        )
        return
    first = next(r for r in chosen.results if r.name in data.probs)
    pictures, missing = faces(chosen.data, chosen.split, first.metrics["data"].get("fingerprint", ""))
    if missing:
        st.info(missing, icon=":material/hide_image:")
    model, found, count = _filter(chosen, data)
    if not len(found):
        st.info("No face fits these filters.", icon=":material/filter_alt_off:")
        return
    # The votes belong to rows of the same file as the pictures; without those nothing says that they fit.
    crowd, crowd_names = votes(chosen.data, chosen.split) if pictures is not None else ({}, ())
    case = _list(chosen, data, model, found[:count], pictures, crowd, crowd_names, len(found))
    _detail(chosen, data, case, crowd.get(case.row), crowd_names)


def _filter(chosen: Selection, data: computed.Aligned) -> tuple[str, np.ndarray, int]:
    """Draw the filters; returns the model, the positions that fit in the order they are shown, and how many to show."""
    kind = st.segmented_control(
        "Show", list(KINDS), default="mistakes", required=True, format_func=lambda k: KINDS[k][0], key="errors_kind"
    )
    columns = st.columns([3, 3, 3, 1])
    names = list(data.probs)
    model = columns[0].selectbox("Model", names, format_func=chosen.titles.get, key="errors_model")
    pick = {"format_func": lambda n: f"{EMOJI[n]} {n}", "placeholder": "any"}
    true = columns[1].multiselect("Labelled as", data.names, key="errors_true", **pick)
    said = columns[2].multiselect("Called", data.names, key="errors_said", **pick)
    count = columns[3].selectbox("Faces", SHOWN, 1, key="errors_count")
    probs, n = data.probs[model], len(data.labels)
    if kind == "mistakes":
        order = confident_mistakes(probs, data.labels, n)
    elif kind == "all":
        order = np.argsort(-probs.max(axis=1), kind="stable")
    elif kind == "disagree":
        order = disagreements(list(data.probs.values()), data.labels, n)
    else:
        order = label_errors(list(data.probs.values()), data.labels, n)
    if true:
        order = order[np.isin(data.labels[order], [data.names.index(t) for t in true])]
    if said:
        order = order[np.isin(probs[order].argmax(axis=1), [data.names.index(s) for s in said])]
    st.caption(f"{KINDS[kind][1]} {len(order):,} of {n:,} faces of {chosen.title}.")
    return model, order, count


def _list(
    chosen: Selection,
    data: computed.Aligned,
    model: str,
    found: np.ndarray,
    pictures: Faces | None,
    crowd: dict[int, np.ndarray],
    crowd_names: tuple[str, ...],
    total: int,
) -> Case:
    """Draw the table of faces; returns the one that was picked, the first where none was."""
    probs, correct = data.probs[model], data.correct
    lines = []
    for place in found.tolist():
        row, said = int(data.rows[place]), int(probs[place].argmax())
        line = {
            "labelled": _named(data.names[data.labels[place]]),
            "called": _named(data.names[said]),
            "confidence (%)": 100 * float(probs[place, said]),
            "models right": f"{sum(int(c[place]) for c in correct.values())} of {len(correct)}",
        }
        if crowd:
            line["crowd"] = _majority(crowd.get(row), crowd_names)
        lines.append(line | {"copy in training": data.seen[place] or "–", "row": row})
    frame = pd.DataFrame(lines)
    shown = frame
    if pictures is not None:
        images = [pictures.of(row) for row in frame["row"]]
        shown = frame.copy()
        shown.insert(0, "face", [None if i is None else thumbnail(i) for i in images])
    picked = st.dataframe(
        shown,
        hide_index=True,
        row_height=64 if pictures is not None else None,
        height=400,
        on_select="rerun",
        selection_mode="single-row",
        key=f"errors_table_{len(frame)}",
        column_config={
            "face": st.column_config.ImageColumn(width="small"),
            "confidence (%)": st.column_config.NumberColumn(format="%.1f", help=f"Of {chosen.titles[model]}."),
            "row": st.column_config.NumberColumn(format="%d", help="Row of the data set's source."),
        },
        alt="Faces that fit the filters, one per row; a row can be picked.",
    )
    charts.download(frame, f"{chosen.data}_{chosen.split}_{model}_faces", "Table (CSV)")
    at = next((i for i in picked.selection.rows if i < len(frame)), 0)
    row = int(frame["row"].iloc[at])
    face = pictures.of(row) if pictures is not None else None
    return Case(int(found[at]), row, None if face is None else as_rgb(face))


def _detail(
    chosen: Selection,
    data: computed.Aligned,
    case: Case,
    vote: np.ndarray | None,
    crowd_names: tuple[str, ...],
) -> None:
    label = data.names[data.labels[case.place]]
    st.subheader(f"Row {case.row}, labelled {_named(label)}")
    st.caption("Pick another row in the table above.")
    left, right = st.columns([1, 3], gap="large")
    with left:
        if case.face is not None:
            st.image(live.enlarge(case.face), caption=f"{case.face.shape[1]} × {case.face.shape[0]} pixels")
        answers = []
        for model, probs in data.probs.items():
            said = int(probs[case.place].argmax())
            mark = ":material/check:" if data.names[said] == label else ":material/close:"
            answers.append(f"{mark} {chosen.titles[model]}: **{data.names[said]}**")
        if crowd_names:
            answers.append(f":material/groups: the crowd: **{_majority(vote, crowd_names)}**")
        st.markdown("  \n".join(answers))
    values = {m: dict(zip(data.names, map(float, p[case.place]), strict=True)) for m, p in data.probs.items()}
    titles = dict(chosen.titles)
    if vote is not None:
        values[CROWD] = dict(zip(crowd_names, map(float, vote), strict=True))
        titles[CROWD] = "the crowd (FER+ votes)"
    with right:
        charts.show(
            viz.per_class_bars(values, "probability, share of the votes (%)", titles=titles, height=360),
            pd.DataFrame([{"model": m, "class": c, "value": v} for m, row in values.items() for c, v in row.items()]),
            f"{chosen.data}_{chosen.split}_face_probabilities",
            "Bars: the probability that each model gives to each expression, and the crowd's votes.",
        )
    if case.face is not None:
        _overlays(chosen, case.face)


def _overlays(chosen: Selection, face: np.ndarray) -> None:
    """Where each model looked, side by side; models run only once this is switched on."""
    bundled, absent = live.scored_here(chosen.results)
    if not bundled:
        st.caption("The weights that were scored are not here, so no model can show where it looked.")
        return
    if not st.toggle("Show where the models looked", key="errors_overlays", help="Runs the models on this face."):
        return
    without = f" Left out, the weights that were scored are not here: {', '.join(absent)}." if absent else ""
    st.caption(f"Each by its own method, for the expression it answered; bright is where it looked.{without}")
    names = list(bundled)
    for start in range(0, len(names), PER_ROW):
        for model, column in zip(names[start : start + PER_ROW], st.columns(PER_ROW), strict=False):
            with column:
                try:
                    with st.spinner(f"Asking {chosen.titles[model]} …"):
                        opinion = live.ask(bundled[model], face)
                except FerError as error:
                    st.error(f"{model}: {error}", icon=":material/error:")
                    continue
                shown = live.enlarge(face) if opinion.heatmap is None else live.overlay(face, opinion.heatmap)
                st.image(shown, caption=f"{chosen.titles[model]}: {opinion.method or 'no explanation'}")


def _named(name: str) -> str:
    return f"{EMOJI[name]} {name}"


def _majority(vote: np.ndarray | None, names: tuple[str, ...]) -> str:
    """The crowd's leading answers with their shares."""
    if vote is None:
        return "no expression"
    best = [i for i in np.argsort(-vote, kind="stable")[:2] if vote[i] > 0]
    return ", ".join(f"{_named(names[i])} {100 * vote[i]:.0f} %" for i in best)


main()
