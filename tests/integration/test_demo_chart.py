"""What the demo's page tells of a film: its timeline as a chart, and for how long who showed what."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fer.inference.timeline import Timeline
from fer.inference.video import VideoReport
from fer.labels import FER7

pytest_plugins = ("tests.demo_fixtures",)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def chart():
    """The module."""
    sys.path.insert(0, str(ROOT / "demo"))
    try:
        yield importlib.import_module("chart")
    finally:
        sys.path.remove(str(ROOT / "demo"))


def timeline_of(*moments):
    """Moments (time_s, face, probabilities)."""
    timeline = Timeline(100)
    for time_s, number, probs in moments:
        timeline.add(time_s, [SimpleNamespace(id=number, label="", probs=np.array(probs, np.float32))])
    return timeline


def test_heights_are_probabilities_and_absence_is_a_gap(chart):
    half = [0.25, 0, 0, 0.75, 0, 0, 0]
    html = chart.timeline_chart(
        timeline_of((0, 1, half), (0.5, 1, half), (5, 1, half), (6 - 0.5, 1, half)), FER7, 10, [(1, "a < b")]
    )
    assert "a &lt; b" in html and "a < b" not in html
    angry, happy = (html.split(f'fill="{FER7.colors[i]}"')[0].rsplit('d="', 1)[1] for i in (0, 3))
    assert angry.count("M") == 2, "two stretches"
    assert angry.startswith("M0,75.0 50,75.0 50,100.0 0,100.0Z"), "a quarter of the height, from below"
    assert happy.startswith("M0,0.0 50,0.0 50,75.0 0,75.0Z"), "on top of it"


def test_long_films_are_thinned_out_and_absent_faces_left_out(chart):
    many = timeline_of(*((i / 10, 7, [1, 0, 0, 0, 0, 0, 0]) for i in range(900)))
    html = chart.timeline_chart(many, FER7, 90, [(7, "one")])
    assert html.count("M") < 20 and len(html) < 60_000 and "90 s" in html
    assert chart.timeline_chart(many, FER7, 90, [(8, "other")]) == ""


def summed_up(demo, *frames):
    """The faces of a summary; frames (time_s, {face: label})."""
    tally = demo.film.Tally(lambda image, seen: image)
    for time_s, labels in frames:
        faces = [SimpleNamespace(id=number, label=label) for number, label in labels.items()]
        tally.draw(np.zeros((4, 4, 3), np.uint8), SimpleNamespace(size=(4, 4), time_s=time_s, faces=faces))
    summary = tally.summary(VideoReport(len(frames), frames[-1][0], (), 0, False))
    return {face["id"]: face for face in summary["faces"]}


def test_what_is_shown_longest_is_told_by_time_and_not_by_frames(demo):
    """Fifty frames in the first second, one a second from then on."""
    frames = [(k / 50, {1: "happy"}) for k in range(50)] + [(float(k), {1: "sad"}) for k in range(1, 10)]
    face = summed_up(demo, *frames)[1]
    assert face["label"] == "sad" and list(face["shares"]) == ["sad", "happy"]
    assert face["shares"]["sad"] == pytest.approx(0.9, abs=0.02) and sum(face["shares"].values()) == pytest.approx(1)
    assert 9 <= face["seconds"] <= 10


def test_time_of_absence_counts_for_nobody(demo):
    frames = [(0.0, {1: "happy"}), (1.0, {}), (4.0, {1: "sad", 2: "fear"}), (4.1, {1: "sad"}), (5.0, {2: "fear"})]
    faces = summed_up(demo, *frames)
    assert (faces[1]["seconds"], faces[1]["shares"]) == (2.0, {"happy": 0.5, "sad": 0.5})
    assert faces[2]["seconds"] == pytest.approx(0.1 + 5 / 4) and faces[2]["first_s"] == 4.0


def test_a_film_of_one_frame(demo):
    (face,) = summed_up(demo, (0.0, {1: "happy"})).values()
    assert (face["seconds"], face["label"], face["shares"]) == (0.0, "happy", {"happy": 1.0})
