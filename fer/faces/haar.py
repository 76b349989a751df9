"""Viola and Jones's detector (2001) with OpenCV's bundled cascades: offline, no model file, about 50 ms a picture.

Two steps. The *search* runs the frontal and profile cascades with loose settings over a reduced frame and gathers
candidates. The *trial* cuts each candidate out at a fixed size, lets every cascade vote on it at many scales and turns
the votes into one score, so that a score means the same for a small face as for a large one, and a texture that fools
one cascade is voted down by the others. Eyes that are found add to the score. Dark glasses cost more than that gain:
the frontal cascades look for the eyes, too, and a face behind them may be missed.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer.errors import ConfigError
from fer.faces.types import Face, Frame, iou, make_frame, suppress

_FILES = {
    "alt2": "haarcascade_frontalface_alt2.xml",
    "default": "haarcascade_frontalface_default.xml",
    "profile": "haarcascade_profileface.xml",
    "eye": "haarcascade_eye.xml",
}
_TRIAL_PX = 56  # side of a candidate in its cut-out
# Logistic regression of "is a face" on log(1 + votes), fitted on real faces against textures, landscapes and noise.
_BIAS = -5.6
_WEIGHTS = {"alt2": 0.57, "default": 0.9, "profile": 1.1, "eye": 0.85}
_MOST_EYE_VOTES = 30  # eye-like spots abound in textures: beyond this they prove nothing more

RawBox = tuple[float, float, float, float]


class _Cascades(threading.local):
    """OpenCV's classifier keeps its working memory inside, so every thread loads its own."""

    def __init__(self) -> None:
        import cv2

        folder = Path(cv2.data.haarcascades) if hasattr(cv2, "data") else Path()
        if not hasattr(cv2, "CascadeClassifier") or not (folder / _FILES["alt2"]).is_file():
            raise ConfigError(
                f"OpenCV {cv2.__version__} has no Haar cascades (5.x dropped them); install the pinned opencv-python "
                "4.x or use the detector 'yunet'"
            )
        self.by_name = {name: _read(folder / file) for name, file in _FILES.items()}


def _read(file: Path) -> Any:
    """A cascade, from memory: on Windows OpenCV itself opens no path with letters that the code page lacks.

    Raises:
        ConfigError: a file that cannot be read, or that is no cascade.
    """
    import cv2

    store, cascade = cv2.FileStorage(), cv2.CascadeClassifier()
    try:
        store.open(file.read_text(encoding="utf-8"), cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        cascade.read(store.getFirstTopLevelNode())
        reason = "it holds none" if cascade.empty() else None
    except cv2.error as e:
        reason = e.err
    except (OSError, ValueError) as e:
        reason = (e.strerror if isinstance(e, OSError) else None) or str(e)
    finally:
        store.release()
    if reason is not None:
        raise ConfigError(
            f"{file} is not a cascade that OpenCV {cv2.__version__} can read ({reason}); install opencv-python anew or "
            "use the detector 'yunet'"
        )
    return cascade


@dataclass(frozen=True)
class HaarOptions:
    """Settings of the detector.

    Attributes:
        max_side_px: Longest side of the frame that is searched.
        min_face_px: Smallest face, in picture pixels; None = a sixteenth of the longest side, at least 20.
        min_score: Candidates below are dropped.
        profiles: Also look for faces from the side (about a third of the time).
    """

    max_side_px: int = 448
    min_face_px: int | None = None
    min_score: float = 0.5
    profiles: bool = True

    def __post_init__(self) -> None:
        if not 64 <= self.max_side_px <= 4096:
            raise ConfigError(f"max_side_px must be 64..4096, got {self.max_side_px}")
        if self.min_face_px is not None and self.min_face_px < 1:
            raise ConfigError(f"min_face_px must be positive, got {self.min_face_px}")
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"min_score must be 0..1, got {self.min_score}")


@functools.cache
def _store() -> _Cascades:
    return _Cascades()


def _cascades() -> dict[str, Any]:
    """This thread's cascades, read from disk on its first detection."""
    return _store().by_name


def detect_haar(image: np.ndarray, options: HaarOptions | None = None) -> list[Face]:
    """Faces in a picture, without landmarks, in no particular order.

    Args:
        image: uint8 (H, W, 3) RGB.

    Raises:
        ConfigError: OpenCV's cascades are absent or damaged.
    """
    import cv2

    options = options or HaarOptions()
    height, width = image.shape[:2]
    longest = max(height, width)
    smallest = options.min_face_px if options.min_face_px is not None else max(longest / 16, 20)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    frame = make_frame(gray, options.max_side_px, max_zoom=2.0)
    faces = _search_and_try(frame, smallest, options)
    if not faces:
        # A crop that the face fills leaves the cascades no surroundings: give it some, and look for large faces only.
        close = make_frame(gray, 144, max_zoom=4.0, border=0.3)
        faces = _search_and_try(close, max(smallest, 0.4 * longest), options)
    return suppress(faces)


def _search_and_try(frame: Frame, smallest_px: float, options: HaarOptions) -> list[Face]:
    faces = []
    for raw in _distinct(_search(frame.pixels, smallest_px * frame.scale, options.profiles)):
        score, raw = _try(frame.pixels, raw, options.profiles)
        box = frame.to_picture(raw)
        if (
            score >= options.min_score
            and box is not None
            and min(box[2] - box[0], box[3] - box[1]) >= 0.8 * smallest_px
        ):
            faces.append(Face(box, score))
    return faces


def _search(gray: np.ndarray, smallest: float, profiles: bool) -> Iterator[RawBox]:
    """Candidates, loosely. The slower cascades start at larger faces: the cost goes with 1 / size squared."""
    cascades = _cascades()
    for name, mirrored, factor, step in (
        ("alt2", False, 1.0, 1.25),
        ("default", False, 1.4, 1.3),
        *((("profile", False, 2.2, 1.25), ("profile", True, 2.2, 1.25)) if profiles else ()),
    ):
        yield from (b for b, _ in _run(cascades[name], gray, mirrored, step, smallest * factor))


def _run(
    cascade: Any, gray: np.ndarray, mirrored: bool, step: float, smallest: float, largest: float = 0
) -> list[tuple[RawBox, int]]:
    """One cascade over one frame: boxes and the number of raw hits behind each."""
    least, most = max(round(smallest), 20), round(largest)
    if min(gray.shape) < least:
        return []
    pixels = np.ascontiguousarray(gray[:, ::-1]) if mirrored else gray
    boxes, votes = cascade.detectMultiScale2(pixels, step, 1, minSize=(least, least), maxSize=(most, most))
    found = []
    for (x, y, w, h), n in zip(boxes, votes, strict=True):
        left = gray.shape[1] - int(x) - int(w) if mirrored else int(x)
        found.append(((float(left), float(y), float(left + w), float(y + h)), int(n)))
    return found


def _distinct(candidates: Iterator[RawBox]) -> list[RawBox]:
    """Candidates that stand for the same place are tried once."""
    kept: list[RawBox] = []
    for c in candidates:
        if all(iou(c, k) < 0.5 for k in kept):
            kept.append(c)
    return kept


def _try(gray: np.ndarray, box: RawBox, profiles: bool) -> tuple[float, RawBox]:
    """Score of a candidate in 0..1, and its box moved to where the votes are."""
    votes, refined = _votes(gray, box, profiles)
    logit = _BIAS + sum(_WEIGHTS[name] * math.log1p(n) for name, n in votes.items())
    return 1 / (1 + math.exp(-logit)), refined


def _votes(gray: np.ndarray, box: RawBox, profiles: bool = True) -> tuple[dict[str, int], RawBox]:
    cascades = _cascades()
    side = max(box[2] - box[0], box[3] - box[1])
    cut, zoom, left, top = _cut_out(gray, box, side)
    middle = ((box[0] + box[2]) / 2 - left) * zoom, ((box[1] + box[3]) / 2 - top) * zoom
    votes: dict[str, int] = {}
    places: list[tuple[RawBox, int]] = []
    for name, mirrored in (("alt2", False), ("default", False), ("profile", False), ("profile", True)):
        votes.setdefault(name, 0)
        if name == "profile" and not profiles:
            continue
        near = [
            (b, n)
            for b, n in _run(cascades[name], cut, mirrored, 1.06, 0.7 * _TRIAL_PX, 1.4 * _TRIAL_PX)
            if math.hypot((b[0] + b[2]) / 2 - middle[0], (b[1] + b[3]) / 2 - middle[1]) < 0.35 * _TRIAL_PX
        ]
        if near:
            best = max(near, key=lambda f: f[1])
            votes[name] = max(votes[name], best[1])
            places.append(best)
    if places:
        total = sum(n for _, n in places)
        mean = [sum(b[i] * n for b, n in places) / total for i in range(4)]
        box = (mean[0] / zoom + left, mean[1] / zoom + top, mean[2] / zoom + left, mean[3] / zoom + top)
    votes["eye"] = _eyes(gray, box)
    return votes, box


def _cut_out(gray: np.ndarray, box: RawBox, side: float) -> tuple[np.ndarray, float, float, float]:
    """A candidate with its surroundings, twice its side, scaled to a fixed size; zoom and origin to get back."""
    import cv2

    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    zoom = _TRIAL_PX / side
    left, top = cx - 0.85 * side, cy - 0.85 * side
    matrix = np.array([[zoom, 0, -left * zoom], [0, zoom, -top * zoom]])
    size = round(1.7 * _TRIAL_PX)
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    if zoom < 0.6:  # warpAffine samples points: shrink by areas first
        x0, y0, x1, y1 = (round(v) for v in (left, top, left + 1.7 * side, top + 1.7 * side))
        part = gray[max(y0, 0) : y1, max(x0, 0) : x1]
        part = cv2.copyMakeBorder(
            part, max(-y0, 0), max(y1 - gray.shape[0], 0), max(-x0, 0), max(x1 - gray.shape[1], 0), cv2.BORDER_REPLICATE
        )
        return cv2.resize(part, (size, size), interpolation=how), size / part.shape[0], float(x0), float(y0)
    cut = cv2.warpAffine(gray, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cut, zoom, left, top


def _eyes(gray: np.ndarray, box: RawBox) -> int:
    """Votes of the eye cascade in the upper half of a face; at most two eyes count."""
    import cv2

    left, top, right, bottom = (max(round(v), 0) for v in box)
    upper = gray[top : top + round(0.6 * (bottom - top)), left:right]
    if min(upper.shape) < 8:
        return 0
    zoom = 96 / upper.shape[1]
    upper = cv2.resize(upper, (96, max(round(upper.shape[0] * zoom), 20)), interpolation=cv2.INTER_LINEAR)
    found = sorted((n for _, n in _run(_cascades()["eye"], upper, False, 1.1, 18, 44)), reverse=True)
    return min(sum(found[:2]), _MOST_EYE_VOTES)
