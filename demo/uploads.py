"""Uploads are deleted as soon as nobody needs them: a program's with its answer, a visitor's when they leave.

What nobody let go of is deleted by its age, unless a page that is still open shows it.

Gradio names an upload after its content, so two visitors who send the same picture share one file. It is therefore
counted how often each file was sent, and it goes when as many are done with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from gradio.utils import get_upload_folder

SWEEP_S = 60.0


class Uploads:
    """Who holds which upload.

    Only files that came through `end` are ever deleted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._arriving = 0
        self._reserved: Counter[str] = Counter()  # bytes, by address
        self._held: Counter[str] = Counter()
        self._nobodys: Counter[str] = Counter()
        self._visitors: dict[str, dict[int, str]] = {}
        self._pages: Counter[str] = Counter()  # open ones, by visitor
        self._events: dict[str, list[str]] = {}  # of programs: request -> its files, until it has ended
        self._over: deque[str] = deque(maxlen=4096)  # requests that ended lately
        self._free: set[str] = set()
        self._gradios: set[str] = set()
        self._file_sets: list[set[str]] = []
        self._examples: set[str] = set()

    def __len__(self) -> int:
        """Files that somebody holds."""
        with self._lock:
            return len(self._held)

    def reserve(self, size: int, most: int, address: str = "", each: float = math.inf) -> bool:
        """Make room for bytes that are on their way, until `release`.

        Returns:
            False where they and all files that somebody holds, or is about to, are more than `most` bytes, or this
            address alone has more than `each` on their way.
        """
        with self._lock:
            total = self._reserved.total() + size
            if self._reserved[address] + size > each:
                return False
            for path in self._held:
                with contextlib.suppress(OSError):
                    total += os.path.getsize(path)
            if total > most:
                return False
            self._reserved[address] += size
            return True

    def release(self, size: int, address: str = "") -> None:
        """Give back what was reserved: the bytes are here and held, or gone."""
        with self._lock:
            self._reserved[address] -= size
            self._reserved += Counter()  # none for addresses that have nothing on their way

    def arrived(self, size: int, address: str) -> None:
        """The bytes lie here, held by nobody: they count until `release(size)`, and no longer for the address."""
        with self._lock:
            self._reserved[""] += size
        self.release(size, address)

    def begin(self) -> None:
        """An upload is on its way: until it is there, nothing is deleted, for it may be the same file."""
        with self._lock:
            self._arriving += 1

    def end(self, paths: Iterable[str]) -> None:
        """It is there, or failed (no paths)."""
        with self._lock:
            self._arriving -= 1
            for path in paths:
                self._held[path] += 1
                self._nobodys[path] += 1
            self._delete_free()

    def asked(self, blocks: gr.Blocks, body: Any) -> None:
        """A page has sent its components: the uploads in them are held for that visitor, those they replaced are not.

        Args:
            blocks: The app.
            body: Of the request, as JSON: session_hash, fn_index, data.
        """
        try:
            visitor, fn, data = str(body["session_hash"]), blocks.fns[int(body["fn_index"])], list(body["data"])
        except (KeyError, TypeError, ValueError):
            return  # Gradio will say what is wrong with it
        if fn.api_visibility == "public":
            return  # a program's: `answered` lets go of them
        with self._lock:
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
        """A visitor's page has connected: what it shows is spared until `closed`."""
        with self._lock:
            self._pages[visitor] += 1

    def closed(self, visitor: str) -> None:
        """The connection has ended."""
        with self._lock:
            self._pages[visitor] -= 1
            self._pages += Counter()

    def all_closed(self) -> None:
        """The server ends."""
        with self._lock:
            self._pages.clear()

    def spared(self) -> set[str]:
        """Files that open pages show: they are not too old."""
        with self._lock:
            return {path for visitor in self._pages for path in self._visitors.get(visitor, {}).values()}

    def forget_deleted(self) -> None:
        """Files that were deleted by their age are nobody's any more."""
        for files in self._file_sets:
            files -= {path for path in files if not os.path.exists(path)}
        with self._lock:
            gone = {path for path in self._held if not os.path.exists(path)}
            for path in gone:
                del self._held[path]
                self._nobodys.pop(path, None)
            left = {v: {c: p for c, p in mine.items() if p not in gone} for v, mine in self._visitors.items()}
            self._visitors = {visitor: mine for visitor, mine in left.items() if mine}
            self._events = {e: [p for p in files if p not in gone] for e, files in self._events.items()}

    def left(self, visitor: str) -> None:
        """A visitor has closed the page.

        Args:
            visitor: Gradio's session_hash.
        """
        with self._lock:
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
            event, files = str(answer["event_id"]), [v["path"] for v in list(body["data"]) if _is_file(v)]
        except (KeyError, TypeError, ValueError):
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
                self.answered(value["path"] for value in list(body["data"]) if _is_file(value))
        except (KeyError, TypeError, ValueError):
            return

    def release_with_answers(self, blocks: gr.Blocks) -> None:
        """Let every public endpoint of an app let go of its uploads when it has answered."""
        _steady(blocks, self.spared)
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
        for path in self._free:
            if path not in self._held and path not in self._examples:  # somebody may have sent an example's very file
                delete(Path(path))
                self._gradios.discard(path)  # Gradio would look for it for ever
        self._free.clear()


class Steady(set[str]):
    """A set that may change while somebody goes through it: they see it as it was when they began.

    Args:
        files: Its members.
        spared: Gives those that are passed over.
    """

    def __init__(self, files: Iterable[str], spared: Callable[[], set[str]]) -> None:
        super().__init__(files)
        self._spared = spared

    def __iter__(self) -> Iterator[str]:
        return iter(frozenset(self) - self._spared())  # made without asking this method, and in one step


def _steady(blocks: gr.Blocks, spared: Callable[[], set[str]]) -> None:
    """Gradio's clean-up goes through its sets of files in a thread and fails for good where a request changes them."""
    steady = {id(files): Steady(files, spared) for files in blocks.temp_file_sets}
    blocks.temp_file_sets = [steady[id(files)] for files in blocks.temp_file_sets]
    blocks.upload_file_set = steady[id(blocks.upload_file_set)]
    for block in blocks.blocks.values():
        if id(block.temp_files) in steady:
            block.temp_files = steady[id(block.temp_files)]


KEPT = Uploads()  # one for the process, as Gradio's folder of uploads is


def examples_of(blocks: gr.Blocks) -> set[str]:
    """Files in Gradio's folder that belong to the page itself."""
    return {path for component in blocks.blocks.values() for path in getattr(component, "keep_in_cache", ())}


def delete(path: Path) -> None:
    """Delete a file, and its folder when it was the only one there."""
    with contextlib.suppress(OSError):
        path.unlink()
    with contextlib.suppress(OSError):
        os.rmdir(path.parent)


def sweep(folder: Path, older_than_s: float, keep: Iterable[str] = ()) -> int:
    """Delete what has lain in the folder for too long, and folders that became empty.

    Gradio deletes its own files by age; this finds those it does not count, as the ones that an MCP client sends.

    Args:
        keep: Files that stay, as the examples of the page and what open pages show.

    Returns:
        Files deleted.
    """
    kept, count, now = set(keep), 0, time.time()
    for path in sorted(folder.rglob("*"), key=lambda p: -len(p.parts)) if folder.is_dir() else []:
        with contextlib.suppress(OSError):
            facts = path.lstat()
            if str(path) in kept or now - max(facts.st_mtime, facts.st_ctime) <= older_than_s:
                continue
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
                count += 1
    return count


def sweeper(older_than_s: float, kept: Uploads, every_s: float = SWEEP_S) -> Callable[[Any], Any]:
    """A lifespan (an asynchronous context manager) for the server: sweeps Gradio's folder as long as it runs."""

    @contextlib.asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[None]:
        async def work() -> None:
            while True:
                await asyncio.sleep(every_s)
                keep = examples_of(server.get_blocks()) | kept.spared()
                await asyncio.to_thread(sweep, Path(get_upload_folder()), older_than_s, keep)
                await asyncio.to_thread(kept.forget_deleted)

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            kept.all_closed()  # Gradio deletes its files now, and none is to be spared

    return lifespan


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("path"), str)
