"""The four-block CNN that CBAM is measured against: `cbam_cnn4` is this net plus one attention block."""

from __future__ import annotations

import torch
from torch import nn

from fer.models.layers import CBAM
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

SPEC = ModelSpec(
    name="baseline_cnn4",
    title="Baseline CNN (4 blocks)",
    summary="four 3x3 convolutions of width 64 to 512, batch norm, max pooling, a hidden layer of 512",
    input=InputSpec(size_px=48, channels=1, resize_px=48),
    source="the baseline of the FER2013 CBAM course project",
    attention="grad_cam",
    head=("classifier.4",),
)

# shared with cbam_cnn4, so that the comparison is one of nets; batch, smoothing and augmentation are those of the last
# epochs of the bundled pair, which was trained in three stages (docs/training.md)
RECIPE = Recipe(
    phases=(Phase(epochs=28, optimizer="adamw", lr=1e-3, weight_decay=2e-2, schedule="one_cycle"),),
    batch_size=64,
    label_smoothing=0.05,
    clip_norm=2.0,
    ema_decay=0.998,
    augment=Augment(rotate_deg=6, scale_min=0.94, scale_max=1.06, shift=0.05, erase=0.0),
)

# as the project did: 65.69 and 65.94 % (with CBAM) on its merged test folder
REFERENCE = Preset(
    Recipe(
        phases=(Phase(epochs=50, optimizer="adam", lr=1e-3, weight_decay=1e-4, schedule="plateau", patience=5),),
        batch_size=64,
        label_smoothing=0.0,
        augment=Augment(
            rotate_deg=10, scale_min=1.0, scale_max=1.0, shift=0.0, brightness=0.0, contrast=0.0, erase=0.0
        ),
    ),
    InputSpec(size_px=48, channels=1, resize_px=48, mean=0.5, std=0.5),
)


class CNN4(nn.Module):
    """Four conv-BN-ReLU-maxpool blocks, optionally CBAM, flatten, a hidden layer with dropout, a classifier.

    Args:
        size_px: Height and width of the input, a multiple of 16: the hidden layer depends on it.
        attention: CBAM (Woo et al. 2018) after the last block.

    Shape: (N, channels, size_px, size_px) -> (N, n_classes) logits.
    """

    def __init__(
        self,
        n_classes: int,
        channels: int = 1,
        size_px: int = 48,
        widths: tuple[int, ...] = (64, 128, 256, 512),
        hidden: int = 512,
        dropout: float = 0.5,
        attention: bool = False,
        reduction: int = 16,
    ):
        super().__init__()
        side = size_px // 2 ** len(widths)
        if side * 2 ** len(widths) != size_px:
            raise ValueError(f"size_px must be a multiple of {2 ** len(widths)}, got {size_px}")
        blocks, previous = [], channels
        for width in widths:
            convolution = nn.Sequential(nn.Conv2d(previous, width, 3, padding=1), nn.BatchNorm2d(width))
            # maximum and ReLU commute: the same function as conv-BN-ReLU-maxpool, a tenth faster to train
            blocks.append(nn.Sequential(convolution, nn.MaxPool2d(2), nn.ReLU(inplace=True)))
            previous = width
        self.features = nn.Sequential(*blocks)  # 48 -> 24 -> 12 -> 6 -> 3 px
        self.attention = CBAM(previous, reduction) if attention else nn.Identity()
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(previous * side * side, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, n_classes),
        )

    @property
    def cam_layer(self) -> nn.Module:
        """Last convolution, normalised, before pooling and ReLU (N, C, size_px / 8, size_px / 8)."""
        last = self.features[-1]
        assert isinstance(last, nn.Sequential)
        return last[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.attention(self.features(x)))


def build(n_classes: int, spec: InputSpec = SPEC.input, **args: object) -> CNN4:
    """The net for a label count and an input spec; `args` go to CNN4."""
    return CNN4(n_classes, spec.channels, spec.size_px, **args)  # type: ignore[arg-type]
