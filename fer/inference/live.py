"""Moving pictures: frame after frame in, followed faces with smoothed probabilities out.

One implementation for the demo, the lab, videos and scripts/webcam.py. There is no queue: a frame that has been
overtaken by a newer one is not looked at.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import ConfigError, unknown_name
from fer.faces import DETECTORS, crop, detect
from fer.images import read_image
from fer.inference.neutral import NeutralCollector, NeutralOffset
from fer.inference.pipeline import FaceResult
from fer.inference.smoothing import Smoother, check_smoothing
from fer.inference.timeline import Timeline
from fer.inference.tracking import Tracked, Tracker, TrackerOptions
from fer.models import LIVE_MODEL

if TYPE_CHECKING:
    from fer.inference.predictor import Predictor

STAGES = ("detect", "track", "classify", "smooth")
# A reduced frame and frontal cascades only: half the time of the settings for photographs.
LIVE_DETECTION: dict[str, dict[str, Any]] = {
    "haar": {"max_side_px": 320, "profiles": False},
    "yunet": {"max_side_px": 320},
}


@dataclass(frozen=True)
class LiveOptions:
    """Settings of a live pipeline.

    Attributes:
        detector: Key of `fer.faces.DETECTORS`.
        detector_options: Its settings, over those in LIVE_DETECTION.
        detect_every: A detection on every k-th frame; sooner where a face is new, was lost or none is followed.
        time_constant_s, hysteresis: Of the smoothing, see `fer.inference.smoothing.Smoother`.
        most_classified: Faces classified in one frame; where there are more they take turns.
        timeline_s: How far the timeline reaches back.
        tracker: Settings of the tracking.
    """

    detector: str = "haar"
    detector_options: Mapping[str, Any] = field(default_factory=dict)
    detect_every: int = 8
    time_constant_s: float = 0.25
    hysteresis: float = 0.1
    most_classified: int = 8
    timeline_s: float = 30.0
    tracker: TrackerOptions = field(default_factory=TrackerOptions)

    def __post_init__(self) -> None:
        if self.detect_every < 1 or self.most_classified < 1:
            raise ConfigError(
                f"detect_every and most_classified must be at least 1, got {self.detect_every}, {self.most_classified}"
            )
        if self.detector not in DETECTORS:
            raise unknown_name("detector", self.detector, DETECTORS)
        check_smoothing(self.time_constant_s, self.hysteresis)
        Timeline(self.timeline_s)  # refuses an impossible one


@dataclass(frozen=True, eq=False)
class LiveFace(FaceResult):
    """A followed face; `probs` are the smoothed ones, `label` the one that is shown (with hysteresis).

    Attributes:
        id: Number of the face, the same from frame to frame.
        raw: float32 (C,), the model's probabilities when it was last classified, calibrated where the person is, not
            smoothed.
        shown: Index of the class shown.
        calibrated: The person's neutral face is known.
        calibrating: 0..1, progress of a calibration under way; None where there is none.
    """

    id: int = 0
    raw: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    shown: int = 0
    calibrated: bool = False
    calibrating: float | None = None

    @property
    def index(self) -> int:
        """Index of the class shown."""
        return self.shown

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types: those of FaceResult, and id, calibrated, calibrating."""
        return {
            "id": self.id,
            **super().as_dict(),
            "calibrated": self.calibrated,
            "calibrating": None if self.calibrating is None else round(self.calibrating, 3),
        }


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """What was seen in one frame.

    Attributes:
        time_s: Its time.
        size: (width, height) in pixels.
        faces: By number.
        timings_ms: Milliseconds spent in each of STAGES.
        detected: The detector ran on it.
        fps: Frames looked at a second, over the last two seconds.
        stale: A newer frame had overtaken it: it was not looked at, `faces` are those of the newer one.
    """

    time_s: float
    size: tuple[int, int]
    faces: tuple[LiveFace, ...]
    timings_ms: Mapping[str, float]
    detected: bool
    fps: float
    stale: bool = False


@dataclass
class _Person:
    """What is kept about a face while it is followed."""

    smoother: Smoother
    raw: np.ndarray | None = None
    smooth: np.ndarray | None = None
    classified_s: float = -np.inf
    offset: NeutralOffset | None = None
    collector: NeutralCollector | None = None
    seen_s: float = 0.0


class LivePipeline:
    """Finds, follows and classifies the faces of one stream.

        live = LivePipeline()
        for time_s, image in frames:
            for face in live.process(image, time_s).faces:
                print(face.id, face.emoji, face.label, face.box)

    One for each stream (visitor, camera, video). May be called from several threads: one frame is looked at a time, and
    of those that wait meanwhile only the newest.

    Args:
        model: Name of a trained model, path of a checkpoint, or a Predictor, which may be shared by many pipelines.
            By name or path it is loaded with the backend "fastest" of `fer.load`.
        options: Settings.

    Attributes:
        timeline: The last seconds (`Timeline`).

    Raises:
        ConfigError, CheckpointError: unknown model, detector or option; unusable checkpoint.
    """

    def __init__(self, model: str | Path | Predictor = LIVE_MODEL, options: LiveOptions | None = None):
        from fer.inference.predictor import load

        self.predictor = load(model, backend="fastest") if isinstance(model, (str, Path)) else model
        self.labels = self.predictor.labels
        self._options = options or LiveOptions()
        self._lock = threading.Lock()
        self._newest_s = -np.inf
        self.reset()

    @property
    def options(self) -> LiveOptions:
        """The settings in force."""
        return self._options

    def warm_up(self) -> None:
        """Load what the first frame would wait for: the detector, the model's first pass, the assignment of faces."""
        import scipy.optimize  # noqa: F401

        detect(np.zeros((64, 64, 3), np.uint8), self._options.detector, **self._detection())
        self.predictor.predict_proba([np.zeros((48, 48, 3), np.uint8)])

    def configure(self, **changes: Any) -> None:
        """Change settings while the stream runs, for example `configure(time_constant_s=0.5)`.

        They hold from the next frame on. A longer timeline fills up; what it has forgotten does not come back.

        Raises:
            ConfigError: an impossible value.
        """
        with self._lock:
            self._options = replace(self._options, **changes)
            self._tracker.options = self._options.tracker
            self.timeline.seconds = self._options.timeline_s
            for person in self._people.values():
                person.smoother.time_constant_s = self._options.time_constant_s
                person.smoother.hysteresis = self._options.hysteresis

    def reset(self) -> None:
        """Forget faces, calibrations and timeline; the next frame may have any time."""
        with self._lock:
            self._tracker = Tracker(self._options.tracker)
            self._people: dict[int, _Person] = {}
            self._since_detection = 0
            self._frames: deque[float] = deque(maxlen=240)
            self._newest_s = -np.inf
            self._last: LiveFrame | None = None
            self.timeline = Timeline(self._options.timeline_s)

    def calibrate(self, seconds: float = 3.0, face_id: int | None = None) -> list[int]:
        """Begin to watch neutral faces; the offset of each person is in force when the time is over.

        Args:
            seconds: How long.
            face_id: One face; None = every face that is followed now.

        Returns:
            Numbers of the faces; empty where there is none.

        Raises:
            ConfigError: no such face, no class neutral, or an impossible duration.
        """
        NeutralCollector(self.labels, seconds)  # an impossible wish is refused even where there is no face
        with self._lock:
            faces = [] if self._last is None else [f.id for f in self._last.faces]
            if face_id is not None and face_id not in faces:
                raise ConfigError(f"there is no face {face_id} to calibrate; there are: {faces or 'none'}")
            chosen = faces if face_id is None else [face_id]
            for i in chosen:
                self._people[i].collector = NeutralCollector(self.labels, seconds)
            return chosen

    def forget_calibration(self, face_id: int | None = None) -> None:
        """Take a person's calibration back, or everyone's."""
        with self._lock:
            for i, person in self._people.items():
                if face_id in (None, i):
                    person.offset = person.collector = None

    @property
    def calibrated(self) -> bool:
        """The neutral face of somebody is known, in sight or out of it for a moment."""
        with self._lock:
            return any(person.offset is not None for person in self._people.values())

    def process(self, image: np.ndarray, time_s: float | None = None) -> LiveFrame:
        """Look at one frame.

        Args:
            image: uint8 (H, W, 3) RGB (or another array that `fer.images.read_image` takes). Not changed.
            time_s: When it was taken, in seconds from anywhere; None = now. A frame that is not newer than the newest
                one given so far is stale.

        Raises:
            ImageError: no picture.
            ConfigError: a setting of the detector, or its model file is missing.
        """
        pixels = read_image(image)
        now = time.monotonic() if time_s is None else float(time_s)
        overtaken = now <= self._newest_s
        self._newest_s = max(self._newest_s, now)
        with self._lock:
            if self._last is not None and (overtaken or now < self._newest_s or now <= self._last.time_s):
                return replace(self._last, stale=True)
            frame = self._look(pixels, now)
            self._last = frame
            self.timeline.add(now, frame.faces)
            return frame

    def _detection(self) -> dict[str, Any]:
        return LIVE_DETECTION.get(self._options.detector, {}) | dict(self._options.detector_options)

    def _look(self, image: np.ndarray, now: float) -> LiveFrame:
        clock = _Clock()
        found = None
        self._since_detection += 1
        due = self._since_detection >= self._options.detect_every or not self._frames
        if due or ((self._tracker.unsure or not self._tracker.shown) and self._since_detection >= 2):
            found = detect(image, self._options.detector, **self._detection())
            self._since_detection = 0
        clock.stop("detect")
        tracked = self._tracker.update(image, now, found)
        clock.stop("track")
        classified = self._classify(image, now, tracked)
        clock.stop("classify")
        faces = tuple(f for f in (self._face(t, now, t.id in classified) for t in tracked) if f is not None)
        self._forget(now)
        clock.stop("smooth")
        self._frames.append(time.monotonic())
        height, width = image.shape[:2]
        return LiveFrame(now, (width, height), faces, clock.spent_ms, found is not None, self._fps())

    def _classify(self, image: np.ndarray, now: float, tracked: list[Tracked]) -> set[int]:
        """Fresh probabilities for the faces that have waited longest."""
        for t in tracked:
            if t.id not in self._people:
                smoother = Smoother(self._options.time_constant_s, self._options.hysteresis)
                self._people[t.id] = _Person(smoother)
            self._people[t.id].seen_s = now
        turn = sorted(tracked, key=lambda t: (self._people[t.id].classified_s, t.id))[: self._options.most_classified]
        if turn:
            probs = self.predictor.predict_proba([crop(image, t.box) for t in turn])
            for t, p in zip(turn, probs, strict=True):
                self._people[t.id].raw = p
                self._people[t.id].classified_s = now
        return {t.id for t in turn}

    def _face(self, tracked: Tracked, now: float, fresh: bool) -> LiveFace | None:
        """The face as it is shown; None where it has had no turn yet."""
        person = self._people[tracked.id]
        if person.raw is None:
            return None
        if fresh and person.collector is not None:
            offset = person.collector.add(person.raw, now)
            if offset is not None:
                person.offset, person.collector = offset, None
        raw = person.raw if person.offset is None else person.offset.apply(person.raw)
        if fresh or person.smooth is None:
            person.smooth = person.smoother.update(raw, now)
        shown = person.smoother.index
        assert shown is not None
        progress = None if person.collector is None else person.collector.progress
        return LiveFace(
            box=tracked.box,
            score=tracked.score,
            probs=person.smooth,
            labels=self.labels,
            id=tracked.id,
            raw=raw,
            shown=shown,
            calibrated=person.offset is not None,
            calibrating=progress,
        )

    def _forget(self, now: float) -> None:
        for person in self._people.values():
            if person.collector is not None:
                person.collector.check_patience(now)
                if person.collector.failed:
                    person.collector = None
        keep_s = self._options.tracker.remember_s + 2
        self._people = {i: p for i, p in self._people.items() if now - p.seen_s <= keep_s}

    def _fps(self) -> float:
        recent = [t for t in self._frames if t >= self._frames[-1] - 2]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 and recent[-1] > recent[0] else 0.0


class _Clock:
    """Stage by stage."""

    def __init__(self) -> None:
        self.spent_ms = dict.fromkeys(STAGES, 0.0)
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent_ms[stage] = 1000 * (now - self._last)
        self._last = now


class NewestFrame:
    """A place for one frame between a camera's thread and the one that looks at it: a newer frame replaces the older.

    Attributes:
        replaced: Frames that nobody took.
    """

    def __init__(self) -> None:
        self._ready = threading.Condition()
        self._frame: tuple[float, np.ndarray] | None = None
        self._closed = False
        self.replaced = 0

    def put(self, image: np.ndarray, time_s: float) -> None:
        """Leave a frame; never waits."""
        with self._ready:
            self.replaced += self._frame is not None
            self._frame = (time_s, image)
            self._ready.notify()

    def take(self, timeout_s: float | None = None) -> tuple[float, np.ndarray] | None:
        """The newest frame as (time_s, image), waiting for one; None after `close` or `timeout_s`."""
        with self._ready:
            self._ready.wait_for(lambda: self._frame is not None or self._closed, timeout_s)
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> None:
        """There will be no more frames; who waits gets None."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
