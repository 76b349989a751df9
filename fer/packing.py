"""Weights as the bytes of a safetensors file: float32, half precision, or int8 with one scale per output channel.

Whatever the form, only matrices and filters (more than one axis) are made smaller: norms and biases stay float32, and
loading gives float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fer.errors import CheckpointError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fer.judge import Judge
    from fer.specs import InputSpec

FLOAT32, FLOAT16, INT8 = "float32", "float16", "int8"
DTYPES = (FLOAT32, FLOAT16, INT8)
# the scales of "conv.weight" stand beside it as "conv.weight.scale"
SCALE = ".scale"
# int8 may lose this share of the validation faces against half precision
MAX_LOSS = 0.001
_LEVELS = 127


def to_bytes(state: Mapping[str, torch.Tensor], dtype: str = FLOAT16) -> bytes:
    """A state dict as a safetensors file.

    Args:
        dtype: Of matrices and filters, one of DTYPES. int8 is symmetric, weight = int8 * scale of its output channel
            (the first axis), and each weight is at most half a step off.

    Raises:
        ConfigError: an unknown dtype.
        CheckpointError: int8 of numbers that are not finite, or of a state that has the name of a scale already.
    """
    import torch
    from safetensors.torch import save

    if dtype not in DTYPES:
        raise unknown_name("dtype", dtype, DTYPES)
    out: dict[str, torch.Tensor] = {}
    for key, tensor in state.items():
        t = tensor.detach().cpu().contiguous()
        small = t.is_floating_point() and t.ndim > 1 and t.numel() > 0
        if small and dtype == INT8:
            if key + SCALE in state:
                raise CheckpointError(f"{key}{SCALE} is a weight of its own; this net cannot be stored as int8")
            if not torch.isfinite(t).all():
                raise CheckpointError(f"{key} holds numbers that are not finite; such a net cannot be stored as int8")
            out[key], out[key + SCALE] = _rounded(t.float())
        else:
            out[key] = t.half() if small and dtype == FLOAT16 else t
    return save(out, metadata={"format": "pt"})


def _rounded(t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 of the same shape, and the float32 scale (C,) of each output channel."""
    import torch

    largest = t.flatten(1).abs().amax(dim=1)
    scale = (largest / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)  # a channel of zeros has a scale too
    steps = torch.round(t / _along_first(scale, t)).clamp(-_LEVELS, _LEVELS)
    return steps.to(torch.int8), scale


def _along_first(scale: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return scale.reshape(-1, *[1] * (t.ndim - 1))


def from_bytes(data: bytes, dtype: str | None = None) -> dict[str, torch.Tensor]:
    """The state dict in a safetensors file, all that is floating as float32.

    Args:
        dtype: What the manifest says of the file; None where it says nothing, which was never said of int8.

    Raises:
        CheckpointError: no safetensors file, int8 where the manifest says otherwise or the other way round, or scales
            that are absent, of another shape, or not positive and finite.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        stored = load(data)
    except SafetensorError as e:
        raise CheckpointError(f"not a safetensors file ({e})") from e
    small = [key for key, t in stored.items() if t.dtype == torch.int8]
    if bool(small) != (dtype == INT8):
        found = f"{small[0]} is int8" if small else "nothing in it is int8"
        raise CheckpointError(f"damaged: {found}, and the manifest says {dtype or 'nothing of that'}")
    scales = {key: _scale_of(key, stored) for key in small}
    beside = {key + SCALE for key in small}
    out = {key: t.float() if t.is_floating_point() else t for key, t in stored.items() if key not in beside}
    return out | {key: stored[key].float() * _along_first(scale, stored[key]) for key, scale in scales.items()}


def _scale_of(key: str, stored: Mapping[str, torch.Tensor]) -> torch.Tensor:
    import torch

    t, scale = stored[key], stored.get(key + SCALE)
    if scale is None:
        raise CheckpointError(f"damaged: {key} is int8 and its scales, {key}{SCALE}, are absent")
    if scale.dtype != torch.float32 or scale.shape != t.shape[:1]:
        raise CheckpointError(
            f"damaged: {key}{SCALE} must be float32 of shape {tuple(t.shape[:1])}, one number per output channel, got "
            f"{str(scale.dtype).removeprefix('torch.')} of shape {tuple(scale.shape)}"
        )
    if not (torch.isfinite(scale) & (scale > 0)).all():
        raise CheckpointError(f"damaged: {key}{SCALE} holds numbers that are not positive and finite")
    return scale


def as_int8(module: nn.Module, spec: InputSpec, judge: Judge | None = None) -> tuple[bytes, dict[str, Any]]:
    """A net in half precision as int8, and what that costs.

    Args:
        module: In eval mode; it has its own weights again afterwards.
        judge: Measures both forms.

    Returns:
        The file's bytes, and the judge's source, n and accuracies (0..1) of both forms; {} without a judge.

    Raises:
        CheckpointError: see `to_bytes`; or it loses more than 0.1 points of accuracy.
    """
    own = {key: t.clone() for key, t in module.state_dict().items()}
    data = to_bytes(own, INT8)
    if judge is None:
        return data, {}
    found: dict[str, Any] = dict(judge.source) | {"n": len(judge.labels), FLOAT16: judge.accuracy_of(module, spec)}
    try:
        module.load_state_dict(from_bytes(data, INT8))
        found[INT8] = judge.accuracy_of(module, spec)
    finally:
        module.load_state_dict(own)
    if not round(found[FLOAT16] - found[INT8], 9) <= MAX_LOSS:
        raise CheckpointError(
            f"int8 weights lose {100 * (found[FLOAT16] - found[INT8]):.2f} points of accuracy on "
            f"{judge.source['title']} ({100 * found[FLOAT16]:.2f} -> {100 * found[INT8]:.2f}), at most "
            f"{100 * MAX_LOSS:.1f} are allowed"
        )
    return data, found
