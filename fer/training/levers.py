"""Levers of training, one at a time: what each changes in a model's own recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fer.errors import ConfigError, unknown_name
from fer.models import get_model
from fer.specs import Recipe
from fer.training.job import Job
from fer.training.request import Request

PLAIN = "plain"
ITSELF = "{model}"


@dataclass(frozen=True)
class Lever:
    """One change of a recipe.

    Attributes:
        title: What is done, for a table.
        settings: "key=value" as for --set.
        model_args: "key=value" as for --model-arg.
        teacher: Checkpoints to distil from, with commas between them; `ITSELF` = the model's own checkpoint.
        longer: Factor of the number of epochs.
        cycles: Parts that the last phase's epochs are cut into, the learning rate falling anew in each, without
            warm-up; the nets at their ends answer together.
        view: How validation faces are shown to the net, see `fer.evaluation.results.VIEWS`; the plain recipe's weights.
    """

    title: str
    settings: tuple[str, ...] = ()
    model_args: tuple[str, ...] = ()
    teacher: str = ""
    longer: int = 1
    cycles: int = 1
    view: str = "single"


LEVERS: dict[str, Lever] = {
    PLAIN: Lever("the recipe as it is"),
    "flip_view": Lever("test-time augmentation: face and mirror image", view="flip"),
    "ten_crop": Lever("test-time augmentation: ten crops", view="tencrop"),
    "flip_only": Lever(
        "no augmentation but the flip",
        (
            "augment.rotate_deg=0",
            "augment.scale_min=1",
            "augment.scale_max=1",
            "augment.shift=0",
            "augment.brightness=0",
            "augment.contrast=0",
            "augment.erase=0",
        ),
    ),
    "stronger": Lever(
        "stronger augmentation",
        (
            "augment.rotate_deg=15",
            "augment.scale_min=0.8",
            "augment.scale_max=1.2",
            "augment.shift=0.16",
            "augment.erase=0.5",
        ),
    ),
    "randaugment": Lever("RandAugment, two operations", ("augment.randaugment=2",)),
    "crop40": Lever("crops of 40 px", ("input.size_px=40",)),
    "mixup": Lever("mixup, alpha 0.2", ("mixup=0.2",)),
    "cutmix": Lever("cutmix, alpha 1", ("cutmix=1",)),
    "sam": Lever("SAM, radius 0.05 (two gradients a step)", ("sam_rho=0.05",)),
    "no_ema": Lever("no EMA of the weights", ("ema_decay=0",)),
    "no_smoothing": Lever("no label smoothing", ("label_smoothing=0",)),
    "longer": Lever("twice as many epochs", longer=2),
    "snapshots": Lever("snapshot ensemble of two cycles", ("snapshots=true",), cycles=2),
    "drop_path": Lever("stochastic depth, 0.1", model_args=("drop_path=0.1",)),
    "votes": Lever("FER+ votes as a second target", ("ferplus_weight=0.4",)),
    "distilled": Lever("distilled from cbam_cnn4", teacher="cbam_cnn4"),
    "distilled_many": Lever("distilled from several nets", teacher="cbam_cnn4,attention_cnn,baseline_cnn4"),
    "distilled_self": Lever("self-distillation: from its own trained net", teacher=ITSELF),
}


def named(text: str) -> list[str]:
    """Names of levers from a list with commas, the plain recipe and what uses its weights first; "all" = every one.

    Raises:
        ConfigError: an unknown name (says the nearest), or none.
    """
    names = list(LEVERS) if text == "all" else [n.strip() for n in text.split(",") if n.strip()]
    for name in names:
        if name not in LEVERS:
            raise unknown_name("lever", name, LEVERS, "See --list.")
    if not names:
        raise ConfigError(f"no lever named, got {text!r}; see --list")
    return sorted(dict.fromkeys([PLAIN, *names]), key=lambda name: (name != PLAIN, LEVERS[name].view == "single"))


def relative_cost(recipe: Recipe) -> float:
    """About what a training takes, in epochs of one gradient a step: SAM asks for two, a teacher's answer takes one.

    >>> from fer.specs import Phase
    >>> [relative_cost(Recipe(phases=(Phase(epochs=4),), sam_rho=rho)) for rho in (0.0, 0.05)]
    [4.0, 8.0]
    """
    return float(recipe.epochs * ((2 if recipe.sam_rho else 1) + len(recipe.teachers)))


def job_of(model: str, lever: str, seed: int, epochs: int | None = None) -> Job | None:
    """The job of a model's recipe with one lever pulled; None where that changes nothing or the model cannot take it.

    Args:
        epochs: Of every phase, before the lever; None = as many as the recipe says.

    Raises:
        ConfigError: a model without a net, one whose recipe begins on other data, or an unknown one.
        CheckpointError: a teacher that is not there.
    """
    if get_model(model).SPEC.backend != "torch":
        raise ConfigError(f"{model} is not trained in epochs; its levers are not these")
    pulled, plain = LEVERS[lever], Request(model, epochs=epochs, seed=seed)
    (base,), _ = plain.jobs()
    if others := [p.data for p in base.recipe.phases if p.data]:
        raise ConfigError(f"{model} trains on {others[0]} as well; levers are pulled on one data set alone")
    if lever == PLAIN or pulled.view != "single":
        return base
    if model in pulled.teacher.split(","):
        return None
    teacher = pulled.teacher.format(model=model)
    last = base.recipe.phases[-1]
    if last.epochs % pulled.cycles:
        return None
    cut = (
        f"phases.{len(base.recipe.phases) - 1}.{key}"
        for key in (
            "warmup_epochs=0",
            "schedule=warm_restarts",
            "restart_factor=1",
            f"restart_epochs={last.epochs // pulled.cycles}",
        )
        if pulled.cycles > 1
    )
    try:
        asked = replace(
            plain,
            settings=(*cut, *pulled.settings),
            model_args=pulled.model_args,
            teacher=teacher or base.recipe.teacher,
        )
        (job,), _ = asked.jobs()
    except ConfigError:  # the plain recipe fits: no such argument, or crops that the net cannot take
        return None
    phases = tuple(replace(p, epochs=p.epochs * pulled.longer) for p in base.recipe.phases)
    job = replace(job, recipe=replace(job.recipe, phases=phases) if pulled.longer > 1 else job.recipe)
    return None if job == base else job
