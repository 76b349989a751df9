"""FER2013 as image folders: train/<class>/*.png, test/<class>/*.png and perhaps val/<class>/*.png.

This release has no row order, and its test folder holds PublicTest and PrivateTest together. Without a val folder the
validation split is cut from train, exactly as scripts/create_val_split.py would cut it: FER2013 repeats many of its
pictures, and identical ones stay on one side.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer.data.checks import RowChecker, one_hot
from fer.data.dataset import Dataset, Split
from fer.data.splits import SEED, VAL_FRACTION, shared_images, stratified_holdout
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
_LITTER = {"thumbs.db", "desktop.ini", "__macosx", ".ds_store", ".directory"}
# Names by which people keep data sets in class folders.
_DATA_SET = re.compile(r"affectnet|fer[-_ ]?(\+|plus|2013)|muxspace|raf[-_ ]?db|ck(\+|plus)|jaffe|expw")
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
        and test/ in that order, each sorted by file name, then class. `notes` counts the repeated pictures, and those
        that given splits share.

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
    if "val" in listed and (repeated := _drop_repeated(listed)):
        notes["train_files_also_in_val"] = repeated
    faces: dict[Path, np.ndarray] = {}
    groups: dict[Path, Hashable] = {}
    for file in (f for files in listed.values() for f in files):
        groups[file.path] = _read(file, faces, checker)
    if "val" not in listed:
        train = listed["train"]
        held = stratified_holdout(
            [f.key for f in train], [f.label for f in train], fraction, seed, [groups[f.path] for f in train]
        )
        listed["train"] = [f for f, h in zip(train, held, strict=True) if not h]
        listed["val"] = [f for f, h in zip(train, held, strict=True) if h]
        titles["val"] = f"val (cut from {places['train'].name})"
        notes |= {"val_fraction": fraction, "val_seed": seed}
    images = {k: [groups[f.path] for f in listed.get(k, ()) if f.path in faces] for k in SPLIT_FOLDERS}
    if repeated := len(faces) - len(set().union(*images.values())):
        notes["repeated_images"] = repeated
    splits = {k: _split(listed[k], faces, order, root) for k in SPLIT_FOLDERS if listed.get(k)}
    notes |= shared_images(images) | checker.notes()
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
    """One picture of any size as uint8 (H, W).

    Raises:
        ValueError: it is none; the message says what it is instead.
    """
    from PIL import Image

    if path.stat().st_size == 0:
        raise ValueError("empty file (0 bytes)")
    try:
        with Image.open(path) as image:
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


def picture_groups(files: Iterable[ImageFile]) -> list[Hashable]:
    """A value per file, equal for files that show the same pixels whatever their bytes; the key of one that shows none.

    Pictures of any size are compared, so that a split can be cut of data that are not FER2013's.
    """
    groups: list[Hashable] = []
    for file in files:
        try:
            groups.append(_digest(read_grey(file.path)))
        except ValueError:
            groups.append(file.key)
    return groups


def _check_side(face: np.ndarray) -> None:
    height, width = face.shape
    if (width, height) != (SIDE_PX, SIDE_PX):
        raise ValueError(
            f"{width} x {height} pixels; expected {SIDE_PX} x {SIDE_PX} "
            f"(pictures of other sizes are read with folder:PATH)"
        )


def _digest(face: np.ndarray) -> bytes:
    return hashlib.blake2b(repr(face.shape).encode() + face.tobytes(), digest_size=16).digest()


def known_classes(folder: Path) -> set[str]:
    """Canonical names of the class folders directly in a folder (unknown names and files are left aside)."""
    return {canonical(name) for name in _subfolder_names(folder)} & set(EMOJI)


def kind_of_folders(train: Path) -> str:
    """Which source reads a train/ folder: "affectnet", "folders" (FER2013's seven classes), or "folder" for others."""
    if is_affectnet(train):
        return "affectnet"
    classes, folders = known_classes(train), _subfolder_names(train)
    # FER2013 has no contempt. What is nearly FER2013 is taken for it, so that a missing class is said to be missing.
    other = "contempt" in classes or (1 < len(classes) < 5 and len(classes) == len(folders))
    return "folder" if other else "folders"


def is_affectnet(train: Path) -> bool:
    """Whether a train folder is AffectNet's: its numbers 0..7 and no others, or its eight classes under its name.

    The names of the eight classes alone tell nothing: FER+ has the same, and so may anybody's own data. The folder that
    train lies in, or one of the two above it, must have "affectnet" in its name, and none nearer another data set's.
    """
    names, numbers = _subfolder_names(train), {str(i) for i in range(len(AFFECTNET8))}
    root = train.absolute().parent
    if any(_named_affectnet((r, *r.parents[:2])) for r in (root, root.resolve())):
        return numbers <= names or known_classes(train) == set(AFFECTNET8.names)
    return names == numbers


def _named_affectnet(folders: Iterable[Path]) -> bool:
    """Whether the first of some folders that has the name of a data set has that of AffectNet."""
    named = next((p.name.lower() for p in folders if _DATA_SET.search(p.name.lower())), "")
    return "affectnet" in named


def _subfolder_names(folder: Path) -> set[str]:
    """Of the folders in a folder; none where it cannot be read."""
    try:
        return {p.name for p in entries(folder) if p.is_dir()}
    except (DataError, OSError):
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


def is_litter(path: Path) -> bool:
    """Whether a file manager left a file behind (macOS begins them with "._" on file systems of others)."""
    return path.name.lower() in _LITTER or path.name.startswith("._")


def _drop_repeated(listed: dict[str, list[ImageFile]]) -> int:
    """Take out of train what lies in val as well (same name, same bytes): a copied or linked split would leak."""
    held = {f.key: f.path for f in listed["val"]}
    before = len(listed["train"])
    listed["train"] = [
        f for f in listed["train"] if f.key not in held or f.path.read_bytes() != held[f.key].read_bytes()
    ]
    return before - len(listed["train"])


def _read(file: ImageFile, faces: dict[Path, np.ndarray], checker: RowChecker) -> Hashable:
    """Put one picture among the faces, unless it is none; what it is grouped by, as `picture_groups` would say."""
    group: Hashable = file.key
    try:
        face = read_grey(file.path)
        group = _digest(face)
        _check_side(face)
        faces[file.path] = face
    except ValueError as e:
        checker.reject(file.path, None, str(e))
    return group


def _split(files: list[ImageFile], faces: dict[Path, np.ndarray], order: dict[Path, int], root: Path) -> Split:
    usable = [f for f in files if f.path in faces]
    if not usable:
        raise DataError(f"{root}: not one usable image among the {len(files)} of a split")
    labels = np.array([f.label for f in usable])
    rows = np.array([order[f.path] for f in usable], dtype=np.int64)
    return Split(np.stack([faces[f.path] for f in usable]), one_hot(labels, len(FER7)), rows)
