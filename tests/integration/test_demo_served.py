"""The demo as a whole: what its visitors and programs see of its limits, and what it keeps of theirs."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.demo_stand_ins import ONE, TWO, client_of

pytest_plugins = ("tests.demo_fixtures",)


def pictures(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("mine*"))


def soon(happens) -> bool:
    """Whether something is so within a few seconds: an answer may be here a moment before what follows from it."""
    end = time.monotonic() + 5
    while not happens() and time.monotonic() < end:
        time.sleep(0.02)
    return happens()


def test_an_upload_is_gone_when_the_answer_is_there_also_after_an_error(running, tmp_path):
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    address, folder = running()
    client = client_of(address)
    shutil.copyfile(ONE, tmp_path / "mine.jpg")
    (tmp_path / "mine.txt").write_text("no picture")
    assert client.predict(handle_file(str(tmp_path / "mine.jpg")), "", True, api_name="/analyze")["faces"]
    assert pictures(folder) == []
    with pytest.raises(AppError, match=r"mine\.txt"):
        client.predict(handle_file(str(tmp_path / "mine.txt")), "", True, api_name="/analyze")
    assert pictures(folder) == []
    with pytest.raises(AppError, match=r"mine\.txt"):
        client.predict(handle_file(str(tmp_path / "mine.txt")), api_name="/video")
    assert pictures(folder) == []
    assert client.predict(handle_file(str(ONE)), "", True, api_name="/analyze")["faces"], "the page's examples stay"


def test_a_full_queue_says_so_politely_and_loses_nobody_who_waits(demo, running, monkeypatch, tmp_path):
    from gradio_client import handle_file
    from gradio_client.utils import QueueError

    go = threading.Event()
    find = demo.photo.find_faces
    monkeypatch.setattr(demo.photo, "find_faces", lambda *a: go.wait(60) and find(*a))
    address, folder = running(waiting=2, at_once=1)
    client = client_of(address)
    mine = shutil.copyfile(TWO, tmp_path / "mine.jpg")
    busy, jobs = [], []
    for _ in range(8):
        job = client.submit(handle_file(str(mine)), "", True, api_name="/analyze")
        jobs.append(job)
    while sum(j.done() for j in jobs) < 3 and not go.wait(0.1):
        pass
    go.set()
    answers = []
    for job in jobs:
        try:
            answers.append(job.result(timeout=120))
        except QueueError as e:
            busy.append(str(e))
    assert len(busy) >= 3 and all("try again" in b for b in busy)
    assert len(answers) == 8 - len(busy) >= 2 and all(a["faces"] for a in answers)
    assert [p for p in folder.glob(f"*/{mine.name}")] == [], "those sent away are not kept either"


def test_who_cancels_while_waiting_leaves_no_file(demo, running, monkeypatch, tmp_path):
    from gradio_client import handle_file

    go, at_work = threading.Event(), threading.Event()
    find = demo.photo.find_faces
    monkeypatch.setattr(demo.photo, "find_faces", lambda *a: (at_work.set(), go.wait(60)) and find(*a))
    address, folder = running(at_once=1)
    first = client_of(address).submit(handle_file(str(ONE)), "", True, api_name="/analyze")
    assert at_work.wait(60)
    mine = shutil.copyfile(TWO, tmp_path / "mine.jpg")
    waiting = client_of(address).submit(handle_file(str(mine)), "", True, api_name="/analyze")
    try:
        end = time.monotonic() + 30
        while not list(folder.glob(f"*/{mine.name}")) and time.monotonic() < end:
            time.sleep(0.05)
        while waiting.status().code.name != "IN_QUEUE" and time.monotonic() < end:
            time.sleep(0.05)
        waiting.cancel()
        while list(folder.glob(f"*/{mine.name}")) and time.monotonic() < end:
            time.sleep(0.05)
        assert time.monotonic() < end, "the file of a cancelled request is still here"
    finally:
        go.set()
    assert first.result(timeout=60)["faces"]


@pytest.mark.parametrize("way", ["call", "call/v2"])
def test_a_file_stays_with_its_request_and_goes_with_it(demo, running, monkeypatch, way):
    """As Gradio's page about the endpoints shows it: the inputs in their order, or by their names."""
    go, at_work = threading.Event(), threading.Event()
    find = demo.photo.find_faces
    monkeypatch.setattr(demo.photo, "find_faces", lambda *a: (at_work.set(), go.wait(60)) and find(*a))
    address, _ = running(waiting=1, at_once=1)
    url, kept = address.rstrip("/") + "/gradio_api", demo.uploads.KEPT

    def ask(name):
        files = {"files": ("mine.jpg", ONE.read_bytes() + f"{way} {name}".encode())}
        (path,) = httpx.post(f"{url}/upload", files=files, timeout=60).json()
        inputs = {"picture": {"path": path, "meta": {"_type": "gradio.FileData"}}, "model": "", "whole_picture": True}
        body = inputs if way == "call/v2" else {"data": list(inputs.values())}
        reply = httpx.post(f"{url}/{way}/analyze", json=body, timeout=60)
        return Path(path), reply.status_code, reply.json().get("event_id")

    try:
        first, _, answered = ask("first")
        assert at_work.wait(60)
        second, status, cancelled = ask("second")
        assert status == 200 and soon(lambda: {str(first), str(second)} <= kept.spared())
        third, status, _ = ask("third")
        assert status == 503 and soon(lambda: not third.exists()), "who is sent away sends it again"
        stop = {"session_hash": cancelled, "fn_index": 0, "event_id": cancelled}
        assert httpx.post(f"{url}/cancel", json=stop, timeout=60).status_code == 200
        assert soon(lambda: not second.exists()) and first.exists()
    finally:
        go.set()
    with httpx.stream("GET", f"{url}/{way}/analyze/{answered}", timeout=60) as events:
        assert "event: complete" in list(events.iter_lines())
    assert soon(lambda: not first.exists())


def test_a_client_that_asks_too_often_is_told_when_to_come_back(running):
    address, _ = running(per_minute=6, burst=2)
    url = f"{address.rstrip('/')}/gradio_api/call/analyze"
    replies = [httpx.post(url, json={"data": [None, "", True]}, timeout=60) for _ in range(3)]
    assert [r.status_code for r in replies] == [200, 200, 503]
    assert int(replies[2].headers["retry-after"]) <= 10 and "try again" in replies[2].json()["detail"]
    assert httpx.get(address, timeout=60).status_code == 200, "the page can still be opened"


def change_of(address, name="fer-picture"):
    """What the page asks when an input changes, and the ids of components by name."""
    config = httpx.get(f"{address}config", timeout=60).json()
    ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
    return next(d for d in config["dependencies"] if [ids[name], "change"] in d["targets"]), ids


def test_a_visitors_files_stay_while_the_page_is_open_and_go_with_it(demo, running):
    """As a page does it: a connection for as long as it is open, an upload, a question."""
    address, _ = running()
    url, kept = address.rstrip("/") + "/gradio_api", demo.uploads.KEPT
    dependency, ids = change_of(address)
    with httpx.stream("GET", f"{url}/heartbeat/anna", timeout=60) as page:
        beats = page.iter_lines()
        assert "ALIVE" in next(beats)
        (upload,) = httpx.post(f"{url}/upload", files={"files": ("mine.jpg", ONE.read_bytes() + b"x")}).json()
        data = [{"path": upload, "meta": {"_type": "gradio.FileData"}}, "baseline_cnn", None, False]
        question = {"data": data, "fn_index": dependency["id"], "session_hash": "anna"}
        assert httpx.post(f"{url}/queue/join", json=question, timeout=60).status_code == 200
        with httpx.stream("GET", f"{url}/queue/data?session_hash=anna", timeout=60) as events:
            end = next(line for line in events.iter_lines() if "process_completed" in line)
        answer = json.loads(end.removeprefix("data:"))["output"]["data"]
        boxed = answer[dependency["outputs"].index(ids["fer-boxed"])]["value"]
        assert httpx.get(f"{url}/file={boxed['path']}", timeout=60).headers["content-type"] == "image/jpeg"
        assert Path(upload).is_file() and kept.spared() == {upload}
    end = time.monotonic() + 30
    while (Path(upload).exists() or Path(boxed["path"]).exists()) and time.monotonic() < end:
        time.sleep(0.05)
    assert time.monotonic() < end, "a file outlives the page that showed it"
    assert kept.spared() == set() and demo.photo._shown == {}


def test_an_upload_that_is_too_large_is_refused(running, tmp_path):
    address, folder = running(upload_mb=1)
    files = {"files": ("mine-large.jpg", b"x" * (2 * 2**20))}
    reply = httpx.post(f"{address.rstrip('/')}/gradio_api/upload", files=files, timeout=60)
    assert reply.status_code == 413 and "at most 1 MB" in reply.json()["detail"]
    assert pictures(folder) == []


def test_the_values_of_a_page_go_with_it(demo, running):
    address, _ = running()
    url, app = address.rstrip("/") + "/gradio_api", running.apps[-1]
    with httpx.stream("GET", f"{url}/heartbeat/berta", timeout=60) as page:
        beats = page.iter_lines()
        assert "ALIVE" in next(beats)
        fn = change_of(address)[0]["id"]
        question = {"data": [None, "baseline_cnn", None, False], "fn_index": fn, "session_hash": "berta"}
        assert httpx.post(f"{url}/queue/join", json=question, timeout=60).status_code == 200
        with httpx.stream("GET", f"{url}/queue/data?session_hash=berta", timeout=60) as events:
            assert any("process_completed" in line for line in events.iter_lines())
        assert "berta" in app.state_holder.session_data
    end = time.monotonic() + 30
    while "berta" in app.state_holder.session_data and time.monotonic() < end:
        time.sleep(0.05)
    assert "berta" not in app.state_holder.session_data and "berta" not in app.state_holder.time_last_used
    assert app.state_holder.capacity == demo.app.MOST_SESSIONS


def begin_upload(address: str, size: int, sent: int) -> socket.socket:
    """A connection that says it sends a file of so many bytes, and sends some of them."""
    place = httpx.URL(address)
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="mine.jpg"\r\n\r\n'
    line = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {place.host}\r\nContent-Length: {size}\r\n"
    connection = socket.create_connection((place.host, place.port), timeout=60)
    connection.sendall(line.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + head + b"x" * sent)
    return connection


@pytest.mark.parametrize("how", ["stalls", "breaks off"])
def test_of_an_upload_that_does_not_come_to_its_end_nothing_stays(demo, running, how):
    address, folder = running(stalled_s=1.0, kept_mb=4)
    before = {p for p in folder.rglob("*") if p.is_file()}
    with begin_upload(address, 3 * 2**20, 2**20) as connection:
        end = time.monotonic() + 30
        while not {p for p in folder.rglob("*") if p.is_file()} - before and time.monotonic() < end:
            time.sleep(0.01)
        if how == "stalls":
            answer = b"".join(iter(lambda: connection.recv(10_000), b""))
            assert b" 408 " in answer.split(b"\r\n", 1)[0] and b"too slowly" in answer
    while (left := {p for p in folder.rglob("*") if p.is_file()} - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left, "what came so far is deleted"
    files = {"files": ("mine.jpg", b"x" * (3 * 2**20))}
    (path,) = httpx.post(f"{address.rstrip('/')}/gradio_api/upload", files=files, timeout=60).json()
    demo.uploads.KEPT.answered([path])  # there was room for it
    assert not Path(path).exists()


def part(data: bytes, filename: str | None = None) -> bytes:
    """One part of a form, a field or a file."""
    name = 'name="files"' + (f'; filename="{filename}"' if filename else "")
    return f"--x\r\nContent-Disposition: form-data; {name}\r\n\r\n".encode() + data + b"\r\n"


@pytest.mark.parametrize(
    ("why", "form", "status", "stays"),
    [
        ("a field fails", part(b"x" * 2**20, "mine.jpg") + part(b"field") + part(b"x" * 2**21, "mine.jpg"), 500, True),
        ("a name is refused", part(b"x" * 2**20, ".."), 400, True),
        ("too many fields", part(b"x" * 2**20, "mine.jpg") + part(b"field") * 1001, 400, False),
        ("no form", part(b"x" * 2**20, "mine.jpg") + b"--y", 200, True),
        ("a nameless part", part(b"x" * 2**20, "mine.jpg") + b"--x\r\nContent-Disposition: a\r\n\r\n", 400, False),
    ],
)
def test_of_an_upload_that_gradio_refuses_counts_what_it_leaves_on_the_disk(demo, running, why, form, status, stays):
    address, folder = running()
    kept = demo.uploads.KEPT
    room, before = kept._room, {p for p in folder.rglob("*") if p.is_file()}
    form += b"--x--\r\n" if stays else b""
    query = "?upload_id=x" if why == "a field fails" else ""
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    reply = httpx.post(f"{address}gradio_api/upload{query}", content=form, headers=headers, timeout=60)
    left, lying = {p for p in folder.rglob("*") if p.is_file()} - before, room._lying["127.0.0.1"]
    try:
        assert reply.status_code == status
        assert bool(left) == stays and sum(p.stat().st_size for p in left) <= lying <= (len(form) if stays else 0)
    finally:
        kept.lies(-lying, "127.0.0.1")  # the others of this process have their room
        for path in left:
            path.unlink()


def test_a_page_asks_and_a_waiting_request_is_not_replaced(running):
    address, _ = running()
    url = address.rstrip("/") + "/gradio_api"
    for way in ("stream/x", "stream/x/close", "process_recording"):
        assert httpx.post(f"{url}/{way}", json={"data": []}, timeout=60).json() == {"detail": "There is nothing here."}
    fetched = {"fn_index": 0, "data": [{"path": "http://10.0.0.1/a", "meta": {"_type": "gradio.FileData"}}]}
    for way in ("run/component_server", "run/cancel", "run/upload", "api/upload", "call/mcp"):
        assert httpx.post(f"{url}/{way}", json=fetched, timeout=60).status_code == 422
    assert httpx.get(f"{url}/file=https://example.org/a", timeout=60).status_code == 404


def test_files_of_a_refused_question_are_let_go(running):
    address, folder = running()
    url = address.rstrip("/") + "/gradio_api"
    (path,) = httpx.post(f"{url}/upload", files={"files": ("mine.jpg", b"picture")}, timeout=60).json()
    data = [{"path": path}, {"path": "https://example.org/a.jpg"}]
    assert httpx.post(f"{url}/call/analyze", json={"data": data}, timeout=60).status_code == 422
    assert pictures(folder) == []


def test_a_recorded_film_is_held_for_the_page_that_names_it(demo, running):
    """A recording is no upload of the visitor's: the page names it as a change only."""
    address, _ = running()
    url, kept = address.rstrip("/") + "/gradio_api", demo.uploads.KEPT
    (path,) = httpx.post(f"{url}/upload", files={"files": ("mine.webm", b"film")}, timeout=60).json()
    assert path not in kept.spared()
    dependency, ids = change_of(address, "fer-film")
    assert dependency["inputs"] == [ids["fer-film"]] and dependency["outputs"] == [] and not dependency["queue"]
    record = {"path": path, "meta": {"_type": "gradio.FileData"}}
    question = {"data": [record], "fn_index": dependency["id"], "session_hash": "carla"}
    assert httpx.post(f"{url}/run/predict", json=question, timeout=60).status_code == 200
    assert path in kept.spared()
    kept.left("carla")
    assert not Path(path).exists()
