"""The demo's camera pages in headless Chromium, with a drawn person (or three) in place of the camera's picture."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from fer.data.drawn_clip import Shot, draw_clip, draw_person, paint_people, pose_of
from fer.labels import FER7
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
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--use-fake-device-for-media-stream"]
ALLOWED = [*FLAGS, "--use-fake-ui-for-media-stream"]
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The demo with its own checkpoints, for one visitor at a time: a test that leaves takes the place with it."""
    home = tmp_path_factory.mktemp("demo")
    with running_demo(home, own_checkpoints=False) as (found, _):
        before = set((home / "uploads").rglob("*"))  # copies of the examples
        yield found
        uploads = [p for p in (home / "uploads").rglob("*") if p.is_file() and p not in before]
    assert not uploads, "no frame reaches the disk"


def film(path: Path, images) -> Path:
    import io

    from PIL import Image

    with path.open("wb") as out:
        for image in images:
            one = io.BytesIO()
            Image.fromarray(image).save(one, "JPEG", quality=88)
            out.write(one.getvalue())
    return path


@pytest.fixture(scope="module")
def one_person(tmp_path_factory):
    """Happy for two seconds, then surprised for two, again and again."""
    clip = draw_clip([Shot("happy", 2), Shot("surprise", 2)], draw_person(3, plain=True), fps=30)
    return film(tmp_path_factory.mktemp("camera") / "one.mjpeg", [frame.image for frame in clip])


@pytest.fixture(scope="module")
def three_people(tmp_path_factory):
    """Two who are near and one farther back, each with a face of their own."""
    rng = np.random.default_rng(1)
    people = [draw_person(n, plain=True) for n in (12, 3, 8)]
    boxes = [(250, 50, 370, 170), (60, 190, 230, 360), (400, 170, 580, 350)]
    acts = [p.acts(e, rng) for p, e in zip(people, ("neutral", "happy", "surprise"), strict=True)]
    heads = [(p, a, pose_of(b)) for p, a, b in zip(people, acts, boxes, strict=True)]
    return film(tmp_path_factory.mktemp("camera") / "three.mjpeg", 10 * [paint_people(heads, 640, 480, rng)])


@pytest.fixture(scope="module")
def play():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        yield play


@pytest.fixture
def visit(play, address):
    """Function: open a camera page. film: what the camera sees; None = nobody allows it."""
    opened = []

    def go(tab: str, film: Path | None, width: int = 1280, theme: str = "light"):
        flags = FLAGS if film is None else [*ALLOWED, f"--use-file-for-fake-video-capture={film}"]
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        opened.append(chromium)
        allowed = ["camera"] if film else []
        context = chromium.new_context(viewport={"width": width, "height": 860}, permissions=allowed)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.elsewhere, page.wrong = [], []
        host = address.split("//")[1].split("/")[0]
        page.on(
            "request",
            lambda r: page.elsewhere.append(r.url) if host not in r.url and r.url.startswith(("http", "ws")) else None,
        )
        page.on("pageerror", lambda e: page.wrong.append(str(e)))
        page.add_init_script("window.heard = []; addEventListener('fer-seen', e => heard.push(e.detail))")
        page.goto(f"{address.rstrip('/')}/?__theme={theme}")
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_selector(f"#fer-{'live' if tab == 'Live' else 'mirror'} .lv-start")
        return page

    yield go
    for chromium in opened:
        chromium.close()


def start(page, name: str) -> None:
    page.click(f"#fer-{name} .lv-start")
    page.wait_for_selector(f"#fer-{name} .lv.seeing")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_live_shows_boxes_bars_timeline_and_pace(visit, one_person, width, theme):
    page = visit("Live", one_person, width, theme)
    assert page.locator(".lv-bars li").count() == 7 or page.wait_for_selector(".lv-bars li")
    start(page, "live")
    page.wait_for_function("new Set(heard.flatMap(h => h.faces.map(f => f.label))).size > 1 && heard.length > 15")
    labels = set(page.evaluate("heard.flatMap(h => h.faces.map(f => f.label))"))
    assert {"happy", "surprise"} <= labels
    assert set(page.evaluate("heard.flatMap(h => h.faces.map(f => f.id))")) == {1}, "one person, one number"
    page.wait_for_selector(".lv-face")
    box, stage = page.locator(".lv-face").bounding_box(), page.locator("#fer-live .lv-stage").bounding_box()
    assert abs(box["x"] + box["width"] / 2 - stage["x"] - stage["width"] / 2) < 0.1 * stage["width"], "in the middle"
    assert 0.3 < box["height"] / stage["height"] < 0.65
    assert re.fullmatch(r"\w+ \d+ %", page.inner_text(".lv-tag"))
    assert page.locator(".lv-mini").is_visible(), "bars on the picture, beside the face"
    shown = page.evaluate(
        "[...document.querySelectorAll('#fer-live .lv-fill')].map(b => b.getBoundingClientRect().width)"
    )
    assert len(shown) == 7 and max(shown) > 20
    page.wait_for_function("document.querySelector('.lv-timeline').dataset.moments > 8")
    painted = page.evaluate(
        "(() => { const c = document.querySelector('.lv-timeline');"
        " const d = c.getContext('2d').getImageData(c.width - 4, 0, 1, c.height).data;"
        " return d.filter((v, i) => i % 4 === 3 && v > 0).length / c.height; })()"
    )
    assert painted > 0.9, "the bands of all classes together reach from the floor to the ceiling"
    assert re.fullmatch(r"\d+ pictures a second, delay \d+ ms", page.inner_text("#fer-live .lv-pace"))
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    assert page.elsewhere == [] and page.wrong == []
    assert page.get_by_text("An expression is not a feeling").is_visible()
    assert page.get_by_text("Calibrate to my neutral face").is_visible()


def test_the_picture_is_turned_as_in_a_mirror(visit, tmp_path):
    image = np.full((480, 640, 3), 40, np.uint8)
    image[:, :200] = (230, 30, 30)
    page = visit("Live", film(tmp_path / "sides.mjpeg", 10 * [image]))
    start(page, "live")
    left, right = page.evaluate(
        "[40, 600].map(x => [...document.querySelector('#fer-live .lv-picture').getContext('2d')"
        ".getImageData(x, 240, 1, 1).data].slice(0, 3))"
    )
    assert left[0] < 90 and right[0] > 180, "what is left of the camera is shown at the right"
    page.wait_for_selector("#fer-live .lv-status >> text=No face in sight")


def test_calibration_shows_progress_and_can_be_forgotten(visit, one_person):
    page = visit("Live", one_person)
    start(page, "live")
    page.wait_for_selector(".lv-face")
    page.click("#fer-live .lv-calibrate")
    page.wait_for_function("document.querySelector('#fer-live .lv-progress').value > 0.05")
    assert "neutral face" in page.inner_text("#fer-live .lv-status")
    page.wait_for_selector("#fer-live .lv-forget", state="visible")
    page.wait_for_selector("#fer-live .lv-sure >> text=calibrated")
    assert page.locator("#fer-live .lv-progress").is_hidden()
    page.click("#fer-live .lv-forget")
    page.wait_for_selector("#fer-live .lv-forget", state="hidden")


def test_the_smoothing_slider_reaches_the_pipeline(visit, one_person):
    page = visit("Live", one_person)
    sent = []
    page.on("request", lambda r: sent.append(r.post_data or "") if "component_server" in r.url else None)
    start(page, "live")
    page.locator("#fer-live-smoothing input[type=range]").fill("1.5")
    page.wait_for_timeout(100)
    for _ in range(200):
        if any('"smoothing":1.5' in body for body in sent):
            break
        page.wait_for_timeout(100)
    assert any('"smoothing":0.25' in body for body in sent) and any('"smoothing":1.5' in body for body in sent)


def test_another_tab_puts_the_camera_out(visit, one_person):
    page = visit("Live", one_person)
    start(page, "live")
    track = page.evaluate_handle("document.querySelector('#fer-live video').srcObject.getVideoTracks()[0]")
    page.get_by_role("tab", name="Photo", exact=True).click()
    page.wait_for_function("track => track.readyState === 'ended'", arg=track)
    count = page.evaluate("heard.length")
    page.wait_for_timeout(1000)
    assert page.evaluate("heard.length") <= count + 1 and page.wrong == []


def test_who_stops_before_the_first_answer_gives_the_place_back(visit, one_person):
    page = visit("Live", one_person)
    held, sent = [], []

    def hold(route):
        body = route.request.post_data or ""
        sent.append(body)
        if '"look"' in body and not held:
            held.append(route)
        else:
            route.continue_()

    page.route("**/component_server/**", hold)
    page.click("#fer-live .lv-start")
    for _ in range(600):
        if held:
            break
        page.wait_for_timeout(100)
    answer = held[0].fetch()
    page.click("#fer-live .lv-start")
    held[0].fulfill(response=answer)
    for _ in range(100):
        if any('"leave"' in body for body in sent):
            break
        page.wait_for_timeout(100)
    assert any('"leave"' in body and answer.json()["visitor"] in body for body in sent)


def test_the_mirror_covers_several_faces_the_nearer_ones_in_front(visit, three_people):
    page = visit("Emoji mirror", three_people, 390, "dark")
    start(page, "mirror")
    page.wait_for_function("document.querySelectorAll('.lv-cover').length === 3")
    page.wait_for_timeout(1500)
    faces = page.evaluate("heard.at(-1).faces")
    covers = page.evaluate(
        "[...document.querySelectorAll('.lv-cover')].map(c => ({id: +c.dataset.id, z: +c.style.zIndex,"
        " width: c.getBoundingClientRect().width, on: [...c.querySelectorAll('.on')].map(i => i.dataset.label)}))"
    )
    assert {c["id"]: c["on"] for c in covers} == {f["id"]: [f["label"]] for f in faces}
    assert {f["label"] for f in faces} >= {"happy", "surprise"}
    assert sorted(covers, key=lambda c: c["z"]) == sorted(covers, key=lambda c: c["width"])
    scale = page.locator("#fer-mirror .lv-stage").bounding_box()["width"] / 640
    for cover in covers:
        left, _, right, _ = next(f["box"] for f in faces if f["id"] == cover["id"])
        assert cover["width"] > 1.2 * (right - left) * scale, "hair and chin are covered as well"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#fer-mirror-plain input").check()
    page.wait_for_selector("#fer-mirror .lv.plain")
    ground = "getComputedStyle(document.querySelector('#fer-mirror .lv-overlay')).backgroundColor"
    assert page.evaluate(ground) == "rgb(244, 241, 235)", "emoji and nothing else"
    assert page.elsewhere == [] and page.wrong == []


def test_one_emoji_fades_into_the_next(visit, one_person):
    page = visit("Emoji mirror", one_person)
    start(page, "mirror")
    half = (
        "() => { const shares = [...document.querySelectorAll('.lv-cover img')].map(i => +getComputedStyle(i).opacity)"
        ".filter(v => v > 0); return shares.length > 1 && shares.some(v => v > 0.1 && v < 0.9) && shares; }"
    )
    shares = page.wait_for_function(half, polling=20).json_value()
    assert sum(shares) == pytest.approx(1, abs=0.05), "the face stays covered while they change"


@pytest.mark.parametrize("tab", ["Live", "Emoji mirror"])
def test_a_refused_camera_is_told_in_words(visit, tab):
    page = visit(tab, None)
    name = "live" if tab == "Live" else "mirror"
    page.click(f"#fer-{name} .lv-start")
    page.wait_for_selector(f"#fer-{name} .lv-status.problem")
    assert "camera was refused" in page.inner_text(f"#fer-{name} .lv-status")
    assert page.inner_text(f"#fer-{name} .lv-start") == "Start the camera"
    assert page.evaluate("heard.length") == 0 and page.wrong == []


def test_a_lost_server_is_told_in_words_and_found_again(visit, one_person):
    page = visit("Live", one_person)
    start(page, "live")
    page.route("**/component_server/**", lambda route: route.abort())
    page.wait_for_selector("#fer-live .lv-status >> text=connection to the server was lost")
    count = page.evaluate("heard.length")
    page.unroute("**/component_server/**")
    page.wait_for_function(f"heard.length > {count + 3}")
    assert {f["label"] for f in page.evaluate("heard.at(-1).faces")} <= set(FER7.names)


def test_a_camera_whose_start_fails_half_way_is_switched_off(visit, one_person):
    page = visit("Live", one_person)
    page.evaluate(
        "(() => { const devices = navigator.mediaDevices, given = devices.getUserMedia.bind(devices);"
        " devices.getUserMedia = async (wish) => (window.stream = await given(wish));"
        " devices.enumerateDevices = () => Promise.reject(new Error('They cannot be counted.')); })()"
    )
    page.click("#fer-live .lv-start")
    page.wait_for_selector("#fer-live .lv-status.problem", timeout=20_000)
    assert page.inner_text("#fer-live .lv-status") == "They cannot be counted."
    assert page.inner_text("#fer-live .lv-start") == "Start the camera"
    assert page.evaluate("stream.getTracks().every((track) => track.readyState === 'ended')")
    assert page.wrong == []
