"""Finds data that a user already has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fer import paths
from fer.data.fer2013_csv import find_csv
from fer.data.ferplus import VOTES_FILE
from fer.data.folders import SPLIT_FOLDERS, kind_of_folders, known_classes
from fer.data.muxspace import IMAGES, LEGEND
from fer.labels import FER7


@dataclass(frozen=True)
class Found:
    """A source on disk: key of SOURCES and where it lies."""

    source: str
    path: Path


def default_places() -> list[Path]:
    """The data folder, the working directory and ~/Downloads."""
    return [paths.data_dir(), Path.cwd(), Path.home() / "Downloads"]


def find_data(places: Iterable[Path] | None = None) -> list[Found]:
    """Everything usable in the places and one level below, best first; a folder that may not be read is passed over.

    The challenge CSV comes before image folders because it has the official splits; FER+ and other data come last
    because they are another task.
    """
    found: dict[tuple[str, Path], Found] = {}
    for place in default_places() if places is None else places:
        for folder in (place, *_subfolders(place)):
            try:
                for source, path in _look(folder):
                    found.setdefault((source, path.resolve()), Found(source, path))
            except OSError:  # No permission, as in lost+found.
                continue
    rank = ("fer2013", "folders", "ferplus", "ferplus-majority", "muxspace", "affectnet", "folder")
    return sorted(found.values(), key=lambda f: rank.index(f.source))


def _subfolders(place: Path) -> list[Path]:
    try:
        return sorted(p for p in place.iterdir() if not p.name.startswith(".") and _is_folder(p))
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    """Path.is_dir, and no where it may not be asked (a link into somebody else's place)."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _look(folder: Path) -> Iterable[tuple[str, Path]]:
    if csv := find_csv(folder):
        yield "fer2013", csv
        if find_csv(folder, (VOTES_FILE,)):
            yield "ferplus", csv
            yield "ferplus-majority", csv
    if (folder / "data" / LEGEND).is_file() and (folder / IMAGES).is_dir():
        yield "muxspace", folder
    # Other people's train/ folders must not be taken for faces: most of the seven classes have to be there.
    for train in _subfolders(folder):
        if train.name.lower() in SPLIT_FOLDERS["train"]:
            kind = kind_of_folders(train)
            if kind == "affectnet" or len(known_classes(train) & set(FER7.names)) >= 5:
                yield kind, folder
