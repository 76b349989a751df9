"""The demo's moving pictures on the server's side: visitors, places, frames, calibration."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import itertools
import json
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data.drawn_clip import Shot, draw_clip, draw_person
from fer.errors import CheckpointError
from fer.labels import FER7
from fer.models import LIVE_MODEL

pytest_plugins = ("tests.demo_fixtures",)

ROOT = Path(__file__).resolve().parents[2]


class Chooses:
    """A predictor that always gives the probabilities it was told to."""

    labels = FER7

    def __init__(self, name: str, label: str):
        self.name = name
        self.says(label)

    def says(self, label: str, p: float = 0.94) -> None:
        self.probs = np.full(7, (1 - p) / 6, np.float32)
        self.probs[FER7.index(label)] = p

    def predict_proba(self, faces) -> np.ndarray:
        return np.tile(self.probs, (len(faces), 1))


class Models:
    """Stands in for analysis.Models."""

    default, live_default = "gloomy", "cheerful"
    names = ("cheerful", "gloomy")

    def __init__(self) -> None:
        self.all = {"cheerful": Chooses("cheerful", "happy"), "gloomy": Chooses("gloomy", "sad")}

    def quick(self, name: str):
        if name not in self.all:
            raise CheckpointError(f"there is no model {name!r} here")
        return self.all[name]

    def title(self, name: str) -> str:
        return name.title()


def jpeg(image: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=90)
    return base64.b64encode(out.getvalue()).decode()


@pytest.fixture(scope="module")
def clip() -> list[str]:
    """A second and a half of one face."""
    frames = draw_clip([Shot("neutral", 1.5)], draw_person(3, plain=True), fps=10)
    return [jpeg(frame.image) for frame in frames]


WALL = jpeg(np.full((480, 640, 3), 120, np.uint8))


class Visitor:
    """A browser's side of the conversation."""

    def __init__(self, stream, **settings):
        self.stream = stream
        self.settings = settings
        self.key = None
        self.time = 0.0

    def look(self, picture: str, **more) -> dict:
        self.time += 0.1
        message = {"picture": picture, "time": self.time, "visitor": self.key, **self.settings, **more}
        answer = asyncio.run(self.stream.look(message))
        json.dumps(answer)  # plain types only
        self.key = answer.get("visitor", self.key)
        return answer

    def say(self, what: str) -> dict:
        return asyncio.run(getattr(self.stream, what)({"visitor": self.key}))


@pytest.fixture
def stream(demo):
    return demo.stream.Stream(Models(), most=3, idle_s=30, workers=2)


def test_a_frame_comes_back_as_box_label_and_probabilities(stream, clip):
    answer = Visitor(stream).look(clip[0])
    (face,) = answer["faces"]
    left, top, right, bottom = face["box"]
    assert answer["size"] == [640, 480] and answer["labels"] == list(FER7.names) and not answer["stale"]
    assert 100 < left < 300 < right < 500 and 60 < top < 240 < bottom < 440, "the face stands in the middle"
    assert face["label"] == "happy" and face["probs"][FER7.index("happy")] == pytest.approx(0.94, abs=1e-3)
    assert face["calibrating"] is None and face["calibrated"] is False and answer["spent_ms"] > 0


def test_everyone_has_a_pipeline_of_their_own(stream, clip):
    one, other = Visitor(stream), Visitor(stream)
    first = [one.look(picture)["faces"][0]["id"] for picture in clip[:4]]
    other.look(WALL)
    assert first == [1, 1, 1, 1], "the same face under the same number"
    assert one.key != other.key and len(stream) == 2
    assert other.look(WALL)["faces"] == [] and one.look(clip[4])["faces"]


def test_a_name_that_was_not_given_opens_nobody_elses_pipeline(stream, clip):
    thief = Visitor(stream)
    thief.key = "made up"
    assert thief.look(clip[0])["visitor"] != "made up"
    thief.key = "made up"
    assert "camera first" in thief.say("calibrate")["problem"]


def test_smoothing_is_a_time_constant_in_seconds(stream, clip):
    def shown_after(smoothing: float) -> list[str]:
        visitor = Visitor(stream, smoothing=smoothing)
        predictor = stream._models.all["cheerful"]
        predictor.says("happy")
        visitor.look(clip[0])
        predictor.says("surprise")
        labels = [visitor.look(picture)["faces"][0]["label"] for picture in clip[1:9]]
        visitor.say("leave")
        return labels

    assert shown_after(0.0) == ["surprise"] * 8
    calm = shown_after(0.5)
    assert calm[0] == calm[2] == "happy" and calm[-1] == "surprise", "later, and without going to and fro"
    assert sum(a != b for a, b in itertools.pairwise(calm)) == 1


def test_another_model_answers_from_the_next_frame_on(stream, clip):
    visitor = Visitor(stream)
    assert visitor.look(clip[0])["faces"][0]["label"] == "happy"
    key = visitor.key
    assert visitor.look(clip[1], model="gloomy")["faces"][0]["label"] == "sad"
    assert visitor.key == key and len(stream) == 1
    assert "there is no model" in visitor.look(clip[2], model="secret")["problem"]


def test_calibration_runs_for_three_seconds_and_can_be_forgotten(stream, clip):
    visitor = Visitor(stream, smoothing=0.0)
    rest = np.full(7, 0.01, np.float32)
    rest[[FER7.index("sad"), FER7.index("neutral")]] = 0.6, 0.35
    stream._models.all["cheerful"].probs = rest
    visitor.look(clip[0])
    assert visitor.say("calibrate") == {"faces": 1}
    progress = []
    while not (face := visitor.look(clip[len(progress) % 2])["faces"][0])["calibrated"]:
        progress.append(face["calibrating"])
        assert len(progress) < 60
    assert progress == sorted(progress) and 25 <= len(progress) <= 32, "three seconds at ten frames a second"
    assert face["label"] == "neutral" and face["calibrating"] is None
    visitor.say("forget")
    assert visitor.look(clip[0])["faces"][0]["label"] == "sad"


def test_without_a_face_there_is_nothing_to_calibrate(stream):
    visitor = Visitor(stream)
    visitor.look(WALL)
    assert "No face in sight" in visitor.say("calibrate")["problem"]


def test_when_every_place_is_taken_the_next_one_is_told_to_wait(stream, clip):
    inside = [Visitor(stream) for _ in range(3)]
    for visitor in inside:
        visitor.look(WALL)
    late = Visitor(stream)
    answer = late.look(clip[0])
    assert "3 places" in answer["problem"] and answer["retry_s"] > 0 and late.key is None
    inside[0].look(clip[0])
    assert inside[0].look(clip[1])["faces"], "who is inside goes on"
    inside[1].say("leave")
    assert late.look(clip[0])["faces"]


def test_one_address_cannot_take_every_place_by_leaving_out_its_name(demo, clip):
    stream = demo.stream.Stream(Models(), most=4, each=3, idle_s=30, workers=2)

    def nameless(address):
        return asyncio.run(stream.look({"picture": WALL, "time": 0.0}, address))

    answers = [nameless("greedy") for _ in range(6)]
    assert ["problem" in a for a in answers] == [False] * 3 + [True] * 3
    assert "3 places that one network" in answers[3]["problem"] and answers[3]["retry_s"] > 0
    assert nameless("modest")["visitor"] and len(stream) == 4, "the last place was left for somebody else"
    known = {"picture": clip[0], "time": 1.0, "visitor": answers[0]["visitor"]}
    assert asyncio.run(stream.look(known, "greedy"))["visitor"] == known["visitor"], "who has a place keeps it"
    asyncio.run(stream.leave({"visitor": answers[1]["visitor"]}))
    assert nameless("greedy")["visitor"]


def test_frames_of_those_without_a_place_do_not_pile_up(demo, clip):
    stream = demo.stream.Stream(Models(), most=12, each=8, idle_s=30, workers=2)

    async def flood():
        ask = lambda who: stream.look({"picture": WALL, "time": 0.0}, who)  # noqa: E731
        return await asyncio.gather(*[ask("greedy") for _ in range(7)], ask("modest"))

    *greedy, modest = asyncio.run(flood())
    sent_away = [a for a in greedy if "problem" in a]
    assert len(sent_away) == 4 and {a["problem"] for a in sent_away} == {"Too many frames at once."}
    assert modest["visitor"] and len(stream) == 4
    assert asyncio.run(stream.look({"picture": WALL, "time": 0.0}, "greedy"))["visitor"], "nothing of it stays counted"


def test_who_leaves_is_freed_with_all_that_was_kept(stream, clip):
    visitor = Visitor(stream)
    visitor.look(clip[0])
    kept = weakref.ref(stream._visitors[visitor.key].live)
    visitor.say("leave")
    gc.collect()
    assert len(stream) == 0 and kept() is None


def test_a_frame_that_was_under_way_does_not_bring_back_who_left(stream, clip):
    visitor = Visitor(stream)
    visitor.look(clip[0])
    key = visitor.key
    visitor.say("leave")
    assert "problem" in visitor.look(clip[1]) and visitor.key == key and len(stream) == 0
    visitor.key = None
    assert visitor.look(clip[2])["faces"] and len(stream) == 1, "who starts again is a new visitor"


def test_who_sends_nothing_any_more_is_freed_without_another_visitor(demo, clip):
    stream = demo.stream.Stream(Models(), idle_s=0.3, workers=1)
    Visitor(stream).look(clip[0])
    end = time.monotonic() + 20
    while len(stream) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(stream) == 0


def test_an_overtaken_frame_is_not_looked_at(stream, clip):
    visitor = Visitor(stream)
    visitor.look(clip[0])
    visitor.time = 5.0
    newest = visitor.look(clip[1])
    visitor.time = 2.0
    late = visitor.look(WALL)
    assert late["stale"] and late["faces"] == newest["faces"]


def test_no_queue_grows_behind_a_slow_net(stream, clip):
    """Ten frames at once: the net sees one or two of them, and the visitor is told about those that are too many."""
    visitor = Visitor(stream)
    visitor.look(clip[0])
    predictor = stream._models.all["cheerful"]
    seen, free = [], threading.Event()
    quick = predictor.predict_proba

    def slow(faces):
        seen.append(len(faces))
        free.wait(10)
        return quick(faces)

    predictor.predict_proba = slow

    async def flood():
        frames = [
            asyncio.create_task(stream.look({"picture": clip[1], "time": 1.0 + k, "visitor": visitor.key}))
            for k in range(10)
        ]
        await asyncio.sleep(0.5)
        free.set()
        return await asyncio.gather(*frames)

    answers = asyncio.run(flood())
    refused = [a for a in answers if "problem" in a]
    assert len(refused) == 7 and all("Too many" in a["problem"] for a in refused)
    assert len(seen) <= 3


def bad_frames() -> dict[str, dict]:
    big = io.BytesIO()
    Image.new("L", (20_000, 20_000)).save(big, "JPEG")
    png = io.BytesIO()
    Image.new("RGB", (64, 64)).save(png, "PNG")
    good = {"picture": WALL, "time": 1.0}
    return {
        "nothing": None,
        "a list": [1, 2],
        "no picture": {"time": 1.0},
        "a number": good | {"picture": 7},
        "not base64": good | {"picture": "///***"},
        "a letter": good | {"picture": base64.b64encode(b"dear lab").decode()},
        "a PNG": good | {"picture": base64.b64encode(png.getvalue()).decode()},
        "cut off": good | {"picture": base64.b64encode(base64.b64decode(WALL)[:300]).decode()},
        "400 megapixels": good | {"picture": base64.b64encode(big.getvalue()).decode()[:600_000]},
        "a megabyte": good | {"picture": "A" * 1_400_000},
        "no time": {"picture": WALL},
        "time is text": good | {"time": "now"},
        "time is endless": good | {"time": float("inf")},
        "smoothing is nothing": good | {"smoothing": float("nan")},
        "unknown model": good | {"model": {"a": 1}},
    }


@pytest.mark.parametrize("name", list(bad_frames()))
def test_a_bad_frame_is_a_sentence_and_leaves_no_visitor(stream, name, caplog):
    answer = asyncio.run(stream.look(bad_frames()[name]))
    assert answer["problem"] and "faces" not in answer
    assert len(stream) == 0 and not caplog.records, "said to the visitor, not to the log"


def test_an_unforeseen_failure_tells_the_log_and_not_the_visitor(stream, clip, caplog):
    visitor = Visitor(stream)
    visitor.look(clip[0])

    def fails(faces):
        raise RuntimeError("secret inner state")

    stream._models.all["cheerful"].predict_proba = fails
    answer = visitor.look(clip[1])
    assert "secret" not in answer["problem"] and "secret inner state" in caplog.text
    assert clip[1][:40] not in caplog.text


def test_both_pages_share_the_places_and_their_controls_reach_them(demo):
    import gradio as gr

    models = Models()
    with gr.Blocks() as blocks:
        demo.live.build(models)
        demo.mirror.build(models)
    parts = {c["props"].get("elem_id"): c for c in blocks.config["components"]}
    for page in ("live", "mirror"):
        view = parts[f"fer-{page}"]
        assert set(view["props"]["server_fns"] if "server_fns" in view["props"] else view["server_fns"]) >= {
            "look",
            "calibrate",
            "forget",
            "leave",
        }
        assert f'data-page="{page}"' in view["props"]["html_template"] and "nothing is kept" in str(view["props"])
    scripts = " ".join(str(d["js"]) for d in blocks.config["dependencies"])
    for name in ("smoothing", "model", "fade", "plain"):
        assert f"{{ {name}: value }}" in scripts
    assert demo.stream.stream_of(models) is demo.stream.stream_of(models)
    assert demo.stream.stream_of(models) is not demo.stream.stream_of(Models())


def test_moving_pictures_take_the_bundled_8_bit_file_and_photographs_do_not(demo):
    from analysis import Models as Offered

    models = Offered()
    assert models.quick("attention_cnn").precision == "int8" and models.quick(models.live_default) is models.quick(None)
    assert models.quick(None) is not models.predictor(None) and models.live_default == LIVE_MODEL != models.default
    assert models.predictor("attention_cnn").precision == "fp32"


@pytest.mark.parametrize("page", ["live", "mirror"])
def test_frames_arrive_through_the_server_with_the_address_of_their_sender(demo, clip, page):
    """As the browser sends them; from the outside, because what Gradio hands to a function is its own business."""
    import gradio as gr
    import httpx

    from marks import UNSURE_BELOW

    models = Models()
    with gr.Blocks() as blocks:
        getattr(demo, page).build(models)
    _, address, _ = blocks.launch(prevent_thread_lock=True, quiet=True)
    try:
        parts = httpx.get(f"{address}config", timeout=60).json()["components"]
        view = next(c["id"] for c in parts if c["props"].get("elem_id") == f"fer-{page}")

        def ask(name, message):
            body = {"component_id": view, "fn_name": name, "session_hash": "me", "data": message}
            return httpx.post(f"{address}gradio_api/component_server/", json=body, timeout=60).json()

        assert set(ask("assets", {})["emoji"]) >= set(FER7.names)
        assert ask("assets", {})["unsureBelow"] == UNSURE_BELOW, "one and the same on every page"
        static = (ROOT / "demo" / "static" / "app.js").read_text(encoding="utf-8")
        assert f"const UNSURE_BELOW = {UNSURE_BELOW};" in static
        frame = {"picture": clip[0], "time": 0.0}
        answer = ask("look", frame)
        assert answer["faces"][0]["label"] == "happy"
        (visitor,) = demo.stream.stream_of(models)._visitors.values()
        assert visitor.address == "127.0.0.1"
        me = {"visitor": answer["visitor"]}
        assert ask("look", frame | me | {"time": 0.1})["visitor"] == answer["visitor"]
        assert ask("calibrate", me) == {"faces": 1} and ask("forget", me) == {} and ask("leave", me) == {}
        assert len(demo.stream.stream_of(models)) == 0
    finally:
        blocks.close(verbose=False)
