"""Drawn clips: the same person from frame to frame, the expression asked for, the box where the face is."""

import numpy as np
import pytest

from fer.data.drawn_clip import AT_REST, Shot, blend, draw_clip, draw_person, paint_people, pose_of
from fer.data.face_actions import EXPRESSIONS, Actions
from fer.errors import ConfigError
from fer.faces.types import iou

SHOTS = [Shot("neutral", 0.5), Shot("happy", 0.5)]


def clip(**options):
    settings = {"fps": 10, "width": 160, "height": 120}
    return list(draw_clip(SHOTS, draw_person(3), **settings | options))


def test_times_expressions_and_seed():
    frames = clip()
    assert [round(f.time_s, 3) for f in frames] == [k / 10 for k in range(10)]
    assert [f.expression for f in frames] == ["neutral"] * 5 + ["happy"] * 5
    assert [k for k, f in enumerate(frames) if f.changing] == [5, 6]
    assert all((a.image == b.image).all() for a, b in zip(frames, clip(), strict=True))
    assert (frames[0].image != clip(seed=1)[0].image).any()


def test_the_person_stays_and_the_face_changes():
    still = np.array([f.image.astype(float) for f in clip(grain=0)])
    step = np.abs(np.diff(still, axis=0)).mean(axis=(1, 2, 3))
    assert step[:4].max() < 4, "no jump while nothing changes"
    other = np.abs(still[0] - next(iter(draw_clip(SHOTS, draw_person(4), 10, 160, 120, grain=0))).image).mean()
    assert other > 3 * step[:4].max()


def test_the_box_is_where_a_detector_finds_the_face():
    from fer.faces import detect

    (frame,) = draw_clip([Shot("neutral", 0.01)], draw_person(3, plain=True), fps=30)
    assert max(iou(f.box, frame.box) for f in detect(frame.image)) > 0.55
    pose = pose_of((10, 20, 110, 120))
    left, top, right, bottom = pose.box()
    assert (left + right) / 2 == pytest.approx(60, abs=3) and bottom - top == pytest.approx(100)


def test_a_resting_face_shows_unless_the_same_muscle_moves():
    person = draw_person(1, Actions(brow_inner=-0.6, corner=-0.5))
    assert person.wears(AT_REST).brow_inner == -0.6
    smile = person.wears(EXPRESSIONS["happy"][0])
    assert smile.corner == 1 and smile.brow_inner == pytest.approx(0.1 - 0.6 * 0.9)
    assert blend(AT_REST, Actions(jaw=1), 0.3).jaw == pytest.approx(0.3)


def test_heads_outside_the_frame_and_impossible_wishes():
    rng = np.random.default_rng(0)
    image = paint_people([(draw_person(2), AT_REST, pose_of((-90, -90, -10, -10)))], 80, 60, rng)
    assert image.shape == (60, 80, 3) and image.dtype == np.uint8
    for wrong in ([], [Shot("bored", 1)], [Shot("happy", 0)]):
        with pytest.raises(ConfigError):
            next(draw_clip(wrong, draw_person(2)))
