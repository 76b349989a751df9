"""The lab's notice on every page, and the model cards that it leads to."""

from __future__ import annotations

import pytest

from tests.lab_driver import PAGES, open_page
from tests.stand_in_results import MODELS

pytest.importorskip("streamlit", reason="streamlit is not installed")
pytest_plugins = ("tests.lab_fixtures",)


def captions(app) -> str:
    return "\n".join(c.value for c in app.caption)


def links(app) -> list[str]:
    return [link.proto.label for link in app.get("page_link")]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_ends_with_the_notice_and_a_link_to_the_cards(results, page):
    app = open_page(page)
    assert "An expression is not a feeling" in captions(app)
    assert "Limits and model cards" in links(app)


def test_a_page_that_stops_early_has_it_too(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "none"))
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "none"))
    app = open_page("curves")
    assert "An expression is not a feeling" in captions(app) and "Limits and model cards" in links(app)


def test_about_shows_the_card_of_the_chosen_model(results, checkpoints):
    from fer.models import get_model

    name = next(iter(MODELS))
    closed = "\n".join(m.value for m in open_page("about").markdown)
    assert "which expression does a face show?" not in closed
    opened = "\n".join(m.value for m in open_page("about", card=name).markdown)
    assert f"# {get_model(name).SPEC.title}: which expression does a face show?" in opened
    assert f'model="{name}"' in opened and "not been scored" in opened, "the stand-in's scores are of other weights"
