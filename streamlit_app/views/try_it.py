"""One picture, all models: what each says and where it looked."""

import hashlib

import numpy as np
import pandas as pd
import streamlit as st

from fer import viz
from fer.errors import FerError
from fer.images import read_image
from fer.labels import EMOJI, FER7
from streamlit_app import charts, live

PER_ROW = 3
SOURCES = {"Upload": ":material/upload:", "Camera": ":material/photo_camera:", "Drawn face": ":material/draw:"}


def main() -> None:
    """Render the page."""
    st.title("Try it")
    st.write(
        "One face, every trained model. **An expression is not a feeling**: the models guess which of seven words "
        "people would put on a picture, and they are often wrong. Pictures stay on the machine that runs this page "
        "and are not saved."
    )
    names = live.model_names()
    if not names:
        st.info(
            "No trained model here yet. Train one with `python scripts/train.py --model attention_cnn --promote`, "
            "then reload this page.",
            icon=":material/model_training:",
        )
        return
    picture = _picture()
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
        opinions = _ask(names, faces[chosen].crop)
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


def _picture() -> tuple[np.ndarray, str] | None:
    """The picture to look at and a key that changes with it; None while there is none that can be read."""
    source = st.segmented_control(
        "Picture from",
        list(SOURCES),
        format_func=lambda s: f"{SOURCES[s]} {s}",
        default="Upload",
        required=True,
        key="source",
    )
    if source == "Drawn face":
        return _drawn()
    if source == "Camera":
        given = st.camera_input("Take a snapshot", key="camera")
    else:
        given = st.file_uploader("A picture with a face (JPEG, PNG, WebP …, at most 20 MB)", key="upload")
    if given is None:
        return None
    data = given.getvalue()
    try:
        return read_image(data), hashlib.sha256(data).hexdigest()[:12]
    except FerError as error:
        reason = str(error).removeprefix("the bytes given: ")
        st.error(f"“{given.name}” cannot be used: {reason}.", icon=":material/broken_image:")
        return None


def _drawn() -> tuple[np.ndarray, str] | None:
    """A face drawn by code: for a first try without a photograph."""
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        expression = st.pills(
            "Drawn expression",
            FER7.names,
            default="happy",
            required=True,
            format_func=lambda n: f"{EMOJI[n]} {n}",
            key="expression",
        )
    with right:
        seed = st.number_input("Person", 1, 999, 1, key="person", help="Every number draws another person.")
    return live.drawn_face(expression, int(seed)), f"{expression}{seed}"


def _ask(names: list[str], face: np.ndarray) -> dict[str, live.Opinion]:
    """What every model says; one that cannot be used says why and is left out."""
    opinions = {}
    for name in names:
        try:
            opinions[name] = live.ask(live.predictor(name), face)
        except FerError as error:
            st.error(f"{name}: {error}", icon=":material/error:")
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
                shown = live.enlarge(face)
                caption = "this model cannot be explained"
                if opinion.heatmap is not None:
                    shown = viz.overlay_heatmap(shown, live.enlarge_map(opinion.heatmap), strength)
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
