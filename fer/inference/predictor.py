"""One predictor interface, whatever runs underneath."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from fer import checkpoint, hub
from fer.errors import ConfigError, ExportError, unknown_name
from fer.labels import LabelSet
from fer.paths import checkpoints_dir
from fer.specs import InputSpec
from fer.transforms import Faces, normalise, prepare

if TYPE_CHECKING:
    import torch
    from torch import nn

_log = logging.getLogger(__name__)


class Predictor(Protocol):
    """Faces in, calibrated probabilities out.

    Attributes:
        name: Model name (key of MODELS).
        labels: Classes, in the order of the columns.
        input_spec: Preprocessing.
        manifest: Everything else about the checkpoint.
        temperature: Already applied to the probabilities.
        runtime: The library that computes.
    """

    name: str
    labels: LabelSet
    input_spec: InputSpec
    manifest: checkpoint.Manifest
    temperature: float
    runtime: str

    def predict_proba(self, faces: Faces) -> np.ndarray:
        """(N, C) float32, rows sum to 1."""
        ...


class TorchPredictor:
    """A torch net in eval mode.

    Attributes:
        module: The net, float32.
    """

    runtime = "torch"

    def __init__(self, module: nn.Module, manifest: checkpoint.Manifest, device: str = "cpu"):
        import torch

        from fer.device import pick_device

        self.device = pick_device(device)
        self.module = module.eval().to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.manifest = manifest
        self.name = manifest.model
        self.labels = manifest.classes
        self.input_spec = manifest.input
        self.temperature = manifest.temperature

    def preprocess(self, faces: Faces) -> torch.Tensor:
        """float32 (N, C, S, S) on the device, as the net takes it.

        Args:
            faces: uint8 (N, H, W) / (N, H, W, 3), or a sequence of (H, W) / (H, W, 3) of any size, RGB.
        """
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(prepare(faces, self.input_spec)))
        x = normalise(batch.to(self.device), self.input_spec)
        return x.contiguous(memory_format=torch.channels_last)

    def predict_proba(self, faces: Faces, batch_size: int = 256) -> np.ndarray:
        """Calibrated probabilities.

        Args:
            faces: As for `preprocess`. The arrays are not changed.
            batch_size: Faces per forward pass.

        Returns:
            (N, C) float32, rows sum to 1; (0, C) for no faces.

        Raises:
            ImageError: a face that is not uint8 or has an impossible shape.
        """
        import torch

        out = np.empty((len(faces), len(self.labels)), dtype=np.float32)
        with torch.inference_mode():
            for i in range(0, len(faces), batch_size):
                logits = self.module(self.preprocess(faces[i : i + batch_size])).float()
                out[i : i + batch_size] = torch.softmax(logits / self.temperature, dim=1).cpu().numpy()
        return out

    def __repr__(self) -> str:
        return f"TorchPredictor({self.name!r}, {self.input_spec}, device={str(self.device)!r})"


def _torch(folder: Path, device: str, threads: int | None) -> Predictor:
    if checkpoint.read_manifest(folder).classical:
        from fer.inference.classical import ClassicalPredictor

        return ClassicalPredictor(*checkpoint.load_estimator(folder), device)
    return TorchPredictor(*checkpoint.load_module(folder), device)


def _onnx(folder: Path, device: str, threads: int | None, precision: str = "fp32") -> Predictor:
    if checkpoint.read_manifest(folder).classical:
        raise ConfigError(f"{folder} holds no net and cannot be exported; use backend 'auto'")
    if device not in ("cpu", "auto"):
        raise ConfigError(f"the ONNX backends run on the CPU, got device {device!r}; use backend 'torch' or device cpu")
    from fer.inference.onnx import load_onnx

    return load_onnx(folder, precision, threads)


def _onnx_int8(folder: Path, device: str, threads: int | None) -> Predictor:
    return _onnx(folder, device, threads, "int8")


def _found(device: str) -> str:
    """The device that "auto" stands for on this machine; any other name as it is."""
    if device != "auto":
        return device
    from fer.device import pick_device

    return pick_device(device).type


def _auto(folder: Path, device: str, threads: int | None) -> Predictor:
    device = _found(device)
    if device != "cpu" or checkpoint.read_manifest(folder).classical:
        return _torch(folder, device, threads)
    from fer.inference.onnx import load_onnx

    stays = hub.is_cached(folder) or folder.resolve().parent == checkpoints_dir().resolve()
    try:
        return load_onnx(folder, "fp32", threads, make=stays)
    except (ExportError, ConfigError) as e:
        _log.log(logging.WARNING if stays else logging.DEBUG, "%s runs on torch: %s", folder.name, e)
        return _torch(folder, device, threads)


def _fastest(folder: Path, device: str, threads: int | None) -> Predictor:
    """The 8-bit file where one is there, on the CPU; else as "auto"."""
    from fer import export

    device = _found(device)
    if device == "cpu" and (folder / export.file_name(export.INT8)).is_file():
        try:
            return _onnx_int8(folder, device, threads)
        except (ExportError, ConfigError) as e:
            _log.warning("%s: the 8-bit file is not used: %s", folder.name, e)
    return _auto(folder, device, threads)


BACKENDS: dict[str, Callable[[Path, str, int | None], Predictor]] = {
    "auto": _auto,
    "torch": _torch,
    "onnx": _onnx,
    "onnx-int8": _onnx_int8,
    "fastest": _fastest,
}


def load(
    name_or_path: str | Path = "attention_cnn", device: str = "cpu", backend: str = "auto", threads: int | None = None
) -> Predictor:
    """The predictor of a bundled model or of a checkpoint folder.

        fer.load("attention_cnn").predict_proba(faces)

    Args:
        name_or_path: Name from `fer.list_models()` with a checkpoint, path of a checkpoint, or "hf:NAME/repo" on the
            Hugging Face Hub, with "@revision" behind it for a branch, tag or commit.
        device: cpu (default), cuda, mps or auto (an accelerator where there is one, else the CPU). `hog_svm` always
            runs on the CPU.
        backend: "torch" (`hog_svm`: scikit-learn), "onnx" (ONNX Runtime on the CPU, probabilities within 1e-4 of
            torch's; the export is made and cached on first use), "onnx-int8" (a bundled export; faster still, at most
            0.3 points of accuracy lost on validation) or "auto": "onnx" on the CPU for bundled and published models and
            wherever a float32 export is there already, "torch" otherwise. Never int8 unasked: published scores are
            float32's. "fastest" is int8 on the CPU where there is such a file and "auto" elsewhere; moving pictures
            use it.
        threads: Of ONNX Runtime; None = as many as torch uses.

    Raises:
        ConfigError: unknown model or backend; names the nearest one. Or a device that is not there, or one that the
            backend cannot use.
        CheckpointError: absent, damaged, foreign or newer checkpoint.
        HubError: a repository that cannot be had.
        ExportError: no usable ONNX file for a backend that was asked for by name.
    """
    if backend not in BACKENDS:
        raise unknown_name("backend", backend, BACKENDS)
    return BACKENDS[backend](checkpoint.find(name_or_path), device, threads)
