"""Time every backend of a checkpoint on the CPU, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np

from fer import checkpoint, export
from fer.errors import ConfigError, ExportError
from fer.evaluation.speed import BackendSpeed, SpeedReport
from fer.inference import Predictor, load
from fer.scoring.cost import BATCHES, FACE_PX, cpu_name, fastest

ROUNDS = 3


def measure(names: Sequence[str | Path]) -> SpeedReport:
    """Milliseconds of `predict_proba` for one face and for 32: torch, ONNX Runtime, and there the 8-bit file.

    All of them use as many threads as torch does (`torch.set_num_threads`).

    Each time is the fastest call of all rounds: what other processes take from the CPU only ever adds. The backends
    take turns, so that a slow minute of the machine does not fall on one of them.

    Args:
        names: Models with a checkpoint, or folders of checkpoints. One that is no net is left out.

    Raises:
        ConfigError: no net among them, or onnxruntime is not installed.
        CheckpointError: absent or damaged checkpoint.
    """
    import onnxruntime
    import torch

    folders = [checkpoint.find(name) for name in names]
    nets = [f for f in folders if not checkpoint.read_manifest(f).classical]
    if not nets:
        raise ConfigError("none of these models is a net; only nets run on more than one backend")
    rows = []
    for folder in nets:
        manifest = checkpoint.read_manifest(folder)
        predictors: dict[str, Predictor] = {b: load(folder, backend=b) for b in ("torch", "onnx")}
        with suppress(ExportError):  # there is no 8-bit file of it
            predictors["onnx-int8"] = load(folder, backend="onnx-int8")
        times = _in_turns(predictors)
        rows.append(
            BackendSpeed(
                manifest.model,
                str(manifest.weights["sha256"]),
                times["torch"],
                times["onnx"],
                times.get("onnx-int8"),
                _int8_file(folder / export.file_name(export.INT8)) if "onnx-int8" in times else None,
            )
        )
    versions = {"torch": torch.__version__.partition("+")[0], "onnxruntime": onnxruntime.__version__}
    return SpeedReport(cpu_name(), torch.get_num_threads(), versions, tuple(rows))


def _in_turns(predictors: dict[str, Predictor]) -> dict[str, dict[str, float]]:
    rng = np.random.default_rng(0)
    best: dict[str, dict[str, float]] = {b: {} for b in predictors}
    for n in BATCHES:
        faces = rng.integers(0, 256, (n, FACE_PX, FACE_PX), dtype=np.uint8)
        for _ in range(ROUNDS):
            for name, predictor in predictors.items():
                ms = round(1000 * fastest(partial(predictor.predict_proba, faces)), 3)
                best[name][f"batch_{n}"] = min(ms, best[name].get(f"batch_{n}", ms))
    return best


def _int8_file(path: Path) -> dict[str, float]:
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    accuracy = told.get("accuracy", {})
    return {"bytes": path.stat().st_size} | {k: accuracy[k] for k in ("fp32", "int8") if k in accuracy}
