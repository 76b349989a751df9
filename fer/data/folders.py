"""FER2013 as image folders: train/<class>/*.png, test/<class>/*.png and perhaps val/<class>/*.png.

This release has no row order, and its test folder holds PublicTest and PrivateTest together. Without a val folder the
validation split is cut from train, exactly as scripts/create_val_split.py would cut it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer.data.checks import RowChecker, one_hot
from fer.data.dataset import Dataset, Split
from fer.data.splits import SEED, VAL_FRACTION, stratified_holdout
from fer.errors import DataError
from fer.labels import AFFECTNET8, EMOJI, FER7, canonical

SIDE_PX = 48
SPLIT_FOLDERS: dict[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
# What file managers leave behind is no data and no mistake either.
_LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
# Everything Pillow raises on files that are not what their name says.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, struct.error, zlib.error)


@dataclass(frozen=True)
class ImageFile:
    """One listed picture.

    Attributes:
        path: Where it lies.
        label: FER7 class.
        key: "class/file name" with the class in its canonical spelling: the same whatever the folder is called.
    """

    path: Path
    label: int
    key: str


def read_folders(
    path: str | Path, *, skip_bad: bool = False, seed: int = SEED, fraction: float = VAL_FRACTION
) -> Dataset:
    """Read FER2013 from image folders.

    Args:
        path: Folder that holds train/ and test/ (val/ or validation/ is respected where it exists).
        skip_bad: Leave unusable files and folders out (listed in `notes["left_out"]`) instead of raising.
        seed, fraction: Of the validation split that is cut from train/ where there is no val/.

    Returns:
        Data set "fer2013-folders" with one-hot targets over FER7; the name tells the form, and whether the pictures are
        those of FER2013 is for their counts to say (`fer.ancestry.own_data`). `rows` numbers the files of train/, val/
        and test/ in that order, each sorted by file name, then class.

    Raises:
        DataError: no train/, an empty folder, an unknown class, or a file that is no 48 x 48 picture (names it).
    """
    checker = RowChecker(skip_bad)
    root = Path(path).expanduser()
    places = find_split_folders(root)
    if "train" not in places:
        raise DataError(f"{root}: has no train folder; expected train/<class>/, test/<class>/ and perhaps val/<class>/")
    listed = {k: list_images(places[k], checker) for k in SPLIT_FOLDERS if k in places}
    order = {f.path: i for i, f in enumerate(f for files in listed.values() for f in files)}
    titles = {k: p.name for k, p in places.items()}
    notes: dict[str, object] = {}
    if "val" in listed:
        repeated = _drop_repeated(listed)
        if repeated:
            notes["train_files_also_in_val"] = repeated
    else:
        train = listed["train"]
        held = stratified_holdout([f.key for f in train], [f.label for f in train], fraction, seed)
        listed["train"] = [f for f, h in zip(train, held, strict=True) if not h]
        listed["val"] = [f for f, h in zip(train, held, strict=True) if h]
        titles["val"] = f"val (cut from {places['train'].name})"
        notes |= {"val_fraction": fraction, "val_seed": seed}
    splits = {k: _read_split(listed[k], order, checker, root) for k in SPLIT_FOLDERS if listed.get(k)}
    notes |= checker.notes()
    return Dataset("fer2013-folders", FER7, splits, {k: titles[k] for k in splits}, notes=notes)


def find_split_folders(root: str | Path) -> dict[str, Path]:
    """Split key -> folder, for those that exist under `root` (any capitalisation).

    Raises:
        DataError: `root` is no folder, or two folders could be the same split.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}; expected one with train/<class>/ and test/<class>/")
    found: dict[str, Path] = {}
    for entry in sorted(p for p in root.iterdir() if p.is_dir()):
        key = next((k for k, names in SPLIT_FOLDERS.items() if entry.name.lower() in names), None)
        if key in found:
            raise DataError(f"{root}: both {found[key].name} and {entry.name} could be the {key} split; keep one")
        if key:
            found[key] = entry
    return found


def list_images(folder: Path, checker: RowChecker) -> list[ImageFile]:
    """Pictures of one split, sorted by file name and then class, whatever the order on disk.

    Raises:
        DataError: no picture at all; and unless the checker skips: a missing or unknown class, an empty class
            folder, a stray file.
    """
    found: list[ImageFile] = []
    seen: set[str] = set()
    classes: set[int] = set()
    for place in entries(folder):
        name = canonical(place.name)
        if not place.is_dir():
            checker.reject(place, None, "a file where only class folders are expected")
            continue
        if name not in FER7.names:
            checker.reject(place, None, f"unknown class {place.name!r}; known: {', '.join(FER7.names)}")
            continue
        label = FER7.index(name)
        classes.add(label)
        files = entries(place)
        if not files:
            checker.reject(place, None, "empty folder; expected png or jpg images")
        for file in files:
            key = f"{name}/{file.name}"
            if not file.is_file() or file.suffix.lower() not in IMAGE_SUFFIXES:
                checker.reject(file, None, "not a png or jpg file")
            elif key in seen:
                checker.reject(file, None, f"a second file {file.name!r} of class {name}")
            else:
                seen.add(key)
                found.append(ImageFile(file, label, key))
    if not found:
        raise DataError(f"{folder}: holds no images; expected <class>/*.png or *.jpg")
    missing = [n for i, n in enumerate(FER7.names) if i not in classes]
    if missing:
        checker.reject(folder, None, f"no folder for {', '.join(missing)}")
    return sorted(found, key=lambda f: (f.path.name, f.label))


def read_grey(path: Path) -> np.ndarray:
    """One picture as uint8 (48, 48).

    Raises:
        ValueError: it is none; the message says what it is instead.
    """
    from PIL import Image

    if path.stat().st_size == 0:
        raise ValueError("empty file (0 bytes)")
    try:
        with Image.open(path) as image:
            if image.size != (SIDE_PX, SIDE_PX):
                raise ValueError(f"{image.width} x {image.height} pixels; expected {SIDE_PX} x {SIDE_PX}")
            if image.mode[0] in "IF":
                raise ValueError(f"more than 8 bits a pixel (mode {image.mode}); expected 8-bit grey or colour")
            grey = image if image.mode == "L" else image.convert("RGB").convert("L")
            return np.asarray(grey, dtype=np.uint8)
    except Image.DecompressionBombError:
        raise ValueError(f"far too large; expected {SIDE_PX} x {SIDE_PX} pixels") from None
    except Image.UnidentifiedImageError:
        raise ValueError("not an image") from None
    except ValueError:
        raise
    except _DECODE_ERRORS as e:
        raise ValueError(f"truncated or damaged image ({e})") from e


def known_classes(folder: Path) -> set[str]:
    """Canonical names of the class folders directly in a folder (unknown names and files are left aside)."""
    return {canonical(name) for name in _subfolder_names(folder)} & set(EMOJI)


def is_affectnet(train: Path) -> bool:
    """Whether a train folder holds AffectNet's eight classes, by name or by its numbers 0..7."""
    numbers = {str(i) for i in range(len(AFFECTNET8))}
    return known_classes(train) == set(AFFECTNET8.names) or numbers <= _subfolder_names(train)


def _subfolder_names(folder: Path) -> set[str]:
    try:
        return {p.name for p in folder.iterdir() if p.is_dir()}
    except OSError:
        return set()


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without hidden files and what file managers leave behind.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.name.lower() not in _LITTER)
    except OSError as e:
        raise DataError(f"{folder}: cannot be read ({e.strerror})") from e


def _drop_repeated(listed: dict[str, list[ImageFile]]) -> int:
    """Take out of train what lies in val as well (same name, same bytes): a copied or linked split would leak."""
    held = {f.key: f.path for f in listed["val"]}
    before = len(listed["train"])
    listed["train"] = [
        f for f in listed["train"] if f.key not in held or f.path.read_bytes() != held[f.key].read_bytes()
    ]
    return before - len(listed["train"])


def _read_split(files: list[ImageFile], order: dict[Path, int], checker: RowChecker, root: Path) -> Split:
    faces, labels, rows = [], [], []
    for file in files:
        try:
            faces.append(read_grey(file.path))
        except ValueError as e:
            checker.reject(file.path, None, str(e))
            continue
        labels.append(file.label)
        rows.append(order[file.path])
    if not faces:
        raise DataError(f"{root}: not one usable image among the {len(files)} of a split")
    return Split(np.stack(faces), one_hot(np.array(labels), len(FER7)), np.array(rows, dtype=np.int64))
