"""Recipe -> checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fer.data.dataset import Dataset
from fer.errors import FerError
from fer.models import get_model
from fer.training.events import Listener
from fer.training.job import Job
from fer.training.lock import alone
from fer.training.processes import Processes
from fer.training.recipes import resolve

__all__ = ["Job", "resolve", "train"]


def train(
    job: Job,
    data: Dataset,
    run: str | Path,
    device: str = "auto",
    amp: bool | None = None,
    workers: int = 0,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    open_data: Callable[[str], Dataset] | None = None,
    votes: np.ndarray | None = None,
    compiled: bool = False,
) -> Path:
    """Train one model, whatever it runs on, and write its checkpoint to `run`.

    The arguments are those of `fer.training.loop.train`; for a model without a net (backend "classical", see
    `fer.training.classical.train_classical`) those about devices, phases and votes mean nothing.

    Raises:
        CheckpointError: another process trains in this folder.
        As the two functions say.
    """
    from fer.training import loop

    run, processes = Path(run), Processes.join(device)
    with alone(run, processes):
        if get_model(job.model).SPEC.backend == "classical":
            return _fit_once(job, data, run, processes, resume, listeners)
        return loop.train(job, data, run, device, amp, workers, resume, listeners, open_data, votes, compiled)


def _fit_once(
    job: Job, data: Dataset, run: Path, processes: Processes, resume: bool, listeners: Sequence[Listener]
) -> Path:
    """Of several processes the first fits and writes, the others wait; what goes wrong there is raised in all."""
    from fer.training.classical import train_classical

    error: FerError | None = None
    if processes.main:
        try:
            train_classical(job, data, run, listeners, resume)
        except FerError as e:
            error = e
    said = processes.agreed(None if error is None else str(error))
    if error is not None:
        raise error
    if said is not None:
        raise FerError(said)
    return run
