"""Films: read frame by frame, looked at by the live pipeline, written again with what was seen, in constant memory."""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import ConfigError, ImageError
from fer.files import replacing
from fer.inference.film_file import READS, believable_start, check_film_file, is_cut_off, next_time, pace_of, place_of

if TYPE_CHECKING:
    from fer.inference.live import LiveFrame, LivePipeline

MOST_PIXELS = 4096 * 2304
# What OpenCV's wheels can encode; browsers play .webm
CODECS = {".mp4": "mp4v", ".webm": "VP80", ".avi": "MJPG"}
_MOST_OF_IT = 0.9  # a file that is cut off, but has more than this share of its frames, lacks nothing worth a word


@dataclass(frozen=True)
class VideoFacts:
    """What a file says of itself.

    Attributes:
        width, height: In pixels, as shown (turned by the file's rotation, reduced where that was asked for).
        fps: Frames a second, 30 where the file does not say; where intervals are uneven, fine enough for the shortest
            (30 or 60 for a mean of less).
        frames: How many of that rate the file promises; 0 where it does not say. seconds: How long that is.
    """

    width: int
    height: int
    fps: float
    frames: int

    @property
    def seconds(self) -> float:
        """Promised length; 0 where unknown."""
        return self.frames / self.fps


@dataclass(frozen=True)
class Progress:
    """How far a film is done: frames so far, its time, and the share (0..1), None where the length is unknown."""

    frames: int
    time_s: float
    share: float | None


@dataclass(frozen=True)
class VideoReport:
    """What became of a film.

    Attributes:
        frames: Looked at. seconds: Time of the last one.
        faces: Numbers of the faces that were seen.
        rows: Lines of the table.
        cancelled: It was stopped before the end; what was done so far is in the files.
        promised: Frames that the file says it has (some formats: about); 0 where it does not say.
        cut_off: The file ends in the middle of the film: it is shorter than its own header says, and less than 90 % of
            the frames came. Not told of a film that was cancelled.
        complete: Neither of the two.
    """

    frames: int
    seconds: float
    faces: tuple[int, ...]
    rows: int
    cancelled: bool
    promised: int = 0
    cut_off: bool = False

    @property
    def complete(self) -> bool:
        """The whole film was looked at, as far as can be told."""
        return not (self.cancelled or self.cut_off)


class Video:
    """A film, opened; its frames are read once, in order.

        with Video("clip.mp4") as film:
            for time_s, image in film: ...

    Of a film with uneven intervals (`uneven`) frames are to be placed by their time, as `VideoWriter.write_at` does.
    Frames are turned as the file's rotation says. The format is told by the content, not by the name.

    Args:
        path: A file on this machine.
        max_s: A longer film is refused.
        longest_px: Frames with a longer side are reduced to it.

    Raises:
        ImageError: absent, empty, not a film, without frames, too large or too long.
    """

    def __init__(self, path: str | Path, max_s: float | None = None, longest_px: int | None = None):
        import cv2

        self.path = Path(os.path.expanduser(path))
        self.max_s = max_s
        check_film_file(self.path)
        self._film = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        self._film.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        opened = self._film.isOpened()
        ok, first = self._film.read() if opened else (False, None)
        if not ok or first is None:
            self._film.release()
            raise ImageError(
                f"{self.path}: " + ("the film has no frames" if opened else f"cannot be read as a film ({READS})")
            )
        self._first: np.ndarray | None = first
        fps = float(self._film.get(cv2.CAP_PROP_FPS))
        fps = fps if math.isfinite(fps) and 0.1 <= fps <= 1000 else 30.0
        promised = self._film.get(cv2.CAP_PROP_FRAME_COUNT)
        self.promised = int(promised) if 0 < promised < 1e8 else 0
        self._promised_s = self.promised / fps
        longest = max(first.shape[:2])
        scale = 1.0 if longest_px is None else min(1.0, longest_px / longest)
        self._size = (max(round(first.shape[1] * scale), 1), max(round(first.shape[0] * scale), 1))
        if first.shape[0] * first.shape[1] > MOST_PIXELS:
            self.close()
            raise ImageError(
                f"{self.path}: {first.shape[1]}x{first.shape[0]} is too large, at most {MOST_PIXELS / 1e6:.1f} "
                "megapixels a frame are read; make it smaller"
            )
        if max_s is not None and self._promised_s > max_s + 1 / fps:
            self.close()
            raise self._too_long(self._promised_s)
        pace = pace_of(self.path, fps, self.promised)
        self.uneven = pace.uneven
        self.facts = VideoFacts(*self._size, pace.fps, pace.frames)
        if max_s is not None and self.facts.seconds > max_s + 1 / pace.fps:
            self.close()
            raise self._too_long(self.facts.seconds)

    def __enter__(self) -> Video:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._film.release()

    def cut_off(self, frames: int, time_s: float) -> bool:
        """Whether a film of which no more than so many frames came, the last at `time_s`, is one half of a file."""
        few = frames < _MOST_OF_IT * self.promised and time_s < _MOST_OF_IT * self._promised_s
        return few and is_cut_off(self.path)

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """(time_s, uint8 (H, W, 3) RGB) of every frame; the times rise from 0."""
        import cv2

        start, last = None, -1.0
        step = 1 / self.facts.fps
        bgr, self._first = self._first, None
        while bgr is not None:
            stamp = self._film.get(cv2.CAP_PROP_POS_MSEC) / 1000
            start = believable_start(stamp) if start is None else start
            time_s = next_time(last, stamp - start, step)
            if self.max_s is not None and time_s > self.max_s + step:
                raise self._too_long(time_s)
            if bgr.shape[1::-1] != self._size:
                bgr = cv2.resize(bgr, self._size, interpolation=cv2.INTER_AREA)
            yield time_s, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
            last = time_s
            ok, bgr = self._film.read()
            if not ok or bgr is None:
                return

    def _too_long(self, seconds: float) -> ImageError:
        return ImageError(f"{self.path}: {seconds:.0f} s long, at most {self.max_s:.0f} s are taken; cut it first")


class VideoWriter:
    """Writes frames of one size to a film; the suffix names the format (CODECS).

    Args:
        path: Is written as it is; wrap it in `fer.files.replacing` so that no half film is left behind.
        fps: Frames a second, the same throughout.
        size: (width, height); odd numbers lose a pixel.

    Raises:
        ImageError: a suffix that is no format here, or a place that cannot be written.
    """

    def __init__(self, path: str | Path, fps: float, size: tuple[int, int]):
        import cv2

        self.path = Path(os.path.expanduser(path))
        check_target(self.path)
        self.fps = fps
        self._written = 0
        self._last: np.ndarray | None = None
        self.size = (max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2))
        code = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
        self._film = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, code, fps, self.size)
        if not self._film.isOpened():
            raise ImageError(f"{self.path}: cannot be written as a film; does its folder exist?")

    def write(self, image: np.ndarray) -> None:
        """Add a frame, uint8 (H, W, 3) RGB of the size promised (others are resized)."""
        import cv2

        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        width, height = self.size
        if bgr.shape[:2] != (height, width):
            near = abs(bgr.shape[0] - height) <= 1 and abs(bgr.shape[1] - width) <= 1
            bgr = np.ascontiguousarray(bgr[:height, :width]) if near else cv2.resize(bgr, self.size)
        self._add(bgr)

    def write_at(self, image: np.ndarray, time_s: float) -> None:
        """Add a frame where its time, in seconds from the film's beginning, puts it; times rise.

        Until then the frame before it stays. One that comes too soon after it for this rate is left out. Frames at
        about even times of this rate are written once each.
        """
        place = place_of(time_s * self.fps, self._written)
        if place is None:
            return
        while self._last is not None and self._written < place:
            self._add(self._last)
        while self._written <= place:  # more than once where the film's first frame is late
            self.write(image)

    def _add(self, bgr: np.ndarray) -> None:
        self._film.write(bgr)
        self._written += 1
        self._last = bgr

    def close(self) -> None:
        """Finish the file."""
        self._film.release()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def annotate_video(
    source: str | Path,
    pipeline: LivePipeline,
    film: str | Path | None = None,
    table: str | Path | None = None,
    draw: Callable[[np.ndarray, LiveFrame], np.ndarray] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    max_s: float | None = None,
    longest_px: int | None = None,
) -> VideoReport:
    """Look at every frame of a film; write it again with what was seen, and a table with one line a face and frame.

    The written film runs in step with the table, also where the source's intervals are uneven. Memory does not grow
    with the length. The sound is not kept.

    Args:
        source: The film.
        pipeline: A fresh one for each film (it is reset first).
        film: Where the annotated film goes (.mp4, .webm, .avi); None = none.
        table: Where the table goes (CSV, columns as `table_columns`); None = none.
        draw: (frame uint8 RGB, what was seen) -> frame to write, for example `fer.overlay.draw_live`; None = unchanged.
        on_progress: Called after every frame.
        cancelled: Asked before every frame; True ends the work, what is done so far is kept.
        max_s: A longer film is refused.
        longest_px: Frames with a longer side are reduced to it first; boxes are in pixels of the reduced ones.

    Raises:
        ImageError: the film cannot be read, is too long, or the target's suffix is unknown.
        ConfigError: two of source, film and table are the same file.
    """
    film, table = (None if place is None else Path(os.path.expanduser(place)) for place in (film, table))
    if film is not None:
        check_target(film)
    check_places(source, film, table)
    pipeline.reset()
    count, rows, time_s, stopped = 0, 0, 0.0, False
    faces: set[int] = set()
    with Video(source, max_s, longest_px) as video, contextlib.ExitStack() as files:
        facts = video.facts
        writer = None
        if film is not None:
            part = files.enter_context(replacing(film))
            writer = files.enter_context(VideoWriter(part, facts.fps, (facts.width, facts.height)))
        lines = None
        if table is not None:
            part = files.enter_context(replacing(table))
            lines = csv.writer(files.enter_context(open(part, "w", newline="", encoding="utf-8")))
            lines.writerow(table_columns(pipeline.labels.names))
        for time_s, image in video:
            if cancelled():
                stopped = True
                break
            seen = pipeline.process(image, time_s)
            count += 1
            faces.update(f.id for f in seen.faces)
            if writer is not None:
                writer.write_at(draw(image, seen) if draw else image, time_s)
            if lines is not None:
                for row in table_rows(seen):
                    lines.writerow(row)
                    rows += 1
            if on_progress:
                done = round(time_s * facts.fps) + 1
                share = min(done / facts.frames, 1.0) if facts.frames else None
                on_progress(Progress(count, time_s, share))
        cut_off = not stopped and video.cut_off(count, time_s)
    return VideoReport(count, time_s, tuple(sorted(faces)), rows, stopped, video.promised, cut_off)


def table_columns(names: tuple[str, ...]) -> list[str]:
    """Head of the table.

    >>> table_columns(("happy", "sad"))
    ['time_s', 'face', 'left', 'top', 'right', 'bottom', 'label', 'confidence', 'p_happy', 'p_sad']
    """
    return ["time_s", "face", "left", "top", "right", "bottom", "label", "confidence", *(f"p_{n}" for n in names)]


def table_rows(frame: LiveFrame) -> list[list[Any]]:
    """Lines of the table for one frame; smoothed probabilities."""
    return [
        [f"{frame.time_s:.3f}", f.id, *f.box, f.label, f"{f.confidence:.4f}", *(f"{p:.4f}" for p in f.probs)]
        for f in frame.faces
    ]


def check_target(path: Path) -> None:
    """Raises ImageError when the suffix names no film format that can be written."""
    if path.suffix.lower() not in CODECS:
        raise ImageError(f"{path}: cannot tell the film's format from {path.suffix!r}; use one of {', '.join(CODECS)}")


def check_places(source: str | Path | None, film: str | Path | None, table: str | Path | None) -> None:
    """Raises ConfigError when two of the film to read, the film to write and the table are the same file.

    Links are followed; None = there is none.
    """
    places = {"the film to read": source, "the film to write": film, "the table": table}
    given = [(name, Path(os.path.expanduser(place))) for name, place in places.items() if place is not None]
    for (one, a), (other, b) in itertools.combinations(given, 2):
        if os.path.realpath(a) == os.path.realpath(b) or (a.exists() and b.exists() and a.samefile(b)):
            raise ConfigError(f"{b}: {one} and {other} are the same file; name another")
