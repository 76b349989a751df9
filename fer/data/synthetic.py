"""Faces drawn by code, so that every path runs on a machine without data: seven expressions (and contempt), any size,
with backgrounds and several people in a picture when asked. Everything follows from a seed, bit for bit.

They are no substitute for photographs: what a net scores on them says that the code works, nothing about people.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fer.data.dataset import Dataset, Split
from fer.errors import ConfigError, unknown_name
from fer.labels import AFFECTNET8, FER7, LabelSet

if TYPE_CHECKING:
    from fer.data.face_canvas import Pose

BACKGROUNDS = ("plain", "gradient", "room", "nature", "random")
_OVERSAMPLE = 2


def draw_face(expression: str, rng: np.random.Generator, size_px: int = 48) -> np.ndarray:
    """One face of a random person, framed like FER2013: brows to chin fill the picture.

    Args:
        expression: Class name (the seven and contempt).
        rng: Everything random comes from here.
        size_px: Side of the picture, 16..2048.

    Returns:
        uint8 (size_px, size_px, 3) RGB.

    >>> draw_face("happy", np.random.default_rng(0), size_px=32).shape
    (32, 32, 3)
    """
    import cv2

    from fer.data.face_actions import draw_actions, draw_identity
    from fer.data.face_canvas import BOX_HALF, BOX_Y, Pose
    from fer.data.face_drawing import paint_head

    if not 16 <= size_px <= 2048:
        raise ConfigError(f"size_px must be 16..2048, got {size_px}")
    who, act = draw_identity(rng), draw_actions(expression, rng)
    side = max(_OVERSAMPLE * size_px, 160)
    unit = side / (2 * BOX_HALF) * rng.uniform(0.92, 1.06)
    roll = rng.normal(0, 0.07)
    pose = Pose(
        x_px=side * (0.5 + rng.normal(0, 0.02)),
        y_px=side * (0.5 + rng.normal(0, 0.02)) - BOX_Y * unit,
        unit_px=unit,
        roll=roll,
        yaw=rng.normal(0, 0.13),
        pitch=rng.normal(0, 0.06),
        light=rng.uniform(0, 0.3),
        light_angle=rng.uniform(0, 2 * math.pi),
    )
    canvas = _background(side, side, rng, "random")
    paint_head(canvas, who, act, pose, rng)
    return _photograph(cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA), rng)


def draw_scene(
    expressions: list[str] | tuple[str, ...],
    rng: np.random.Generator,
    width: int = 640,
    height: int = 480,
    background: str = "random",
) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """A picture with one person for each expression (head and shoulders, apart from each other); none is a scene too.

    Args:
        expressions: Class names, in reading order of the heads.
        width, height: Of the picture, in pixels, 64..4096.
        background: One of BACKGROUNDS.

    Returns:
        uint8 (height, width, 3) RGB, and one true box (left, top, right, bottom) a head: the square from the middle of
        the forehead to the chin.

    Raises:
        ConfigError: unknown expression or background, or a size out of range.
    """
    import cv2

    from fer.data.face_actions import draw_actions, draw_identity
    from fer.data.face_drawing import paint_head

    if not (64 <= width <= 4096 and 64 <= height <= 4096):
        raise ConfigError(f"width and height must be 64..4096, got {width}x{height}")
    canvas = _background(width * _OVERSAMPLE, height * _OVERSAMPLE, rng, background)
    boxes = []
    for expression, pose in zip(expressions, _places(len(expressions), width, height, rng), strict=True):
        paint_head(canvas, draw_identity(rng), draw_actions(expression, rng), pose, rng)
        left, top, right, bottom = (round(v / _OVERSAMPLE) for v in pose.box())
        boxes.append((max(left, 0), max(top, 0), min(right, width), min(bottom, height)))
    return _photograph(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA), rng, soft=False), boxes


def read_synthetic(
    n: int = 72, size_px: int = 48, seed: int = 0, contempt: int = 0, label_set: LabelSet = FER7
) -> Dataset:
    """A drawn data set: n faces a class for training and a fifth as many (at least 2) for validation and test each.

    Persons, poses, light and noise are drawn alike for every class: only the expression tells the classes apart.

    Args:
        n: Training faces a class.
        size_px: Side of the grey pictures.
        seed: The same seed gives the same bytes.
        contempt: 1 = eight classes in AffectNet's order (AFFECTNET8), the last one with one corner of the mouth drawn
            up; stands in for `label_set`.
        label_set: The classes otherwise.

    Returns:
        Data set "synthetic"; faces uint8 (N, size_px, size_px), classes interleaved.
    """
    import cv2

    for name, value, least in (("n", n, 1), ("size_px", size_px, 16), ("seed", seed, 0)):
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"synthetic: {name} must be a whole number of at least {least}, got {value!r}")
    if contempt not in (0, 1):
        raise ConfigError(f"synthetic: contempt must be 0 or 1, got {contempt!r}")
    if contempt:
        label_set = AFFECTNET8
    c = len(label_set)
    splits = {}
    first_row = 0
    for k, (key, each) in enumerate((("train", n), ("val", max(n // 5, 2)), ("test", max(n // 5, 2)))):
        faces = np.empty((each * c, size_px, size_px), np.uint8)
        for i in range(each * c):
            rng = np.random.default_rng([seed, k, i])
            faces[i] = cv2.cvtColor(draw_face(label_set.names[i % c], rng, size_px), cv2.COLOR_RGB2GRAY)
        targets = np.eye(c, dtype=np.float32)[np.arange(each * c) % c]
        splits[key] = Split(faces, targets, np.arange(first_row, first_row + each * c, dtype=np.int64))
        first_row += each * c
    return Dataset("synthetic", label_set, splits, notes={"n": n, "size_px": size_px, "seed": seed})


def _places(count: int, width: int, height: int, rng: np.random.Generator) -> list[Pose]:
    """Poses of the heads, in rows from back to front, in pixels of the oversampled canvas."""
    from fer.data.face_canvas import Pose

    rows = max(1, round(math.sqrt(count * height / width * 0.9))) if count else 1
    columns = math.ceil(count / rows) if count else 1
    cell_w, cell_h = width / columns, height / rows
    places = []
    for i in range(count):
        row, column = divmod(i, columns)
        in_row = min(columns, count - row * columns)
        unit = min(cell_w / 2.25, cell_h / 2.95) * rng.uniform(0.8, 1.0)
        spare_x, spare_y = cell_w - 2.1 * unit, cell_h - 2.75 * unit
        x = (column + (columns - in_row) / 2 + 0.5) * cell_w + rng.uniform(-0.4, 0.4) * max(spare_x, 0)
        y = row * cell_h + 1.45 * unit + rng.uniform(0.1, 0.9) * max(spare_y, 0)
        places.append(
            Pose(
                x * _OVERSAMPLE,
                y * _OVERSAMPLE,
                unit * _OVERSAMPLE,
                roll=rng.normal(0, 0.06),
                yaw=rng.normal(0, 0.12),
                pitch=rng.normal(0, 0.05),
                light=rng.uniform(0, 0.25),
                light_angle=rng.uniform(0, 2 * math.pi),
            )
        )
    return places


def _background(width: int, height: int, rng: np.random.Generator, kind: str) -> np.ndarray:
    """uint8 (height, width, 3)."""
    import cv2

    if kind not in BACKGROUNDS:
        raise unknown_name("background", kind, BACKGROUNDS)
    if kind == "random":
        kind = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS) - 1))]
    base = rng.uniform(60, 225) * 0.6 + rng.uniform(60, 225, 3) * 0.4
    if kind == "plain":
        return np.broadcast_to(base.astype(np.uint8), (height, width, 3)).copy()
    other = np.clip(base + rng.normal(0, 40) + rng.normal(0, 15, 3), 10, 245)
    ramp = np.linspace(0, 1, height)[:, None, None] * (other - base) + base
    canvas = np.broadcast_to(ramp, (height, width, 3)).astype(np.uint8)
    canvas = np.ascontiguousarray(canvas)
    if kind == "room":
        for _ in range(int(rng.integers(3, 8))):  # pictures, shelves, a window
            w, h = rng.uniform(0.08, 0.4) * width, rng.uniform(0.08, 0.5) * height
            x, y = rng.uniform(-0.1, 0.9) * width, rng.uniform(-0.1, 0.7) * height
            color = np.clip(base + rng.normal(0, 40) + rng.normal(0, 20, 3), 0, 255)
            cv2.rectangle(canvas, (int(x), int(y)), (int(x + w), int(y + h)), color.tolist(), -1)
            cv2.rectangle(
                canvas, (int(x), int(y)), (int(x + w), int(y + h)), (color * 0.6).tolist(), max(width // 200, 1)
            )
        return cv2.GaussianBlur(canvas, (0, 0), width / 250 * rng.uniform(0.3, 2))
    if kind == "nature":
        for k in range(int(rng.integers(2, 5))):  # hills, one before the other
            across = np.arange(0, width + 8, 8)
            line = height * (0.4 + 0.15 * k) + sum(
                rng.uniform(0.01, 0.06) * height * np.sin(across / width * rng.uniform(2, 14) + rng.uniform(0, 6))
                for _ in range(3)
            )
            color = np.clip(np.array((90, 130, 80)) * rng.uniform(0.5, 1.3) + rng.normal(0, 12, 3), 0, 255)
            points = np.concatenate([np.stack([across, line], axis=1), [[width + 8, height], [0, height]]])
            cv2.fillPoly(canvas, [points.astype(np.int32)], color.tolist(), cv2.LINE_AA)
        grain = rng.normal(0, 8, (max(height // 6, 1), max(width // 6, 1), 1)).astype(np.float32)
        smooth = cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.clip(canvas + smooth[:, :, None], 0, 255).astype(np.uint8)
    return canvas


def _photograph(image: np.ndarray, rng: np.random.Generator, soft: bool = True) -> np.ndarray:
    """What a camera adds: exposure, contrast, some colour cast, a little blur and noise."""
    import cv2

    sigma = rng.uniform(0, 0.7)
    if soft and sigma > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), sigma * max(image.shape[0] / 96, 0.75))
    gain = rng.uniform(0.75, 1.15) * (1 + rng.normal(0, 0.02, 3))
    offset = rng.uniform(-12, 20)
    grain = rng.normal(0, rng.uniform(0.5, 5), (*image.shape[:2], 1))
    return np.clip((image.astype(np.float32) - 128) * gain + 128 + offset + grain, 0, 255).astype(np.uint8)
