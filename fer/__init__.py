"""The facial-expression lab: train, compare and explain facial-expression classifiers.

    import fer
    for face in fer.analyze("photo.jpg"):
        print(face.emoji, face.label, face.confidence, face.box)

Everything is imported on first use, so that `import fer` itself costs milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fer.errors import FerError

if TYPE_CHECKING:
    from fer.explain import explain
    from fer.faces import detect
    from fer.inference import analyze, load
    from fer.models import list_models

__version__ = "0.1.0"
__all__ = ["FerError", "analyze", "detect", "explain", "list_models", "load"]

_HOME = {
    "analyze": "fer.inference",
    "detect": "fer.faces",
    "explain": "fer.explain",
    "list_models": "fer.models",
    "load": "fer.inference",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'fer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
