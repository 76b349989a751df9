"""The floor of the comparison: three convolutions and a small classifier."""

from __future__ import annotations

import torch
from torch import nn

from fer.models.layers import conv_bn_relu
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

SPEC = ModelSpec(
    name="baseline_cnn",
    title="Baseline CNN",
    summary="three 3x3 convolutions, batch norm, max pooling, one hidden layer",
    input=InputSpec(size_px=48, channels=1, resize_px=48),
    source="the 3-layer CNN of the FER2013 course projects",
    attention="grad_cam",
    head=("classifier.5",),
)

# a small net underfits long before it overfits: mild augmentation, little dropout, many steps
RECIPE = Recipe(
    phases=(Phase(epochs=16, optimizer="adamw", lr=2e-3, weight_decay=1e-2, schedule="one_cycle"),),
    batch_size=64,
    label_smoothing=0.05,
    ema_decay=0.998,
    augment=Augment(rotate_deg=8, scale_min=0.93, scale_max=1.07, shift=0.05, erase=0.0),
)

# as the course projects did; attention_cnn's is the same. Stopped after 10 epochs without a better validation accuracy;
# epochs and augmentation are not stated: those of the project's own table for the 4-block nets are taken
REFERENCE = Preset(
    Recipe(
        phases=(
            Phase(
                epochs=50,
                optimizer="adamw",
                lr=1e-3,
                weight_decay=1e-2,
                schedule="plateau",
                patience=5,
                early_stopping=10,
            ),
        ),
        batch_size=64,
        label_smoothing=0.0,
        class_weights="balanced",
        augment=Augment(
            rotate_deg=10, scale_min=1.0, scale_max=1.0, shift=0.0, brightness=0.0, contrast=0.0, erase=0.0
        ),
    ),
    InputSpec(size_px=48, channels=1, resize_px=48, mean=0.5, std=0.5),
)


class BaselineCNN(nn.Module):
    """Three conv-BN-ReLU-maxpool blocks, average pooling to 3x3, a hidden layer with dropout, a classifier.

    Shape: (N, channels, S, S) -> (N, n_classes) logits.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int,
        widths: tuple[int, ...] = (32, 96, 192),
        hidden: int = 96,
        dropout: float = 0.25,
    ):
        super().__init__()
        blocks, previous = [], channels
        for width in widths:
            blocks.append(nn.Sequential(conv_bn_relu(previous, width), nn.MaxPool2d(2)))
            previous = width
        self.features = nn.Sequential(*blocks)  # 48 -> 24 -> 12 -> 6 px
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(dropout),
            nn.Linear(previous * 9, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout / 2),
            nn.Linear(hidden, n_classes),
        )

    @property
    def cam_layer(self) -> nn.Module:
        """Last convolution's activations, before pooling (N, C, S/4, S/4)."""
        last = self.features[-1]
        assert isinstance(last, nn.Sequential)
        return last[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.pool(self.features(x)))


def build(n_classes: int, spec: InputSpec = SPEC.input, **args: object) -> BaselineCNN:
    """The net for a label count and an input spec; `args` go to BaselineCNN."""
    return BaselineCNN(n_classes, spec.channels, **args)  # type: ignore[arg-type]
