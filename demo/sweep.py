"""What nobody let go of is deleted by its age: a walk through the folder once a minute, and Gradio's own clean-up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradio.utils import get_upload_folder

if TYPE_CHECKING:
    import gradio as gr

    from uploads import Uploads

SWEEP_S = 60.0


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


def steady(blocks: gr.Blocks, spared: Callable[[], set[str]]) -> None:
    """Gradio's clean-up goes through its sets of files in a thread and fails for good where a request changes them."""
    calm = {id(files): Steady(files, spared) for files in blocks.temp_file_sets}
    blocks.temp_file_sets = [calm[id(files)] for files in blocks.temp_file_sets]
    blocks.upload_file_set = calm[id(blocks.upload_file_set)]
    for block in blocks.blocks.values():
        if id(block.temp_files) in calm:
            block.temp_files = calm[id(block.temp_files)]


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
    for place, folders, files in os.walk(folder, topdown=False):  # passes over what others delete meanwhile
        for name in [*files, *folders]:
            path = os.path.join(place, name)
            with contextlib.suppress(OSError):
                facts = os.lstat(path)
                if path in kept or now - max(facts.st_mtime, facts.st_ctime) <= older_than_s:
                    continue
                if name in folders:
                    os.rmdir(path)
                else:
                    os.unlink(path)
                    count += 1
    return count


def sweeper(
    older_than_s: float,
    kept: Uploads,
    forget: Callable[[gr.Blocks, str], Awaitable[None]] | None = None,
    every_s: float = SWEEP_S,
) -> Callable[[Any], Any]:
    """A lifespan (an asynchronous context manager) for the server: sweeps Gradio's folder as long as it runs.

    Args:
        older_than_s: Age of files that are deleted.
        kept: Knows which files stay.
        forget: Called with the app and a visitor's session_hash for those who are gone without a goodbye.
        every_s: Between two sweeps.
    """

    @contextlib.asynccontextmanager
    async def lifespan(server: Any) -> AsyncIterator[None]:
        async def work() -> None:
            while True:
                await asyncio.sleep(every_s)
                blocks = server.get_blocks()
                for visitor in kept.gone():
                    kept.left(visitor)
                    if forget:
                        await forget(blocks, visitor)
                await asyncio.to_thread(kept.let_go_of_lost)
                keep = examples_of(blocks) | kept.spared()
                await asyncio.to_thread(sweep, Path(get_upload_folder()), older_than_s, keep)
                await asyncio.to_thread(kept.forget_deleted)

        task = asyncio.create_task(work())
        try:
            yield
        finally:
            task.cancel()
            kept.all_closed()  # Gradio deletes its files now, and none is to be spared

    return lifespan
