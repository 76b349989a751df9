"""ResNet-18, its classifier trained first and the whole net after it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from fer.models.layers import PooledClassifier, resnet_backbone
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

SPEC = ModelSpec(
    name="resnet18_transfer",
    title="ResNet-18",
    summary="timm's ResNet-18; the classifier on a frozen backbone first, then the whole net at a lower rate",
    input=InputSpec(size_px=44, channels=1, resize_px=48),
    source="He et al. 2016, Deep Residual Learning for Image Recognition; timm",
    attention="grad_cam",
    bundle_dtype="int8",
)

RECIPE = Recipe(
    phases=(
        Phase(
            name="head",
            epochs=1,
            optimizer="sgd",
            lr=0.1,
            weight_decay=5e-4,
            schedule="constant",
            freeze=("backbone",),
        ),
        Phase(name="whole", epochs=30, optimizer="sgd", lr=0.06, weight_decay=5e-4, schedule="one_cycle"),
    ),
    batch_size=128,
    label_smoothing=0.1,
    clip_norm=2.0,
    ema_decay=0.999,
    augment=Augment(rotate_deg=12, scale_min=0.85, scale_max=1.15, shift=0.12, erase=0.5),
)

# as the Muxspace project did; 30 epochs in all, the share of each phase is not stated
REFERENCE = Preset(
    Recipe(
        phases=(
            Phase(
                name="head",
                epochs=10,
                optimizer="adam",
                lr=1e-3,
                weight_decay=0.0,
                schedule="plateau",
                patience=3,
                early_stopping=5,
                watch="loss",
                freeze=("backbone",),
            ),
            Phase(
                name="whole",
                epochs=20,
                optimizer="adam",
                lr=1e-4,
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
    InputSpec(size_px=224, channels=3, resize_px=224, mean=0.449, std=0.226),
    {"stem": "imagenet", "pretrained": True},
)


class ResNet18Transfer(PooledClassifier):
    """timm's ResNet-18 split in two parts, so that phases can name them: `backbone` and `classifier`.

    With stem="imagenet" it is timm's `resnet18` to the bit under other names: see `timm_weights`.

    Shape: (N, channels, S, S) -> (N, n_classes) logits; 44 -> 44 -> 22 -> 11 -> 6 px.
    """

    @property
    def cam_layer(self) -> nn.Module:
        """Output of the last stage (N, 512, S / 8, S / 8), S / 32 with the published stem; sides rounded up."""
        return self.backbone.get_submodule("layer4")


def build(
    n_classes: int,
    spec: InputSpec = SPEC.input,
    stem: str = "native",
    dropout: float = 0.3,
    pretrained: bool = False,
) -> ResNet18Transfer:
    """The net for a label count and an input spec.

    Args:
        stem: "native" (3x3 stride 1, no max pooling) or "imagenet" (as published), see `layers.resnet_backbone`.
        pretrained: ImageNet weights (torchvision's, needs the network once; only with stem="imagenet").

    Raises:
        ConfigError: unknown stem, one that the weights do not fit, or an input that is too small.
        HubError: the weights cannot be had.
    """
    return ResNet18Transfer(resnet_backbone("resnet18.tv_in1k", spec, stem, pretrained), n_classes, dropout)


def timm_weights(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of this net under timm's names: "backbone.layer1..." -> "layer1...", "classifier..." -> "fc...".

    `timm.create_model("resnet18", num_classes=..., in_chans=...)` loads it as it is; for stem="native" give that net
    the same stem first: `net.conv1 = nn.Conv2d(in_chans, 64, 3, padding=1, bias=False); net.maxpool = nn.Identity()`.
    """
    names = {"backbone": "{}", "classifier": "fc.{}"}
    return {names[part].format(rest): v for k, v in state.items() for part, _, rest in [k.partition(".")]}
