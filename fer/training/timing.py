"""How long training will take here, and a job that fits a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer.data.dataset import Dataset
from fer.models import get_model
from fer.specs import Phase
from fer.training import state as resume_state
from fer.training.budget import fit
from fer.training.classical import share_within
from fer.training.job import Job
from fer.training.loop import Trainer
from fer.training.optim import build_optimizer, train_mode
from fer.training.processes import Processes
from fer.training.stream import evaluate


def shortened(
    job: Job,
    data: Dataset,
    budget_s: float,
    device: str = "auto",
    amp: bool = False,
    open_data: Callable[[str], Dataset] | None = None,
    votes: np.ndarray | None = None,
) -> tuple[Job, float]:
    """The job with schedules that should end within a time, after a short measurement, which counts too.

    Args:
        budget_s: Seconds.
        device, amp, open_data, votes: As for `fer.training.train`.

    Returns:
        The job, `asked` being its recipe as it was, and the seconds that the longest of its epochs would have taken.
        However short the time, an epoch has one full batch.
    """
    began, processes = time.monotonic(), Processes.join(device)
    if get_model(job.model).SPEC.backend == "torch":
        trainer = Trainer(job, data, Path(), processes, amp, 0, (), open_data, votes)
        measured, fixed = epoch_seconds(trainer)
        left = max(budget_s - (time.monotonic() - began), 1.0)
        recipe, seconds = fit(job.recipe, measured, left, fixed), max(measured)
        batch = max(min(1.0, recipe.batch_size / len(s["train"])) for s in trainer.sets)
        share = max(recipe.epoch_share, batch)
    else:
        recipe = job.recipe
        share, seconds = share_within(job, data, budget_s)
    recipe = replace(recipe, epoch_share=min(share, job.recipe.epoch_share))
    return replace(job, recipe=processes.agreed(recipe), asked=job.recipe), seconds


def epoch_seconds(trainer: Trainer, patience_s: float = 4.0) -> tuple[list[float], list[float]]:
    """Seconds that an epoch of each phase will take here, extrapolated from a few steps. Writes nothing to the run.

    Args:
        trainer: A fresh one; what it has measured it cannot train any more.
        patience_s: Time to measure, per phase; two steps are measured in any case.

    Returns:
        Per phase the whole epoch, and what of it does not shrink with the share of the training faces: validation and
        writing down the state.
    """
    out = []
    for number, phase in enumerate(trainer.recipe.phases):
        if not number or trainer.sets[number] is not trainer.now:
            trainer.open(number, None)
        out.append(_measured(trainer, phase, patience_s))
    return [whole for whole, _ in out], [fixed for _, fixed in out]


def _measured(trainer: Trainer, phase: Phase, patience_s: float) -> tuple[float, float]:
    """Seconds of one epoch, and of its validation and writing, from a few steps that move the weights by nothing."""
    stepper, stream, processes = trainer.stepper, trainer.stream, trainer.processes
    optimizer = build_optimizer(stepper.module, phase, stepper.extra)
    stepper.begin_phase()
    train_mode(stepper.module, phase.freeze)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    times: list[float] = []
    began = time.perf_counter()
    enough = False
    while not enough:
        for x, y in stream.epoch(1, mixing=True):
            loss, _ = stepper.step(x, y, 1.0, optimizer)
            loss.item()  # waits for the device
            times.append(time.perf_counter())
            tired = len(times) >= 3 and (times[-1] - began > patience_s or len(times) >= 50)
            enough = processes.agreed(tired)  # all stop after the same step
            if enough:
                break
    step_s = (times[-1] - times[0]) / (len(times) - 1)  # the first one warms up
    val = trainer.now["val"]
    few = val.take(np.arange(min(len(val), 256)))
    evaluate(stepper.judged, few, trainer.spec, processes.device)  # the first call warms up
    began = time.perf_counter()
    evaluate(stepper.judged, few, trainer.spec, processes.device)
    fixed = (time.perf_counter() - began) * len(val) / len(few)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        best = stepper.judged.state_dict()
        state = {"stepper": stepper.state_dict(), "optimizer": optimizer.state_dict(), "best_state": best}
        resume_state.write(Path(folder), state)
        fixed += time.perf_counter() - began
    return processes.agreed((step_s * len(stream) + fixed, fixed))
