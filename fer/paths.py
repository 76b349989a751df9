"""Where things lie, whatever the working directory.

In a clone of the project all of it lies there. Where the package is installed by itself (`pip install .`), the bundled
checkpoints are inside it, and data and results are looked for in the working directory.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# where setup.py puts the checkpoints when the package is installed by itself
_PACKED = Path(__file__).resolve().parent / "_checkpoints"


def _place(variable: str, default: str) -> Path:
    if os.environ.get(variable):
        return Path(os.environ[variable]).expanduser()
    return (Path.cwd() if _PACKED.is_dir() else ROOT) / default


def checkpoints_dir() -> Path:
    """Bundled checkpoints; environment variable FER_CHECKPOINTS moves it."""
    if _PACKED.is_dir() and not os.environ.get("FER_CHECKPOINTS"):
        return _PACKED
    return _place("FER_CHECKPOINTS", "checkpoints")


def results_dir() -> Path:
    """Committed results; environment variable FER_RESULTS moves it."""
    return _place("FER_RESULTS", "results")


def data_dir() -> Path:
    """Prepared data files; environment variable FER_DATA moves it."""
    return _place("FER_DATA", "data")


def cache_dir() -> Path:
    """What can be made again at any time; environment variable FER_CACHE moves it."""
    if os.environ.get("FER_CACHE"):
        return Path(os.environ["FER_CACHE"]).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "facial-expression-lab"
