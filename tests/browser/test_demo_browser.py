"""The demo as a visitor sees it, in headless Chromium: `python demo/app.py` started from another folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.running_demo import running_demo

ROOT = Path(__file__).resolve().parents[2]
ONE = ROOT / "demo" / "examples" / "1-happy.jpg"
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
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def address(untrained, tmp_path_factory):
    """A running demo with untrained nets; its own printed line says where."""
    home = tmp_path_factory.mktemp("demo")
    for name in ("baseline_cnn", "attention_cnn"):
        shutil.copytree(untrained(name), home / "checkpoints" / name)
    with running_demo(home) as (found, _):
        yield found


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def visit(address, browser):
    """Function: open the page at a width and in a colour scheme; notes what it fetches from elsewhere."""
    contexts = []

    def go(width: int = 1280, theme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": 860})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.elsewhere = []
        host = address.split("//")[1].split("/")[0]
        page.on(
            "request",
            lambda r: page.elsewhere.append(r.url) if host not in r.url and r.url.startswith(("http", "ws")) else None,
        )
        page.goto(f"{address.rstrip('/')}/?__theme={theme}")
        page.wait_for_selector("#fer-picture input[type=file]", state="attached")
        return page

    yield go
    for context in contexts:
        context.close()


def upload(page, path: Path) -> None:
    page.set_input_files("#fer-picture input[type=file]", str(path))


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_an_uploaded_face_is_boxed_named_and_explained(visit, width, theme):
    page = visit(width, theme)
    upload(page, ONE)
    page.wait_for_selector(".fer-card")
    assert page.locator(".fer-card").count() == 1
    assert page.locator(".fer-bar").count() == 7
    assert page.locator("#fer-boxed img").is_visible()
    assert page.locator(".fer-crop").evaluate("img => img.naturalWidth") > 40
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    assert page.elsewhere == [], "nothing is fetched from elsewhere"
    assert page.get_by_text("An expression is not a feeling").is_visible()


def test_opacity_acts_at_once_and_the_method_can_be_chosen(visit):
    page = visit()
    upload(page, ONE)
    page.wait_for_selector(".fer-heat")
    opacity = "getComputedStyle(document.querySelector('.fer-heat')).opacity"
    assert float(page.evaluate(opacity)) == pytest.approx(0.6)
    page.locator("input[type=range]").first.fill("0.2")
    page.wait_for_function(f"Math.abs(parseFloat({opacity}) - 0.2) < 0.01")
    before = page.locator(".fer-heat").get_attribute("src")
    page.locator("#fer-method").get_by_text("Grad-CAM", exact=True).click()
    page.wait_for_function("src => document.querySelector('.fer-heat')?.src !== src", arg=before)
    page.locator("#fer-model").get_by_text("Baseline CNN").click()
    page.wait_for_selector(".fer-facts >> text=Baseline CNN")
    page.wait_for_function("!document.querySelector('#fer-method').innerText.includes('CBAM')")


def test_without_a_face_the_whole_picture_is_on_offer(visit, tmp_path):
    from PIL import Image

    Image.new("RGB", (300, 200), (90, 110, 100)).save(tmp_path / "wall.png")
    page = visit()
    upload(page, tmp_path / "wall.png")
    page.wait_for_selector("#fer-status >> text=No face found")
    page.get_by_role("button", name="Take the whole picture as one face").click()
    page.wait_for_selector(".fer-card")
    assert page.locator("#fer-whole input").is_checked()


def test_a_text_file_named_jpg_is_told_in_words(visit, tmp_path):
    (tmp_path / "letter.jpg").write_text("dear lab")
    page = visit()
    upload(page, tmp_path / "letter.jpg")
    page.wait_for_selector(".fer-problem >> text=letter.jpg")
    assert "Traceback" not in page.content() and page.locator(".fer-card").count() == 0


def test_an_example_is_one_click_away(visit):
    page = visit()
    page.locator(".gallery-item, .gallery button").first.click()
    page.wait_for_selector(".fer-card")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_all_models_are_compared_beside_each_other(visit, width, theme):
    page = visit(width, theme)
    upload(page, ONE)
    page.wait_for_selector(".fer-card")
    assert page.locator(".fer-compare").count() == 0
    page.locator("#fer-every input").click()
    page.wait_for_selector(".fer-compare")
    assert page.locator(".fer-compare tbody tr").count() == 2
    assert page.locator(".fer-compare tbody td").count() == 14 and page.locator(".fer-top").count() == 2
    assert "models" in page.locator(".fer-agreement").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    assert page.locator(".fer-compare td.fer-top").last.bounding_box()["x"] < width - 20
    page.locator("#fer-every input").click()
    page.wait_for_function("document.querySelectorAll('.fer-compare').length === 0")
    assert page.locator(".fer-card").count() == 1


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_the_notice_leads_to_limits_and_cards_from_every_page(visit, width, theme):
    page = visit(width, theme)
    titles = page.locator("#fer-tabs button[role=tab]").all_inner_texts()
    assert {"Photo", "Live", "Emoji mirror", "Video", "About"} <= set(titles), "all in sight, on a phone too"
    for title in titles:
        if title != "About":
            page.locator("#fer-tabs").get_by_role("tab", name=title, exact=True).first.click()
            page.locator(".fer-caution a").click()
            page.locator("#fer-about").wait_for()
            assert "should decide nothing about anybody" in page.locator("#fer-about").inner_text()
    page.locator("#fer-about").get_by_role("button", name="Baseline CNN").click()
    page.wait_for_selector("#fer-about >> text=have not been scored on a test split")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"


def test_an_address_that_ends_in_about_opens_that_page(visit):
    page = visit()
    page.goto(page.url.split("?")[0] + "#about")
    page.reload()
    page.locator("#fer-about").wait_for()


def test_noise_taken_as_a_face_is_marked_as_perhaps_none(visit, tmp_path):
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    page = visit()
    upload(page, tmp_path / "noise.png")
    page.get_by_role("button", name="Take the whole picture as one face").click()
    page.wait_for_selector(".fer-card .fer-doubt >> text=Perhaps no face")


@pytest.fixture(scope="module")
def camera_browser(browser):
    """A browser with a stand-in camera, which it refuses to pages without the permission."""
    flags = [*FLAGS, "--use-fake-device-for-media-stream"]
    chromium = browser.browser_type.launch(executable_path=CHROMIUM, args=flags)
    yield chromium
    chromium.close()


def ask_for_the_camera(page, title: str) -> None:
    page.locator("#fer-tabs").get_by_role("tab", name=title, exact=True).first.click()
    if page.locator(".source-selection button.selected:visible").get_attribute("aria-label") == "Upload file":
        page.locator("button[aria-label='Capture from camera']:visible").click()
    page.locator("[title='grant webcam access'] button:visible").click()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_a_refused_camera_is_told_in_its_box_until_it_starts(address, camera_browser, width, theme):
    context = camera_browser.new_context(viewport={"width": width, "height": 860})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong = []
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.goto(f"{address.rstrip('/')}/?__theme={theme}")
    page.wait_for_selector("#fer-picture input[type=file]", state="attached")
    for title, box in (("Photo", "#fer-picture"), ("Video", "#fer-film")):
        ask_for_the_camera(page, title)
        alert = page.get_by_role("alert").locator("visible=true")
        assert alert.inner_text().startswith("The camera was refused. Allow it")
        place, around = alert.bounding_box(), page.locator(box).bounding_box()
        assert around["x"] <= place["x"] and place["x"] + place["width"] <= around["x"] + around["width"]
        sources = page.locator(f"{box} .source-selection").bounding_box()
        assert around["y"] < place["y"] and place["y"] + place["height"] <= sources["y"], "in the box, sources free"
        ask_for_the_camera(page, title)
        page.wait_for_timeout(500)
        assert page.locator(".fer-refused").count() == 1, "told again, not twice"
        context.grant_permissions(["camera"])  # and not the microphone
        ask_for_the_camera(page, title)
        page.locator(f"{box} video:visible").wait_for()
        page.locator(".fer-refused").wait_for(state="detached")
        context.clear_permissions()
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    assert wrong == []
    context.close()


@pytest.mark.parametrize(("stand_in", "words"), [
    pytest.param(
        "getUserMedia = () => Promise.reject(new DOMException('x', 'NotFoundError'))",
        "No camera was found",
        marks=pytest.mark.slow,
    ),
    ("getUserMedia = () => Promise.reject(new DOMException('x', 'NotReadableError'))", "in use by another program"),
    (None, "secure pages only"),
])  # fmt: skip
def test_why_a_camera_does_not_start(visit, stand_in, words):
    page = visit()
    hide = "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
    page.evaluate(f"() => {{ {f'navigator.mediaDevices.{stand_in}' if stand_in else hide} }}")
    ask_for_the_camera(page, "Photo")
    page.get_by_role("alert").filter(has_text=words).wait_for()
    page.clock.install()
    ask_for_the_camera(page, "Photo")
    page.get_by_role("alert").filter(has_text=words).wait_for()
    page.clock.fast_forward(20_000)
    page.locator(".fer-refused").wait_for(state="detached")


def test_other_failures_are_not_taken_for_the_cameras(visit):
    page = visit()
    page.evaluate("() => { Promise.reject(new Error('something else')); Promise.reject(); }")
    page.wait_for_timeout(500)
    assert page.locator(".fer-refused").count() == 0


def test_the_settings_offer_no_recorder(visit):
    """The film of the screen would go to the server, which keeps no films."""
    page = visit()
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Dark").wait_for()
    page.wait_for_selector(".record-button", state="attached")
    assert page.locator(".record-button").is_hidden() and page.get_by_text("Screen Studio").first.is_hidden()
