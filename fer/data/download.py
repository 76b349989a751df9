"""Where FER2013 can be had, and the explicit call that fetches it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fer import hub
from fer.data.fer2013_csv import CSV_NAMES, locate_csv
from fer.errors import DataError
from fer.labels import FER7, canonical

COMPETITION = "challenges-in-representation-learning-facial-expression-recognition-challenge"
KAGGLE_FOLDERS = "msambare/fer2013"
HUB_SHARDS = "clip-benchmark/wds_fer2013"


@dataclass(frozen=True)
class Download:
    """One place on the network.

    Attributes:
        fetch: `fetch(folder)` -> path of a source that is there afterwards; writes nothing outside `folder` but the
            client's own cache.
        source: Key of SOURCES that reads it.
        title: For people.
    """

    fetch: Callable[[Path], Path]
    source: str
    title: str


def how_to_get() -> str:
    """What to tell someone who has no data yet (several lines)."""
    return f"""How to get FER2013 (35,887 faces; pick one):
  1. Kaggle, the challenge's own CSV with its three splits (recommended):
       https://www.kaggle.com/competitions/{COMPETITION}
     Sign in, accept the rules, download icml_face_data.csv (or fer2013.csv) into data/, run this script again.
     Or let it fetch the file: pip install kagglehub, then --download kaggle. That needs a token:
     https://www.kaggle.com/settings, API, Create New Token; put kaggle.json into ~/.kaggle/
     (chmod 600 ~/.kaggle/kaggle.json), or set KAGGLE_USERNAME and KAGGLE_KEY.
  2. Kaggle, the same faces as image folders (test/ holds PublicTest and PrivateTest together):
       https://www.kaggle.com/datasets/{KAGGLE_FOLDERS}   or   --download kaggle-folders
  3. Hugging Face Hub, the image folders as tar shards, no account needed:
       https://huggingface.co/datasets/{HUB_SHARDS}   or   --download hub
  FER+ votes: put fer2013new.csv from https://github.com/microsoft/FERPlus beside the CSV, then --source ferplus.
  No data at all? Every script takes drawn faces as well: --data synthetic."""


def _kaggle(_: Path) -> Path:
    found = hub.kaggle_competition(COMPETITION)
    for folder in (found, *sorted(p for p in found.rglob("*") if p.is_dir())):
        try:
            return locate_csv(folder)
        except DataError:
            continue
    raise DataError(f"{found}: the download holds neither {' nor '.join(CSV_NAMES)}")


def _kaggle_folders(_: Path) -> Path:
    return hub.kaggle_dataset(KAGGLE_FOLDERS)


def _hub(folder: Path) -> Path:
    shards = hub.hub_dataset(HUB_SHARDS, ["classnames.txt", "train/*.tar", "test/*.tar"])
    return unpack_shards(shards, folder / "fer2013_folders")


DOWNLOADS: dict[str, Download] = {
    "kaggle": Download(_kaggle, "fer2013", "Kaggle competition, CSV"),
    "kaggle-folders": Download(_kaggle_folders, "folders", "Kaggle data set, image folders"),
    "hub": Download(_hub, "folders", "Hugging Face Hub, image folders"),
}


def unpack_shards(shards: Path, out: Path) -> Path:
    """Write WebDataset shards (train/*.tar, test/*.tar, classnames.txt) as image folders.

    The class numbers in the shards are positions in classnames.txt, which need not be FER2013's order.

    Args:
        shards: Folder with the shards. Members are NAME.jpg (or png, jpeg) and NAME.cls.
        out: Receives train/<class>/NAME.jpg and test/<class>/NAME.jpg; files that are there are overwritten.

    Returns:
        `out`.

    Raises:
        DataError: class names absent or unknown, no shards, or a picture without a class.
    """
    listing = shards / "classnames.txt"
    if not listing.is_file():
        raise DataError(f"{listing}: no such file; without it the class numbers in the shards mean nothing")
    names = [canonical(line) for line in listing.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if sorted(names) != sorted(FER7.names):
        raise DataError(f"{listing}: expected the classes {', '.join(FER7.names)}, got {', '.join(names)}")
    for split in ("train", "test"):
        tars = sorted((shards / split).glob("*.tar"), key=lambda p: (len(p.name), p.name))
        if not tars:
            raise DataError(f"{shards / split}: holds no .tar shards")
        for tar in tars:
            _unpack(tar, names, out / split)
    return out


def _unpack(tar: Path, names: list[str], out: Path) -> None:
    pictures: dict[str, tuple[str, bytes]] = {}
    classes: dict[str, str] = {}
    try:
        with tarfile.open(tar) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                stem, _, suffix = PurePosixPath(member.name).name.partition(".")
                data = archive.extractfile(member).read()  # type: ignore[union-attr]
                if suffix in ("jpg", "jpeg", "png"):
                    pictures[stem] = (suffix, data)
                elif suffix == "cls":
                    classes[stem] = data.decode("ascii", "replace").strip()
    except (OSError, tarfile.TarError, EOFError) as e:
        raise DataError(f"{tar}: damaged archive ({e}); download it again") from e
    for stem, (suffix, data) in pictures.items():
        label = classes.get(stem, "")
        if not (label.isascii() and label.isdigit() and int(label) < len(names)):
            raise DataError(f"{tar}: {stem}.{suffix} has class {label!r}; expected 0..{len(names) - 1}")
        place = out / names[int(label)]
        place.mkdir(parents=True, exist_ok=True)
        temporary = place / f".{stem}.part"
        temporary.write_bytes(data)
        os.replace(temporary, place / f"{tar.stem}_{stem}.{suffix}")
