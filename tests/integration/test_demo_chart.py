"""The timeline of a film as a chart on the demo's page."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fer.inference.timeline import Timeline
from fer.labels import FER7

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
