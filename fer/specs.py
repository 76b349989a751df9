"""Frozen, self-validating descriptions: what goes into a net, what a model is, how it is trained.

They are plain data: `fer.settings` turns them into JSON, as which they travel inside checkpoints, and sets any field by
a dotted key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from fer.errors import ConfigError, unknown_name


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ConfigError(message)


def _one_of(kind: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise unknown_name(kind, value, known)


@dataclass(frozen=True)
class InputSpec:
    """What a net takes: a face is resized to `resize_px`, centre-cropped to `size_px`, scaled and normalised.

    Attributes:
        size_px: Height and width of the net's input.
        channels: 1 (grey) or 3 (RGB).
        resize_px: Side to which a face is resized before the centre crop; at least `size_px`.
        mean, std: Normalisation of values in [0, 1].
    """

    size_px: int = 48
    channels: int = 1
    resize_px: int = 48
    mean: float = 0.5
    std: float = 0.25

    def __post_init__(self) -> None:
        _require(self.channels in (1, 3), f"channels must be 1 or 3, got {self.channels}")
        _require(8 <= self.size_px <= 1024, f"size_px must be 8..1024, got {self.size_px}")
        _require(self.resize_px >= self.size_px, f"resize_px {self.resize_px} must be at least size_px {self.size_px}")
        _require(self.std > 0, f"std must be positive, got {self.std}")


BACKENDS = ("torch", "classical")
BUNDLE_DTYPES = ("float16", "int8")


@dataclass(frozen=True)
class ModelSpec:
    """What a model is, apart from its weights.

    Attributes:
        name: Key of the table MODELS, file name and checkpoint folder.
        title: Name for people.
        summary: One line.
        input: Default InputSpec.
        source: Paper or project the architecture comes from.
        attention: Name of the explanation method that `method="auto"` means.
        head: Prefixes of the parameters that depend on the number of classes; they are made anew when a phase of
            training moves to another label set, all others are kept.
        backend: What it runs on: torch, or classical (scikit-learn).
        bundle_dtype: How a net's matrices and filters are stored once it is promoted: float16, or int8 with one scale
            per output channel, which takes half the room (see `fer.packing`).
    """

    name: str
    title: str
    summary: str
    input: InputSpec
    source: str = ""
    attention: str = "grad_cam"
    head: tuple[str, ...] = ("classifier",)
    backend: str = "torch"
    bundle_dtype: str = "float16"

    def __post_init__(self) -> None:
        _one_of("backend", self.backend, BACKENDS)
        _one_of("bundle_dtype", self.bundle_dtype, BUNDLE_DTYPES)


@dataclass(frozen=True)
class Augment:
    """Random changes of a training view; every image draws its own, keyed by (seed, epoch, index).

    Attributes:
        flip: Probability of a horizontal flip.
        rotate_deg: Rotation drawn from +-rotate_deg.
        scale_min, scale_max: Zoom drawn log-uniformly; above 1 magnifies.
        shift: Translation drawn from +-shift, as a fraction of the side.
        brightness, contrast: Offset from +-brightness, gain from 1 +- contrast (pixel values in [0, 1]).
        saturation: Colour gain from 1 +- saturation; grey faces stay as they are.
        randaugment: Operations of RandAugment per face (Cubuk et al. 2020), before everything else; 0 = none.
        magnitude: Strength of RandAugment's operations, 0..30.
        erase: Probability of erasing one rectangle (Zhong et al. 2017, "Random Erasing Data Augmentation").
        erase_area_max: Largest erased share of the picture.
    """

    flip: float = 0.5
    rotate_deg: float = 12.0
    scale_min: float = 0.85
    scale_max: float = 1.1
    shift: float = 0.1
    brightness: float = 0.15
    contrast: float = 0.25
    erase: float = 0.3
    erase_area_max: float = 0.2
    saturation: float = 0.0
    randaugment: int = 0
    magnitude: int = 9

    def __post_init__(self) -> None:
        for name in ("flip", "erase", "erase_area_max", "shift"):
            v = getattr(self, name)
            _require(0 <= v <= 1, f"{name} must be 0..1, got {v}")
        _require(
            0 < self.scale_min <= self.scale_max,
            f"scale_min must be positive and at most scale_max, got {self.scale_min} and {self.scale_max}",
        )
        _require(0 <= self.rotate_deg <= 180, f"rotate_deg must be 0..180, got {self.rotate_deg}")
        _require(0 <= self.brightness <= 1, f"brightness must be 0..1, got {self.brightness}")
        _require(0 <= self.contrast < 1, f"contrast must be 0..1, got {self.contrast}")
        _require(0 <= self.saturation <= 1, f"saturation must be 0..1, got {self.saturation}")
        _require(0 <= self.randaugment <= 4, f"randaugment must be 0..4, got {self.randaugment}")
        _require(0 <= self.magnitude <= 30, f"magnitude must be 0..30, got {self.magnitude}")


OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "warm_restarts", "one_cycle", "plateau")
LOSSES = ("cross_entropy", "focal")
MEASURES = ("accuracy", "loss")
CLASS_WEIGHTS = ("none", "balanced", "sqrt_balanced")


@dataclass(frozen=True)
class Phase:
    """One stretch of training with its own optimizer and schedule.

    Attributes:
        name: For logs.
        epochs: Passes over the training split.
        optimizer: adam, adamw or sgd (Nesterov momentum .9).
        lr: Peak learning rate. weight_decay: not applied to norms, biases and embeddings.
        schedule: constant, cosine, one_cycle (both to 0, per step), warm_restarts (cosine again and again, Loshchilov
            and Hutter 2017) or plateau (per epoch, on the validation score).
        restart_epochs, restart_factor: Length of the first cycle of warm_restarts, and of each next one relative to it.
        warmup_epochs: Linear warm-up; for one_cycle the length of its rise if > 0.
        patience: Epochs without a better validation score that plateau tolerates; the next one divides the rate by ten.
        early_stopping: Epochs without a better validation score before the phase ends; 0 = never.
        watch: The validation score that plateau and early stopping mean: accuracy or loss.
        freeze: Prefixes of parameter names that do not move.
        lr_factors: Factor of the learning rate by prefix of the parameter name (the longest that fits); others take 1.
        data: Data set of this phase ("affectnet"), "" = that of the run. Another label set gets a new head.
    """

    name: str = "main"
    epochs: int = 20
    optimizer: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "one_cycle"
    warmup_epochs: float = 0.0
    patience: int = 10
    early_stopping: int = 0
    freeze: tuple[str, ...] = ()
    watch: str = "accuracy"
    restart_epochs: float = 10.0
    restart_factor: float = 1.0
    lr_factors: dict[str, float] = field(default_factory=dict)
    data: str = ""

    def __post_init__(self) -> None:
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        _require(self.lr > 0, f"lr must be positive, got {self.lr}")
        _require(self.weight_decay >= 0, f"weight_decay must not be negative, got {self.weight_decay}")
        _require(
            0 <= self.warmup_epochs < self.epochs,
            f"warmup_epochs must be 0 or more and less than epochs ({self.epochs}), got {self.warmup_epochs}",
        )
        _one_of("score to watch", self.watch, MEASURES)
        _require(self.restart_epochs >= 0.01, f"restart_epochs must be at least 0.01, got {self.restart_epochs}")
        _require(self.restart_factor >= 1, f"restart_factor must be at least 1, got {self.restart_factor}")
        for prefix, factor in self.lr_factors.items():
            number = isinstance(factor, (int, float)) and not isinstance(factor, bool)
            _require(number and 0 < factor < math.inf, f"lr_factors.{prefix} must be positive, got {factor!r}")
        _require(self.patience >= 1, f"patience must be at least 1, got {self.patience}")
        _require(self.early_stopping >= 0, f"early_stopping must not be negative, got {self.early_stopping}")

    def cycle_ends(self) -> tuple[int, ...]:
        """Epochs of the phase, from 1, at whose end a whole cycle of warm_restarts is over; none for other schedules.

        >>> Phase(epochs=9, schedule="warm_restarts", restart_epochs=1, restart_factor=2).cycle_ends()
        (1, 3, 7)
        """
        ends, end, length = [], self.warmup_epochs + self.restart_epochs, self.restart_epochs
        while self.schedule == "warm_restarts" and end < self.epochs + 1e-6:
            if abs(end - round(end)) < 1e-6:  # sums of fractions
                ends.append(round(end))
            length *= self.restart_factor
            end += length
        return tuple(ends)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Lives in the model's own file; what was resolved goes into the checkpoint.

    Attributes:
        phases: Run one after the other.
        batch_size: Images per step.
        loss: cross_entropy or focal (Lin et al. 2017).
        focal_gamma: Exponent of the focal loss.
        label_smoothing: Share of each target spread over all classes (Szegedy et al. 2016).
        class_weights: none, balanced (n / (C n_c)) or sqrt_balanced (its square root), mean 1 over the training set.
        clip_norm: Gradient norm limit; 0 = none.
        ema_decay: Exponential moving average of the weights, evaluated and saved in their place; 0 = none.
        augment: Training-time augmentation.
        init: Run or checkpoint of the same model whose weights to begin with ("" = from scratch).
        teacher: Checkpoint to distil from ("" = none) on the same augmented view (Hinton et al. 2015); of several, with
            commas between them, the mean of their probabilities.
        distill_weight, distill_temperature: Share of the distillation term and its temperature.
        name: "best", or "reference" for the recipe of the project that the model comes from.
        mixup, cutmix: Alpha of the Beta distribution that the share is drawn from, per image; 0 = none. With both, each
            image gets one of the two (Zhang et al. 2018; Yun et al. 2019).
        mix_off: Share of a phase's epochs, at its end and in whole epochs (rounded down), without mixup and cutmix.
        sam_rho: Radius of sharpness-aware minimisation (Foret et al. 2021), twice the cost; 0 = none.
        accumulate: Steps whose gradients are summed up before the weights move: batch_size images in all.
        ferplus_weight: Weight of an auxiliary head that learns the FER+ votes of the training rows (KL); 0 = none. Such
            a net is marked "extra annotation".
        epoch_share: Share of the training split that one epoch sees, another one in each.
        skipped: Names of phases left out on request.
        snapshots: Keep the net at the end of every cycle of the last phase's warm_restarts, each a checkpoint in the
            run's folder snapshots/: the members of a snapshot ensemble (Huang et al. 2017).
    """

    phases: tuple[Phase, ...] = (Phase(),)
    batch_size: int = 128
    loss: str = "cross_entropy"
    label_smoothing: float = 0.1
    class_weights: str = "none"
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    augment: Augment = field(default_factory=Augment)
    init: str = ""
    teacher: str = ""
    distill_weight: float = 0.6
    distill_temperature: float = 3.0
    name: str = "best"
    focal_gamma: float = 2.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_off: float = 0.2
    sam_rho: float = 0.0
    accumulate: int = 1
    ferplus_weight: float = 0.0
    epoch_share: float = 1.0
    skipped: tuple[str, ...] = ()
    snapshots: bool = False

    def __post_init__(self) -> None:
        _require(len(self.phases) >= 1, "a recipe needs at least one phase")
        _one_of("loss", self.loss, LOSSES)
        _one_of("class_weights", self.class_weights, CLASS_WEIGHTS)
        _require(bool(self.teachers) or not self.teacher, f"teacher names no checkpoint, got {self.teacher!r}")
        object.__setattr__(self, "teacher", ",".join(self.teachers))  # however it was written, the same on --resume
        _require(self.batch_size >= 1, f"batch_size must be at least 1, got {self.batch_size}")
        _require(0 <= self.label_smoothing < 1, f"label_smoothing must be 0..1, got {self.label_smoothing}")
        _require(0 <= self.ema_decay < 1, f"ema_decay must be 0..1, got {self.ema_decay}")
        _require(self.clip_norm >= 0, f"clip_norm must not be negative, got {self.clip_norm}")
        _require(0 <= self.distill_weight <= 1, f"distill_weight must be 0..1, got {self.distill_weight}")
        _require(self.distill_temperature > 0, "distill_temperature must be positive")
        for key in ("focal_gamma", "mixup", "cutmix", "sam_rho", "ferplus_weight"):
            _require(getattr(self, key) >= 0, f"{key} must not be negative, got {getattr(self, key)}")
        _require(0 <= self.mix_off <= 1, f"mix_off must be 0..1, got {self.mix_off}")
        _require(self.accumulate >= 1, f"accumulate must be at least 1, got {self.accumulate}")
        _require(
            self.accumulate <= self.batch_size, f"accumulate {self.accumulate} exceeds batch_size {self.batch_size}"
        )
        _require(0 < self.epoch_share <= 1, f"epoch_share must be above 0 and at most 1, got {self.epoch_share}")
        _require(
            not self.snapshots or len(self.phases[-1].cycle_ends()) > 1,
            "snapshots needs a last phase with schedule warm_restarts and two cycles or more that end with an epoch",
        )

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(p.epochs for p in self.phases)

    @property
    def teachers(self) -> tuple[str, ...]:
        """The checkpoints to distil from, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.teacher.split(",") if name.strip()))


@dataclass(frozen=True)
class Preset:
    """A recipe together with the input and the model arguments that belong to it.

    Attributes:
        recipe: How to train.
        input: InputSpec; None = the model's own.
        model_args: Arguments of the model's `build`.
    """

    recipe: Recipe
    input: InputSpec | None = None
    model_args: dict[str, Any] = field(default_factory=dict)
