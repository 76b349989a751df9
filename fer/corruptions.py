"""What cameras, codecs and people do to a picture of a face: nine corruptions at five strengths.

After Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations";
lengths are given for a face of 48 px and grow with the face. Two corruptions cover what FER2013's mean face shows in
the same place for everybody: eyes with brows, and mouth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fer.errors import ConfigError, ImageError, unknown_name

STRENGTHS = (1, 2, 3, 4, 5)
# left, top, right, bottom as shares of the face's side, read off the mean of FER2013's training faces
EYES = (7 / 48, 10 / 48, 41 / 48, 22 / 48)
MOUTH = (12 / 48, 33 / 48, 36 / 48, 44 / 48)
_SIDE_PX = 48

NOISE_STD = (8, 16, 26, 38, 52)
BLUR_STD_PX = (0.5, 0.8, 1.2, 1.7, 2.4)
BRIGHTNESS = (25, 50, 75, 100, 125)
CONTRAST = (0.7, 0.5, 0.35, 0.22, 0.12)
JPEG_QUALITY = (40, 25, 15, 10, 5)
DOWNSCALING = (0.67, 0.5, 0.4, 0.3, 0.22)
ROTATION_DEG = (6, 12, 18, 25, 35)
COVERED = (0.4, 0.55, 0.7, 0.85, 1.0)

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def noise(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with a standard deviation of 8 to 52 grey levels, the same for every channel."""
    drawn = rng.normal(0, 1, face.shape[:2])
    return _rounded(face + NOISE_STD[strength - 1] * _like(drawn, face))


def blur(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur with a standard deviation of 0.5 to 2.4 px of a 48 px face."""
    import cv2

    return cv2.GaussianBlur(face, (0, 0), BLUR_STD_PX[strength - 1] * min(face.shape[:2]) / _SIDE_PX)


def brightness(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """25 to 125 grey levels brighter or darker (a fair coin)."""
    return _rounded(face.astype(np.float64) + _sign(rng) * BRIGHTNESS[strength - 1])


def contrast(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Distance from the face's mean, times 0.7 to 0.12."""
    mean = face.mean()
    return _rounded(mean + CONTRAST[strength - 1] * (face - mean))


def jpeg(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """JPEG with a quality of 40 down to 5."""
    import cv2

    order = cv2.COLOR_RGB2BGR  # its own inverse
    packed = cv2.imencode(
        ".jpg",
        face if face.ndim == 2 else cv2.cvtColor(face, order),
        [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY[strength - 1]],
    )[1]
    out = np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE if face.ndim == 2 else cv2.IMREAD_COLOR))
    return out if face.ndim == 2 else np.asarray(cv2.cvtColor(out, order))


def downscaling(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Reduced to 67 % down to 22 % of the side, and enlarged again."""
    import cv2

    height, width = face.shape[:2]
    small = [max(1, round(side * DOWNSCALING[strength - 1])) for side in (width, height)]
    reduced = cv2.resize(face, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)


def rotation(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Turned by 6 to 35 degrees to the left or right (a fair coin); the border is repeated."""
    import cv2

    height, width = face.shape[:2]
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), _sign(rng) * ROTATION_DEG[strength - 1], 1.0)
    return cv2.warpAffine(face, turn, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def occluded_eyes(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """Eyes and brows under a bar of the face's mean grey: 40 % to 100 % of the box's width and height."""
    return _covered(face, EYES, COVERED[strength - 1])


def occluded_mouth(face: np.ndarray, strength: int, rng: np.random.Generator) -> np.ndarray:
    """The mouth under a bar of the face's mean grey: 40 % to 100 % of the box's width and height."""
    return _covered(face, MOUTH, COVERED[strength - 1])


CORRUPTIONS: dict[str, Corruption] = {
    "noise": noise,
    "blur": blur,
    "brightness": brightness,
    "contrast": contrast,
    "jpeg": jpeg,
    "downscaling": downscaling,
    "rotation": rotation,
    "occluded_eyes": occluded_eyes,
    "occluded_mouth": occluded_mouth,
}


def corrupt(faces: np.ndarray, name: str, strength: int, seed: int = 0) -> np.ndarray:
    """Every face of a batch, corrupted.

    What chance decides depends on the seed, the corruption and the face's place in the batch, not on the strength: a
    face that is turned to the left is turned to the left at every strength.

    Args:
        faces: uint8 (N, H, W) or (N, H, W, 3). Not changed.
        name: Key of CORRUPTIONS.
        strength: 1 (mild) to 5.

    Returns:
        uint8, the shape of `faces`.

    Raises:
        ConfigError: an unknown corruption or strength.
        ImageError: faces of another kind.
    """
    if name not in CORRUPTIONS:
        raise unknown_name("corruption", name, CORRUPTIONS)
    if strength not in STRENGTHS:
        raise ConfigError(f"strength must be 1 to {STRENGTHS[-1]}, got {strength}")
    faces = np.asarray(faces)
    if faces.dtype != np.uint8 or faces.ndim not in (3, 4) or (faces.ndim == 4 and faces.shape[3] != 3):
        raise ImageError(f"expected faces uint8 (N, H, W) or (N, H, W, 3), got {faces.dtype} {faces.shape}")
    number = list(CORRUPTIONS).index(name)
    out = np.empty_like(faces)
    for i, face in enumerate(faces):
        out[i] = CORRUPTIONS[name](face, strength, np.random.default_rng([seed, number, i]))
    return out


def _covered(face: np.ndarray, box: tuple[float, float, float, float], share: float) -> np.ndarray:
    height, width = face.shape[:2]
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    half_x, half_y = share * (right - left) / 2, share * (bottom - top) / 2
    rows = slice(round((y - half_y) * height), round((y + half_y) * height))
    columns = slice(round((x - half_x) * width), round((x + half_x) * width))
    out = face.copy()
    out[rows, columns] = np.rint(face.mean(axis=(0, 1)))
    return out


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _like(values: np.ndarray, face: np.ndarray) -> np.ndarray:
    return values if face.ndim == 2 else values[:, :, None]


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
