"""timm's ViT-Tiny at the faces' native resolution, with a small convolutional stem."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, cast

from fer.errors import ConfigError
from fer.specs import Augment, InputSpec, ModelSpec, Phase, Preset, Recipe

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

SPEC = ModelSpec(
    name="vit_tiny",
    title="ViT-Tiny",
    summary="timm's ViT-Tiny (12 blocks, width 192) on 5x5 tokens from a convolutional stem",
    input=InputSpec(size_px=40, channels=1, resize_px=44),
    source="Dosovitskiy et al. 2021; stem after Xiao et al. 2021, Early Convolutions Help Transformers See Better",
    attention="gradient_rollout",
    head=("head",),
)

# for a short run from scratch: many small steps, mild augmentation; --teacher attention_cnn helps most
RECIPE = Recipe(
    phases=(Phase(epochs=13, optimizer="adamw", lr=7e-4, weight_decay=0.05, schedule="cosine", warmup_epochs=1.0),),
    batch_size=64,
    label_smoothing=0.05,
    clip_norm=1.0,
    ema_decay=0.998,
    augment=Augment(rotate_deg=8, scale_min=0.9, scale_max=1.1, shift=0.06, erase=0.1),
    distill_weight=0.7,
    distill_temperature=2.0,
)

# as the project did: ImageNet weights (whose own mean and std are .5), 69.85 % on its validation split. Stopped after
# 20 epochs without a better validation accuracy
REFERENCE = Preset(
    Recipe(
        phases=(
            Phase(
                epochs=50,
                optimizer="adamw",
                lr=5e-5,
                weight_decay=1e-2,
                schedule="plateau",
                warmup_epochs=5,
                patience=5,
                early_stopping=20,
            ),
        ),
        batch_size=64,
        label_smoothing=0.0,
        class_weights="balanced",
        augment=Augment(
            rotate_deg=10, scale_min=1.0, scale_max=1.0, shift=0.0, brightness=0.0, contrast=0.0, erase=0.0
        ),
    ),
    InputSpec(size_px=224, channels=3, resize_px=224, mean=0.5, std=0.5),
    {"patch_px": 16, "stem": False, "drop_path": 0.0, "pretrained": True},
)

_STEM_CHANNELS = (24, 48, 48, 96, 96)
_STEM_STRIDES = (1, 2, 1, 2, 1, 2)


def build(
    n_classes: int,
    spec: InputSpec = SPEC.input,
    patch_px: int = 8,
    stem: bool = True,
    drop_path: float = 0.05,
    pretrained: bool = False,
) -> VisionTransformer:
    """The net, made by `timm.create_model("vit_tiny_patch16_224", ...)`; greyscale input where the spec says so.

    With `stem=False` it is timm's plain ViT-Tiny for `img_size`, `patch_size` and `in_chans`, which timm loads by name.
    With the stem, `timm_arguments(...)` are the keyword arguments under which timm makes the same net.

    Args:
        patch_px: Side of the square that becomes one token; 4, 8 or 16 with the stem.
        drop_path: Stochastic depth rate of the last block.
        pretrained: ImageNet weights (needs the network once; only without the stem).

    Raises:
        ConfigError: sizes that do not divide, or pretrained weights together with the stem.
        HubError: the weights cannot be had.
    """
    from fer import hub
    from fer.torchvision_repair import import_repaired

    if pretrained and stem:
        raise ConfigError("pretrained ImageNet weights fit the plain patch embedding only: set stem=false")
    arguments: dict[str, Any] = {"num_classes": n_classes, "drop_path_rate": drop_path} | timm_arguments(
        spec, patch_px, stem
    )
    if pretrained:
        return cast("VisionTransformer", hub.pretrained_net("vit_tiny_patch16_224.augreg_in21k_ft_in1k", **arguments))
    return import_repaired("timm").create_model("vit_tiny_patch16_224", **arguments)


def timm_arguments(spec: InputSpec = SPEC.input, patch_px: int = 8, stem: bool = True) -> dict[str, object]:
    """What turns timm's `vit_tiny_patch16_224` into this net."""
    if spec.size_px % patch_px:
        raise ConfigError(f"size_px {spec.size_px} is not a multiple of patch_px {patch_px}")
    plain: dict[str, object] = {"img_size": spec.size_px, "in_chans": spec.channels}
    if not stem:
        return plain | {"patch_size": patch_px}
    from fer.torchvision_repair import import_repaired

    depth = {4: 4, 8: 6, 16: 8}.get(patch_px)
    if depth is None:
        raise ConfigError(f"patch_px with the stem must be 4, 8 or 16, got {patch_px}")
    channels = (*(*_STEM_CHANNELS, 192, 192)[: depth - 1], 192)
    strides = (*_STEM_STRIDES, 1, 2)[:depth]
    layers = import_repaired("timm.layers")
    hybrid = import_repaired("timm.models.vision_transformer_hybrid")
    backbone = hybrid.ConvStem(in_chans=spec.channels, depth=depth, channels=channels, stride=strides)
    embed = partial(layers.HybridEmbed, backbone=backbone, proj=False)
    return plain | {"patch_size": 1, "class_token": False, "global_pool": "avg", "embed_layer": embed}
