"""Which device to run on, and how its memory is kept."""

from __future__ import annotations

import ctypes
import sys

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


# of mallopt(3): free bytes at the heap's end that are kept; number of blocks that may be maps of their own
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> bool:
    """Tell glibc to keep what this process frees, for its next request. For programs that train, before they do.

    A training step on the CPU frees and takes the same hundreds of megabytes again and again; given back to the kernel,
    every page has to be fetched and zeroed anew, which makes a step longer.

    Returns:
        Whether it was done; only glibc knows how.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has none
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
