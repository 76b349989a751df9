"""What a model costs: parameters, multiply-adds, time per call, bytes."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fer.inference.predictor import Predictor

BATCHES = (1, 32)
FACE_PX = 48
_SECONDS = 1.5
_LEAST = 5


def cost(predictor: Predictor, checkpoint: Path, with_latency: bool = True) -> dict[str, Any]:
    """parameters, macs, latency_ms and bytes, as in metrics.json.

    Args:
        predictor: On the CPU, where latency is to be measured.
        checkpoint: Folder of its weights.
        with_latency: Measuring takes some 3 s.
    """
    weights = predictor.manifest.weights
    return {
        "parameters": weights.get("parameters"),
        "macs": multiply_adds(predictor),
        "latency_ms": latency(predictor) if with_latency else None,
        "bytes": (checkpoint / Path(str(weights["file"])).name).stat().st_size,
    }


def multiply_adds(predictor: Predictor) -> int | None:
    """Multiply-adds of one face: half the floating-point operations that torch counts in matrix products and
    convolutions (torch.utils.flop_counter). None for a model without a net.
    """
    module = getattr(predictor, "module", None)
    if module is None:
        return None
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    spec = predictor.input_spec
    x = torch.zeros(1, spec.channels, spec.size_px, spec.size_px, device=next(module.parameters()).device)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        module(x)
    return int(counter.get_total_flops()) // 2


def latency(predictor: Predictor) -> dict[str, Any]:
    """Milliseconds per call of `predict_proba`, preprocessing of a 48 px face included, for one face and for 32.

    The fastest of many calls: what other processes take from the CPU only ever adds.

    Returns:
        batch_1, batch_32, threads, cpu and runtime, as in metrics.json.
    """
    rng = np.random.default_rng(0)
    measured = {}
    for n in BATCHES:
        faces = rng.integers(0, 256, (n, FACE_PX, FACE_PX), dtype=np.uint8)
        measured[f"batch_{n}"] = round(1000 * fastest(partial(predictor.predict_proba, faces)), 3)
    return {**measured, "threads": threads(predictor), "cpu": cpu_name(), "runtime": predictor.runtime}


def threads(predictor: Predictor) -> int:
    """Threads that a call may use: torch's for a net, one for a model without."""
    if not hasattr(predictor, "module"):
        return 1
    import torch

    return torch.get_num_threads()


def cpu_name() -> str:
    """The processor's name, for example "AMD EPYC 7B13"."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(named), "") or platform.processor() or platform.machine()


def fastest(call: Callable[[], object]) -> float:
    """Seconds of the fastest call, of as many as fit into 1.5 s and at least five."""
    call()
    best, calls, began = float("inf"), 0, time.perf_counter()
    while calls < _LEAST or time.perf_counter() - began < _SECONDS:
        start = time.perf_counter()
        call()
        best, calls = min(best, time.perf_counter() - start), calls + 1
    return best
