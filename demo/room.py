"""How many bytes of uploads are here or on their way, and whose they are."""

from __future__ import annotations

import contextlib
import math
import os
from collections import Counter
from collections.abc import Iterable

_LEAST = 4096  # bytes that the smallest file takes on a disk


class Room:
    """The room for files. Not for several threads at once: `Uploads` asks it under its own lock."""

    def __init__(self) -> None:
        self._coming: Counter[str] = Counter()  # bytes by address, on their way
        self._lying: Counter[str] = Counter()  # bytes by address, in files whose names are not known
        self._files: dict[str, int] = {}  # bytes of each file that is here
        self._senders: dict[str, set[str]] = {}  # of each file
        self._sent: Counter[str] = Counter()  # bytes of these files by address
        self._total = 0  # bytes of these files; two who send the same one have it together

    def reserve(
        self, size: int, most: float, address: str = "", most_each: float = math.inf, most_coming: float = math.inf
    ) -> bool:
        """Make room for bytes that are on their way, until `release`.

        Args:
            size: Bytes.
            most: Bytes of all addresses that may be here and on their way.
            most_each: The same for one address. most_coming: Those of one address that may be on their way.

        Returns:
            False where there is no room.
        """
        coming = self._coming[address] + size
        if coming > most_coming or coming + self._lying[address] + self._sent[address] > most_each:
            return False
        if self._coming.total() + self._lying.total() + self._total + size > most:
            return False
        self._coming[address] += size
        return True

    def release(self, size: int, address: str = "") -> None:
        """Bytes are not on their way any more."""
        self._coming[address] -= size
        self._coming += Counter()  # none for addresses that have nothing on their way

    def lies(self, size: int, address: str) -> None:
        """Bytes are here, in files whose names are not known, until `lies` says so with a negative size."""
        self._lying[address] += size
        self._lying += Counter()

    def add(self, paths: Iterable[str], address: str) -> int:
        """Files are here.

        Returns:
            Their bytes.
        """
        count = 0
        for path in set(paths):
            if path not in self._files:
                self._files[path] = _LEAST
                with contextlib.suppress(OSError):
                    self._files[path] = max(os.path.getsize(path), _LEAST)
                self._total += self._files[path]
            if address not in self._senders.setdefault(path, set()):
                self._senders[path].add(address)
                self._sent[address] += self._files[path]
            count += self._files[path]
        return count

    def remove(self, path: str) -> None:
        """A file is gone."""
        size = self._files.pop(path, 0)
        self._total -= size
        for address in self._senders.pop(path, ()):
            self._sent[address] -= size
            if self._sent[address] <= 0:
                del self._sent[address]
