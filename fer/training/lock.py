"""One run, one training: a lock on the run's folder that ends with the process that holds it."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fer.errors import CheckpointError
from fer.training.processes import Processes

log = logging.getLogger(__name__)
LOCK = "train.lock"

# what file systems say that know no locks
_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextmanager
def alone(run: Path, processes: Processes) -> Iterator[None]:
    """Nobody else trains in this folder meanwhile. Of processes that train together, the main one holds the lock.

    The lock is the operating system's: a process that is killed gives it back, so nothing has to be tidied up by hand.
    The folder is made when absent, and removed again when nothing was put into it. Where the file system knows no
    locks, a log warning says so and training goes on.

    Raises:
        CheckpointError: another process trains here; in all processes alike.
    """
    lock, refused = None, None
    if processes.main:
        try:
            lock = _held(run)
        except CheckpointError as e:
            refused = str(e)
    refused = processes.agreed(refused)
    if refused is not None:
        raise CheckpointError(refused)
    try:
        yield
    finally:
        if lock is not None:
            _give_back(lock, run)


def _held(run: Path) -> FileLock | None:
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / LOCK, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise CheckpointError(
            f"{run} is being trained by another process; wait until that one ends or stop it, or start another run "
            "without --resume"
        ) from None
    except OSError as e:
        if e.errno not in _NO_LOCKS:
            raise
        log.warning("%s: this file system knows no locks; make sure that only one process trains here", run)
        return None
    return lock


def _give_back(lock: FileLock, run: Path) -> None:
    windows = os.name == "nt"  # where an open file cannot be removed
    with suppress(OSError):
        if not windows:  # while it is held: nobody can come to lock a file that is about to go
            (run / LOCK).unlink()
    lock.release()
    with suppress(OSError):
        if windows:
            (run / LOCK).unlink()
        run.rmdir()  # only an empty one
