"""How much of the disk the visitors of the demo may fill, and how long one of them may take."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from tests.demo_stand_ins import Inside, gate_of

pytest_plugins = ("tests.demo_fixtures",)


def test_files_of_all_visitors_together_have_a_limit(demo, knock, tmp_path):
    inside = Inside()
    gate = gate_of(demo, inside, kept_mb=2)
    for name in ("a", "a", "b"):  # the same one twice is one file
        held = tmp_path / name
        held.write_bytes(b"x" * 2**20)
        inside.answer = json.dumps([str(held)]).encode()
        assert knock(gate, "/gradio_api/upload", held.read_bytes())[0] == 200
    status, headers, text = knock(gate, "/gradio_api/upload", b"x", address="5.6.7.8")
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

    inside = Slow(status=500)
    gate = gate_of(demo, inside, kept_mb=1)
    assert knock(gate, "/gradio_api/upload", b"x" * 2**15)[0] == 500
    status, _, text = answers[1]
    assert status == 503 and b"as many files as it can" in text
    assert len(inside.seen) == 1
    assert knock(gate, "/gradio_api/upload", b"x" * 2**20)[0] == 500, "nothing was kept of the first"


def test_files_of_tools_count_until_they_are_swept_away(demo, knock, monkeypatch):
    monkeypatch.setattr(demo.gate, "SWEEP_S", 0.0)
    inside = Inside()
    later = []
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", lambda loop, *given, **_: later.append(given))
    gate = gate_of(demo, inside, tools=True, kept_mb=1, kept_s=900)
    assert knock(gate, "/gradio_api/mcp/", b"x" * 2**19)[0] == 200
    for path in ("/gradio_api/mcp/", "/gradio_api/upload"):
        status, _, text = knock(gate, path, b"x" * (2**19 + 1))
        assert status == 503 and b"as many files as it can" in text
    assert len(inside.seen) == 1
    ((delay, release, *args), *_) = later
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


def test_one_address_cannot_fill_the_room_with_what_it_sends(demo, knock, tmp_path):
    inside = Inside()
    gate = gate_of(demo, inside, kept_mb=4, kept_each_mb=2, coming_mb=1)

    def send(name, address):
        path = tmp_path / f"{address}-{name}"
        path.write_bytes(b"x" * 2**20)
        inside.answer = json.dumps([str(path)]).encode()
        return knock(gate, "/gradio_api/upload", path.read_bytes(), address=address)[0]

    assert [send(name, "1.2.3.4") for name in "abc"] == [200, 200, 503]
    assert [send(name, "5.6.7.8") for name in "abc"] == [200, 200, 503], "there is room for others"
    gate._kept.answered([str(tmp_path / "1.2.3.4-a")])
    assert [send(name, "1.2.3.4") for name in "de"] == [200, 503], "as soon as one is gone there is room for one"


def test_nor_with_what_it_hands_to_tools(demo, knock):
    gate = gate_of(demo, Inside(), tools=True, kept_mb=4, kept_each_mb=2, coming_mb=1)
    ask = lambda address: knock(gate, "/gradio_api/mcp/", b"x" * 2**20, address=address)[0]  # noqa: E731
    assert [ask("1.2.3.4") for _ in range(3)] == [200, 200, 503] and ask("5.6.7.8") == 200


def test_bytes_that_gradio_does_not_name_count_all_the_same(demo, knock, monkeypatch):
    """A file in a field of another name is written to the disk, and no answer says where."""
    later = []
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", lambda loop, *given, **_: later.append(given))
    gate = gate_of(demo, Inside(b"[]"), kept_mb=1, kept_s=900)
    assert knock(gate, "/gradio_api/upload", b"x" * 2**19)[0] == 200
    assert knock(gate, "/gradio_api/upload", b"x" * (2**19 + 1))[0] == 503
    for delay, release, *args in later:
        if delay >= 900:
            release(*args)
    assert knock(gate, "/gradio_api/upload", b"x" * (2**19 + 1))[0] == 200
    refused = gate_of(demo, Inside(b"{}", status=413), kept_mb=1)  # too large for Gradio, which leaves nothing
    assert [knock(refused, "/gradio_api/upload", b"x" * (2**19 + 1))[0] for _ in range(3)] == [413] * 3


def test_what_gradio_wrote_before_it_failed_counts_until_it_is_swept_away(demo, knock, monkeypatch):
    """It tidies up after errors that it foresees only."""
    later = []
    monkeypatch.setattr(asyncio.BaseEventLoop, "call_later", lambda loop, *given, **_: later.append(given))

    class Failing(Inside):
        async def __call__(self, scope, receive, send):
            if "bad" in scope["query_string"].decode():
                assert (await receive())["more_body"]
                raise AttributeError("'NoneType' object has no attribute 'filename'")
            await super().__call__(scope, receive, send)

    gate = gate_of(demo, Failing(b"Could not parse", status=400), kept_mb=1, kept_s=900)
    with pytest.raises(AttributeError):
        knock(gate, "/gradio_api/upload", b"x" * 2**20, query=b"bad", parts=2)
    assert knock(gate, "/gradio_api/upload", b"x" * (2**19 + 1))[0] == 503
    assert knock(gate, "/gradio_api/upload", b"x" * 2**19)[0] == 400, "what did not come does not count"
    assert not gate._kept._arriving
    for delay, release, *args in later:
        if delay >= 900:
            release(*args)
    assert knock(gate, "/gradio_api/upload", b"x" * 2**20)[0] == 400


@pytest.mark.parametrize(
    ("status", "text", "stays"),
    [
        (400, b"Too many files. Maximum number of files is 1000.", False),
        (400, b"Could not parse multipart request: Did not find boundary character 45 at index 2", False),
        (413, b"Headers exceeded maximum allowed size of 8192 bytes.", False),
        (400, b'{"detail": "Invalid file name: .."}', True),
        (500, b"Internal Server Error", True),
    ],
)
def test_refused_uploads_count_as_far_as_gradio_leaves_them(demo, knock, status, text, stays):
    gate = gate_of(demo, Inside(text, status=status), kept_mb=1)
    answers = [knock(gate, "/gradio_api/upload", b"x" * (2**19 + 1)) for _ in range(3)]
    assert answers[0][0] == status and answers[0][2] == text
    assert [answer[0] for answer in answers[1:]] == [503 if stays else status] * 2


def test_files_that_wait_to_be_deleted_still_count(demo, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 10_000)
    kept = demo.uploads.Uploads()
    kept.begin()
    kept.end([str(path)], "1.2.3.4")
    kept.begin()  # somebody else's is all but there: nothing is deleted for the moment
    kept.answered([str(path)])
    assert path.exists() and not kept.reserve(1, most=10_000)
    kept.end([], "5.6.7.8")
    assert not path.exists() and kept.reserve(10_000, most=10_000)


def test_a_file_that_others_deleted_does_not_count_any_more(demo, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 10_000)
    kept = demo.uploads.Uploads()
    kept.begin()
    kept.end([str(path)], "1.2.3.4")
    path.unlink()
    kept.forget_deleted()
    assert kept.reserve(10_000, 10_000, "1.2.3.4", 10_000) and len(kept) == 0


def test_what_two_sent_is_there_once_and_counts_for_both(demo, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 10_000)
    room = demo.room.Room()
    assert [room.add([str(path)], address) for address in ("a", "b", "b")] == [10_000] * 3
    assert not room.reserve(2, 11_000, "a", 10_001) and not room.reserve(2, 11_000, "b", 10_001)
    assert room.reserve(2, 10_002, "c", 10_001) and not room.reserve(1, 10_002, "c")
    room.remove(str(path))
    assert room.reserve(10_000, 10_002, "a", 10_000) and not room._sent


def test_an_upload_on_its_way_does_not_stop_the_deleting(demo, tmp_path):
    """A stalled one would stop it for ever: only what is all but there may be the same file."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"x")
    sent = []

    class Stalled(Inside):
        async def __call__(self, scope, receive, send):
            assert (await receive())["more_body"]
            gate._kept.answered([str(path)])
            sent.append(path.exists())
            assert not (await receive())["more_body"]
            sent.append(gate._kept._arriving)

    gate = gate_of(demo, Stalled())
    gate._kept.begin()
    gate._kept.end([str(path)])
    pieces = [{"type": "http.request", "body": b"x", "more_body": more} for more in (True, False)]
    headers = [(b"content-length", b"2")]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "client": ("a", 1), "headers": headers}

    async def receive():
        return pieces.pop(0)

    async def send(message):
        pass

    asyncio.run(gate(scope, receive, send))
    assert sent == [False, 1] and gate._kept._arriving == 0


def test_too_many_files_at_once_are_not_taken(demo, knock, tmp_path):
    paths = [tmp_path / str(i) for i in range(4)]
    for path in paths:
        path.write_bytes(b"x")
    inside = Inside(json.dumps([str(p) for p in paths[:3]]).encode())
    gate = gate_of(demo, inside, files_at_once=3)
    assert knock(gate, "/gradio_api/upload", b"x")[0] == 200
    inside.answer = json.dumps([str(p) for p in paths]).encode()
    status, _, text = knock(gate, "/gradio_api/upload", b"x")
    assert status == 413 and b"at most 3" in text
    assert [p.exists() for p in paths] == [True, True, True, False], "what another upload brought stays"
