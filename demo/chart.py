"""A film's timeline as a picture in the page: for each face, how sure the model was of what, over the whole film."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from icons import icon

if TYPE_CHECKING:
    from fer.inference.timeline import Timeline
    from fer.labels import LabelSet

MOST_POINTS = 300
_GAP_S = 0.6  # a face that was away for longer leaves a gap
_WIDE, _HIGH = 1000, 100


def timeline_chart(timeline: Timeline, labels: LabelSet, seconds: float, faces: Sequence[tuple[int, str]]) -> str:
    """One band a face: the classes stacked, so that the height of a colour is its probability.

    Args:
        timeline: What was seen when.
        labels: Names, emoji and colours.
        seconds: Length of the film.
        faces: (number, what to write above its band).

    Returns:
        HTML; empty where there is no face.
    """
    bands = "".join(_band(*timeline.of(number), labels, seconds, title) for number, title in faces)
    if not bands:
        return ""
    legend = "".join(
        f'<li><span class="fer-key" style="background:{color}"></span>{icon(name, emoji)} {escape(name)}</li>'
        for name, emoji, color in zip(labels.names, labels.emoji, labels.colors, strict=True)
    )
    ticks = "".join(f"<span>{t:g} s</span>" for t in _ticks(seconds))
    return (
        f'<div class="fer-timeline">{bands}<div class="fer-axis" aria-hidden="true">{ticks}</div>'
        f'<ul class="fer-legend">{legend}</ul></div>'
    )


def _ticks(seconds: float) -> list[float]:
    """Beginning, middle and end."""
    return [0.0, round(seconds / 2, 1), round(seconds, 1)]


def _band(times: np.ndarray, probs: np.ndarray, labels: LabelSet, seconds: float, title: str) -> str:
    if not len(times):
        return ""
    every = max(1, -(-len(times) // MOST_POINTS))
    times, probs = times[::every], probs[::every]
    shapes = [""] * len(labels)
    gap = max(_GAP_S, 1.5 * every / 10)
    for part in np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > gap) + 1):
        x = times[part]
        if len(part) == 1:  # one moment is a thin line
            x, part = np.array([x[0], x[0] + 0.1]), np.repeat(part, 2)
        x = np.clip(x / max(seconds, 0.1), 0, 1) * _WIDE
        upper = np.cumsum(probs[part], axis=1) * _HIGH
        lower = np.hstack([np.zeros((len(part), 1)), upper[:, :-1]])
        for i in range(len(labels)):
            there = " ".join(f"{a:.0f},{_HIGH - b:.1f}" for a, b in zip(x, upper[:, i], strict=True))
            back = " ".join(f"{a:.0f},{_HIGH - b:.1f}" for a, b in zip(x[::-1], lower[::-1, i], strict=True))
            shapes[i] += f"M{there} {back}Z"
    paths = "".join(
        f'<path d="{d}" fill="{color}"><title>{escape(name)}</title></path>'
        for d, name, color in zip(shapes, labels.names, labels.colors, strict=True)
    )
    return (
        f'<figure class="fer-band"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" role="img" aria-label="{escape(title)}">'
        f"{paths}</svg></figure>"
    )
