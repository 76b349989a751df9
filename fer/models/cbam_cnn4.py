"""`baseline_cnn4` with CBAM after its last block, trained by the same recipe."""

from __future__ import annotations

from fer.models import baseline_cnn4
from fer.specs import InputSpec, ModelSpec

SPEC = ModelSpec(
    name="cbam_cnn4",
    title="CBAM CNN (4 blocks)",
    summary="four 3x3 convolutions of width 64 to 512, channel and spatial attention (CBAM) after the last",
    input=InputSpec(size_px=48, channels=1, resize_px=48),
    source="Woo et al. 2018, CBAM: Convolutional Block Attention Module",
    attention="cbam",
    head=("classifier.4",),
)

RECIPE = baseline_cnn4.RECIPE

REFERENCE = baseline_cnn4.REFERENCE


def build(n_classes: int, spec: InputSpec = SPEC.input, **args: object) -> baseline_cnn4.CNN4:
    """The net for a label count and an input spec; `args` go to CNN4."""
    return baseline_cnn4.build(n_classes, spec, **({"attention": True} | args))
