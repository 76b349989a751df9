"""What a run is to do, and what its folder says about it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fer import checkpoint, settings, specs
from fer.data.dataset import Dataset
from fer.errors import CheckpointError, ConfigError
from fer.models import get_model
from fer.specs import InputSpec, Recipe
from fer.training.budget import fit

RUN = "run.json"


@dataclass(frozen=True)
class Job:
    """One training run, completely described (apart from the device, which does not change what is learnt).

    Attributes:
        model, model_args: Key of MODELS and arguments of its `build`.
        recipe: Resolved recipe.
        seed: Of weights, order, augmentation and dropout.
        input: InputSpec; the model's own by default.
        asked: The recipe before it was fitted into a budget; None = it was not.
        budget_s: The command's budget over the number of its models, which the same command always comes to, however
            the time is then shared; None = no budget.
        stretch: How many times as long as `asked` the recipe may have become.
        measured_on: What computed, and in which precision, when the pace was measured that decided the length.
    """

    model: str
    recipe: Recipe
    seed: int = 42
    model_args: dict[str, Any] = field(default_factory=dict)
    input: InputSpec | None = None
    asked: Recipe | None = None
    budget_s: float | None = None
    stretch: float = 1.0
    measured_on: str = ""

    @property
    def spec(self) -> InputSpec:
        """The input that the net gets."""
        return self.input or get_model(self.model).SPEC.input

    def open_phases(self, data: Dataset, open_data: Callable[[str], Dataset] | None = None) -> list[Dataset]:
        """The data set of every phase: `data`, or what `open_data` opens under the name that the phase gives.

        Raises:
            ConfigError: a phase names data, and there is no `open_data`.
        """
        opened = {"": data}
        for phase in self.recipe.phases:
            if phase.data not in opened:
                if open_data is None:
                    raise ConfigError(f"phase {phase.name} trains on {phase.data}; say how to open it (open_data)")
                opened[phase.data] = open_data(phase.data)
        return [opened[phase.data] for phase in self.recipe.phases]

    def describe(self, data: Dataset, sets: Sequence[Dataset] = (), votes: np.ndarray | None = None) -> dict[str, Any]:
        """JSON form, compared on --resume.

        Args:
            sets: Data set of every phase; () = all train on `data`.
            votes: FER+ votes that are learnt beside the labels; None = none, or whichever they are.
        """
        fitted: dict[str, Any] = {}
        if self.asked:
            fitted = {"asked_recipe": settings.to_dict(self.asked), "budget_s": self.budget_s}
            fitted |= {"stretch": self.stretch} if self.stretch != 1 else {}
            fitted |= {"measured_on": self.measured_on} if self.measured_on else {}
        if votes is not None:
            fitted["votes_sha256"] = hashlib.sha256(np.ascontiguousarray(votes, np.float32).tobytes()).hexdigest()
        return {
            "model": self.model,
            "model_args": self.model_args,
            "recipe": settings.to_dict(self.recipe),
            "seed": self.seed,
            "input": settings.to_dict(self.spec),
            "data": {"name": data.name, "fingerprint": data.fingerprint},
            "phase_data": [s.fingerprint for s in sets if s is not data],
            "teacher_sha256": ",".join(map(_sha256, self.recipe.teachers)),
            "init_sha256": _sha256(self.recipe.init),
        } | fitted


def _sha256(name: str) -> str:
    return str(checkpoint.read_manifest(name).weights.get("sha256", "")) if name else ""


def write_description(run: str | Path, description: dict[str, Any]) -> None:
    """Replace run.json."""
    checkpoint.write_atomic(Path(run) / RUN, (json.dumps(description, indent=2) + "\n").encode())


def read_description(run: str | Path) -> dict[str, Any]:
    """What run.json says about a run: model, arguments, recipe, seed, input, data, and whether it is finished.

    Recipes are as they would be written today: a field that did not exist yet has its default.

    Raises:
        CheckpointError: absent or damaged.
    """
    file = Path(run) / RUN
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        recipes = {
            k: settings.to_dict(settings.from_dict(specs.Recipe, raw[k]))
            for k in ("recipe", "asked_recipe")
            if k in raw
        }
        return {"model": raw["model"], **raw, **recipes}
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as e:
        raise CheckpointError(f"{run}: no run here that can be resumed ({RUN}: {e})") from e


def differences(run: str | Path, description: dict[str, Any]) -> list[str]:
    """Top-level keys in which a run differs from a description, "recipe" by its own keys."""
    old, new = read_description(run), json.loads(json.dumps(description))
    old.pop("finished", None)
    free = {"recipe", "budget_s", "measured_on"} | ({"votes_sha256"} - old.keys())  # which runs did not note at first
    keys = [k for k in new if old.get(k) != new[k] and k not in free]
    recipe = old.get("recipe") or {}
    return keys + [f"recipe.{k}" for k in new["recipe"] if recipe.get(k) != new["recipe"][k]]


def same_request(run: str | Path, description: dict[str, Any]) -> bool:
    """Whether a run was asked for in the words of a description, however short or long a budget then made it."""
    old = read_description(run)
    return not differences(run, description | {"recipe": old["recipe"]}) and (
        old.get("asked_recipe", old["recipe"]) == json.loads(json.dumps(description["recipe"]))
    )


def fitted_into(run: str | Path, stretch: float = 1.0) -> float:
    """The budget in seconds that the schedule of a run was fitted into; infinite where it is as long as it may become.

    Args:
        stretch: What is asked for now. A run that was fitted with another one had no time for this: 0.
    """
    old = read_description(run)
    asked = settings.from_dict(Recipe, old.get("asked_recipe", old["recipe"]))
    longest = fit(asked, [1.0] * len(asked.phases), math.inf, stretch=stretch)
    same = old.get("stretch", 1.0) == stretch
    if old["recipe"] == settings.to_dict(longest) and (same or stretch == 1):
        return math.inf
    return float(old.get("budget_s") or 0.0) if same else 0.0


def is_finished(run: str | Path) -> bool:
    """Whether a run folder holds a run that went to its end."""
    try:
        return bool(read_description(run).get("finished"))
    except CheckpointError:
        return False


def build(job: Job, n_classes: int) -> nn.Module:
    """The untrained net of a job, its weights drawn after the job's seed.

    Raises:
        ConfigError: model arguments that it does not take.
    """
    torch.manual_seed(job.seed)
    try:
        return get_model(job.model).build(n_classes, job.spec, **job.model_args)
    except (TypeError, ValueError, RuntimeError, ArithmeticError, LookupError) as e:
        raise ConfigError(f"{job.model} does not take the arguments {job.model_args}: {e}") from e
