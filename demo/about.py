"""The page that says what the models can and cannot do, with a card for each."""

from __future__ import annotations

import logging
from collections.abc import Callable

import gradio as gr

import cards
import marks
from analysis import NO_MODEL, Models
from fer.errors import FerError

_log = logging.getLogger("fer.demo")

_RIGHT_BELOW, _RIGHT_ABOVE = (f"{low} to {high}" for low, high in (marks.RIGHT_BELOW, marks.RIGHT_ABOVE))
TEXT = f"""## What this is for

Looking at how neural nets read facial expressions: what they answer, how sure they are, where they looked, and where
they fail. The seven words are those of FER2013, a collection of 35,887 small grey faces from a web search.

## What it cannot do

- **An expression is not a feeling.** A net guesses which of seven words people would choose for a face. What somebody
  feels cannot be read from a face with any certainty, and faces say different things in different places and moments.
- **It should decide nothing about anybody**: not hiring, schooling, credit, health, policing or border control. In the
  European Union, inferring emotions at work and in education is forbidden (AI Act, Article 5 (1) f).
- **It is often wrong.** The best of these nets misses about one face in three, and so do people who are asked for the
  same word. A neutral face is often called sad or angry; fear and disgust are recognised worst.
- **Not for everybody alike.** Whose faces the pictures show was never recorded. Expect worse answers for whoever is
  rare in them; nothing of this was measured here. Turned, covered, dark, tiny or drawn faces are answered with less
  ground.
- **Ask before you analyse other people's faces.**

## What the marks mean

- **Unsure**: the likeliest word has less than {100 * marks.UNSURE_BELOW:.0f} %. On FER2013's test faces the models are
  right in {_RIGHT_BELOW} % of such cases, and in {_RIGHT_ABOVE} % of the others.
- **Perhaps no face**: said by the face detector, not by the nets, some of which answer noise and walls as firmly as
  faces. In a small trial, whose pictures were not kept, the detector found no face in any of 249 crops of noise, walls
  and textures; of drawn faces it missed one in thirty, of FER2013's tight grey crops one in four, of larger photographs
  none in 150.
- **90 % set**: the words that come into question, chosen so that the label is among them for nine of ten faces like
  FER2013's (split-conformal prediction). For other pictures nothing is promised.
- **The heat map** shows which part of the picture weighed in the answer, not why.

## Your pictures

They are worked on by the machine that runs this page. Nothing of them is written into a log, nothing is trained on
them, and uploads are deleted again.

## The models' cards
"""


def build(models: Models) -> None:
    """Put the page into the Blocks that are being built. A card is written when it is opened."""
    with gr.Column(elem_id="fer-about"):
        gr.Markdown(TEXT)
        for name in models.names:
            with gr.Accordion(models.title(name), open=False, elem_classes=["fer-card-of"]) as entry:
                card = gr.Markdown("…")
            entry.expand(_reader(models, name), None, [card], api_visibility="private", show_progress="hidden")
        if not models:
            gr.HTML(cards.message(NO_MODEL))


def _reader(models: Models, name: str) -> Callable[[], str]:
    def read() -> str:
        try:
            return models.card(name)
        except FerError as e:
            return f"This card cannot be written: {e}"
        except Exception:  # the outer edge: a visitor never sees a traceback
            _log.exception("card of %s", name)
            return cards.OOPS

    return read
