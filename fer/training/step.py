"""One move of the weights: loss, gradient, clipping, mixed precision, accumulation, SAM, distillation, votes, EMA."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from fer.errors import ConfigError
from fer.specs import Recipe
from fer.torchvision_repair import import_repaired
from fer.training.earlier import Teachers
from fer.training.losses import LOSSES, distillation
from fer.training.processes import Processes
from fer.training.sharpness import at_worst_point
from fer.training.votes import WithVotes, votes_loss

log = logging.getLogger(__name__)


def half_precision(device: torch.device, amp: bool | None = None) -> torch.dtype | None:
    """What mixed precision computes in on a device; None = it computes in float32.

    Args:
        amp: True = bfloat16 where the device computes in it, else float16; never on the CPU. False = float32.
            None = bfloat16 where the device computes in it, else float32.
    """
    if amp is False or device.type == "cpu":
        return None
    # cards before Ampere only emulate bfloat16, slowly
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16
    return torch.float16 if amp else None


class Stepper:
    """Moves a net's weights by one global batch at a time.

    Args:
        module: The net, on its device.
        n_classes: Columns of the targets that are classes; any others are FER+ votes.
        n_votes: Columns of the targets after the classes.
        amp: Mixed precision, see `half_precision`; float16 with loss scaling.
        compiled: The net's passes are compiled (torch.compile); where that fails it trains as it is.

    Attributes:
        judged: What is evaluated and saved: the EMA where the recipe has one, else the net itself.
        precision: "float32", "bfloat16" or "float16".
    """

    def __init__(
        self,
        module: nn.Module,
        recipe: Recipe,
        n_classes: int,
        n_votes: int,
        weights: torch.Tensor | None,
        teacher: Teachers | None,
        processes: Processes,
        amp: bool | None = None,
        compiled: bool = False,
    ):
        self.module, self.recipe, self.teacher, self.processes = module, recipe, teacher, processes
        self.n_classes, self.weights = n_classes, weights
        device = processes.device
        self.ema = None
        if recipe.ema_decay:  # a copy, made before any hook is set
            utils = import_repaired("timm.utils")
            self.ema = utils.ModelEmaV3(module, decay=recipe.ema_decay, use_warmup=True)
        if compiled:  # in place: the names of the weights stay, and a copy of the net is not compiled
            torch._dynamo.config.suppress_errors = True  # no compiler here, say
            module.compile()
        # what gradients flow through: the net, or the net with a head for the votes
        self.learner: nn.Module = WithVotes(module, n_classes, n_votes).to(device) if n_votes else module
        self.calls = self.learner
        self.scaler, self.half = None, half_precision(device, amp)
        if self.half == torch.float16:
            if recipe.sam_rho:
                raise ConfigError("sam_rho needs full precision or bfloat16; leave --amp out")
            self.scaler = torch.amp.GradScaler(device.type)
        if amp and self.half is None:
            log.warning("mixed precision is for CUDA and MPS; training in float32 on the CPU")
        self.precision = str(self.half or torch.float32).removeprefix("torch.")
        self.count = 0

    @property
    def extra(self) -> list[nn.Parameter]:
        """What is trained beside the net."""
        return list(self.learner.votes.parameters()) if isinstance(self.learner, WithVotes) else []

    @property
    def judged(self) -> nn.Module:
        return self.ema.module if self.ema is not None else self.module

    def begin_phase(self) -> None:
        """After parameters were frozen or thawed."""
        self.calls = self.processes.wrap(self.learner)

    def step(
        self, x: torch.Tensor, y: torch.Tensor, share: float, optimizer: torch.optim.Optimizer
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One step.

        Args:
            x, y: This process's views (N, C, S, S) and targets (N, n_classes + n_votes).
            share: N times the number of processes over the global batch: what this process's mean counts.

        Returns:
            Mean loss and number of hits of this process's part, detached.
        """
        r = self.recipe
        optimizer.zero_grad(set_to_none=True)
        loss, hits = self._backward(x, y, share)
        if r.sam_rho:
            with at_worst_point(self.learner, r.sam_rho):
                self._backward(x, y, share)
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)
        if r.clip_norm:
            nn.utils.clip_grad_norm_((p for p in self.learner.parameters() if p.requires_grad), r.clip_norm)
        if self.scaler is not None:
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()
        self.count += 1
        if self.ema is not None:
            self.ema.update(self.module, step=self.count)
        return loss, hits

    def _backward(self, x: torch.Tensor, y: torch.Tensor, share: float) -> tuple[torch.Tensor, torch.Tensor]:
        n = self.recipe.accumulate  # exactly as many parts in every process
        parts = list(zip(torch.tensor_split(x, n), torch.tensor_split(y, n), strict=True))
        losses, hits = [], []
        for i, (part_x, part_y) in enumerate(parts):
            with self.processes.quiet(self.calls, last=i == len(parts) - 1):
                with self._autocast():
                    loss, right = self._loss(part_x, part_y)
                loss = loss * (len(part_x) / len(x))
                whole = loss * share
                (self.scaler.scale(whole) if self.scaler is not None else whole).backward()
            losses.append(loss.detach())
            hits.append(right)
        return torch.stack(losses).sum(), torch.stack(hits).sum()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self.processes.device.type, dtype=self.half) if self.half else nullcontext()

    def _loss(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        r = self.recipe
        y, votes = y[:, : self.n_classes], y[:, self.n_classes :]
        out = self.calls(x)
        logits, vote_logits = out if votes.shape[1] else (out, None)
        loss = LOSSES[r.loss](r)(logits, y, self.weights, r.label_smoothing)
        if self.teacher is not None:
            soft = distillation(logits, self.teacher(x), r.distill_temperature)
            loss = (1 - r.distill_weight) * loss + r.distill_weight * soft
        if vote_logits is not None:
            loss = loss + r.ferplus_weight * votes_loss(vote_logits, votes)
        return loss, (logits.detach().argmax(1) == y.argmax(1)).sum()

    def state_dict(self) -> dict[str, object]:
        """Everything but the optimizer."""
        return {
            "module": self.module.state_dict(),
            "ema": self.ema.module.state_dict() if self.ema is not None else None,
            "votes": self.learner.votes.state_dict() if isinstance(self.learner, WithVotes) else None,
            "scaler": self.scaler.state_dict() if self.scaler is not None else None,
            "count": self.count,
        }

    def load_state_dict(self, state: dict) -> None:  # type: ignore[type-arg]
        """Inverse of `state_dict`."""
        self.module.load_state_dict(state["module"])
        if self.ema is not None:
            self.ema.module.load_state_dict(state["ema"])
        if isinstance(self.learner, WithVotes):
            self.learner.votes.load_state_dict(state["votes"])
        if self.scaler is not None and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        self.count = state["count"]
