"""The predictor that runs on ONNX Runtime: faster than torch on a CPU, and loaded without torch."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fer import checkpoint, export, models, settings
from fer.errors import CheckpointError, ConfigError, ExportError
from fer.paths import cache_dir
from fer.transforms import Faces, prepare

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fer.inference.predictor import TorchPredictor

_log = logging.getLogger(__name__)


class OnnxPredictor:
    """An exported net on the CPU. May be shared by threads.

    What looks into the net (`fer.explain`) gets the torch module, which is loaded when first asked for; it has the
    checkpoint's own weights, also beside an int8 file.

    Attributes:
        file: The ONNX file.
        precision: fp32 or int8.
        threads: That one call uses.
    """

    runtime = "ONNX Runtime"

    def __init__(self, file: Path, folder: Path, manifest: checkpoint.Manifest, threads: int | None = None):
        """
        Args:
            file: Exported from the checkpoint in `folder`.
            threads: None = as many as torch uses.

        Raises:
            ExportError: damaged, or not made from this checkpoint as it is now.
            ConfigError: onnxruntime is not installed, or no positive number of threads.
        """
        self.threads = _threads(threads)
        try:
            self._session = export.open_session(str(file), self.threads)
        except ImportError as e:
            raise _not_installed(e) from e
        info = export.read_info(self._session.get_modelmeta().custom_metadata_map.get(export.METADATA))
        if not info.fits(manifest):
            raise ExportError(
                f"stale: made from weights {info.checkpoint_sha256[:12]}..., the checkpoint in {folder} has "
                f"{str(manifest.weights.get('sha256'))[:12]}...; export it again with scripts/export_onnx.py"
            )
        self.file, self.folder, self.precision = file, folder, info.precision
        self.manifest = manifest
        self.name = manifest.model
        self.labels = manifest.classes
        self.input_spec = manifest.input
        self.temperature = manifest.temperature

    def predict_proba(self, faces: Faces, batch_size: int = 256) -> np.ndarray:
        """Calibrated probabilities.

        Args:
            faces: uint8 (N, H, W) / (N, H, W, 3), or a sequence of (H, W) / (H, W, 3) of any size, RGB. Not changed.
            batch_size: Faces per run.

        Returns:
            (N, C) float32, rows sum to 1; (0, C) for no faces.

        Raises:
            ImageError: a face that is not uint8 or has an impossible shape.
        """
        out = np.empty((len(faces), len(self.labels)), dtype=np.float32)
        for i in range(0, len(faces), batch_size):
            batch = np.ascontiguousarray(prepare(faces[i : i + batch_size], self.input_spec))
            z = self._session.run([export.OUTPUT], {export.INPUT: batch})[0] / np.float32(self.temperature)
            e = np.exp(z - z.max(axis=1, keepdims=True))
            out[i : i + batch_size] = e / e.sum(axis=1, keepdims=True)
        return out

    @property
    def module(self) -> nn.Module:
        """The torch net that the file was made from, float32, in eval mode."""
        return self._eager.module

    def preprocess(self, faces: Faces) -> torch.Tensor:
        """float32 (N, C, S, S), as `module` takes it."""
        return self._eager.preprocess(faces)

    @cached_property
    def _eager(self) -> TorchPredictor:
        from fer.inference.predictor import TorchPredictor

        module, manifest = checkpoint.load_module(self.folder)
        if manifest.weights != self.manifest.weights:
            raise CheckpointError(f"{self.folder}: holds other weights than when it was loaded; load it again")
        return TorchPredictor(module, manifest)

    def __repr__(self) -> str:
        return f"OnnxPredictor({self.name!r}, {self.input_spec}, {self.precision}, threads={self.threads})"


def load_onnx(folder: Path, precision: str, threads: int | None = None, make: bool = True) -> OnnxPredictor:
    """The exported net of a checkpoint: the file beside it, else the one in the cache, else (fp32) made and cached.

    The cache is `onnx/` in `fer.paths.cache_dir()`; it may be deleted at any time.

    Args:
        precision: fp32 or int8.
        make: False = only a file that is there.

    Raises:
        CheckpointError: absent or damaged checkpoint, even where a file was exported from it before.
        ExportError: no usable file, and none could be made.
        ConfigError: onnxruntime or onnx is not installed.
    """
    manifest = checkpoint.verify(folder)
    beside = folder / export.file_name(precision)
    cached = cache_path(manifest)
    for file in (beside, *([cached] if precision == export.FP32 else [])):
        if not os.path.isfile(file):  # Path.is_file() raises below a folder that may not be entered
            continue
        try:
            return OnnxPredictor(file, folder, manifest, threads)
        except ExportError as e:
            _log.warning("%s is ignored: %s", file, e)
    if precision == export.FP32 and make:
        _make(folder, cached)
        return OnnxPredictor(cached, folder, manifest, threads)
    how = " --int8 --data fer2013" if precision == export.INT8 else ""
    raise ExportError(
        f"{folder}: there is no usable {precision} export; make one with: "
        f"python scripts/export_onnx.py{how} --model {manifest.model}, or use backend 'torch'"
    )


def cache_path(manifest: checkpoint.Manifest) -> Path:
    """Where the float32 export of a checkpoint is kept: elsewhere for other weights, and for other code of the nets."""
    made_from = [export.SCHEMA, manifest.weights.get("sha256"), manifest.model_args, settings.to_dict(manifest.input)]
    digest = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode())
    for file in sorted(Path(str(models.__file__)).parent.glob("*.py")):
        digest.update(file.read_bytes())
    return cache_dir() / "onnx" / f"{manifest.model}-{digest.hexdigest()[:16]}.onnx"


def _make(folder: Path, file: Path) -> None:
    _log.info("exporting %s to %s, once", folder, file)
    try:
        data, _ = export.export_fp32(folder)
    except ImportError as e:
        raise _not_installed(e) from e
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=file.parent) as own:  # other processes may be doing the same just now
            part = Path(own) / file.name
            part.write_bytes(data)
            os.replace(part, file)
    except OSError as e:
        raise ExportError(f"{file}: the export cannot be written ({e.strerror or e}); set FER_CACHE") from e


def _not_installed(error: ImportError) -> ConfigError:
    return ConfigError(
        f"the ONNX backends need the package {error.name}: python -m pip install onnx onnxruntime; "
        "or use backend 'torch'"
    )


def _threads(wanted: int | None) -> int:
    if wanted is not None:
        if wanted < 1:
            raise ConfigError(f"threads must be at least 1, got {wanted}")
        return wanted
    if "torch" in sys.modules:
        return int(sys.modules["torch"].get_num_threads())
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():  # what torch goes by
        return max(int(os.environ["OMP_NUM_THREADS"]), 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
