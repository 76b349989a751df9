"""Blocks that several models share."""

from __future__ import annotations

import torch
from torch import nn


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
