"""Temperature and conformal thresholds of a trained model, written into its manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fer import checkpoint
from fer.data import Dataset
from fer.evaluation.calibration import apply_temperature, fit_temperature
from fer.evaluation.conformal import thresholds
from fer.inference import load
from fer.scoring.answers import out_of_fold
from fer.scoring.card import require_own_data


def calibrate(folder: Path, data: Dataset) -> float:
    """Fit temperature and conformal thresholds on the validation split and record them in the manifest.

    A model without a net calibrates itself while it is fitted; another fit on the same faces would make it too sure,
    and its thresholds come from answers out of fold.

    Returns:
        The temperature.

    Raises:
        ConfigError: it was trained on other data.
    """
    val = data["val"]
    about = {"data": data.name, "split": data.title("val"), "n": len(val)}
    predictor = load(folder, backend="torch")
    require_own_data(predictor.manifest, data)
    if predictor.manifest.classical:
        fitted = thresholds(out_of_fold(predictor, val.faces, val.labels), val.labels)
        checkpoint.set_temperature(folder, predictor.temperature, about | {"thresholds": fitted})
        return predictor.temperature
    probs = predictor.predict_proba(val.faces).astype(np.float64)
    logits = np.log(np.maximum(probs, 1e-30)) * predictor.temperature  # up to a constant per row
    temperature = fit_temperature(logits, val.labels)
    fitted = thresholds(apply_temperature(probs, temperature / predictor.temperature), val.labels)
    checkpoint.set_temperature(folder, temperature, about | {"thresholds": fitted})
    return temperature
