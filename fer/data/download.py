"""Where the data can be had, and the explicit call that fetches them."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fer import hub
from fer.data.affectnet import find_root
from fer.data.dataset import Dataset
from fer.data.fer2013_csv import CSV_NAMES, locate_csv
from fer.data.ferplus import VOTES_FILE
from fer.errors import DataError
from fer.labels import FER7, canonical

COMPETITION = "challenges-in-representation-learning-facial-expression-recognition-challenge"
KAGGLE_FOLDERS = "msambare/fer2013"
HUB_SHARDS = "clip-benchmark/wds_fer2013"
KAGGLE_AFFECTNET = "dollyprajapati182/balanced-affectnet"
KAGGLE_FERPLUS = "arnabkumarroy02/ferplus"
MUXSPACE = "https://github.com/muxspace/facial_expressions"
FERPLUS = "https://github.com/microsoft/FERPlus"


@dataclass(frozen=True)
class Download:
    """One place on the network.

    Attributes:
        fetch: `fetch(folder)` -> path of a source that is there afterwards; writes nothing outside `folder` but the
            client's own cache.
        source: Key of SOURCES that reads it.
        title: For people.
        name: Name of the data set, where the source would take it from the folder.
        expected: Split -> faces that the copy is known to hold; empty where nobody says.
        also: Other keys of SOURCES that read the same place.
    """

    fetch: Callable[[Path], Path]
    source: str
    title: str
    name: str = ""
    expected: Mapping[str, int] = field(default_factory=dict)
    also: tuple[str, ...] = ()


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
  FER+ votes: put {VOTES_FILE} from {FERPLUS} beside the CSV (or into data/ and
     --download ferplus), then --source ferplus or ferplus-majority. As image folders of eight classes, hard labels:
       https://www.kaggle.com/datasets/{KAGGLE_FERPLUS}   or   --download ferplus-folders
AffectNet (8 classes with contempt), a balanced part of 41,008 faces in folders:
       https://www.kaggle.com/datasets/{KAGGLE_AFFECTNET}   or   --download affectnet
Muxspace (13,690 labelled faces) is neither on Kaggle nor on the Hub:
       git clone {MUXSPACE} data/facial_expressions   then   --source muxspace
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


def _affectnet(_: Path) -> Path:
    return find_root(hub.kaggle_dataset(KAGGLE_AFFECTNET))


def _ferplus(folder: Path) -> Path:
    """The votes are on GitHub only: they have to be there already; the faces are fetched to lie beside them."""
    place = folder / "ferplus"
    votes = next((p for p in (place / VOTES_FILE, folder / VOTES_FILE) if p.is_file()), None)
    if votes is None:
        raise DataError(
            f"{folder / VOTES_FILE}: no such file; the votes are neither on Kaggle nor on the Hub: take {VOTES_FILE} "
            f"from {FERPLUS}, put it there and run this again"
        )
    csv = _kaggle(folder)
    place.mkdir(parents=True, exist_ok=True)
    for file in (votes, csv):
        if file.parent != place:
            shutil.copyfile(file, place / file.name)
    return place


def _ferplus_folders(_: Path) -> Path:
    return find_root(hub.kaggle_dataset(KAGGLE_FERPLUS))


def _muxspace(folder: Path) -> Path:
    raise DataError(
        f"Muxspace is neither on Kaggle nor on the Hub; fetch it with git, then --source muxspace:\n"
        f"  git clone {MUXSPACE} {folder / 'facial_expressions'}"
    )


def arrived(download: Download, dataset: Dataset) -> list[str]:
    """What differs from the number of faces that the copy is known to hold, one line per split.

    Args:
        dataset: What was read; a validation split that was cut from train counts as train.
    """
    lines = []
    cut = "val" not in download.expected
    for split, expected in download.expected.items():
        parts = [split, "val"] if split == "train" and cut else [split]
        got = sum(len(dataset[p]) for p in parts if p in dataset.splits)
        if got != expected:
            lines.append(f"{split}: {got} faces, the copy is described with {expected} ({got - expected:+d})")
    return lines


DOWNLOADS: dict[str, Download] = {
    "kaggle": Download(_kaggle, "fer2013", "Kaggle competition, CSV"),
    "kaggle-folders": Download(_kaggle_folders, "folders", "Kaggle data set, image folders"),
    "hub": Download(_hub, "folders", "Hugging Face Hub, image folders"),
    "affectnet": Download(
        _affectnet,
        "affectnet",
        "Kaggle data set, balanced AffectNet",
        expected={"train": 29526, "val": 7382, "test": 4100},
    ),
    "ferplus": Download(
        _ferplus,
        "ferplus",
        "FER+ votes put into data/ by hand, faces from the Kaggle competition",
        also=("ferplus-majority",),
    ),
    "ferplus-folders": Download(
        _ferplus_folders, "folder", "Kaggle data set, FER+ as image folders", "ferplus-folders"
    ),
    "muxspace": Download(_muxspace, "muxspace", "says how: git"),
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
