"""Which folder a run goes to: that of an earlier run, or a new one, named after the time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fer.data.dataset import Dataset
from fer.settings import from_dict
from fer.specs import Recipe
from fer.training.job import RUN, Job, differences, is_finished, read_description, same_request, shortened_to


def earlier_run(
    out: Path,
    job: Job,
    data: Dataset,
    sets: Sequence[Dataset],
    resume: bool = False,
    reuse: bool = False,
    budget_s: float | None = None,
) -> Path | None:
    """A run in OUT/<model>/ that makes a new one needless; None = there is none.

    Args:
        sets: Data set of every phase.
        resume: Take the newest run if it was cut, or if it is finished under these very options.
        reuse: Take any run that is finished under these very options.
        budget_s: A run that a budget of this or more seconds made shorter counts as well; None = it does not.
    """
    begun = sorted(file.parent for file in (out / job.model).glob(f"*/{RUN}"))
    description = job.describe(data, sets)
    done = [run for run in begun if is_finished(run)]
    if budget_s is None:
        done = [run for run in done if not differences(run, description)]
    else:
        done = [run for run in done if same_request(run, description) and shortened_to(run) >= budget_s]
    if reuse and done:
        return max(done, key=lambda run: (shortened_to(run), run))  # of those that had the most time the newest
    if resume and begun and (begun[-1] in done or not is_finished(begun[-1])):
        # one that was cut goes on under the schedule it began with, which may not be shorter than what is allowed now
        return begun[-1] if budget_s is None or shortened_to(begun[-1]) >= budget_s else None
    return None


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
    """The job with the recipe under which a run was begun, where a budget had shortened that one."""
    begun = read_description(run)
    if "asked_recipe" not in begun:
        return job
    return replace(job, recipe=from_dict(Recipe, begun["recipe"]), asked=job.recipe, budget_s=begun.get("budget_s"))
