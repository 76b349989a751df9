"""One picture, all models: what each says and where it looked."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from fer import viz
from fer.checkpoint import find
from fer.errors import FerError
from fer.labels import EMOJI
from fer.paths import ROOT
from streamlit_app import charts, live
from streamlit_app.picture import SOURCES, choose_picture

PER_ROW = 3


def main() -> None:
    """Render the page."""
    st.title("Try it")
    st.write(
        "One face, every trained model. **An expression is not a feeling**: the models guess which of seven words "
        "people would put on a picture, and they are often wrong. Pictures stay on the machine that runs this page "
        "and are not saved."
    )
    names = live.model_names()
    mine = _own_checkpoint()
    if not names and not mine:
        st.info(
            "No trained model here yet. Train one with `python scripts/train.py --model attention_cnn --promote`, "
            "then reload this page, or name a checkpoint of your own above.",
            icon=":material/model_training:",
        )
        return
    picture = choose_picture(list(SOURCES), "try")
    if picture is None:
        return
    image, key = picture
    whole = st.toggle(
        "The picture is a face already", help="Skips the face detector, for tightly cropped faces.", key="whole"
    )
    faces = live.find_faces(image, whole)
    if not faces:
        st.warning(
            f"No face found in this picture ({image.shape[1]} × {image.shape[0]} pixels). Try a larger, upright, "
            "well-lit face, or switch on “The picture is a face already”.",
            icon=":material/face:",
        )
        with st.container(width=360):
            st.image(live.draw_boxes(image, [], 0), width="stretch")
        return
    chosen = 0
    left, right = st.columns([2, 3], gap="large")
    with right:
        if len(faces) > 1:
            chosen = st.segmented_control(
                f"{len(faces)} faces, the largest first",
                range(len(faces)),
                format_func=lambda i: str(i + 1),
                default=0,
                required=True,
                key=f"face_{key}",
            )
        strength = st.slider("Strength of the overlay", 0, 100, 55, 5, format="%d %%", key="strength") / 100
        opinions = _ask([*names, *mine], faces[chosen].crop)
        st.markdown(_agreement(list(opinions.values())))
    with left:
        st.image(
            live.draw_boxes(image, [f.box for f in faces], chosen),
            caption=f"{len(faces)} face{'s' if len(faces) > 1 else ''} · {image.shape[1]} × {image.shape[0]} pixels",
            width="stretch",
        )
    if opinions:
        _cards(list(opinions.values()), faces[chosen].crop, strength)
        _chart(opinions)


def _own_checkpoint() -> list[Path]:
    """The folder that the visitor names, where it holds a checkpoint; else nothing, and a sentence why."""
    with st.expander("A checkpoint of your own", icon=":material/folder_open:"):
        text = st.text_input(
            "Folder with model.safetensors (or model.skops) and config.json",
            placeholder="runs/attention_cnn/20260101-120000",
            key="checkpoint",
            help="A folder on the machine that runs this page; scripts/train.py writes such folders under runs/. "
            "Nothing in it is executed: weights are safetensors, the rest is JSON.",
        ).strip()
        if not text:
            return []
        try:
            folder = find(text if text.startswith("~") else ROOT / text)
            loaded = live.predictor(folder)
        except FerError as error:
            st.error(str(error), icon=":material/error:")
            return []
        st.success(
            f"{live.title(loaded)} from {folder.name}: {len(loaded.labels)} expressions.", icon=":material/check:"
        )
        return [folder]


def _ask(models: list[str | Path], face: np.ndarray) -> dict[str, live.Opinion]:
    """What every model says; one that cannot be used says why and is left out."""
    opinions = {}
    for model in models:
        try:
            opinions[str(model)] = live.ask(model, face)
        except FerError as error:
            st.error(f"{model}: {error}", icon=":material/error:")
        else:
            if isinstance(model, Path):
                opinions[str(model)] = replace(opinions[str(model)], title=f"yours: {model.name}")
    return opinions


def _agreement(opinions: list[live.Opinion]) -> str:
    words = [o.label for o in opinions]
    if len(words) < 2:
        return ""
    if len(set(words)) == 1:
        return f"All {len(words)} models say {EMOJI[words[0]]} **{words[0]}**."
    said = (f"{words.count(w)} × {EMOJI[w]} **{w}**" for w in dict.fromkeys(words))
    return f"The models disagree: {', '.join(said)}."


def _cards(opinions: list[live.Opinion], face: np.ndarray, strength: float) -> None:
    for start in range(0, len(opinions), PER_ROW):
        part = opinions[start : start + PER_ROW]
        for opinion, column in zip(part, st.columns(min(PER_ROW, len(opinions))), strict=False):
            with column, st.container(border=True):
                st.metric(
                    opinion.title,
                    f"{EMOJI[opinion.label]} {opinion.label}",
                    f"{100 * opinion.confidence:.0f} % probability",
                    delta_color="off",
                    delta_arrow="off",
                )
                shown, caption = live.enlarge(face), "this model cannot be explained"
                if opinion.heatmap is not None:
                    shown = live.overlay(face, opinion.heatmap, strength)
                    caption = f"{opinion.method}: bright where it looked"
                st.image(shown, caption=caption, width="stretch")


def _chart(opinions: dict[str, live.Opinion]) -> None:
    st.subheader("Probability of each expression")
    values = {n: {c: float(p) for c, p in zip(o.labels, o.probs, strict=True)} for n, o in opinions.items()}
    lines = [{"model": n, "class": c, "probability": round(p, 6)} for n, row in values.items() for c, p in row.items()]
    charts.show(
        viz.per_class_bars(values, "probability", titles={n: o.title for n, o in opinions.items()}),
        pd.DataFrame(lines),
        "probabilities",
        "Bars: the probability that each model gives to each expression for the chosen face.",
    )


main()
