"""What the demo refuses, and in which words."""

from __future__ import annotations

import json

import pytest

from tests.demo_stand_ins import Inside, gate_of

pytest_plugins = ("tests.demo_fixtures",)


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
        (b"2001:4860:4860::8888, 10.0.0.2", "2001:4860:4860::/64"),
        (b"192.168.1.5, 10.0.0.2", "192.168.1.5"),
    ):
        assert demo.limits.address_of(scope | {"headers": [(b"x-forwarded-for", named)]}) == address
        lines = [(b"x-forwarded-for", line) for line in named.split(b", ")]  # a proxy may add a line of its own
        assert demo.limits.address_of(scope | {"headers": [*lines, (b"host", b"9.9.9.9")]}) == address


def test_who_has_a_network_of_addresses_is_one_visitor(demo):
    names = {demo.limits.address_of({"client": (f"2001:4860:4860:1::{i:x}", 1)}) for i in (1, 2, 0xFFFF)}
    assert names == {"2001:4860:4860:1::/64"}
    assert demo.limits.address_of({"client": ("::ffff:1.2.3.4", 1)}) == "1.2.3.4"
    assert demo.limits.address_of({"client": ("testclient", 1)}) == "testclient"


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
    gate = gate_of(demo, inside, tools=True, per_minute=6, burst=3, upload_mb=1)
    path = "/gradio_api/mcp/"
    assert knock(gate, path, b"{}", headers={b"content-length": b"2"})[0] == 200
    assert knock(gate, path, b"", headers={b"content-length": str(3 * 2**20).encode()})[0] == 413
    assert knock(gate, path, b"{}", headers={})[0] == 411
    assert knock(gate, path, b"{}", headers={b"content-length": b"2"})[0] == 503
    assert len(inside.seen) == 1
