"""Which folder a run goes to: that of an earlier run, or a new one, named after the time."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fer import checkpoint
from fer.data.dataset import Dataset
from fer.errors import CheckpointError
from fer.history import read_history
from fer.settings import from_dict
from fer.specs import Recipe
from fer.training.job import RUN, Job, differences, fitted_into, is_finished, read_description, same_request


def earlier_run(
    out: Path,
    job: Job,
    data: Dataset,
    sets: Sequence[Dataset],
    resume: bool = False,
    reuse: bool = False,
    budget_s: float | None = None,
    votes: np.ndarray | None = None,
    place: str = "",
) -> Path | None:
    """A run in OUT/<model>/ that makes a new one needless; None = there is none.

    Args:
        sets: Data set of every phase.
        resume: Take the newest run under these very options, whether it was cut or is finished; where there is none,
            the newest of all if it was cut: training then says in what it differs.
        reuse: Take any run that is finished under these very options.
        budget_s: A run that a budget of this or more seconds was shared into counts as well, if it was with the job's
            `stretch`; None = it does not.
        votes: FER+ votes that the job learns beside the labels.
        place: What computes now, and in which precision: a finished run that a budget made shorter than it may become
            counts only where the pace was that of the same; "" = wherever it was. One that was cut goes on anywhere.
    """
    begun = sorted(file.parent for file in (out / job.model).glob(f"*/{RUN}"))
    description = job.describe(data, sets, votes)

    def long_enough(run: Path) -> bool:
        # one that was cut goes on under the schedule it began with, which may not be shorter than what is allowed now
        if budget_s is None:
            return True
        fitted_s = fitted_into(run, job.stretch)
        free = fitted_s == math.inf or not place or not is_finished(run)
        here = free or read_description(run).get("measured_on", place) == place
        return here and fitted_s >= budget_s

    def alike(run: Path) -> bool:
        try:
            same = not differences(run, description) if budget_s is None else same_request(run, description)
            return same and long_enough(run)
        except CheckpointError:
            return False

    same = [run for run in begun if alike(run)]
    done = [run for run in same if is_finished(run)]
    if reuse and done:
        return max(done, key=lambda run: (fitted_into(run, job.stretch), run))  # of those with the most time the newest
    if resume and same:
        return same[-1]
    if not (resume and begun) or is_finished(begun[-1]):
        return None
    try:
        return begun[-1] if long_enough(begun[-1]) else None
    except CheckpointError:
        return begun[-1]  # damaged: training says so, in every process


def new_folder(out: Path, model: str) -> Path:
    """Makes OUT/<model>/<time>. Of two processes that begin in the same second each gets its own."""
    stamp, n = time.strftime("%Y%m%d-%H%M%S"), 1
    folder = out / model / stamp
    while True:
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise
            n += 1
            folder = out / model / f"{stamp}-{n}"
        else:
            return folder


def as_begun(run: Path, job: Job) -> Job:
    """The job with the recipe under which a run was begun, where that one had been fitted into a budget."""
    begun = read_description(run)
    if "asked_recipe" not in begun:
        return job
    recipe, stretch = from_dict(Recipe, begun["recipe"]), begun.get("stretch", 1.0)
    fitted = {"budget_s": begun.get("budget_s"), "stretch": stretch, "measured_on": begun.get("measured_on", "")}
    return replace(job, recipe=recipe, asked=job.recipe, **fitted)


def share_done(run: Path, job: Job) -> float:
    """Share of its epochs that a run has behind it, by its history.

    Args:
        job: As `as_begun` gives it.
    """
    rows, init = read_history(run), job.recipe.init
    before = int(checkpoint.read_manifest(init).training.get("epochs", 0)) if init else 0
    return min(1.0, max(0, rows[-1].get("epoch", len(rows)) - before) / job.recipe.epochs) if rows else 0.0
