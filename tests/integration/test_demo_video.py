"""The demo's page Video and its endpoint, on drawn films and a model that reads the brightness of a face."""

from __future__ import annotations

import csv
import shutil
import struct
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fer.data.drawn_clip import Shot, draw_clip, draw_person
from fer.errors import ConfigError, ImageError
from fer.inference.video import Video, VideoWriter, table_columns
from fer.labels import FER7

pytest_plugins = ("tests.demo_fixtures",)

ROOT = Path(__file__).resolve().parents[2]
FPS = 10
FRAMES = 20
SIZE = (240, 180)
FAULTS = ("empty.mp4", "letter.mp4", "picture.mp4", "cut.mp4", "none.mp4")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """clip.webm: a drawn face for two seconds; turned.mp4: shown turned; half.avi: cut off; and what is no film."""
    folder = tmp_path_factory.mktemp("films")
    images = [f.image for f in draw_clip([Shot("happy", 1), Shot("sad", 1)], draw_person(3, plain=True), FPS, *SIZE)]
    for name in ("clip.webm", "clip.mp4", "half.avi"):
        with VideoWriter(folder / name, FPS, SIZE) as out:
            for image in images:
                out.write(image)
    data = bytearray((folder / "clip.mp4").read_bytes())
    at = data.index(b"tkhd") + 4
    data[at + 40 : at + 76] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    (folder / "turned.mp4").write_bytes(data)
    shutil.copyfile(folder / "clip.webm", folder / "holiday in Rome.txt")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "letter.mp4").write_text("dear lab, " * 50)
    shutil.copyfile(ROOT / "demo" / "examples" / "1-happy.jpg", folder / "picture.mp4")
    (folder / "cut.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:400])
    with VideoWriter(folder / "none.mp4", FPS, SIZE):
        pass
    data = (folder / "half.avi").read_bytes()
    (folder / "half.avi").write_bytes(data[: len(data) // 2])
    return folder


class Steady:
    """A model that is always rather sure of happy; `pause` holds it up."""

    name, labels = "steady", FER7

    def __init__(self):
        self.pause = lambda: None
        self.calls = 0

    def predict_proba(self, faces):
        self.calls += 1
        self.pause()
        probs = np.full((len(faces), 7), 0.05, np.float32)
        probs[:, FER7.index("happy")] = 0.7
        return probs


@pytest.fixture
def at_work(demo, films, tmp_path):
    """Function: a job on a film with the limits given; and the model, the desk."""
    model = Steady()

    def start(name="clip.webm", style="boxes", address="here", desk=None, **limits):
        desk = desk or demo.film.Desk(demo.limits.Limits(**limits))
        return demo.film.Job(desk, address, films / name, name, model, style, tmp_path / "out")

    return SimpleNamespace(start=start, model=model, desk=lambda **k: demo.film.Desk(demo.limits.Limits(**k)))


def finished(job):
    assert job.wait(120)
    return job.result


def frames_of(path):
    with Video(path) as film:
        return [image for _, image in film]


# --- the work ---------------------------------------------------------------------------------------------------------


def test_film_table_summary_and_timeline_tell_the_same(at_work, films):
    result = finished(at_work.start())
    assert result.film.name == "clip-boxes.webm" and result.table.name == "clip-faces.csv"
    frames = frames_of(result.film)
    assert len(frames) == FRAMES and frames[0].shape == (SIZE[1], SIZE[0], 3)
    changed = np.abs(frames[-1].astype(int) - frames_of(films / "clip.webm")[-1]).max(axis=2) > 60
    assert 0.01 < changed.mean() < 0.5, "boxes and bars are drawn on the picture"
    with open(result.table, newline="") as f:
        rows = list(csv.reader(f))
    assert rows[0] == table_columns(FER7.names) and len(rows) > FRAMES * 0.8
    assert all(row[rows[0].index("label")] == "happy" for row in rows[1:])
    summary = result.summary
    assert (summary["width"], summary["height"], summary["frames"]) == (*SIZE, FRAMES)
    assert summary["seconds"] == pytest.approx(2.0, abs=0.02) and summary["complete"] is True
    (face,) = summary["faces"]
    assert face["label"] == "happy" and face["shares"] == {"happy": 1.0}
    assert face["seconds"] == pytest.approx((len(rows) - 1) / FPS, abs=0.05)
    times, probs = result.timeline.of(face["id"])
    assert len(times) == len(rows) - 1 and probs[:, FER7.index("happy")].min() > 0.6


def test_emoji_cover_the_face_and_emoji_only_shows_nothing_of_the_picture(at_work, films):
    source = frames_of(films / "clip.webm")[-1].astype(int)
    mirror = frames_of(finished(at_work.start(style="mirror")).film)[-1].astype(int)
    plain = frames_of(finished(at_work.start(style="plain")).film)[-1].astype(int)
    middle = (slice(80, 110), slice(105, 135))
    assert np.abs(mirror[middle] - source[middle]).mean() > 25, "covered"
    assert np.abs(mirror[:20] - source[:20]).mean() < 8, "the rest is the picture"
    assert plain[:20].std() < 8 and np.abs(plain[middle] - plain[:20].mean()).mean() > 25


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_film_is_told_by_the_visitors_name_for_it(at_work, films, tmp_path, name):
    job = at_work.start(name)
    with pytest.raises(ImageError) as caught:
        job.wait(60)
    assert str(caught.value).startswith(f"{name}: ") and str(films) not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == [], "nothing is left behind"


def test_the_content_counts_and_the_result_has_a_harmless_name(at_work):
    result = finished(at_work.start("holiday in Rome.txt"))
    assert result.film.name == "holiday-in-Rome-boxes.webm" and result.summary["frames"] == FRAMES


def test_a_film_turned_by_its_metadata_is_shown_upright(at_work):
    result = finished(at_work.start("turned.mp4"))
    assert (result.summary["width"], result.summary["height"]) == SIZE[::-1]
    assert frames_of(result.film)[0].shape == (SIZE[0], SIZE[1], 3)


def test_too_long_is_refused_and_large_frames_are_reduced(at_work):
    with pytest.raises(ImageError, match="at most 1 s are taken"):
        at_work.start(film_s=1.0).wait(60)
    result = finished(at_work.start(film_px=120))
    assert (result.summary["width"], result.summary["height"]) == (120, 90)
    assert frames_of(result.film)[0].shape == (90, 120, 3)


def test_an_unknown_style_takes_no_place(at_work):
    desk = at_work.desk(films_each=1)
    with pytest.raises(ConfigError, match="style"):
        at_work.start(style="oil", desk=desk)
    assert finished(at_work.start(desk=desk))


# --- waiting, stopping ------------------------------------------------------------------------------------------------


def test_one_film_at_a_time_a_few_wait_the_rest_is_sent_away(demo, at_work):
    go = threading.Event()
    at_work.model.pause = lambda: go.wait(60)
    desk = at_work.desk(films_waiting=1, films_each=1)
    first = at_work.start(address="a", desk=desk)
    second = at_work.start(address="b", desk=desk)
    assert (first.ahead, second.ahead) == (0, 1)
    with pytest.raises(demo.film.BusyError, match="earlier film"):
        at_work.start(address="b", desk=desk)
    with pytest.raises(demo.film.BusyError, match="try again in a moment"):
        at_work.start(address="c", desk=desk)
    assert not second.wait(0.3) and second.progress is None
    go.set()
    assert finished(first) and finished(second)
    assert finished(at_work.start(address="c", desk=desk)), "there is room again"


def test_a_stopped_film_keeps_what_was_done(at_work):
    desk = at_work.desk()
    job = None

    def stop_soon():
        if at_work.model.calls == 6:
            job.stop()

    at_work.model.pause = stop_soon
    job = at_work.start(desk=desk)
    result = finished(job)
    assert result.summary["complete"] is False and 0 < result.summary["frames"] < FRAMES
    assert len(frames_of(result.film)) == result.summary["frames"]


def test_who_waits_can_stop_and_makes_room(at_work):
    go = threading.Event()
    at_work.model.pause = lambda: go.wait(60)
    desk = at_work.desk(films_waiting=1)
    first, second = at_work.start(address="a", desk=desk), at_work.start(address="b", desk=desk)
    second.stop()
    assert second.wait(30) and second.result is None
    third = at_work.start(address="c", desk=desk)
    go.set()
    assert finished(first) and finished(third)


def test_a_result_that_nobody_wants_is_deleted(at_work, tmp_path):
    job = at_work.start()
    job.discard()
    assert job.wait(60)
    late = at_work.start()
    assert finished(late).film.exists()
    late.discard()
    assert list((tmp_path / "out").iterdir()) == []


def test_work_that_takes_too_long_is_ended(at_work):
    assert finished(at_work.start(film_work_s=0.0)) is None


def test_a_fault_of_ours_is_logged_without_the_picture_and_admitted(demo, at_work, caplog):
    at_work.model.pause = lambda: 1 / 0
    job = at_work.start()
    with pytest.raises(ZeroDivisionError) as caught:
        job.wait(60)
    assert demo.film.message_of(caught.value, "sorry") == "sorry"
    assert "ZeroDivisionError" in caplog.text and "clip.webm" not in caplog.text
    at_work.model.pause = lambda: None
    assert finished(at_work.start()), "the next film is not troubled"


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(demo, at_work, films, tmp_path, monkeypatch):
    """Function: press Start; gives what the page shows after each step, components by name."""
    import gradio as gr

    names = ("status", "film", "chart", "table", "start", "stop")
    with gr.Blocks():
        shown = [gr.HTML() for _ in names]
    models = SimpleNamespace(quick=lambda name: at_work.model)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setattr(demo.video, "POLL_S", 0.02)
    desk = at_work.desk()

    def start(name="clip.webm", session="anna", upload=None):
        if name and upload is None:
            (tmp_path / "up").mkdir(exist_ok=True)
            shutil.copyfile(films / name, tmp_path / "up" / name)
            upload = {"path": str(tmp_path / "up" / name), "orig_name": name}
        request = SimpleNamespace(session_hash=session, client=SimpleNamespace(host="1.2.3.4"))
        for step in demo.video._show(models, desk, shown, upload, None, "boxes", request):
            yield {name: step.get(c) for name, c in zip(names, shown, strict=True)}

    return start


def test_the_page_shows_progress_then_film_chart_and_table(demo, page):
    steps = list(page())
    assert 'role="progressbar"' in steps[0]["status"] and steps[0]["stop"]["visible"]
    assert not steps[0]["start"]["interactive"]
    last = steps[-1]
    assert "1 face followed through 2.0 s" in last["status"] and not last["stop"]["visible"]
    assert last["start"]["interactive"]
    film, table = Path(last["film"]["value"]), Path(last["table"]["value"])
    assert film.is_file() and table.is_file() and last["chart"].count("<svg") == 1
    demo.video.leave("ben")
    assert film.is_file()
    demo.video.leave("anna")
    assert not film.exists() and not table.exists() and not film.parent.exists(), "nothing is kept of who left"


def test_the_page_says_that_a_file_is_cut_off(page, at_work):
    last = list(page("half.avi"))[-1]
    assert "The file is cut off: it ends after 1." in last["status"] and Path(last["film"]["value"]).is_file()
    result = finished(at_work.start("half.avi"))
    assert result.summary["complete"] is False and 7 < result.summary["frames"] < 13


def test_a_second_film_takes_the_place_of_the_first(page):
    first = Path(list(page())[-1]["film"]["value"])
    second = Path(list(page())[-1]["film"]["value"])
    assert second.is_file() and not first.exists()


def test_a_visitor_who_goes_in_the_middle_leaves_nothing(page, at_work, tmp_path):
    go = threading.Event()
    at_work.model.pause = lambda: go.wait(60)
    steps = page()
    next(steps)
    steps.close()
    go.set()
    assert list(page(session="ben")), "the place is free"
    assert len(list(tmp_path.glob("film-*"))) == 1, "only the second visitor's"


@pytest.mark.parametrize("ends", ["done", "fails", "later"])
def test_a_film_that_is_replaced_in_the_middle_leaves_nothing_and_says_nothing(demo, page, at_work, tmp_path, ends):
    go, begun = threading.Event(), threading.Event()

    def pause():
        begun.set()
        go.wait(60)
        assert ends != "fails"

    at_work.model.pause = pause
    steps = page()
    assert 'role="progressbar"' in next(steps)["status"] and begun.wait(60)
    demo.video.leave("anna")  # another film was chosen: its page is cleared by then
    working = [t for t in threading.enumerate() if t.name == "film"]
    if ends != "later":
        go.set()
        [t.join(60) for t in working]
    assert list(steps) == [], "the page belongs to the next film"
    go.set()
    [t.join(60) for t in working]
    assert list(tmp_path.glob("film-*")) == []
    assert "anna" not in demo.video._shown and "anna" not in demo.video._running


@pytest.mark.parametrize("name", FAULTS)
def test_the_page_says_what_is_wrong_with_a_film(page, name):
    last = list(page(name))[-1]
    assert name in last["status"] and 'role="alert"' in last["status"] and "Traceback" not in last["status"]
    assert last["film"]["value"] is None and last["chart"] == "" and last["start"]["interactive"]


def test_no_film_a_foreign_one_or_one_that_is_gone(page, films, tmp_path):
    assert "Choose a film first" in list(page(None))[-1]["status"]
    foreign = {"path": str(films / "clip.webm"), "orig_name": "clip.webm"}
    assert "no film was uploaded" in list(page(upload=foreign))[-1]["status"], "a request may name any path"
    gone = {"path": str(tmp_path / "gone.webm"), "orig_name": "gone.webm"}
    assert "no longer here" in list(page(upload=gone))[-1]["status"]


# --- the endpoint -----------------------------------------------------------------------------------------------------


@pytest.fixture
def served(demo, untrained, tmp_path, monkeypatch):
    """The demo's address, and a client of it."""
    gradio_client = pytest.importorskip("gradio_client")
    shutil.copytree(untrained("baseline_cnn"), tmp_path / "checkpoints" / "baseline_cnn")
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    app = demo.app.build_app()
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **demo.app.launch_options())
    patient = {"timeout": 120}
    yield gradio_client.Client(address, verbose=False, httpx_kwargs=patient, download_files=tmp_path / "down")
    app.close(verbose=False)


def test_the_endpoint_answers_with_film_table_and_summary(served, films, tmp_path):
    from gradio_client import exceptions, handle_file

    clip = handle_file(str(films / "clip.webm"))
    film, table, summary = served.predict(film=clip, style="mirror", api_name="/video")
    assert len(frames_of(film)) == FRAMES and summary["model"] == "baseline_cnn" and summary["complete"]
    assert Path(table).read_text().splitlines()[0] == ",".join(table_columns(FER7.names))
    assert not list((tmp_path / "uploads").rglob("clip.webm")), "the upload is gone"
    for name, words in (("letter.mp4", "not a film"), ("none.mp4", "none.mp4"), ("empty.mp4", "0 bytes")):
        with pytest.raises(exceptions.AppError, match=words):
            served.predict(film=handle_file(str(films / name)), api_name="/video")
    with pytest.raises(exceptions.AppError, match="boxes, mirror, plain"):
        served.predict(film=clip, style="oil", api_name="/video")
    described = served.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert set(described) == {"/analyze", "/video"}
    assert [p["parameter_name"] for p in described["/video"]["parameters"]] == ["film", "model", "style"]


def test_a_cancelled_request_ends_the_work_and_leaves_nothing(served, films, tmp_path, monkeypatch):
    from gradio_client import handle_file

    from fer.inference.live import LivePipeline

    at_work, process = threading.Event(), LivePipeline.process

    def slow(self, image, time_s):
        at_work.set()
        time.sleep(1)  # twenty seconds for the whole film
        return process(self, image, time_s)

    monkeypatch.setattr(LivePipeline, "process", slow)

    def working():
        return [t for t in threading.enumerate() if t.name == "film"]

    job = served.submit(film=handle_file(str(films / "clip.webm")), api_name="/video")
    assert at_work.wait(60) and working()
    job.cancel()
    end = time.monotonic() + 10
    while working() and time.monotonic() < end:
        time.sleep(0.05)
    assert not working(), "still in work ten seconds after it was cancelled"
    left = [p.name for p in (tmp_path / "uploads").rglob("*") if p.name.startswith("film-") or p.name == "clip.webm"]
    assert left == []
