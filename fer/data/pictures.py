"""Picture files of any size, grey or colour, as one array of faces: read in parallel, never more than a few at once.

The sources whose pictures differ in size (AffectNet, Muxspace, folders of one's own) share this.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer.data.checks import RowChecker
from fer.errors import ConfigError, ImageError
from fer.specs import InputSpec

MIN_PX, MAX_PX = 16, 512
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures that could be read.

    Attributes:
        faces: uint8 (N, S, S) grey or (N, S, S, 3) RGB.
        kept: int64 (N,), positions in the list of files.
        digests: N digests of the pixels as decoded, before any resize: equal for identical images, whatever their
            names or whether a grey one is stored as colour.
        sizes: int64 (N, 2), width and height as decoded.
    """

    faces: np.ndarray
    kept: np.ndarray
    digests: list[bytes]
    sizes: np.ndarray

    def notes(self) -> dict[str, object]:
        """For Dataset.notes: the original sizes, and how many pictures repeat another one."""
        return {"original_sizes": describe_sizes(self.sizes), "repeated_images": len(self) - len(set(self.digests))}

    def __len__(self) -> int:
        return len(self.faces)


def read_pictures(paths: Sequence[Path], size_px: int, channels: int, checker: RowChecker) -> Pictures:
    """Read, convert and resize pictures.

    Faces are squeezed to a square by fer.transforms.prepare, as nets see them later. `size_px` is an upper bound: where
    no picture is that large, the longest side that occurs is taken instead, so that nothing is only blown up.

    Args:
        paths: Files in any format that fer.images reads.
        size_px: Largest side to store, 16..512.
        channels: 1 (grey, BT.601 luma) or 3 (RGB).
        checker: What to do with a file that is no picture.

    Raises:
        ConfigError: size_px out of range.
        DataError: a file that cannot be read, unless the checker skips.
    """
    if not MIN_PX <= size_px <= MAX_PX:
        raise ConfigError(f"size_px must be {MIN_PX}..{MAX_PX}, got {size_px}")
    with ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2))) as pool:
        side = max(MIN_PX, min(size_px, max(_in_batches(pool, _longest_side, paths), default=size_px)))
        spec = InputSpec(size_px=side, resize_px=side, channels=channels)
        faces = np.empty((len(paths), side, side, 3) if channels == 3 else (len(paths), side, side), dtype=np.uint8)
        kept: list[int] = []
        digests: list[bytes] = []
        sizes: list[tuple[int, int]] = []
        for i, got in enumerate(_in_batches(pool, lambda path: _read(path, spec), paths)):
            if isinstance(got, str):
                checker.reject(paths[i], None, got)
                continue
            faces[len(kept)], digest, size = got
            kept.append(i)
            digests.append(digest)
            sizes.append(size)
    return Pictures(
        faces[: len(kept)], np.array(kept, dtype=np.int64), digests, np.array(sizes, dtype=np.int64).reshape(-1, 2)
    )


def describe_sizes(sizes: np.ndarray) -> str:
    """(N, 2) widths and heights in a few words.

    >>> describe_sizes(np.array([[48, 48], [48, 48]])), describe_sizes(np.array([[90, 128], [128, 128], [128, 128]]))
    ('48 x 48', '90 x 128 to 128 x 128, 2 different, most often 128 x 128 (67 %)')
    """
    if not len(sizes):
        return "none"
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    area = kinds.prod(axis=1)
    small, large, usual = (f"{w} x {h}" for w, h in kinds[[area.argmin(), area.argmax(), counts.argmax()]])
    if len(kinds) == 1:
        return usual
    share = round(100 * counts.max() / counts.sum())
    return f"{small} to {large}, {len(kinds)} different, most often {usual} ({share} %)"


def _in_batches(pool: ThreadPoolExecutor, function, paths: Sequence[Path]) -> Iterator:  # type: ignore[no-untyped-def, type-arg]
    """pool.map that holds no more than a batch of results."""
    for start in range(0, len(paths), _BATCH):
        yield from pool.map(function, paths[start : start + _BATCH])


def _longest_side(path: Path) -> int:
    """From the file's head; 0 where it is no picture (reading it says why)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return max(image.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0


def _read(path: Path, spec: InputSpec) -> tuple[np.ndarray, bytes, tuple[int, int]] | str:
    """(face, digest, (width, height)), or what is wrong with the file."""
    from fer.images import read_image
    from fer.transforms import prepare

    try:
        image = read_image(path)
    except ImageError as e:
        return str(e).removeprefix(f"{path}: ")
    height, width = image.shape[:2]
    digest = hashlib.blake2b(f"{width}x{height}:".encode() + image.tobytes(), digest_size=16).digest()
    return prepare([image], spec)[0], digest, (width, height)
