"""The lab's emoji mirror: snapshots without streamlit-webrtc, and the frames of a connection."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from fer.data.drawn_clip import Shot, draw_clip, draw_person
from fer.labels import FER7
from tests.lab_driver import encoded, messages, open_page, scene, sound

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


class Chooses:
    """A predictor that always gives the probabilities it was told to."""

    name = "chooses"
    labels = FER7

    def __init__(self, label: str = "happy", p: float = 0.94):
        self.says(label, p)

    def says(self, label: str, p: float = 0.94) -> None:
        self.probs = np.full(7, (1 - p) / 6, np.float32)
        self.probs[FER7.index(label)] = p

    def predict_proba(self, faces) -> np.ndarray:
        return np.tile(self.probs, (len(faces), 1))


class Frame:
    """Stands in for av.VideoFrame."""

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    def to_ndarray(self, format: str) -> np.ndarray:
        assert format == "rgb24"
        return self.pixels

    @classmethod
    def from_ndarray(cls, pixels: np.ndarray, format: str) -> Frame:
        assert format == "rgb24"
        return cls(pixels)


@pytest.fixture
def no_webrtc(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "streamlit_webrtc" else find(name, *rest)
    )


@pytest.fixture
def moving():
    from streamlit_app.moving import Moving

    return Moving(Chooses())


def test_without_checkpoints_the_page_says_how_to_train(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "nothing"))
    app = open_page("mirror")
    assert "scripts/train.py" in messages(app) and not app.error


def test_a_snapshot_gets_its_emoji_and_can_be_taken_for_neutral(checkpoints, no_webrtc):
    app = open_page("mirror")
    assert not app.image, "nothing is shown before the first snapshot"
    picture = encoded(scene(["happy", "sad"], 900), "JPEG")
    app.camera_input[0].upload("snapshot.jpg", picture, "image/jpeg").run()
    assert len(sound(app).image) == 1
    said = app.markdown[-1].value
    assert said.count("**") == 4, "two faces, named"
    assert "calibrated" not in said and not forgets(app), "there is nothing to forget"
    app.button(key="mirror_neutral").click().run()
    assert app.markdown[-1].value.count("**neutral**") == 2 and app.markdown[-1].value.count("calibrated") == 2
    app.button(key="mirror_forget").click().run()
    assert app.markdown[-1].value == said and not forgets(app), "as before"


def forgets(app) -> bool:
    return "mirror_forget" in {button.key for button in app.button}


def test_a_snapshot_without_a_face_says_so(checkpoints, no_webrtc):
    app = open_page("mirror")
    wall = encoded(np.full((480, 640, 3), 120, np.uint8), "JPEG")
    app.camera_input[0].upload("snapshot.jpg", wall, "image/jpeg").run()
    assert sound(app).markdown[-1].value == "No face in sight."
    app.button(key="mirror_neutral").click().run()
    assert "No face found" in app.toast[0].value and not forgets(app)


def test_frames_of_a_connection_come_back_covered_and_turned(moving):
    clip = list(draw_clip([Shot("happy", 0.3)], draw_person(3, plain=True), face_px=160))
    before = clip[0].image
    pixels = moving.on_frame(Frame(before)).pixels
    (face,) = moving.last.faces
    left, top, right, bottom = face.box
    assert face.label == "happy"
    yellow = pixels[top:bottom, left:right].reshape(-1, 3).mean(axis=0)
    assert yellow[0] > 180 and yellow[1] > 140 and yellow[2] < 90, "an emoji lies over the face"
    assert np.array_equal(pixels[:, :40], before[:, ::-1][:, :40]), "the rest is the picture, as in a mirror"
    moving.configure(0.25, 0.25, plain=True, mirrored=False)
    plain = moving.on_frame(Frame(clip[1].image)).pixels
    assert len(np.unique(plain[:, :40].reshape(-1, 3), axis=0)) == 1, "emoji only"
    assert np.array_equal(
        clip[1].image, list(draw_clip([Shot("happy", 0.3)], draw_person(3, plain=True), face_px=160))[1].image
    )


def test_settings_reach_a_running_connection(moving):
    moving.configure(1.5, 0.0, plain=False, mirrored=True)
    assert moving.live.options.time_constant_s == 1.5
    for k, frame in enumerate(draw_clip([Shot("neutral", 0.3)], draw_person(3, plain=True))):
        moving.draw(frame.image, k / 30)
    moving.live.predictor.says("sad")
    moving.draw(frame.image, 0.5)
    (face,) = moving.last.faces
    assert face.label == "happy", "smoothed over 1.5 s, one frame does not turn it"
    moving.configure(0.0, 0.0, plain=False, mirrored=True)
    moving.draw(frame.image, 0.6)
    assert moving.last.faces[0].label == "sad"


def test_a_frame_that_cannot_be_read_goes_through_as_it_is(moving, caplog):
    broken = Frame(np.zeros((0, 0, 3), np.uint8))
    assert moving.on_frame(broken) is broken
    assert "a frame failed" in caplog.text
