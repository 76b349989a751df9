"""Recipe -> checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fer.data.dataset import Dataset
from fer.models import get_model
from fer.training.events import Listener
from fer.training.job import Job
from fer.training.recipes import resolve

__all__ = ["Job", "resolve", "train"]


def train(
    job: Job,
    data: Dataset,
    run: str | Path,
    device: str = "auto",
    amp: bool = False,
    workers: int = 0,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    open_data: Callable[[str], Dataset] | None = None,
    votes: np.ndarray | None = None,
) -> Path:
    """Train one model, whatever it runs on, and write its checkpoint to `run`.

    The arguments are those of `fer.training.loop.train`; for a model without a net (backend "classical", see
    `fer.training.classical.train_classical`) those about devices, phases and votes mean nothing.

    Raises:
        As the two functions say.
    """
    if get_model(job.model).SPEC.backend == "classical":
        from fer.training.classical import train_classical

        return train_classical(job, data, run, listeners, resume)
    from fer.training import loop

    return loop.train(job, data, run, device, amp, workers, resume, listeners, open_data, votes)
