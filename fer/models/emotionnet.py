"""EmotionNet: EfficientNet-B0, channel attention, self-attention over positions, a transformer encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from fer.errors import ConfigError
from fer.models.layers import ChannelAttention, RowNorm, SelfAttention, timm_backbone
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

SPEC = ModelSpec(
    name="emotionnet",
    title="EmotionNet",
    summary="timm's EfficientNet-B0 with channel attention, self-attention over positions and a transformer encoder",
    input=InputSpec(size_px=44, channels=1, resize_px=48),
    source="Tan and Le 2019, EfficientNet; Woo et al. 2018, CBAM, eq. 2; Vaswani et al. 2017, Transformer",
    attention="self_attention",
)

RECIPE = Recipe(
    phases=(Phase(epochs=30, optimizer="adamw", lr=1e-3, weight_decay=0.05, schedule="cosine", warmup_epochs=2.0),),
    batch_size=64,
    label_smoothing=0.1,
    clip_norm=1.0,
    ema_decay=0.999,
    augment=Augment(rotate_deg=12, scale_min=0.85, scale_max=1.15, shift=0.1, erase=0.3),
)

# as the project did, with --amp --seed 42 --workers 4; two cycles of 10 and 20 epochs end with the last epoch
REFERENCE = Preset(
    Recipe(
        phases=(
            Phase(
                epochs=30,
                optimizer="adamw",
                lr=1e-4,
                weight_decay=1e-5,
                schedule="warm_restarts",
                restart_epochs=10,
                restart_factor=2.0,
            ),
        ),
        batch_size=8,
        label_smoothing=0.0,
        augment=Augment(
            rotate_deg=10,
            scale_min=0.9,
            scale_max=1.1,
            shift=0.1,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
            erase=0.0,
        ),
    ),
    InputSpec(size_px=224, channels=3, resize_px=224, mean=0.449, std=0.226),
    {"early_strides": [2, 2], "pretrained": True},
)


class EmotionNet(nn.Module):
    """Feature map -> weighted channels -> one token per position -> attention -> mean -> hidden layer -> classifier.

    Fixed sine and cosine positions are added to the tokens (Vaswani et al. 2017, section 3.5, in two dimensions).
    `backbone.*` has timm's names. Set `attention.record = True` to keep `attention.last_attention` (N, heads, T, T).

    Args:
        backbone: (N, channels, S, S) -> (N, features, side, side).
        width: Length of a token, a multiple of 4 and of heads.
        depth: Blocks of the encoder.

    Shape: (N, channels, S, S) -> (N, n_classes) logits.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        side: int,
        n_classes: int,
        width: int = 256,
        heads: int = 8,
        depth: int = 2,
        reduction: int = 16,
        dropout: float = 0.3,
    ):
        super().__init__()
        from fer.torchvision_repair import import_repaired

        if width % 4:
            raise ConfigError(f"width must be a multiple of 4, got {width}")
        blocks = import_repaired("timm.models.vision_transformer")
        positions = import_repaired("timm.layers").build_sincos2d_pos_embed([side, side], dim=width)  # (T, width)
        self.positions: torch.Tensor
        self.register_buffer("positions", positions, persistent=False)
        self.backbone = backbone  # 44 -> 44 -> 44 -> 22 -> 11 -> 6 px
        self.channel = ChannelAttention(features, reduction)
        self.project = nn.Conv2d(features, width, 1)
        self.attention = SelfAttention(width, heads, dropout=0.1)
        self.encoder = nn.Sequential(
            *(blocks.Block(width, heads, mlp_ratio=2.0, qkv_bias=True, proj_drop=0.1) for _ in range(depth))
        )
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(width, width), RowNorm(width), nn.ReLU(inplace=True), nn.Dropout(dropout)
        )
        self.classifier = nn.Linear(width, n_classes)

    @property
    def cam_layer(self) -> nn.Module:
        """The backbone's last map (N, 1280, side, side)."""
        return self.backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.backbone(x)
        x = self.project(x * self.channel(x))  # (N, width, side, side)
        tokens = x.flatten(2).transpose(1, 2) + self.positions  # (N, T, width), row by row
        tokens = self.norm(self.encoder(self.attention(tokens)))
        return self.classifier(self.hidden(tokens.mean(dim=1)))


def build(
    n_classes: int,
    spec: InputSpec = SPEC.input,
    early_strides: Sequence[int] = (1, 1),
    drop_path: float = 0.15,
    pretrained: bool = False,
    **args: object,
) -> EmotionNet:
    """The net for a label count and an input spec; `args` go to EmotionNet.

    Args:
        early_strides: Strides of the stem and of the second stage, (2, 2) as published. timm has no argument for them,
            so the two convolutions are changed; their weights keep their shapes, ImageNet's fit any choice.
        drop_path: Stochastic depth rate of EfficientNet's last block (Huang et al. 2016).
        pretrained: ImageNet weights (needs the network once).

    Raises:
        ConfigError: strides other than 1 and 2, or an input that leaves a single position to attend to.
        HubError: the weights cannot be had.
    """
    if len(early_strides) != 2 or not set(early_strides) <= {1, 2}:
        raise ConfigError(f"early_strides must be two of 1 or 2, got {list(early_strides)}")
    side = spec.size_px
    for stride in (*early_strides, 2, 2, 2):
        side = -(-side // stride)
    if side < 2:
        raise ConfigError(f"size_px {spec.size_px} leaves one position; use a larger one or early_strides=[1, 1]")
    backbone = timm_backbone("efficientnet_b0.ra_in1k", spec, pretrained, drop_path_rate=drop_path)
    for part, stride in zip(("conv_stem", "blocks.1.0.conv_dw"), early_strides, strict=True):
        convolution = backbone.get_submodule(part)
        assert isinstance(convolution, nn.Conv2d)
        convolution.stride = (stride, stride)
    return EmotionNet(backbone, cast(int, backbone.num_features), side, n_classes, **args)  # type: ignore[arg-type]
