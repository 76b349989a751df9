"""Folders of class folders, with or without train/val/test above them: AffectNet's copies, and anybody's own data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer.data.checks import RowChecker, one_hot
from fer.data.dataset import SPLITS, Dataset, Split
from fer.data.folders import SPLIT_FOLDERS, entries, find_split_folders
from fer.data.pictures import read_pictures
from fer.data.splits import SEED, TEST_FRACTION, VAL_FRACTION, grouped_split, shared_images
from fer.errors import ConfigError, DataError
from fer.images import SUFFIXES
from fer.labels import LabelSet, class_name, label_set_of

SIZE_PX = 96


@dataclass(frozen=True)
class ClassFile:
    """One listed picture.

    Attributes:
        path: Where it lies.
        name: Canonical class name.
        key: "class/file name": the same whatever the folders above are called.
    """

    path: Path
    name: str
    key: str


def read_class_folders(
    path: str | Path, *, skip_bad: bool = False, seed: int = SEED, size_px: int = SIZE_PX, name: str = ""
) -> Dataset:
    """Read any folder of class folders.

    Either PATH/<class>/*.jpg, dealt out to train, val and test by 70/15/15 per class (seeded, identical images on one
    side), or PATH/<split>/<class>/*.jpg with the splits as they are; where train has no val beside it, 15 % of train
    are cut off as val in the same way. A file of train that lies in val as well (a copied or linked validation split)
    is left out of train. A class folder may have any known spelling ("Anger", "happiness").

    Args:
        path: The folder.
        skip_bad: Leave unusable files and folders out (listed in `notes["left_out"]`) instead of raising.
        seed: Of the splits that are cut here.
        size_px: Largest side at which faces are stored (see `read_pictures`).
        name: Name of the data set; default: made of the folder's name.

    Returns:
        Data set of RGB faces, over the known label set that has exactly the classes found (fer7, ferplus8), else over
        these classes in the usual order. `rows` numbers the files in the order of splits, each sorted by file name,
        then class.

    Raises:
        DataError: no such folder, fewer than two classes, an unknown class name, or a file that is no picture.
    """
    checker = RowChecker(skip_bad)
    root = Path(path).expanduser()
    listed = list_splits(root, checker, class_name)
    label_set = label_set_of({f.name for files in listed.values() for f in files})
    if len(label_set) < 2:
        raise DataError(f"{root}: holds pictures of {label_set.names[0]} only; expected at least two class folders")
    return build(name or safe_name(root), label_set, listed, checker, seed, size_px, root)


def build(
    name: str,
    label_set: LabelSet,
    listed: Mapping[str, list[ClassFile]],
    checker: RowChecker,
    seed: int,
    size_px: int,
    root: Path,
    titles: Mapping[str, str] | None = None,
) -> Dataset:
    """Read listed pictures and cut the splits that are missing.

    Args:
        listed: Split -> files; key "" for files that are in no split yet. Without "val" it is cut from train.
        titles: What the data's authors call each split.

    Raises:
        DataError: a file that is no picture, unless the checker skips; not one usable picture in a split.
    """
    files = [f for part in listed.values() for f in part]
    given = np.array([split for split, part in listed.items() for _ in part])
    got = read_pictures([f.path for f in files], size_px, 3, checker)
    labels = np.array([label_set.index(files[i].name) for i in got.kept], dtype=np.int64)
    where, notes = given[got.kept], got.notes()
    titles = dict(titles or {k: k for k in listed if k})
    # files of one split have distinct keys; the whole list need not
    keys = [files[i].key for i in got.kept]
    for split in [s for s in ("val", "test") if s in listed]:
        repeated = _repeated(where, keys, got.digests, split)
        where[repeated] = ""
        notes |= {f"train_files_also_in_{split}": len(repeated)} if len(repeated) else {}
    if "" in listed:
        where = grouped_split(keys, labels, got.digests, {"test": TEST_FRACTION, "val": VAL_FRACTION}, seed)
        notes |= {"split_seed": seed}
    elif "val" not in listed:
        train = np.flatnonzero(where == "train")
        cut = grouped_split(
            [keys[i] for i in train], labels[train], [got.digests[i] for i in train], {"val": VAL_FRACTION}, seed
        )
        where[train] = cut
        titles["val"] = "val (cut from train)"
        notes |= {"val_fraction": VAL_FRACTION, "val_seed": seed}
    notes |= shared_images({s: [got.digests[i] for i in np.flatnonzero(where == s)] for s in SPLITS})
    splits = {}
    for split in SPLITS:
        mine = np.flatnonzero(where == split)
        if len(mine):
            splits[split] = Split(got.faces[mine], one_hot(labels[mine], len(label_set)), got.kept[mine])
    for split in (s for s in listed if s and s not in splits):
        raise DataError(f"{root}: not one usable picture in {split}")
    if "train" not in splits:
        raise DataError(f"{root}: not one usable picture to train on")
    return Dataset(
        name, label_set, splits, {k: titles[k] for k in splits if k in titles}, notes=notes | checker.notes()
    )


def _repeated(where: np.ndarray, keys: list[str], digests: list[bytes], split: str) -> np.ndarray:
    """Which files of train lie in a split as well (same name, same picture): a copied or linked one would leak."""
    held = {(keys[i], digests[i]) for i in np.flatnonzero(where == split)}
    return np.array([i for i in np.flatnonzero(where == "train") if (keys[i], digests[i]) in held], dtype=np.int64)


def list_splits(root: Path, checker: RowChecker, spelled: Callable[[str], str]) -> dict[str, list[ClassFile]]:
    """Split -> pictures; a folder without train/ above its classes has the single key "".

    Args:
        spelled: Folder name -> canonical class name; ConfigError for an unknown one.

    Raises:
        DataError: no such folder, no pictures; and unless the checker skips, whatever is neither.
    """
    places = find_split_folders(root)
    if places and "train" not in places:
        raise DataError(f"{root}: has {', '.join(p.name for p in places.values())} but no train folder")
    if not places:
        return {"": list_classes(root, checker, spelled, strict=False)}
    return {k: list_classes(places[k], checker, spelled) for k in SPLIT_FOLDERS if k in places}


def list_classes(
    folder: Path, checker: RowChecker, spelled: Callable[[str], str], strict: bool = True
) -> list[ClassFile]:
    """Pictures in the class folders of one folder, sorted by file name, then class.

    Args:
        strict: A stray file beside the class folders is an error too (a picture always is).

    Raises:
        DataError: no picture at all; and unless the checker skips: an unknown class, an empty class folder, a file
            that is no picture, a name that occurs twice in a class.
    """
    found: dict[str, ClassFile] = {}
    for place in entries(folder):
        if not place.is_dir():
            if strict or place.suffix.lower() in SUFFIXES:
                checker.reject(place, None, "a file where only class folders are expected")
            continue
        try:
            name = spelled(place.name)
        except ConfigError as e:
            checker.reject(place, None, str(e))
            continue
        files = entries(place)
        if not files:
            checker.reject(place, None, "empty folder; expected pictures")
        for file in files:
            key = f"{name}/{file.name}"
            if not file.is_file() or file.suffix.lower() not in SUFFIXES:
                checker.reject(file, None, f"not a picture file; expected one of {', '.join(SUFFIXES)}")
            elif key in found:
                checker.reject(file, None, f"a second file {file.name!r} of class {name}")
            else:
                found[key] = ClassFile(file, name, key)
    if not found:
        raise DataError(f"{folder}: holds no pictures in class folders; expected <class>/*.jpg or *.png")
    return sorted(found.values(), key=lambda f: (f.path.name, f.name))


def safe_name(folder: Path) -> str:
    """A data set's name from a folder's, fit for file names; one that a known source has gets "folder-" before it.

    >>> safe_name(Path("/x/My Faces (2)")), safe_name(Path("/x/fer2013"))
    ('my-faces-2', 'folder-fer2013')
    """
    from fer.data import SOURCES

    name = re.sub(r"[^a-z0-9._]+", "-", folder.resolve().name.lower()).strip("-._") or "faces"
    return f"folder-{name}" if name in SOURCES or name in {s.data_name for s in SOURCES.values()} else name
