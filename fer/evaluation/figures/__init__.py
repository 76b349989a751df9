"""Static pictures (matplotlib) for results/ and the README.

`write_all` draws one model, `write_comparison` all models of a data set; the pieces are here under their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fer.evaluation.figures.canvas import save
from fer.evaluation.figures.comparison import accuracy_cost, model_comparison, robustness
from fer.evaluation.figures.curves import reliability_diagram, risk_coverage_curves, roc_pr
from fer.evaluation.figures.model import confusion_matrix, history, misclassification_heatmap, per_class
from fer.evaluation.results import ModelResult

__all__ = [
    "accuracy_cost",
    "confusion_matrix",
    "history",
    "misclassification_heatmap",
    "model_comparison",
    "per_class",
    "reliability_diagram",
    "risk_coverage_curves",
    "robustness",
    "roc_pr",
    "save",
    "write_all",
    "write_comparison",
]


def write_all(result: ModelResult, folder: str | Path, split: str = "test") -> list[Path]:
    """Every picture of one model.

    confusion_matrix.png, misclassification_heatmap.png, per_class.png; roc_pr.png and reliability.png where its
    predictions are stored, history.png where its training history is.

    Args:
        result: The model.
        folder: Where to write.
        split: val or test; the model's last one where it was not scored on this.

    Returns:
        The files written.
    """
    folder = Path(folder)
    if split not in result.splits:
        split = result.splits[-1]
    made = [
        save(confusion_matrix(result, split), folder / "confusion_matrix.png"),
        save(misclassification_heatmap(result, split), folder / "misclassification_heatmap.png"),
        save(per_class(result, split), folder / "per_class.png"),
    ]
    if result.predictions is not None:
        made.append(save(roc_pr(result, split), folder / "roc_pr.png"))
        made.append(save(reliability_diagram(result, split), folder / "reliability.png"))
    if result.history:
        made.append(save(history(result), folder / "history.png"))
    return made


def write_comparison(
    results: Sequence[ModelResult],
    folder: str | Path,
    split: str = "test",
    colors: Mapping[str, str] | None = None,
    stored_robustness: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Path]:
    """Every picture of all models of a data set.

    model_comparison.png; risk_coverage.png where predictions are stored, accuracy_cost.png where a cost is known,
    robustness.png where accuracy under corruptions is.

    Args:
        results: Models scored on the split, in the order of every table.
        folder: Where to write.
        split: val or test.
        colors: Model name -> hex colour; models without one share a blue.
        stored_robustness: Model name -> content of its robustness.json, of those that have one.

    Returns:
        The files written.

    Raises:
        DataError: no model was scored on the split, or models with different classes.
    """
    folder = Path(folder)
    made = [save(model_comparison(results, split, colors), folder / "model_comparison.png")]
    if any(split in r.splits and r.predictions is not None for r in results):
        made.append(save(risk_coverage_curves(results, split, colors), folder / "risk_coverage.png"))
    if any(r.metrics.get("cost") or r.metrics.get("parameters") for r in results if split in r.splits):
        made.append(save(accuracy_cost(results, split, colors), folder / "accuracy_cost.png"))
    if stored_robustness:
        titles = {r.name: r.title for r in results}
        made.append(save(robustness(stored_robustness, titles, colors), folder / "robustness.png"))
    return made
