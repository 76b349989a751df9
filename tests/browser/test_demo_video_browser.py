"""The demo's page Video as a visitor sees it, in headless Chromium: a film in, a film that plays out."""

from __future__ import annotations

import csv
import shutil
import threading
from pathlib import Path

import pytest

from fer.data.drawn_clip import Shot, draw_clip, draw_person
from fer.inference.video import VideoWriter
from tests.running_demo import running_demo

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next(
    (
        p
        for p in ("/usr/bin/chromium", shutil.which("chromium"), shutil.which("google-chrome"))
        if p and Path(p).exists()
    ),
    None,
)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found")]
pytest.importorskip("playwright", reason="playwright is not installed")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MS = 120_000
FPS = 10


@pytest.fixture(scope="module")
def uploads(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "uploads"


@pytest.fixture(scope="module")
def address(untrained, uploads):
    """A running demo with an untrained net; its own printed line says where."""
    home = uploads.parent
    shutil.copytree(untrained("baseline_cnn"), home / "checkpoints" / "baseline_cnn")
    with running_demo(home) as (found, _):
        yield found


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """clip.webm, two seconds; long.webm, for which there is time to press Stop."""
    folder = tmp_path_factory.mktemp("films")
    images = [f.image for f in draw_clip([Shot("happy", 1), Shot("sad", 1)], draw_person(3, plain=True), FPS, 240, 180)]
    for name, rounds in (("clip.webm", 1), ("long.webm", 25)):
        with VideoWriter(folder / name, FPS, (240, 180)) as out:
            for image in images * rounds:
                out.write(image)
    return folder


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(address, browser):
    """Function: open the page Video at a width and in a colour scheme."""
    contexts = []

    def go(width: int = 1280, theme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 860})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{address.rstrip('/')}/?__theme={theme}")
        page.wait_for_selector("#fer-picture input[type=file]", state="attached")
        tab = page.get_by_role("tab", name="Video", exact=True)
        if tab.is_visible():
            tab.click()
        else:  # on a phone it is behind the three dots
            page.locator(".overflow-menu > button").first.click()
            page.locator(".overflow-dropdown button", has_text="Video").click()
        page.wait_for_selector("#fer-film input[type=file]", state="attached")
        return page

    yield go
    for context in contexts:
        context.close()


def start(page, film: Path) -> None:
    page.set_input_files("#fer-film input[type=file]", str(film))
    page.wait_for_selector("#fer-film video")
    page.locator("#fer-start").click()


@pytest.mark.parametrize(("width", "theme", "style"), [(1280, "light", "Boxes and bars"), (390, "dark", "Emoji only")])
def test_a_film_comes_back_annotated_and_plays(visit, films, uploads, width, theme, style, tmp_path):
    page = visit(width, theme)
    page.get_by_label(style).click()
    start(page, films / "clip.webm")
    page.wait_for_selector("#fer-film-out video")
    page.wait_for_function("document.querySelector('#fer-film-out video').readyState >= 2")
    facts = page.evaluate(
        "(v => [v.videoWidth, v.videoHeight, v.duration])(document.querySelector('#fer-film-out video'))"
    )
    assert facts[:2] == [240, 180] and facts[2] == pytest.approx(2, abs=0.2)
    assert "1 face followed through 2.0 s" in page.locator("#fer-film-status").inner_text()
    assert page.locator(".fer-band svg path").count() == 7
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    assert page.get_by_text("An expression is not a feeling").is_visible()
    with page.expect_download() as given:
        page.locator("#fer-table").click()
    given.value.save_as(tmp_path / "table.csv")
    with open(tmp_path / "table.csv", newline="") as f:
        assert len(list(csv.reader(f))) > 15
    assert list(uploads.rglob("film-*/*.webm"))
    page.context.close()
    for _ in range(100):
        if not list(uploads.rglob("clip*")):
            break
        threading.Event().wait(0.2)
    assert not list(uploads.rglob("clip*")), "neither the upload nor the result is kept when the page is closed"


def test_stop_keeps_what_is_done(visit, films):
    page = visit()
    start(page, films / "long.webm")
    page.wait_for_selector("[role=progressbar][aria-valuenow]")
    page.locator("#fer-stop").click()
    page.wait_for_selector("#fer-film-status >> text=ended before the film did")
    page.wait_for_function("document.querySelector('#fer-film-out video')?.readyState >= 1")
    assert page.evaluate("document.querySelector('#fer-film-out video').duration") < 45
    assert page.locator("#fer-start").is_enabled() and not page.locator("#fer-stop").is_visible()


def test_a_letter_named_mp4_is_told_in_words(visit, tmp_path):
    (tmp_path / "letter.mp4").write_text("dear lab " * 30)
    page = visit()
    page.set_input_files("#fer-film input[type=file]", str(tmp_path / "letter.mp4"))
    page.wait_for_selector("#fer-film video", state="attached")
    page.locator("#fer-start").click()
    page.wait_for_selector(".fer-problem >> text=letter.mp4")
    assert "Traceback" not in page.content()
