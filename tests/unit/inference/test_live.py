"""The live pipeline: from frames to faces with numbers, smoothed answers, calibration; no frame waits in a queue."""

import itertools
import json
import threading
import time

import numpy as np
import pytest

from fer.data.drawn_clip import AT_REST, Shot, draw_clip, draw_person, paint_people, pose_of
from fer.errors import ConfigError, ImageError
from fer.inference.live import STAGES, LiveOptions, LivePipeline, NewestFrame
from fer.inference.smoothing import Smoother
from fer.inference.tracking import TrackerOptions
from fer.labels import FER7, LabelSet

W, H = 320, 240


class Says:
    """A stand-in that always says `probs`; counts the faces it was given."""

    labels = FER7

    def __init__(self, probs=None):
        self.probs = np.eye(7, dtype=np.float32)[3] * 0.7 + 0.3 / 7 if probs is None else np.array(probs, np.float32)
        self.given = []

    def predict_proba(self, faces):
        self.given.append(len(faces))
        return np.tile(self.probs, (len(faces), 1)).astype(np.float32)


@pytest.fixture(scope="module")
def one_face():
    box = (110, 70, 220, 180)
    return paint_people([(draw_person(3, plain=True), AT_REST, pose_of(box))], W, H, np.random.default_rng(0))


EMPTY = np.full((H, W, 3), 180, np.uint8)


def test_one_face_from_the_first_frame_on(one_face):
    live = LivePipeline(Says(), LiveOptions(detect_every=5))
    frames = [live.process(one_face, k / 20) for k in range(12)]
    assert [[f.id for f in frame.faces] for frame in frames] == [[1]] * 12
    face = frames[-1].faces[0]
    assert face.label == "happy" and face.emoji == "😄" and face.raw == pytest.approx(face.probs)
    assert [k for k, f in enumerate(frames) if f.detected] == [0, 2, 7], "soon again for a new face, then every fifth"
    assert set(frames[0].timings_ms) == set(STAGES) and frames[0].timings_ms["detect"] > 0
    assert json.loads(json.dumps(face.as_dict()))["id"] == 1


def test_no_face_and_no_model_call():
    model = Says()
    live = LivePipeline(model)
    assert all(live.process(EMPTY, k / 20).faces == () for k in range(5)) and model.given == []
    assert live.process(EMPTY, 9.0).fps > 0


def test_an_overtaken_frame_is_not_looked_at(one_face):
    model = Says()
    live = LivePipeline(model)
    live.process(one_face, 1.0)
    for late in (0.5, 1.0):
        seen = live.process(one_face, late)
        assert seen.stale and seen.time_s == 1.0 and len(seen.faces) == 1
    assert len(model.given) == 1
    live.reset()
    assert not live.process(one_face, 0.0).stale


def test_of_frames_that_wait_only_the_newest_is_looked_at(one_face):
    class Slow(Says):
        def predict_proba(self, faces):
            time.sleep(0.3)
            return super().predict_proba(faces)

    model = Slow()
    live = LivePipeline(model)
    answers = {}

    def ask(k):
        answers[k] = live.process(one_face, float(k))

    threads = []
    for k in range(6):
        threads.append(threading.Thread(target=ask, args=(k,)))
        threads[-1].start()
        time.sleep(0.02 if k else 0.15)
    for t in threads:
        t.join()
    looked = [k for k, a in answers.items() if not a.stale]
    assert 5 in looked and len(model.given) == len(looked) <= 3


def test_many_faces_take_turns_and_all_are_shown(monkeypatch):
    from fer.faces import Face
    from fer.inference import live as module

    boxes = [(20 + 48 * (i % 6), 10 + 44 * (i // 6), 50 + 48 * (i % 6), 40 + 44 * (i // 6)) for i in range(30)]
    monkeypatch.setattr(module, "detect", lambda *a, **k: [Face(b, 0.9) for b in boxes])
    image = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
    model = Says()
    live = LivePipeline(model, LiveOptions(most_classified=8))
    counts = [len(live.process(image, k / 20).faces) for k in range(6)]
    assert model.given == [8] * 6 and counts == [8, 16, 24, 30, 30, 30]


@pytest.mark.parametrize("box", [(0, 0, 15, 15), (300, 225, 320, 240), (0, 0, 320, 240)])
def test_tiny_faces_and_faces_at_the_border_are_classified(monkeypatch, box):
    from fer.faces import Face
    from fer.inference import live as module
    from fer.mirror import EmojiMirror
    from fer.overlay import draw_live

    monkeypatch.setattr(module, "detect", lambda *a, **k: [Face(box, 0.9)])
    image = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
    live = LivePipeline(Says())
    for k in range(3):
        seen = live.process(image, k / 20)
        assert len(seen.faces) == 1
        assert draw_live(image, seen).shape == EmojiMirror().draw(image, seen).shape == image.shape


def test_calibration_of_the_person_in_the_picture(one_face):
    grumpy = [0.6, 0.02, 0.02, 0.02, 0.02, 0.02, 0.3]
    live = LivePipeline(Says(grumpy))
    assert live.calibrate() == [] and not live.calibrated, "nobody there yet"
    assert live.process(one_face, 0.0).faces[0].label == "angry"
    assert live.calibrate(seconds=1.0) == [1]
    shown = [live.process(one_face, k / 10).faces[0] for k in range(1, 40)]
    assert shown[4].calibrating == pytest.approx(0.4) and not shown[4].calibrated
    assert shown[-1].calibrated and shown[-1].calibrating is None and shown[-1].label == "neutral"
    assert live.calibrated
    live.forget_calibration()
    assert not live.calibrated
    assert [live.process(one_face, 4 + k / 10).faces[0].label for k in range(20)][-1] == "angry"
    with pytest.raises(ConfigError, match="no face 7"):
        live.calibrate(face_id=7)


def test_a_calibration_ends_when_the_person_leaves(one_face):
    live = LivePipeline(Says([0.5, 0.02, 0.02, 0.02, 0.02, 0.02, 0.4]))
    for k in range(4):
        live.process(one_face, k / 20)
    live.calibrate(seconds=1.0)
    live.process(one_face, 0.2)
    for k in range(3, 60):
        live.process(EMPTY, k / 10)
    back = live.process(one_face, 6.1).faces
    assert [(f.id, f.calibrating, f.calibrated) for f in back] == [(1, None, False)]


def test_wrong_frames_and_settings(one_face):
    live = LivePipeline(Says())
    for wrong in (np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 3)) - 1, np.zeros((5, 5, 2), np.uint8), "absent.png"):
        with pytest.raises(ImageError):
            live.process(wrong, 0.0)
    assert len(live.process(one_face, 1.0).faces) == 1, "a wrong frame does no harm"
    assert live.process(one_face[:, :, 0], 2.0).size == (W, H)
    for make in (
        lambda: LivePipeline(Says(), LiveOptions(detector="hare")),
        lambda: LiveOptions(detect_every=0),
        lambda: LiveOptions(time_constant_s=-1),
        lambda: live.configure(hysteresis=2),
        lambda: live.calibrate(seconds=0),
    ):
        with pytest.raises(ConfigError):
            make()
    model = Says()
    model.labels = LabelSet("no neutral", (*FER7.names[:6], "contempt"))
    with pytest.raises(ConfigError, match="neutral"):
        LivePipeline(model).calibrate()


def test_the_timeline_reaches_back_thirty_seconds_and_no_further(one_face):
    live = LivePipeline(Says(), LiveOptions(detect_every=20))
    for k in range(200):
        live.process(one_face, k / 5)
    times, probs = live.timeline.of(1)
    assert times[0] == pytest.approx(39.8 - 30, abs=0.21) and times[-1] == pytest.approx(39.8)
    assert probs.shape == (len(times), 7) and live.timeline.ids == [1] and len(live.timeline) == len(times)
    assert live.timeline.rows()[-1]["label"] == "happy" and live.timeline.of(9)[0].size == 0
    before = len(live.timeline)
    for k in range(10):
        live.process(one_face, 39.9 + k / 100)
    assert len(live.timeline) <= before + 1, "at most ten moments a second"


def test_settings_change_while_the_stream_runs(one_face):
    live = LivePipeline(Says(), LiveOptions(detect_every=20))
    for k in range(40):
        live.process(one_face, k / 4)
    assert live.timeline.of(1)[0][0] == 0.0
    live.configure(timeline_s=2.0, tracker=TrackerOptions(hide_s=0.0, remember_s=0.0))
    assert live.timeline.of(1)[0][0] == 0.0, "what was seen stays, until the next frame"
    live.process(one_face, 10.0)
    assert live.timeline.of(1)[0].min() == pytest.approx(8.0)
    for k in range(12):
        live.process(EMPTY, 10.25 + k / 4)
    back = [live.process(one_face, 13.5 + k / 4).faces for k in range(3)][-1]
    assert [face.id for face in back] == [2], "a face that left gets a new number"
    before = live.options
    for wrong in ({"timeline_s": 0}, {"detector": "hare"}, {"timeline_s": 5.0, "detect_every": 0}):
        with pytest.raises(ConfigError):
            live.configure(**wrong)
    assert live.options == before and live.timeline.seconds == 2.0, "all or nothing"


def test_the_newest_frame_waits_alone():
    slot = NewestFrame()
    for k in range(5):
        slot.put(np.full((1, 1, 3), k, np.uint8), float(k))
    time_s, image = slot.take()
    assert time_s == 4 and image[0, 0, 0] == 4 and slot.replaced == 4
    assert slot.take(timeout_s=0.01) is None
    threading.Timer(0.05, slot.close).start()
    assert slot.take(timeout_s=5) is None


def test_stage_times_add_up(one_face):
    from fer.inference.stage_times import measure_stages

    class Slow(Says):
        def predict_proba(self, faces):
            time.sleep(0.02)
            return super().predict_proba(faces)

    times = measure_stages(LivePipeline(Slow()), [one_face], frames=16, draw=lambda image, seen: time.sleep(0.01))
    assert times.ms["classify"] >= 20 and times.ms["draw"] >= 10 and times.found == 1.0
    assert times.fps == pytest.approx(1000 / sum(times.ms[s] for s in STAGES))
    report = json.loads(json.dumps(times.as_dict()))
    assert sum(s["share"] for s in report["stages"].values()) == pytest.approx(1, abs=0.01)
    with pytest.raises(ConfigError):
        measure_stages(LivePipeline(Says()), [])


SHOTS = [Shot(e, 1.2) for e in ("neutral", "happy", "surprise", "sad", "happy")]


def test_the_label_follows_a_change_within_half_a_second_and_does_not_flicker():
    """A clip of a drawn person with a noisy camera, through detector, tracker and a bundled net."""
    fps = 15
    live = LivePipeline("attention_cnn")
    shown, raw = [], []
    for frame in draw_clip(SHOTS, draw_person(3, plain=True), fps=fps, width=W, height=H, grain=21):
        (face,) = live.process(frame.image, frame.time_s).faces
        shown.append(face.label)
        raw.append(face.raw)
    names = live.labels.names
    raw_labels = [names[int(p.argmax())] for p in raw]
    per_shot = round(SHOTS[0].seconds * fps)
    for k, shot in enumerate(SHOTS):
        part = shown[k * per_shot : (k + 1) * per_shot]
        assert shot.expression in part[: int(0.5 * fps) + 1], (shot.expression, part)
        assert flicker(part) <= 1, (shot.expression, part)
    assert flicker(shown) <= len(SHOTS) - 1 < flicker(raw_labels), "without smoothing it flickers more"
    sluggish = Smoother(2.0, 0.1)
    late = []
    for k, p in enumerate(raw):
        sluggish.update(p, k / fps)
        late.append(names[sluggish.index])
    assert any(s.expression not in late[k * per_shot : k * per_shot + 8] for k, s in enumerate(SHOTS))


def flicker(labels):
    return sum(a != b for a, b in itertools.pairwise(labels))


def seen_at(*boxes, calibrating=None):
    from fer.inference.live import LiveFace, LiveFrame

    probs = np.eye(7, dtype=np.float32)[3]
    faces = [
        LiveFace(box=b, score=1.0, probs=probs, labels=FER7, id=i, raw=probs, shown=3, calibrating=calibrating)
        for i, b in enumerate(boxes)
    ]
    return LiveFrame(0.0, (W, H), tuple(faces), {}, True, 20.0)


def test_bars_stand_beside_the_face_and_never_on_another_one():
    from fer.overlay import draw_live

    ground = np.full((H, W, 3), 120, np.uint8)
    alone = draw_live(ground, seen_at((40, 80, 140, 180)))
    without = draw_live(ground, seen_at((40, 80, 140, 180)), bars=False)
    changed = (alone != without).any(axis=2)
    assert changed[80:170, 145:190].all() and not changed[:, :140].any() and (ground == 120).all()
    happy = alone[80 + 3 * 14 + 5, 145:190].astype(int)
    assert (np.abs(happy - (0xE6, 0x9F, 0x00)).max(axis=1) < 3).sum() > 20, "a full bar in happy's colour"
    other = (150, 80, 250, 180)
    both = draw_live(ground, seen_at((40, 80, 140, 180), other))
    assert (both[110:175, 155:245] == 120).all(), "the neighbour's face stays free"


@pytest.mark.parametrize(("size", "box"), [((20000, 200), (20, 40, 180, 240)), ((8600, 4300), (100, 900, 4000, 4800))])
def test_a_tall_strip_is_drawn_on_and_its_label_fits(size, box):
    from fer.overlay import draw_faces

    (face,) = seen_at(box).faces
    drawn = draw_faces(np.full((*size, 3), 120, np.uint8), [face])
    assert drawn.shape == (*size, 3)
    above = (drawn[: box[1]] != 120).any(axis=2)
    rows, columns = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    assert 10 < len(rows) < size[1] / 5, "a label, not a sheet"
    assert columns[-1] < size[1] - 1, "none of it is cut off"


def test_a_calibration_under_way_is_a_growing_line_under_the_box():
    from fer.overlay import draw_live

    drawn = draw_live(np.full((H, W, 3), 120, np.uint8), seen_at((40, 80, 140, 180), calibrating=0.5))
    line = drawn[183, 40:140, 0]
    assert (line[:50] == 255).all() and (line[50:] == 40).all()
