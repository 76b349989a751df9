"""What the trainings of one command have in common, and what each of them finds before it begins."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from fer.data.dataset import Dataset
from fer.models import get_model
from fer.training import classical
from fer.training.budget import Cost
from fer.training.folders import as_begun, earlier_run, share_done
from fer.training.job import Job, is_finished
from fer.training.processes import Processes
from fer.training.request import phase_opener
from fer.training.step import half_precision
from fer.training.votes import votes_of

log = logging.getLogger(__name__)


def within(jobs: Sequence[Job], budget_s: float, stretch: float = 1.0) -> list[Job]:
    """The jobs of a command that has a budget; one of a model without a net, fitted in one go, cannot be stretched."""
    nets = [get_model(job.model).SPEC.backend == "torch" for job in jobs]
    each_s = budget_s / len(jobs)
    return [replace(job, budget_s=each_s, stretch=stretch if net else 1.0) for job, net in zip(jobs, nets, strict=True)]


@dataclass(frozen=True)
class Material:
    """What one job trains on.

    Attributes:
        open_data: Opens the data that a phase names, once.
        votes: FER+ votes of the training rows, for a recipe that asks for them.
        sets: Data set of every phase.
    """

    open_data: Callable[[str], Dataset]
    votes: np.ndarray | None
    sets: list[Dataset]


@dataclass(frozen=True)
class Campaign:
    """Options that hold for all trainings of a command.

    Attributes:
        data, data_spec: Data of the phases that name none, and how they were asked for.
        out: Folder of runs.
        processes: Those that train together.
        resume: Folder of the run to go on with, "latest" for the newest of each model, "" = begin anew.
        reuse: Whether a run that is finished under the same options makes a new one needless.
        votes: File of FER+ votes; None = the one among the prepared data.
        device, amp, compiled, workers: As for `fer.training.train`.
    """

    data: Dataset
    data_spec: str
    out: Path
    processes: Processes
    resume: str = ""
    reuse: bool = False
    votes: Path | None = None
    device: str = "auto"
    amp: bool | None = None
    compiled: bool = False
    workers: int = 0

    def material(self, job: Job) -> Material:
        """Opens what a job trains on.

        Raises:
            ConfigError, DataError: data or votes that cannot be had.
        """
        open_data = cache(phase_opener(job.recipe, self.data_spec))
        return Material(open_data, votes_of(job.recipe, self.data, self.votes), job.open_phases(self.data, open_data))

    def earlier(self, job: Job, material: Material) -> tuple[Path | None, bool]:
        """The run to go on with or to take over, if there is one, and whether it is finished."""
        found = self._found(job, material, self.place(job)) if self.processes.main else None
        return self.processes.agreed((found, found is not None and is_finished(found)))

    def place(self, job: Job) -> str:
        """What a job computes on here, however many threads it has, and in which precision."""
        if get_model(job.model).SPEC.backend != "torch":
            return classical.device_title().partition(",")[0]
        half = half_precision(self.processes.device, self.amp)
        return f"{self.processes.title.partition(',')[0]}, {str(half or torch.float32).removeprefix('torch.')}"

    def _found(self, job: Job, material: Material, place: str) -> Path | None:
        if self.resume not in ("", "latest"):
            return Path(self.resume)
        options = bool(self.resume), self.reuse, job.budget_s, material.votes, place
        return earlier_run(self.out, job, self.data, material.sets, *options)

    def _explain(self, job: Job, material: Material, taken: Path | None) -> None:
        """Says in the log which run is left aside, its length having been chosen elsewhere, or how short one is."""
        other = self._found(job, material, "")
        if other and other != taken:
            elsewhere = as_begun(other, job).measured_on
            log.warning("%s is left aside: its time was measured on %s, not on %s", other, elsewhere, self.place(job))
        recipe = as_begun(taken, job).recipe if taken and is_finished(taken) else job.recipe
        if recipe != job.recipe:
            part = f" with {recipe.epoch_share:.0%} of the faces" if recipe.epoch_share < 1 else ""
            log.warning("%s has %d epochs%s, what such a budget allowed", taken, recipe.epochs, part)

    def cost(self, job: Job) -> Cost | None:
        """What a job will take here, after a short measurement; None where nothing is left to train.

        Raises:
            As `material` and `fer.training.timing.measured`.
        """
        from fer.training.timing import PATIENCE_S, measured

        began = time.monotonic()
        material = self.material(job)
        opening_s = time.monotonic() - began  # once more when it is trained
        earlier, finished = self.earlier(job, material)
        if self.processes.main:
            self._explain(job, material, earlier)
        if finished:
            return None
        job = as_begun(earlier, job) if earlier else job
        patience_s = min(PATIENCE_S, 0.1 * (job.budget_s or np.inf) / len(material.sets))
        beside = next(p for p in (self.out, *self.out.resolve().parents) if p.is_dir())
        how = self.device, self.amp, material.open_data, material.votes, patience_s, self.compiled, self.workers, beside
        cost = measured(job, self.data, *how)
        most_s = cost.use_s - cost.once_s
        if earlier:  # its recipe is what became of the one that was asked for
            most_s *= (1 - share_done(earlier, job)) / job.stretch
        once_s = cost.once_s + opening_s
        cost = replace(cost, once_s=once_s, use_s=once_s + most_s, begun=earlier is not None)
        return self.processes.agreed(replace(cost, measured_on=self.place(job)))
