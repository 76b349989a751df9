"""Data sources behind one function: `open_dataset("fer2013")` is a Dataset, whatever it was made from.

A new source is one file beside this one and one line in SOURCES.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from fer import paths
from fer.data.dataset import SPLITS, Dataset, Split, load, save
from fer.data.fer2013_csv import find_csv
from fer.data.folders import find_split_folders, kind_of_folders, known_classes
from fer.data.projection import project_dataset
from fer.errors import ConfigError, DataError, unknown_name
from fer.labels import LabelSet, find_label_set

__all__ = [
    "SOURCES",
    "SPLITS",
    "Dataset",
    "Source",
    "Spec",
    "Split",
    "guess_source",
    "load",
    "open_dataset",
    "parse_spec",
    "project_dataset",
    "save",
]


@dataclass(frozen=True)
class Source:
    """One way in which data come.

    Attributes:
        reader: "module:function", imported on first use.
        title: For people.
        help: What PATH is in "NAME:PATH".
        data_name: Name of the data set that comes out; its packed file is data/<data_name>.npz. "" = after the folder.
        options: Keywords with whole-number values ("synthetic:n=200,seed=1", "affectnet:PATH,size_px=64").
        has_path: It reads a place on disk; False for drawn faces.
    """

    reader: str
    title: str
    help: str
    data_name: str
    options: tuple[str, ...] = ()
    has_path: bool = True

    @property
    def read(self) -> Callable[..., Dataset]:
        """The function that reads it: `read(path, skip_bad=False, seed=..., **options)`, or `read(**options)`."""
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
    "ferplus-majority": Source(
        "fer.data.ferplus:read_ferplus_majority",
        "FER+, the class that most voted for",
        "a folder with fer2013.csv and fer2013new.csv",
        "ferplus-majority",
        options=("plurality",),
    ),
    "affectnet": Source(
        "fer.data.affectnet:read_affectnet",
        "AffectNet, class folders, 8 classes",
        "a folder with train/<class>/ and val/<class>/ or test/<class>/, names or numbers 0..7",
        "affectnet",
        options=("size_px",),
    ),
    "muxspace": Source(
        "fer.data.muxspace:read_muxspace",
        "Muxspace facial expressions",
        "a folder with data/legend.csv and images/",
        "muxspace",
        options=("size_px", "contempt"),
    ),
    "folder": Source(
        "fer.data.class_folders:read_class_folders",
        "any class folders",
        "a folder with <class>/ folders of pictures, or train/<class>/ and so on",
        "",
        options=("size_px",),
    ),
    "synthetic": Source(
        "fer.data.synthetic:read_synthetic",
        "drawn faces, no download",
        "nothing, or n=200,size_px=48,seed=1,contempt=1",
        "synthetic",
        options=("n", "size_px", "seed", "contempt"),
        has_path=False,
    ),
}


@dataclass(frozen=True)
class Spec:
    """What a user wrote to name a data set, taken apart.

    Attributes:
        source: Key of SOURCES, "" where only a place or a packed name was given.
        place: Path or name; "" where there is none.
        options: For the source's reader.
        labels: Label set to project to; None = as it is.
    """

    source: str
    place: str
    options: dict[str, int]
    labels: LabelSet | None


def parse_spec(text: str | Path) -> Spec:
    """Take "NAME:PATH,option=1@labels" apart (see `open_dataset`).

    Raises:
        ConfigError: unknown option or label set.

    >>> spec = parse_spec("affectnet:~/a,size_px=64@fer7")
    >>> spec.source, spec.place, spec.options, spec.labels.name
    ('affectnet', '~/a', {'size_px': 64}, 'fer7')
    """
    text, labels = str(text).strip(), None
    rest, at, suffix = text.rpartition("@")
    # A path may hold an "@"; a label set's name holds neither slash nor dot.
    exists = any(Path(t).expanduser().exists() for t in (text, text.partition(":")[2]) if t)
    if at and not re.search(r"[/\\.]", suffix) and not exists:
        text, labels = rest.strip(), find_label_set(suffix)
    name, _, rest = text.partition(":")
    if name not in SOURCES:
        return Spec("", text, {}, labels)
    if not SOURCES[name].has_path:
        return Spec(name, "", _options(name, [p for p in rest.split(",") if p.strip()]), labels)
    parts: list[str] = []
    while re.search(r"(^|,)\s*\w+\s*=[^,/\\]*$", rest) and not Path(rest).expanduser().exists():
        rest, _, last = rest.rpartition(",")
        parts.insert(0, last)
    if parts and not rest:
        raise ConfigError(f"{name}: options need the place the data are read from: {name}:PATH,{parts[0]}")
    return Spec(name, rest.strip(), _options(name, parts), labels)


def open_dataset(
    spec: str | Path, splits: str | Iterable[str] | None = None, labels: LabelSet | str | None = None
) -> Dataset:
    """Open a data set by name or place.

    Args:
        spec: "fer2013" (packed by scripts/prepare_data.py), "synthetic" or "synthetic:n=200,seed=1", a packed .npz,
            "NAME:PATH" with NAME from SOURCES ("folders:~/fer2013", "folder:~/my-faces"), or a bare path whose kind
            is guessed. Options of a source follow the path: "affectnet:~/affectnet,size_px=64". At the very end
            "@LABELS" projects the classes by name: "affectnet@fer7" (contempt dropped), "ferplus@fer7+contempt"
            (kept), "muxspace:~/m@fer7".
        splits: Splits to open (train, val, test); None = all there are. Others are not read from a packed file.
        labels: The same as "@LABELS": a label set or its name (see `project_dataset`).

    Raises:
        ConfigError: unknown name, option or label set, or labels that contradict the spec's.
        DataError: nothing there, or what is there is broken.
    """
    asked = parse_spec(spec)
    target = find_label_set(labels) if isinstance(labels, str) else labels
    if target and asked.labels and target != asked.labels:
        raise ConfigError(f"{spec}: asks for the classes of {asked.labels.name}, and labels for those of {target.name}")
    target = target or asked.labels
    wanted = None if splits is None else [splits] if isinstance(splits, str) else list(splits)
    dataset = _open(asked, wanted)
    return dataset if target is None else project_dataset(dataset, target)


def is_prepared(name: str) -> bool:
    """Whether a data set lies in the folder of data under its name, packed."""
    source = SOURCES.get(name)
    return source is not None and bool(source.data_name) and _packed(source.data_name).is_file()


def _packed(name: str) -> Path:
    return paths.data_dir() / f"{name}.npz"


def _open(asked: Spec, wanted: list[str] | None) -> Dataset:
    name, place = asked.source, asked.place
    if name and not SOURCES[name].has_path:
        return _only(SOURCES[name].read(**asked.options), wanted)
    if name and place:
        return _only(SOURCES[name].read(Path(place).expanduser(), **asked.options), wanted)
    if name and not SOURCES[name].data_name:
        raise DataError(f"{name}: name the place, {name}:PATH ({SOURCES[name].help})")
    packed = _packed(SOURCES[name].data_name if name else place)
    path = Path(place).expanduser()
    if path.suffix.lower() == ".npz":
        return load(path, wanted)
    if "/" not in place and "\\" not in place and packed.is_file():
        return load(packed, wanted)
    if name:
        here = sorted(f.stem for f in packed.parent.glob("*.npz"))
        raise DataError(
            f"{packed}: no such file; run scripts/prepare_data.py --source {name}, name the place ({name}:PATH) "
            f"or try the drawn faces (synthetic)"
            + (f". What was prepared there is taken by its name: --data {', --data '.join(here)}" if here else "")
        )
    if place and path.exists():
        return _only(SOURCES[guess_source(path)].read(path), wanted)
    if "/" in place or "\\" in place or path.suffix:
        raise DataError(f"{path}: no such file or folder")
    raise unknown_name("data set", place, SOURCES, "Or give a path, or NAME:PATH.")


def guess_source(path: str | Path) -> str:
    """Key of SOURCES for a file or folder, from what lies in it.

    Raises:
        DataError: it looks like none of them.
    """
    path = Path(path).expanduser()
    if path.is_file() and path.suffix.lower() == ".csv":
        return "muxspace" if path.name.lower() == "legend.csv" else "fer2013"
    if path.is_dir():
        splits = find_split_folders(path)
        if "train" in splits:
            return kind_of_folders(splits["train"])
        if find_csv(path):
            return "fer2013"
        if any((path / f).is_file() for f in ("data/legend.csv", "legend.csv")):
            return "muxspace"
        if len(known_classes(path)) > 1:
            return "folder"
    what = "no such file or folder" if not path.exists() else "not recognised"
    known = "; ".join(f"{k}: {s.help}" for k, s in SOURCES.items() if s.has_path)
    raise DataError(f"{path}: {what}. Known: {known}")


def _options(name: str, parts: Iterable[str]) -> dict[str, int]:
    known, found = SOURCES[name].options, {}
    for part in parts:
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
