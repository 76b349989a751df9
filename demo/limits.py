"""What one visitor may ask of the demo, and the gate that says no politely before any work is done.

The gate stands before Gradio: it counts requests per address, refuses requests whose size is not told or too large,
and tells `uploads` which file belongs to which visitor and whose page is open. It keeps nothing of what passes
through it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import math
import os
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import uploads
from fer.errors import FerError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
MB = 1024 * 1024
_MOST_ADDRESSES = 4096


class BusyError(FerError):
    """Too much is being asked at once; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """How much is too much.

    Attributes:
        upload_mb: Size of one upload. json_mb: Size of any other request.
        film_s: Length of a film. film_px: Longest side at which it is looked at and written; larger ones are reduced.
        film_work_s: A film is ended after this much work; what is done by then is handed out.
        films_waiting: Films that may wait for their turn. films_each: Films of one address, waiting or in work.
        waiting: Requests that may wait in the queue, of all visitors. at_once: Pictures looked at side by side.
        per_minute: Requests of one address in the long run. burst: As many may come together.
        frames_per_minute: Frames of a camera of one address; a class of twelve at thirty a second comes from one.
        kept_mb: Uploads that lie here or are on their way at one time, of all visitors.
        coming_mb: Uploads of one address that are on their way at one time.
        kept_s: Results, and uploads that no open page shows, are deleted after this time.
    """

    upload_mb: int = 64
    json_mb: int = 1
    film_s: float = 60.0
    film_px: int = 960
    film_work_s: float = 600.0
    films_waiting: int = 4
    films_each: int = 2
    waiting: int = 32
    at_once: int = 2
    per_minute: int = 300
    burst: int = 120
    frames_per_minute: int = 21_600
    kept_mb: int = 2048
    coming_mb: int = 512
    kept_s: int = 900


class Allowance:
    """Counts requests by address: `burst` at once, then `per_minute` (a token bucket for each address).

    Args:
        clock: Seconds that never run backwards.
    """

    def __init__(self, per_minute: float, burst: float, clock: Callable[[], float] = time.monotonic):
        self.per_second = per_minute / 60
        self.burst = burst
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, address: str) -> float:
        """Take one request from an address's allowance.

        Returns:
            0 when it was there, else the seconds until it will be.
        """
        with self._lock:
            now = self._clock()
            left = self._now(address, now)
            if left < 1:
                return (1 - left) / self.per_second
            self._left[address] = (left - 1, now)
            if len(self._left) > _MOST_ADDRESSES:  # whoever has a full allowance need not be remembered
                self._left = {a: v for a, v in self._left.items() if self._now(a, now) < self.burst}
            return 0.0

    def _now(self, address: str, now: float) -> float:
        left, since = self._left.get(address, (self.burst, now))
        return min(self.burst, left + (now - since) * self.per_second)


def address_of(scope: MutableMapping[str, Any]) -> str:
    """Where a request comes from.

    A Space stands behind proxies, each of which adds the address that it was asked from to a header. What stands left
    of the last public address may be the visitor's own claim, as the whole header is elsewhere.

    Args:
        scope: Of the ASGI request.
    """
    if os.environ.get("SPACE_ID"):
        for name, value in scope.get("headers", ()):
            if name == b"x-forwarded-for":
                named = [part.strip() for part in value.decode("latin-1").split(",")]
                return next((a for a in reversed(named) if _public(a)), named[0])
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def sender_of(request: Any) -> str:
    """Where a request comes from that Gradio hands to a function: its own kind of request, or the web framework's."""
    inner = getattr(request, "request", None) or request
    return address_of(inner.scope) if hasattr(inner, "scope") else str(getattr(inner.client, "host", "unknown"))


class Gate:
    """ASGI middleware with the limits that hold before a request reaches Gradio.

    Args:
        app: What stands behind it.
        limits: What is allowed.
        kept: Who holds which upload.
        tools: Whether the endpoints are MCP tools as well.
    """

    def __init__(self, app: Any, limits: Limits, kept: uploads.Uploads, tools: bool = False):
        self._app, self._tools = app, tools
        self._limits = limits
        self._kept = kept
        self._allowance = Allowance(limits.per_minute, limits.burst)
        self._frames = Allowance(limits.frames_per_minute, limits.frames_per_minute / 30)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        kind = _kind(scope)
        if not kind:
            await self._app(scope, receive, send)
            return
        if kind == "page":
            await self._page(scope, receive, send)
            return
        if kind == "frame":
            await self._frame(scope, receive, send)
            return
        wait_s = self._allowance.take(address_of(scope))
        if kind == "ask":
            await self._ask(scope, receive, send, wait_s)
        elif wait_s:
            await _refuse_for_now(send, wait_s)
        elif kind == "tool":
            await self._tool(scope, receive, send)
        elif kind == "cancel":
            await self._cancel(scope, receive, send)
        else:
            await self._upload(scope, receive, send)

    async def _page(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Gradio's page keeps one connection for as long as it is open."""
        visitor = scope["path"].rstrip("/").rsplit("/", 1)[1]
        self._kept.opened(visitor)
        try:
            await self._app(scope, receive, send)
        finally:
            self._kept.closed(visitor)

    async def _tool(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        # A file comes as text in the request, a third longer than itself.
        size = await self._sized(scope, send, "request", 2 * self._limits.upload_mb)
        if size is None:
            return
        if not self._tools:
            await self._app(scope, receive, send)  # which knows no such path
            return
        address, status = address_of(scope), 0
        if not await self._reserved(send, size, address):
            return

        async def listen(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, listen)
        finally:
            if (
                200 <= status < 300
            ):  # Gradio has written the file to the disk itself, where it lies until it is swept away
                self._kept.arrived(size, address)
                asyncio.get_running_loop().call_later(self._limits.kept_s + uploads.SWEEP_S, self._kept.release, size)
            else:
                self._kept.release(size, address)

    async def _reserved(self, send: Send, size: int, address: str) -> bool:
        """Whether there is room for a file of so many bytes, which is reserved then; refuses it where not."""
        if self._kept.reserve(size, self._limits.kept_mb * MB, address, self._limits.coming_mb * MB):
            return True
        await _refuse_for_now(send, 60.0, "The demo holds as many files as it can")
        return False

    async def _frame(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if await self._sized(scope, send, "frame", self._limits.json_mb) is None:
            return
        if wait_s := self._frames.take(address_of(scope)):
            await _refuse_for_now(send, wait_s)
        else:
            await self._app(scope, receive, send)

    async def _sized(self, scope: MutableMapping[str, Any], send: Send, what: str, most_mb: int) -> int | None:
        """Bytes of a request that tells its size and is small enough; refuses it where not, and gives None."""
        size = dict(scope["headers"]).get(b"content-length", b"")
        if not size.isdigit():
            await _refuse(send, 411, f"Say how long the {what} is (Content-Length).")
        elif int(size) > most_mb * MB:
            await _refuse(send, 413, f"The {what} is too large: at most {most_mb} MB.")
        else:
            return int(size)
        return None

    async def _upload(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        size = dict(scope["headers"]).get(b"content-length", b"")
        most = self._limits.upload_mb
        if not size.isdigit():
            await _refuse(send, 411, "Say how long the upload is (Content-Length).")
            return
        if int(size) > most * MB + 64 * 1024:  # the file and what is wrapped around it
            await _refuse(send, 413, f"The file is too large: at most {most} MB are taken.")
            return
        address = address_of(scope)
        if not await self._reserved(send, int(size), address):
            return
        answer, status = bytearray(), 0

        async def listen(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            answer.extend(message.get("body", b""))
            await send(message)

        self._kept.begin()
        try:
            await self._app(scope, receive, listen)
        finally:
            paths = _json(answer) if status == 200 else None
            self._kept.end([p for p in paths if isinstance(p, str)] if isinstance(paths, list) else [])
            self._kept.release(int(size), address)

    async def _ask(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, wait_s: float) -> None:
        body = await self._read(receive, send)
        if body is None:
            return
        blocks, question = scope["app"].get_blocks(), _json(body)
        if wait_s:
            await _refuse_for_now(send, wait_s)
            await asyncio.to_thread(self._kept.refused, blocks, question)
            return
        if _names_addresses(question):
            await _refuse(send, 422, "Send the file itself: files are not fetched from addresses on the web.")
            return
        # In a thread: it may delete a file, and the page's own loop must not wait for a disk.
        await asyncio.to_thread(self._kept.asked, blocks, question)
        answer, status = bytearray(), 0

        async def listen(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if len(answer) < MB:
                answer.extend(message.get("body", b""))
            await send(message)

        await self._app(scope, _again(body, receive), listen)
        if status >= 400:
            await asyncio.to_thread(self._kept.refused, blocks, question)
        else:
            self._kept.waits(blocks, question, _json(answer))

    async def _cancel(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body = await self._read(receive, send)
        if body is None:
            return
        await self._app(scope, _again(body, receive), send)
        question = _json(body)
        event = question.get("event_id") if isinstance(question, dict) else None
        await asyncio.to_thread(self._kept.ended, str(event), [])

    async def _read(self, receive: Receive, send: Send) -> bytes | None:
        """The body of a request; None where it is too large, which has been said then, or breaks off."""
        most = self._limits.json_mb
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > most * MB:
                await _refuse(send, 413, f"The request is too large: at most {most} MB; send files as uploads.")
                return None
        return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives a body that has been read once more, then what comes after it."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _names_addresses(question: Any) -> bool:
    """Whether a request gives a place on the web for a file. Gradio would fetch it, of any size, and keep it."""
    if isinstance(question, list):
        return any(map(_names_addresses, question))
    if not isinstance(question, dict):
        return False
    path = question.get("path")
    if isinstance(path, str) and path.strip().lower().startswith(("http:", "https:")):
        return True
    return any(map(_names_addresses, question.values()))


def _kind(scope: MutableMapping[str, Any]) -> str:
    """ "upload", "frame" of a camera, "ask", "cancel", "tool" (MCP), "page", or nothing for what is let through."""
    if scope["type"] != "http":
        return ""
    path = scope["path"].rstrip("/")
    if scope["method"] == "GET" and "/gradio_api/heartbeat/" in path:
        return "page"
    if scope["method"] != "POST":
        return ""
    if path.endswith(("/upload", "/process_recording")):
        return "upload"
    if path.endswith("/component_server"):
        return "frame"
    if "/gradio_api/mcp" in path:
        return "tool"
    if path.endswith("/cancel"):
        return "cancel"
    if path.endswith("/queue/join") or any(f"/gradio_api/{part}/" in path for part in ("call", "run", "api")):
        return "ask"
    return ""


def _json(data: bytes | bytearray) -> Any:
    try:
        return json.loads(bytes(data))
    except ValueError:
        return None


async def _refuse_for_now(send: Send, wait_s: float, why: str = "This is busy with your earlier requests") -> None:
    """Too much at the moment. The status is the one that Gradio's page and clients take for "busy"."""
    seconds = max(1, math.ceil(wait_s))
    text = f"{why}; try again in {seconds} s."
    await _refuse(send, 503, text, [(b"retry-after", str(seconds).encode())])


async def _refuse(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Answer in words, in the form in which Gradio's page and clients look for them."""
    body = json.dumps({"detail": text}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
