"""Visitors with a camera: a live pipeline for each, freed when they leave; knows nothing of the page.

Frames come one by one as JPEG and are forgotten as soon as they were looked at; nothing is written to the disk. A few
threads look at the frames of all visitors in the order in which they came.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import logging
import math
import os
import secrets
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cards
from fer.errors import FerError, ImageError
from fer.images import read_image

if TYPE_CHECKING:
    import numpy as np

    from analysis import Models
    from fer.inference.live import LiveFace, LiveFrame, LivePipeline

MOST_VISITORS = 12
MOST_EACH = 8  # of one address: a class behind one router, but never every place
IDLE_S = 20.0
MOST_WAITING = 3
MOST_BYTES = 512 * 1024
MOST_SIDE_PX = 1280
SMOOTHING_S = 0.25
MOST_SMOOTHING_S = 2.0
CALIBRATION_S = 3.0
BUSY = (
    "All {most} places in front of the camera are taken. You get the next one that becomes free; please wait a moment."
)
BUSY_ADDRESS = (
    "All {each} places that one network may take are taken. You get the next one that becomes free; please wait a "
    "moment."
)
NO_FACE = "No face in sight: look into the camera, then press the button again."
TOO_MANY = "Too many frames at once."
GONE = "Start the camera first."
Answer = dict[str, Any]
_log = logging.getLogger("fer.demo")


@dataclass
class _Visitor:
    live: LivePipeline
    model: str
    seen_s: float
    address: str
    waiting: int = 0
    changing: threading.Lock = field(default_factory=threading.Lock)


class Stream:
    """Everyone who looks into a camera now.

    Every method takes what a browser sent and answers with plain JSON types; what went wrong is a sentence under
    `problem`, and `retry_s` says when another try is worth it.

    Args:
        models: What is on offer.
        most: Visitors at once.
        each: Visitors at once who come from one address.
        idle_s: A visitor who sends nothing for so long has left.
        workers: Frames looked at at the same time; default: one for each core, at most 4.
    """

    def __init__(
        self,
        models: Models,
        most: int = MOST_VISITORS,
        each: int = MOST_EACH,
        idle_s: float = IDLE_S,
        workers: int | None = None,
    ) -> None:
        self._models = models
        self._most = most
        self._each = each
        self._idle_s = idle_s
        self._visitors: dict[str, _Visitor] = {}
        self._coming: Counter[str] = Counter()  # frames in work, by address, of those who have no place yet
        self._gone: deque[str] = deque(maxlen=256)  # who left; a frame that was under way does not bring them back
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        # Threads of its own, because a face detector belongs to a thread and is loaded by each.
        self._pool = ThreadPoolExecutor(workers or min(os.cpu_count() or 1, 4), "live")

    def __len__(self) -> int:
        """Visitors at present."""
        return len(self._visitors)

    async def look(self, message: Any, address: str = "") -> Answer:
        """One frame: picture (JPEG, base64), time (s), visitor (from the last answer), model, smoothing (s).

        Args:
            address: Where it comes from.

        Returns:
            visitor, labels, size (width, height), faces, stale, spent_ms (waiting and work); each face with id, box in
            pixels, label, probs, calibrated and calibrating (0..1, or None).
        """
        visitor = self._visitors.get(str(_field(message, "visitor")))
        if visitor is not None:
            return await self._run(visitor, self._look, message, address, time.perf_counter())
        if self._coming[address] >= MOST_WAITING:
            return {"problem": TOO_MANY, "retry_s": 1}
        self._coming[address] += 1
        try:
            return await self._run(None, self._look, message, address, time.perf_counter())
        finally:
            self._coming[address] -= 1
            if not self._coming[address]:
                del self._coming[address]

    async def calibrate(self, message: Any) -> Answer:
        """Watch the faces of a visitor for three seconds as neutral ones; `faces` says how many."""
        visitor = self._visitors.get(str(_field(message, "visitor")))
        return await self._run(visitor, self._calibrate, visitor) if visitor else {"problem": GONE}

    async def forget(self, message: Any) -> Answer:
        """Take a visitor's calibrations back."""
        visitor = self._visitors.get(str(_field(message, "visitor")))
        return await self._run(visitor, self._forget, visitor) if visitor else {}

    async def leave(self, message: Any) -> Answer:
        """Forget a visitor."""
        with self._lock:
            key = str(_field(message, "visitor"))
            if self._visitors.pop(key, None) is not None:
                self._gone.append(key)
        return {}

    async def _run(self, visitor: _Visitor | None, work: Callable[..., Answer], *args: Any) -> Answer:
        """Work in a thread; whatever happens there becomes a sentence."""
        if visitor is not None:
            if visitor.waiting >= MOST_WAITING:
                return {"problem": TOO_MANY, "retry_s": 1}
            visitor.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        except FerError as e:
            return {"problem": str(e)}
        except Exception:  # the outer edge: a visitor never sees a traceback, and the log never a picture
            _log.exception("live: a frame failed")
            return {"problem": cards.OOPS}
        finally:
            if visitor is not None:
                visitor.waiting -= 1

    def _look(self, message: Any, address: str, came: float) -> Answer:
        image = decode(_field(message, "picture"))
        time_s = _number(message, "time", None)
        smoothing = _number(message, "smoothing", SMOOTHING_S)
        entered = self._enter(message, address)
        if isinstance(entered, str):
            return {"problem": entered, "retry_s": 3}
        key, visitor = entered
        with visitor.changing:
            if smoothing != visitor.live.options.time_constant_s:
                visitor.live.configure(time_constant_s=min(max(smoothing, 0.0), MOST_SMOOTHING_S))
        frame = visitor.live.process(image, time_s)
        return {"visitor": key, **as_answer(frame, visitor.live), "spent_ms": 1000 * (time.perf_counter() - came)}

    def _calibrate(self, visitor: _Visitor) -> Answer:
        faces = visitor.live.calibrate(CALIBRATION_S)
        return {"faces": len(faces)} if faces else {"problem": NO_FACE}

    def _forget(self, visitor: _Visitor) -> Answer:
        visitor.live.forget_calibration()
        return {}

    def _enter(self, message: Any, address: str) -> tuple[str, _Visitor] | str:
        """The visitor who sent the message, a new one where it names none; a sentence while there is no place.

        Raises:
            FerError: there is no such model.
        """
        model = str(_field(message, "model") or self._models.live_default or "")
        key = str(_field(message, "visitor"))
        with self._lock:
            self._sweep()
            visitor = self._visitors.get(key)
            if key in self._gone:
                raise ImageError(GONE)
            if visitor is None and (full := self._full(address)):
                return full
        if visitor is not None and visitor.model == model:
            visitor.seen_s = time.monotonic()
            return key, visitor
        predictor = self._models.quick(model)  # may take seconds the first time: not under the lock
        from fer.inference.live import LiveOptions, LivePipeline

        live = LivePipeline(predictor, LiveOptions(time_constant_s=SMOOTHING_S))
        live.warm_up()
        with self._lock:
            if key in self._gone:
                raise ImageError(GONE)
            if key not in self._visitors:
                if full := self._full(address):  # somebody was faster
                    return full
                key = secrets.token_urlsafe(12)
            self._visitors[key] = _Visitor(live, model, time.monotonic(), address)
            self._arm()
            return key, self._visitors[key]

    def _full(self, address: str) -> str:
        """Why there is no place for one more visitor from an address; empty where there is one."""
        if len(self._visitors) >= self._most:
            return BUSY.format(most=self._most)
        if sum(v.address == address for v in self._visitors.values()) >= self._each:
            return BUSY_ADDRESS.format(each=self._each)
        return ""

    def _sweep(self) -> None:
        now = time.monotonic()
        for key in [k for k, v in self._visitors.items() if now - v.seen_s > self._idle_s]:
            del self._visitors[key]

    def _arm(self) -> None:
        """Look after those who left without a word, as long as there is anybody."""
        if self._timer is None and self._visitors:
            self._timer = threading.Timer(self._idle_s / 2, self._on_timer)
            self._timer.daemon = True
            self._timer.start()

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
            self._sweep()
            self._arm()


def decode(picture: Any) -> np.ndarray:
    """The frame of a message as uint8 (H, W, 3) RGB.

    Args:
        picture: JPEG in base64, without a prefix.

    Raises:
        ImageError: no text, not base64, no JPEG, damaged, or too large.
    """
    from PIL import Image

    if not isinstance(picture, str) or not picture:
        raise ImageError("the frame holds no picture")
    if len(picture) > MOST_BYTES * 4 // 3 + 4:
        raise ImageError(f"the frame is too large, at most {MOST_BYTES // 1024} KB are looked at")
    try:
        data = base64.b64decode(picture, validate=True)
        opened = Image.open(io.BytesIO(data), formats=["JPEG"])
    except (binascii.Error, ValueError, OSError, SyntaxError, Image.DecompressionBombError) as e:
        raise ImageError("the frame is no JPEG picture") from e
    with opened:
        if max(opened.size) > MOST_SIDE_PX:
            raise ImageError(f"the frame is too large, at most {MOST_SIDE_PX} pixels a side are looked at")
        return read_image(opened)


def as_answer(frame: LiveFrame, live: LivePipeline) -> Answer:
    """What the browser needs to draw a frame."""
    return {
        "labels": list(live.labels.names),
        "size": list(frame.size),
        "stale": frame.stale,
        "faces": [_face(face) for face in frame.faces],
    }


def _face(face: LiveFace) -> Answer:
    return {
        "id": face.id,
        "box": [int(v) for v in face.box],
        "label": face.label,
        "probs": [round(float(p), 4) for p in face.probs],
        "calibrated": face.calibrated,
        "calibrating": None if face.calibrating is None else round(face.calibrating, 3),
    }


def _field(message: Any, name: str) -> Any:
    return message.get(name) if isinstance(message, dict) else None


def _number(message: Any, name: str, default: float | None) -> Any:
    """A finite number of the message.

    Raises:
        ImageError: there is something else.
    """
    value = _field(message, name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ImageError(f"the frame's {name} is no number")
    return value


_streams: weakref.WeakKeyDictionary[Models, Stream] = weakref.WeakKeyDictionary()


def stream_of(models: Models) -> Stream:
    """The one stream of an app: its pages share the places."""
    if models not in _streams:
        _streams[models] = Stream(models)
    return _streams[models]
