"""The lab in a real browser: every page, light, dark and as narrow as a phone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.stand_in_results import MODELS, write_stand_in

pytest.importorskip("streamlit", reason="streamlit is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = next((p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]
PAGES = {
    "": ("Models side by side", 2),
    "confusion": ("What gets mistaken for what", len(MODELS)),
    "curves": ("How the training went", 2),
    "about": ("About this lab", 0),
}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WAIT_MS = 60_000


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def address(tmp_path_factory, untrained):
    """The lab on stand-in results and untrained checkpoints, started from a foreign working directory."""
    folder = tmp_path_factory.mktemp("lab")
    write_stand_in(folder / "results", n=200)
    for name in MODELS:
        shutil.copytree(untrained(name), folder / "checkpoints" / name)
    port = free_port()
    places = {"FER_RESULTS": str(folder / "results"), "FER_CHECKPOINTS": str(folder / "checkpoints")}
    with open(folder / "log.txt", "wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(ROOT / "streamlit_app" / "app.py"),
             "--server.headless", "true", "--server.port", str(port)],
            cwd=folder, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        url = f"http://localhost:{port}"
        for _ in range(240):
            assert server.poll() is None, (folder / "log.txt").read_text()
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=2)
                break
            except OSError:
                time.sleep(0.25)
        yield url
        assert "Traceback" not in (folder / "log.txt").read_text(errors="replace")
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize(
    ("theme", "width_px"), [("light", 1400), ("dark", 1400), ("light", 390)], ids=["light", "dark", "phone"]
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
            page.locator(".js-plotly-plot .cartesianlayer").nth(charts - 1).wait_for(state="attached")
            assert page.locator(".js-plotly-plot").count() == charts
        assert page.locator("[data-testid=stException]").count() == 0
        main = "document.querySelector('[data-testid=stMain]')"
        assert page.evaluate(f"{main}.scrollWidth <= {main}.clientWidth + 1"), f"{title}: wider than the screen"
    dark = page.evaluate("getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (theme == "light")
    assert [u for u in foreign if u.startswith("http")] == [], "the lab asks nobody else for anything"
    context.close()


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
