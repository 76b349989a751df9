"""Nets as ONNX files: pixels in, logits out; float32, and int8 where that costs next to no accuracy.

The net takes uint8 pixels of its InputSpec's size and normalises them itself; whoever runs it needs no other knowledge
than what stands in the file's metadata. Temperature is left to the reader: probabilities are softmax(logits / T).
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer import checkpoint, settings
from fer.errors import ConfigError, ExportError
from fer.judge import Judge
from fer.specs import InputSpec
from fer.transforms import Faces, normalise, prepare

if TYPE_CHECKING:
    import onnx
    import onnxruntime
    from torch import nn

FP32, INT8 = "fp32", "int8"
INPUT, OUTPUT = "faces", "logits"
METADATA = "fer"
FORMAT = "fer-export"
SCHEMA = 1
MAX_LOSS = 0.003
TOLERANCE = 1e-4
N_CALIBRATION = 512
_OPSET = 17
_INT8_OPS = ["Conv", "Gemm", "MatMul", "Relu", "MaxPool", "Add"]

_log = logging.getLogger(__name__)
_tracing = threading.Lock()  # torch's exporter keeps its settings in globals


@dataclass(frozen=True)
class ExportInfo:
    """What an exported file says of itself, in its metadata and in the JSON beside it.

    Attributes:
        model, label_set, labels, input, temperature: As in the checkpoint's manifest; labels in order of the logits.
        checkpoint_sha256: SHA-256 of the weights that it was made from.
        precision: fp32 or int8.
        accuracy: Measured on a validation split: data, split, title, n, and accuracies (0..1) of torch, fp32 and, in an
            int8 file, int8. Empty where none was at hand.
    """

    model: str
    label_set: str
    labels: tuple[str, ...]
    input: InputSpec
    temperature: float
    checkpoint_sha256: str
    precision: str = FP32
    accuracy: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, with format and schema version."""
        return {"format": FORMAT, "schema": SCHEMA} | settings.to_dict(self)

    def fits(self, manifest: checkpoint.Manifest) -> bool:
        """Whether the file was made from the checkpoint with this manifest, as it is now."""
        return (self.checkpoint_sha256, self.labels, self.input, self.model) == (
            manifest.weights.get("sha256"),
            manifest.labels,
            manifest.input,
            manifest.model,
        )


def read_info(text: str | None) -> ExportInfo:
    """The ExportInfo of a file's metadata property `METADATA`.

    Raises:
        ExportError: absent, damaged or of a newer version.
    """
    try:
        raw = json.loads(text or "")
        if raw.pop("format") != FORMAT or raw.pop("schema") > SCHEMA:
            raise ExportError("the file's metadata are of another kind or of a newer version of fer")
        return settings.from_dict(ExportInfo, raw)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, ConfigError) as e:
        raise ExportError(f"the file's metadata are not those of an export of fer ({e})") from e


def file_name(precision: str) -> str:
    """Name of an export that lies beside its checkpoint.

    >>> file_name(INT8)
    'model.int8.onnx'
    """
    return f"model.{precision}.onnx"


def export_fp32(name_or_path: str | Path, judge: Judge | None = None) -> tuple[bytes, ExportInfo]:
    """A checkpoint as a float32 ONNX file, compared with the net it comes from.

    Args:
        judge: Also measure accuracy.

    Returns:
        The file's bytes and what stands in its metadata.

    Raises:
        ConfigError: a model without a torch net.
        CheckpointError: absent or damaged checkpoint.
        ExportError: an operation that ONNX lacks, or probabilities that differ by more than 1e-4.
    """
    import torch

    module, manifest = checkpoint.load_module(name_or_path)
    net = _pixels_to_logits(module, manifest.input)
    model = _trace(net, manifest)
    runner = _Runner(model.SerializeToString())

    def eager(faces: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(np.ascontiguousarray(faces))).numpy()

    probe = np.random.default_rng(0).integers(0, 256, (5, *_shape(manifest.input)), dtype=np.uint8)
    for faces in (probe, probe[:1]):  # a net that was traced for one batch size only shows here
        gap = _distance(eager(faces), runner(faces), manifest.temperature)
        if not gap <= TOLERANCE:
            raise ExportError(
                f"{manifest.model}: the ONNX file's probabilities differ by {gap:.2g} from the net's, at most "
                f"{TOLERANCE:g} is allowed; use backend 'torch'"
            )
    accuracy: dict[str, Any] = {}
    if judge is not None:
        accuracy = dict(judge.source) | {"n": len(judge.labels)}
        accuracy |= {"torch": judge.accuracy_of(module, manifest.input), FP32: judge.accuracy(runner, manifest.input)}
    info = ExportInfo(
        manifest.model,
        manifest.label_set,
        manifest.labels,
        manifest.input,
        manifest.temperature,
        str(manifest.weights["sha256"]),
        accuracy=accuracy,
    )
    return _stamped(model, info), info


def export_int8(fp32: bytes, info: ExportInfo, calibration: Faces, judge: Judge) -> tuple[bytes, ExportInfo]:
    """The same net with 8-bit weights: static for convolutional nets, dynamic for transformers.

    Weights keep 7 bits, so that processors without VNNI instructions do not overflow.

    Args:
        fp32, info: From `export_fp32`, with the same judge.
        calibration: uint8 faces of the *training* split; they decide the ranges of a static quantisation.
        judge: Measures what it costs.

    Raises:
        ExportError: it loses more than 0.3 points of accuracy; nothing is to be written then.
    """
    with _silence(), tempfile.TemporaryDirectory() as folder:
        data = _quantised(fp32, prepare(calibration, info.input), Path(folder))
    import onnx

    got = judge.accuracy(_Runner(data), info.input)
    lost = info.accuracy["torch"] - got
    _log.info("%s int8: accuracy %.4f, %.4f less than float32", info.model, got, lost)
    if not lost <= MAX_LOSS:
        before = info.accuracy["torch"]
        raise ExportError(
            f"{info.model}: int8 loses {100 * lost:.2f} points of accuracy on {judge.source['title']} "
            f"({100 * before:.2f} -> {100 * got:.2f}): refused, at most {100 * MAX_LOSS:.1f} are allowed"
        )
    info = replace(info, precision=INT8, accuracy=info.accuracy | {INT8: got})
    return _stamped(onnx.load_model_from_string(data), info), info


def write(data: bytes, info: ExportInfo, path: Path) -> Path:
    """Write an export and its JSON, each in one piece; the JSON adds the file's own SHA-256."""
    card = info.to_json() | {"file": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    checkpoint.write_atomic(path, data)
    checkpoint.write_atomic(path.with_suffix(".json"), (json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode())
    return path


def open_session(model: str | bytes, threads: int = 0) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU.

    Args:
        model: Path or bytes of a file.
        threads: 0 = ONNX Runtime decides.

    Raises:
        ExportError: not a file that it can run.
        ImportError: onnxruntime is not installed.
    """
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # threads that wait by spinning take the cores from every other session and from the camera
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    own = tuple(e for e in vars(state).values() if isinstance(e, type) and issubclass(e, Exception))
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except own as e:  # they have no base class of their own
        raise ExportError(f"not a file that ONNX Runtime {ort.__version__} can run ({str(e).splitlines()[0]})") from e


class _Runner:
    """Prepared faces in, logits out, through ONNX Runtime."""

    def __init__(self, data: bytes):
        self.session = open_session(data)

    def __call__(self, faces: np.ndarray) -> np.ndarray:
        return self.session.run([OUTPUT], {INPUT: np.ascontiguousarray(faces)})[0]


def _pixels_to_logits(module: nn.Module, spec: InputSpec) -> nn.Module:
    from torch import nn

    class PixelsToLogits(nn.Module):
        """uint8 (N, S, S) or (N, S, S, 3) -> (N, C)."""

        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, faces):  # type: ignore[no-untyped-def]
            return self.module(normalise(faces, spec))

    return PixelsToLogits().eval()


def _shape(spec: InputSpec) -> tuple[int, ...]:
    return (spec.size_px, spec.size_px) + ((3,) if spec.channels == 3 else ())


def _trace(net: nn.Module, manifest: checkpoint.Manifest) -> onnx.ModelProto:
    """The net's graph, with a free batch size."""
    import onnx
    import torch

    faces = torch.zeros((2, *_shape(manifest.input)), dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as folder, _tracing, _silence():
        path = Path(folder) / "net.onnx"
        try:
            # The tracing exporter: on these nets it gives the same numbers as dynamo=True in a tenth of its time (0.3
            # to 2.4 s), and the first use waits for it.
            torch.onnx.export(
                net,
                (faces,),
                str(path),
                dynamo=False,
                opset_version=_OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
            )
        except (RuntimeError, ValueError, TypeError) as e:  # torch's own export errors are RuntimeErrors
            reason = (str(e).strip() or type(e).__name__).splitlines()[0]
            raise ExportError(f"{manifest.model} cannot be written as ONNX ({reason}); use backend 'torch'") from e
        return onnx.load_model(str(path))


def _quantised(fp32: bytes, faces: np.ndarray, folder: Path) -> bytes:
    import onnx
    from onnxruntime import quantization as q
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(q.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter([{INPUT: np.ascontiguousarray(faces[i : i + 64])} for i in range(0, len(faces), 64)])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    ready, out = folder / "ready.onnx", folder / "int8.onnx"
    quant_pre_process(onnx.load_model_from_string(fp32), str(ready), skip_symbolic_shape=True)
    how: dict[str, Any] = {"per_channel": True, "reduce_range": True, "weight_type": q.QuantType.QInt8}
    if _is_transformer(onnx.load_model(str(ready)).graph):
        q.quantize_dynamic(str(ready), str(out), op_types_to_quantize=["MatMul", "Gemm"], **how)
    else:
        how |= {"quant_format": q.QuantFormat.QDQ, "activation_type": q.QuantType.QUInt8}
        q.quantize_static(str(ready), str(out), Reader(), op_types_to_quantize=_INT8_OPS, **how)
    return out.read_bytes()


def _is_transformer(graph: onnx.GraphProto) -> bool:
    """It has softmax attention, and convolutions hold less than half of its weights."""
    size = {t.name: math.prod(t.dims) for t in graph.initializer}
    in_convolutions = sum(size.get(i, 0) for node in graph.node if node.op_type == "Conv" for i in node.input)
    return any(node.op_type == "Softmax" for node in graph.node) and in_convolutions < sum(size.values()) / 2


def _stamped(model: onnx.ModelProto, info: ExportInfo) -> bytes:
    import onnx

    onnx.helper.set_model_props(model, {METADATA: json.dumps(info.to_json(), ensure_ascii=False)})
    return model.SerializeToString()


def _distance(a: np.ndarray, b: np.ndarray, temperature: float) -> float:
    """Largest difference of two nets' probabilities."""
    from scipy.special import softmax

    return float(np.abs(softmax(a / temperature, axis=1) - softmax(b / temperature, axis=1)).max())


@contextmanager
def _silence() -> Iterator[None]:
    """Without the exporter's warnings about constants and the quantiser's advice, which is followed already."""
    root = logging.getLogger()
    level = root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root.setLevel(max(level, logging.ERROR))
        try:
            yield
        finally:
            root.setLevel(level)
