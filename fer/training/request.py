"""What somebody asks to be trained: options for one model or several, and the jobs that they come to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fer import checkpoint
from fer.data import is_prepared, open_dataset
from fer.data.dataset import Dataset
from fer.errors import ConfigError, DataError, unknown_name
from fer.models import RECIPES, get_model, get_preset, list_models
from fer.settings import override, parse_value
from fer.specs import Recipe
from fer.training.job import Job, build, read_description
from fer.training.recipes import resolve, without_phases

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """Each model's own recipe and input with these options applied.

    Attributes:
        models: A name, several with commas, or "all".
        recipe: "best" or "reference".
        pretrained: False = the recipe without its ImageNet weights.
        skip_phases: Names of phases to leave out.
        epochs, batch_size, lr, weight_decay, teacher, init: See `fer.training.recipes.resolve`.
        settings: "key=value" for any field of the recipe, or "input.key=value" for one of the input.
        model_args: "key=value" for an argument of the model's `build`.
        seed: Of weights, order, augmentation and dropout.
    """

    models: str = "all"
    recipe: str = "best"
    pretrained: bool = True
    skip_phases: Sequence[str] = ()
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    teacher: str | None = None
    init: str | None = None
    settings: Sequence[str] = ()
    model_args: Sequence[str] = ()
    seed: int = 42

    def names(self, run: str | None = None) -> list[str]:
        """The models that are meant.

        Args:
            run: Folder of the run to go on with, whose model is the one; None = there is none.

        Raises:
            ConfigError: no model, or a run of another one.
            CheckpointError: no run in that folder.
        """
        names = list_models() if self.models == "all" else [n.strip() for n in self.models.split(",") if n.strip()]
        if not names:
            raise ConfigError(f"--model names no model, got {self.models!r}; see --list")
        if run is None:
            return names
        begun = read_description(run)["model"]
        if self.models != "all" and names != [begun]:
            raise ConfigError(f"{run} is a run of {begun}, not of {self.models}")
        return [begun]

    def jobs(self, run: str | None = None) -> tuple[list[Job], dict[str, str]]:
        """The jobs to do, and by name why other models cannot be trained. Touches neither data nor folders.

        Args:
            run: As for `names`.

        Raises:
            ConfigError: options that are wrong for every model.
            CheckpointError: a checkpoint to begin with or to learn from that is not there.
        """
        names, failed = self.names(run), {}
        for name in names:
            try:
                get_preset(name, self.recipe)
            except ConfigError as e:  # of several models, one may have no reference recipe
                if len(names) == 1 or self.recipe not in RECIPES or name not in list_models():
                    raise
                failed[name] = str(e)
        asked = {name: self._beside(names) if _holds_no_net(name) else self for name in names if name not in failed}
        jobs = [request.job(name) for name, request in asked.items()]
        if not jobs:
            raise ConfigError("; ".join(failed.values()))
        unused = [n for n in self.skip_phases if not any(n in job.recipe.skipped for job in jobs)]
        if unused:
            known = sorted({p.name for job in jobs for p in job.recipe.phases})
            raise unknown_name("phase to skip", unused[0], known)
        for job in jobs:
            for other in filter(None, (*job.recipe.teachers, job.recipe.init)):
                checkpoint.read_manifest(other)
            if not job.model_args.get("pretrained"):  # that would ask the network
                build(job, 7)
        return jobs, failed

    def without_absent(self, data: str) -> Request:
        """Of "all" models, those with a phase on data that are not prepared here go without it, and that is said.

        A model that is asked for by its name does not: it is an error, which `phase_opener` raises.

        Args:
            data: As for `phase_opener`.
        """
        if self.models != "all" or _is_drawn(data):
            return self
        gone: list[str] = []
        for name in list_models():
            try:
                phases = get_preset(name, self.recipe).recipe.phases
            except ConfigError:  # which `jobs` tells
                continue
            for phase in phases:
                if phase.data and phase.name not in self.skip_phases and not is_prepared(phase.data):
                    log.warning(
                        "%s goes without its phase %s, for want of the data (scripts/prepare_data.py --source %s); its "
                        "checkpoint will say so",
                        *(name, phase.name, phase.data),
                    )
                    gone.append(phase.name)
        return replace(self, skip_phases=(*self.skip_phases, *gone))

    def _beside(self, names: Sequence[str]) -> Request:
        """For a model that holds no net: of several models it is the one that goes without a teacher."""
        if self.teacher is None or len(names) == 1:
            return self
        log.warning("%s holds no net: fitted without --teacher", ", ".join(filter(_holds_no_net, names)))
        return replace(self, teacher=None)

    def job(self, name: str) -> Job:
        """The job of one model.

        Raises:
            ConfigError: an unknown model, recipe, key or value.
        """
        preset = get_preset(name, self.recipe)
        spec, settings, of_input = preset.input or get_model(name).SPEC.input, [], []
        for text in self.settings:
            key, _, value = text.partition("=")
            if key.strip().startswith("input."):
                of_input.append((key.strip().removeprefix("input."), value.strip()))
            else:
                settings.append(text)
        spec = override(spec, *of_input)
        recipe = resolve(
            without_phases(preset.recipe, self.skip_phases),
            self.epochs,
            self.batch_size,
            self.lr,
            self.weight_decay,
            self.teacher,
            self.init,
            settings,
        )
        args: dict[str, Any] = dict(preset.model_args)
        if not self.pretrained and "pretrained" in args:
            args["pretrained"] = False
        for text in self.model_args:
            key, equals, value = text.partition("=")
            if not equals:
                raise ConfigError(f"--model-arg takes key=value, got {text!r}; for example --model-arg attention=false")
            args[key.strip()] = parse_value(value.strip())
        return Job(name, recipe, self.seed, args, spec)


def _holds_no_net(name: str) -> bool:
    return get_model(name).SPEC.backend != "torch"


def _is_drawn(data: str) -> bool:
    return data.partition("@")[0].partition(":")[0] == "synthetic"


def phase_opener(recipe: Recipe, data: str) -> Callable[[str], Dataset]:
    """Function that opens the data set that a phase names.

    Args:
        data: What the other phases train on, as `fer.data.open_dataset` takes it. Where these are drawn faces, drawn
            ones of eight classes stand in for the others.
    """

    def open_data(name: str) -> Dataset:
        if _is_drawn(data):
            options = data.partition("@")[0].partition(":")[2]
            return open_dataset(f"synthetic:{options},contempt=1", splits=("train", "val"))
        try:
            return open_dataset(name, splits=("train", "val"))
        except DataError as e:
            phases = [p.name for p in recipe.phases if p.data == name]
            raise DataError(f"{e}; or leave that phase out: --skip-phase {phases[0]}") from e

    return open_data
