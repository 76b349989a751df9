"""Recipe -> checkpoint."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from fer.data.dataset import Dataset
from fer.models import get_model
from fer.training.job import Job
from fer.training.recipes import resolve

__all__ = ["Job", "resolve", "train"]

# by the backend that a model's SPEC names
TRAINERS = {"torch": "fer.training.loop:train", "classical": "fer.training.classical:train_classical"}


def train(job: Job, data: Dataset, run: str | Path, *args: Any, **options: Any) -> Path:
    """Train one model and write its checkpoint to `run`; the arguments are those of `fer.training.loop.train`."""
    module, _, function = TRAINERS[get_model(job.model).SPEC.backend].partition(":")
    trainer = getattr(import_module(module), function)
    return trainer(job, data, run, *args, **options)
