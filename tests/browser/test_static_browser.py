"""The page that runs in the visitor's own browser, in headless Chromium with a stand-in for the camera."""

from __future__ import annotations

import functools
import importlib.util
import io
import os
import shutil
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fer
from fer.data.synthetic import draw_face
from fer.errors import HubError
from fer.faces import crop
from fer.hub import downloads
from fer.models import LIVE_MODEL

ROOT = Path(__file__).resolve().parents[2]
STATIC = ROOT / "demo" / "static"
CHROMIUM = next(
    (
        p
        for p in ("/usr/bin/chromium", shutil.which("chromium"), shutil.which("google-chrome"))
        if p and Path(p).exists()
    ),
    None,
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium found"),
    pytest.mark.skipif(
        not (STATIC / "node_modules" / "onnxruntime-web").is_dir(), reason="onnxruntime-web is not there: make static"
    ),
]
pytest.importorskip("playwright", reason="playwright is not installed")
MODEL = LIVE_MODEL
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_S = 90
YUNET_ADDRESS = "https://huggingface.co/**"


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory):
    """The page, built from the bundled checkpoint."""
    spec = importlib.util.spec_from_file_location("static_build", STATIC / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    out = tmp_path_factory.mktemp("static") / "page"
    build.build(MODEL, out)
    return out


@pytest.fixture(scope="module")
def address(page_folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(page_folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture(scope="module")
def play():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        yield play


@pytest.fixture(scope="module")
def browser(play):
    chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def yunet_file():
    given = os.environ.get("FER_YUNET")
    if given and Path(given).is_file():
        return Path(given)
    try:
        return downloads.fetch_yunet(allow_download=False)
    except HubError:
        pytest.skip("YuNet's file is not there: set FER_YUNET")


@pytest.fixture
def visit(address, browser):
    """Function: open the page; the Hub is out of reach, or answers what it is told to. Notes what goes elsewhere."""
    contexts = []

    def go(width=1280, scheme="light", hub=None, chromium=browser, permissions=()):
        context = chromium.new_context(
            viewport={"width": width, "height": 860}, color_scheme=scheme, permissions=list(permissions)
        )
        context.set_default_timeout(1000 * PATIENCE_S)
        contexts.append(context)
        answer = (
            (lambda r: r.abort())
            if hub is None
            else lambda r: r.fulfill(body=hub, headers={"access-control-allow-origin": "*"})
        )
        context.route(YUNET_ADDRESS, answer)
        page = context.new_page()
        page.sent, page.wrong = [], []
        page.on("request", lambda r: page.sent.append((r.method, r.url, r.post_data)))
        page.on("pageerror", lambda e: page.wrong.append(str(e)))
        page.add_init_script("window.heard = []; document.addEventListener('fer-seen', e => heard.push(e.detail))")
        page.goto(address)
        wait(page, "['finder', 'guide'].includes(document.body.dataset.ready)")
        return page

    yield go
    for context in contexts:
        context.close()


def wait(page, condition: str) -> None:
    """Until an expression holds. (Playwright's own way needs eval, which the page's security policy forbids.)"""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"never came true: {condition}; status: {page.inner_text('#status')}"
        page.wait_for_timeout(100)


def upload(page, image: np.ndarray | bytes, name: str = "face.png") -> dict:
    """Choose a photo and return what the page says about it."""
    data = image
    if isinstance(image, np.ndarray):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        data = buffer.getvalue()
    before = page.evaluate("heard.length")
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": data})
    wait(page, f"heard.length > {before}")
    return page.evaluate("heard.at(-1)")


def drawn(expression: str, seed: int = 3, size_px: int = 400) -> np.ndarray:
    return draw_face(expression, np.random.default_rng(seed), size_px=size_px)


@pytest.mark.parametrize("size_px", [400, 333, 40])
def test_probabilities_equal_pythons(visit, size_px):
    predictor = fer.load(MODEL, backend="torch")
    page = visit()
    for expression in ("happy", "surprise", "sad"):
        face = drawn(expression, size_px=size_px)
        (seen,) = upload(page, face)["faces"]
        expected = predictor.predict_proba([crop(face, tuple(seen["box"]), 0)])[0]
        assert np.abs(np.array(seen["probs"]) - expected).max() < 1e-2
        assert page.inner_text("#label").lower() == predictor.labels.names[int(expected.argmax())]
        shares = [float(t.split()[0]) for t in page.locator("#bars .percent").all_inner_texts()]
        assert np.abs(np.array(shares) - 100 * expected).max() < 1.6
    assert page.wrong == []


def test_the_frame_can_be_moved_and_decides_what_is_read(visit):
    face = drawn("happy")
    picture = np.full((500, 1000, 3), 128, np.uint8)
    picture[50:450, 550:950] = face
    predictor = fer.load(MODEL, backend="torch")
    page = visit()
    assert upload(page, picture)["faces"][0]["box"] == [300, 50, 700, 450]
    page.locator("#guide").focus()
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    wait(page, "heard.at(-1).faces[0].box[0] >= 535")
    (seen,) = page.evaluate("heard.at(-1).faces")
    expected = predictor.predict_proba([crop(picture, tuple(seen["box"]), 0)])[0]
    assert np.abs(np.array(seen["probs"]) - expected).max() < 1e-2
    assert page.inner_text("#label") == "Happy"


def guide_box(page) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of the frame on the stage, in shares of the picture."""
    return tuple(
        page.evaluate(
            "(() => { const s = document.getElementById('guide').style;"
            " const [l, t, w, h] = [s.left, s.top, s.width, s.height].map((v) => parseFloat(v) / 100);"
            " return [l, t, l + w, t + h]; })()"
        )
    )


def resize(page, percent: int) -> None:
    """Choose the size of the frame over a landscape photo."""
    page.evaluate(f"document.getElementById('size').value = {percent}, document.getElementById('size').oninput()")
    wait(page, f"parseFloat(document.getElementById('guide').style.height) === {percent}")


@pytest.mark.parametrize("movement", ["absent", "in device pixels"])
def test_the_frame_is_dragged_by_as_much_as_the_pointer_moves(visit, movement):
    """Whatever the browser says in movementX: nothing before Safari 17 on iOS, another unit on some scaled displays."""
    page = visit()
    value = "undefined" if movement == "absent" else "3 * old.get.call(this)"
    page.evaluate(
        "for (const name of ['movementX', 'movementY']) {"
        " const old = Object.getOwnPropertyDescriptor(MouseEvent.prototype, name);"
        f" Object.defineProperty(MouseEvent.prototype, name, {{ get() {{ return {value}; }} }}); }}"
    )
    upload(page, np.full((600, 1000, 3), 128, np.uint8))
    resize(page, 40)
    before = guide_box(page)
    stage = page.locator("#photo").bounding_box()
    x, y = stage["x"] + 0.5 * stage["width"], stage["y"] + 0.5 * stage["height"]
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x + 0.03 * step * stage["width"], y - 0.02 * step * stage["height"])
    page.mouse.up()
    page.mouse.move(x, y)  # no button is pressed any more
    moved = np.array(guide_box(page)) - before
    assert np.abs(moved - [0.15, -0.1, 0.15, -0.1]).max() < 0.01
    left, top = guide_box(page)[:2]
    wait(page, f"Math.abs(heard.at(-1).faces[0].box[0] - {1000 * left}) <= 1.5")
    assert page.evaluate("heard.at(-1).faces[0].box[1]") == pytest.approx(600 * top, abs=1.5)
    x, y = x + 0.15 * stage["width"], y - 0.1 * stage["height"]
    page.mouse.move(x + 0.05 * stage["width"], y)
    page.mouse.down()  # another grip: the way from the last one does not count
    page.mouse.move(x + 0.08 * stage["width"], y)
    page.mouse.up()
    assert guide_box(page)[0] - left == pytest.approx(0.03, abs=0.01)
    there = guide_box(page)
    page.mouse.move(stage["x"] + 5, stage["y"] + 5)
    page.mouse.down()  # beside the frame: passing over it moves nothing
    page.mouse.move(x, y, steps=3)
    page.mouse.up()
    assert guide_box(page) == there
    assert page.wrong == []


def test_the_frame_turns_round_at_the_edge_at_once(visit):
    page = visit()
    upload(page, np.full((500, 1000, 3), 128, np.uint8))  # the frame's side is 400: its centre stays within 0.2 to 0.8
    page.locator("#guide").focus()
    for key, back, edge in (
        ("ArrowRight", "ArrowLeft", 2),
        ("ArrowLeft", "ArrowRight", 0),
        ("ArrowDown", "ArrowUp", 3),
    ):
        for _ in range(30):
            page.keyboard.press(key)
        there = guide_box(page)[edge]
        assert there == pytest.approx(0.0 if edge == 0 else 1.0, abs=0.005)
        page.keyboard.press(back)
        assert abs(guide_box(page)[edge] - there) == pytest.approx(0.02, abs=0.005)
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    resize(page, 100)
    assert guide_box(page)[2] == pytest.approx(1.0, abs=0.005)
    page.keyboard.press("ArrowLeft")
    assert guide_box(page)[2] == pytest.approx(0.98, abs=0.005), "it starts from where it is shown"
    assert guide_box(page)[1::2] == pytest.approx((0.0, 1.0), abs=0.005)


def test_yunet_finds_the_faces_that_opencv_finds(visit, yunet_file):
    picture = np.full((480, 640, 3), 120, np.uint8)
    picture[90:330, 40:280] = drawn("happy", size_px=240)
    picture[190:370, 400:580] = drawn("surprise", seed=5, size_px=180)
    expected = fer.detect(picture, "yunet", path=yunet_file)
    page = visit(hub=yunet_file.read_bytes())
    assert page.evaluate("document.body.dataset.ready") == "finder"
    answer = upload(page, picture)
    assert not answer["guide"] and len(answer["faces"]) == len(expected) == 2
    for seen, face in zip(answer["faces"], sorted(expected, key=lambda f: -f.area_px), strict=True):
        assert np.abs(np.array(seen["box"]) - np.array(face.box)).max() <= 12
        probs = fer.load(MODEL, backend="torch").predict_proba([crop(picture, tuple(seen["box"]))])[0]
        assert np.abs(np.array(seen["probs"]) - probs).max() < 1e-2
    page.locator(".face").nth(1).click()
    assert page.inner_text("#label").lower() == probs_label(answer["faces"][1]["probs"])


def group(columns: int, rows: int, size_px: int) -> np.ndarray:
    """A picture with a happy face in every field."""
    row = np.hstack([drawn("happy", seed=3 + column, size_px=size_px) for column in range(columns)])
    return np.vstack([row] * rows)


def test_a_photo_of_a_group_is_read_or_the_page_says_how_many_are_left_out(visit, yunet_file):
    page = visit(hub=yunet_file.read_bytes())
    seen = upload(page, group(4, 3, 240))
    assert len(seen["faces"]) == page.locator(".face").count() == 12 and seen["leftOut"] == 0
    assert page.inner_text("#status") == "12 faces: choose one to see its bars."
    seen = upload(page, group(8, 6, 160))
    assert len(seen["faces"]) == 40 and seen["leftOut"] > 0
    assert page.inner_text("#status").startswith(f"{40 + seen['leftOut']} faces, the 40 largest are read")
    page.locator(".face").nth(39).click()
    assert page.inner_text("#label").lower() == probs_label(seen["faces"][39]["probs"])


def test_the_camera_says_when_faces_are_left_out(play, visit, yunet_file, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(group(4, 3, 160)).save(buffer, "JPEG", quality=92)
    (tmp_path / "film.mjpeg").write_bytes(10 * buffer.getvalue())
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    chromium = play.chromium.launch(
        executable_path=CHROMIUM, args=[*FLAGS, *camera, f"--use-file-for-fake-video-capture={tmp_path / 'film.mjpeg'}"]
    )
    try:
        page = visit(hub=yunet_file.read_bytes(), chromium=chromium, permissions=["camera"])
        page.click("#camera")
        wait(
            page, "document.getElementById('status').textContent === 'The 6 largest faces are read; more are in sight.'"
        )
        wait(page, "heard.length > 5")
        assert page.evaluate("heard.at(-1).faces.length") == 6 and "more are" in page.inner_text("#status")
    finally:
        chromium.close()


def probs_label(probs: list[float]) -> str:
    return fer.load(MODEL).labels.names[int(np.argmax(probs))]


def test_a_face_finder_with_another_checksum_is_not_used(visit):
    page = visit(hub=b"something else")
    assert page.evaluate("document.body.dataset.ready") == "guide"
    assert upload(page, drawn("happy"))["guide"] and page.locator("#guide").is_visible()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A camera's pictures: the same face happy for two seconds, then surprised for two, again and again."""
    path = tmp_path_factory.mktemp("camera") / "film.mjpeg"
    with path.open("wb") as out:
        for expression in ("happy", "surprise"):
            picture = np.full((480, 640, 3), 120, np.uint8)
            picture[40:440, 120:520] = drawn(expression)
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "JPEG", quality=92)
            out.write(60 * buffer.getvalue())
    return path


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_live_camera(play, visit, film, width, scheme):
    flags = [
        *FLAGS,
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={film}",
    ]
    chromium = play.chromium.launch(executable_path=CHROMIUM, args=flags)
    try:
        page = visit(width, scheme, chromium=chromium, permissions=["camera"])
        page.click("#camera")
        wait(page, "new Set(heard.map(h => h.label)).size > 1 && heard.length > 20")
        labels = page.evaluate("[...new Set(heard.map(h => h.label))]")
        assert {"happy", "surprise"} <= set(labels)
        assert page.locator("#guide").is_visible(), "without a face finder there is a frame to look into"
        assert "pictures a second" in page.inner_text("#pace")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
        page.click("#camera")
        count = page.evaluate("heard.length")
        page.wait_for_timeout(500)
        assert page.evaluate("heard.length") <= count + 1 and page.inner_text("#camera") == "Start the camera"
        assert page.evaluate("document.getElementById('video').srcObject") is None
        assert all(method == "GET" and not body for method, _, body in page.sent), "no picture leaves the device"
        assert page.wrong == []
    finally:
        chromium.close()


def test_a_refused_camera_is_told_in_words_and_photos_still_work(visit):
    page = visit()
    page.click("#camera")
    wait(page, "document.getElementById('status').classList.contains('problem')")
    assert "camera" in page.inner_text("#status")
    assert upload(page, drawn("happy"))["faces"]


# A camera whose pictures are a drawing's; window.stream is what the page was given.
DRAWN_CAMERA = (
    "navigator.mediaDevices.getUserMedia = async () => {"
    " const canvas = Object.assign(document.createElement('canvas'), { width: 320, height: 240 });"
    " const pen = canvas.getContext('2d');"
    " setInterval(() => pen.fillRect(Math.random() * 300, 50, 9, 9), 30);"
    " return (window.stream = canvas.captureStream(30)); };"
)
ENDED = "stream.getTracks().every((track) => track.readyState === 'ended')"
IN_USE = "document.getElementById('stage').dataset.mode"


@pytest.mark.parametrize("broken", ["HTMLMediaElement.prototype.play", "navigator.mediaDevices.enumerateDevices"])
def test_a_camera_that_cannot_be_shown_is_switched_off(visit, broken):
    page = visit()
    page.evaluate(f"{DRAWN_CAMERA} {broken} = () => Promise.reject(new Error('It does not play.')); 0")
    page.click("#camera")
    wait(page, "document.getElementById('status').classList.contains('problem')")
    assert page.inner_text("#status") == "It does not play."
    assert page.evaluate(ENDED) and page.evaluate("document.getElementById('video').srcObject") is None
    assert page.evaluate(IN_USE) == "idle" and page.inner_text("#camera") == "Start the camera"
    assert upload(page, drawn("happy"))["mode"] == "photo"
    assert page.wrong == []


def test_a_photo_opened_while_the_camera_starts_stays(visit):
    page = visit()
    page.evaluate(
        f"{DRAWN_CAMERA} window.answers = [];"
        " navigator.mediaDevices.enumerateDevices = () => new Promise((go) => answers.push(() => go([]))); 0"
    )
    page.click("#camera")
    wait(page, "answers.length === 1")
    assert upload(page, drawn("happy"))["mode"] == "photo"
    page.evaluate("answers[0]()")
    page.wait_for_timeout(500)
    assert page.evaluate(IN_USE) == "photo" and page.inner_text("#camera") == "Start the camera"
    assert page.evaluate(ENDED) and page.inner_text("#status") == "Move the frame over a face."
    page.click("#camera")
    wait(page, "answers.length === 2")
    page.evaluate("answers[1]()")
    wait(page, "heard.at(-1).mode === 'camera'")
    assert page.evaluate(IN_USE) == "camera" and not page.evaluate(ENDED)
    assert page.wrong == []


def test_a_text_file_named_png_is_told_in_words(visit):
    page = visit()
    page.set_input_files("#file", {"name": "letter.png", "mimeType": "image/png", "buffer": b"dear lab"})
    wait(page, "document.getElementById('status').textContent.includes('letter.png')")
    assert upload(page, drawn("happy"))["faces"]


def test_it_says_what_it_is_and_fetches_from_nowhere_else(visit, address):
    page = visit()
    assert page.get_by_text("No picture leaves this device").is_visible()
    assert page.get_by_text("An expression is not a feeling").is_visible()
    page.get_by_role("link", name="model card").click()
    assert page.get_by_text("PublicTest").is_visible() and page.get_by_text("Not for judging people").is_visible()
    upload(page, drawn("happy"))
    elsewhere = [url for _, url, _ in page.sent if not url.startswith((address, "blob:", "data:"))]
    assert elsewhere == [u for u in elsewhere if u.endswith(downloads.YUNET_FILE)] and len(elsewhere) <= 1
    blocked = page.evaluate("fetch('https://example.org/', {method: 'POST', body: 'x'}).then(() => false, () => true)")
    assert blocked, "the page's own policy lets nothing be sent elsewhere"
