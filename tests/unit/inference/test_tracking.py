"""Faces keep their numbers: on drawn frames, with true boxes in place of a detector, sometimes or not at all given."""

import numpy as np
import pytest

from fer.data.drawn_clip import AT_REST, draw_person, paint_people, pose_of
from fer.errors import ConfigError
from fer.faces import Face
from fer.faces.types import iou
from fer.inference.tracking import Tracker, TrackerOptions

W, H = 320, 240
PEOPLE = [draw_person(k) for k in (3, 4, 9, 21)]


def scene(boxes, rng):
    """Frame with one person at each box (None = absent), the last one in front."""
    heads = [(PEOPLE[i], AT_REST, pose_of(b)) for i, b in enumerate(boxes) if b is not None]
    return paint_people(heads, W, H, rng)


def square(x, y, side=70):
    return (x - side / 2, y - side / 2, x + side / 2, y + side / 2)


def as_face(box):
    left, top, right, bottom = (round(v) for v in box)
    return Face((max(left, 0), max(top, 0), min(right, W), min(bottom, H)), 0.9)


def run(places, detect_every=4, fps=20, hidden=lambda k, i: False, tracker=None):
    """places(k) -> boxes of frame k. Yields (k, boxes, tracked)."""
    rng = np.random.default_rng(0)
    tracker = tracker or Tracker()
    for k, boxes in enumerate(places):
        found = None
        if k % detect_every == 0 or tracker.unsure:
            found = [as_face(b) for i, b in enumerate(boxes) if b is not None and not hidden(k, i)]
        yield k, boxes, tracker.update(scene(boxes, rng), k / fps, found)


def nearest(tracked, box):
    return max(tracked, key=lambda t: iou(t.box, box))


def test_a_moving_face_is_followed_without_the_detector():
    path = [[square(70 + 4 * k, 120 + 1.5 * k)] for k in range(30)]
    for k, (box,), tracked in run(path, detect_every=1000):
        assert [t.id for t in tracked] == [1]
        assert iou(tracked[0].box, box) > 0.75, k


def test_a_face_that_comes_nearer_grows():
    path = [[square(160, 120, 50 * 1.02**k)] for k in range(30)]
    *_, (_, (box,), (t,)) = run(path, detect_every=1000)
    assert (t.box[2] - t.box[0]) / (box[2] - box[0]) == pytest.approx(1, abs=0.12)


def test_faces_that_pass_each_other_keep_their_numbers():
    path = [[square(60 + 5 * k, 118), square(260 - 5 * k, 124)] for k in range(40)]
    ids = {}
    # the one behind is not seen while it is covered

    def covered(k, i):
        return i == 0 and iou(path[k][0], path[k][1]) > 0.35

    for k, boxes, tracked in run(path, hidden=covered):
        if k in (4, 39):
            ids[k] = [nearest(tracked, b).id for b in boxes]
            assert all(iou(nearest(tracked, b).box, b) > 0.5 for b in boxes)
    assert ids[4] == ids[39] and len(set(ids[4])) == 2


def test_a_face_that_leaves_is_dropped_soon_and_known_again_when_it_returns_elsewhere():
    path = (
        [[square(80, 120), square(230, 120)]] * 10
        + [[square(80, 120), None]] * 30
        + [[square(80, 120), square(200, 110)]] * 8
    )
    counts, last = [], None
    for _, _, tracked in run(path):
        counts.append(len(tracked))
        last = tracked
    assert counts[9] == 2 and set(counts[18:40]) == {1}, "shown no longer than one round of detection"
    assert [t.id for t in last] == [1, 2]


def test_another_person_in_the_same_place_later_gets_another_number():
    a, b = [square(160, 120), None], [None, square(160, 120)]
    path = [a] * 8 + [[None, None]] * 40 + [b] * 6
    seen = [[t.id for t in tracked] for _, _, tracked in run(path)]
    assert seen[7] == [1] and seen[30] == [] and seen[-1] == [2]


def test_a_missed_detection_or_two_do_not_matter():
    path = [[square(160 + k, 120)] for k in range(40)]
    for k, _, tracked in run(path, hidden=lambda k, i: k in (8, 9, 20, 21, 22)):
        assert [t.id for t in tracked] == [1], k


def test_a_false_alarm_seen_once_is_gone_in_the_next_frame():
    rng = np.random.default_rng(0)
    tracker = Tracker()
    box = square(160, 120)
    tracker.update(scene([box], rng), 0.0, [as_face(box), Face((10, 10, 50, 50), 0.6)])
    assert tracker.unsure
    assert [t.id for t in tracker.update(scene([box], rng), 0.05, [as_face(box)])] == [1]


def test_at_the_border_boxes_stay_inside_and_a_face_that_walks_out_ends():
    path = [[square(40 - 4 * k, 120)] for k in range(30)]
    for k, (box,), tracked in run(path, hidden=lambda k, i: path[k][0][2] < 40):
        for t in tracked:
            left, top, right, bottom = t.box
            assert 0 <= left < right <= W and 0 <= top < bottom <= H
        assert len(tracked) == (box[2] > 40) or 18 <= box[2] <= 45, k


def test_thirty_faces_and_tiny_ones():
    rng = np.random.default_rng(1)
    boxes = [(20 + 48 * (i % 6), 10 + 44 * (i // 6), 50 + 48 * (i % 6), 40 + 44 * (i // 6)) for i in range(30)]
    image = rng.integers(0, 255, (H, W, 3), dtype=np.uint8)
    tracker = Tracker()
    for k in range(4):
        tracked = tracker.update(image, k / 20, [Face(b, 0.8) for b in boxes] if k < 2 else None)
    assert [t.id for t in tracked] == list(range(1, 31))
    assert all(iou(t.box, b) > 0.8 for t, b in zip(tracked, boxes, strict=True))
    few = Tracker(TrackerOptions(most=5))
    assert len(few.update(image, 0, [Face(b, 0.8) for b in boxes])) == 5
    tiny = Tracker()
    for k in range(4):
        tracked = tiny.update(image, k / 20, [Face((100, 100, 115, 115), 0.8)] if k < 2 else None)
    assert [t.id for t in tracked] == [1] and iou(tracked[0].box, (100, 100, 115, 115)) > 0.6


def test_a_turned_phone_keeps_the_person():
    rng = np.random.default_rng(0)
    tracker, box = Tracker(), square(160, 100)
    for k in range(3):
        tracker.update(scene([box], rng), k / 20, [as_face(box)])
    upright = paint_people([(PEOPLE[0], AT_REST, pose_of(square(100, 150)))], 200, 320, rng)
    assert tracker.update(upright, 0.2, None) == []
    (t,) = tracker.update(upright, 0.25, [Face((65, 115, 135, 185), 0.9)])
    assert t.id == 1


def test_a_long_gap_claims_nothing_from_the_flow():
    rng = np.random.default_rng(0)
    tracker, box = Tracker(), square(90, 120)
    for k in range(2):
        tracker.update(scene([box], rng), k / 20, [as_face(box)])
    tracker.update(scene([square(230, 120)], rng), 5.0, None)
    assert tracker.unsure


def test_impossible_settings():
    with pytest.raises(ConfigError):
        Tracker(TrackerOptions(most=0))
