"""Data sources behind one function: `open_dataset("fer2013")` is a Dataset, whatever it was made from.

A new source is one file beside this one and one line in SOURCES.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from fer import paths
from fer.data.dataset import SPLITS, Dataset, Split, load, save
from fer.data.fer2013_csv import CSV_NAMES
from fer.data.folders import find_split_folders
from fer.errors import ConfigError, DataError, unknown_name

__all__ = ["SOURCES", "SPLITS", "Dataset", "Source", "Split", "guess_source", "load", "open_dataset", "save"]


@dataclass(frozen=True)
class Source:
    """One way in which data come.

    Attributes:
        reader: "module:function", imported on first use.
        title: For people.
        help: What PATH is in "NAME:PATH".
        data_name: Name of the data set that comes out; its packed file is data/<data_name>.npz.
        options: Keywords with whole-number values in place of a path ("synthetic:n=200,seed=1").
    """

    reader: str
    title: str
    help: str
    data_name: str
    options: tuple[str, ...] = ()

    @property
    def read(self) -> Callable[..., Dataset]:
        """The function that reads it: `read(path, skip_bad=False, seed=...)`, or `read(**options)` without a path."""
        module, _, function = self.reader.partition(":")
        return getattr(import_module(module), function)


SOURCES: dict[str, Source] = {
    "fer2013": Source(
        "fer.data.fer2013_csv:read_fer2013_csv",
        "FER2013, challenge CSV",
        "fer2013.csv or icml_face_data.csv, or a folder that holds one of them",
        "fer2013",
    ),
    "folders": Source(
        "fer.data.folders:read_folders",
        "FER2013, image folders",
        "a folder with train/<class>/, test/<class>/ and perhaps val/<class>/",
        "fer2013-folders",
    ),
    "ferplus": Source(
        "fer.data.ferplus:read_ferplus",
        "FER+ votes on FER2013",
        "a folder with fer2013.csv and fer2013new.csv",
        "ferplus",
    ),
    "synthetic": Source(
        "fer.data.synthetic:read_synthetic",
        "drawn faces, no download",
        "nothing, or n=200,size_px=48,seed=1",
        "synthetic",
        options=("n", "size_px", "seed"),
    ),
}


def open_dataset(spec: str | Path, splits: str | Iterable[str] | None = None) -> Dataset:
    """Open a data set by name or place.

    Args:
        spec: "fer2013" (packed by scripts/prepare_data.py), "synthetic" or "synthetic:n=200,seed=1", a packed .npz,
            "NAME:PATH" with NAME from SOURCES ("folders:~/fer2013"), or a bare path whose kind is guessed.
        splits: Splits to open (train, val, test); None = all there are. Others are not read from a packed file.

    Raises:
        ConfigError: unknown name or option.
        DataError: nothing there, or what is there is broken.
    """
    text = str(spec).strip()
    wanted = None if splits is None else [splits] if isinstance(splits, str) else list(splits)
    name, _, rest = text.partition(":")
    if name in SOURCES and SOURCES[name].options:
        options = _options(name, rest)
        return _only(SOURCES[name].read(**options), wanted)
    if name in SOURCES and rest:
        return _only(SOURCES[name].read(Path(rest).expanduser()), wanted)
    path = Path(text).expanduser()
    packed = paths.data_dir() / f"{SOURCES[name].data_name if name in SOURCES else text}.npz"
    if path.suffix == ".npz":
        return load(path, wanted)
    if "/" not in text and "\\" not in text and packed.is_file():
        return load(packed, wanted)
    if name in SOURCES:
        raise DataError(
            f"{packed}: no such file; run scripts/prepare_data.py --source {name}, name the place ({name}:PATH) "
            f"or try the drawn faces (synthetic)"
        )
    if text and path.exists():
        return _only(SOURCES[guess_source(path)].read(path), wanted)
    if "/" in text or "\\" in text or path.suffix:
        raise DataError(f"{path}: no such file or folder")
    raise unknown_name("data set", text, SOURCES, "Or give a path, or NAME:PATH.")


def guess_source(path: str | Path) -> str:
    """Key of SOURCES for a file or folder, from what lies in it.

    Raises:
        DataError: it looks like none of them.
    """
    path = Path(path).expanduser()
    if path.is_file() and path.suffix.lower() == ".csv":
        return "fer2013"
    if path.is_dir() and "train" in find_split_folders(path):
        return "folders"
    if path.is_dir() and any((path / f).is_file() for f in CSV_NAMES):
        return "fer2013"
    what = "no such file or folder" if not path.exists() else "not recognised"
    known = "; ".join(f"{k}: {s.help}" for k, s in SOURCES.items() if not s.options)
    raise DataError(f"{path}: {what}. Known: {known}")


def _options(name: str, text: str) -> dict[str, int]:
    known, found = SOURCES[name].options, {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, _, value = (p.strip() for p in part.partition("="))
        if key not in known:
            raise unknown_name(f"option of {name}", key, known)
        try:
            found[key] = int(value)
        except ValueError:
            raise ConfigError(f"option {key} of {name} must be a whole number, got {value!r}") from None
    return found


def _only(dataset: Dataset, wanted: list[str] | None) -> Dataset:
    """The splits asked for; the fingerprint stays that of the whole source."""
    if wanted is None:
        return dataset
    return dataclasses.replace(dataset, splits={k: dataset[k] for k in wanted})
