"""Which device to run on."""

from __future__ import annotations

import torch

from fer.errors import ConfigError


def pick_device(name: str = "auto") -> torch.device:
    """auto = CUDA, else Apple's MPS, else the CPU.

    Raises:
        ConfigError: a device that this machine or this build of torch does not have.
    """
    have = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(d for d in ("cuda", "mps", "cpu") if have[d])
    if name not in have:
        raise ConfigError(f"device must be auto, cuda, mps or cpu, got {name!r}")
    if not have[name]:
        raise ConfigError(f"device {name!r} is not available to this build of torch; use --device auto or cpu")
    return torch.device(name)
