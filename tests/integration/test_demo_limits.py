"""What the demo refuses, and in which words."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[2]
ONE = ROOT / "demo" / "examples" / "1-happy.jpg"
TWO = ROOT / "demo" / "examples" / "2-surprise.jpg"


@pytest.fixture(scope="module")
def demo():
    """The modules of the demo, as `python demo/app.py` imports them."""
    sys.path.insert(0, str(ROOT / "demo"))
    try:
        yield SimpleNamespace(**{n: importlib.import_module(n) for n in ("app", "photo", "limits", "uploads")})
    finally:
        sys.path.remove(str(ROOT / "demo"))


# --- the gate ---------------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_address_and_come_back_with_time(demo):
    now = [0.0]
    allowance = demo.limits.Allowance(per_minute=60, burst=3, clock=lambda: now[0])
    assert [allowance.take("a") for _ in range(3)] == [0, 0, 0]
    assert allowance.take("a") == pytest.approx(1), "seconds until the next one"
    assert allowance.take("b") == 0, "another address has its own"
    now[0] = 2.0
    assert [allowance.take("a") for _ in range(3)] == [0, 0, pytest.approx(1)]
    now[0] = 1000.0
    assert [allowance.take("a") for _ in range(4)][:3] == [0, 0, 0] and allowance.take("a") > 0, "never more than burst"


def test_addresses_that_are_idle_are_forgotten(demo, monkeypatch):
    monkeypatch.setattr(demo.limits, "_MOST_ADDRESSES", 10)
    now = [0.0]
    allowance = demo.limits.Allowance(per_minute=60, burst=1, clock=lambda: now[0])
    for i in range(500):
        now[0] += 10
        allowance.take(str(i))
    assert len(allowance._left) <= 11


class Inside:
    """Stands for Gradio: notes what reaches it, answers with the paths it is told to."""

    def __init__(self, answer=b"[]"):
        self.seen, self.answer = [], answer

    async def __call__(self, scope, receive, send):
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.seen.append((scope["path"], body))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.answer})


@pytest.fixture
def knock(demo):
    """Function: a request at a gate; returns (status, headers, text)."""

    def ask(gate, path, body=b"{}", address="1.2.3.4", method="POST", headers=None, parts=1):
        blocks = SimpleNamespace(fns={})
        given = {b"content-length": str(len(body)).encode()} if headers is None else headers
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "client": (address, 5),
            "headers": list(given.items()),
            "app": SimpleNamespace(get_blocks=lambda: blocks),
        }
        size = -(-len(body) // parts) or 1
        pieces = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        messages = [{"type": "http.request", "body": p, "more_body": i < len(pieces) - 1} for i, p in enumerate(pieces)]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        asyncio.run(gate(scope, receive, send))
        if not sent:
            return None
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:])

    return ask


def gate_of(demo, inside, tools=False, **limits):
    return demo.limits.Gate(inside, demo.limits.Limits(**limits), demo.uploads.Uploads(), tools)


def test_too_many_requests_are_refused_politely_and_before_gradio(demo, knock):
    inside = Inside()
    gate = gate_of(demo, inside, per_minute=6, burst=2)
    path = "/gradio_api/queue/join"
    assert [knock(gate, path)[0] for _ in range(3)] == [200, 200, 503]
    status, headers, text = knock(gate, path)
    assert status == 503 and headers[b"retry-after"] == b"10" and "try again in 10 s" in json.loads(text)["detail"]
    assert knock(gate, path, address="5.6.7.8")[0] == 200
    assert knock(gate, "/gradio_api/file=a", method="GET")[0] == 200, "looking costs nothing"
    assert len(inside.seen) == 4


@pytest.mark.parametrize("path", ["/gradio_api/call/video", "/gradio_api/run/predict", "/gradio_api/upload"])
def test_every_way_in_is_counted(demo, knock, path):
    gate = gate_of(demo, Inside(), per_minute=6, burst=1)
    assert [knock(gate, path)[0] for _ in range(2)] == [200, 503]


def test_frames_of_a_camera_have_a_limit_of_their_own(demo, knock):
    inside = Inside()
    gate = gate_of(demo, inside, per_minute=6, burst=1, frames_per_minute=90, json_mb=1)
    path = "/gradio_api/component_server/"
    assert [knock(gate, path)[0] for _ in range(4)] == [200, 200, 200, 503]
    assert knock(gate, "/gradio_api/queue/join")[0] == 200, "not counted together"
    big = {b"content-length": str(2**20 + 1).encode()}
    assert knock(gate, path, headers=big, address="5.6.7.8")[0] == 413
    assert knock(gate, path, headers={}, address="5.6.7.8")[0] == 411
    assert len(inside.seen) == 4


def test_sizes_are_limited_and_bodies_pass_unchanged(demo, knock):
    inside = Inside()
    gate = gate_of(demo, inside, json_mb=1, upload_mb=2)
    body = json.dumps({"data": ["x" * 1000]}).encode()
    assert knock(gate, "/gradio_api/queue/join", body, parts=7)[0] == 200
    assert inside.seen == [("/gradio_api/queue/join", body)]
    status, _, text = knock(gate, "/gradio_api/queue/join", b"x" * (2**20 + 1), parts=5)
    assert status == 413 and b"at most 1 MB" in text
    big = {b"content-length": str(3 * 2**20).encode()}
    status, _, text = knock(gate, "/gradio_api/upload", b"", headers=big)
    assert status == 413 and b"at most 2 MB" in text
    assert knock(gate, "/gradio_api/upload", b"abc", headers={})[0] == 411, "a size that is not told"
    assert len(inside.seen) == 1


def test_a_header_names_the_visitor_behind_a_spaces_proxy_only(demo, monkeypatch):
    scope = {"client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"8.8.8.8, 10.0.0.2")]}
    monkeypatch.delenv("SPACE_ID", raising=False)
    assert demo.limits.address_of(scope) == "10.0.0.1"
    monkeypatch.setenv("SPACE_ID", "somebody/lab")
    assert demo.limits.address_of(scope) == "8.8.8.8"
    for named, address in (
        (b"1.1.1.1, 8.8.8.8, 10.0.0.2", "8.8.8.8"),  # the first is what the visitor says of itself
        (b"nonsense, 8.8.4.4", "8.8.4.4"),
        (b"2001:4860:4860::8888, 10.0.0.2", "2001:4860:4860::8888"),
        (b"192.168.1.5, 10.0.0.2", "192.168.1.5"),
    ):
        assert demo.limits.address_of(scope | {"headers": [(b"x-forwarded-for", named)]}) == address


@pytest.mark.parametrize("place", ["http://example.org/a.jpg", "HTTPS://example.org/a.jpg", " https://example.org/a"])
def test_files_are_not_fetched_from_the_web(demo, knock, place):
    inside = Inside()
    gate = gate_of(demo, inside)
    record = {"path": place, "meta": {"_type": "gradio.FileData"}}
    for data in ([record], [{"video": record}], [[record, None]]):
        for path in ("/gradio_api/call/analyze", "/gradio_api/queue/join"):
            status, _, text = knock(gate, path, json.dumps({"data": data}).encode())
            assert status == 422 and b"Send the file itself" in text
    text = {"data": ["see https://example.org", {"path": "/tmp/x.jpg"}]}
    assert knock(gate, "/gradio_api/queue/join", json.dumps(text).encode())[0] == 200
    assert len(inside.seen) == 1


def test_tools_have_the_same_limits(demo, knock):
    inside = Inside()
    gate = gate_of(demo, inside, per_minute=6, burst=3, upload_mb=1)
    path = "/gradio_api/mcp/"
    assert knock(gate, path, b"{}", headers={b"content-length": b"2"})[0] == 200
    assert knock(gate, path, b"", headers={b"content-length": str(3 * 2**20).encode()})[0] == 413
    assert knock(gate, path, b"{}", headers={})[0] == 411
    assert knock(gate, path, b"{}", headers={b"content-length": b"2"})[0] == 503
    assert len(inside.seen) == 1


def test_files_of_all_visitors_together_have_a_limit(demo, knock, tmp_path):
    held = tmp_path / "held.bin"
    held.write_bytes(b"x" * 2**20)
    gate = gate_of(demo, Inside(json.dumps([str(held)]).encode()), kept_mb=2)
    half = {b"content-length": str(2**20).encode()}
    assert [knock(gate, "/gradio_api/upload", b"", headers=half)[0] for _ in range(2)] == [200, 200]
    held.write_bytes(b"x" * (2**20 + 1))
    status, headers, text = knock(gate, "/gradio_api/upload", b"", headers=half, address="5.6.7.8")
    assert status == 503 and headers[b"retry-after"] == b"60" and b"as many files as it can" in text


def test_uploads_that_arrive_together_do_not_pass_the_limit(demo, knock):
    answers = []

    class Slow(Inside):
        async def __call__(self, scope, receive, send):
            if not answers:  # the first one is on its way as the second knocks
                answers.append(None)
                other = threading.Thread(target=lambda: answers.append(knock(gate, "/gradio_api/upload", b"x" * 2**20)))
                other.start()
                await asyncio.to_thread(other.join)
            await super().__call__(scope, receive, send)

    inside = Slow()
    gate = gate_of(demo, inside, kept_mb=1)
    assert knock(gate, "/gradio_api/upload", b"x" * 2**19)[0] == 200
    status, _, text = answers[1]
    assert status == 503 and b"as many files as it can" in text
    assert len(inside.seen) == 1
    assert knock(gate, "/gradio_api/upload", b"x" * 2**20)[0] == 200, "nothing was kept of the first"


def test_files_of_tools_count_until_they_are_swept_away(demo, knock, monkeypatch):
    monkeypatch.setattr(demo.uploads, "SWEEP_S", 0.0)
    inside = Inside()
    later = []
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", lambda loop, *given, **_: later.append(given))
    gate = gate_of(demo, inside, tools=True, kept_mb=1, kept_s=900)
    assert knock(gate, "/gradio_api/mcp/", b"x" * 2**19)[0] == 200
    for path in ("/gradio_api/mcp/", "/gradio_api/upload"):
        status, _, text = knock(gate, path, b"x" * (2**19 + 1))
        assert status == 503 and b"as many files as it can" in text
    assert len(inside.seen) == 1
    ((delay, release, *args),) = later
    release(*args)
    assert delay == 900 and knock(gate, "/gradio_api/upload", b"x" * 2**20)[0] == 200


@pytest.mark.parametrize(("tools", "status"), [(False, 404), (True, 404), (True, 500)])
def test_requests_that_leave_no_file_hold_no_room(demo, knock, tools, status):
    class Refusing(Inside):
        async def __call__(self, scope, receive, send):
            if "mcp" not in scope["path"]:
                return await super().__call__(scope, receive, send)
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    gate = gate_of(demo, Refusing(), tools=tools, kept_mb=1)
    assert [knock(gate, "/gradio_api/mcp/", b"x" * 2**20)[0] for _ in range(3)] == [status] * 3
    assert knock(gate, "/gradio_api/upload", b"x" * 2**20)[0] == 200


def test_one_address_cannot_take_all_the_room_for_what_never_comes(demo, knock):
    answers = []

    class Stalled(Inside):
        async def __call__(self, scope, receive, send):
            if not answers:  # the first one stalls while others knock
                answers.append(None)
                for address in ("1.2.3.4", "5.6.7.8"):
                    ask = lambda a=address: answers.append(knock(gate, "/gradio_api/upload", b"x" * 2**20, address=a))  # noqa: E731
                    other = threading.Thread(target=ask)
                    other.start()
                    await asyncio.to_thread(other.join)
            await super().__call__(scope, receive, send)

    gate = gate_of(demo, Stalled(), kept_mb=9, coming_mb=1)
    assert knock(gate, "/gradio_api/upload", b"x" * 2**20, address="1.2.3.4")[0] == 200
    assert [answer[0] for answer in answers[1:]] == [503, 200]


def test_a_page_is_open_as_long_as_its_connection(demo, knock):
    seen = []

    class Page(Inside):
        async def __call__(self, scope, receive, send):
            seen.append(dict(gate._kept._pages))
            await super().__call__(scope, receive, send)

    gate = gate_of(demo, Page())
    assert knock(gate, "/gradio_api/heartbeat/anna", method="GET")[0] == 200
    assert seen == [{"anna": 1}] and not gate._kept._pages


# --- the whole --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(demo, untrained, tmp_path_factory):
    """Function: a running demo with the limits given; returns (address, folder of uploads)."""
    pytest.importorskip("gradio_client")
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(untrained("baseline_cnn"), home / "checkpoints" / "baseline_cnn")
    apps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CHECKPOINTS", str(home / "checkpoints"))
        patch.setenv("FER_RESULTS", str(home / "results"))
        patch.setenv("GRADIO_TEMP_DIR", str(home / "uploads"))

        def launch(**given):
            limits = demo.limits.Limits(**given)
            app = demo.app.build_app(limits=limits)
            _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **demo.app.launch_options(limits))
            apps.append(app)
            return address, home / "uploads"

        yield launch
        for app in apps:
            app.close(verbose=False)


def client_of(address):
    from gradio_client import Client

    return Client(address, verbose=False, httpx_kwargs={"timeout": 120})


def pictures(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("mine*"))


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


def test_a_client_that_asks_too_often_is_told_when_to_come_back(running):
    address, _ = running(per_minute=6, burst=2)
    url = f"{address.rstrip('/')}/gradio_api/call/analyze"
    replies = [httpx.post(url, json={"data": [None, "", True]}, timeout=60) for _ in range(3)]
    assert [r.status_code for r in replies] == [200, 200, 503]
    assert int(replies[2].headers["retry-after"]) <= 10 and "try again" in replies[2].json()["detail"]
    assert httpx.get(address, timeout=60).status_code == 200, "the page can still be opened"


def test_a_visitors_files_stay_while_the_page_is_open_and_go_with_it(demo, running):
    """As a page does it: a connection for as long as it is open, an upload, a question."""
    address, _ = running()
    url, kept = address.rstrip("/") + "/gradio_api", demo.uploads.KEPT
    config = httpx.get(f"{address}config", timeout=60).json()
    ids = {c["props"].get("elem_id"): c["id"] for c in config["components"]}
    dependency = next(d for d in config["dependencies"] if [ids["fer-picture"], "change"] in d["targets"])
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


# --- tools for language models ----------------------------------------------------------------------------------------


def test_without_the_package_mcp_is_refused_in_one_line(demo, monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "mcp" else find(name, *a))
    assert demo.app.main(["--mcp"]) == 2
    err = capsys.readouterr().err
    assert "gradio[mcp]" in err and "Traceback" not in err and err.count("\n") == 1


def test_the_endpoints_are_tools(demo, untrained, monkeypatch, tmp_path):
    pytest.importorskip("mcp", reason="gradio[mcp] is not installed")
    import base64

    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    shutil.copytree(untrained("baseline_cnn"), tmp_path / "checkpoints" / "baseline_cnn")
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    app = demo.app.build_app()
    _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **demo.app.launch_options(mcp=True))
    picture = "data:image/jpeg;base64," + base64.b64encode(ONE.read_bytes()).decode()

    async def talk():
        async with (
            streamablehttp_client(f"{address.rstrip('/')}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {t.name: t for t in (await session.list_tools()).tools}
            answer = await session.call_tool("analyze", {"picture": picture, "whole_picture": True})
            refused = await session.call_tool("analyze_video", {"film": picture})
            return tools, answer, refused

    try:
        tools, answer, refused = asyncio.run(talk())
    finally:
        app.close(verbose=False)
    assert set(tools) == {"analyze", "analyze_video"}
    assert "film" in tools["analyze_video"].inputSchema["properties"] and "CSV" in tools["analyze_video"].description
    assert not answer.isError and "'faces': [{'box'" in answer.content[0].text
    assert refused.isError and "not a film" in refused.content[0].text


@pytest.mark.parametrize("value", ["0", "-3"])
def test_an_impossible_rate_is_told_in_words(demo, value, capsys):
    with pytest.raises(SystemExit) as ended:
        demo.app.main(["--per-minute", value])
    assert ended.value.code == 2 and "--per-minute must be at least 1" in capsys.readouterr().err
