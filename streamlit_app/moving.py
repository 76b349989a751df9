"""The emoji mirror of one visitor: a live pipeline and the drawing, for a camera's frames or for single snapshots."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from fer.inference.live import LiveOptions, LivePipeline
from fer.mirror import EmojiMirror

if TYPE_CHECKING:
    import numpy as np

    from fer.inference import Predictor
    from fer.inference.live import LiveFrame

# A snapshot is a picture of its own: every face is looked for, nothing of the last one is blended in.
SNAPSHOTS = LiveOptions(detect_every=1, time_constant_s=0.0, hysteresis=0.0)
BETWEEN_SNAPSHOTS_S = 2.0
_log = logging.getLogger(__name__)


class Moving:
    """Frames of a camera in, frames with emoji out; may be called from the thread of the connection.

    Args:
        predictor: Shared by all visitors.

    Attributes:
        live: The pipeline; it keeps the calibration while the camera is off.
        mirrored: Turn the picture as a mirror does.
        last: What was seen in the newest frame, None before the first.
    """

    def __init__(self, predictor: Predictor):
        self.live = LivePipeline(predictor)
        self.live.warm_up()
        self.mirrored = True
        self.last: LiveFrame | None = None
        self._emoji = EmojiMirror()

    def configure(self, smoothing_s: float, fade_s: float, plain: bool, mirrored: bool) -> None:
        """Take over what the page's controls say; nothing is interrupted."""
        if smoothing_s != self.live.options.time_constant_s:
            self.live.configure(time_constant_s=smoothing_s)
        self._emoji.fade_s = fade_s
        self._emoji.ground = "plain" if plain else "picture"
        self.mirrored = mirrored

    def draw(self, image: np.ndarray, time_s: float) -> np.ndarray:
        """The frame with emoji.

        Args:
            image: uint8 (H, W, 3) RGB.
            time_s: Of the frame; times grow.

        Returns:
            uint8 (H, W, 3) RGB.
        """
        if self.mirrored:
            image = image[:, ::-1].copy()
        self.last = self.live.process(image, time_s)
        return self._emoji.draw(image, self.last)

    def on_frame(self, frame: Any) -> Any:
        """The callback of streamlit-webrtc, which gives the newest av.VideoFrame and drops those before it."""
        try:
            drawn = self.draw(frame.to_ndarray(format="rgb24"), time.monotonic())
        except Exception:  # the outer edge: the connection would end without a word
            _log.exception("mirror: a frame failed")
            return frame
        return type(frame).from_ndarray(drawn, format="rgb24")


class Snapshots:
    """Single pictures instead of a stream, through the same pipeline; people are recognised from one to the next.

    Args:
        predictor: Shared by all visitors.
    """

    def __init__(self, predictor: Predictor):
        self.live = LivePipeline(predictor, SNAPSHOTS)
        self._time_s = 0.0

    def look(self, image: np.ndarray) -> LiveFrame:
        """What is seen in a snapshot (uint8 (H, W, 3) RGB)."""
        self._time_s += BETWEEN_SNAPSHOTS_S
        return self.live.process(image, self._time_s)

    def draw(self, image: np.ndarray, frame: LiveFrame, plain: bool) -> np.ndarray:
        """The snapshot with emoji, uint8 (H, W, 3) RGB."""
        return EmojiMirror(0.0, "plain" if plain else "picture").draw(image, frame)

    def take_as_neutral(self, image: np.ndarray) -> int:
        """Calibrate everyone in a snapshot to the face shown in it; returns how many people that were.

        Raises:
            ConfigError: the model has no class neutral.
        """
        self.look(image)
        if not self.live.calibrate(seconds=0.5):
            return 0
        for _ in range(8):  # the calibration wants to watch: the one picture is all there is to see
            self._time_s += 0.1
            frame = self.live.process(image, self._time_s)
        return sum(face.calibrated for face in frame.faces)
