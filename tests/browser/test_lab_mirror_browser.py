"""The lab's emoji mirror in headless Chromium: snapshots, and a connection where streamlit-webrtc is installed."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data.drawn_clip import draw_person, paint_people, pose_of
from tests.browser.test_lab_browser import CHROMIUM, FLAGS
from tests.running_lab import running_lab

pytest.importorskip("streamlit", reason="streamlit is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
WAIT_MS = 120_000
webrtc = pytest.mark.skipif(
    not importlib.util.find_spec("streamlit_webrtc"), reason="streamlit-webrtc is not installed"
)


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The lab with its own checkpoints, started from a foreign working directory."""
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder) as url:
        yield url


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    """A browser whose camera sees two drawn people, one happy and one surprised."""
    rng = np.random.default_rng(1)
    people = [draw_person(n, plain=True) for n in (3, 8)]
    acts = [p.acts(e, rng) for p, e in zip(people, ("happy", "surprise"), strict=True)]
    boxes = [(60, 150, 240, 330), (380, 150, 560, 330)]
    heads = [(p, a, pose_of(b)) for p, a, b in zip(people, acts, boxes, strict=True)]
    film = tmp_path_factory.mktemp("camera") / "two.mjpeg"
    with film.open("wb") as out:
        for _ in range(10):
            one = io.BytesIO()
            Image.fromarray(paint_people(heads, 640, 480, rng)).save(one, "JPEG", quality=90)
            out.write(one.getvalue())
    camera = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=[*FLAGS, *camera, f"--use-file-for-fake-video-capture={film}"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium, address):
    """Function: open the page at a width."""
    contexts = []

    def go(width: int = 1280, scheme: str = "light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, permissions=["camera"]
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{address}/mirror")
        page.get_by_role("heading", name="Emoji mirror", exact=True).wait_for()
        page.get_by_text("Emoji only").wait_for()
        return page

    yield go
    for context in contexts:
        context.close()


def keep(page, name: str) -> None:
    """A picture of the page in the folder FER_SCREENSHOTS, for people to look at; nothing where it is not set."""
    if folder := os.environ.get("FER_SCREENSHOTS"):
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(folder) / f"{name}.png")


def fits(page) -> bool:
    main = "document.querySelector('[data-testid=stMain]')"
    return page.evaluate(f"{main}.scrollWidth <= {main}.clientWidth + 1")


def test_a_snapshot_comes_back_with_emoji_over_the_faces(visit):
    page = visit(390, "dark")
    if page.get_by_text("Snapshots", exact=True).count():
        page.get_by_text("Snapshots", exact=True).click()
    page.get_by_test_id("stCameraInputButton").click()
    page.locator("[data-testid=stImage] img").wait_for()
    page.locator("strong", has_text="happy").wait_for()
    page.locator("strong", has_text="surprise").wait_for()
    assert page.locator("[data-testid=stException]").count() == 0 and fits(page)
    keep(page, "mirror_snapshot_390_dark")


@webrtc
def test_a_connection_sends_the_picture_back_with_emoji(visit):
    page = visit()
    page.frame_locator("iframe[title*=webrtc]").get_by_role("button", name="START").click()
    page.get_by_text("pictures a second").wait_for()
    page.locator("strong", has_text="happy").wait_for()
    page.locator("strong", has_text="surprise").wait_for()
    frame = next(f for f in page.frames if "webrtc" in f.url)
    colour = (
        "() => { const v = document.querySelector('video'); if (!v || !v.videoWidth) return false;"
        " const c = document.createElement('canvas'); c.width = v.videoWidth; c.height = v.videoHeight;"
        " const pen = c.getContext('2d'); pen.drawImage(v, 0, 0);"
        " const [r, g, b] = pen.getImageData(c.width * 0.76, c.height * 0.52, 1, 1).data;"
        " return r > 180 && g > 120 && b < 120; }"
    )
    frame.wait_for_function(colour, timeout=WAIT_MS)
    assert page.locator("[data-testid=stException]").count() == 0 and fits(page)
    keep(page, "mirror_live_1280_light")
