"""Metrics, statistics, calibration, leakage and reports. Sees probabilities and labels only; knows no network.

The pieces are imported on first use, so that `import fer.evaluation` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer.evaluation.metrics import Scores, score
    from fer.evaluation.results import ModelResult, read_result, read_results

__all__ = ["ModelResult", "Scores", "read_result", "read_results", "score"]

_HOME = {
    "ModelResult": "fer.evaluation.results",
    "Scores": "fer.evaluation.metrics",
    "read_result": "fer.evaluation.results",
    "read_results": "fer.evaluation.results",
    "score": "fer.evaluation.metrics",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
