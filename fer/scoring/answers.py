"""What a model answers to the faces of a split, in the classes of the data set."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fer.checkpoint import Manifest
from fer.data import Dataset
from fer.evaluation import calibration
from fer.evaluation.ensemble import average
from fer.inference.classical import ClassicalPredictor
from fer.inference.predictor import Predictor, load
from fer.labels import LabelSet, project
from fer.transforms import prepare, ten_crop

OWN_CALIBRATION = "own calibration"  # an estimator's probabilities are fitted when it is trained
BATCH_SIZE = 32  # on a CPU faster than 256, by a tenth (nets) to four fifths (hog_svm): it stays in the cache


def answers(predictor: Predictor, faces: np.ndarray, label_set: LabelSet, batch_size: int = BATCH_SIZE) -> np.ndarray:
    """Probabilities without the checkpoint's temperature, matched to other classes by name.

    Args:
        faces: uint8 (N, H, W) or (N, H, W, 3).
        label_set: Classes of the data set.
        batch_size: Faces per call.

    Returns:
        (N, len(label_set)) float32; a class that the model does not know has probability 0.

    Raises:
        DataError: the model and the data set have no class in common.
    """
    parts = [predictor.predict_proba(faces[i : i + batch_size]) for i in range(0, len(faces), batch_size)]
    probs = calibration.apply_temperature(np.concatenate(parts), 1 / predictor.temperature)
    same = predictor.labels.names == label_set.names
    return probs if same else project(probs, predictor.labels, label_set)


def mirrored(faces: np.ndarray) -> np.ndarray:
    """The faces as a mirror shows them."""
    return np.ascontiguousarray(faces[:, :, ::-1])


def ten_crop_answers(
    predictor: Predictor, faces: np.ndarray, label_set: LabelSet, batch_size: int = BATCH_SIZE
) -> np.ndarray:
    """`answers` to the ten crops of every face: (10, N, C) float32."""
    cropped = copy.copy(predictor)  # the crops have the net's size already and are not to be resized and cropped again
    cropped.input_spec = replace(predictor.input_spec, resize_px=predictor.input_spec.size_px)
    out = np.empty((10, len(faces), len(label_set)), dtype=np.float32)
    for i in range(0, len(faces), batch_size):
        for k, crop in enumerate(ten_crop(faces[i : i + batch_size], predictor.input_spec)):
            out[k, i : i + batch_size] = answers(cropped, np.ascontiguousarray(crop), label_set, batch_size)
    return out


def out_of_fold(predictor: Predictor, faces: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probabilities of an estimator for the faces that its calibration was fitted on, each from a fit without it.

    Asked as usual it would answer these faces better than new ones: its calibration moves the likeliest class.

    Args:
        faces, labels: (N, H, W[, 3]) uint8 and (N,) int of the validation split of the data it was trained on.

    Returns:
        (N, C) float32.
    """
    assert isinstance(predictor, ClassicalPredictor)
    prepared = prepare(faces, predictor.input_spec)
    return np.exp(predictor.estimator.out_of_fold(prepared, labels)).astype(np.float32)


def was_calibrated_on(manifest: Manifest, dataset: Dataset) -> bool:
    """Is it an estimator whose probabilities were fitted on the validation split of these data?

    Data of the same name and classes count as these: two copies of FER2013 differ in a few labels and share the faces.
    """
    same = manifest.data.get("name") == dataset.name and manifest.labels == dataset.label_set.names
    return manifest.classical and "val" in dataset.splits and same


def validation_accuracy(
    checkpoints: Sequence[str], dataset: Dataset, view: str = "single", device: str = "cpu"
) -> float:
    """Accuracy on the validation split of one net, or of the mean of several nets' probabilities.

    Args:
        checkpoints: Folders or names, all with the classes of the data set.
        view: How a face is shown, see `fer.evaluation.results.VIEWS`: once, with its mirror image, or as ten crops.

    Raises:
        CheckpointError: a checkpoint that is not there.
    """
    val, labels = dataset["val"], dataset.label_set
    shown = []
    for name in checkpoints:
        net = load(name, device, "torch")
        if view == "tencrop":
            shown.append(ten_crop_answers(net, val.faces, labels).mean(axis=0))
        else:
            shown += [answers(net, f, labels) for f in [val.faces, mirrored(val.faces)][: 1 + (view == "flip")]]
    return float((average(shown).argmax(axis=1) == val.labels).mean())


def temperature_of(predictor: Predictor, raw: Mapping[str, np.ndarray], dataset: Dataset) -> dict[str, Any]:
    """The checkpoint's own temperature, or one fitted here on validation where a net has none.

    Args:
        raw: Split -> (N, C) answers without temperature.

    Returns:
        value and source, as in metrics.json.
    """
    if predictor.temperature != 1:
        return {"value": round(predictor.temperature, 6), "source": "checkpoint"}
    if predictor.manifest.classical:  # another fit on the same faces would make it too sure
        return {"value": 1.0, "source": OWN_CALIBRATION}
    if "val" not in raw:
        return {"value": 1.0, "source": "none"}
    log_probs = calibration.log_probabilities(raw["val"])
    value = calibration.fit_temperature(log_probs, dataset["val"].labels)
    return {"value": round(value, 6), "source": f"fitted on {dataset.title('val')}"}
