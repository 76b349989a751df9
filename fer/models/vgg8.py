"""Eight 3x3 convolutions with batch norm: what is left of `attention_cnn` without its attention."""

from __future__ import annotations

import torch
from torch import nn

from fer.models.layers import conv_bn_relu, require_size
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Recipe

SPEC = ModelSpec(
    name="vgg8",
    title="VGG-8",
    summary="eight 3x3 convolutions of width 32 to 256 in four stages, batch norm, global average pooling",
    input=InputSpec(size_px=44, channels=1, resize_px=48),
    source="Simonyan and Zisserman 2015, VGG; on FER2013 Khaireddin and Chen 2021, State of the Art Performance",
    attention="grad_cam",
)

RECIPE = Recipe(
    phases=(Phase(epochs=20, optimizer="sgd", lr=0.1, weight_decay=5e-4, schedule="one_cycle"),),
    batch_size=128,
    label_smoothing=0.1,
    clip_norm=2.0,
    ema_decay=0.998,
    augment=Augment(rotate_deg=12, scale_min=0.85, scale_max=1.1, shift=0.12, erase=0.2),
)


class VGG8(nn.Module):
    """Four stages of two conv-BN-ReLU, max pooling after the first three, global average pooling, dropout.

    Args:
        widths: Channels of the stages; (64, 128, 256, 512), for an accelerator, is four times the work and parameters.

    Shape: (N, channels, S, S) -> (N, n_classes) logits, S at least 16.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 1,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        dropout: float = 0.2,
    ):
        super().__init__()
        stages, previous = [], channels
        for i, width in enumerate(widths):
            # pooling before the ReLU: the same function (a maximum commutes with it), less to compute
            stages.append(
                nn.Sequential(
                    conv_bn_relu(previous, width),
                    nn.Conv2d(width, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.MaxPool2d(2, ceil_mode=True) if i < len(widths) - 1 else nn.Identity(),
                    nn.ReLU(inplace=True),
                )
            )
            previous = width
        self.stages = nn.Sequential(*stages)  # 44 -> 22 -> 11 -> 6 -> 6 px
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(previous, n_classes)

    @property
    def cam_layer(self) -> nn.Module:
        """Output of the last stage (N, C, S / 8, S / 8), sides rounded up."""
        return self.stages[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.stages(x).mean(dim=(2, 3))))


def build(n_classes: int, spec: InputSpec = SPEC.input, **args: object) -> VGG8:
    """The net for a label count and an input spec; `args` go to VGG8.

    Raises:
        ConfigError: an input below 16 px.
    """
    require_size(SPEC.name, spec, 16)
    return VGG8(n_classes, spec.channels, **args)  # type: ignore[arg-type]
