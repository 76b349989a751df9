"""All models on the same faces: what each answers, and how far they agree."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from fer.errors import FerError
from icons import icon

if TYPE_CHECKING:
    from analysis import Models
    from fer.labels import LabelSet
    from marks import PredictionSets

_log = logging.getLogger("fer.demo")


@dataclass(frozen=True, eq=False)
class Opinion:
    """What one model says about every face.

    Attributes:
        title: Name of the model for people.
        labels: Its classes.
        probs: float32 (N, C), one row per face.
        sets: Its conformal sets; None where it has none.
    """

    title: str
    labels: LabelSet
    probs: np.ndarray
    sets: PredictionSets | None

    def label(self, face: int) -> str:
        """The likeliest class of a face."""
        return self.labels.names[int(self.probs[face].argmax())]


def ask_all(models: Models, crops: Sequence[np.ndarray]) -> list[Opinion]:
    """Every model on offer about the same faces; one that cannot be loaded is left out.

    Args:
        crops: uint8 (h, w, 3) each.
    """
    opinions = []
    for name in models.names:
        try:
            predictor = models.predictor(name)
        except FerError as e:  # said in full to whoever chooses it
            _log.warning("%s", e)
            continue
        probs = predictor.predict_proba(list(crops))
        opinions.append(Opinion(models.title(name), predictor.labels, probs, models.sets(name)))
    return opinions


def agreement(answers: Sequence[tuple[str, str]]) -> str:
    """How far models agree about one face, in a sentence.

    Args:
        answers: (model, class) each.

    >>> agreement([("A", "happy"), ("B", "happy"), ("C", "sad")])
    '2 of 3 models say happy; C says sad.'
    """
    by_label: dict[str, list[str]] = defaultdict(list)
    for model, label in answers:
        by_label[label].append(model)
    ranked = sorted(by_label.items(), key=lambda item: -len(item[1]))
    (label, who), n = ranked[0], len(answers)
    if n == 1:
        return f"{who[0]} says {label}."
    if len(who) == n:
        return f"{'Both' if n == 2 else f'All {n}'} models say {label}."
    if 2 * len(who) > n:
        return f"{len(who)} of {n} models say {label}; {_said(ranked[1:])}."
    return f"The models disagree: {_said(ranked)}."


def _said(groups: Sequence[tuple[str, list[str]]]) -> str:
    return "; ".join(f"{_and(who)} {'says' if len(who) == 1 else 'say'} {label}" for label, who in groups)


def table(opinions: Sequence[Opinion], face: int) -> str:
    """One face's answers as HTML: a row per model, a column per class, what is in its 90 % set framed."""
    classes: dict[str, tuple[str, str]] = {}
    for o in opinions:
        classes |= {n: (e, c) for n, e, c in zip(o.labels.names, o.labels.emoji, o.labels.colors, strict=True)}
    head = "".join(
        f'<th scope="col" title="{escape(n)}">{icon(n, e)}<span class="fer-column">{escape(n)}</span></th>'
        for n, (e, _) in classes.items()
    )
    rows = "".join(_row(o, face, classes) for o in opinions)
    sentence = agreement([(o.title, o.label(face)) for o in opinions])
    return f"""
<div class="fer-compare">
  <p class="fer-agreement">{escape(sentence)}</p>
  <table><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>
</div>"""


def note(opinions: Sequence[Opinion]) -> str:
    """What the tables mean, once for all faces."""
    framed = next((f"Framed: in the model's own {o.sets.level:.0%} set. " for o in opinions if o.sets), "")
    return (
        f'<p class="fer-more">Percent, each model for itself. {framed}Agreement proves little: the models learned from '
        "the same pictures and share mistakes; shown plain noise, most of them agree as well.</p>"
    )


def _row(opinion: Opinion, face: int, classes: dict[str, tuple[str, str]]) -> str:
    probs = dict(zip(opinion.labels.names, opinion.probs[face], strict=True))
    inside = opinion.sets.of(opinion.probs[face], opinion.labels) if opinion.sets else ()
    cells = []
    for name, (_, color) in classes.items():
        if name not in probs:
            cells.append("<td>·</td>")
            continue
        kind = " ".join(["fer-in"] * (name in inside) + ["fer-top"] * (name == opinion.label(face)))
        cells.append(f'<td class="{kind}" style="--tone:{color};--p:{probs[name]:.3f}">{100 * probs[name]:.0f}</td>')
    return f'<tr><th scope="row">{escape(opinion.title)}</th>{"".join(cells)}</tr>'


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
