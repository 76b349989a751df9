"""history.jsonl: one row per epoch of a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer.errors import DataError
from fer.paths import results_dir

_log = logging.getLogger(__name__)

HISTORY = "history.jsonl"
# what the rounding in a manifest may change in an accuracy
ROUNDED = 1e-6


def read_history(folder: str | Path) -> list[dict[str, Any]]:
    """One dict per epoch of a folder's history.jsonl; empty where there is none.

    Raises:
        DataError: a line that is no JSON object (a half-written *last* line is left out: a run was interrupted there).
    """
    path = Path(folder) / HISTORY
    if not path.is_file():
        return []
    lines = [line for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    history: list[dict[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict):
                raise ValueError("not an object")
            history.append(entry)
        except ValueError as e:
            if number < len(lines):
                raise DataError(f"{path}: line {number} is damaged ({e}); copy it again from the run's folder") from e
            _log.warning("%s: the last line is half written, left out", path)
    return history


def fits(history: Sequence[Mapping[str, Any]], training: Mapping[str, Any], tolerance: float = ROUNDED) -> bool:
    """Can this be the history of a run?

    Args:
        training: Of its manifest: epochs, val_accuracy and, since some epoch of another run may be as right by chance,
            best_epoch, the one that reached it.
        tolerance: Of the accuracy.

    >>> history = [{"val_accuracy": 0.25}, {"val_accuracy": 0.5}]
    >>> fits(history, {"epochs": 2, "val_accuracy": 0.5, "best_epoch": 2})
    True
    >>> fits(history, {"epochs": 2, "val_accuracy": 0.5, "best_epoch": 1})
    False
    """
    best, accuracy = training.get("best_epoch"), training.get("val_accuracy")
    # rows of what was trained before may be missing, so a row says itself which epoch it is of
    epochs = [row.get("epoch", number) for number, row in enumerate(history, start=1)]
    if accuracy is None or not epochs or epochs[-1] != training.get("epochs"):
        return False
    rows = [row for epoch, row in zip(epochs, history, strict=True) if best in (None, epoch)]
    return any(abs(row.get("val_accuracy", -1.0) - accuracy) <= tolerance for row in rows)


def history_fits(folder: str | Path, training: Mapping[str, Any]) -> bool:
    """Does a folder hold the history of a run? Not where there is none, or a damaged one.

    Args:
        training: Of the run's manifest, see `fits`.
    """
    try:
        return fits(read_history(folder), training)
    except DataError:
        return False


def promoted_history(model: str, data: str, training: Mapping[str, Any]) -> Path | None:
    """Where promotion put the history of a checkpoint; None where what is there is of other runs, or nothing.

    Args:
        model, data: Names of the model and of the data it was trained on.
        training: Of its manifest, see `fits`.
    """
    home = results_dir() / Path(data).name
    for folder in (home / model, *sorted(home.glob(f"{model}@*"))):  # without its attention, say
        if history_fits(folder, training):
            return folder / HISTORY
    return None
