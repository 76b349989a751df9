"""Emoji pictures and the mirror: the right one, over the face, fading, for several faces at once."""

import numpy as np
import pytest

from fer.emoji import emoji_picture
from fer.errors import ConfigError
from fer.inference.live import LiveFace, LiveFrame
from fer.labels import EMOJI, FER7
from fer.mirror import EmojiMirror
from fer.paths import ROOT

H, W = 200, 300


def frame(time_s, *faces):
    made = []
    for i, box, label in faces:
        shown = FER7.index(label)
        probs = np.eye(7, dtype=np.float32)[shown]
        made.append(LiveFace(box=box, score=1.0, probs=probs, labels=FER7, id=i, raw=probs, shown=shown))
    return LiveFrame(time_s, (W, H), tuple(made), {}, True, 20.0)


GROUND = np.full((H, W, 3), 60, np.uint8)
BOX = (100, 50, 180, 130)


def test_every_class_has_a_picture_of_its_own_with_the_licence_beside():
    pictures = {n: emoji_picture(n, 64) for n in EMOJI}
    for name, p in pictures.items():
        assert p.shape == (64, 64, 4) and p.dtype == np.uint8, name
        assert p[32, 32, 3] == 255 and p[0, 0, 3] == 0, "round on a clear ground"
    assert len({p.tobytes() for p in pictures.values()}) == len(EMOJI)
    assert (emoji_picture("Anger", 64) == pictures["angry"]).all()
    assert "SIL OPEN FONT LICENSE" in (ROOT / "fer" / "emoji" / "OFL.txt").read_text(encoding="utf-8")
    for wrong in (("bored", 64), ("happy", 0), ("happy", 5000)):
        with pytest.raises(ConfigError):
            emoji_picture(*wrong)


def test_the_face_is_covered_and_nothing_far_from_it():
    mirror = EmojiMirror()
    drawn = mirror.draw(GROUND, frame(0.0, (1, BOX, "happy")))
    assert (GROUND == 60).all()
    r, g, b = drawn[70, 140].astype(int)
    assert r > 180 and g > 120 and b < 130, "yellow"
    assert (drawn[:, :80] == 60).all() and (drawn[:, 205:] == 60).all()
    assert (drawn[60:120, 110:170] != 60).any(axis=2).all(), "no pixel of the face shows through"


def test_one_emoji_fades_into_the_next_in_the_time_given_at_any_frame_rate():
    for fps in (10, 30):
        mirror = EmojiMirror(fade_s=0.3)
        mirror.draw(GROUND, frame(0.0, (1, BOX, "happy")))
        seen = []
        for k in range(1, round(0.4 * fps) + 1):
            mirror.draw(GROUND, frame(k / fps, (1, BOX, "sad")))
            w = mirror.weights(1)
            assert w.sum() == pytest.approx(1) and w.min() >= 0
            seen.append((k / fps, w[FER7.index("sad")]))
        for t, share in seen:
            assert share == pytest.approx(min(t / 0.3, 1.0), abs=1e-6)
    at_once = EmojiMirror(fade_s=0)
    at_once.draw(GROUND, frame(0.0, (1, BOX, "happy")))
    at_once.draw(GROUND, frame(0.1, (1, BOX, "sad")))
    assert at_once.weights(1)[FER7.index("sad")] == 1


def test_half_way_the_picture_is_a_mixture():
    def at(time_s):
        mirror = EmojiMirror(fade_s=1.0)
        mirror.draw(GROUND, frame(0.0, (1, BOX, "happy")))
        return mirror.draw(GROUND, frame(time_s, (1, BOX, "disgust"))).astype(int)

    start, middle, end = at(0.0), at(0.5), at(1.0)
    assert np.abs(middle - (start + end) / 2).max() <= 2 and np.abs(start - end).max() > 50


def test_several_faces_the_nearer_in_front_and_a_gone_face_is_forgotten():
    mirror = EmojiMirror()
    near, far = (100, 40, 200, 140), (170, 60, 230, 120)
    both = mirror.draw(GROUND, frame(0.0, (1, near, "angry"), (2, far, "disgust")))
    alone = EmojiMirror().draw(GROUND, frame(0.0, (1, near, "angry")))
    assert (both[40:140, 100:195] == alone[40:140, 100:195]).mean() > 0.99
    assert (both[85:95, 225:230] != 60).any()
    mirror.draw(GROUND, frame(0.1, (2, far, "disgust")))
    with pytest.raises(KeyError):
        mirror.weights(1)


@pytest.mark.parametrize("box", [(0, 0, 15, 15), (-40, -40, 20, 20), (280, 180, 300, 200), (0, 0, 300, 200)])
def test_borders_and_sizes(box):
    assert EmojiMirror().draw(GROUND, frame(0.0, (1, box, "fear"))).shape == (H, W, 3)


def test_a_plain_ground_shows_no_camera_picture():
    noise = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
    drawn = EmojiMirror(ground="plain").draw(noise, frame(0.0, (1, BOX, "happy")))
    assert len(np.unique(drawn[:35].reshape(-1, 3), axis=0)) == 1 and drawn[90, 140].std() > 20
    with pytest.raises(ConfigError, match="plain"):
        EmojiMirror(ground="plane")
