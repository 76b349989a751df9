"""Eight convolutions in four stages, each stage closed by CBAM; `attention=False` is the same net without it."""

from __future__ import annotations

import torch
from torch import nn

from fer.models import baseline_cnn
from fer.models.layers import CBAM, conv_bn_relu
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Recipe

SPEC = ModelSpec(
    name="attention_cnn",
    title="Attention CNN",
    summary="eight 3x3 convolutions with channel and spatial attention (CBAM) after each pair",
    input=InputSpec(size_px=44, channels=1, resize_px=48),
    source="Woo et al. 2018, CBAM: Convolutional Block Attention Module",
    attention="cbam",
)

RECIPE = Recipe(
    phases=(Phase(epochs=16, optimizer="sgd", lr=0.1, weight_decay=5e-4, schedule="one_cycle"),),
    batch_size=128,
    label_smoothing=0.1,
    clip_norm=2.0,
    ema_decay=0.998,
    augment=Augment(rotate_deg=12, scale_min=0.85, scale_max=1.1, shift=0.12, erase=0.3),
)

REFERENCE = baseline_cnn.REFERENCE


class AttentionCNN(nn.Module):
    """Four stages of two conv-BN-ReLU, max pooling after the first three, CBAM at the end of each, global pooling.

    Shape: (N, channels, S, S) -> (N, n_classes) logits.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        attention: bool = True,
        reduction: int = 16,
        dropout: float = 0.3,
    ):
        super().__init__()
        stages, previous = [], channels
        for i, width in enumerate(widths):
            parts: list[nn.Module] = [conv_bn_relu(previous, width), conv_bn_relu(width, width)]
            if i < len(widths) - 1:
                parts.append(nn.MaxPool2d(2, ceil_mode=True))
            # attention weighs the pooled map: the same regions at a quarter of the memory traffic
            parts.append(CBAM(width, reduction) if attention else nn.Identity())
            stages.append(nn.Sequential(*parts))
            previous = width
        self.stages = nn.ModuleList(stages)  # 44 -> 22 -> 11 -> 6 -> 6 px
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(previous, n_classes)

    @property
    def cam_layer(self) -> nn.Module:
        """Output of the last stage (N, C, 6, 6)."""
        return self.stages[-1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.classifier(self.dropout(x.mean(dim=(2, 3))))


def build(n_classes: int, spec: InputSpec = SPEC.input, **args: object) -> AttentionCNN:
    """The net for a label count and an input spec; `args` go to AttentionCNN."""
    return AttentionCNN(n_classes, spec.channels, **args)  # type: ignore[arg-type]
