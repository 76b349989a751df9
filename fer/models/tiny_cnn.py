"""VGG-8 with a third of the parameters, for phones: below half a million, learnt from larger nets."""

from __future__ import annotations

from fer.models.layers import require_size
from fer.models.vgg8 import VGG8
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Recipe

SPEC = ModelSpec(
    name="tiny_cnn",
    title="Tiny CNN",
    summary="eight 3x3 convolutions of width 24 to 128 in four stages, for phones; best learnt from larger nets",
    input=InputSpec(size_px=44, channels=1, resize_px=48),
    source="Simonyan and Zisserman 2015, VGG; taught after Hinton, Vinyals and Dean 2015, Distilling the Knowledge",
    attention="grad_cam",
)

# meant for --teacher cbam_cnn4,vgg8: a small net that is taught needs little against learning by heart
RECIPE = Recipe(
    phases=(Phase(epochs=24, optimizer="sgd", lr=0.1, weight_decay=2e-4, schedule="one_cycle"),),
    batch_size=128,
    label_smoothing=0.05,
    clip_norm=2.0,
    ema_decay=0.998,
    augment=Augment(rotate_deg=10, scale_min=0.88, scale_max=1.1, shift=0.1, erase=0.1),
    distill_weight=0.7,
    distill_temperature=3.0,
)


def build(
    n_classes: int,
    spec: InputSpec = SPEC.input,
    widths: tuple[int, ...] = (24, 48, 96, 128),
    dropout: float = 0.1,
) -> VGG8:
    """The net for a label count and an input spec; `widths` and `dropout` as for `fer.models.vgg8.VGG8`.

    Raises:
        ConfigError: an input below 16 px.
    """
    require_size(SPEC.name, spec, 16)
    return VGG8(n_classes, spec.channels, widths, dropout)
