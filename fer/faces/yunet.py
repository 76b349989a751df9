"""YuNet through OpenCV: better in crowds, with landmarks (Wu et al. 2023, "A Tiny Millisecond-level Face Detector").

Its model file is part of neither OpenCV nor this project: give its path, set FER_YUNET, or have it fetched.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fer.errors import ConfigError, HubError
from fer.faces.types import Face, make_frame, suppress

_local = threading.local()  # the network keeps its input size and memory inside: one per thread and file


@dataclass(frozen=True)
class YunetOptions:
    """Settings of the detector.

    Attributes:
        path: Model file (ONNX); None = environment variable FER_YUNET, else a copy fetched before.
        fetch: Fetch the model file from the Hub if it is not there.
        max_side_px: Longest side of the frame that is searched.
        min_face_px: Smallest face, in picture pixels; None = no limit.
        min_score: Faces below are dropped.
    """

    path: str | Path | None = None
    fetch: bool = False
    max_side_px: int = 640
    min_face_px: int | None = None
    min_score: float = 0.6

    def __post_init__(self) -> None:
        if not 64 <= self.max_side_px <= 4096:
            raise ConfigError(f"max_side_px must be 64..4096, got {self.max_side_px}")
        if self.min_face_px is not None and self.min_face_px < 1:
            raise ConfigError(f"min_face_px must be at least 1, got {self.min_face_px}")
        if not 0 <= self.min_score <= 1:
            raise ConfigError(f"min_score must be 0..1, got {self.min_score}")


def detect_yunet(image: np.ndarray, options: YunetOptions | None = None) -> list[Face]:
    """Faces in a picture with five landmarks each, in no particular order.

    Args:
        image: uint8 (H, W, 3) RGB.

    Raises:
        ConfigError: no model file, or one that OpenCV cannot read.
        HubError: fetching was asked for and failed.
    """
    options = options or YunetOptions()
    detector = _detector(_model_file(options))
    smallest = options.min_face_px or 1
    faces = _run(detector, image, options, zoom=2.0, border=0.0)
    if not faces:  # a crop that the face fills: give it surroundings
        faces = _run(detector, image, options, zoom=4.0, border=0.3)
    return suppress([f for f in faces if min(f.box[2] - f.box[0], f.box[3] - f.box[1]) >= smallest])


def _run(detector: Any, image: np.ndarray, options: YunetOptions, zoom: float, border: float) -> list[Face]:
    import cv2

    side = options.max_side_px if not border else min(options.max_side_px, 192)
    frame = make_frame(image, side, max_zoom=zoom, border=border)
    height, width = frame.pixels.shape[:2]
    detector.setInputSize((width, height))
    detector.setScoreThreshold(options.min_score)
    try:
        _, rows = detector.detect(np.ascontiguousarray(frame.pixels[:, :, ::-1]))
    except cv2.error as e:
        raise ConfigError(
            "the model file given for YuNet is another net; expected face_detection_yunet_2023mar.onnx"
        ) from e
    faces = []
    for row in rows if rows is not None else ():
        x, y, w, h = (float(v) for v in row[:4])
        box = frame.to_picture((x, y, x + w, y + h))
        if box is not None:
            points = (row[4:14].reshape(5, 2) - frame.border_px) / frame.scale
            faces.append(Face(box, float(np.clip(row[14], 0, 1)), points.astype(np.float32)))
    return faces


def _model_file(options: YunetOptions) -> Path:
    given = options.path or os.environ.get("FER_YUNET")
    if given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise ConfigError(
                f"YuNet's model file {path} does not exist; give the path of face_detection_yunet_2023mar.onnx"
            )
        return path
    from fer.hub import fetch_yunet

    try:
        return fetch_yunet(allow_download=options.fetch)
    except HubError:
        if options.fetch:
            raise
        raise ConfigError(
            "the detector 'yunet' needs its model file: give its path (--yunet FILE), set FER_YUNET, or ask for a "
            "download (--yunet fetch); the detector 'haar' needs none"
        ) from None


def _detector(path: Path) -> Any:
    import cv2

    known: dict[Path, Any] = _local.__dict__.setdefault("detectors", {})
    if path not in known:
        try:  # from memory: on Windows OpenCV itself opens no path with letters that the code page lacks
            model = np.frombuffer(path.read_bytes(), np.uint8)
            known[path] = cv2.FaceDetectorYN.create("onnx", model, np.empty(0, np.uint8), (320, 320))
        except OSError as e:
            raise ConfigError(f"YuNet's model file {path} cannot be read ({e.strerror or e})") from e
        except cv2.error as e:
            raise ConfigError(f"{path} is not a YuNet model that OpenCV {cv2.__version__} can read ({e.err})") from e
    return known[path]
