"""What comes in with a request: counted, and not waited for for ever."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.formparsers import MultiPartException

from replies import Message

Receive = Callable[[], Awaitable[Message]]
Headers = Iterable[tuple[bytes, bytes]]  # of an ASGI request: names in lower case, some of them there more than once
_MOST_DIGITS = 15  # of a size in bytes


class BodyError(MultiPartException):
    """A body is not taken any further. Gradio tidies up for this kind of error only: what came so far is deleted.

    Attributes:
        status: Of HTTP; 0 where nobody is there any more who could be told.
    """

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Body:
    """The body of a request, called like the `receive` that it stands for.

    Args:
        receive: Of the ASGI request.
        most: Bytes. too_large: What is said where there are more.
        stalled_s: The longest time between two pieces. whole_s: The longest time for all of them.
        on_end: Called when the last piece is here, before it is handed on.

    Attributes:
        came: Bytes that are here.
        ended: The last piece is here.
        error: Why it is not taken any further; None where it is.
    """

    def __init__(
        self,
        receive: Receive,
        most: int,
        too_large: str,
        stalled_s: float,
        whole_s: float,
        on_end: Callable[[], None] = lambda: None,
    ):
        self.came, self.ended = 0, False
        self.error: BodyError | None = None
        self._receive, self._on_end = receive, on_end
        self._most, self._too_large = most, too_large
        self._stalled_s, self._end_s = stalled_s, asyncio.get_running_loop().time() + whole_s

    async def __call__(self) -> Message:
        """The next piece; after the last one whatever the server has to say.

        Raises:
            BodyError: it came too slowly, is too large, or the sender is gone.
        """
        if self.ended:
            return await self._receive()
        try:
            async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + self._stalled_s, self._end_s)):
                message = await self._receive()
        except TimeoutError:
            raise self._failed(408, "This came too slowly and was given up; please try again.") from None
        if message["type"] != "http.request":
            raise self._failed(0, "The sender is gone.")
        self.came += len(message.get("body", b""))
        if self.came > self._most:
            raise self._failed(413, self._too_large)
        if not message.get("more_body", False):
            self.ended = True
            self._on_end()
        return message

    async def whole(self) -> bytes:
        """All of it.

        Raises:
            BodyError: as for each piece.
        """
        data = bytearray()
        while not self.ended:
            data += (await self()).get("body", b"")
        return bytes(data)

    def _failed(self, status: int, message: str) -> BodyError:
        self.error = BodyError(status, message)
        return self.error


def again(body: bytes, receive: Receive) -> Receive:
    """What gives a body that has been read once more, then what comes after it."""
    given = False

    async def pieces() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return pieces


def said(headers: Headers, name: bytes) -> set[bytes]:
    """All that a request says under a name: of two lines, who stands behind the gate may believe either."""
    return {value.strip().lower() for key, value in headers if key == name}


def size_told(headers: Headers) -> int | None:
    """Bytes that a request says it has; None where it does not say so, or says two things."""
    sizes = said(headers, b"content-length") or {b""}
    size = sizes.pop()
    # A transfer coding is what counts where both are there, and tells no size.
    if sizes or not size.isdigit() or said(headers, b"transfer-encoding"):
        return None
    return int(size[-_MOST_DIGITS:]) if len(size.lstrip(b"0")) <= _MOST_DIGITS else 10**_MOST_DIGITS


def has_body(headers: Headers) -> bool:
    """Whether something follows a request's head."""
    return bool(said(headers, b"transfer-encoding") or said(headers, b"content-length") - {b"0"})


def as_json(data: bytes | bytearray) -> Any:
    """What a body says; None where it is no JSON, or nested too deeply."""
    try:
        return json.loads(bytes(data))
    except (ValueError, RecursionError):
        return None


def names_addresses(question: Any) -> bool:
    """Whether a request gives a place on the web for a file. Gradio would fetch it, of any size, and keep it.

    Args:
        question: Its body, as JSON.
    """
    left = [question]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            if is_address(value.get("path")):
                return True
            left += value.values()
    return False


def is_address(path: Any) -> bool:
    """Whether this is a place on the web."""
    return isinstance(path, str) and path.strip().lower().startswith(("http:", "https:"))
