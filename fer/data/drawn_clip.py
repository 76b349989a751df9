"""Moving pictures drawn by code: people who keep their looks from frame to frame while their expression changes.

For the live pipeline what `synthetic` is for single faces: tests, benchmarks and the browser's stand-in for a camera.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from fer.data.face_actions import Actions, Identity, draw_actions, draw_identity
from fer.data.face_canvas import BOX_HALF, BOX_Y, Pose
from fer.errors import ConfigError

_FIELDS = tuple(f.name for f in fields(Actions))
AT_REST = Actions()


@dataclass(frozen=True)
class Person:
    """Someone who can be drawn again and again.

    Attributes:
        who: The looks.
        rest: What the face shows at rest (lowered brows, a drooping mouth): added to every expression, less where the
            expression moves the same muscle.
        seed: Decides how the hair falls.
    """

    who: Identity
    rest: Actions = AT_REST
    seed: int = 0

    def acts(self, expression: str, rng: np.random.Generator) -> Actions:
        """One performance of an expression on this person's face.

        Raises:
            ConfigError: unknown expression.
        """
        return self.wears(draw_actions(expression, rng))

    def wears(self, act: Actions) -> Actions:
        """Movements together with what the face shows at rest."""
        values = {}
        for name in _FIELDS:
            moved, rest = getattr(act, name), getattr(self.rest, name)
            values[name] = moved + rest * max(0.0, 1 - min(abs(moved), 1.0))
        return Actions(**values)


@dataclass(frozen=True)
class Shot:
    """A stretch of a clip: one expression for some seconds."""

    expression: str
    seconds: float


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """One frame of a clip.

    Attributes:
        time_s: Since the clip's beginning.
        image: uint8 (H, W, 3) RGB.
        expression: What is being shown, or changed to.
        changing: The face is still on its way from the last expression.
        box: True box of the face, unclipped.
    """

    time_s: float
    image: np.ndarray
    expression: str
    changing: bool
    box: tuple[int, int, int, int]


def draw_person(seed: int, rest: Actions = AT_REST, plain: bool = False) -> Person:
    """A random person.

    Args:
        seed: The same seed gives the same person.
        rest: See `Person`.
        plain: Without glasses, beard or fringe, which can hide brows and mouth.
    """
    who = draw_identity(np.random.default_rng([seed, 17]))
    if plain:
        who = replace(who, glasses=False, beard="none", hair_style="short")
    return Person(who, rest, seed)


def blend(a: Actions, b: Actions, share: float) -> Actions:
    """On the way from a to b; share 0 is a, 1 is b.

    >>> blend(Actions(corner=1), Actions(corner=-1), 0.25).corner
    0.5
    """
    return Actions(**{n: (1 - share) * getattr(a, n) + share * getattr(b, n) for n in _FIELDS})


def pose_of(box: tuple[float, float, float, float], **turned: float) -> Pose:
    """The pose of a head whose face fills a square box (left, top, right, bottom) in pixels.

    Args:
        **turned: roll, yaw, pitch, light, light_angle of `Pose`.
    """
    left, top, right, bottom = box
    unit = (right - left) / (2 * BOX_HALF)
    return Pose(x_px=(left + right) / 2, y_px=(top + bottom) / 2 - BOX_Y * unit, unit_px=unit, **turned)


def paint_people(
    heads: Sequence[tuple[Person, Actions, Pose]], width: int, height: int, rng: np.random.Generator, grain: float = 3.0
) -> np.ndarray:
    """A frame with the given heads, the first one farthest back, before a quiet wall.

    Args:
        heads: Person, movements (as from `Person.acts`) and pose in pixels of the frame; may leave the frame.
        rng: The camera's noise.
        grain: Standard deviation of that noise, in grey levels.

    Returns:
        uint8 (height, width, 3) RGB.
    """
    from fer.data.face_drawing import paint_head

    ramp = np.linspace(205, 165, height, dtype=np.float32)[:, None, None] * np.array([0.98, 1.0, 1.02], np.float32)
    canvas = np.ascontiguousarray(np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8))
    for person, act, pose in heads:
        paint_head(canvas, person.who, act, pose, np.random.default_rng([person.seed, 3]))
    if grain > 0:
        noise = rng.normal(0, grain, (height, width, 1)).astype(np.float32)
        canvas = np.clip(canvas + noise, 0, 255).astype(np.uint8)
    return canvas


def draw_clip(
    shots: Sequence[Shot],
    person: Person,
    fps: float = 30.0,
    width: int = 640,
    height: int = 480,
    face_px: float | None = None,
    change_s: float = 0.15,
    seed: int = 0,
    grain: float = 3.0,
) -> Iterator[ClipFrame]:
    """One person who shows one expression after the other, while the head sways a little.

    Args:
        shots: What is shown for how long.
        face_px: Side of the face's box; by default 0.45 of the height.
        change_s: Duration of a change of expression, part of the new shot.
        seed: Performances, sway and noise; the same seed gives the same clip.

    Yields:
        Frames at 0, 1 / fps, 2 / fps, ... seconds.

    Raises:
        ConfigError: no shots, an unknown expression, a rate or duration that is not positive.
    """
    if not shots or fps <= 0 or any(s.seconds <= 0 for s in shots):
        raise ConfigError("a clip needs shots of more than 0 seconds and a positive frame rate")
    rng = np.random.default_rng([seed, 29])
    side = face_px or 0.45 * height
    phases = rng.uniform(0, 2 * math.pi, 4)
    performances = [person.acts(s.expression, rng) for s in shots]
    ends = np.cumsum([s.seconds for s in shots])
    for number in range(math.ceil(ends[-1] * fps - 1e-9)):
        t = number / fps
        k = int(np.searchsorted(ends, t + 1e-9, side="right"))
        since = t - (ends[k] - shots[k].seconds)
        act = performances[k]
        changing = bool(k > 0 and since < change_s)
        if changing:
            act = blend(performances[k - 1], act, since / change_s)
        sway = np.sin(np.array([0.7, 0.9, 0.5, 0.6]) * 2 * math.pi * t / 2 + phases)
        x, y = width / 2 + 0.06 * side * sway[0], height / 2 + 0.03 * side * sway[1]
        box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
        pose = pose_of(box, roll=0.04 * sway[2], yaw=0.08 * sway[3], light=0.12, light_angle=0.5)
        image = paint_people([(person, act, pose)], width, height, rng, grain)
        left, top, right, bottom = (round(v) for v in pose.box())
        yield ClipFrame(t, image, shots[k].expression, changing, (left, top, right, bottom))
