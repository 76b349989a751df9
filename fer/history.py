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


def fits(history: Sequence[Mapping[str, Any]], epochs: int, val_accuracy: float, tolerance: float = ROUNDED) -> bool:
    """Can this be the history of a run of so many epochs, the best of which reached this accuracy on validation?

    >>> fits([{"val_accuracy": 0.25}, {"val_accuracy": 0.5}], 2, 0.5)
    True
    >>> fits([{"val_accuracy": 0.25}, {"val_accuracy": 0.5}], 2, 0.75)
    False
    """
    reached = (abs(row.get("val_accuracy", -1.0) - val_accuracy) <= tolerance for row in history)
    return len(history) == epochs and any(reached)


def promoted_history(model: str, data: str, training: Mapping[str, Any]) -> Path | None:
    """Where promotion put the history of a checkpoint; None where what is there is of another run, or nothing.

    Args:
        model, data: Names of the model and of the data it was trained on.
        training: Of its manifest.
    """
    folder = results_dir() / Path(data).name / model
    try:
        found = fits(read_history(folder), training.get("epochs", 0), training.get("val_accuracy", -1.0))
    except DataError:
        return None
    return folder / HISTORY if found else None
