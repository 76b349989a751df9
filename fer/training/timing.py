"""How long training will take here, and a job that fits a time."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from fer.data.dataset import Dataset
from fer.models import get_model
from fer.specs import Phase
from fer.training import state as resume_state
from fer.training.budget import Cost, fit
from fer.training.classical import fit_seconds, share_within
from fer.training.job import Job
from fer.training.loop import Trainer
from fer.training.optim import build_optimizer, train_mode
from fer.training.processes import Processes
from fer.training.stream import evaluate

PATIENCE_S = 4.0  # for the measurement of a phase
_BLOCK_S = 0.05  # the device is waited for after steps that took as long as this to begin, not after each
_BLOCKS = 20  # as many tell enough


def measured(
    job: Job,
    data: Dataset,
    device: str = "auto",
    amp: bool | None = None,
    open_data: Callable[[str], Dataset] | None = None,
    votes: np.ndarray | None = None,
    patience_s: float = PATIENCE_S,
    compiled: bool = False,
    workers: int = 0,
    beside: Path | None = None,
) -> Cost:
    """What a job will take here, from a few steps of each phase. Writes nothing to a run.

    Args:
        device, amp, open_data, votes, compiled, workers: As for `fer.training.train`.
        patience_s: As for `epoch_seconds`.
        beside: Folder on the disk that the run will write to; None = that of temporary files.

    Raises:
        ConfigError, DataError, CheckpointError: what training would end with before its first step.
    """
    processes = Processes.join(device)
    if get_model(job.model).SPEC.backend != "torch":
        once_s, linear_s, square_s = fit_seconds(job, data)
        use_s = once_s + linear_s * job.recipe.epoch_share + square_s * job.recipe.epoch_share**2
        return processes.agreed(Cost((linear_s + square_s,), (0.0,), once_s, 0.0, use_s, square_s=square_s))
    began = time.monotonic()
    folder = beside or Path(tempfile.gettempdir())
    trainer = Trainer(job, data, folder, processes, amp, workers, (), open_data, votes, compiled)
    once_s = time.monotonic() - began
    epochs, fixed, opening_s = epoch_seconds(trainer, patience_s)
    nets = 1 + (len(job.recipe.phases[-1].cycle_ends()) if job.recipe.snapshots else 0)
    once_s += opening_s + nets * _calibration_s(trainer)
    least = max(min(1.0, job.recipe.batch_size / len(s["train"])) for s in trainer.sets)
    whole_s = sum(p.epochs * s for p, s in zip(job.recipe.phases, epochs, strict=True))
    cost = Cost(tuple(epochs), tuple(fixed), once_s, least, once_s + job.stretch * whole_s)
    return processes.agreed(cost)


def fitted(job: Job, cost: Cost, budget_s: float) -> Job:
    """The job with schedules that should end within a time, `asked` being its recipe as it was.

    However short the time, an epoch has one full batch.

    Args:
        cost: What `measured` says of the job.
        budget_s: Seconds.
    """
    left_s = max(budget_s - cost.once_s, 1.0)
    if get_model(job.model).SPEC.backend == "torch":
        recipe = fit(job.recipe, cost.epoch_s, left_s, cost.fixed_s, job.stretch)
        share = max(recipe.epoch_share, cost.least)
    else:
        recipe, share = job.recipe, share_within(cost.epoch_s[0] - cost.square_s, cost.square_s, left_s)
    recipe = replace(recipe, epoch_share=min(share, job.recipe.epoch_share))
    return replace(job, recipe=recipe, asked=job.recipe, measured_on=cost.measured_on)


def epoch_seconds(trainer: Trainer, patience_s: float = PATIENCE_S) -> tuple[list[float], list[float], float]:
    """Seconds that an epoch of each phase will take here, extrapolated from a few steps. Writes nothing to the run.

    Args:
        trainer: A fresh one, its folder one for temporary files; what it has measured it cannot train any more.
        patience_s: Time to measure, per phase, from the end of the first step on; two more are measured in any case.

    Returns:
        Per phase the whole epoch; per phase what of it does not shrink with the share of the training faces: validation
        and writing down the state; and what the opening of data and nets took, over all phases (and compiling them).
    """
    out, opening_s = [], 0.0
    for number, phase in enumerate(trainer.recipe.phases):
        if not number or trainer.sets[number] is not trainer.now:
            began = time.perf_counter()
            trainer.open(number, None)
            opening_s += time.perf_counter() - began
        whole, fixed, first_s = _measured(trainer, phase, patience_s)
        opening_s += first_s if trainer.compiled else 0.0  # the first step waits for the compiler
        out.append((whole, fixed))
    return [whole for whole, _ in out], [fixed for _, fixed in out], opening_s


def _measured(trainer: Trainer, phase: Phase, patience_s: float) -> tuple[float, float, float]:
    """Seconds of one epoch, of its validation and writing, and of the first step; the steps move nothing."""
    stepper, processes = trainer.stepper, trainer.processes
    optimizer = build_optimizer(stepper.module, phase, stepper.extra)
    stepper.begin_phase()
    train_mode(stepper.module, phase.freeze)
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    step_s, first_s = _step_seconds(trainer, optimizer, patience_s)
    training_s = step_s * len(trainer.stream)
    val = trainer.now["val"]
    few = val.take(np.arange(min(len(val), 256)))
    evaluate(stepper.judged, few, trainer.spec, processes.device)  # the first call warms up
    began = time.perf_counter()
    evaluate(stepper.judged, few, trainer.spec, processes.device)
    fixed = (time.perf_counter() - began) * len(val) / len(few)
    # as often as the state is written: after each long epoch, after some of the short ones
    often = min(1.0, (training_s + fixed) / resume_state.EVERY_S) if resume_state.EVERY_S else 1.0
    with tempfile.TemporaryDirectory(prefix=".pace-", dir=trainer.run) as folder:
        began = time.perf_counter()
        best = stepper.judged.state_dict()
        state = {"stepper": stepper.state_dict(), "optimizer": optimizer.state_dict(), "best_state": best}
        resume_state.write(Path(folder), state)
        fixed += often * (time.perf_counter() - began)
    return processes.agreed((training_s + fixed, fixed, first_s))


def _step_seconds(trainer: Trainer, optimizer: torch.optim.Optimizer, patience_s: float) -> tuple[float, float]:
    """Median over blocks of steps that end with the device's last one, and the first step, which is in none."""
    found: list[float] = []
    entered = time.perf_counter()
    began: float | None = None  # of the block
    since, first_s, steps = 0.0, 0.0, 0
    while True:
        for x, y in trainer.stream.epoch(1, mixing=True):
            loss, _ = trainer.stepper.step(x, y, 1.0, optimizer)
            steps += 1
            if began is None or time.perf_counter() - began >= _BLOCK_S:
                loss.item()  # waits for the device
                now = time.perf_counter()
                if began is None:
                    since, first_s = now, now - entered
                else:
                    found.append((now - began) / steps)
                began, steps = now, 0
            tired = len(found) >= 2 and (time.perf_counter() - since > patience_s or len(found) >= _BLOCKS)
            if trainer.processes.agreed(tired):  # all stop after the same step
                return statistics.median(found), first_s


def _calibration_s(trainer: Trainer) -> float:
    """Seconds for the answers to all validation faces on the CPU, where the finished net is calibrated."""
    cpu, val = torch.device("cpu"), trainer.now["val"]
    few = val.take(np.arange(min(len(val), 64)))
    net = deepcopy(trainer.stepper.judged).to(cpu)  # a copy is not compiled
    evaluate(net, few, trainer.spec, cpu)  # the first call warms up
    began = time.perf_counter()
    evaluate(net, few, trainer.spec, cpu)
    return (time.perf_counter() - began) * len(val) / len(few)
