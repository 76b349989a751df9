"""What training says while it runs. Listeners are callables that take one event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunStarted:
    """A run begins or continues; `first_epoch` is above 1 after --resume."""

    model: str
    run: Path
    parameters: int
    device: str
    epochs: int
    first_epoch: int
    n_train: int
    n_val: int


@dataclass(frozen=True)
class PhaseStarted:
    """A phase begins; epochs are counted over all phases, from 1."""

    name: str
    first_epoch: int
    epochs: int
    trainable: int


@dataclass(frozen=True)
class StepEnded:
    """Progress within an epoch, every 20 steps and at its end; loss and accuracy are running means of the epoch."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images: int
    images_per_second: float


@dataclass(frozen=True)
class EpochEnded:
    """Figures of one epoch; validation figures are of the weights that would be saved (EMA where it is on)."""

    phase: str
    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    lr: float
    images_per_second: float
    seconds: float
    best: bool


@dataclass(frozen=True)
class RunEnded:
    """The checkpoint of the best epoch is written."""

    run: Path
    best_epoch: int
    val_accuracy: float
    seconds: float
    stopped_early: bool


Event = RunStarted | PhaseStarted | StepEnded | EpochEnded | RunEnded
Listener = Callable[[Event], None]
