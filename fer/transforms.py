"""InputSpec -> the only resize, normalise and augment code there is.

`prepare` (NumPy) is shared by every backend; `normalise` and `augment` (torch) run batched on the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from fer.errors import ImageError
from fer.specs import Augment, InputSpec

if TYPE_CHECKING:
    import torch

Faces = np.ndarray | Sequence[np.ndarray]


def prepare(faces: Faces, spec: InputSpec, crop: bool = True) -> np.ndarray:
    """Faces of any size, grey or RGB, as one uint8 array of the size and channels that the spec asks for.

    Grey is ITU-R BT.601 luma (as in FER2013). Faces are squeezed to a square, as the data sets' own faces were.

    Args:
        faces: uint8 (N, H, W) or (N, H, W, 3), or a sequence of (H, W) / (H, W, 3) arrays of any size.
        crop: False stops after the resize (training crops by its own random affine map).

    Returns:
        uint8 (N, S, S) for one channel, (N, S, S, 3) for three; S = size_px (resize_px without the crop).

    Raises:
        ImageError: wrong dtype or shape.
    """
    side = spec.resize_px
    if isinstance(faces, np.ndarray) and (faces.ndim not in (3, 4) or (faces.ndim == 3 and faces.shape[2] == 3)):
        raise ImageError(
            f"expected a batch of faces, (N, H, W) or (N, H, W, 3), got one array of shape {faces.shape}; "
            "for one face pass [face]"
        )
    shape = (len(faces), side, side) if spec.channels == 1 else (len(faces), side, side, 3)
    if isinstance(faces, np.ndarray) and faces.dtype == np.uint8 and faces.shape == shape:
        out = faces
    else:
        out = np.empty(shape, dtype=np.uint8)
        for i, face in enumerate(faces):
            out[i] = _one(face, side, spec.channels, i)
    if crop and spec.size_px < side:
        a = (side - spec.size_px) // 2
        out = out[:, a : a + spec.size_px, a : a + spec.size_px]
    return out


def _one(face: np.ndarray, side: int, channels: int, position: int) -> np.ndarray:
    import cv2

    face = np.asarray(face)
    if face.dtype != np.uint8 or face.ndim not in (2, 3) or (face.ndim == 3 and face.shape[2] != 3) or not face.size:
        raise ImageError(f"face {position}: expected uint8 (H, W) grey or (H, W, 3) RGB, got {face.dtype} {face.shape}")
    if channels == 1 and face.ndim == 3:
        face = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    elif channels == 3 and face.ndim == 2:
        face = cv2.cvtColor(face, cv2.COLOR_GRAY2RGB)
    if face.shape[:2] != (side, side):
        shrink = min(face.shape[:2]) > side
        face = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR)
    return face


TEN_CROP_MARGIN = 48 / 44  # how much larger than the crops the face is where the spec leaves no margin


def ten_crop(faces: Faces, spec: InputSpec) -> np.ndarray:
    """Four corners, centre, and the mirror images of these five (Krizhevsky et al. 2012, section 4.1).

    The crops are those of a face of `resize_px` where that is larger than `size_px`; else the face is enlarged by
    48/44 first.

    Args:
        faces: As for `prepare`.

    Returns:
        uint8 (10, N, S, S) or (10, N, S, S, 3) with S = size_px, ready for a predictor whose `resize_px` is S too:
        top left, top right, bottom left, bottom right, centre, then their mirror images.

    Raises:
        ImageError: see `prepare`.
    """
    size = spec.size_px
    side = spec.resize_px if spec.resize_px > size else round(size * TEN_CROP_MARGIN)
    whole = prepare(faces, replace(spec, resize_px=side), crop=False)
    end, middle = side - size, (side - size) // 2
    corners = ((0, 0), (0, end), (end, 0), (end, end), (middle, middle))
    crops = np.stack([whole[:, y : y + size, x : x + size] for y, x in corners])
    return np.concatenate([crops, crops[:, :, :, ::-1]])


def normalise(batch: torch.Tensor, spec: InputSpec) -> torch.Tensor:
    """uint8 (N, S, S) or (N, S, S, 3) -> float32 (N, C, S, S), `(x / 255 - mean) / std`."""
    x = batch.unsqueeze(1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
    return (x.float() / 255.0 - spec.mean) / spec.std


def keyed_uniform(seed: int, epoch: int, index: np.ndarray, n: int) -> np.ndarray:
    """Random numbers that depend only on (seed, epoch, index): not on batch size, order, device or process.

    SplitMix64 (Steele, Lea and Flood 2014) over a counter.

    Args:
        index: (N,) int, position of each image in its split.
        n: Numbers per image.

    Returns:
        float64 (N, n) in [0, 1).
    """
    with np.errstate(over="ignore"):
        key = _mix(np.array([seed % 2**63], dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(epoch))
        base = _mix(key + np.asarray(index).astype(np.uint64) * np.uint64(0xD1342543DE82EF95))
        z = _mix(base[:, None] + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (z >> np.uint64(11)).astype(np.float64) / 2.0**53


def _mix(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def on_device(t: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device. CUDA copies it while it computes, instead of ending all it has begun first."""
    return t.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else t.to(device)


def augment(batch: torch.Tensor, random: np.ndarray, how: Augment, spec: InputSpec) -> torch.Tensor:
    """A random view of each face, in one batched affine map on the batch's device.

    Args:
        batch: uint8 (N, R, R) or (N, R, R, 3), R = spec.resize_px.
        random: (N, N_RANDOM) from `keyed_uniform`; one row per image.

    Returns:
        float32 (N, C, size_px, size_px), normalised. The centre crop of an unchanged face is `normalise(prepare(...))`.
    """
    import torch
    import torch.nn.functional as F

    u = on_device(torch.from_numpy(random).float(), batch.device)
    signed = 2 * u - 1
    x = batch.unsqueeze(1) if batch.ndim == 3 else batch.permute(0, 3, 1, 2)
    if how.randaugment:
        x = _randaugment(x, random[:, _RANDAUGMENT:], how)
    x = x.float() / 255.0
    n, size, side = len(x), spec.size_px, x.shape[-1]

    angle = signed[:, 0] * (how.rotate_deg * np.pi / 180)
    low, high = np.log(how.scale_min), np.log(how.scale_max)
    reach = (size / side) / torch.exp(low + (high - low) * u[:, 1])
    mirror = 1 - 2 * (u[:, 2] < how.flip).float()
    cos, sin = torch.cos(angle) * reach, torch.sin(angle) * reach
    shift_x, shift_y = signed[:, 3] * (2 * how.shift), signed[:, 4] * (2 * how.shift)
    theta = torch.stack([cos * mirror, -sin, shift_x, sin * mirror, cos, shift_y], dim=1).view(n, 2, 3)
    # affine_grid wants output corners at +-1; a centre crop with an odd margin sits half a pixel off the middle
    odd = ((side - size) % 2) / side
    theta[:, :, 2] -= odd
    grid = F.affine_grid(theta, [n, x.shape[1], size, size], align_corners=False)
    # repeats the border, like padding_mode="border", which MPS lacked for long
    grid = grid.clamp(-(1 - 1 / side), 1 - 1 / side)
    x = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    gain = (1 + signed[:, 5] * how.contrast).view(n, 1, 1, 1)
    offset = (signed[:, 6] * how.brightness).view(n, 1, 1, 1)
    x = ((x - 0.5) * gain + 0.5 + offset).clamp_(0, 1)
    if how.saturation and x.shape[1] == 3:
        luma = (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
        x = (luma + (x - luma) * (1 + signed[:, 13] * how.saturation).view(n, 1, 1, 1)).clamp_(0, 1)

    if how.erase > 0:
        least = min(0.02, how.erase_area_max)
        area = least + (how.erase_area_max - least) * u[:, 8]
        aspect = torch.exp(signed[:, 9] * np.log(3.0))
        half_h, half_w = (area * aspect).sqrt() / 2, (area / aspect).sqrt() / 2
        ticks = (torch.arange(size, device=x.device, dtype=torch.float32) + 0.5) / size
        rows = (ticks[None] - u[:, 10:11]).abs() <= half_h[:, None]
        cols = (ticks[None] - u[:, 11:12]).abs() <= half_w[:, None]
        hit = (u[:, 7] < how.erase)[:, None, None] & rows[:, :, None] & cols[:, None, :]
        x = torch.where(hit[:, None], u[:, 12].view(n, 1, 1, 1), x)
    return (x - spec.mean) / spec.std


_RANDAUGMENT = 14  # first of the two columns that each of up to four operations reads
N_RANDOM = _RANDAUGMENT + 2 * 4  # columns that `augment` reads


def _randaugment(x: torch.Tensor, random: np.ndarray, how: Augment) -> torch.Tensor:
    """RandAugment (Cubuk et al. 2020) with torchvision's operations and ranges; each face has its own operations.

    Args:
        x: uint8 (N, C, R, R).
        random: (N, 2 k or more): operation and sign of each of the k operations.

    Returns:
        uint8 (N, C, R, R).
    """
    import torch

    from fer.torchvision_repair import import_repaired

    f = import_repaired("torchvision.transforms.v2.functional")
    side, m = x.shape[-1], how.magnitude / 30
    level = 0.9 * m

    def move(angle: float = 0.0, dx: float = 0.0, dy: float = 0.0, shear: tuple[float, float] = (0.0, 0.0)):  # type: ignore[no-untyped-def]
        bilinear = f.InterpolationMode.BILINEAR
        return lambda t: f.affine(t, angle, [round(dx), round(dy)], 1.0, list(shear), interpolation=bilinear)

    def operations(sign: int) -> list[Callable[[torch.Tensor], torch.Tensor]]:
        slant = sign * math.degrees(math.atan(0.3 * m))
        return [
            lambda t: t,
            move(shear=(slant, 0.0)),
            move(shear=(0.0, slant)),
            move(dx=sign * 150 / 331 * side * m),
            move(dy=sign * 150 / 331 * side * m),
            move(angle=sign * 30 * m),
            lambda t: f.adjust_brightness(t, 1 + sign * level),
            lambda t: f.adjust_contrast(t, 1 + sign * level),
            lambda t: f.adjust_sharpness(t, 1 + sign * level),
            lambda t: f.posterize(t, 8 - round(4 * m)),
            lambda t: f.solarize(t, 255 * (1 - m)),
            f.autocontrast,
            f.equalize,
        ]

    out = x.clone()
    count = len(operations(1))
    for k in range(how.randaugment):
        which = np.minimum((random[:, 2 * k] * count).astype(int), count - 1)
        sign = np.where(random[:, 2 * k + 1] < 0.5, -1, 1)
        for number in range(1, count):
            for s in (-1, 1):
                chosen = np.flatnonzero((which == number) & (sign == s))
                if len(chosen):
                    hit = on_device(torch.from_numpy(chosen), x.device)
                    out[hit] = operations(s)[number](out[hit])
    return out
