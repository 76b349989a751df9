"""AffectNet in class folders: eight classes with contempt, as its reduced and balanced copies are passed on.

Mollahosseini, Hasani and Mahoor 2017, "AffectNet: A Database for Facial Expression, Valence, and Arousal Computing in
the Wild". Layout: train/<class>/, val/<class>/ and in some copies test/<class>/; <class> is a name in any spelling, or
AffectNet's own number: 0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 anger, 7 contempt.
"""

from __future__ import annotations

from pathlib import Path

from fer.data.checks import RowChecker
from fer.data.class_folders import SIZE_PX, build, list_splits
from fer.data.dataset import Dataset
from fer.data.folders import find_split_folders
from fer.data.splits import SEED
from fer.errors import ConfigError, DataError
from fer.labels import AFFECTNET8, class_name


def read_affectnet(path: str | Path, *, skip_bad: bool = False, seed: int = SEED, size_px: int = SIZE_PX) -> Dataset:
    """Read AffectNet from class folders.

    Splits: a test/ is the test split. AffectNet's own test labels were never published and its validation images are
    what everybody reports on, so where there is no test/, the published val/ becomes the test split here and a
    validation split is cut from train/ (15 % per class, seeded, identical images on one side): nothing is then
    selected on the images that are reported. Where there is test/ but no val/, val is cut from train/ as well.

    Args:
        path: Folder that holds train/ and val/ or test/; it may lie up to two folders deeper.
        skip_bad: Leave unusable files and folders out (listed in `notes["left_out"]`) instead of raising.
        seed: Of the validation split that is cut here.
        size_px: Largest side at which faces are stored (the balanced copies have 75 or 96 px and are kept as they
            are). 41,000 faces of 75 px take 0.7 GB, of 96 px 1.1 GB.

    Returns:
        Data set "affectnet" of RGB faces over AFFECTNET8, whose order is AffectNet's own numbering.

    Raises:
        DataError: no train/, an unknown or absent class, or a file that is no picture (names it).
    """
    checker = RowChecker(skip_bad)
    root = find_root(path)
    places = find_split_folders(root)
    listed = list_splits(root, checker, spelled)
    for split, files in listed.items():
        absent = [n for n in AFFECTNET8.names if n not in {f.name for f in files}]
        if absent:
            advice = "a copy with other classes can be read as folder:PATH"
            checker.reject(places[split], None, f"no folder for {', '.join(absent)}; {advice}")
    titles = {k: p.name for k, p in places.items()}
    if "test" not in listed:
        if "val" not in listed:
            raise DataError(f"{root}: has train but neither val nor test; AffectNet's validation images belong in val/")
        listed["test"] = listed.pop("val")
        titles["test"] = f"{titles.pop('val')} (published validation)"
    return build("affectnet", AFFECTNET8, listed, checker, seed, size_px, root, titles)


def find_root(path: str | Path) -> Path:
    """The folder with train/ in it: the path itself or one up to two levels below (archives unpack that way).

    Raises:
        DataError: there is none.
    """
    root = Path(path).expanduser()
    level = [root]
    for _ in range(3):
        for folder in level:
            if "train" in find_split_folders(folder):
                return folder
        level = sorted(p for folder in level for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    raise DataError(f"{root}: no train folder here; expected train/<class>/ and val/<class>/ or test/<class>/")


def spelled(name: str) -> str:
    """Canonical class name of a class folder, which may be one of AffectNet's numbers.

    Raises:
        ConfigError: neither.

    >>> spelled("6"), spelled("Anger")
    ('angry', 'angry')
    """
    if not name.isdecimal():
        return class_name(name)
    if name.isascii() and int(name) < len(AFFECTNET8):
        return AFFECTNET8.names[int(name)]
    numbers = ", ".join(f"{i} {n}" for i, n in enumerate(AFFECTNET8.names))
    raise ConfigError(f"unknown class number {name!r}; AffectNet's are {numbers}")
