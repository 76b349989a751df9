"""Several processes that train one net together, started by torchrun or accelerate launch."""

from __future__ import annotations

import atexit
import logging
import os
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from fer.device import pick_device
from fer.errors import ConfigError
from fer.torchvision_repair import import_repaired

T = TypeVar("T")
log = logging.getLogger(__name__)

# where torchrun and the kinds of MPI say how many processes there are
_SIZES = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")

# how long processes wait for the one that fits a model without a net, or downloads weights
_PATIENCE = timedelta(hours=2)


@cache
def _leave_at_exit() -> None:
    """Processes on the CPU talk through threads: one that puts its last work away while Python ends aborts it all."""

    def leave() -> None:
        if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
            torch.distributed.destroy_process_group()
            time.sleep(0.5)  # they need the interpreter for that

    atexit.register(leave)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: 0 for the one that writes files and reports.
        count: How many there are.
        device: Where this one computes.
    """

    rank: int
    count: int
    device: torch.device

    @classmethod
    def join(cls, device: str = "auto") -> Processes:
        """What the launcher's environment says; a plain start is one process.

        Raises:
            ConfigError: a device that is not there, or several processes that cannot work together.
        """
        on_cpu_only = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1")  # accelerate launch --cpu
        chosen = pick_device("cpu" if device == "auto" and on_cpu_only else device)
        asked = max(int(os.environ.get(name) or 1) for name in _SIZES)
        if asked < 2:
            if on_cpu_only and "MASTER_ADDR" in os.environ:
                log.warning(
                    "one process trains: on CPUs accelerate launch starts several through mpirun only "
                    "(--mpirun_hostfile); torchrun --nproc-per-node N needs no mpirun"
                )
            return cls(0, 1, chosen)
        try:
            from accelerate import PartialState
        except ImportError as e:
            raise ConfigError(f"{asked} processes need the package accelerate: python -m pip install accelerate") from e

        on_cpu = chosen.type == "cpu"
        try:
            state = PartialState(cpu=on_cpu, timeout=_PATIENCE)
        except ValueError as e:
            raise ConfigError(f"{asked} processes cannot train together: {e}") from e
        _leave_at_exit()
        if state.num_processes != asked:
            raise ConfigError(
                f"{asked} processes were started, and on {chosen.type} they cannot find each other; start them with "
                "torchrun, and without CUDA with --device cpu"
            )
        return cls(state.process_index, state.num_processes, chosen if on_cpu else state.device)

    @property
    def title(self) -> str:
        """What computes, in words: "cpu, 2 threads", or "4 x " and the name of the GPU."""
        if self.device.type == "cuda":
            title = torch.cuda.get_device_name()
        elif self.device.type == "cpu":
            n = torch.get_num_threads()
            title = f"cpu, {n} thread{'s' if n > 1 else ''}"
        else:
            title = self.device.type
        return title if self.count == 1 else f"{self.count} x {title}"

    @property
    def main(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """The net on this process's device; its batch norms take their statistics over all processes."""
        if self.count > 1 and self.device.type == "cuda":
            module = import_repaired("timm.layers").convert_sync_batchnorm(module)
        elif self.count > 1:
            for part in module.modules():
                if isinstance(part, nn.modules.batchnorm._BatchNorm):
                    part.__class__ = type(f"Synced{type(part).__name__}", (_CpuSync, type(part)), {})
        return module.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def wrap(self, module: nn.Module) -> nn.Module:
        """What to call in training: gradients become the mean over all processes."""
        if self.count == 1 or not any(p.requires_grad for p in module.parameters()):
            return module
        index = [self.device.index] if self.device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=index)

    def quiet(self, module: nn.Module, last: bool) -> AbstractContextManager[object]:
        """Gradients of all but the last part of a step stay here; they travel together with the last."""
        return nullcontext() if last or not hasattr(module, "no_sync") else module.no_sync()  # type: ignore[operator]

    def share(self, index: np.ndarray) -> np.ndarray:
        """This process's part of a global batch."""
        return np.array_split(index, self.count)[self.rank]

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        return _summed(values) if self.count > 1 else values

    def agreed(self, value: T) -> T:
        """What the main process says (plain Python objects)."""
        if self.count == 1:
            return value
        box = [value]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, value: T) -> list[T]:
        """What every process says, in the order of their ranks."""
        if self.count == 1:
            return [value]
        box: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(box, value)
        return box


class _Sum(torch.autograd.Function):
    """Sum over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: object, values: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return _summed(values)

    @staticmethod
    def backward(ctx: object, grad: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return _summed(grad)


def _summed(values: torch.Tensor) -> torch.Tensor:
    values = values.clone()
    torch.distributed.all_reduce(values)
    return values


class _CpuSync(nn.modules.batchnorm._BatchNorm):
    """What torch's SyncBatchNorm does on GPUs, for processes that train on CPUs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        over = [0, *range(2, x.ndim)]
        shape = [1, -1, *[1] * (x.ndim - 2)]
        count = x.new_full((1,), x.numel() / x.shape[1])
        sums = _Sum.apply(torch.cat([x.sum(over), count]))
        n = sums[-1]
        mean = sums[:-1] / n
        off = x - mean.view(shape)
        variance = _Sum.apply((off * off).sum(over)) / n
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                assert self.num_batches_tracked is not None
                self.num_batches_tracked.add_(1)
                factor = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, factor)
                self.running_var.lerp_(variance * n / (n - 1).clamp(min=1), factor)
        y = off * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        for extra in ("drop", "act"):  # timm's BatchNormAct2d
            y = getattr(self, extra)(y) if hasattr(self, extra) else y
        return y
