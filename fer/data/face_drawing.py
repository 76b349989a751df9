"""Painting one head onto a canvas: body, skin, hair and light; the features are in face_features.py."""

from __future__ import annotations

import math

import cv2
import numpy as np

from fer.data.face_actions import Actions, Identity
from fer.data.face_canvas import SHIFT, Pen, Pose, curve, dark, ellipse, fixed, mix
from fer.data.face_features import beard, brow, eye, glasses, lines, mouth, nose


def outline(who: Identity, jaw_drop: float, grow: float = 1.0) -> np.ndarray:
    """The head's outline, clockwise from the top."""
    chin = who.chin + 0.17 * jaw_drop
    top = np.linspace(-1.16, 0.1, 24)
    low = np.linspace(0.1, chin, 30)[1:]
    w_top = who.width * np.sqrt(np.clip(1 - ((top - 0.1) / 1.26) ** 2, 0, 1)) ** 0.9
    s = (low - 0.1) / (chin - 0.1)
    w_low = who.width * (1 - s**who.jaw) ** 0.62 * (1 - 0.13 * s)
    y, w = np.concatenate([top, low]), np.concatenate([w_top, w_low]) * grow
    return np.concatenate([np.stack([w, y], axis=1), np.stack([-w, y], axis=1)[::-1]])


def paint_head(canvas: np.ndarray, who: Identity, act: Actions, pose: Pose, rng: np.random.Generator) -> None:
    """Paint a head with neck and shoulders, in place.

    Args:
        canvas: uint8 (H, W, 3) RGB; what lies outside is clipped.
        rng: Decides small things only (which side smirks, how hair falls).
    """
    pen = Pen(canvas, pose)
    side = 1.0 if rng.random() < 0.5 else -1.0
    _body(pen, who)
    _hair_behind(pen, who)
    for s in (-1, 1):
        pen.fill(ellipse(s * who.width * 0.99, 0.16, 0.1, 0.2), dark(who.skin, 0.16), lift=0.0)
    pen.fill(outline(who, act.jaw), who.skin, lift=0.05)
    _shade(canvas, who, act, pose)
    lines(pen, who, act, side)
    nose(pen, who, act)
    for s in (-1, 1):
        eye(pen, who, act, s)
        brow(pen, who, act, s, extra=0.35 * act.smirk if s == side else 0.0)
    beard(pen, who, act, rng)
    mouth(pen, who, act, side)
    _hair_front(pen, who, rng)
    if who.glasses:
        glasses(pen, who)
    _light(canvas, pose)


def _body(pen: Pen, who: Identity) -> None:
    pen.fill(
        np.concatenate(
            [
                curve((-0.45, 1.5), (-1.2, 1.75), (-1.75, 2.1), (-1.95, 3.4)),
                curve((1.95, 3.4), (1.75, 2.1), (1.2, 1.75), (0.45, 1.5)),
            ]
        ),
        who.shirt,
        lift=-0.2,
    )
    neck = np.array([(-0.46, 0.5), (-0.44, 1.3), (-0.56, 1.62), (0, 1.85), (0.56, 1.62), (0.44, 1.3), (0.46, 0.5)])
    pen.fill(neck, dark(who.skin, 0.3), lift=-0.1)


def _hair_behind(pen: Pen, who: Identity) -> None:
    if who.hair_style == "bald":
        return
    w = who.width
    if who.hair_style == "long":
        back = np.concatenate(
            [
                curve((0, -1.34), (w * 0.8, -1.12), (w * 1.2, -0.35), (w * 1.28, 0.5), (w * 1.3, 1.5)),
                curve((-w * 1.3, 1.5), (-w * 1.28, 0.5), (-w * 1.2, -0.35), (-w * 0.8, -1.12), (0, -1.34)),
            ]
        )
    else:
        back = np.concatenate(
            [
                curve((0, -1.32), (w * 0.75, -1.12), (w * 1.1, -0.4), (w * 1.03, 0.1)),
                curve((-w * 1.03, 0.1), (-w * 1.1, -0.4), (-w * 0.75, -1.12), (0, -1.32)),
            ]
        )
    pen.fill(back, dark(who.hair, 0.12), lift=-0.05)


def _hair_front(pen: Pen, who: Identity, rng: np.random.Generator) -> None:
    if who.hair_style == "bald":
        return
    w, part = who.width, rng.uniform(-0.4, 0.4)
    low = {"short": -0.76, "fringe": -0.56, "long": -0.74}[who.hair_style] + rng.uniform(-0.05, 0.03)
    edge = curve(
        (-w * 1.04, -0.02 if who.hair_style != "short" else -0.22),
        (-w * 0.93, -0.45),
        (-w * 0.55, low + rng.uniform(-0.04, 0.04)),
        (part, low - rng.uniform(0.02, 0.14)),
        (w * 0.55, low + rng.uniform(-0.04, 0.04)),
        (w * 0.93, -0.45),
        (w * 1.04, -0.02 if who.hair_style != "short" else -0.22),
        n=40,
    )
    top = curve((w * 1.08, -0.4), (w * 0.75, -1.1), (0, -1.32), (-w * 0.75, -1.1), (-w * 1.08, -0.4), n=30)
    pen.fill(np.concatenate([edge, top]), who.hair, lift=0.1)
    for x in np.linspace(-0.6, 0.6, 7) * w:  # a few strands, so that it is not a flat cap
        pen.line(
            curve((part * 0.4, -1.28), (x * 1.15, -1.0), (x * 1.3, low - 0.02)),
            0.03,
            mix(who.hair, (255, 240, 220), 0.22),
            0.35,
            0.1,
        )


def _shade(canvas: np.ndarray, who: Identity, act: Actions, pose: Pose) -> None:
    """Light and shadow of the skin: smooth spots (gain, x, y, rx, ry) over a rounded head."""
    gap, w = who.eye_gap, who.width
    mouth_y = 0.77 + 0.05 * act.jaw
    spots = [(0.10, 0.0, -0.55, 0.38, 0.2), (0.16, 0.0, 0.2, 0.07, 0.26), (0.13, 0.0, 0.5, 0.09, 0.07)]
    spots += [
        (-0.13, 0.0, 0.63 + who.nose_long, 0.16, 0.05),
        (-0.12, 0.0, mouth_y + 0.17 + 0.15 * act.jaw, 0.17, 0.045),
    ]
    spots += [(0.10, 0.0, 1.02 + 0.15 * act.jaw, 0.16, 0.1), (-0.1 * act.pout, 0.0, 0.99, 0.14, 0.07)]
    low = 0.05 * act.brow_squeeze
    for s in (-1, 1):
        spots += [
            (-0.30 - low, s * gap, -0.02, 0.21, 0.13),  # eye socket
            (-0.22 - low, s * 0.19, -0.03, 0.09, 0.13),  # beside the bridge
            (-0.10, s * 0.16, 0.42, 0.07, 0.16),  # side of the nose
            (0.15 + 0.13 * act.cheek, s * 0.47, 0.37 - 0.07 * act.cheek, 0.2, 0.14),  # cheekbone
            (-0.08 - 0.1 * act.cheek, s * 0.42, 0.62, 0.1, 0.16),  # below it
            (-0.14 - 0.06 * who.age, s * gap, 0.15 - 0.02 * act.lid_lower, 0.15, 0.035),  # under the eye
            (-0.22, s * w * 0.98, 0.35, 0.16, 0.8),  # the head turns away
            (-0.16 * max(act.jaw, 0), s * 0.4, 0.85, 0.1, 0.25),  # hollow cheek of a dropped jaw
            (0.12 * act.nose_wrinkle, s * 0.17, 0.36, 0.08, 0.08),
        ]
    spots.append((-0.2, 0.0, 1.35 + 0.17 * act.jaw, 0.6, 0.12))  # under the chin

    reach = 2.2 * pose.unit_px
    h, wd = canvas.shape[:2]
    x0, x1 = max(int(pose.x_px - reach), 0), min(int(pose.x_px + reach) + 1, wd)
    y0, y1 = max(int(pose.y_px - reach), 0), min(int(pose.y_px + reach) + 1, h)
    if x1 <= x0 or y1 <= y0:
        return
    # smooth enough for a coarse grid
    nx, ny = min(x1 - x0, 72), min(y1 - y0, 72)
    px = (np.linspace(x0, x1 - 1, nx) - pose.x_px) / pose.unit_px
    py = (np.linspace(y0, y1 - 1, ny) - pose.y_px) / pose.unit_px
    c, s_ = math.cos(pose.roll), math.sin(pose.roll)
    u = (c * px[None, :] + s_ * py[:, None]).astype(np.float32)
    v = (-s_ * px[None, :] + c * py[:, None]).astype(np.float32)
    light = np.ones((ny, nx), np.float32)
    depth = 1.25 if who.skin[0] < 185 else 1.0  # the same relief needs more contrast on dark skin
    centres = pose.turned(np.array([(x, y) for _, x, y, _, _ in spots]))
    for (gain, _, _, rx, ry), (x, y) in zip(spots, centres, strict=True):
        gain *= depth if gain < 0 else 1
        light += np.float32(gain) * np.exp(-0.5 * (((u - np.float32(x)) / rx) ** 2 + ((v - np.float32(y)) / ry) ** 2))
    light = cv2.resize(np.clip(light, 0.35, 1.45), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(mask, [fixed(pose.pixels(outline(who, act.jaw), 0.05) - (x0, y0))], 255, cv2.LINE_AA, SHIFT)
    light = 1 + (light - 1) * (mask.astype(np.float32) / 255)
    part = canvas[y0:y1, x0:x1]
    shine = 28 * np.maximum(light - 1, 0)
    # shadows of skin are warm: green and blue fall off faster than red
    for channel, power in ((0, 0.85), (1, 1.05), (2, 1.15)):
        part[:, :, channel] = np.clip(part[:, :, channel] * light**power + shine, 0, 255).astype(np.uint8)


def _light(canvas: np.ndarray, pose: Pose) -> None:
    """Side light over the head and whatever is near it."""
    if not pose.light:
        return
    h, w = canvas.shape[:2]
    reach = 3 * pose.unit_px
    x0, x1 = max(int(pose.x_px - reach), 0), min(int(pose.x_px + reach), w)
    y0, y1 = max(int(pose.y_px - reach), 0), min(int(pose.y_px + reach), h)
    if x1 <= x0 or y1 <= y0:
        return
    dx = (np.arange(x0, x1, dtype=np.float32) - pose.x_px) / pose.unit_px
    dy = (np.arange(y0, y1, dtype=np.float32) - pose.y_px) / pose.unit_px
    fade = np.exp(-0.5 * ((dx[None, :] / 1.3) ** 2 + (dy[:, None] / 1.5) ** 2))
    slope = math.cos(pose.light_angle) * dx[None, :] + math.sin(pose.light_angle) * dy[:, None]
    gain = 1 + np.float32(pose.light) * np.clip(slope, -1.2, 1.2) * fade
    part = canvas[y0:y1, x0:x1]
    part[:] = np.clip(part * gain[:, :, None].astype(np.float32), 0, 255).astype(np.uint8)
