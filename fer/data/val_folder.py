"""Makes val/ beside train/ in a folder data set, so that nothing is ever lost and everything can be undone.

A list of what goes where is written before the first file moves; `undo` reads it, also after an interruption.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fer.data.checks import RowChecker
from fer.data.folders import ImageFile, find_split_folders, is_litter, list_images, picture_groups
from fer.data.splits import SEED, VAL_FRACTION, stratified_holdout
from fer.errors import DataError, unknown_name

RECORD = ".val_split.json"
_FORMAT = "fer-val-split"
_PART = ".part"


def _move(source: Path, target: Path) -> None:
    try:
        source.rename(target)
    except OSError:  # Another file system: the copy is complete before the original goes.
        _copy(source, target)
        source.unlink()


def _copy(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}{_PART}")
    shutil.copy2(source, part)
    part.replace(target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as e:
        raise DataError(f"{target}: this file system makes no hard links ({e.strerror}); use --copy or --move") from e


MODES: dict[str, Callable[[Path, Path], None]] = {"move": _move, "copy": _copy, "link": _link}


@dataclass(frozen=True)
class Plan:
    """What would be done.

    Attributes:
        root: Folder with train/.
        train, val: The two split folders; val does not exist yet.
        chosen: Files that go to val/, sorted by file name, then class.
        total: Files in train/ altogether.
        seed, fraction: As asked for.
    """

    root: Path
    train: Path
    val: Path
    chosen: tuple[ImageFile, ...]
    total: int
    seed: int
    fraction: float

    def target(self, file: ImageFile) -> Path:
        """Where a chosen file goes (the class folder keeps its spelling)."""
        return self.val / file.path.parent.name / file.path.name


def plan(root: str | Path, fraction: float = VAL_FRACTION, seed: int = SEED, checker: RowChecker | None = None) -> Plan:
    """Choose the files, identical pictures on one side; touches nothing.

    Args:
        root: Folder with train/<class>/.
        fraction, seed: As in `stratified_holdout`.
        checker: What to do with stray files and unknown classes; default: an error.

    Raises:
        DataError: no train/, or something in it that is no picture of a known class.
    """
    root = Path(root).expanduser()
    places = find_split_folders(root)
    if "train" not in places:
        raise DataError(f"{root}: has no train folder; expected train/<class>/*.png or *.jpg")
    files = list_images(places["train"], checker or RowChecker())
    held = stratified_holdout([f.key for f in files], [f.label for f in files], fraction, seed, picture_groups(files))
    chosen = tuple(f for f, h in zip(files, held, strict=True) if h)
    return Plan(root, places["train"], root / "val", chosen, len(files), seed, fraction)


def set_aside(root: str | Path) -> str:
    """Make room for a new val/: undo one that was made here, rename any other. Returns what was done ("" = nothing).

    Raises:
        DataError: see `undo`.
    """
    root = Path(root).expanduser()
    old = find_split_folders(root).get("val")
    if old is None:
        return ""
    done = ""
    if (old / RECORD).is_file():
        done = f"undid the split in {old} ({undo(root)} files)"
        if not old.exists():
            return done
        done += ", and what else was in it stays: "
    n = 1
    while (new := old.with_name(f"{old.name}.before-{n}")).exists():
        n += 1
    old.rename(new)
    return f"{done}renamed {old} to {new.name}"


def apply(planned: Plan, mode: str = "move") -> int:
    """Make val/.

    Args:
        planned: From `plan`.
        mode: "move" takes the files out of train/. "copy" and "link" (hard links) leave them there as well; this
            project then leaves them out of training by itself, other programs may not.

    Returns:
        Number of files in val/.

    Raises:
        ConfigError: unknown mode.
        DataError: a val folder exists, or a file cannot be written; what was done so far can be undone.
    """
    if mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    existing = find_split_folders(planned.root).get("val")
    if existing:
        raise DataError(
            f"{existing}: exists already and is used as it is; --undo takes back a split made here, "
            f"--force makes a new one (an existing folder is renamed, never deleted)"
        )
    pairs = [(f.path, planned.target(f)) for f in planned.chosen]
    record = {
        "format": _FORMAT,
        "mode": mode,
        "seed": planned.seed,
        "fraction": planned.fraction,
        "train": planned.train.name,
        "files": [f"{s.parent.name}/{s.name}" for s, _ in pairs],
    }
    try:
        planned.val.mkdir()
        (planned.val / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")
        for source, target in pairs:
            target.parent.mkdir(exist_ok=True)
            MODES[mode](source, target)
    except OSError as e:
        raise DataError(f"{e.filename or planned.val}: {e.strerror or e}; take back what was done with --undo") from e
    return len(pairs)


def undo(root: str | Path) -> int:
    """Take back a val/ made by `apply`, also a half-made one.

    Returns:
        Number of files that went back to train/ (move) or were removed from val/ because train/ has them (copy, link).

    Raises:
        DataError: val/ was not made here, or a file would overwrite a different one in train/.
    """
    pairs = undo_pairs(root)
    for there, back in pairs:
        if back.exists():
            there.unlink()
        else:
            back.parent.mkdir(parents=True, exist_ok=True)
            _move(there, back)
    _remove_empty(find_split_folders(root)["val"])
    return len(pairs)


def undo_pairs(root: str | Path) -> list[tuple[Path, Path]]:
    """What `undo` would take back, as (file in val/, its place in train/); touches nothing.

    Raises:
        DataError: see `undo`.
    """
    pairs = [(there, back) for there, back in _recorded(root) if there.exists()]
    for there, back in pairs:
        if back.exists() and back.read_bytes() != there.read_bytes():
            raise DataError(f"{back}: differs from {there}; keep one of the two, then undo again")
    return pairs


def lost(root: str | Path) -> list[str]:
    """Files that a split made here has moved or copied and that are neither in val/ nor in train/ any more.

    Returns:
        "class/file name" of each.

    Raises:
        DataError: see `undo`.
    """
    gone = [back for there, back in _recorded(root) if not there.exists() and not back.exists()]
    return [f"{p.parent.name}/{p.name}" for p in gone]


def _recorded(root: str | Path) -> list[tuple[Path, Path]]:
    """(file in val/, its place in train/) of all that the record names, whether they are there or not."""
    root = Path(root).expanduser()
    val = find_split_folders(root).get("val")
    if val is None:
        raise DataError(f"{root}: has no val folder; there is nothing to undo")
    try:
        record = json.loads((val / RECORD).read_text(encoding="utf-8"))
        if record["format"] != _FORMAT:
            raise ValueError("another format")
        train, names = root / record["train"], [str(n) for n in record["files"]]
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{val}: was not made by create_val_split (no readable {RECORD}); left as it is") from e
    return [(val / n, train / n) for n in names]


def _remove_empty(val: Path) -> None:
    """Remove the folders that are empty now; files that came from elsewhere stay, and so does their folder.

    What file managers leave behind is no such file: it goes with its folder.
    """
    (val / RECORD).unlink()
    for part in val.glob(f"*/.*{_PART}"):
        part.unlink()
    for folder in [*(p for p in val.iterdir() if p.is_dir()), val]:
        left = list(folder.iterdir())
        if all(is_litter(p) and p.is_file() for p in left):
            for litter in left:
                litter.unlink()
            folder.rmdir()
