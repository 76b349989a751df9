"""Writing files so that a half-written one never replaces a good one."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from fer.errors import ConfigError

_log = logging.getLogger(__name__)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A neighbouring path to write to. It takes the place of `path` only when the block ends without an error.

    The folder is made when absent, and the bytes reach the disk before the rename.

        with replacing("config.json") as part:
            part.write_text("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield part
        with open(part, "rb+") as f:
            os.fsync(f.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone_with(path: str | Path) -> Iterator[None]:
    """Between the reading of a file and the writing of it anew no other process of this machine does the same.

    Waits for its turn. Where locks are not to be had it goes on without one.
    """
    name = hashlib.sha256(str(Path(path).resolve()).encode()).hexdigest()[:20]
    lock = FileLock(Path(tempfile.gettempdir()) / f"fer-{name}.lock")
    try:
        lock.acquire()
    except (OSError, NotImplementedError) as e:
        _log.warning("%s: no lock (%s); let one process write at a time", path, e)
    try:
        yield
    finally:
        lock.release()


def fresh_folder(path: str | Path, what: str) -> Path:
    """An empty folder to generate files into. One that was generated before is replaced, nothing else ever is.

    A mark beside the folder, `.<name>.generated`, tells the two apart.

    Args:
        what: What is generated, for the error.

    Raises:
        ConfigError: a file, or a folder that holds something and was not made by this function.
    """
    path = Path(path).resolve()
    mark = path.with_name(f".{path.name}.generated")
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not mark.is_file()):
        raise ConfigError(f"{path} holds other things than an earlier {what}; name another folder")
    if path.is_dir():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    mark.write_text(f"The folder {path.name} is generated; the next run replaces it.\n", encoding="utf-8")
    return path
