"""Brows, eyes, nose, mouth, lines, beard and glasses: where an expression shows."""

from __future__ import annotations

import numpy as np

from fer.data.face_actions import Actions, Identity
from fer.data.face_canvas import Color, Pen, curve, dark, ellipse, mix, ribbon

_TEETH: Color = (238, 234, 224)
_INSIDE: Color = (58, 20, 22)
_TONGUE: Color = (176, 84, 84)
_SCLERA: Color = (236, 232, 228)


def brow(pen: Pen, who: Identity, act: Actions, s: int, extra: float = 0.0) -> None:
    """One brow; s = -1 left of the picture, 1 right; extra raising of this one alone."""
    inner = -0.25 - 0.135 * act.brow_inner - 0.08 * extra
    outer = -0.22 - 0.125 * act.brow_outer - 0.1 * extra
    middle = -0.27 - 0.03 * who.brow_arch - 0.06 * act.brow_inner - 0.105 * act.brow_outer - 0.1 * extra
    x = 0.17 - 0.05 * act.brow_squeeze
    points = curve(
        (s * x, inner + 0.02),
        (s * (x + 0.1), (inner * 1.2 + middle * 0.8) / 2),
        (s * 0.42, middle),
        (s * 0.67, outer),
        n=22,
    )
    t = np.linspace(0, 1, 22)
    width = 0.085 * who.brow_thick * (0.75 + 0.5 * t) * np.clip((1 - t) / 0.55, 0.12, 1)
    width[0] *= 0.6
    # darker than the hair of the head, as most brows are, and than the skin they lie on
    color = mix(mix(who.hair, (34, 24, 20), 0.45), dark(who.skin, 0.75), 0.25)
    pen.blend(ribbon(points, width), color, 0.9)


def eye(pen: Pen, who: Identity, act: Actions, s: int) -> None:
    """One eye with its lids."""
    x, half = s * who.eye_gap, who.eye_width
    wide = float(np.clip(1 + 0.5 * act.lid_upper, 0.25, 1.6))
    up = 0.078 * who.eye_open * wide
    low = 0.05 * who.eye_open * float(np.clip(1 - 0.6 * act.lid_lower + 0.25 * max(act.lid_upper, 0), 0.2, 1.4))
    t = np.linspace(-1, 1, 25)
    # a sad lid falls to the outside, an angry one to the inside
    slant = 0.03 * act.brow_inner * (1 if act.lid_upper < 0 else 0) + 0.035 * min(act.brow_inner, 0)
    tilt = slant * s * t - 0.012 * s * t
    upper = np.stack([x + half * t, -up * (1 - t**2) ** 0.75 + tilt], axis=1)
    lower = np.stack([x + half * t, low * (1 - t**2) ** 0.8 + tilt], axis=1)
    lids = np.concatenate([upper, lower[::-1]])
    look = 0.045 * act.gaze_down - 0.008
    r = 0.078
    pen.inside(
        lids,
        [
            (ellipse(x, 0, half * 1.1, 0.3), mix(_SCLERA, who.skin, 0.25)),
            (ellipse(x, look, r, r), dark(who.iris, 0.35)),
            (ellipse(x, look, r * 0.82, r * 0.82), who.iris),
            (ellipse(x, look, r * 0.42, r * 0.42), (12, 10, 10)),
            (ellipse(x - 0.025, look - 0.028, 0.018, 0.018, 14), (250, 250, 250)),
            (np.concatenate([upper + np.array([0, -0.05]), (upper + np.array([0, 0.014]))[::-1]]), (120, 98, 92)),
        ],
    )
    lash = mix(who.hair, (20, 14, 12), 0.7)
    pen.blend(ribbon(upper, 0.032 * np.clip(1.3 - np.abs(t) ** 3, 0.35, 1)), lash, 0.95)
    pen.line(lower, 0.016, dark(who.skin, 0.5), 0.6)
    fold = np.stack(
        [x + half * 1.05 * t, -up * (1 - t**2) ** 0.6 + tilt - 0.045 + 0.02 * min(act.brow_inner, 0)], axis=1
    )
    pen.line(fold, 0.016, dark(who.skin, 0.45), 0.5)
    bag = np.stack([x + half * 0.9 * t, low * (1 - t**2) + 0.055 - 0.01 * act.lid_lower], axis=1)
    pen.line(bag, 0.02, dark(who.skin, 0.4), 0.22 + 0.35 * max(act.lid_lower, 0) + 0.25 * who.age)


def nose(pen: Pen, who: Identity, act: Actions) -> None:
    """Wings, nostrils and the shadow of the tip."""
    w, y = who.nose_width, 0.52 + who.nose_long - 0.035 * act.nose_wrinkle
    shade = dark(who.skin, 0.5)
    for s in (-1, 1):
        spread = 0.17 * w * (1 + 0.12 * act.nose_wrinkle)
        pen.line(
            curve((s * spread * 0.85, y - 0.11), (s * spread, y - 0.02), (s * spread * 0.75, y + 0.045)),
            0.026,
            shade,
            0.65,
        )
        pen.blend(ellipse(s * 0.075 * w, y + 0.035, 0.042 * w, 0.021), dark(who.skin, 0.75), 0.8)
        pen.line(curve((s * 0.115, 0.02), (s * 0.1, 0.2), (s * 0.13 * w, y - 0.12)), 0.03, dark(who.skin, 0.3), 0.35)
    pen.line(curve((-0.09 * w, y + 0.06), (0, y + 0.085), (0.09 * w, y + 0.06)), 0.026, shade, 0.6)


def lines(pen: Pen, who: Identity, act: Actions, side: float) -> None:
    """Wrinkles: those of the expression, and those of age, which are there in every expression."""
    shade = dark(who.skin, 0.5)
    raised = float(np.clip((act.brow_inner + max(act.brow_outer, 0)) / 2, 0, 1))
    forehead = max(0.6 * raised, 0.4 * who.age)
    for i, y in enumerate((-0.46, -0.56, -0.66)):
        arch = -0.05 * act.brow_outer + 0.05 * max(act.brow_inner - act.brow_outer, 0)
        pen.line(
            curve(
                (-0.42 + 0.04 * i, y - 0.04 * raised),
                (0, y + arch * 0.5 - 0.06 * raised),
                (0.42 - 0.04 * i, y - 0.04 * raised),
            ),
            0.024,
            shade,
            forehead,
        )
    for s in (-1, 1):
        frown = max(0.85 * act.brow_squeeze, 0.25 * who.age) if act.brow_inner < 0.3 else 0.4 * act.brow_squeeze
        pen.line(curve((s * 0.045, -0.37), (s * 0.06, -0.27), (s * 0.05, -0.15)), 0.026, shade, min(frown, 0.9))
        if act.nose_wrinkle > 0.1:
            for k in range(3):
                y = 0.02 + 0.075 * k
                pen.line(
                    curve((s * 0.02, y - 0.01), (s * 0.08, y + 0.01), (s * 0.13, y + 0.06)),
                    0.024,
                    shade,
                    0.7 * act.nose_wrinkle,
                )
        crow = max(0.6 * act.cheek, 0.3 * who.age)
        for dy in (-0.05, 0.02, 0.09):
            pen.line(
                curve((s * (who.eye_gap + 0.2), 0.02 + dy * 0.5), (s * (who.eye_gap + 0.31), 0.02 + dy * 1.5)),
                0.016,
                shade,
                crow,
            )
        folds = max(0.85 * act.folds + (0.3 * act.smirk if s == side else 0), 0.45 * who.age)
        lift = 0.05 * act.nose_wrinkle
        out = 0.04 * max(act.corner, 0) + 0.03 * act.lip_raise
        pen.line(
            curve((s * 0.2, 0.43 - lift), (s * (0.33 + out), 0.56 - lift), (s * (0.42 + 1.3 * out), 0.76)),
            0.032,
            shade,
            min(folds, 0.85),
        )
        droop = max(0.75 * -act.corner, 0.3 * who.age)
        pen.line(curve((s * 0.34, 0.84), (s * 0.37, 0.92), (s * 0.36, 1.0)), 0.022, shade, min(max(droop, 0), 0.8))
    if act.pout > 0.2:
        pen.line(curve((-0.13, 0.965), (0, 0.93), (0.13, 0.965)), 0.03, shade, 0.6 * act.pout)


def mouth(pen: Pen, who: Identity, act: Actions, side: float) -> None:
    """Lips, opening, teeth and tongue."""
    half = who.mouth_width * (1 + 0.32 * act.stretch)
    y0 = 0.77 - 0.03 * act.lip_raise + 0.02 * act.corner - 0.02 * act.pout
    t = np.linspace(-1, 1, 41)
    bend = np.abs(t) ** 1.8
    corner = -0.115 * act.corner * np.ones_like(t)
    corner[side * t > 0] -= 0.13 * act.smirk
    base = y0 + corner * bend
    gap = 0.3 * max(act.open_mouth, 0) * (1 + 0.35 * act.jaw)
    lens = (1 - t**2) ** (0.62 - 0.4 * min(act.square, 1))
    inner_up = base - gap * (0.3 + 0.25 * act.lip_raise) * lens - 0.04 * act.lip_raise * (1 - t**2)
    inner_low = np.maximum(
        base + gap * 0.7 * lens - 0.035 * act.pout * (1 - t**2) - 0.025 * act.lip_raise * (1 - t**2), inner_up
    )
    thin = 1 - 0.6 * float(np.clip(act.press, 0, 1))
    bow = 1 - 0.25 * np.exp(-((t / 0.12) ** 2)) + 0.12 * np.exp(-(((np.abs(t) - 0.25) / 0.15) ** 2))
    outer_up = inner_up - 0.062 * who.lip_thick * thin * (1 - np.abs(t) ** 2.2) * bow * (1 - 0.25 * max(act.corner, 0))
    outer_low = inner_low + 0.085 * who.lip_thick * thin * (1 - t**2) ** 0.8 * (1 + 0.35 * act.pout)
    x = half * t + 0.02 * side * act.smirk * bend

    def band(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
        return np.concatenate([np.stack([x, top], axis=1), np.stack([x, bottom], axis=1)[::-1]])

    pen.fill(band(outer_up, (inner_up + inner_low) / 2), dark(who.lips, 0.2))
    pen.fill(band((inner_up + inner_low) / 2, outer_low), who.lips)
    shine = outer_low * 0.45 + inner_low * 0.55
    pen.line(np.stack([x, shine], axis=1)[10:31], 0.025, mix(who.lips, (255, 235, 230), 0.5), 0.45)
    opening = inner_low - inner_up
    if opening.max() > 0.02:
        shapes: list[tuple[np.ndarray, Color]] = [(band(inner_up - 0.05, inner_low + 0.05), _INSIDE)]
        if act.jaw > 0.3 or act.open_mouth > 0.6:
            tongue = np.maximum(inner_low - 0.35 * gap * np.clip(1 - (t / 0.75) ** 2, 0, 1), inner_up)
            shapes.append((band(tongue, inner_low + 0.05), _TONGUE))
        for share, upper in ((act.teeth_upper, True), (act.teeth_lower, False)):
            height = float(np.clip(share, 0, 1)) * opening.max()
            if height > 0.01:
                edge = inner_up + height if upper else inner_low - height
                shapes.append((band(inner_up - 0.05, edge) if upper else band(edge, inner_low + 0.05), _TEETH))
                for k in np.linspace(-0.75, 0.75, 7) * half:
                    seam = np.array([(k - 0.004, -1.0), (k + 0.004, -1.0), (k + 0.004, 2.0), (k - 0.004, 2.0)])
                    low, high = (y0 - 0.3, float(edge.max())) if upper else (float(edge.min()), y0 + 0.5)
                    shapes.append((np.clip(seam, [-9, low], [9, high]), (196, 188, 178)))
        pen.inside(band(inner_up, inner_low), shapes)
        pen.line(np.stack([x, inner_up], axis=1), 0.018, dark(who.lips, 0.6), 0.8)
    else:
        middle = base if act.pout < 0.2 else (inner_up + inner_low) / 2
        pen.line(np.stack([x * 1.04, middle], axis=1), 0.03, dark(who.lips, 0.72), 0.95)
    for s in (-1, 1):
        deep = 0.45 + 0.4 * min(abs(act.corner) + (act.smirk if s == side else 0), 1)
        end = 0 if s < 0 else -1
        pen.blend(ellipse(x[end], base[end], 0.026, 0.022, 16), dark(who.skin, 0.6), deep)


def beard(pen: Pen, who: Identity, act: Actions, rng: np.random.Generator) -> None:
    """Stubble, moustache or full beard; it is painted under the mouth and follows the jaw."""
    if who.beard == "none":
        return
    color = dark(who.hair, 0.1)
    lift = 0.03 * act.lip_raise
    if who.beard in ("moustache", "full"):
        for s in (-1, 1):
            wing = curve((0, 0.655 - lift), (s * 0.16, 0.65 - lift), (s * 0.34, 0.74 - 0.07 * act.corner))
            pen.blend(ribbon(wing, 0.09 * np.linspace(1, 0.25, len(wing))), color, 0.85)
    if who.beard in ("stubble", "full"):
        chin, w = who.chin + 0.17 * act.jaw, who.width
        rim = [
            (-0.97 * w, 0.3),
            (-0.86 * w, 0.72),
            (-0.5 * w, chin - 0.08),
            (0, chin + 0.01),
            (0.5 * w, chin - 0.08),
            (0.86 * w, 0.72),
            (0.97 * w, 0.3),
        ]
        inner = [
            (0.86 * w, 0.35),
            (0.62, 0.72),
            (0.36, 0.9 + 0.1 * act.jaw),
            (0, 0.98 + 0.14 * act.jaw),
            (-0.36, 0.9 + 0.1 * act.jaw),
            (-0.62, 0.72),
            (-0.86 * w, 0.35),
        ]
        pen.blend(np.concatenate([curve(*rim, n=40), curve(*inner, n=40)]), color, 0.8 if who.beard == "full" else 0.25)


def glasses(pen: Pen, who: Identity) -> None:
    """Thin frames: they must not hide what the eyes do."""
    frame: Color = (46, 40, 40)
    for s in (-1, 1):
        ring = ellipse(s * who.eye_gap, 0.03, 0.265, 0.2, 48)
        closed = np.concatenate([ring, ring[:1]])
        pen.blend(ribbon(closed, np.full(len(closed), 0.03)), frame, 0.85, lift=0.5)
        arm = np.array([(s * (who.eye_gap + 0.26), -0.01), (s * who.width, -0.03)])
        pen.blend(ribbon(arm, np.full(2, 0.03)), frame, 0.8, lift=0.35)
    bridge = curve((-who.eye_gap + 0.25, 0.0), (0, -0.035), (who.eye_gap - 0.25, 0.0))
    pen.blend(ribbon(bridge, np.full(len(bridge), 0.03)), frame, 0.85, lift=0.52)
