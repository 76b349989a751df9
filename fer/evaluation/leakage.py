"""Which test faces were already seen in training? Exact copies by their bytes, near copies by two perceptual hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fer.errors import DataError

# Both hashes may differ in this many of their 64 bits. Chosen on FER2013 by counting matches of *mirrored* test faces,
# which are practically never in the training split: 8 and 8 finds ten such false ones in 3,301, 12 and 12 finds 430.
NEAR_BITS = 8
_CHUNK = 1024
_LOW = 8


@dataclass(frozen=True, eq=False)
class Leakage:
    """Faces of a split that also lie in another.

    Attributes:
        exact: (N,) bool, the same pixels.
        near: (N,) bool, a near copy (re-encoded, brightened, slightly shifted) that is not the same pixels.
    """

    exact: np.ndarray
    near: np.ndarray

    @property
    def either(self) -> np.ndarray:
        """(N,) bool."""
        return self.exact | self.near


def find(faces: np.ndarray, seen: np.ndarray, near_bits: int = NEAR_BITS) -> Leakage:
    """Look every face up among those seen in training.

    Args:
        faces: uint8 (N, H, W) or (N, H, W, 3).
        seen: uint8 (M, H', W') or (M, H', W', 3); another size only means that no copy is exact.
        near_bits: Largest Hamming distance of both hashes, 0..64.

    Returns:
        Masks over `faces`. Comparing 3,589 faces with 28,709 takes under a second.
    """
    faces, seen = _grey(faces), _grey(seen)
    known = {_digest(f) for f in seen} if faces.shape[1:] == seen.shape[1:] else set()
    exact = np.fromiter((_digest(f) in known for f in faces), dtype=bool, count=len(faces))
    near = np.zeros(len(faces), dtype=bool)
    if len(seen):
        hashes = [(hash_of(faces), hash_of(seen)) for hash_of in (dhash, phash)]
        for start in range(0, len(faces), _CHUNK // 4):
            part = slice(start, start + _CHUNK // 4)
            close = np.ones((len(faces[part]), len(seen)), dtype=bool)
            for mine, theirs in hashes:
                close &= np.bitwise_count(mine[part, None] ^ theirs[None]) <= near_bits
            near[part] = close.any(axis=1)
    # A blank face has the same hashes as any other blank one; that says nothing about copies.
    blank = np.ptp(faces, axis=(1, 2)) == 0
    return Leakage(exact, near & ~exact & ~blank)


def dhash(faces: np.ndarray) -> np.ndarray:
    """Difference hash: on an 8 x 9 reduction, is each pixel brighter than its left neighbour?

    Args:
        faces: uint8 (N, H, W).

    Returns:
        (N,) uint64.
    """

    def bits(chunk: np.ndarray) -> np.ndarray:
        height, width = chunk.shape[1:]
        small = _area(height, _LOW) @ chunk @ _area(width, _LOW + 1).T
        return small[:, :, 1:] > small[:, :, :-1]

    return _hash(faces, bits)


def phash(faces: np.ndarray) -> np.ndarray:
    """Perceptual hash: which of the 8 x 8 lowest cosine coefficients lie above their median?

    Args:
        faces: uint8 (N, H, W).

    Returns:
        (N,) uint64.
    """

    def bits(chunk: np.ndarray) -> np.ndarray:
        height, width = chunk.shape[1:]
        low = (_cosines(height) @ chunk @ _cosines(width).T).reshape(len(chunk), -1)
        return low > np.median(low, axis=1, keepdims=True)

    return _hash(faces, bits)


def _hash(faces: np.ndarray, bits: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    out = [
        np.packbits(bits(faces[i : i + _CHUNK].astype(np.float32)).reshape(-1, 64), axis=1).view(np.uint64).ravel()
        for i in range(0, len(faces), _CHUNK)
    ]
    return np.concatenate(out) if out else np.empty(0, dtype=np.uint64)


def _area(size: int, cells: int) -> np.ndarray:
    """(cells, size) float32: mean over the pixels (and parts of pixels) that a cell covers."""
    edges = np.linspace(0, size, cells + 1)
    pixel = np.arange(size)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return (overlap.clip(0) * cells / size).astype(np.float32)


def _cosines(size: int) -> np.ndarray:
    """(8, size) float32: the lowest rows of the DCT-II matrix, unscaled."""
    return np.cos(np.pi * (np.arange(size) + 0.5) * np.arange(_LOW)[:, None] / size).astype(np.float32)


def _digest(face: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(face).data, digest_size=16).digest()


def _grey(faces: np.ndarray) -> np.ndarray:
    faces = np.asarray(faces)
    if faces.dtype != np.uint8 or faces.ndim not in (3, 4) or (faces.ndim == 4 and faces.shape[3] != 3):
        raise DataError(f"faces must be uint8 (N, H, W) or (N, H, W, 3), got {faces.dtype} {faces.shape}")
    if faces.ndim == 4:
        # the usual luma weights; equal channels come back unchanged
        faces = np.rint(faces @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return faces


@dataclass(frozen=True, eq=False)
class Copies:
    """Faces of one split that have a copy in another split, or a second one in their own.

    Attributes:
        exact: (N,) bool, the same pixels.
        near: (N,) bool, a near copy and no exact one.
        other_label: (N,) bool, an exact or near copy with another label.
    """

    exact: np.ndarray
    near: np.ndarray
    other_label: np.ndarray


def copies(
    splits: Mapping[str, tuple[np.ndarray, np.ndarray]], near_bits: int = NEAR_BITS
) -> dict[tuple[str, str], Copies]:
    """Look every face up in every split, its own included.

    Args:
        splits: Name -> (faces uint8 (N, H, W) or (N, H, W, 3), labels (N,) class indices), all of one size.
        near_bits: Largest Hamming distance of both hashes, 0..64.

    Returns:
        (a, b) -> masks over the faces of a: which have a copy in b. (a, a) finds copies beside the face itself.
        36,000 faces of 48 px take about 20 s.

    Raises:
        DataError: faces of several sizes, or as many labels as there are not faces.
    """
    names = list(splits)
    if len({np.shape(faces)[1:] for faces, _ in splits.values()}) > 1:
        raise DataError(f"the faces of {', '.join(names)} differ in size")
    for name, (faces, labels) in splits.items():
        if len(faces) != len(labels):
            raise DataError(f"{name}: {len(faces)} faces, but {len(labels)} labels")
    # Work on different pictures only: a picture is one row, however often it occurs.
    number: dict[bytes, int] = {}
    which = {k: np.array([number.setdefault(_digest(f), len(number)) for f in v[0]], int) for k, v in splits.items()}
    dhashes, phashes = np.zeros(len(number), np.uint64), np.zeros(len(number), np.uint64)
    blank = np.zeros(len(number), dtype=bool)
    classes = 1 + max((int(v[1].max(initial=0)) for v in splits.values()), default=0)
    held = np.zeros((len(number), len(names), classes), dtype=np.int64)
    for place, (name, (faces, labels)) in enumerate(splits.items()):
        np.add.at(held, (which[name], np.full(len(labels), place), np.asarray(labels)), 1)
        for start in range(0, len(faces), _CHUNK):
            part = slice(start, start + _CHUNK)
            grey = _grey(faces[part])
            dhashes[which[name][part]], phashes[which[name][part]] = dhash(grey), phash(grey)
            blank[which[name][part]] = np.ptp(grey, axis=(1, 2)) == 0
    nearby = np.zeros_like(held)
    for i, j in _near_pairs(dhashes, phashes, blank, near_bits):
        np.add.at(nearby, i, held[j])
        np.add.at(nearby, j, held[i])
    found = {}
    for name, (_, labels) in splits.items():
        mine, label = which[name], np.asarray(labels)
        for place, other in enumerate(names):
            same, close = held[mine, place].copy(), nearby[mine, place]
            if other == name:
                same[np.arange(len(mine)), label] -= 1
            exact = same.sum(axis=1) > 0
            either = same + close
            differs = either.sum(axis=1) > either[np.arange(len(mine)), label]
            found[name, other] = Copies(exact, (close.sum(axis=1) > 0) & ~exact, differs)
    return found


def _near_pairs(
    dhashes: np.ndarray, phashes: np.ndarray, blank: np.ndarray, near_bits: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Positions (i, j), i < j, of pictures whose hashes are both close, a block of i at a time."""
    step = _CHUNK // 4
    for start in range(0, len(dhashes), step):
        rows = slice(start, start + step)
        close = np.bitwise_count(dhashes[rows, None] ^ dhashes[None, start:]) <= near_bits
        i, j = np.nonzero(close)
        i, j = i + start, j + start
        # The second hash only where the first one agrees: that is rare.
        agree = (i < j) & ~blank[i] & ~blank[j]
        agree &= np.bitwise_count(phashes[i] ^ phashes[j]) <= near_bits
        yield i[agree], j[agree]
