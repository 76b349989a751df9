"""The same weights for people who have timm and not this package: `timm.create_model("hf-hub:NAME/repo", ...)`.

timm reads `config.json` (its keys architecture, model_args, pretrained_cfg) and a safetensors file with its own names.
A form is given only if the net that timm makes of it answers exactly as ours does.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fer import packing
from fer.checkpoint import Manifest
from fer.hub.pull import NESTED
from fer.models import get_model
from fer.terms import terms_of
from fer.torchvision_repair import import_repaired

if TYPE_CHECKING:
    import torch
    from torch import nn

    from fer.models.estimator import Estimator

TIMM_WEIGHTS = "timm.safetensors"


@dataclass(frozen=True)
class TimmForm:
    """What a repository holds for timm.

    Attributes:
        config: Content of config.json: timm's keys, and the manifest under "fer".
        weights: Bytes of `timm.safetensors`; None where timm reads the checkpoint's own file.
        more: Python for arguments that no JSON holds: (lines, keyword -> expression); None where there is none.
    """

    config: dict[str, Any]
    weights: bytes | None = None
    more: tuple[str, dict[str, str]] | None = None

    def recipe(self, repo: str) -> str:
        """How to load it; Markdown."""
        lines, arguments = self.more or ("", {})
        extra = "".join(f", {k}={v}" for k, v in arguments.items())
        size = self.config["pretrained_cfg"]["input_size"]
        return f"""```python
import timm
{lines}net = timm.create_model("hf-hub:{repo}", pretrained=True{extra}).eval()
```

It gives logits of {size[0]} x {size[1]} x {size[2]} crops; `net.pretrained_cfg` has mean, standard deviation and
`label_names`. The temperature of `config.json` is not applied."""


def timm_form(module: nn.Module | Estimator, manifest: Manifest) -> TimmForm | None:
    """A checkpoint as timm reads it; None where its architecture is not one of timm's.

    Args:
        module: What `fer.checkpoint.load_any` gives.
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        return None
    architecture = _architecture(module)
    if architecture is None:
        return None
    entry = get_model(manifest.model)
    arguments = _arguments(manifest)
    own_names = not hasattr(entry, "timm_weights")
    own_file = own_names and manifest.weights.get("dtype") != packing.INT8  # timm knows nothing of scales
    state = module.state_dict() if own_names else getattr(entry, "timm_weights")(module.state_dict())  # noqa: B009
    net = import_repaired("timm").create_model(architecture, num_classes=len(manifest.labels), **arguments).eval()
    try:
        net.load_state_dict(state)
    except RuntimeError:  # other layers, or the same in other sizes
        return None
    spec = manifest.input
    x = torch.randn(2, spec.channels, spec.size_px, spec.size_px, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        if not torch.equal(net(x), module(x)):
            return None
    more = _more(arguments)
    if more is None:
        return None
    config = _config(architecture, net, manifest, {k: v for k, v in arguments.items() if _plain(v)})
    if not own_file:
        config["pretrained_cfg"]["hf_hub_filename"] = TIMM_WEIGHTS
    return TimmForm(config, None if own_file else _bytes(state, manifest), more if more[1] else None)


def _architecture(module: nn.Module) -> str | None:
    """timm's name of the net, or of the backbone that it is built on."""
    for net in (module, getattr(module, "backbone", None)):
        known = getattr(net, "pretrained_cfg", None) or {}
        if architecture := known.get("architecture"):
            return str(architecture)
    return None


def _arguments(manifest: Manifest) -> dict[str, Any]:
    """timm's keyword arguments for the net: what the model's own file says, or its input alone."""
    make = getattr(get_model(manifest.model), "timm_arguments", None)
    if make is None:
        return {"in_chans": manifest.input.channels}
    known = inspect.signature(make).parameters
    return make(manifest.input, **{k: v for k, v in manifest.model_args.items() if k in known})


def _plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except TypeError:
        return False
    return True


def _more(arguments: dict[str, Any]) -> tuple[str, dict[str, str]] | None:
    """Python that makes the arguments that are no JSON: a convolutional stem before a ViT; None for anything else."""
    special = {k: v for k, v in arguments.items() if not _plain(v)}
    if not special:
        return "", {}
    hybrid = import_repaired("timm.models.vision_transformer_hybrid")
    stem = getattr(special.get("embed_layer"), "keywords", {}).get("backbone")
    if list(special) != ["embed_layer"] or not isinstance(stem, hybrid.ConvStem):
        return None
    blocks: list[Any] = list(stem)
    channels = tuple(b.conv.out_channels for b in blocks)
    strides = tuple(b.conv.stride[0] for b in blocks)
    lines = f"""from functools import partial
from timm.layers import HybridEmbed
from timm.models.vision_transformer_hybrid import ConvStem

stem = ConvStem(
    in_chans={blocks[0].conv.in_channels},
    depth={len(blocks)},
    channels={channels},
    stride={strides},
)
"""
    return lines, {"embed_layer": "partial(HybridEmbed, backbone=stem, proj=False)"}


def _config(architecture: str, net: Any, manifest: Manifest, model_args: dict[str, Any]) -> dict[str, Any]:
    spec, known = manifest.input, net.pretrained_cfg
    return {
        "architecture": architecture,
        "num_classes": len(manifest.labels),
        "num_features": int(net.num_features),
        "label_names": list(manifest.labels),
        "model_args": model_args,
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": [spec.channels, spec.size_px, spec.size_px],
            "fixed_input_size": bool(known.get("fixed_input_size", False)),
            "interpolation": "bilinear",
            "crop_pct": spec.size_px / spec.resize_px,
            "crop_mode": "center",
            "mean": [spec.mean] * spec.channels,
            "std": [spec.std] * spec.channels,
            "num_classes": len(manifest.labels),
            "pool_size": None,
            "first_conv": None,
            "classifier": known.get("classifier"),
            "license": terms_of(manifest).name,
        },
        NESTED: manifest.to_json(),
    }


def _bytes(state: dict[str, torch.Tensor], manifest: Manifest) -> bytes:
    """The state with the types that the checkpoint's own file has; int8 as float32, which holds it to the bit."""
    half = manifest.weights.get("dtype") == packing.FLOAT16
    return packing.to_bytes(state, packing.FLOAT16 if half else packing.FLOAT32)
