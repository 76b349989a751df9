"""Blocks that several models share."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

from fer.errors import ConfigError, unknown_name
from fer.specs import InputSpec

RESNET_STEMS = ("native", "imagenet")


def require_size(model: str, spec: InputSpec, least_px: int) -> None:
    """Refuse inputs of which a net's strides would leave nothing to look at.

    Raises:
        ConfigError: size_px below least_px.
    """
    if spec.size_px < least_px:
        raise ConfigError(f"{model} needs size_px of at least {least_px}, got {spec.size_px}; set input.size_px higher")


def conv_bn_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU. (N, in, H, W) -> (N, out, H, W)."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class ChannelAttention(nn.Module):
    """Weights channels by a shared MLP over average- and max-pooled features (CBAM, Woo et al. 2018, eq. 2).

    Shape: (N, C, H, W) -> (N, C, 1, 1) in (0, 1).
    """

    def __init__(self, channels: int, reduction: int = 16, hidden_min: int = 4):
        super().__init__()
        hidden = max(channels // reduction, hidden_min)
        self.mlp = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(inplace=True), nn.Linear(hidden, channels, bias=False)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = self.mlp(x.mean(dim=(2, 3))) + self.mlp(x.amax(dim=(2, 3)))  # (N, C)
        return torch.sigmoid(gate)[:, :, None, None]


class SpatialAttention(nn.Module):
    """Weights positions by a 7x7 convolution over the channel mean and maximum (CBAM, eq. 3).

    Shape: (N, C, H, W) -> (N, 1, H, W) in (0, 1).
    """

    def __init__(self, kernel_size: int = 7):
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        self.bn = nn.BatchNorm2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        stats = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)  # (N, 2, H, W)
        return torch.sigmoid(self.bn(self.conv(stats)))


class CBAM(nn.Module):
    """Channel attention, then spatial attention (Woo et al. 2018, "CBAM: Convolutional Block Attention Module").

    Set `record = True` to keep the maps of the latest forward pass in `last_channel` (N, C) and `last_spatial`
    (N, 1, H, W), detached.

    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, channels: int, reduction: int = 16, kernel_size: int = 7):
        super().__init__()
        self.channel = ChannelAttention(channels, reduction)
        self.spatial = SpatialAttention(kernel_size)
        self.record = False
        self.last_channel: torch.Tensor | None = None
        self.last_spatial: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channel = self.channel(x)
        x = x * channel
        spatial = self.spatial(x)
        if self.record:
            self.last_channel, self.last_spatial = channel.detach().flatten(1), spatial.detach()
        return x * spatial


class SpatialGate(nn.Module):
    """Spatial attention alone: x times its mask (CBAM, eq. 3).

    Set `record = True` to keep the mask of the latest forward pass in `last_spatial` (N, 1, H, W), detached.

    Shape: (N, C, H, W) -> (N, C, H, W).
    """

    def __init__(self, kernel_size: int = 7):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size must be odd, got {kernel_size}")
        self.spatial = SpatialAttention(kernel_size)
        self.record = False
        self.last_spatial: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = self.spatial(x)
        if self.record:
            self.last_spatial = mask.detach()
        return x * mask


class SelfAttention(nn.Module):
    """Multi-head scaled dot-product self-attention with a residual (Vaswani et al. 2017, eq. 1), normalised before.

    Set `record = True` to keep the attention of the latest forward pass in `last_attention` (N, heads, T, T), detached:
    rows are queries and sum to 1 over the keys.

    Shape: (N, T, width) -> (N, T, width).
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0):
        super().__init__()
        if width % heads:
            raise ConfigError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.record = False
        self.last_attention: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, width = x.shape
        q, k, v = self.qkv(self.norm(x)).view(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        if self.record:
            self.last_attention = (q @ k.mT * q.shape[-1] ** -0.5).softmax(dim=-1).detach()  # (N, heads, T, T)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, t, width)
        return x + self.dropout(self.proj(mixed))


class RowNorm(nn.BatchNorm1d):
    """Batch norm of rows (N, C) that takes its running statistics for a training batch of one, which has no variance.

    Without this, one face left over for the last batch of an epoch would stop the training.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


class PooledClassifier(nn.Module):
    """A backbone's map, weighted if asked for, averaged over its positions, then dropout and a linear classifier.

    Phases name the parts: `backbone`, `attention` where there is one, `classifier`.

    Args:
        backbone: (N, channels, S, S) -> (N, C, h, w), with timm's `num_features` for C.
        attention: Weighs the map: (N, C, h, w) -> (N, C, h, w).

    Shape: (N, channels, S, S) -> (N, n_classes) logits.
    """

    def __init__(self, backbone: nn.Module, n_classes: int, dropout: float, attention: nn.Module | None = None):
        super().__init__()
        self.backbone = backbone
        if attention is not None:
            self.attention = attention
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(cast(int, backbone.num_features), n_classes)

    def maps(self, x: torch.Tensor) -> torch.Tensor:
        """What is averaged: (N, C, h, w)."""
        x = self.backbone(x)
        return self.attention(x) if hasattr(self, "attention") else x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.maps(x).mean(dim=(2, 3))))


def timm_backbone(name: str, spec: InputSpec, pretrained: bool, **arguments: Any) -> nn.Module:
    """timm's net without pooling and classifier: (N, channels, S, S) -> (N, C, h, w), keys as timm names them.

    Args:
        name: timm's name with the tag of the weights, for example "resnet18.tv_in1k" (torchvision's).
        pretrained: ImageNet weights, see `fer.hub.pretrained_net`.

    Raises:
        HubError: the weights cannot be had.
    """
    from fer import hub
    from fer.torchvision_repair import import_repaired

    arguments |= {"in_chans": spec.channels, "num_classes": 0, "global_pool": ""}
    if pretrained:
        return hub.pretrained_net(name, **arguments)
    return import_repaired("timm").create_model(name.partition(".")[0], **arguments)


def resnet_backbone(name: str, spec: InputSpec, stem: str, pretrained: bool) -> nn.Module:
    """timm's ResNet as `timm_backbone` makes it, with a stem for small faces if asked for.

    Args:
        name, pretrained: As for `timm_backbone`; ImageNet weights only with the published stem.
        stem: "imagenet" as published (7x7 stride 2, then max pooling: stride 32 in all); "native" for small faces: 3x3
            stride 1 and no pooling (He et al. 2016, section 4.2, as for CIFAR-10: stride 8 in all). timm has no
            argument for it, so its `conv1` and `maxpool` are exchanged.

    Raises:
        ConfigError: unknown stem, pretrained weights for a stem that they do not fit, or an input that is too small.
        HubError: the weights cannot be had.
    """
    if stem not in RESNET_STEMS:
        raise unknown_name("stem", stem, RESNET_STEMS)
    if pretrained and stem != "imagenet":
        raise ConfigError(f"ImageNet weights have a 7x7 stem, this net a 3x3 one: set stem=imagenet, got stem={stem}")
    require_size(name.partition(".")[0], spec, 16 if stem == "native" else 32)
    net = timm_backbone(name, spec, pretrained)
    if stem == "native":
        published = net.get_submodule("conv1")
        assert isinstance(published, nn.Conv2d)
        net.conv1 = nn.Conv2d(spec.channels, published.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")  # as timm draws the others
        net.maxpool = nn.Identity()
    return net
