"""Finding faces in a picture and cutting them out.

A detector is one file and one line in DETECTORS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from fer.errors import unknown_name
from fer.faces.crop import MARGIN, crop
from fer.faces.haar import HaarOptions, detect_haar
from fer.faces.types import Box, Face
from fer.faces.whole import WholeOptions, detect_whole
from fer.faces.yunet import YunetOptions, detect_yunet
from fer.images import ImageSource, read_image

__all__ = ["DETECTORS", "MARGIN", "Box", "Detector", "Face", "crop", "detect"]


@dataclass(frozen=True)
class Detector:
    """One way to find faces.

    Attributes:
        run: (image uint8 (H, W, 3) RGB, options) -> faces.
        options: Dataclass of its settings, all with defaults.
        title: Name for people.
        help: One line.
    """

    run: Callable[[np.ndarray, Any], list[Face]]
    options: type
    title: str
    help: str


DETECTORS: dict[str, Detector] = {
    "haar": Detector(detect_haar, HaarOptions, "Haar cascades", "OpenCV's cascades: offline, no model file"),
    "yunet": Detector(
        detect_yunet, YunetOptions, "YuNet", "small neural network: crowds, landmarks; needs its model file"
    ),
    "whole": Detector(detect_whole, WholeOptions, "Whole picture", "no detection: the picture is a face crop"),
}


def detect(image: ImageSource, detector: str = "haar", **options: Any) -> list[Face]:
    """Every face in a picture, the largest first; an empty list where there is none.

    Args:
        image: Anything that `fer.images.read_image` takes.
        detector: Key of DETECTORS.
        **options: Fields of the detector's options, for example `min_face_px=60`.

    Raises:
        ImageError: not a readable picture.
        ConfigError: unknown detector or option, or a model file that is missing.

    >>> detect(np.zeros((60, 60, 3), dtype=np.uint8))
    []
    """
    if detector not in DETECTORS:
        raise unknown_name("detector", detector, DETECTORS)
    entry = DETECTORS[detector]
    known = [f.name for f in fields(entry.options)]
    for key in options:
        if key not in known:
            raise unknown_name(f"option of the detector {detector!r}", key, known or ["(none)"])
    settings = entry.options(**options)
    return sorted(entry.run(read_image(image), settings), key=lambda f: (-f.area_px, f.box))
