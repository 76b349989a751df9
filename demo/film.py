"""One film from the upload to the files that are handed out: waiting for a turn, work that can be stopped, a summary.

Knows nothing of the page. The work runs in a thread of its own, frame by frame: memory does not grow with the film.
"""

from __future__ import annotations

import logging
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer.errors import FerError, ImageError, unknown_name
from limits import BusyError, Limits

if TYPE_CHECKING:
    from fer.inference.live import LiveFrame
    from fer.inference.predictor import Predictor
    from fer.inference.timeline import Timeline
    from fer.inference.video import Progress, VideoReport
    from fer.labels import LabelSet

STYLES = {"boxes": "Boxes and bars", "mirror": "Emoji over the faces", "plain": "Emoji only"}
MOST_FACES = 20  # in a summary, those seen longest
_SHORTEST_S = 0.2  # faces seen for less are taken for mistakes of the detector
_log = logging.getLogger("fer.demo")


class Desk:
    """Takes films in: one is worked on at a time, a few wait, the rest is sent away politely.

    Args:
        limits: How many.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self._line: list[Job] = []
        self._turn = threading.Condition()

    def enter(self, job: Job) -> None:
        """Join the line.

        Raises:
            BusyError: it is full, or this address has enough films here.
        """
        with self._turn:
            if sum(j.address == job.address for j in self._line) >= self.limits.films_each:
                raise BusyError("Your earlier film is still here; please wait for it, or stop it, and try again.")
            if len(self._line) > self.limits.films_waiting:
                raise BusyError("The demo is busy with other films; please try again in a moment.")
            self._line.append(job)

    def ahead(self, job: Job) -> int:
        """Films before this one."""
        with self._turn:
            return self._line.index(job) if job in self._line else 0

    def wait(self, job: Job) -> bool:
        """Wait for this film's turn; False when it was stopped meanwhile."""
        with self._turn:
            self._turn.wait_for(lambda: job.stopped or self._line[0] is job)
            return not job.stopped

    def leave(self, job: Job) -> None:
        """Done, or given up."""
        with self._turn:
            if job in self._line:
                self._line.remove(job)
            self._turn.notify_all()

    def wake(self) -> None:
        """Let those who wait look again."""
        with self._turn:
            self._turn.notify_all()


@dataclass(frozen=True)
class Result:
    """What is handed out.

    Attributes:
        film: The annotated film (.webm, VP8, without sound). table: CSV with one line a face and frame.
        summary: Plain JSON types, see `Tally.summary`.
        timeline: What was seen when, at most ten times a second. labels: Its classes.
        cut_off: The file ends in the middle of the film.
    """

    film: Path
    table: Path
    summary: dict[str, Any]
    timeline: Timeline
    labels: LabelSet
    cut_off: bool = False


class Job:
    """A film and what becomes of it.

    Args:
        desk: Where it waits for its turn.
        address: Whose it is.
        source: The uploaded file. name: What the visitor calls it.
        predictor: Loaded model.
        style: Key of STYLES.
        folder: Where a folder with the results is made; the caller deletes it.

    Attributes:
        progress: How far it is; None before its turn.
        result: None until it is done, or where it was stopped before the first frame.

    Raises:
        BusyError: too many films are here.
        ConfigError: unknown style.
    """

    def __init__(
        self, desk: Desk, address: str, source: str | Path, name: str, predictor: Predictor, style: str, folder: Path
    ):
        if style not in STYLES:
            raise unknown_name("style", style, STYLES)
        self.address = address
        self.progress: Progress | None = None
        self.result: Result | None = None
        self._desk, self._source, self._name = desk, Path(source), name
        self._predictor, self._style, self._folder = predictor, style, folder
        self._stop, self._done = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self._unwanted = False
        desk.enter(self)
        threading.Thread(target=self._run, name="film", daemon=True).start()

    @property
    def stopped(self) -> bool:
        """Somebody has called `stop`."""
        return self._stop.is_set()

    @property
    def ahead(self) -> int:
        """Films that come first."""
        return self._desk.ahead(self)

    def stop(self) -> None:
        """End the work soon; what was done so far is the result."""
        self._stop.set()
        self._desk.wake()

    def discard(self) -> None:
        """Nobody wants the result any more: end the work and delete what there is of it."""
        self._unwanted = True
        self.stop()
        if self._done.is_set():
            self._delete()

    def wait(self, timeout_s: float | None = None) -> bool:
        """True when it is done.

        Raises:
            FerError: the film cannot be read; told by the visitor's name for it.
        """
        if not self._done.wait(timeout_s):
            return False
        if isinstance(self._error, ImageError):
            raise ImageError(str(self._error).replace(str(self._source), self._name)) from self._error
        if self._error is not None:
            raise self._error
        return True

    def _run(self) -> None:
        try:
            if self._desk.wait(self):
                self.result = self._work()
        except BaseException as e:  # handed to whoever waits
            self._error = e
        finally:
            self._desk.leave(self)
            self._done.set()
            if self._unwanted:
                self._delete()

    def _delete(self) -> None:
        if self.result:
            shutil.rmtree(self.result.film.parent, ignore_errors=True)

    def _work(self) -> Result | None:
        from fer.inference.live import LiveOptions, LivePipeline
        from fer.inference.video import annotate_video

        limits = self._desk.limits
        live = LivePipeline(self._predictor, LiveOptions(timeline_s=2 * limits.film_s))
        end = time.monotonic() + limits.film_work_s
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="film-", dir=self._folder))
        stem = re.sub(r"[^\w-]+", "-", Path(self._name).stem).strip("-")[:60] or "film"
        film, table = folder / f"{stem}-{self._style}.webm", folder / f"{stem}-faces.csv"
        tally = Tally(_drawer(self._style))
        try:
            report = annotate_video(
                self._source,
                live,
                film,
                table,
                tally.draw,
                self._on_progress,
                cancelled=lambda: self.stopped or time.monotonic() > end,
                max_s=limits.film_s,
                longest_px=limits.film_px,
            )
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        if not report.frames:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        summary = {"model": self._predictor.name, "labels": list(live.labels.names), **tally.summary(report)}
        return Result(film, table, summary, live.timeline, live.labels, report.cut_off)

    def _on_progress(self, progress: Progress) -> None:
        self.progress = progress


@dataclass
class _Seen:
    first_s: float
    last_s: float = 0.0
    shown_s: dict[str, float] = field(default_factory=dict)


class Tally:
    """Draws frames, and adds up on the way for how long which face showed what: each frame lasts until the next.

    Args:
        drawer: (frame, what was seen) -> frame to write.
    """

    def __init__(self, drawer: Callable[[np.ndarray, LiveFrame], np.ndarray]):
        self._drawer = drawer
        self._faces: dict[int, _Seen] = {}
        self._size = (0, 0)
        self._first_s: float | None = None
        self._last_s = 0.0
        self._now: list[tuple[_Seen, str]] = []  # who shows what in the frame drawn last

    def draw(self, image: np.ndarray, seen: LiveFrame) -> np.ndarray:
        """The frame to write."""
        for mine, label in self._now:
            mine.shown_s[label] += seen.time_s - self._last_s
        self._first_s = seen.time_s if self._first_s is None else self._first_s
        self._size, self._last_s, self._now = seen.size, seen.time_s, []
        for face in seen.faces:
            mine = self._faces.setdefault(face.id, _Seen(seen.time_s))
            mine.last_s = seen.time_s
            mine.shown_s.setdefault(face.label, 0.0)
            self._now.append((mine, face.label))
        return self._drawer(image, seen)

    def summary(self, report: VideoReport) -> dict[str, Any]:
        """width, height, seconds, frames, complete, and faces: those seen longest first, each with id, first_s, last_s,
        seconds (for how long it was seen), label (shown longest) and shares {label: 0..1 of that time}."""
        # The last frame lasts as long as one does in the mean.
        frame_s = (self._last_s - (self._first_s or 0.0)) / max(report.frames - 1, 1)
        faces = []
        for number, mine in self._faces.items():
            shown_s = dict(mine.shown_s)
            for who, label in self._now:
                if who is mine:
                    shown_s[label] += frame_s
            total = sum(shown_s.values())
            if round(total, 3) < _SHORTEST_S and report.frames * frame_s > 1:
                continue
            # A film of one frame has no length.
            shares = {label: round(s / total, 4) if total else 1.0 for label, s in shown_s.items()}
            shares = dict(sorted(shares.items(), key=lambda item: -item[1]))
            faces.append(
                {
                    "id": number,
                    "first_s": round(mine.first_s, 3),
                    "last_s": round(mine.last_s, 3),
                    "seconds": round(total, 3),
                    "label": next(iter(shares)),
                    "shares": shares,
                }
            )
        faces.sort(key=lambda f: -f["seconds"])
        width, height = (side // 2 * 2 for side in self._size)
        return {
            "width": width,
            "height": height,
            "seconds": round(self._last_s + frame_s, 3),
            "frames": report.frames,
            "complete": report.complete,
            "faces": faces[:MOST_FACES],
        }


def find_upload(upload: dict[str, Any] | None, folder: str | Path) -> tuple[Path, str]:
    """Where an uploaded film lies and what its owner calls it.

    Args:
        upload: Gradio's file record, with `path` and `orig_name`.
        folder: Where uploads lie. A request may name any path, so nothing outside is opened.

    Raises:
        ImageError: nothing was uploaded.
    """
    path = (upload or {}).get("path")
    if not path or not Path(path).resolve().is_relative_to(Path(folder).resolve()):
        raise ImageError("no film was uploaded; send it as a file")
    if not Path(path).is_file():
        raise ImageError("the film is no longer here: uploads are not kept; choose it again")
    return Path(path), (upload or {}).get("orig_name") or "the film"


def message_of(error: BaseException, fallback: str) -> str:
    """What a visitor is told; faults of ours are logged, without the picture."""
    if isinstance(error, FerError):
        return str(error)
    _log.error("a film failed", exc_info=error)
    return fallback


def _drawer(style: str) -> Callable[[np.ndarray, LiveFrame], np.ndarray]:
    from fer.mirror import EmojiMirror
    from fer.overlay import draw_live

    if style == "boxes":
        return draw_live
    return EmojiMirror(ground="picture" if style == "mirror" else "plain").draw
