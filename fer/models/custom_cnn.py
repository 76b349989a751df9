"""A four-block CNN with global average pooling, after the one trained on the Muxspace faces."""

from __future__ import annotations

import torch
from torch import nn

from fer.models.layers import conv_bn_relu, require_size
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

SPEC = ModelSpec(
    name="custom_cnn",
    title="Custom CNN",
    summary="four 3x3 convolutions of width 32 to 256, batch norm, max pooling, global average pooling, two FC layers",
    input=InputSpec(size_px=48, channels=1, resize_px=48),
    source="the custom CNN of the Muxspace emotion course project; pooling after Lin et al. 2014, Network in Network",
    attention="grad_cam",
)

# small, so it underfits before it overfits: mild augmentation, many steps
RECIPE = Recipe(
    phases=(Phase(epochs=20, optimizer="adamw", lr=3e-3, weight_decay=1e-2, schedule="one_cycle"),),
    batch_size=64,
    label_smoothing=0.05,
    clip_norm=2.0,
    ema_decay=0.998,
    augment=Augment(rotate_deg=10, scale_min=0.9, scale_max=1.1, shift=0.06, erase=0.0),
)

# as the project did: up to 30 epochs, early stopping on the validation loss; what it does not state is torch's default
REFERENCE = Preset(
    Recipe(
        phases=(
            Phase(
                epochs=30,
                optimizer="adam",
                lr=1e-3,
                weight_decay=0.0,
                schedule="plateau",
                patience=3,
                early_stopping=7,
                watch="loss",
            ),
        ),
        batch_size=64,
        label_smoothing=0.0,
        augment=Augment(
            rotate_deg=10, scale_min=1.0, scale_max=1.0, shift=0.0, brightness=0.2, contrast=0.2, erase=0.0
        ),
    ),
    InputSpec(size_px=48, channels=1, resize_px=48, mean=0.5, std=0.5),
)


class CustomCNN(nn.Module):
    """Four conv-BN-ReLU-maxpool blocks, global average pooling, a hidden layer, a classifier, dropout before each.

    Shape: (N, channels, S, S) -> (N, n_classes) logits, S at least 16.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 1,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        hidden: int = 128,
        dropout: float = 0.3,
    ):
        super().__init__()
        blocks, previous = [], channels
        for width in widths:
            blocks.append(nn.Sequential(conv_bn_relu(previous, width), nn.MaxPool2d(2)))
            previous = width
        self.features = nn.Sequential(*blocks)  # 48 -> 24 -> 12 -> 6 -> 3 px
        self.hidden = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(previous, hidden), nn.ReLU(inplace=True), nn.Dropout(dropout)
        )
        self.classifier = nn.Linear(hidden, n_classes)

    @property
    def cam_layer(self) -> nn.Module:
        """Last convolution's activations, before pooling (N, C, S / 8, S / 8)."""
        last = self.features[-1]
        assert isinstance(last, nn.Sequential)
        return last[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.hidden(self.features(x).mean(dim=(2, 3))))


def build(n_classes: int, spec: InputSpec = SPEC.input, **args: object) -> CustomCNN:
    """The net for a label count and an input spec; `args` go to CustomCNN.

    Raises:
        ConfigError: an input below 16 px.
    """
    require_size(SPEC.name, spec, 16)
    return CustomCNN(n_classes, spec.channels, **args)  # type: ignore[arg-type]
