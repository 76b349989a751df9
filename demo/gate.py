"""The gate before Gradio: it says no politely before any work is done.

It counts requests per address, refuses requests whose size is not told or too large, that come too slowly, or that no
page of the demo sends, and tells `uploads` which file belongs to which visitor and whose page is open. It keeps nothing
of what passes through it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette._utils import get_route_path  # as the router does it that stands behind the gate

from bodies import Body, BodyError, Receive, again, as_json, has_body, is_address, names_addresses, said, size_told
from limits import MB, Allowance, Limits, address_of
from replies import Message, Send, refuse, refuse_for_now
from sweep import SWEEP_S
from uploads import Uploads

Scope = MutableMapping[str, Any]
API = "/gradio_api/"
READ, LOOKS = ("POST", "PUT", "PATCH"), ("GET", "HEAD", "OPTIONS")  # methods with a body, and those that only look
ASKS = ("run/", "api/", "call/")
CLOSED = ("stream/", "process_recording/")  # would replace what waits for its turn; would keep films in /tmp for ever
_WRAPPING = 64 * 1024  # bytes around a file in an upload


class Gate:
    """ASGI middleware with the limits that hold before a request reaches Gradio.

    Args:
        app: What stands behind it.
        limits: What is allowed.
        kept: Who holds which upload.
        tools: Whether the endpoints are MCP tools as well.
    """

    def __init__(self, app: Any, limits: Limits, kept: Uploads, tools: bool = False):
        self._app = app
        self._limits = limits
        self._kept = kept
        self._allowance = Allowance(limits.per_minute, limits.burst)
        self._frames = Allowance(limits.frames_per_minute, limits.frames_per_minute / 30)
        self._ways: dict[str, Callable[[Scope, Receive, Send], Awaitable[None]]] = {
            "": app,
            "page": self._page,
            "frame": self._frame,
            "ask": self._ask,
            "cancel": self._cancel,
            "tool": self._tool if tools else _closed,
            "upload": self._upload,
            "closed": _closed,
            "unread": _unread,
            "other": self._other,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._ways[kind_of(scope)](scope, receive, send)
        except RuntimeError as e:
            # Starlette's words, before it has sent anything, for a file that was deleted while it was asked for
            if not str(e).startswith("File at path "):
                raise
            await refuse(send, 404, "The file is gone: it is deleted with the answer, or when the page is closed.")

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Gradio's page keeps a connection for as long as it is open, and one more while it waits for an answer."""
        named = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash")
        visitor = named[0] if named else scope["path"].rstrip("/").rsplit("/", 1)[1]
        self._kept.opened(visitor)
        try:
            await self._app(scope, receive, send)
        finally:
            self._kept.closed(visitor)

    async def _frame(self, scope: Scope, receive: Receive, send: Send) -> None:
        if any(kind.startswith(b"multipart/") for kind in said(scope["headers"], b"content-type")):
            await refuse(send, 415, "Send the frame as JSON.")  # files would be written to the disk
        elif await self._sized(scope, send, "frame", self._limits.json_mb) is None:
            return
        elif wait_s := self._frames.take(address_of(scope)):
            await refuse_for_now(send, wait_s)
        elif (body := await self._read(receive, send, self._limits.json_mb, self._limits.stalled_s)) is not None:
            await self._app(scope, again(body, receive), send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait_s = self._allowance.take(address_of(scope))
        body = await self._read(receive, send, self._limits.json_mb, self._limits.stalled_s)
        if body is None:
            return
        blocks, question = scope["app"].get_blocks(), as_json(body)
        # In threads: they may delete a file, and the page's own loop must not wait for a disk.
        if wait_s or names_addresses(question):
            await asyncio.to_thread(self._kept.refused, blocks, question)
            if wait_s:
                await refuse_for_now(send, wait_s)
            else:
                await refuse(send, 422, "Send the file itself: files are not fetched from addresses on the web.")
            return
        await asyncio.to_thread(self._kept.asked, blocks, question)
        answer = _Answer(send, most=MB)
        await self._app(scope, again(body, receive), answer)
        if answer.status >= 400:
            await asyncio.to_thread(self._kept.refused, blocks, question)
        else:
            self._kept.waits(blocks, question, as_json(answer.body))

    async def _cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (body := await self._allowed(scope, receive, send)) is None:
            return
        await self._app(scope, again(body, receive), send)
        question = as_json(body)
        event = question.get("event_id") if isinstance(question, dict) else None
        await asyncio.to_thread(self._kept.ended, str(event), [])

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What no page of the demo sends: no more of it than of other requests, and no addresses in it either."""
        if await self._sized(scope, send, "request", self._limits.json_mb) is None:
            return
        if (body := await self._allowed(scope, receive, send)) is None:
            return
        if names_addresses(as_json(body)):
            await refuse(send, 422, "Files are not fetched from addresses on the web.")
        else:
            await self._app(scope, again(body, receive), send)

    async def _tool(self, scope: Scope, receive: Receive, send: Send) -> None:
        address, most = address_of(scope), 2 * self._limits.upload_mb
        if wait_s := self._allowance.take(address):
            await refuse_for_now(send, wait_s)
            return
        # A file comes as text in the request, a third longer than itself.
        bare = scope["method"] not in READ and not has_body(scope["headers"])  # as the end of a session
        size = 0 if bare else await self._sized(scope, send, "request", most)
        if size is None or not await self._reserved(send, size, address):
            return
        answer = _Answer(send, most=0)
        try:
            if (body := await self._read(receive, send, most, self._limits.coming_s)) is not None:
                await self._app(scope, again(body, receive), answer)
        finally:
            if 200 <= answer.status < 300:  # Gradio has written the file to the disk itself
                self._lies(size, address)
            self._kept.release(size, address)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        address, most = address_of(scope), self._limits.upload_mb
        if wait_s := self._allowance.take(address):
            await refuse_for_now(send, wait_s)
            return
        size = await self._sized(scope, send, "file", most, _WRAPPING)
        if size is None or not await self._reserved(send, size, address):
            return
        body = self._body(receive, size, most, self._limits.coming_s, self._kept.begin)
        answer = _Answer(None, most=MB)  # held back until it is known who holds the files
        paths: list[str] = []
        try:
            await self._app(scope, body, answer)
        finally:
            rest = body.came
            if body.ended:
                named = as_json(answer.body) if answer.status == 200 else None
                paths = [p for p in named if isinstance(p, str)] if isinstance(named, list) else []
                rest -= self._kept.end(paths, address)
            # what Gradio wrote and does not name, or wrote before it failed
            if rest > _WRAPPING and not body.error and not _tidied(answer):
                self._lies(rest, address)
            self._kept.release(size, address)
        if body.error:
            await _tell(send, body.error)
        elif len(paths) > self._limits.files_at_once:
            await asyncio.to_thread(self._kept.answered, paths)
            await refuse(send, 413, f"Too many files at once: at most {self._limits.files_at_once} are taken.")
        else:
            await answer.send_to(send)

    def _lies(self, size: int, address: str) -> None:
        """Bytes are on the disk that nobody holds: they count for the address until they are swept away."""
        self._kept.lies(size, address)
        loop = asyncio.get_running_loop()
        loop.call_later(self._limits.kept_s + SWEEP_S, self._kept.lies, -size, address)

    async def _reserved(self, send: Send, size: int, address: str) -> bool:
        """Whether there is room for a file of so many bytes, which is reserved then; refuses it where not."""
        limits = self._limits
        most, most_each, most_coming = (mb * MB for mb in (limits.kept_mb, limits.kept_each_mb, limits.coming_mb))
        if self._kept.reserve(size, most, address, most_each, most_coming):
            return True
        await refuse_for_now(send, 60.0, "The demo holds as many files as it can, or as many of yours")
        return False

    async def _sized(self, scope: Scope, send: Send, what: str, most_mb: int, more: int = 0) -> int | None:
        """Bytes of a request that tells its size and is small enough; refuses it where not, and gives None."""
        size = size_told(scope["headers"])
        if size is None:
            await refuse(send, 411, f"Say how long the {what} is (Content-Length alone).")
        elif size > most_mb * MB + more:
            await refuse(send, 413, f"The {what} is too large: at most {most_mb} MB are taken.")
        else:
            return size
        return None

    async def _allowed(self, scope: Scope, receive: Receive, send: Send) -> bytes | None:
        """The body of a request that the address's allowance covers; None where it was refused."""
        if wait_s := self._allowance.take(address_of(scope)):
            await refuse_for_now(send, wait_s)
            return None
        return await self._read(receive, send, self._limits.json_mb, self._limits.stalled_s)

    async def _read(self, receive: Receive, send: Send, most_mb: int, whole_s: float) -> bytes | None:
        """The body of a request; None where it is too large or slow, which has been said then, or breaks off."""
        try:
            return await self._body(receive, most_mb * MB, most_mb, whole_s).whole()
        except BodyError as error:
            await _tell(send, error)
            return None

    def _body(
        self, receive: Receive, most: int, most_mb: int, whole_s: float, on_end: Callable[[], None] = lambda: None
    ) -> Body:
        text = f"The request is too large: at most {most_mb} MB; send files as uploads."
        return Body(receive, most, text, self._limits.stalled_s, whole_s, on_end)


class _Answer:
    """What the app answers, as its `send`: handed on at once, or held back.

    Args:
        send: Of the request; None holds it back for `send_to`.
        most: Bytes of its body that are kept.
    """

    def __init__(self, send: Send | None, most: int):
        self.status, self.body = 0, bytearray()
        self._send, self._most, self._messages = send, most, list[Message]()

    async def __call__(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        if len(self.body) < self._most:
            self.body += message.get("body", b"")
        if self._send:
            await self._send(message)
        else:
            self._messages.append(message)

    async def send_to(self, send: Send) -> None:
        """Hand on what was held back."""
        for message in self._messages:
            await send(message)


def kind_of(scope: Scope) -> str:
    """The way a request takes through the gate, by the very path that the router behind it looks at.

    Args:
        scope: Of the ASGI request.

    Returns:
        "upload", "frame" of a camera, "ask", "cancel", "tool" (MCP), "page" (a connection that a page keeps), "closed"
        (nobody may do this), "unread" (a body where nobody reads one), "other" (sends something that no page of the
        demo sends), or nothing for what is let through as it is.
    """
    if scope["type"] != "http":
        return ""
    path = get_route_path(scope)
    if any(c < " " for c in path):  # the router passes over a line feed at the end
        return "closed"
    way = path[len(API) :].rstrip("/") + "/" if path.startswith(API) else ""
    method = scope["method"]
    # Messages to tools are read whatever the method is: neither the router nor every release of MCP looks at it there.
    if way.startswith("mcp/messages/") or (way.startswith("mcp/") and method not in LOOKS):
        return "tool"
    if method not in READ and has_body(scope["headers"]):
        return "unread"
    if method in ("GET", "HEAD"):
        if way.startswith(("file=", "file/")) and is_address(way[len("file=") :]):
            return "closed"  # Gradio would fetch it for anybody
        return "page" if way.startswith("heartbeat/") or way == "queue/data/" else ""
    if method not in READ:
        return ""
    if way.startswith(CLOSED):
        return "closed"
    if way.startswith(ASKS) or way == "queue/join/":
        return "ask"
    return {"upload/": "upload", "component_server/": "frame", "cancel/": "cancel"}.get(way, "other")


async def _closed(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(send, 404, "There is nothing here.")


async def _unread(scope: Scope, receive: Receive, send: Send) -> None:
    await refuse(send, 400, "Nothing is read that comes with this kind of request.")


def _tidied(answer: _Answer) -> bool:
    """Whether Gradio has refused an upload and deleted it: what is too large or broken, which it says in plain text.

    Where it refuses a file's name it says so in JSON, and the files stay.
    """
    return answer.status == 413 or (answer.status == 400 and as_json(answer.body) is None)


async def _tell(send: Send, error: BodyError) -> None:
    if error.status:
        await refuse(send, error.status, str(error))
