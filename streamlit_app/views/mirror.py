"""The emoji mirror: live through streamlit-webrtc where it is installed, snapshot by snapshot otherwise."""

import importlib.util
from collections.abc import Callable
from typing import Any, TypeVar

import streamlit as st

from fer.images import read_image
from fer.inference.live import LiveFrame, LivePipeline
from fer.models import LIVE_MODEL, get_model
from streamlit_app import live
from streamlit_app.moving import Moving, Snapshots

LIVE, SNAPSHOT = "Live video", "Snapshots"
CONSTRAINTS = {"video": {"width": {"ideal": 640}, "height": {"ideal": 480}, "facingMode": "user"}, "audio": False}
PLAIN_HELP = "Emoji and nothing else."
Kept = TypeVar("Kept", Moving, Snapshots)


def main() -> None:
    """Render the page."""
    st.title("Emoji mirror")
    st.write(
        "Every face in the picture turns into the emoji of the moment. **An expression is not a feeling**: the emoji "
        "shows what a face looks like to the net. Frames are looked at by the machine that runs this page and are not "
        "saved."
    )
    names = live.model_names()
    if not names:
        st.info(
            "No trained model here yet. Train one with `python scripts/train.py --model attention_cnn --promote`, "
            "then reload this page.",
            icon=":material/model_training:",
        )
        return
    possible = [LIVE, SNAPSHOT] if importlib.util.find_spec("streamlit_webrtc") else [SNAPSHOT]
    picture, controls = st.columns([2, 1], gap="large")  # on a phone the picture comes first
    with controls:
        first = names.index(LIVE_MODEL) if LIVE_MODEL in names else 0
        model = st.selectbox("Model", names, first, format_func=lambda n: get_model(n).SPEC.title, key="mirror_model")
        if len(possible) > 1:
            how = st.segmented_control("Camera", possible, default=LIVE, required=True, key="mirror_how")
        else:
            how = SNAPSHOT
            st.caption("Install `streamlit-webrtc` on the machine that runs the lab for a moving picture.")
    if how == LIVE:
        _live(model, picture, controls)
    else:
        _snapshots(model, picture, controls)


def _kept(make: Callable[[Any], Kept], model: str) -> Kept:
    """The visitor's own, made anew when the model changes; it ends with the visit."""
    key = f"mirror_{make.__name__}"
    stamp, found = st.session_state.get(key, (None, None))
    predictor = live.predictor(model, "fastest")
    if stamp is not predictor or found is None:
        found = make(predictor)
        st.session_state[key] = (predictor, found)
    return found


def _live(model: str, picture: Any, controls: Any) -> None:
    from streamlit_webrtc import WebRtcMode, webrtc_streamer

    moving = _kept(Moving, model)
    with controls:
        smoothing = st.slider("Smoothing (seconds)", 0.0, 2.0, 0.25, 0.05, help="More is calmer and slower.")
        fade = st.slider("Fading (seconds)", 0.0, 2.0, 0.25, 0.05, help="How long one emoji takes to become the next.")
        plain = st.toggle("Emoji only", help=PLAIN_HELP)
        turned = st.toggle("Like a mirror", True, help="Left and right as in a mirror.")
    moving.configure(smoothing, fade, plain, turned)
    with picture:
        context = webrtc_streamer(
            key="mirror",
            mode=WebRtcMode.SENDRECV,
            rtc_configuration={"iceServers": []},
            media_stream_constraints=CONSTRAINTS,
            video_frame_callback=moving.on_frame,
            async_processing=True,
        )
        if context.state.playing:
            _state(moving)
        else:
            st.caption(
                "Press START and allow the camera. If the browser refuses it, allow it beside the address of this "
                "page; if no picture comes through your network, take snapshots."
            )


@st.fragment(run_every=0.5)
def _state(moving: Moving) -> None:
    """What is seen now, and the calibration; drawn again twice a second."""
    seen = moving.last
    faces = seen.faces if seen else ()
    watched = [f.calibrating for f in faces if f.calibrating is not None]
    with st.container(horizontal=True):
        pressed = st.button("Calibrate to my neutral face", key="mirror_calibrate", icon=":material/face:")
        if pressed and not moving.live.calibrate():
            st.toast("No face in sight: look into the camera, then press the button again.")
        _forgetting(moving.live)
    if watched:
        st.progress(min(watched), "Look into the camera with a neutral face …")
    _words(seen)
    if seen:
        st.caption(f"{seen.fps:.0f} pictures a second, {sum(seen.timings_ms.values()):.0f} ms for each.")


def _forgetting(pipeline: LivePipeline) -> None:
    """The button that takes calibrations back, while there are any."""
    if pipeline.calibrated:
        st.button("Forget the calibration", key="mirror_forget", on_click=pipeline.forget_calibration)


def _words(seen: LiveFrame | None) -> None:
    """The faces in words."""
    if seen is None:
        return
    if not seen.faces:
        st.markdown("No face in sight.")
        return
    said = (
        f"{f.emoji} **{f.label}** {f.probs[f.index]:.0%}{' (calibrated)' if f.calibrated else ''}" for f in seen.faces
    )
    st.markdown(", ".join(said))


def _snapshots(model: str, picture: Any, controls: Any) -> None:
    snapshots = _kept(Snapshots, model)
    with controls:
        plain = st.toggle("Emoji only", help=PLAIN_HELP)
    with picture:
        given = st.camera_input("Take a snapshot", key="mirror_camera")
        if given is None:
            st.caption(
                "The snapshot with its emoji appears here. If the browser refuses the camera, allow it beside the "
                "address of this page."
            )
            return
        image = read_image(given.getvalue())
        buttons = st.container(horizontal=True)
        with buttons:
            if st.button("This is my neutral face", key="mirror_neutral", icon=":material/face:"):
                n = snapshots.take_as_neutral(image)
                st.toast(f"Calibrated: {n} face{'s' if n != 1 else ''}." if n else "No face found in this snapshot.")
        seen = snapshots.look(image)
        with buttons:
            _forgetting(snapshots.live)
        st.image(snapshots.draw(image, seen, plain), width="stretch")
        _words(seen)


main()
