"""The parts of the page that are plain HTML: face cards, model facts, messages."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fer.labels import FER7
from fer.viz import heatmap_rgba
from icons import icon
from marks import LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from analysis import Facts, Seen
    from marks import PredictionSets

CROP_PX = 288
HEAT_PX = 144
MANY = 7  # from here on the cards are small ones
OOPS = "Something went wrong on our side; the log has the details. Please try another picture."

HEADER = """
<header class="fer-header">
  <h1>Facial-expression lab</h1>
  <p>Finds every face in a picture, names its expression and shows where the net looked.</p>
</header>
"""

CAUTION = """
<p class="fer-caution"><b>An expression is not a feeling:</b> the nets name what a face looks like, not what a person
feels. On their own training labels, people agree in about two of three pictures.
<a href="#about" onclick="document.getElementById('fer-to-about').click(); return false;">Limits and model cards</a></p>
"""

EMPTY = f"""
<div class="fer-empty">
  <div class="fer-empty-row">{"".join(icon(name) for name in FER7.names)}</div>
  <p>Upload a picture, paste one, take a snapshot or pick an example.<br>The faces appear here.</p>
</div>
"""


def message(text: str, kind: str = "info") -> str:
    """One line about what happened; kind is info or problem."""
    role = "alert" if kind == "problem" else "status"
    return f'<div class="fer-message fer-{kind}" role="{role}">{escape(text)}</div>'


def facts_line(facts: Facts) -> str:
    """Size and score of a model."""
    chips = [f"<b>{_short(facts.parameters)}</b> parameters"]
    if facts.accuracy is not None:
        chips.append(f"<b>{facts.accuracy:.1%}</b> right on FER2013 PrivateTest")
    else:
        chips.append("not evaluated yet")
    if facts.teacher:
        chips.append(f"distilled from {escape(facts.teacher)}")
    items = "".join(f"<li>{chip}</li>" for chip in chips)
    return f'<div class="fer-facts"><p>{escape(facts.title)}: {escape(facts.summary)}</p><ul>{items}</ul></div>'


def face_cards(faces: list[Seen], left_out: int = 0, tables: Sequence[str] = ()) -> str:
    """One card per face: the crop under its heat map, the verdict, a bar for every class.

    Args:
        left_out: Faces without a card.
        tables: HTML at the foot of each card, in the order of the faces; may be empty.
    """
    feet = tables or [""] * len(faces)
    kind = " fer-single" if len(faces) == 1 else " fer-many" if len(faces) >= MANY else ""
    cards = "".join(_card(i, face, foot) for i, (face, foot) in enumerate(zip(faces, feet, strict=True), start=1))
    rest = "1 smaller face is" if left_out == 1 else f"{left_out} smaller faces are"
    more = f'<p class="fer-more">{rest} boxed in the picture only.</p>' if left_out else ""
    return f'<div class="fer-cards{kind}">{cards}</div>{more}'


def set_note(sets: PredictionSets) -> str:
    """What a conformal set promises, and what it delivered."""
    held = "" if sets.coverage is None else f"; of {escape(sets.split)}'s faces it held {sets.coverage:.1%}"
    return (
        f'<p class="fer-more">The {sets.level:.0%} set is meant to hold the label of {sets.level:.0%} of faces like '
        f"those that the model learnt from{held}. For other pictures nothing is promised.</p>"
    )


def _card(number: int, face: Seen, foot: str = "") -> str:
    result = face.result
    heat = ""
    if face.heat is not None:
        heat = f'<img class="fer-heat" alt="" src="{_png(face.heat)}">'
    rows = "".join(
        _bar(name, emoji, color, float(p), name == result.label)
        for name, emoji, color, p in zip(
            result.labels.names, result.labels.emoji, result.labels.colors, result.probs, strict=True
        )
    )
    label = escape(result.label)
    notes = "".join(f'<p class="fer-doubt">{escape(doubt.text)}</p>' for doubt in face.doubts)
    if face.possible and all(doubt.name != "no_face" for doubt in face.doubts):
        notes += f'<p class="fer-set">{float(LEVEL):.0%} set: <b>{escape(_or(face.possible))}</b></p>'
    kind = " fer-doubted" if face.doubts else ""
    return f"""
<article class="fer-card{kind}" aria-label="Face {number}: {label}, {result.confidence:.0%}">
  <div class="fer-face">
    <img class="fer-crop" alt="Face {number}" src="{_jpeg(face.crop)}">{heat}<span class="fer-number">{number}</span>
  </div>
  <div class="fer-reading">
    <div class="fer-verdict"><span class="fer-emoji">{icon(result.label, result.emoji)}</span>
      <span class="fer-label">{label}</span><span class="fer-share">{result.confidence:.0%}</span></div>
    {notes}
    <div class="fer-bars">{rows}</div>
  </div>{foot}
</article>"""


def _bar(name: str, emoji: str, color: str, p: float, first: bool) -> str:
    return (
        f'<div class="fer-bar{" fer-first" if first else ""}" role="meter" aria-label="{escape(name)}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{100 * p:.0f}">'
        f'<span class="fer-bar-name">{icon(name, emoji)} {escape(name)}</span>'
        f'<span class="fer-track"><span class="fer-fill" style="width:{100 * p:.1f}%;background:{color}"></span></span>'
        f'<span class="fer-percent">{p:.0%}</span></div>'
    )


def _or(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _short(n: int) -> str:
    return f"{n / 1e6:.1f}M" if n >= 1_000_000 else f"{n / 1e3:.0f}k"


def _jpeg(face: np.ndarray) -> str:
    picture = Image.fromarray(face).convert("RGB")
    return _data_uri(picture.resize(_fit(picture, CROP_PX), Image.Resampling.BOX), "JPEG", quality=88)


def _png(heat: np.ndarray) -> str:
    picture = Image.fromarray(heat.astype(np.float32))
    small = picture.resize(_fit(picture, HEAT_PX), Image.Resampling.BOX)
    return _data_uri(Image.fromarray(heatmap_rgba(np.asarray(small))), "PNG")


def _fit(picture: Image.Image, longest_px: int) -> tuple[int, int]:
    """Width and height with the longest side at most `longest_px`."""
    scale = min(1.0, longest_px / max(picture.size))
    return max(1, round(picture.width * scale)), max(1, round(picture.height * scale))


def _data_uri(picture: Image.Image, kind: str, **options: int) -> str:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(out.getvalue()).decode()}"
