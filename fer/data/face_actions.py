"""What a drawn face does (its expression) and whose it is (its identity), as numbers.

The expressions follow Ekman and Friesen's action units (Facial Action Coding System, 1978): each is a set of movements
of brows, lids, nose, cheeks, mouth and jaw away from the neutral face. Identity never depends on the expression.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from fer.errors import unknown_name


@dataclass(frozen=True)
class Actions:
    """Movements away from the neutral face; 0 = at rest, 1 = strong.

    Attributes:
        brow_inner, brow_outer: Raising of the two ends of the brows (AU1, AU2); negative lowers.
        brow_squeeze: Drawing the brows together, with upright lines between them (AU4).
        lid_upper: Wider (positive) or drooping (negative) upper lid (AU5, AU43).
        lid_lower: Raised, tense lower lid (AU7).
        cheek: Raised cheeks, crow's feet (AU6).
        nose_wrinkle: Wrinkled bridge, raised wings of the nose (AU9).
        lip_raise: Raised upper lip (AU10).
        corner: Corners of the mouth up (AU12) or down (AU15).
        stretch: Wider (AU20) or narrower (AU18) mouth.
        open_mouth: Parted lips (AU25). jaw: Dropped jaw (AU26, AU27).
        square: Rectangular rather than lens-shaped opening.
        press: Lips pressed thin (AU23, AU24).
        pout: Lower lip and chin pushed up (AU17).
        teeth_upper, teeth_lower: Share of the opening that shows teeth.
        smirk: One corner only (AU14), the side drawn at random.
        gaze_down: Eyes lowered.
        folds: Depth of the folds from nose to mouth.
    """

    brow_inner: float = 0.0
    brow_outer: float = 0.0
    brow_squeeze: float = 0.0
    lid_upper: float = 0.0
    lid_lower: float = 0.0
    cheek: float = 0.0
    nose_wrinkle: float = 0.0
    lip_raise: float = 0.0
    corner: float = 0.0
    stretch: float = 0.0
    open_mouth: float = 0.0
    jaw: float = 0.0
    square: float = 0.0
    press: float = 0.0
    pout: float = 0.0
    teeth_upper: float = 0.0
    teeth_lower: float = 0.0
    smirk: float = 0.0
    gaze_down: float = 0.0
    folds: float = 0.0


# Several ways to show one thing: a smile with and without teeth, anger shut and shouting.
EXPRESSIONS: dict[str, tuple[Actions, ...]] = {
    "angry": (
        Actions(
            brow_inner=-1,
            brow_outer=0.1,
            brow_squeeze=1,
            lid_upper=0.15,
            lid_lower=0.7,
            press=0.9,
            corner=-0.35,
            stretch=-0.1,
            folds=0.3,
        ),
        Actions(
            brow_inner=-1,
            brow_outer=0.15,
            brow_squeeze=1,
            lid_upper=0.3,
            lid_lower=0.6,
            open_mouth=0.65,
            jaw=0.3,
            square=1,
            teeth_upper=0.45,
            teeth_lower=0.4,
            stretch=0.1,
            corner=-0.25,
            nose_wrinkle=0.25,
            folds=0.6,
        ),
    ),
    "disgust": (
        Actions(
            brow_inner=-0.55,
            brow_outer=-0.2,
            brow_squeeze=0.5,
            lid_upper=-0.4,
            lid_lower=0.8,
            cheek=0.5,
            nose_wrinkle=1,
            lip_raise=1,
            corner=-0.55,
            open_mouth=0.16,
            teeth_upper=0.9,
            folds=1,
        ),
        Actions(
            brow_inner=-0.5,
            brow_outer=-0.1,
            brow_squeeze=0.4,
            lid_upper=-0.35,
            lid_lower=0.9,
            cheek=0.5,
            nose_wrinkle=1,
            lip_raise=0.85,
            corner=-0.7,
            pout=0.6,
            folds=1,
        ),
    ),
    "fear": (
        Actions(
            brow_inner=1,
            brow_outer=0.35,
            brow_squeeze=0.5,
            lid_upper=1,
            lid_lower=0.4,
            open_mouth=0.42,
            square=0.75,
            stretch=0.55,
            corner=-0.5,
            teeth_lower=0.4,
            teeth_upper=0.15,
            jaw=0.15,
            folds=0.2,
        ),
        Actions(
            brow_inner=1,
            brow_outer=0.25,
            brow_squeeze=0.6,
            lid_upper=0.9,
            lid_lower=0.5,
            open_mouth=0.2,
            square=0.9,
            stretch=0.7,
            corner=-0.65,
            teeth_lower=0.8,
            teeth_upper=0.3,
            folds=0.3,
        ),
    ),
    "happy": (
        Actions(
            corner=1,
            stretch=0.45,
            cheek=1,
            lid_lower=0.5,
            lid_upper=-0.1,
            open_mouth=0.4,
            teeth_upper=1,
            folds=0.9,
            brow_inner=0.1,
            brow_outer=0.1,
        ),
        Actions(
            corner=1,
            stretch=0.4,
            cheek=0.9,
            lid_lower=0.5,
            lid_upper=-0.15,
            open_mouth=0.7,
            jaw=0.4,
            teeth_upper=0.55,
            folds=0.9,
            brow_inner=0.2,
            brow_outer=0.2,
        ),
        Actions(corner=0.95, stretch=0.35, cheek=0.8, lid_lower=0.4, lid_upper=-0.1, press=0.2, folds=0.7),
    ),
    "sad": (
        Actions(
            brow_inner=0.95,
            brow_outer=-0.45,
            brow_squeeze=0.35,
            lid_upper=-0.5,
            corner=-0.9,
            pout=0.6,
            gaze_down=0.6,
            stretch=-0.05,
            folds=0.25,
        ),
        Actions(
            brow_inner=0.9,
            brow_outer=-0.5,
            brow_squeeze=0.4,
            lid_upper=-0.4,
            lid_lower=0.3,
            corner=-1,
            pout=1,
            gaze_down=0.3,
            folds=0.35,
        ),
    ),
    "surprise": (
        Actions(brow_inner=0.9, brow_outer=1, lid_upper=0.95, open_mouth=0.9, jaw=1, stretch=-0.55, teeth_upper=0.12),
        Actions(brow_inner=1, brow_outer=1, lid_upper=0.8, open_mouth=0.6, jaw=0.7, stretch=-0.75),
    ),
    "neutral": (Actions(),),
    "contempt": (
        Actions(smirk=1, press=0.35, lid_upper=-0.35, lid_lower=0.15, folds=0.3, brow_outer=0.1),
        Actions(smirk=0.9, press=0.5, lid_upper=-0.4, lid_lower=0.25, lip_raise=0.15, folds=0.3, brow_inner=-0.1),
    ),
}


def draw_actions(expression: str, rng: np.random.Generator) -> Actions:
    """One performance of an expression: a random variant, intensity .75 to 1.1, every movement slightly off.

    Raises:
        ConfigError: unknown expression.
    """
    if expression not in EXPRESSIONS:
        raise unknown_name("expression", expression, EXPRESSIONS)
    variants = EXPRESSIONS[expression]
    base = variants[int(rng.integers(len(variants)))]
    intensity = rng.uniform(0.75, 1.1)
    names = [f.name for f in fields(Actions)]
    wobble = rng.normal(0, 0.06, len(names))
    values = {}
    for name, w in zip(names, wobble, strict=True):
        rest = getattr(base, name)
        # what an expression does not use stays nearly at rest: a neutral mouth must not fall open by chance
        values[name] = float(rest * intensity + (w if rest or name.startswith(("brow", "lid", "corner")) else 0.0))
    return Actions(**values)


@dataclass(frozen=True)
class Identity:
    """Who it is. Colours are RGB in 0..255; lengths are in face units (from the eyes to the chin is about 1.15).

    Attributes:
        skin, hair, iris, lips: Colours.
        width, jaw, chin: Half-width of the face, squareness of the jaw, y of the chin.
        eye_gap, eye_width, eye_open: Half distance between the eyes, half-width and height of an eye.
        brow_thick, brow_arch, nose_width, nose_long, mouth_width, lip_thick: Sizes of the features.
        hair_style: bald, short, fringe, long. beard: none, stubble, moustache, full.
        glasses: Drawn or not.
        age: 0..1, depth of the lines that never leave.
        shirt: Colour of the clothes.
    """

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    iris: tuple[float, float, float]
    lips: tuple[float, float, float]
    width: float
    jaw: float
    chin: float
    eye_gap: float
    eye_width: float
    eye_open: float
    brow_thick: float
    brow_arch: float
    nose_width: float
    nose_long: float
    mouth_width: float
    lip_thick: float
    hair_style: str
    beard: str
    glasses: bool
    age: float
    shirt: tuple[float, float, float]


_SKINS = (
    (250, 222, 200),
    (240, 205, 178),
    (226, 186, 152),
    (205, 160, 122),
    (172, 124, 88),
    (146, 101, 71),
    (116, 81, 60),
)
_HAIRS = ((28, 22, 20), (58, 38, 26), (96, 62, 36), (150, 104, 58), (204, 168, 110), (120, 46, 24), (150, 148, 146))
_IRISES = ((62, 40, 24), (92, 60, 34), (74, 92, 60), (80, 112, 140), (46, 32, 22))


def _color(
    rng: np.random.Generator, table: tuple[tuple[int, int, int], ...], spread: float
) -> tuple[float, float, float]:
    c = np.array(table[int(rng.integers(len(table)))], float) * (1 + rng.normal(0, spread))
    r, g, b = np.clip(c + rng.normal(0, 4, 3), 0, 255)
    return float(r), float(g), float(b)


def draw_identity(rng: np.random.Generator) -> Identity:
    """A random person."""
    skin = _color(rng, _SKINS, 0.05)
    fair = skin[0] > 185
    hair = _color(rng, _HAIRS if fair else (*_HAIRS[:2], _HAIRS[-1]), 0.1)
    tint = rng.uniform(0.25, 0.6)
    lips = tuple(
        float(v) for v in np.array(skin) * (1 - tint) + np.array((168, 62, 66)) * (0.55 + 0.45 * skin[0] / 255) * tint
    )
    bearded = rng.random() < 0.2
    u = rng.uniform
    return Identity(
        skin=skin,
        hair=hair,
        iris=_color(rng, _IRISES if fair else (*_IRISES[:2], _IRISES[-1]), 0.1),
        lips=lips,  # type: ignore[arg-type]
        width=u(0.76, 0.88),
        jaw=u(1.8, 3.2),
        chin=u(1.1, 1.22),
        eye_gap=u(0.37, 0.42),
        eye_width=u(0.155, 0.185),
        eye_open=u(0.85, 1.1),
        brow_thick=u(0.6, 1.3),
        brow_arch=u(0.3, 1.2),
        nose_width=u(0.85, 1.25),
        nose_long=u(-0.03, 0.04),
        mouth_width=u(0.27, 0.33),
        lip_thick=u(0.7, 1.3),
        hair_style=str(rng.choice(("bald", "short", "short", "fringe", "long", "long"))),
        beard=str(rng.choice(("stubble", "moustache", "full"))) if bearded else "none",
        glasses=bool(rng.random() < 0.12),
        age=float(rng.random() ** 2),
        shirt=tuple(float(v) for v in rng.uniform(20, 220, 3)),  # type: ignore[arg-type]
    )
