#!/usr/bin/env python
"""Expressions in a camera's or a film's moving picture, in a window or without one into a file.

    python scripts/webcam.py
    python scripts/webcam.py --camera 1 --mirror
    python scripts/webcam.py --video clip.mp4 --record annotated.mp4 --table faces.csv --headless
    python scripts/webcam.py --record me.webm --headless --seconds 10

Keys in the window: q or Esc ends, m mirror (emoji over the faces), c calibrate to neutral faces, f forget that.
Ctrl-C (or SIGTERM) ends as well and keeps what is recorded; pressed again after two seconds, it gives that up.
An expression is not a feeling. Nothing leaves this machine.
Exit code: 0; 1 when the camera was lost on the way (what is recorded is kept); 2 when nothing could be started; 130 when
Ctrl-C came before the first frame or cut a film short.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fer.command_line import run_script
from fer.errors import ConfigError, ImageError

if TYPE_CHECKING:
    import numpy as np

    from fer.inference.live import LiveFrame, LivePipeline

PATIENCE_S = 2.0  # a signal that comes again within it is taken for the same one
CAMERA_LOST = 1
INTERRUPTED = 130
LONGEST_WAIT_S = 0.2  # until a signal is heeded
TITLE = "Expressions (an expression is not a feeling) - q quits, m mirror, c calibrate, f forget"


def parse(argv: list[str] | None) -> argparse.Namespace:
    from fer.faces import DETECTORS
    from fer.models import LIVE_MODEL

    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = p.add_mutually_exclusive_group()
    source.add_argument("--camera", type=int, default=0, metavar="N", help="number of the camera (default: 0)")
    source.add_argument("--video", metavar="FILE", help="a film instead of the camera")
    p.add_argument("--mirror", action="store_true", help="emoji over the faces; a camera's picture is flipped")
    p.add_argument("--record", type=_place, metavar="FILE", help="write what is shown (.mp4, .webm or .avi)")
    p.add_argument(
        "--table", type=_place, metavar="FILE", help="write a CSV with one line a face and frame (--video --headless)"
    )
    p.add_argument(
        "--model",
        default=LIVE_MODEL,
        metavar="NAME",
        help=f"trained model or checkpoint folder (default: {LIVE_MODEL})",
    )
    p.add_argument(
        "--detector",
        default="haar",
        choices=[d for d in DETECTORS if d != "whole"],
        help="haar (default), or yunet, whose model file FER_YUNET names or predict.py --yunet fetch has fetched",
    )
    p.add_argument(
        "--smoothing", type=float, default=0.25, metavar="S", help="time constant in seconds (default: 0.25)"
    )
    p.add_argument("--calibrate", action="store_true", help="take the first 3 seconds for neutral faces")
    p.add_argument("--headless", action="store_true", help="no window; needs --record or --table")
    p.add_argument("--seconds", type=float, metavar="S", help="stop after this time")
    return p.parse_args(argv)


def _place(text: str) -> str:
    """A home folder's `~` is put in full: the shell leaves it in --record=~/out.mp4."""
    return os.path.expanduser(text)


class Ending:
    """Ctrl-C, SIGTERM or a closed terminal becomes a wish to end, so that what is recorded can be finished.

        with Ending() as ending:
            for frame in frames:
                if ending.signal: break

    The same signal often comes twice at once (from the terminal and from what started this program). One that comes
    later than that is KeyboardInterrupt.

    Attributes:
        signal: Number of the first signal, 0 while there was none.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._since_s = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Ending:
        with contextlib.suppress(ValueError):  # not in the main thread: then somebody else minds the signals
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._on_signal)
            if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup does
                self._before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        now = time.monotonic()
        if not self.signal:
            self.signal, self._since_s = number, now
        elif now > self._since_s + PATIENCE_S:
            raise KeyboardInterrupt


class Camera:
    """Reads a camera in a thread of its own; a frame nobody took in time is replaced by the next.

    Args:
        number: Of the camera.
        ending: Frames end when it says so.

    Raises:
        ConfigError: no such camera, or it may not be used.
    """

    def __init__(self, number: int, ending: Ending):
        import cv2

        from fer.inference.live import NewestFrame

        self._camera = cv2.VideoCapture(number)
        if not self._camera.isOpened():
            raise ConfigError(
                f"camera {number} cannot be opened: is one connected, free and allowed to be used by this program? "
                "Try another number with --camera, or a film with --video FILE"
            )
        self._ending = ending
        self._newest = NewestFrame()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, name="camera", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        import cv2

        while not self._ended.is_set():
            ok, bgr = self._camera.read()
            if not ok:
                break
            self._newest.put(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), time.monotonic())
        self._newest.close()

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        """(time_s, image RGB): always the newest; ends when the camera does, or gives nothing for 10 seconds.

        Time counts from the first frame: a camera may take seconds to give it.
        """
        start: float | None = None
        last = time.monotonic()
        while not self._ending.signal:
            running = self._thread.is_alive()
            if frame := self._newest.take(LONGEST_WAIT_S):
                start = frame[0] if start is None else start
                yield frame[0] - start, frame[1]
                last = time.monotonic()
            elif not running or time.monotonic() > last + 10:
                return

    def close(self) -> None:
        """Give the camera back."""
        self._ended.set()
        self._thread.join(timeout=2)
        self._camera.release()


def at_its_pace(frames: Iterator[tuple[float, np.ndarray]], ending: Ending) -> Iterator[tuple[float, np.ndarray]]:
    """A film's frames no sooner than they are due; those that are late are left out but for one in five."""
    start = time.monotonic()
    left_out = 0
    for time_s, image in frames:
        while (early := time_s - (time.monotonic() - start)) > 0 and not ending.signal:
            time.sleep(min(early, LONGEST_WAIT_S))
        if ending.signal:
            return
        if early < -0.1 and left_out < 4:
            left_out += 1
            continue
        left_out = 0
        yield time_s, image


class Shown:
    """What is drawn over a frame, with the keys that change it."""

    def __init__(self, live: LivePipeline, mirror: bool, calibrate: bool):
        from fer.mirror import EmojiMirror

        self.live = live
        self.mirror = mirror
        self.wants_calibration = calibrate
        self._emoji = EmojiMirror()

    def draw(self, image: np.ndarray, seen: LiveFrame) -> np.ndarray:
        """The frame to show."""
        from fer.overlay import draw_live

        if self.wants_calibration and self.live.calibrate():
            self.wants_calibration = False
        return self._emoji.draw(image, seen) if self.mirror else draw_live(image, seen)

    def key(self, code: int) -> bool:
        """Act on a key of the window; False ends."""
        key = chr(code & 0xFF) if code >= 0 else ""
        if key == "m":
            self.mirror = not self.mirror
        elif key == "c":
            self.wants_calibration = True
        elif key == "f":
            self.live.forget_calibration()
        return key not in ("q", "\x1b")


def check(args: argparse.Namespace) -> None:
    """Refuse wishes that do not go together, before anything is opened."""
    from fer.inference.video import check_places, check_target

    if args.record:
        check_target(Path(args.record))
    check_places(args.video, args.record, args.table)
    if args.table and not (args.video and args.headless):
        raise ConfigError("--table needs --video FILE and --headless")
    if args.camera < 0:
        raise ConfigError(f"--camera counts from 0, got {args.camera}")
    if args.seconds is not None and not args.seconds > 0:
        raise ConfigError(f"--seconds must be positive, got {args.seconds}")
    if args.headless and not (args.record or args.table):
        raise ConfigError("--headless shows nothing: give --record FILE, or --table FILE for a film")
    if not args.headless and sys.platform.startswith("linux") and not _has_display():
        raise ConfigError("there is no display to open a window on; use --headless with --record FILE")


def _has_display() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def convert(args: argparse.Namespace, live: LivePipeline, shown: Shown, ending: Ending) -> int:
    """A film into files, frame by frame, none left out."""
    from fer.inference.video import Progress, annotate_video

    last: Progress | None = None

    def on_progress(p: Progress) -> None:
        nonlocal last
        last = p
        if sys.stderr.isatty():
            share = "" if p.share is None else f"{p.share:4.0%}  "
            print(f"\r{share}{p.time_s:.1f} s, {p.frames} frames", end="", file=sys.stderr)

    def cancelled() -> bool:
        if last is None:  # a film has one frame at least
            return False
        return bool(ending.signal) or (args.seconds is not None and last.time_s >= args.seconds)

    report = annotate_video(args.video, live, args.record, args.table, shown.draw, on_progress, cancelled)
    for path in filter(None, (args.record, args.table)):
        print(path)
    print(f"{report.frames} frames, {report.seconds:.1f} s, {len(report.faces)} different faces")
    if ending.signal and report.cancelled:
        print("ended before the film did; the files hold what was done until then", file=sys.stderr)
        return INTERRUPTED
    if report.cut_off:
        print(f"warning: {args.video}: the file is cut off; it ends after {report.seconds:.1f} s", file=sys.stderr)
    return 0


def watch(args: argparse.Namespace, live: LivePipeline, shown: Shown, ending: Ending) -> int:
    """A window, or a camera into a file."""
    from fer.files import replacing
    from fer.inference.video import Video, VideoWriter

    with contextlib.ExitStack() as open_things:
        if args.video:
            film = open_things.enter_context(Video(args.video))
            frames, fps = at_its_pace(iter(film), ending), film.facts.fps
        else:
            camera = Camera(args.camera, ending)
            open_things.callback(camera.close)
            frames, fps = iter(camera), 20.0
            if args.headless and args.seconds is None:
                print("recording; Ctrl-C ends it and keeps the file", file=sys.stderr)
        show = (lambda image: True) if args.headless else open_things.enter_context(window(shown))
        part = open_things.enter_context(replacing(args.record)) if args.record else None
        writer: VideoWriter | None = None
        count, last_s, lost = 0, 0.0, False
        for time_s, image in frames:
            if args.seconds is not None and time_s > args.seconds:
                break
            if args.mirror and not args.video:
                image = image[:, ::-1].copy()
            drawn = shown.draw(image, live.process(image, time_s))
            count, last_s = count + 1, time_s
            if part is not None:
                if writer is None:
                    writer = open_things.enter_context(VideoWriter(part, fps, (image.shape[1], image.shape[0])))
                writer.write_at(drawn, time_s)  # the file has a steady rate, a camera has not
            if not show(drawn):
                break
        else:
            lost = not args.video and not ending.signal
        if not count:
            if ending.signal:
                raise KeyboardInterrupt
            raise ImageError("no frame came from the camera" if not args.video else f"{args.video}: no frames")
    print(f"{count} frames" + (f", written to {args.record}" if args.record else ""))
    if lost:
        print(f"the camera stopped giving pictures after {last_s:.1f} s", file=sys.stderr)
        return CAMERA_LOST
    return 0


@contextlib.contextmanager
def window(shown: Shown) -> Iterator[Callable[[Any], bool]]:
    """Opens a window; gives a function that shows a frame (RGB) and returns False when the window is to close."""
    import cv2

    try:
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    except cv2.error as e:
        raise ConfigError("this OpenCV cannot open windows; use --headless with --record FILE") from e

    def show(image: Any) -> bool:
        cv2.imshow(TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        return shown.key(cv2.waitKey(1)) and cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1

    try:
        yield show
    finally:
        cv2.destroyAllWindows()


def run(args: argparse.Namespace) -> int:
    from fer.inference.live import LiveOptions, LivePipeline

    check(args)
    live = LivePipeline(args.model, LiveOptions(detector=args.detector, time_constant_s=args.smoothing))
    shown = Shown(live, args.mirror, args.calibrate)
    work = convert if args.video and args.headless else watch
    with Ending() as ending:
        return work(args, live, shown, ending)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status."""
    args = parse(argv)
    return run_script(lambda: run(args), interrupted="ended; nothing was written")


if __name__ == "__main__":
    sys.exit(main())
