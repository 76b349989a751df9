"""Where do the nets look, and can the pictures of that be believed?"""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from fer import viz
from fer.errors import FerError
from fer.evaluation.stored import read_explanation, read_maps
from streamlit_app import charts, live
from streamlit_app.picture import choose_picture
from streamlit_app.selection import Selection, choose, marks, measured, stored

SOURCES = ("Drawn face", "Upload")
HOW_TO = "`python scripts/explain.py` computes them once, where the pictures are at hand."
HELP = {
    "deletion": "Probability of the answer while the hottest pixels are removed first: the area under the curve; the "
    "lower, the better the map found what counts.",
    "insertion": "The same while the hottest pixels are put in first; the higher, the better.",
    "eyes, brows (%)": "Share of the heat inside the box of eyes and brows of an average aligned face.",
    "mouth (%)": "Share of the heat inside the box of the mouth.",
    "both boxes (%)": "Share of the heat in both boxes; compare it with the area they cover.",
    "their area (%)": "Share of the face that both boxes cover: what a map without any preference would give.",
    "sanity": "Mean absolute rank correlation with the maps of the same net with random weights; near 1 the map does "
    "not depend on what was learned. Smaller is better, but it is a mean without sign: coarse maps that have nothing "
    "to do with each other stay well above 0 too.",
    "time (ms)": "Per face.",
}
RANDOM = "The same for a random map, as smooth as the nets' own: what knowing nothing gives."


def main() -> None:
    """Render the page."""
    st.title("Where do they look?")
    chosen = choose(split=False)
    st.caption(
        "A heat map is a hint: it shows which part of the picture weighed in the answer, not why. Below the average "
        "maps comes whether to believe them."
    )
    facts = {r.name: f for r in chosen.results if (f := measured(read_explanation, r))}
    # The maps carry no checksum; that of the scores written with them says which weights they show.
    maps = {r.name: m for r in chosen.results if r.name in facts and (m := stored(read_maps, r.folder))}
    _average(chosen, maps, facts)
    _faithfulness(chosen, facts)
    _one_face(chosen)


def _average(chosen: Selection, maps: dict[str, dict[str, np.ndarray]], facts: dict[str, dict[str, Any]]) -> None:
    st.subheader("On average, for each expression")
    by_name = {r.name: r for r in chosen.results}
    maps = {m: {k: v for k, v in found.items() if len(v) == len(by_name[m].class_names)} for m, found in maps.items()}
    names = list(dict.fromkeys(k for found in maps.values() for k in found))
    if not names:
        st.info(f"No average maps are stored for these models. {HOW_TO}", icon=":material/visibility_off:")
        return
    titles = {k: m["title"] for f in facts.values() for k, m in f["methods"].items()}
    picked = st.pills(
        "Method", names, default=names[0], required=True, format_func=lambda k: titles.get(k, k), key="average_method"
    )
    rows = {m: found[picked] for m, found in maps.items() if picked in found}
    classes = by_name[next(iter(rows))].class_names
    rows = {m: v for m, v in rows.items() if by_name[m].class_names == classes}
    n = max(facts[m]["methods"].get(picked, {}).get("n", facts[m]["n"]) for m in rows)
    st.caption(
        f"Mean map of the faces that the model called so ({n:,} faces, seeded). Yellow: looked at most, dark blue: not "
        "at all. Empty: no face was called so."
    )
    charts.show(
        viz.map_grid({chosen.titles[m]: v for m, v in rows.items()}, classes),
        lambda: _cells(rows, classes),
        f"{chosen.data}_maps_{picked}",
        f"Pictures: average {titles.get(picked, picked)} map for every expression, one row per model.",
    )


def _cells(rows: dict[str, np.ndarray], classes: tuple[str, ...]) -> pd.DataFrame:
    """One line per pixel of every average map; heat from 0 to 255."""
    return pd.concat(
        pd.DataFrame({"model": m, "class": c, "y": y.ravel(), "x": x.ravel(), "heat": heat.ravel()})
        for m, maps in rows.items()
        for c, heat in zip(classes, maps, strict=True)
        for y, x in [np.indices(heat.shape)]
    )


def _faithfulness(chosen: Selection, facts: dict[str, dict[str, Any]]) -> None:
    st.subheader("Can the maps be believed?")
    if not facts:
        st.info(f"No faithfulness scores are stored for these models. {HOW_TO}", icon=":material/fact_check:")
        return
    by_name = {r.name: r for r in chosen.results}
    lines = [
        {
            "model": chosen.titles[m],
            "method": s["title"],
            "deletion": s["deletion"],
            "deletion, random": s["deletion_random"],
            "insertion": s["insertion"],
            "insertion, random": s["insertion_random"],
            "eyes, brows (%)": 100 * s["eyes_brows"],
            "mouth (%)": 100 * s["mouth"],
            "both boxes (%)": 100 * s["pointing"],
            "their area (%)": 100 * s["area"],
            "sanity": s["sanity"],
            "faces": s.get("n", f["n"]),
            "time (ms)": s["ms"],
            "marks": marks(by_name[m]),
        }
        for m, f in facts.items()
        for s in f["methods"].values()
    ]
    forms = {"time (ms)": "%.1f"} | {c: "%.1f" for c in HELP if c.endswith("(%)")}
    config = {c: st.column_config.NumberColumn(format=forms.get(c, "%.2f"), help=text) for c, text in HELP.items()}
    for kind in ("deletion", "insertion"):
        config[f"{kind}, random"] = st.column_config.NumberColumn(format="%.2f", help=RANDOM)
    charts.table(
        pd.DataFrame(lines),
        f"{chosen.data}_faithfulness",
        "One row per model and method: deletion, insertion, share of the heat on eyes and mouth, sanity check, time.",
        config,
    )
    scored = {m: by_name[m] for m in facts}
    splits = sorted({r.split_title(k) if (k := facts[m]["split"]) in r.splits else k for m, r in scored.items()})
    st.caption(
        f"Measured on faces of {' and '.join(splits)}, as many of each expression. Methods that ask a net often were "
        "given fewer of them (the column *faces*): compare each with its own random column."
    )
    methods = {k: s["title"] for f in facts.values() for k, s in f["methods"].items()}
    picked = st.pills(
        "Curves of", list(methods), default=next(iter(methods)), required=True, format_func=methods.get, key="curves_of"
    )
    shown = {m: f["methods"][picked] for m, f in facts.items() if picked in f["methods"]}
    texts = {"deletion": "hottest pixels removed (%)", "insertion": "hottest pixels put in (%)"}
    for (kind, x), column in zip(texts.items(), st.columns(2, gap="large"), strict=True):
        curves = {m: (s["steps"], s[f"{kind}_curve"]) for m, s in shown.items()}
        with column:
            charts.show(
                viz.line_figure(curves, x, "probability of the answer (%)", titles=chosen.titles, height=340),
                pd.DataFrame(
                    [{"model": m, "share": a, "probability": b} for m, c in curves.items()
                     for a, b in zip(*c, strict=True)]
                ),
                f"{chosen.data}_{kind}_{picked}",
                f"Lines: mean probability of the answer against the share of {x}, one line per model.",
            )  # fmt: skip


def _one_face(chosen: Selection) -> None:
    st.subheader("One face under every model and method")
    bundled, absent = live.scored_here(chosen.results)
    if not bundled:
        st.info(
            "None of the chosen models has a checkpoint here with the weights that were scored. "
            "`python scripts/train.py --promote` keeps one.",
            icon=":material/model_training:",
        )
        return
    if absent:
        st.caption(f"Left out, the weights that were scored are not here: {', '.join(absent)}.")
    picture = choose_picture(SOURCES, "attention")
    if picture is None:
        return
    image, key = picture
    found = live.find_faces(image, whole=False)
    if not found:
        st.caption("No face found in the picture; it is taken as one.")
    face = (found or live.find_faces(image, whole=True))[0].crop
    if st.button("Ask every model", icon=":material/play_arrow:", key="ask_all", type="primary"):
        st.session_state["attention_asked"] = key
    left, right = st.columns([1, 4], gap="large")
    left.image(live.enlarge(face), caption="the face", width="stretch")
    if st.session_state.get("attention_asked") != key:
        right.caption("The models run when you ask them: seconds per model, occlusion longest. The answers are kept.")
        return
    with right:
        for model, checkpoint in bundled.items():
            try:
                _row(checkpoint, chosen.titles[model], face)
            except FerError as error:
                st.error(f"{model}: {error}", icon=":material/error:")


def _row(model: str, title: str, face: np.ndarray) -> None:
    """One bundled model: its answer and one overlay per method."""
    with st.spinner(f"Asking {title} …"):
        opinion, methods = live.ask(model, face), live.methods(model)
        heat = {name: live.heatmap(model, face, name) for name in methods}
    st.markdown(f"**{title}**: {opinion.label}, {100 * opinion.confidence:.0f} %")
    with st.container(horizontal=True, gap="small"):
        for name, text in methods.items():
            st.image(live.overlay(face, heat[name]), caption=text, width=124)


main()
