"""The lab in a real browser: every page, light, dark and as narrow as a phone."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.running_lab import running_lab
from tests.stand_in_results import MODELS, write_stand_in

pytest.importorskip("streamlit", reason="streamlit is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
# page -> (heading, charts on it)
PAGES = {
    "": ("Leaderboard", 1),
    "compare": ("Models against each other", 1),
    "data": ("The data", 2),
    "curves": ("How the training went", 3),
    "errors": ("When is it wrong?", 1),
    "attention": ("Where do they look?", 3),
    "reliability": ("Calibration and robustness", 4),
    "try_it": ("Try it", 0),
    "mirror": ("Emoji mirror", 0),
    "about": ("About this lab", 0),
}
SECTIONS = {"Confusion": 1 + len(MODELS), "ROC and PR": 2, "All pairs": 1, "Cost": 1}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def address(tmp_path_factory, untrained):
    """The lab on stand-in results and untrained checkpoints, started from a foreign working directory."""
    folder = tmp_path_factory.mktemp("lab")
    write_stand_in(folder / "results", n=200)
    for name in MODELS:
        shutil.copytree(untrained(name), folder / "checkpoints" / name)
    places = {"FER_RESULTS": str(folder / "results"), "FER_CHECKPOINTS": str(folder / "checkpoints")}
    with running_lab(folder, **places) as url:
        yield url


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def keep(page, name: str) -> None:
    """A picture of the whole page in the folder FER_SCREENSHOTS, for people to look at; nothing where it is not set."""
    if folder := os.environ.get("FER_SCREENSHOTS"):
        tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        size = page.viewport_size
        page.set_viewport_size({"width": size["width"], "height": min(int(tall) + 60, 6000)})
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png")
        page.set_viewport_size(size)


@pytest.mark.parametrize(
    ("theme", "width_px"),
    [
        pytest.param("light", 1400, id="light", marks=pytest.mark.slow),
        pytest.param("dark", 1400, id="dark", marks=pytest.mark.slow),
        pytest.param("light", 390, id="phone", marks=pytest.mark.slow),
    ],
)
def test_every_page_draws_its_charts_and_fits_the_screen(chromium, address, theme, width_px):
    context = chromium.new_context(viewport={"width": width_px, "height": 900}, color_scheme=theme)
    foreign = []
    context.on("request", lambda r: None if address.split("//")[1] in r.url else foreign.append(r.url))
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    for path, (title, charts) in PAGES.items():
        page.goto(f"{address}/{path}")
        page.get_by_role("heading", name=title, exact=True).wait_for()
        if charts:
            page.locator(".js-plotly-plot:has(.cartesianlayer)").nth(charts - 1).wait_for(state="attached")
            assert page.locator(".js-plotly-plot").count() == charts
        assert page.locator("[data-testid=stException]").count() == 0
        main = "document.querySelector('[data-testid=stMain]')"
        assert page.evaluate(f"{main}.scrollWidth <= {main}.clientWidth + 1"), f"{title}: wider than the screen"
        keep(page, f"{path or 'leaderboard'}_{theme}_{width_px}")
    dark = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (theme == "light")
    assert [u for u in foreign if u.startswith("http")] == [], "the lab asks nobody else for anything"
    context.close()


@pytest.mark.slow
def test_the_sections_of_compare_draw_when_they_are_opened(chromium, address):
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{address}/compare")
    for name, charts in SECTIONS.items():
        page.get_by_role("tab", name=name).click()
        page.locator("[role=tabpanel]:visible .js-plotly-plot:has(.cartesianlayer)").nth(charts - 1).wait_for()
        keep(page, f"compare_{name}")
    assert page.locator("[data-testid=stException]").count() == 0
    context.close()


def test_the_numbers_of_a_chart_can_be_taken_away(chromium, address):
    context = chromium.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{address}/")
    page.locator(".js-plotly-plot .cartesianlayer").first.wait_for(state="attached")
    with page.expect_download() as download:
        page.get_by_role("button", name="Data (CSV)").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert lines[0].split(",")[:3] == ["model", "title", "accuracy"] and len(lines) == 1 + len(MODELS)
    context.close()


@pytest.mark.slow
def test_a_drawn_face_gets_an_answer_from_every_model(chromium, address):
    context = chromium.new_context(viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{address}/try_it")
    page.get_by_text("Drawn face").first.click()
    page.locator("[data-testid=stMetric]").nth(len(MODELS) - 1).wait_for()
    page.locator(".js-plotly-plot .cartesianlayer").first.wait_for(state="attached")
    assert page.locator("[data-testid=stMetric]").count() == len(MODELS)
    assert page.locator("[data-testid=stImage] img").count() == 1 + len(MODELS)
    for picture in page.locator("[data-testid=stImage] img").all():
        assert picture.bounding_box()["width"] <= 390, "wider than the phone"
    context.close()


def test_a_text_file_named_jpg_is_refused_in_words(chromium, address, tmp_path):
    bad = tmp_path / "notes.jpg"
    bad.write_text("these are notes")
    context = chromium.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    page.goto(f"{address}/try_it")
    page.locator("input[type=file]").wait_for(state="attached")
    page.set_input_files("input[type=file]", str(bad))
    page.get_by_text("not a picture").wait_for()
    assert page.locator("[data-testid=stException]").count() == 0
    context.close()
