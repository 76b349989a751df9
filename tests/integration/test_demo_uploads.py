"""Who holds which upload of the demo, and when it is deleted."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest_plugins = ("tests.demo_fixtures",)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def kept(demo, tmp_path):
    """Uploads, their clock in seconds (a list of one), and functions: send a file, ask as a page, wait as a program."""
    now = [1000.0]
    kept = demo.uploads.Uploads(demo.limits.Limits(kept_s=900, shown_s=7200), clock=lambda: now[0])
    picture, other = SimpleNamespace(_id=1), SimpleNamespace(_id=2)
    blocks = SimpleNamespace(
        fns={
            0: SimpleNamespace(api_visibility="private", inputs=[picture, other]),
            1: SimpleNamespace(api_visibility="public", inputs=[picture]),
        }
    )

    def send(name):
        path = tmp_path / name / f"{name}.jpg"
        kept.begin()
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"picture")
        kept.end([str(path)])
        return path

    def ask(visitor, path, fn=0):
        record = None if path is None else {"path": str(path), "meta": {}}
        kept.asked(blocks, {"session_hash": visitor, "fn_index": fn, "data": [record, "text"]})

    def waits(event, path, fn=1):
        kept.waits(blocks, {"fn_index": fn, "data": [{"path": str(path)}, "text"]}, {"event_id": event})

    return SimpleNamespace(uploads=kept, now=now, send=send, ask=ask, waits=waits)


def test_a_programs_upload_goes_with_its_answer(kept):
    path = kept.send("a")
    kept.ask("program", path, fn=1)
    assert path.exists()
    kept.uploads.answered([str(path)])
    assert not path.exists() and not path.parent.exists() and len(kept.uploads) == 0


def test_a_request_that_is_cancelled_before_its_turn_lets_go_of_its_file(kept):
    path = kept.send("a")
    kept.waits("one", path)
    assert path.exists()
    kept.uploads.ended("one", [])
    assert not path.exists() and len(kept.uploads) == 0


def test_who_is_cancelled_in_the_middle_lets_go_once(kept):
    path = kept.send("a")
    kept.send("a")  # somebody else's, the same picture
    kept.waits("one", path)
    kept.waits("two", path)
    kept.uploads.ended("one", [])  # the cancellation
    kept.uploads.ended("one", [str(path)])  # the end of the work
    assert path.exists(), "the other one still waits"
    kept.uploads.ended("two", [str(path)])
    assert not path.exists()


def test_a_request_that_ends_before_it_is_noted_is_not_remembered(kept):
    path = kept.send("a")
    kept.uploads.ended("one", [str(path)])
    kept.waits("one", path)
    assert not path.exists() and not kept.uploads._events


def test_a_file_that_two_sent_stays_until_both_are_answered(kept):
    path = kept.send("a")
    assert kept.send("a") == path
    kept.uploads.answered([str(path)])
    assert path.exists()
    kept.uploads.answered([str(path)])
    assert not path.exists()


def test_nothing_is_deleted_while_the_same_file_may_be_on_its_way(kept):
    path = kept.send("a")
    kept.uploads.begin()
    kept.uploads.answered([str(path)])
    assert path.exists()
    kept.uploads.end([str(path)])
    assert path.exists(), "it has a new owner"
    kept.uploads.answered([str(path)])
    assert not path.exists()


def test_a_visitors_picture_stays_while_they_look_at_it(kept):
    first, second = kept.send("a"), kept.send("b")
    kept.ask("anna", first)
    kept.ask("anna", first)
    kept.uploads.answered([str(first)])
    assert first.exists(), "a program cannot take it away"
    kept.ask("anna", second)
    assert not first.exists() and second.exists(), "replaced"
    kept.ask("anna", None)
    assert not second.exists(), "cleared"
    third = kept.send("c")
    kept.ask("anna", third)
    kept.uploads.left("ben")
    assert third.exists()
    kept.uploads.left("anna")
    assert not third.exists() and len(kept.uploads) == 0


def test_files_that_were_not_uploaded_are_never_deleted(kept, tmp_path):
    mine = tmp_path / "precious.txt"
    mine.write_text("mine")
    kept.ask("anna", mine)
    kept.ask("anna", None)
    kept.uploads.answered([str(mine)])
    kept.uploads.left("anna")
    assert mine.exists()


def test_a_program_that_was_sent_away_sends_its_file_again(kept):
    blocks = SimpleNamespace(
        fns={0: SimpleNamespace(api_visibility="private"), 1: SimpleNamespace(api_visibility="public")}
    )
    path = kept.send("a")
    data = [{"path": str(path)}, ""]
    kept.uploads.refused(blocks, {"session_hash": "anna", "fn_index": 0, "data": data})
    assert path.exists(), "the page still shows it"
    kept.uploads.refused(blocks, {"session_hash": "p", "fn_index": 1, "data": data})
    assert not path.exists()
    path = kept.send("b")
    kept.uploads.refused(blocks, {"data": [{"path": str(path)}]})
    assert not path.exists(), "by the endpoint's name"


def test_files_are_found_also_where_a_request_names_its_inputs(kept):
    """As Gradio's page about the endpoints says: {"picture": ...} in place of {"data": [...]}."""
    waiting, refused = kept.send("a"), kept.send("b")
    body = {"picture": {"path": str(waiting)}, "model": ""}
    kept.uploads.waits(SimpleNamespace(fns={}), body, {"event_id": "one"})
    assert kept.uploads._events == {"one": [str(waiting)]}
    kept.uploads.ended("one", [])
    assert not waiting.exists()
    kept.uploads.refused(SimpleNamespace(fns={}), {"picture": {"path": str(refused)}, "model": ""})
    assert not refused.exists()


@pytest.mark.parametrize("body", [None, [], {}, {"session_hash": "a", "fn_index": 99, "data": []}, {"fn_index": "x"}])
def test_nonsense_is_left_to_gradio(kept, body):
    kept.uploads.asked(SimpleNamespace(fns={}), body)
    kept.uploads.refused(SimpleNamespace(fns={}), body)
    kept.uploads.waits(SimpleNamespace(fns={}), body, {"event_id": "one"})
    assert not kept.uploads._events


def test_what_lies_too_long_is_swept_away(demo, tmp_path):
    for name in ("old/a.jpg", "example/b.jpg", "new/c.jpg"):
        path = tmp_path / name
        path.parent.mkdir()
        path.write_bytes(b"x")
    keep = [str(tmp_path / "example" / "b.jpg")]
    assert demo.sweep.sweep(tmp_path, 60, keep) == 0
    time.sleep(0.05)
    fresh = time.time() + 100
    os.utime(tmp_path / "new" / "c.jpg", (fresh, fresh))
    assert demo.sweep.sweep(tmp_path, 0.02, keep) == 1
    assert sorted(p.name for p in tmp_path.rglob("*.jpg")) == ["b.jpg", "c.jpg"]
    time.sleep(0.05)
    demo.sweep.sweep(tmp_path, 0.02, keep)
    assert not (tmp_path / "old").exists(), "empty folders go as well"
    assert demo.sweep.sweep(tmp_path / "absent", 0) == 0


def test_what_an_open_page_shows_is_spared_and_other_deleted_files_are_nobodys(demo, kept, tmp_path):
    import gradio as gr
    from gradio.route_utils import delete_files_created_by_app

    with gr.Blocks() as blocks:
        gr.Image()
    kept.uploads.release_with_answers(blocks)
    shown, forgotten, waiting, new = (kept.send(name) for name in ("shown", "forgotten", "waiting", "new"))
    blocks.upload_file_set.update(map(str, (shown, forgotten, waiting)))
    kept.uploads.opened("anna")
    kept.uploads.opened("anna")  # a page that connects again before its first connection has ended
    kept.uploads.closed("anna")
    kept.ask("anna", shown)
    kept.ask("ben", forgotten)  # his page is gone without a goodbye
    kept.waits("event", waiting)
    blocks._queue.event_ids_to_events["event"] = None
    kept.now[0] += 901
    # What waits for its turn was deleted once: a film behind four others was gone when its turn came.
    assert kept.uploads.spared() == {str(shown), str(waiting)}
    delete_files_created_by_app(blocks, -1)
    demo.sweep.sweep(tmp_path, -1, kept.uploads.spared() | {str(new)})
    kept.uploads.forget_deleted()
    assert shown.exists() and new.exists() and waiting.exists() and not forgotten.exists()
    assert len(kept.uploads) == 3 and blocks.upload_file_set == {str(shown), str(waiting)}
    assert kept.send("forgotten") == forgotten, "somebody else's, the same picture"
    kept.uploads.left("ben")
    assert forgotten.exists(), "who lost theirs cannot take it away"
    kept.uploads.ended("event", [])
    assert not waiting.exists()


def test_a_page_that_lost_its_connection_is_open_again_for_a_while_after_each_request(kept):
    lost = kept.send("lost")
    kept.uploads.opened("anna")
    kept.ask("anna", lost)
    kept.now[0] += 5000
    kept.uploads.left("anna")  # the network was away: Gradio says so first
    kept.uploads.closed("anna")
    assert not lost.exists() and kept.uploads.gone() == []
    shown = kept.send("shown")
    kept.ask("anna", shown)  # its page does not connect again, and goes on
    for _ in range(2):
        kept.now[0] += 890
        assert kept.uploads.spared() == {str(shown)} and kept.uploads.gone() == []
        kept.ask("anna", shown)
    kept.now[0] += 901
    assert kept.uploads.spared() == set() and kept.uploads.gone() == ["anna"]
    kept.uploads.left("anna")
    assert kept.uploads.gone() == [] and not shown.exists()


def test_nothing_is_spared_for_ever(kept):
    shown = kept.send("shown")
    kept.uploads.opened("anna")
    for _ in range(3):
        kept.ask("anna", shown)
        kept.now[0] += 2399
        assert kept.uploads.spared() == {str(shown)}
    kept.now[0] += 4
    assert kept.uploads.spared() == set()


def test_programs_that_went_away_while_they_waited_let_go_of_their_files(kept):
    import gradio as gr

    with gr.Blocks() as blocks:
        gr.Image()
    kept.uploads.release_with_answers(blocks)
    path, other = kept.send("a"), kept.send("b")
    kept.waits("one", path)
    kept.waits("two", other)
    blocks._queue.event_ids_to_events["two"] = None
    kept.uploads.let_go_of_lost()
    assert not path.exists() and other.exists() and list(kept.uploads._events) == ["two"]


def test_the_sweeper_forgets_who_is_gone_and_goes_on(demo, kept):
    import gradio as gr

    with gr.Blocks() as blocks:
        gr.Image()
    shown, forgotten = kept.send("shown"), []
    kept.ask("anna", shown)
    kept.now[0] += 901

    async def forget(app, visitor):
        forgotten.append((app, visitor))

    async def live():
        server = SimpleNamespace(get_blocks=lambda: blocks)
        async with demo.sweep.sweeper(60, kept.uploads, forget, every_s=0.01)(server):
            for _ in range(500):
                await asyncio.sleep(0.01)
                if forgotten and not shown.exists():
                    return

    asyncio.run(live())
    assert forgotten == [(blocks, "anna")] and not shown.exists()


def test_a_folder_that_goes_while_it_is_swept_does_not_end_the_sweep(demo, tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old.jpg").write_bytes(b"x")
    scan = os.scandir

    def racing(path="."):
        if str(path) == str(tmp_path / "a") and os.path.exists(path):  # somebody else's results go
            (tmp_path / "a" / "old.jpg").unlink()
            (tmp_path / "a").rmdir()
        return scan(path)

    monkeypatch.setattr(os, "scandir", racing)
    assert demo.sweep.sweep(tmp_path, -1) == 1


def test_the_end_of_the_server_spares_nothing(demo, kept):
    shown = kept.send("shown")
    kept.uploads.opened("anna")
    kept.ask("anna", shown)

    async def live_and_end():
        async with demo.sweep.sweeper(60, kept.uploads)(SimpleNamespace()):
            assert kept.uploads.spared() == {str(shown)}

    asyncio.run(live_and_end())
    assert kept.uploads.spared() == set()
    kept.uploads.closed("anna")
    kept.uploads.left("anna")
    assert not shown.exists()


def test_room_is_given_once(demo, kept):
    kept.send("a")  # the smallest file takes 4096 bytes
    uploads = kept.uploads
    assert uploads.reserve(3, most=4099) and not uploads.reserve(1, most=4099)
    uploads.release(3)
    assert uploads.reserve(3, most=4099)


def test_gradios_own_clean_up_survives_uploads_that_come_meanwhile(demo, tmp_path):
    import gradio as gr
    from gradio.route_utils import delete_files_created_by_app

    with gr.Blocks() as blocks:
        image = gr.Image()
    kept = demo.uploads.Uploads()
    kept.release_with_answers(blocks)
    assert blocks.upload_file_set in blocks.temp_file_sets and any(image.temp_files is s for s in blocks.temp_file_sets)
    old = [tmp_path / f"{n}.jpg" for n in range(500)]
    for path in old:
        path.write_bytes(b"picture")
        blocks.upload_file_set.add(str(path))
        image.temp_files.add(str(path) + " of the component")
    stop = threading.Event()

    def visitors():
        n = 0
        while not stop.is_set():
            n += 1
            for files in (blocks.upload_file_set, image.temp_files):
                files.add(f"/new/{n}")
                files.discard(f"/new/{n - 5}")

    thread = threading.Thread(target=visitors, daemon=True)
    thread.start()
    try:
        for _ in range(20):
            delete_files_created_by_app(blocks, None)
    finally:
        stop.set()
        thread.join()
    assert not any(path.exists() for path in old)
    assert not set(map(str, old)) & blocks.upload_file_set
