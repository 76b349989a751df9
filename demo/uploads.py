"""Uploads are deleted as soon as nobody needs them: a program's with its answer, a visitor's when they leave.

What nobody let go of is deleted by its age (sweep.py), unless a page that is still open shows it or a program's request
waits for its turn with it; and after two hours whoever needs it.

Gradio names an upload after its content, so two visitors who send the same picture share one file. It is therefore
counted how often each file was sent, and it goes when as many are done with it.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import LocalContext

from limits import Limits
from room import Room
from sweep import delete, examples_of, steady


class Uploads:
    """Who holds which upload.

    Only files that came through `end` are ever deleted.

    Args:
        limits: For how long files are kept.
        clock: Seconds that never run backwards.
    """

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits or Limits(), clock
        self._lock = threading.Lock()
        self._arriving = 0
        self._room = Room()
        self._held: Counter[str] = Counter()
        self._since: dict[str, float] = {}  # of each file that is held: when it came for the last time
        self._nobodys: Counter[str] = Counter()
        self._visitors: dict[str, dict[int, str]] = {}
        self._pages: Counter[str] = Counter()  # open connections, by visitor
        self._seen: dict[str, float] = {}  # when each visitor asked for something for the last time
        self._events: dict[str, list[str]] = {}  # of programs: request -> its files, until it has ended
        self._over: deque[str] = deque(maxlen=4096)  # requests that ended lately
        self._free: set[str] = set()
        self._gradios: set[str] = set()
        self._file_sets: list[set[str]] = []
        self._apps: list[weakref.ref[gr.Blocks]] = []
        self._examples: set[str] = set()

    def __len__(self) -> int:
        """Files that somebody holds."""
        with self._lock:
            return len(self._held)

    def reserve(
        self, size: int, most: float, address: str = "", most_each: float = math.inf, most_coming: float = math.inf
    ) -> bool:
        """Make room for bytes that are on their way, until `release`; see `Room.reserve`."""
        with self._lock:
            return self._room.reserve(size, most, address, most_each, most_coming)

    def release(self, size: int, address: str = "") -> None:
        """Give back what was reserved: the bytes are here, or will not come."""
        with self._lock:
            self._room.release(size, address)

    def lies(self, size: int, address: str) -> None:
        """Bytes of an address are here, held by nobody; a negative size when they are gone."""
        with self._lock:
            self._room.lies(size, address)

    def begin(self) -> None:
        """An upload is all but there: until it is, nothing is deleted, for it may be the same file."""
        with self._lock:
            self._arriving += 1

    def end(self, paths: Iterable[str], address: str = "") -> int:
        """It is there, or failed (no paths).

        Args:
            address: Who sent it.

        Returns:
            Bytes of these files.
        """
        files = list(paths)
        with self._lock:
            self._arriving -= 1
            size = self._room.add(files, address)
            for path in files:
                self._held[path] += 1
                self._nobodys[path] += 1
                self._since[path] = self._clock()
            self._delete_free()
            return size

    def asked(self, blocks: gr.Blocks, body: Any) -> None:
        """A page has sent its components: the uploads in them are held for that visitor, those they replaced are not.

        Args:
            blocks: The app.
            body: Of the request, as JSON: session_hash, fn_index, data.
        """
        try:
            visitor, fn, data = str(body["session_hash"]), blocks.fns[int(body["fn_index"])], list(body["data"])
        except (KeyError, TypeError, ValueError, OverflowError):
            return  # Gradio will say what is wrong with it
        if fn.api_visibility == "public":
            return  # a program's: `answered` lets go of them
        with self._lock:
            self._seen[visitor] = self._clock()
            mine = self._visitors.get(visitor, {})
            for component, value in zip(fn.inputs, data, strict=False):
                path = value["path"] if _is_file(value) else None
                old = mine.get(component._id)
                if path == old:
                    continue
                if old is not None:
                    del mine[component._id]
                    self._let_go(old)
                if path is not None and self._nobodys[path] > 0:
                    self._nobodys[path] -= 1
                    mine[component._id] = path
            if mine:
                self._visitors[visitor] = mine
            self._nobodys += Counter()  # forget those at 0
            self._delete_free()

    def opened(self, visitor: str) -> None:
        """A visitor's page has connected: what it shows is spared, until `Limits.kept_s` after its last sign of life.

        Args:
            visitor: Gradio's session_hash.
        """
        with self._lock:
            self._pages[visitor] += 1

    def closed(self, visitor: str) -> None:
        """A connection has ended. The page may still be open: the network was away for a moment."""
        with self._lock:
            self._pages[visitor] -= 1
            self._pages += Counter()
            if visitor in self._seen:
                self._seen[visitor] = self._clock()

    def all_closed(self) -> None:
        """The server ends."""
        with self._lock:
            self._pages.clear()
            self._seen.clear()
            self._events.clear()

    def gone(self) -> list[str]:
        """Visitors who have not been heard of for `Limits.kept_s`: their page is closed, though nobody said so."""
        with self._lock:
            return [visitor for visitor in self._seen if not self._here(visitor)]

    def spared(self) -> set[str]:
        """Files that open pages show, or that a program's request waits with: they are not too old yet."""
        with self._lock:
            shown = [path for v, mine in self._visitors.items() if self._here(v) for path in mine.values()]
            waiting = [path for event, files in self._events.items() if self._waits(event) for path in files]
            oldest = self._clock() - self._limits.shown_s
            return {path for path in [*shown, *waiting] if self._since.get(path, oldest) > oldest}

    def _here(self, visitor: str) -> bool:
        seen = self._seen.get(visitor, -math.inf)
        return self._pages[visitor] > 0 or self._clock() - seen < self._limits.kept_s

    def _waits(self, event: str) -> bool:
        """Whether a program's request has not ended, as far as Gradio's queue knows."""
        apps = [app for ref in self._apps if (app := ref()) is not None]
        return any(event in app._queue.event_ids_to_events for app in apps)

    def let_go_of_lost(self) -> None:
        """Let go of the files of programs that went away while they waited: nobody says so then."""
        with self._lock:
            lost = {event: files for event, files in self._events.items() if not self._waits(event)}
        for event, files in lost.items():
            self.ended(event, files)

    def forget_deleted(self) -> None:
        """Files that were deleted by their age are nobody's any more."""
        for files in self._file_sets:
            files -= {path for path in files if not os.path.exists(path)}
        with self._lock:
            known = [*self._held, *self._free]
        missing = [path for path in known if not os.path.exists(path)]
        with self._lock:
            gone = {path for path in missing if not os.path.exists(path)}  # nobody has sent it again meanwhile
            for path in gone:
                self._forget(path)
            left = {v: {c: p for c, p in mine.items() if p not in gone} for v, mine in self._visitors.items()}
            self._visitors = {visitor: mine for visitor, mine in left.items() if mine}
            self._events = {e: [p for p in files if p not in gone] for e, files in self._events.items()}

    def left(self, visitor: str) -> None:
        """A visitor has closed the page.

        Args:
            visitor: Gradio's session_hash.
        """
        with self._lock:
            self._seen.pop(visitor, None)
            for path in self._visitors.pop(visitor, {}).values():
                self._let_go(path)
            self._delete_free()

    def answered(self, paths: Iterable[str]) -> None:
        """A program has its answer and needs these uploads no longer."""
        with self._lock:
            for path in paths:
                if self._nobodys[path] > 0:
                    self._nobodys[path] -= 1
                    self._let_go(path)
            self._nobodys += Counter()
            self._delete_free()

    def waits(self, blocks: gr.Blocks, body: Any, answer: Any) -> None:
        """A program's request has been let in: its files go when it has ended, also if it is cancelled before its turn.

        Args:
            body: Of the request. answer: To it, as JSON, with Gradio's event_id.
        """
        try:
            fn = blocks.fns[int(body["fn_index"])] if "fn_index" in body else None
            event, files = str(answer["event_id"]), _files_of(body)
        except (KeyError, TypeError, ValueError, OverflowError):
            return
        if fn is not None and fn.api_visibility != "public":
            return
        with self._lock:
            if files and event not in self._over:
                self._events[event] = files

    def ended(self, event: str, files: Iterable[str]) -> None:
        """A program's request has its answer or was cancelled.

        Args:
            event: Gradio's event_id; empty where there is none.
            files: Of the request, where it is not known from `waits`.
        """
        with self._lock:
            if event in self._over:
                return  # cancelled in the middle of the work: its files are gone
            if event:
                self._over.append(event)
            known = self._events.pop(event, None)
        self.answered(files if known is None else known)

    def refused(self, blocks: gr.Blocks, body: Any) -> None:
        """A request was sent away, for example because the queue is full; a program will send its file again."""
        try:
            fn = blocks.fns[int(body["fn_index"])] if "fn_index" in body else None
            if fn is None or fn.api_visibility == "public":
                self.answered(_files_of(body))
        except (KeyError, TypeError, ValueError, OverflowError):
            return

    def release_with_answers(self, blocks: gr.Blocks) -> None:
        """Let every public endpoint of an app let go of its uploads when it has answered."""
        steady(blocks, self.spared)
        self._apps = [ref for ref in self._apps if ref() is not None] + [weakref.ref(blocks)]
        self._gradios, self._file_sets = blocks.upload_file_set, blocks.temp_file_sets
        self._examples = examples_of(blocks)
        for fn in blocks.fns.values():
            if fn.api_visibility == "public" and fn.fn is not None:
                fn.fn = self._releasing(fn.fn)

    def _releasing(self, answer: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(answer) or inspect.isasyncgenfunction(answer):
            raise TypeError(f"{answer.__name__}: endpoints answer once here")

        def release(args: tuple[Any, ...], options: dict[str, Any]) -> None:
            event = LocalContext.event_id.get(None) or ""
            self.ended(event, [a["path"] for a in [*args, *options.values()] if _is_file(a)])

        @functools.wraps(answer)
        def wrapped(*args: Any, **options: Any) -> Any:
            try:
                return answer(*args, **options)
            finally:
                release(args, options)

        @functools.wraps(answer)
        async def awaited(*args: Any, **options: Any) -> Any:
            try:
                return await answer(*args, **options)
            finally:  # also when the request was cancelled
                release(args, options)

        return awaited if inspect.iscoroutinefunction(answer) else wrapped

    def _let_go(self, path: str) -> None:
        self._held[path] -= 1
        if self._held[path] <= 0:
            del self._held[path]
            self._free.add(path)

    def _delete_free(self) -> None:
        if self._arriving:
            return
        for path in [path for path in self._free if path not in self._held]:
            if path not in self._examples:  # somebody may have sent an example's very file
                delete(Path(path))
                self._gradios.discard(path)  # Gradio would look for it for ever
            self._forget(path)
        self._free.clear()

    def _forget(self, path: str) -> None:
        """A file is no longer here."""
        self._held.pop(path, None)
        self._nobodys.pop(path, None)
        self._since.pop(path, None)
        self._free.discard(path)
        self._room.remove(path)


KEPT = Uploads()  # one for the process, as Gradio's folder of uploads is


def _files_of(body: Any) -> list[str]:
    """Files of a question: its inputs stand in a list, or by their names beside each other (`/call/v2/...`)."""
    given = body.get("data") if isinstance(body, dict) else []
    inputs = given if isinstance(given, list) else body.values()
    return [value["path"] for value in inputs if _is_file(value)]


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("path"), str)
