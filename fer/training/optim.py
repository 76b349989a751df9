"""Optimizers and learning-rate schedules of a phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from fer.errors import ConfigError, unknown_name
from fer.specs import Phase


def trainable(module: nn.Module, freeze: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """Sets `requires_grad` after the phase's frozen parts; returns what moves, by name.

    Raises:
        ConfigError: a part that the net does not have, or nothing left to train.
    """
    known = {name for name, _ in module.named_modules()} | {name for name, _ in module.named_parameters()}
    for prefix in freeze:
        if prefix not in known:
            raise unknown_name("part to freeze", prefix, sorted(n for n, _ in module.named_children()))
    moving = {}
    for name, p in module.named_parameters():
        p.requires_grad_(not any(name == f or name.startswith(f + ".") for f in freeze))
        if p.requires_grad:
            moving[name] = p
    if not moving:
        raise ConfigError(f"freeze = {list(freeze)} leaves nothing to train")
    return moving


def train_mode(module: nn.Module, freeze: tuple[str, ...]) -> None:
    """Training mode, but for frozen parts: their batch-norm statistics stay where they are."""
    module.train()
    parts = dict(module.named_modules())
    for prefix in freeze:
        if prefix in parts:
            parts[prefix].eval()


def build_optimizer(module: nn.Module, phase: Phase, extra: Sequence[nn.Parameter] = ()) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with Nesterov momentum; norms, biases and position embeddings are not decayed.

    Each group's `lr_factor` is what the phase says of its parameters; `extra` ones, outside the net, take 1.

    Raises:
        ConfigError: a part to freeze or to give another rate that the net does not have.
    """
    moving = trainable(module, phase.freeze)
    known = {name for name, _ in module.named_modules()} | {name for name, _ in module.named_parameters()}
    for prefix in phase.lr_factors:
        if prefix not in known:
            raise unknown_name("part in lr_factors", prefix, sorted(n for n, _ in module.named_children()))
    kinds: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, p in moving.items():
        fits = [f for f in phase.lr_factors if name == f or name.startswith(f + ".")]
        factor = phase.lr_factors[max(fits, key=len)] if fits else 1.0
        plain = p.ndim <= 1 or name.endswith(("pos_embed", "cls_token"))
        kinds.setdefault((0.0 if plain else phase.weight_decay, factor), []).append(p)
    for p in extra:
        kinds.setdefault((0.0 if p.ndim <= 1 else phase.weight_decay, 1.0), []).append(p)
    groups = [{"params": p, "weight_decay": decay, "lr_factor": factor} for (decay, factor), p in kinds.items()]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=phase.lr, momentum=0.9, nesterov=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[phase.optimizer]
    return kind(groups, lr=phase.lr)


class Schedule:
    """Learning rate of every step of a phase: a pure function of the step, times the plateau's factor.

    Being a function of the step, it resumes exactly; only ReduceLROnPlateau keeps state.
    """

    def __init__(self, phase: Phase, steps_per_epoch: int):
        self.phase = phase
        self.total = phase.epochs * steps_per_epoch
        self.warmup = round(phase.warmup_epochs * steps_per_epoch)
        dummy = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        mode = {"accuracy": "max", "loss": "min"}[phase.watch]
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(dummy, mode=mode, patience=phase.patience)  # type: ignore[arg-type]
        self.cycle = max(phase.restart_epochs * steps_per_epoch, 1.0)

    def rate(self, step: int) -> float:
        """Learning rate of step 0, 1, ..., total - 1 of the phase."""
        lr, kind = self.phase.lr, self.phase.schedule
        if kind == "one_cycle":  # Smith and Topin 2019: cosine up from lr/25 over 30 %, cosine down to nothing
            rise = max(self.warmup or round(0.3 * self.total), 1)
            if step < rise:
                return lr * (1 + (1 - math.cos(math.pi * step / rise)) / 2 * 24) / 25
            return lr * (1 + math.cos(math.pi * (step - rise) / max(self.total - 1 - rise, 1))) / 2 + 1e-8
        if step < self.warmup:
            return lr * (step + 1) / self.warmup
        if kind == "cosine":
            done = (step - self.warmup) / max(self.total - 1 - self.warmup, 1)
            return lr * (1 + math.cos(math.pi * min(done, 1.0))) / 2 + 1e-8
        if kind == "warm_restarts":  # Loshchilov and Hutter 2017, "SGDR"
            since, length = float(step - self.warmup), self.cycle
            while since >= length:
                since, length = since - length, length * self.phase.restart_factor
            return lr * (1 + math.cos(math.pi * since / length)) / 2 + 1e-8
        return lr * self.plateau.optimizer.param_groups[0]["lr"]

    def epoch_ended(self, score: float) -> None:
        """Tell the plateau the validation score."""
        if self.phase.schedule == "plateau":
            self.plateau.step(score)

    def state_dict(self) -> dict[str, object]:
        """Plain numbers."""
        best = float(self.plateau.best)
        return {
            "factor": self.plateau.optimizer.param_groups[0]["lr"],
            "best": best,
            "bad": self.plateau.num_bad_epochs,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.plateau.optimizer.param_groups[0]["lr"] = state["factor"]
        self.plateau.best = state["best"]
        self.plateau.num_bad_epochs = state["bad"]
