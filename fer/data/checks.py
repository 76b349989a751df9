"""What happens to a row that cannot be used: an error that names it, or a line in the list of what was left out."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import numpy as np

from fer.errors import DataError

log = logging.getLogger(__name__)


@dataclass
class RowChecker:
    """Collects the rows of one source that cannot be used.

    Attributes:
        skip_bad: False: the first bad row is an error. True: bad rows are left out and listed.
        left_out: "file name:row: reason", in the order met (file names only, never the folder they lie in).
    """

    skip_bad: bool = False
    left_out: list[str] = field(default_factory=list)

    def reject(self, path: str | Path, row: int | None, reason: str) -> None:
        """Leave one row out.

        Args:
            path: File that holds the row; for folders of images the image itself.
            row: 1-based line number in that file, None where the file as a whole is meant.
            reason: What was got and what was expected.

        Raises:
            DataError: unless `skip_bad`.
        """
        at = f":{row}" if row is not None else ""
        if not self.skip_bad:
            raise DataError(
                f"{path}{at}: {reason}. Mend it, or leave such rows out with --skip-bad of scripts/prepare_data.py "
                "(create_val_split.py has it too)"
            )
        self.left_out.append(f"{Path(path).name}{at}: {reason}")
        log.warning("left out %s%s: %s", path, at, reason)

    def notes(self) -> dict[str, object]:
        """For Dataset.notes: empty when nothing was left out."""
        return {"left_out": list(self.left_out)} if self.left_out else {}


def open_text(path: str | Path) -> TextIO:
    """A text file whatever its byte order mark and line endings; bytes that are no UTF-8 become replacement marks.

    Raises:
        DataError: it cannot be opened.
    """
    try:
        return open(path, encoding="utf-8-sig", errors="replace")
    except OSError as e:
        raise DataError(f"{path}: cannot be read ({e.strerror})") from e


def one_hot(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Class indices (N,) as float32 (N, n_classes) probability vectors.

    >>> one_hot(np.array([2, 0]), 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    return np.eye(n_classes, dtype=np.float32)[np.asarray(labels, dtype=np.int64)]
