"""Refusals in words, in the form in which Gradio's page and clients look for them."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


async def refuse(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    """Answer a request with a sentence.

    Args:
        send: Of the ASGI request.
        status: Of HTTP.
        headers: More of them.
    """
    body = json.dumps({"detail": text}).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(headers or [])]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


async def refuse_for_now(send: Send, wait_s: float, why: str = "This is busy with your earlier requests") -> None:
    """Too much at the moment. The status is the one that Gradio's page and clients take for "busy".

    Args:
        send: Of the ASGI request.
        wait_s: Seconds until another try is worth it.
    """
    seconds = max(1, math.ceil(wait_s))
    text = f"{why}; try again in {seconds} s."
    await refuse(send, 503, text, [(b"retry-after", str(seconds).encode())])
