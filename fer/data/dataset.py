"""The one container for faces and targets, and the compact file it is kept in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import numpy as np

from fer.errors import DataError
from fer.files import replacing
from fer.labels import LABEL_SETS, LabelSet

SPLITS = ("train", "val", "test")
_FORMAT = "fer-dataset"
_SCHEMA = 1
# What NumPy, zipfile and json raise on bytes that are not such a file.
_DAMAGE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Faces of one split.

    Attributes:
        faces: uint8, (N, H, W) grey or (N, H, W, 3) RGB.
        targets: float32 (N, C), each row a probability vector (one-hot, or votes).
        rows: int64 (N,), position in the source (CSV row, or order of the sorted files).
    """

    faces: np.ndarray
    targets: np.ndarray
    rows: np.ndarray

    def __post_init__(self) -> None:
        f, t = self.faces, self.targets
        if f.dtype != np.uint8 or f.ndim not in (3, 4) or (f.ndim == 4 and f.shape[3] != 3):
            raise DataError(f"faces must be uint8 (N, H, W) or (N, H, W, 3), got {f.dtype} {f.shape}")
        if t.dtype != np.float32 or t.ndim != 2 or len(t) != len(f) or self.rows.shape != (len(f),):
            raise DataError(f"targets must be float32 (N, C) and rows (N,), got {t.dtype} {t.shape}, {self.rows.shape}")
        if len(t) and (not np.isfinite(t).all() or t.min() < 0 or abs(t.sum(axis=1) - 1).max() > 1e-3):
            raise DataError("every target must be a probability vector")

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64: the likeliest class of each target."""
        return self.targets.argmax(axis=1)

    def __repr__(self) -> str:
        side = " x ".join(map(str, self.faces.shape[1:]))
        return f"Split({len(self)} faces of {side}, {self.targets.shape[1]} classes)"

    def take(self, index: np.ndarray) -> Split:
        """The given positions, as a new split."""
        return Split(self.faces[index], self.targets[index], self.rows[index])


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Named splits under one label set.

    Attributes:
        name: For results/<name>/ and manifests, for example "fer2013".
        label_set: Order of the classes in every target.
        splits: Subset of train, val, test.
        titles: What the data's own authors call each split ("PublicTest").
        fingerprint: SHA-256 over labels, faces, targets and rows of *all* splits of the source, also those not opened.
        notes: Anything worth keeping (source path is not: it is nobody's business).
    """

    name: str
    label_set: LabelSet
    splits: Mapping[str, Split]
    titles: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    notes: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, split in self.splits.items():
            if key not in SPLITS:
                raise DataError(f"unknown split {key!r}; known: {', '.join(SPLITS)}")
            if split.targets.shape[1] != len(self.label_set):
                raise DataError(
                    f"split {key} has {split.targets.shape[1]} classes, {self.label_set.name} has {len(self.label_set)}"
                )
        object.__setattr__(self, "splits", MappingProxyType(dict(self.splits)))
        if not self.fingerprint:
            object.__setattr__(
                self, "fingerprint", combine({k: fingerprint(s) for k, s in self.splits.items()}, self.label_set)
            )

    def __getitem__(self, split: str) -> Split:
        if split not in self.splits:
            have = ", ".join(f"{k} ({len(v)})" for k, v in self.splits.items())
            raise DataError(f"data set {self.name!r} has no split {split!r} here; it has {have or 'none'}")
        return self.splits[split]

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}={len(v)}" for k, v in self.splits.items())
        return f"Dataset({self.name!r}, {self.label_set.name}, {sizes})"

    def title(self, split: str) -> str:
        """What the data's authors call a split; falls back to its key."""
        return self.titles.get(split, split)


def fingerprint(split: Split) -> str:
    """SHA-256 over shapes, faces, targets and rows of one split (hex)."""
    h = hashlib.sha256(repr((split.faces.shape, split.targets.shape)).encode())
    for a, kind in ((split.faces, "u1"), (split.targets, "<f4"), (split.rows, "<i8")):
        h.update(np.ascontiguousarray(a, dtype=kind).data)
    return h.hexdigest()


def combine(parts: Mapping[str, str], label_set: LabelSet) -> str:
    """Fingerprint of a data set from those of its splits and its class names (hex)."""
    return hashlib.sha256(json.dumps([list(label_set.names), sorted(parts.items())]).encode()).hexdigest()


def save(dataset: Dataset, path: str | Path) -> Path:
    """Write the compact file (zip of NumPy arrays and a JSON header), never leaving a half-written one behind."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = {k: fingerprint(s) for k, s in dataset.splits.items()}
    header = {
        "format": _FORMAT,
        "schema": _SCHEMA,
        "name": dataset.name,
        "label_set": dataset.label_set.name,
        "labels": list(dataset.label_set.names),
        "titles": dict(dataset.titles),
        "notes": dict(dataset.notes),
        "parts": parts,
        "fingerprint": combine(parts, dataset.label_set),
    }
    arrays: dict[str, np.ndarray] = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
    for key, s in dataset.splits.items():
        arrays |= {f"{key}_faces": s.faces, f"{key}_targets": s.targets, f"{key}_rows": s.rows.astype(np.int64)}
    with replacing(path) as part, open(part, "wb") as f:
        # Not compressed: faces shrink by 5 % only, and loading would take several times as long.
        np.savez(f, **arrays)  # type: ignore[arg-type]
    return path


def require_own(path: str | Path) -> None:
    """Let only a data file of this project be replaced, a damaged one too.

    Raises:
        DataError: what lies there is something else, or of a newer version.
    """
    path = Path(path)
    with open(path, "rb") as f:
        start = f.read(64)
    if not start:
        return
    header: object = None
    if b"header.npy" in start:  # `save` writes it first
        try:
            with np.load(path, allow_pickle=False) as z:
                raw = bytes(z["header"])
        except _DAMAGE:
            return
        with contextlib.suppress(ValueError):
            header = json.loads(raw)
    what = ""
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        what = "not a data file of this project, or one whose beginning is lost,"
    elif isinstance(schema := header.get("schema"), int) and schema > _SCHEMA:
        what = f"of schema {schema}, newer than {_SCHEMA}"
    if what:
        raise DataError(f"{path}: is {what}, and was left as it is; move it away, or name another file with --out")


def load(path: str | Path, splits: str | Iterable[str] | None = None) -> Dataset:
    """Read the compact file. Only the splits asked for are opened, so training never touches the test faces.

    Raises:
        DataError: absent, damaged or foreign file, newer schema, a split that is not there, or bytes that do not
            match the recorded fingerprint.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file; scripts/prepare_data.py makes it")
    try:
        with np.load(path, allow_pickle=False) as z:
            header = json.loads(bytes(z["header"]).decode())
            if header.get("format") != _FORMAT:
                raise DataError(f"{path}: not a data file of this project")
            if header["schema"] > _SCHEMA:
                raise DataError(f"{path}: schema {header['schema']} is newer than {_SCHEMA}; update the package")
            asked = [splits] if isinstance(splits, str) else splits
            wanted = list(header["parts"]) if asked is None else list(asked)
            for key in wanted:
                if key not in header["parts"]:
                    raise DataError(f"{path}: has no split {key!r}; it has {', '.join(header['parts'])}")
            names, about = header["labels"], [header[k] for k in ("titles", "fingerprint", "notes")]
            label_set = LABEL_SETS.get(header["label_set"]) or LabelSet(header["label_set"], tuple(names))
            got = {k: Split(z[f"{k}_faces"], z[f"{k}_targets"], z[f"{k}_rows"]) for k in wanted}
    except _DAMAGE as e:
        raise DataError(f"{path}: damaged or not a data file ({e}); make it again with scripts/prepare_data.py") from e
    if list(label_set.names) != names:
        raise DataError(f"{path}: its class order {names} is not that of {label_set.name}")
    for key, split in got.items():
        if fingerprint(split) != header["parts"][key]:
            raise DataError(f"{path}: split {key} does not match its fingerprint; make the file again")
    return Dataset(header["name"], label_set, got, *about)
