"""The drawing board for faces: face units, poses, and a pen that fills shapes.

Face units: origin between the eyes, x to the right of the picture, y down, z towards the viewer; the eyes lie about 0.4
left and right of it, the mouth at y = 0.77, the chin at about y = 1.15. A pose turns face units into pixels.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

# The square that a detector draws around a face, and that FER2013 fills its frame with: centre (0, BOX_Y), half a side.
BOX_Y, BOX_HALF = 0.22, 0.93
SHIFT = 4  # sub-pixel bits of OpenCV's drawing functions

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Pose:
    """Where a head is and how it is turned.

    Attributes:
        x_px, y_px: Place of the origin. unit_px: Pixels per face unit.
        roll, yaw, pitch: Radians; positive yaw turns the nose to the right of the picture, positive pitch lowers it.
        light: Strength of the side light, -0.4..0.4. light_angle: Its direction in radians.
    """

    x_px: float
    y_px: float
    unit_px: float
    roll: float = 0.0
    yaw: float = 0.0
    pitch: float = 0.0
    light: float = 0.0
    light_angle: float = 0.0

    def turned(self, points: np.ndarray, lift: float | None = None) -> np.ndarray:
        """(n, 2) face units after yaw and pitch, in face units; `lift` is the depth, by default a head's surface."""
        p = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        z: np.ndarray | float
        if lift is None:
            z = 0.55 * np.sqrt(np.maximum(1 - p[:, 0] ** 2 - ((p[:, 1] - 0.1) / 1.5) ** 2, 0))
        else:
            z = lift
        out = p * (math.cos(self.yaw), math.cos(self.pitch))
        out[:, 0] += z * math.sin(self.yaw)
        out[:, 1] += z * math.sin(self.pitch)
        return out

    def pixels(self, points: np.ndarray, lift: float | None = None) -> np.ndarray:
        """(n, 2) face units to (n, 2) pixels."""
        c, s = self.unit_px * math.cos(self.roll), self.unit_px * math.sin(self.roll)
        return self.turned(points, lift) @ np.array([[c, s], [-s, c]]) + (self.x_px, self.y_px)

    def box(self) -> tuple[float, float, float, float]:
        """The square around the face, in pixels, unclipped: what a detector should find."""
        (x, y), half = self.pixels(np.array([[0.0, BOX_Y]]), lift=0.12)[0], BOX_HALF * self.unit_px
        return x - half, y - half, x + half, y + half


class Pen:
    """Draws shapes given in face units onto a uint8 (H, W, 3) RGB canvas."""

    def __init__(self, canvas: np.ndarray, pose: Pose) -> None:
        self.canvas = canvas
        self.pose = pose

    def fill(self, points: np.ndarray, color: Color, lift: float | None = None) -> None:
        """A filled polygon."""
        cv2.fillPoly(self.canvas, [fixed(self.pose.pixels(points, lift))], _rgb(color), cv2.LINE_AA, SHIFT)

    def line(
        self, points: np.ndarray, width: float, color: Color, alpha: float = 1.0, lift: float | None = None
    ) -> None:
        """A line that thins out towards both ends; `width` in face units at its middle."""
        if alpha <= 0.01:
            return
        self.blend(ribbon(points, width * _taper(len(points))), color, alpha, lift)

    def blend(self, points: np.ndarray, color: Color, alpha: float, lift: float | None = None) -> None:
        """A filled polygon with opacity."""
        p = self.pose.pixels(points, lift)
        part, origin = self._part(p)
        if part.size:
            layer = part.copy()
            cv2.fillPoly(layer, [fixed(p - origin)], _rgb(color), cv2.LINE_AA, SHIFT)
            cv2.addWeighted(layer, min(alpha, 1.0), part, 1 - min(alpha, 1.0), 0, dst=part)

    def inside(self, outline: np.ndarray, shapes: list[tuple[np.ndarray, Color]], lift: float | None = None) -> None:
        """Polygons, one over the other, clipped by an outline."""
        p = self.pose.pixels(outline, lift)
        part, origin = self._part(p)
        if not part.size:
            return
        layer = part.copy()
        for points, color in shapes:
            cv2.fillPoly(layer, [fixed(self.pose.pixels(points, lift) - origin)], _rgb(color), cv2.LINE_AA, SHIFT)
        mask = np.zeros(part.shape[:2], np.uint8)
        cv2.fillPoly(mask, [fixed(p - origin)], 255, cv2.LINE_AA, SHIFT)
        weight = mask[:, :, None].astype(np.float32) / 255
        part[:] = (layer * weight + part * (1 - weight) + 0.5).astype(np.uint8)

    def _part(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """View of the canvas around some points, and its top left corner."""
        h, w = self.canvas.shape[:2]
        left, top = pixels.min(axis=0)
        right, bottom = pixels.max(axis=0)
        x0, x1 = (min(max(int(v), 0), w) for v in (left - 3, right + 4))
        y0, y1 = (min(max(int(v), 0), h) for v in (top - 3, bottom + 4))
        return self.canvas[y0:y1, x0:x1], np.array([x0, y0], float)


@functools.lru_cache(maxsize=64)
def _taper(n: int) -> np.ndarray:
    return np.sin(np.linspace(0.15, math.pi - 0.15, n))


def fixed(pixels: np.ndarray) -> np.ndarray:
    return np.rint(pixels * (1 << SHIFT)).astype(np.int32)


def _rgb(color: Color) -> tuple[int, int, int]:
    r, g, b = (int(min(max(v, 0), 255)) for v in color)
    return r, g, b


def mix(a: Color, b: Color, share: float) -> Color:
    return tuple(x * (1 - share) + y * share for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def dark(color: Color, by: float) -> Color:
    """A shade of a skin or lip: shadows of skin keep more red than blue."""
    return color[0] * (1 - 0.85 * by), color[1] * (1 - by), color[2] * (1 - by)


@functools.lru_cache(maxsize=256)
def _basis(k: int, n: int) -> np.ndarray:
    """(n, k) weights of a Catmull-Rom curve through k points, sampled n times."""
    t = np.linspace(0, k - 1 - 1e-9, n)
    i = t.astype(int)
    f = t - i
    weights = np.zeros((n, k + 2))
    at = np.arange(n)
    for j, w in enumerate((-f + 2 * f**2 - f**3, 2 - 5 * f**2 + 3 * f**3, f + 4 * f**2 - 3 * f**3, -(f**2) + f**3)):
        weights[at, i + j] += 0.5 * w
    weights[:, 1] += weights[:, 0]  # the ends count twice
    weights[:, -2] += weights[:, -1]
    return weights[:, 1:-1]


def curve(*points: tuple[float, float], n: int = 20) -> np.ndarray:
    """A smooth open curve through points (Catmull and Rom 1974), (n, 2)."""
    return _basis(len(points), n) @ np.array(points, float)


def ribbon(points: np.ndarray, width: np.ndarray) -> np.ndarray:
    """The outline of a line with the given width at each point."""
    d = np.empty_like(points)
    d[1:-1] = points[2:] - points[:-2]
    d[0], d[-1] = points[1] - points[0], points[-1] - points[-2]
    half = (0.5 * width / (np.hypot(d[:, 0], d[:, 1]) + 1e-9))[:, None] * d[:, ::-1] * (-1.0, 1.0)
    return np.concatenate([points + half, (points - half)[::-1]])


def ellipse(x: float, y: float, rx: float, ry: float, n: int = 40) -> np.ndarray:
    t = np.linspace(0, 2 * math.pi, n, endpoint=False)
    return np.stack([x + rx * np.cos(t), y + ry * np.sin(t)], axis=1)
