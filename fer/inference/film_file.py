"""What a film's file tells before a frame is decoded: whether it is a film, how even its time stamps are, its end."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fer.errors import ImageError

READS = "MP4, MOV, WebM, MKV, AVI, OGG, FLV, WMV, MPEG or GIF"
MOST_FPS = 240.0  # a browser's recording with uneven intervals claims 1000
MOST_STAMPS = 20_000  # eleven minutes of 30 frames a second
_WINDOW_S = 10.0  # a gap in the time stamps longer than this is taken for damage
_RATES = (30.0, 60.0)  # at which films with uneven intervals are written again
_SLACK = 0.75  # of a frame: stamps that are off by less are rounding, not uneven intervals
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"  # WebM, MKV


@dataclass(frozen=True)
class Pace:
    """How a film is laid out on a steady grid.

    Attributes:
        fps: Frames a second of the grid. frames: Places on it, 0 where unknown.
        uneven: The film's own frames are not one for each place.
    """

    fps: float
    frames: int
    uneven: bool


def pace_of(path: Path, fps: float, frames: int) -> Pace:
    """A grid fine enough that hardly a frame is left out: the film's own one where its intervals are even.

    The beginning of the film decides (`MOST_STAMPS` frames).

    Args:
        fps, frames: What the file says of itself; where intervals differ that is their mean. 0 frames: unknown.
    """
    stamps = read_stamps(path)
    if not len(stamps):
        return Pace(30.0, round(frames / fps * 30), True) if fps > MOST_FPS else Pace(fps, frames, False)
    rates = _RATES if fps > MOST_FPS else (fps, *(rate for rate in _RATES if rate > fps))
    best = (len(stamps) + 1, rates[0], 0)
    for rate in rates:
        places, left_out = _lay_out(stamps, rate)
        if left_out < best[0]:  # a finer grid only where it leaves out fewer
            best = (left_out, rate, places)
        if left_out <= len(stamps) // 100:
            break
    left_out, rate, places = best
    if fps <= MOST_FPS and rate == fps and not left_out and places == len(stamps):
        return Pace(fps, frames, False)
    return Pace(rate, round(frames / fps * rate) if len(stamps) > 0.9 * MOST_STAMPS else places, True)


def read_stamps(path: Path) -> np.ndarray:
    """Times of a film's first frames in seconds, rising from 0, without decoding one; empty where the file tells none.

    No more than `MOST_STAMPS`, however many a file holds: a small one can hold millions that are empty.
    """
    import cv2

    film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    stamps = array("d")
    if film.set(cv2.CAP_PROP_FORMAT, -1):  # packets as they are, in the order of decoding
        while len(stamps) < MOST_STAMPS and film.grab():
            stamps.append(film.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    film.release()
    told = np.unique(np.array(stamps, np.float64))
    told = told[np.isfinite(told) & (told >= 0)]
    return told - told[0] if len(told) > 2 and len(told) >= 0.9 * len(stamps) else np.empty(0)


def believable_start(stamp_s: float) -> float:
    """When a film starts whose first frame has this stamp."""
    return stamp_s if 0 <= stamp_s < _WINDOW_S else 0.0


def next_time(last_s: float, stamp_s: float, step_s: float) -> float:
    """Time of a frame: its stamp where that can be true, else one step after the frame before.

    Args:
        last_s: Time of the frame before; negative = there is none.

    >>> next_time(1.0, 1.2, 0.5), next_time(1.0, 0.0, 0.5), next_time(1.0, 99.0, 0.5), next_time(-1.0, -7.0, 0.5)
    (1.2, 1.5, 1.5, 0.0)
    """
    if max(last_s, 0) <= stamp_s < last_s + _WINDOW_S and stamp_s != last_s:
        return stamp_s
    return last_s + step_s if last_s >= 0 else 0.0


def place_of(position: float, taken: int) -> int | None:
    """Where a frame goes on a steady grid.

    Args:
        position: Its time, in frames of the grid.
        taken: The first `taken` places have a frame already.

    Returns:
        Number of its place, `taken` or later; None where its time is over, so that it is left out.

    >>> place_of(3.0, 3), place_of(3.6, 3), place_of(2.4, 3), place_of(5.2, 3), place_of(2.0, 3)
    (3, 3, 3, 5, None)
    """
    if position <= taken - _SLACK:
        return None
    return taken if position < taken + _SLACK else round(position)


def _lay_out(stamps: np.ndarray, fps: float) -> tuple[int, int]:
    """(places taken, frames left out) on a grid of so many frames a second."""
    time_s, taken, left_out = -1.0, 0, 0
    for stamp in stamps.tolist():
        time_s = next_time(time_s, stamp, 1 / fps)
        place = place_of(time_s * fps, taken)
        if place is None:
            left_out += 1
        else:
            taken = place + 1
    return taken, left_out


def is_cut_off(path: Path) -> bool:
    """The file ends before its outermost part does, as its own header has it (MP4, MOV, AVI, WebM, MKV)."""
    size = path.stat().st_size
    with open(path, "rb") as f:
        head = f.read(12)
        if head.startswith(b"RIFF"):
            return int.from_bytes(head[4:8], "little") + 8 > size
        if head.startswith(_EBML):
            return _end_of_segment(f) > size
        if _is_mp4(head):
            return _end_of_boxes(f, size) > size
    return False


def _end_of_segment(f: BinaryIO) -> int:
    """Where a WebM's or MKV's frames end, in bytes; 0 where it does not say."""
    end = 0
    for name in (_EBML, _SEGMENT):
        f.seek(end)
        told, first = f.read(4), f.read(1)
        if told != name or first in (b"", b"\0"):
            return 0
        more = 8 - first[0].bit_length()  # the leading zeros tell how many bytes follow
        highest = (1 << 7 * (more + 1)) - 1
        length = int.from_bytes(first + f.read(more), "big") & highest
        if length == highest:  # unknown: a live recording
            return 0
        end = f.tell() + length
    return end


def _end_of_boxes(f: BinaryIO, size: int) -> int:
    """Where the last of an MP4's outermost boxes ends, in bytes; 0 where it does not say."""
    at = 0
    while at + 8 <= size:
        f.seek(at)
        box = f.read(16)
        length = int.from_bytes(box[:4], "big")
        if length == 1:
            length = int.from_bytes(box[8:], "big")
        if length < 8:  # to the end of the file, or no box
            return 0
        at += length
    return at


def check_film_file(path: Path) -> None:
    """The content must be a film: FFmpeg would also open play lists, which name other files and addresses.

    Raises:
        ImageError: absent, empty, unreadable, or not a film.
    """
    try:
        if path.is_dir():
            raise ImageError(f"{path}: is a directory, expected a film")
        if not path.is_file():
            raise ImageError(f"{path}: no such file")
        with open(path, "rb") as f:
            head = f.read(189)
    except OSError as e:
        raise ImageError(f"{path}: cannot be read ({e.strerror or e})") from e
    if not head:
        raise ImageError(f"{path}: empty (0 bytes), expected a film")
    known = (
        _is_mp4(head)
        or head.startswith((_EBML, b"OggS", b"FLV", b"GIF8", b"\x30\x26\xb2\x75", b"\x00\x00\x01\xba"))
        or head[:1] == head[188:189] == b"G"  # MPEG transport stream
        or (head.startswith(b"RIFF") and head[8:12] == b"AVI ")
    )
    if not known:
        raise ImageError(f"{path}: not a film that can be read; expected {READS}")


def _is_mp4(head: bytes) -> bool:
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
