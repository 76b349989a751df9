"""Which way a request takes through the demo's gate: by its very path, and nothing passes unseen."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.responses import FileResponse

from tests.demo_stand_ins import Inside, gate_of

pytest_plugins = ("tests.demo_fixtures",)

FETCHED = json.dumps(
    {"fn_index": 0, "data": [{"path": "http://10.0.0.1/a", "meta": {"_type": "gradio.FileData"}}]}
).encode()


@pytest.mark.parametrize("name", ["upload", "component_server", "cancel", "process_recording", "analyze", "mcp", "%"])
@pytest.mark.parametrize("way", ["run", "api", "call", "call/v2"])
@pytest.mark.parametrize("end", ["", "/"])
def test_an_endpoints_name_does_not_make_a_question_something_else(demo, knock, way, name, end):
    inside = Inside()
    gate = gate_of(demo, inside, tools=True)
    status, _, text = knock(gate, f"/gradio_api/{way}/{name}{end}", FETCHED)
    assert status == 422 and b"Send the file itself" in text and inside.seen == []


@pytest.mark.parametrize("path", ["/gradio_api/queue/join\n", "/gradio_api/run/x\n", "/gradio_api/upload\n"])
def test_a_line_feed_that_the_router_passes_over_opens_no_other_way(demo, knock, path):
    inside = Inside()
    assert knock(gate_of(demo, inside), path, FETCHED)[0] == 404 and inside.seen == []


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/nobody/knows/me"])
def test_behind_a_path_of_its_own_the_demo_is_guarded_as_well(demo, knock, path):
    for given, root in ((f"/lab{path}", "/lab"), (path, "/lab"), (f"/gradio_api{path}", "/gradio_api")):
        inside = Inside()
        assert knock(gate_of(demo, inside), given, FETCHED, root_path=root)[0] == 422 and inside.seen == []


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/stream/0123456789abcdef",
        "/gradio_api/stream/0123456789abcdef/close",
        "/gradio_api/process_recording",
        "/gradio_api/process_recording/",
    ],
)
def test_what_no_page_of_the_demo_uses_and_would_do_harm_is_not_there(demo, knock, path):
    inside = Inside()
    assert knock(gate_of(demo, inside), path, b"{}")[0] == 404 and inside.seen == []


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "place", ["file=https://example.org/a", "file/http://example.org/a", "file=HTTP://example.org"]
)
def test_the_demo_is_no_relay_to_other_places(demo, knock, method, place):
    inside = Inside()
    gate = gate_of(demo, inside)
    assert knock(gate, f"/gradio_api/{place}", b"", method=method)[0] == 404 and inside.seen == []
    assert knock(gate, "/gradio_api/file=/tmp/https://a.jpg", b"", method=method)[0] == 200


@pytest.mark.parametrize(
    "path", ["/login", "/login/", "/gradio_api/reset", "/gradio_api/vibe-edit", "/", "/gradio_api"]
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_ways_that_nobody_thought_of_have_limits_too(demo, knock, path, method):
    inside = Inside()
    gate = gate_of(demo, inside, json_mb=1, per_minute=6, burst=2)
    told = {b"content-length": str(2**20 + 1).encode()}
    assert knock(gate, path, b"", method=method, headers=told)[0] == 413
    assert knock(gate, path, b"", method=method, headers={})[0] == 411
    assert knock(gate, path, b"{}", method=method)[0] == 200 and len(inside.seen) == 1
    assert knock(gate, path, FETCHED, method=method)[0] == 422
    assert knock(gate, path, b"{}", method=method)[0] == 503 and len(inside.seen) == 1


def test_a_file_that_goes_while_it_is_asked_for_is_not_there_and_no_fault(demo, knock, tmp_path):
    class Gone(Inside):
        async def __call__(self, scope, receive, send):
            await FileResponse(tmp_path / "gone.jpg")(scope, receive, send)

    class Broken(Inside):
        async def __call__(self, scope, receive, send):
            raise RuntimeError("something else")

    path = "/gradio_api/file=gone.jpg"
    status, _, text = knock(gate_of(demo, Gone()), path, method="GET")
    assert status == 404 and b"is gone" in text and str(tmp_path).encode() not in text
    with pytest.raises(RuntimeError, match="something else"):
        knock(gate_of(demo, Broken()), path, method="GET")


@pytest.mark.parametrize("path", ["upload", "component_server", "mcp/", "reset"])
def test_a_size_that_another_header_overrules_is_not_believed(demo, knock, path):
    inside = Inside()
    gate = gate_of(demo, inside, tools=True)
    both = {b"content-length": b"10", b"transfer-encoding": b"chunked"}
    assert knock(gate, f"/gradio_api/{path}", b"x" * 10, headers=both)[0] == 411 and inside.seen == []


@pytest.mark.parametrize("path", ["upload", "component_server", "mcp/", "reset", "queue/join"])
def test_more_bytes_than_allowed_are_not_taken_whatever_was_told(demo, knock, path):
    class Asking(Inside):
        async def __call__(self, scope, receive, send):
            try:
                await super().__call__(scope, receive, send)
            except demo.bodies.BodyError as error:  # as Gradio does with errors of this kind
                await send({"type": "http.response.start", "status": 400, "headers": []})
                await send({"type": "http.response.body", "body": str(error).encode()})

    inside = Asking()
    gate = gate_of(demo, inside, tools=True, json_mb=1, upload_mb=1)
    answer = knock(gate, f"/gradio_api/{path}", b"x" * (3 * 2**20), headers={b"content-length": b"10"}, parts=9)
    assert answer[0] == 413 and b"too large" in answer[2] and inside.seen == []


@pytest.mark.parametrize("size", [b"9" * 5000, b"-1", b"", b"1e3", "²".encode()])
def test_an_odd_size_is_refused(demo, knock, size):
    assert knock(gate_of(demo, Inside()), "/gradio_api/upload", b"", headers={b"content-length": size})[0] in (411, 413)


def test_frames_are_not_written_to_the_disk(demo, knock):
    inside = Inside()
    headers = {b"content-length": b"2", b"content-type": b"multipart/form-data; boundary=x"}
    assert knock(gate_of(demo, inside), "/gradio_api/component_server", b"{}", headers=headers)[0] == 415
    assert inside.seen == []


@pytest.mark.parametrize("kinds", [("multipart/form-data; boundary=x", "application/json"), ("Multipart/x", "text/x")])
def test_nor_are_they_where_a_request_says_twice_what_it_is(demo, knock, kinds):
    for said in (kinds, kinds[::-1]):  # whichever of the two it is that Gradio believes
        inside = Inside()
        headers = [(b"content-length", b"2"), *((b"content-type", kind.encode()) for kind in said)]
        assert knock(gate_of(demo, inside), "/gradio_api/component_server", b"{}", headers=headers)[0] == 415
        assert inside.seen == []


@pytest.mark.parametrize("path", ["upload", "component_server", "mcp/", "reset"])
def test_two_sizes_are_not_believed_and_the_same_one_twice_is(demo, knock, path):
    inside = Inside()
    gate = gate_of(demo, inside, tools=True)
    for sizes in ((b"1", b"10"), (b"10", b"1"), (b"", b"10")):
        headers = [(b"content-length", size) for size in sizes]
        assert knock(gate, f"/gradio_api/{path}", b"x" * 10, headers=headers)[0] == 411 and inside.seen == []
    assert knock(gate, f"/gradio_api/{path}", b"x" * 10, headers=[(b"content-length", b"10")] * 2)[0] == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "delete"])
@pytest.mark.parametrize("path", ["/", "/gradio_api/file=a", "/gradio_api/upload", "/gradio_api/queue/data"])
def test_nothing_is_sent_where_nobody_reads_it(demo, knock, method, path):
    inside = Inside()
    gate = gate_of(demo, inside)
    ask = lambda headers: knock(gate, path, b"", method=method, headers=headers)[0]  # noqa: E731
    for header in ((b"content-length", b"10"), (b"transfer-encoding", b"chunked")):
        assert ask([header]) == ask([header, (b"content-length", b"0")]) == 400
    assert inside.seen == [] and ask([]) == ask([(b"content-length", b"0")]) == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *((method, "messages/") for method in ("GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "get", "PUT")),
        *((method, path) for method in ("DELETE", "TRACE", "delete") for path in ("", "/", "http", "sse")),
        ("GET", "messages"),
        ("DELETE", "messages/1"),
    ],
)
def test_tools_are_guarded_whatever_the_method(demo, knock, method, path):
    """Their messages are read whatever the method is: of MCP's own routes that one does not look at it."""
    inside = Inside()
    place = f"/gradio_api/mcp/{path}"
    gate = gate_of(demo, inside, tools=True, per_minute=6, burst=5, upload_mb=1)
    large, odd = {b"content-length": str(2 * 2**20 + 1).encode()}, {b"transfer-encoding": b"chunked"}
    assert knock(gate, place, b"", method=method, headers=large)[0] == 413
    assert knock(gate, place, b"", method=method, headers=odd)[0] == 411 and inside.seen == []
    assert knock(gate, place, b"x" * 2**20, method=method)[0] == 200
    assert gate._kept._room._lying == {"1.2.3.4": 2**20}, "it may bring a file"
    if method in ("POST", "PUT", "PATCH"):
        assert knock(gate, place, b"", method=method, headers={})[0] == 411
    else:
        assert knock(gate, place, b"", method=method, headers={})[0] == 200, "as the end of a session"
    assert knock(gate, place, b"{}", method=method)[0] == 200
    assert knock(gate, place, b"{}", method=method)[0] == 503
    assert knock(gate_of(demo, inside), place, b"{}", method=method)[0] == 404, "where there are no tools"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", ["mcp", "mcp/", "mcp/sse", "mcp/schema"])
def test_a_tools_connection_is_let_through_without_a_body_only(demo, knock, method, path):
    gate = gate_of(demo, Inside(), tools=True, per_minute=6, burst=1)
    assert [knock(gate, f"/gradio_api/{path}", method=method, headers={})[0] for _ in range(3)] == [200] * 3
    assert knock(gate, f"/gradio_api/{path}", b"{}", method=method)[0] == 400


def test_nonsense_that_is_deeply_nested_reaches_gradio_without_a_fault(demo, knock):
    inside = Inside()
    gate = gate_of(demo, inside)
    for body in (b"[" * 100_000, b'{"data":' + b"[" * 900 + b"]" * 900 + b"}", b'{"fn_index": 1e999, "data": []}'):
        assert knock(gate, "/gradio_api/queue/join", body)[0] == 200
    assert len(inside.seen) == 3


@pytest.mark.parametrize(
    ("path", "query"),
    [("heartbeat/anna", b""), ("queue/data", b"session_hash=anna"), ("queue/data/", b"session_hash=anna")],
)
def test_a_page_is_open_as_long_as_a_connection_of_it(demo, knock, path, query):
    seen = []

    class Page(Inside):
        async def __call__(self, scope, receive, send):
            seen.append(dict(gate._kept._pages))
            await super().__call__(scope, receive, send)

    gate = gate_of(demo, Page())
    assert knock(gate, f"/gradio_api/{path}", method="GET", query=query)[0] == 200
    assert seen == [{"anna": 1}] and not gate._kept._pages


@pytest.mark.parametrize("path", ["upload", "component_server", "mcp/", "reset", "queue/join", "cancel"])
@pytest.mark.parametrize("how", ["stalls", "drips"])
def test_who_sends_too_slowly_is_given_up(demo, path, how):
    """Each piece has its time, and all of them together."""
    times = {"stalled_s": 0.05, "coming_s": 60} if how == "stalls" else {"stalled_s": 0.2, "coming_s": 0.2}

    class Asking(Inside):
        async def __call__(self, scope, receive, send):
            try:
                await super().__call__(scope, receive, send)
            except demo.bodies.BodyError:
                await send({"type": "http.response.start", "status": 400, "headers": []})

    gate, sent = gate_of(demo, Asking(), tools=True, **times), []
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/gradio_api/{path}",
        "client": ("1.2.3.4", 5),
        "headers": [(b"content-length", b"1000")],
        "app": None,
    }

    async def receive():
        await asyncio.sleep(30 if how == "stalls" else 0.03)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message):
        sent.append(message)

    asyncio.run(asyncio.wait_for(gate(scope, receive, send), 20))
    assert sent[0]["status"] == 408 and b"too slowly" in sent[1]["body"]
    assert gate._kept.reserve(1, most=1), "no room is held"
