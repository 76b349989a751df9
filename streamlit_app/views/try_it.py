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
        st.image(live.draw_boxes(image, [], 0), width=360)
        return
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    with right:
        chosen = 0
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
    with left:
        st.image(
            live.draw_boxes(image, [f.box for f in faces], chosen),
            caption=f"{len(faces)} face{'s' if len(faces) > 1 else ''} · {image.shape[1]} × {image.shape[0]} pixels",
            width=480,
        )
    _opinions(names, faces[chosen].crop, strength)


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
        given = st.camera_input("Take a snapshot", key="camera", width=480)
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


def _opinions(names: list[str], face: np.ndarray, strength: float) -> None:
    """A card per model, then the probabilities of all of them in one chart."""
    values: dict[str, dict[str, float]] = {}
    winners = []
    for name, column in zip(names, st.columns(len(names)), strict=True):
        with column, st.container(border=True):
            try:
                opinion = live.ask(live.predictor(name), face)
            except FerError as error:
                st.error(f"{name}: {error}", icon=":material/error:")
                continue
            best = int(np.argmax(opinion.probs))
            label = opinion.labels[best]
            winners.append(label)
            values[name] = {c: float(p) for c, p in zip(opinion.labels, opinion.probs, strict=True)}
            st.metric(
                opinion.title,
                f"{EMOJI[label]} {label}",
                f"{opinion.probs[best]:.0%} probability",
                delta_color="off",
                delta_arrow="off",
            )
            shown = live.enlarge(face)
            if opinion.heatmap is not None:
                shown = viz.overlay_heatmap(shown, live.enlarge_map(opinion.heatmap), strength)
            caption = f"{opinion.method}: bright where it looked" if opinion.method else "no explanation for this model"
            st.image(shown, caption=caption, width="stretch")
    if not values:
        return
    if len(values) > 1:
        top = max(set(winners), key=winners.count)
        count = winners.count(top)
        st.write(
            f"All {len(winners)} models say **{top}**."
            if count == len(winners)
            else f"The models disagree: {', '.join(f'**{w}** ({winners.count(w)})' for w in dict.fromkeys(winners))}."
        )
    table = pd.DataFrame(
        [{"model": m, "class": c, "probability": round(p, 6)} for m, row in values.items() for c, p in row.items()]
    )
    charts.show(
        viz.per_class_bars(values, "probability", "Probability of each expression"),
        table,
        "probabilities",
        "Bars: the probability that each model gives to each expression for the chosen face.",
    )


main()
