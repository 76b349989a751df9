"""ResNet-34 with spatial attention on its last feature map, trained on AffectNet first and FER2013 after it."""

from __future__ import annotations

from torch import nn

from fer.models.layers import PooledClassifier, SpatialGate, resnet_backbone
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

SPEC = ModelSpec(
    name="resnet34_attention",
    title="ResNet-34 + attention",
    summary="timm's ResNet-34 with spatial attention after its last stage; AffectNet (8 classes) before FER2013",
    input=InputSpec(size_px=44, channels=1, resize_px=48),
    source="He et al. 2016, Deep Residual Learning; attention after Woo et al. 2018, CBAM, equation 3",
    attention="spatial",
    bundle_dtype="int8",
)

# half the rate for the backbone, not a tenth: it has to learn on FER2013 alone where the first phase is left out
RECIPE = Recipe(
    phases=(
        Phase(
            name="affectnet",
            epochs=15,
            optimizer="sgd",
            lr=0.05,
            weight_decay=5e-4,
            schedule="one_cycle",
            data="affectnet",
        ),
        Phase(
            name="fer2013",
            epochs=25,
            optimizer="sgd",
            lr=0.1,
            weight_decay=5e-4,
            schedule="one_cycle",
            lr_factors={"backbone": 0.5},
        ),
    ),
    batch_size=128,
    label_smoothing=0.1,
    clip_norm=2.0,
    ema_decay=0.999,
    augment=Augment(rotate_deg=12, scale_min=0.85, scale_max=1.15, shift=0.12, erase=0.5),
)

# as the project did, with --amp; the rates themselves are not stated
REFERENCE = Preset(
    Recipe(
        phases=(
            Phase(
                name="affectnet",
                epochs=15,
                optimizer="adam",
                lr=1e-3,
                weight_decay=1e-4,
                schedule="plateau",
                patience=3,
                lr_factors={"backbone": 0.1},
                data="affectnet",
            ),
            Phase(
                name="fer2013",
                epochs=12,
                optimizer="adam",
                lr=1e-3,
                weight_decay=1e-4,
                schedule="plateau",
                patience=3,
                lr_factors={"backbone": 0.1},
            ),
        ),
        batch_size=64,
        label_smoothing=0.1,
        class_weights="balanced",
        augment=Augment(
            rotate_deg=10,
            scale_min=0.9,
            scale_max=1.1,
            shift=0.1,
            brightness=0.2,
            contrast=0.2,
            saturation=0.2,
            erase=0.25,
        ),
    ),
    InputSpec(size_px=224, channels=3, resize_px=224, mean=0.449, std=0.226),
    {"stem": "imagenet", "pretrained": True},
)


class ResNet34Attention(PooledClassifier):
    """timm's ResNet-34, a spatial mask over its last map, global average pooling, dropout, a classifier.

    `backbone.*` has timm's names. Set `attention.record = True` to keep the mask in `attention.last_spatial`.

    Shape: (N, channels, S, S) -> (N, n_classes) logits; 44 -> 44 -> 22 -> 11 -> 6 px.
    """

    @property
    def cam_layer(self) -> nn.Module:
        """Last map, weighted (N, 512, S / 8, S / 8), S / 32 with the published stem; sides rounded up."""
        return self.attention


def build(
    n_classes: int,
    spec: InputSpec = SPEC.input,
    stem: str = "native",
    kernel_size: int = 7,
    dropout: float = 0.4,
    pretrained: bool = False,
) -> ResNet34Attention:
    """The net for a label count and an input spec.

    Args:
        stem: "native" (3x3 stride 1, no max pooling) or "imagenet" (as published), see `layers.resnet_backbone`.
        kernel_size: Side of the attention's convolution, odd.
        pretrained: ImageNet weights (torchvision's, needs the network once; only with stem="imagenet").

    Raises:
        ConfigError: unknown stem, one that the weights do not fit, or an input that is too small.
        HubError: the weights cannot be had.
    """
    backbone = resnet_backbone("resnet34.tv_in1k", spec, stem, pretrained)
    return ResNet34Attention(backbone, n_classes, dropout, SpatialGate(kernel_size))
