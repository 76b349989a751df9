"""What one visitor may ask of the demo, and who counts as one visitor."""

from __future__ import annotations

import ipaddress
import os
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fer.errors import FerError

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
        kept_each_mb: The same, of one address. coming_mb: Those of one address that are on their way.
        files_at_once: Files of one upload.
        stalled_s: A request that sends nothing for so long is given up. coming_s: So is one that takes so long.
        kept_s: Results, and uploads that no open page shows, are deleted after this time. A page is open as long as
            it is connected, and for this time after its last request.
        shown_s: Uploads are deleted after this time, whoever shows them.
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
    kept_each_mb: int = 1024
    coming_mb: int = 512
    files_at_once: int = 16
    stalled_s: float = 60.0
    coming_s: float = 900.0
    kept_s: int = 900
    shown_s: int = 7200


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
    """Where a request comes from; for IPv6 the network, as each visitor has 2^64 addresses there to choose from.

    A Space stands behind proxies, each of which adds the address that it was asked from to a header. What stands left
    of the last public address may be the visitor's own claim, as the whole header is elsewhere.

    Args:
        scope: Of the ASGI request.
    """
    if os.environ.get("SPACE_ID"):
        # A proxy may also add a line of its own: all of them are one list.
        lines = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"x-forwarded-for"]
        if lines:
            named = [part.strip() for part in ",".join(lines).split(",")]
            return _network(next((a for a in reversed(named) if _public(a)), named[0]))
    client = scope.get("client")
    return _network(str(client[0])) if client else "unknown"


def _network(address: str) -> str:
    """The address itself, or for IPv6 what the first 64 bits name; text that is no address stays as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))


def _public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


def sender_of(request: Any) -> str:
    """Where a request comes from that Gradio hands to a function: its own kind of request, or the web framework's."""
    inner = getattr(request, "request", None) or request
    return address_of(inner.scope) if hasattr(inner, "scope") else str(getattr(inner.client, "host", "unknown"))
