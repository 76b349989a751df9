"""Recipe -> checkpoint for models without a net: one fit on the training split, calibrated on validation."""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import cast

import numpy as np

from fer import checkpoint, provenance
from fer.data.dataset import Dataset, Split
from fer.errors import CheckpointError, ConfigError, DataError
from fer.history import HISTORY
from fer.models import get_model
from fer.models.estimator import Estimator
from fer.specs import Recipe
from fer.training.events import EpochEnded, Event, Listener, PhaseStarted, RunEnded, RunStarted
from fer.training.job import Job, differences, is_finished, write_description
from fer.transforms import prepare

log = logging.getLogger(__name__)
LIBRARIES = ("scikit-learn", "scikit-image", "skops", "scipy", "numpy")
# modules that fitting and writing import -> the package that brings them
_NEEDED = {
    "sklearn.svm": "scikit-learn",
    "skimage.feature": "scikit-image",
    "skops.io": "skops",
    "scipy.optimize": "scipy",
}
_TRIED, _SEEN = 3000, 300  # faces of the fit that a budget is judged by; those whose features alone are timed
_SCORED = 2048  # training faces whose loss and accuracy are reported
_MEANT = ("class_weights", "epoch_share", "name", "skipped")


def train_classical(
    job: Job, data: Dataset, run: str | Path, listeners: Sequence[Listener] = (), resume: bool = False
) -> Path:
    """Fit one model and write to `run` what `fer.training.train` writes: checkpoint, history.jsonl and run.json.

    Reads only the train and val splits. Of the recipe, `class_weights` and `epoch_share` (a seeded share of the
    training split) count; what else differs from the model's own recipe is named in a log warning. The validation
    figures are those of probabilities whose calibration did not see the face (five folds).

    Args:
        job: For a model of backend "classical".
        resume: Fit an unfinished run anew; there is nothing in between.

    Raises:
        DataError: no training or validation faces.
        ConfigError: --resume under another recipe, seed or data; a recipe that asks for a net; wrong model arguments; a
            package that is not installed.
        CheckpointError: --resume of a finished run.
    """
    run = Path(run)
    estimator = build_estimator(job, len(data.label_set))
    _refuse(job.model, job.recipe)
    require_packages(job.model)
    train, val = data["train"], data["val"]
    if not len(train) or not len(val):
        raise DataError(f"{data.name}: training needs faces in train and val, got {len(train)} and {len(val)}")
    description = job.describe(data)
    if resume:
        if differing := differences(run, description):
            raise ConfigError(f"{run} was begun with other options ({', '.join(differing)}); resume it with the same")
        if is_finished(run):
            raise CheckpointError(f"{run} is finished: there is nothing to resume")
    write_description(run, description)
    spec, commit = job.spec, provenance.git_commit()

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    emit(RunStarted(job.model, run, 0, "cpu", 1, 1, len(train), len(val)))
    emit(PhaseStarted(job.recipe.phases[0].name, 1, 1, 0))
    began = time.perf_counter()
    seen = _share(train, job.recipe.epoch_share, job.seed)
    faces = prepare(seen.faces, spec)
    estimator.fit(faces, seen.labels, _class_weights(seen, job.recipe.class_weights))
    fitted = time.perf_counter() - began
    val_log_p = estimator.calibrate(prepare(val.faces, spec), val.labels)
    some = np.linspace(0, len(seen) - 1, min(_SCORED, len(seen))).astype(int)
    train_loss, train_accuracy = _scores(estimator.log_proba(faces[some]), seen.targets[some])
    val_loss, val_accuracy = _scores(val_log_p, val.targets)
    seconds = time.perf_counter() - began

    epoch = EpochEnded(
        job.recipe.phases[0].name,
        1,
        train_loss,
        train_accuracy,
        val_loss,
        val_accuracy,
        0.0,
        len(seen) / fitted,
        seconds,
        True,
    )
    row = asdict(epoch)
    row.pop("best")
    checkpoint.write_atomic(run / HISTORY, (json.dumps(row) + "\n").encode())
    manifest = checkpoint.Manifest(
        model=job.model,
        model_args=job.model_args | estimator.settings,
        labels=data.label_set.names,
        label_set=data.label_set.name,
        input=spec,
        recipe=job.recipe,
        data={"name": data.name, "fingerprint": data.fingerprint, "n_train": len(train), "n_val": len(val)},
        seed=job.seed,
        git_commit=commit,
        versions=provenance.versions(LIBRARIES),
        created=provenance.now(),
        weights={"parameters": estimator.n_parameters},
        training={
            "epochs": 1,
            "seconds": round(seconds, 1),
            "device": device_title(),
            "images_per_second": round(len(seen) / fitted, 1),
            "best_epoch": 1,
            "val_accuracy": round(val_accuracy, 6),
            "teacher": "",
            "precision": "float32",
            "pretrained": False,
            "extra_annotation": False,
        },
    )
    checkpoint.save_estimator(run, estimator.state(), manifest)
    write_description(run, description | {"finished": True})
    emit(epoch)
    emit(RunEnded(run, 1, val_accuracy, seconds, False))
    return run


def device_title() -> str:
    """What computes, in words."""
    return f"cpu, {os.cpu_count()} cores"


def build_estimator(job: Job, n_classes: int) -> Estimator:
    """The untrained model of a job.

    Raises:
        ConfigError: a model of another backend, or model arguments that it does not take.
    """
    entry = get_model(job.model)
    if entry.SPEC.backend != "classical":
        raise ConfigError(f"{job.model} is a torch net; fer.training.train trains it")
    try:
        return cast(Estimator, entry.build(n_classes, job.spec, **job.model_args))
    except (TypeError, ValueError) as e:
        raise ConfigError(f"{job.model} does not take the arguments {job.model_args}: {e}") from e


def _refuse(model: str, recipe: Recipe) -> None:
    """Other targets, data or weights cannot be had; what only says how a net moves is named in the log."""
    wanted = [key for key in ("init", "teacher", "ferplus_weight", "mixup", "cutmix") if getattr(recipe, key)]
    wanted += [f"phases.{i}.data" for i, phase in enumerate(recipe.phases) if phase.data]
    if wanted:
        raise ConfigError(f"{model} is fitted in one go and holds no net: {', '.join(wanted)} cannot be used with it")
    own = get_model(model).RECIPE
    plain = replace(recipe, **{key: getattr(own, key) for key in _MEANT})  # type: ignore[arg-type]
    ignored = [key for key, value in vars(plain).items() if value != getattr(own, key)]
    if ignored:
        log.warning("%s is fitted in one go; %s of the recipe means nothing to it", model, ", ".join(ignored))


def require_packages(model: str) -> None:
    """What a fit and the writing of its checkpoint will import is there: found out before hours are spent.

    Raises:
        ConfigError: a package that cannot be imported; says how to install it.
    """
    for module, package in _NEEDED.items():
        try:
            importlib.import_module(module.partition(".")[0])
            importlib.import_module(module)
        except ImportError as e:
            raise ConfigError(f"{model} needs the package {package} ({e}): python -m pip install {package}") from e


def fit_seconds(job: Job, data: Dataset) -> tuple[float, float, float]:
    """Seconds that a fit of the whole training split will take here, extrapolated from one of a few faces.

    Returns:
        What is the same for any share of the faces, answers to validation and training faces; what grows with their
        number, the features; and what grows with about its square, the SVM.

    Raises:
        ConfigError: a package that is not installed.
    """
    require_packages(job.model)
    train, val = data["train"], data["val"]
    spec = job.spec
    part = _share(train, min(1.0, _TRIED / len(train)), job.seed)
    judged = val.take(np.arange(min(len(val), _SEEN)))
    estimator = build_estimator(job, len(data.label_set))
    faces, weights = prepare(part.faces, spec), _class_weights(part, job.recipe.class_weights)
    estimator.features(faces[:1])  # the first call warms up
    times = [time.perf_counter()]
    estimator.features(faces[:_SEEN])
    times.append(time.perf_counter())
    estimator.fit(faces, part.labels, weights)
    times.append(time.perf_counter())
    estimator.calibrate(prepare(judged.faces, spec), judged.labels)
    times.append(time.perf_counter())
    features_s, fit_s, answers_s = np.diff(times)
    linear_s = features_s / min(len(part), _SEEN) * len(train)
    square_s = max(0.0, fit_s - linear_s * len(part) / len(train)) * (len(train) / len(part)) ** 2
    # validation faces are answered here and once more for their thresholds
    once_s = answers_s / len(judged) * (2 * len(val) + min(_SCORED, len(train)))
    return float(once_s), float(linear_s), float(square_s)


def share_within(linear_s: float, square_s: float, budget_s: float) -> float:
    """Share of the training split whose fit should end within a time.

    Args:
        linear_s, square_s: What of a whole fit grows with the number of faces, and what with its square.
        budget_s: Seconds, above 0.

    >>> share_within(0.0, 400.0, 100.0), share_within(100.0, 400.0, 150.0)
    (0.5, 0.5)
    """
    root = linear_s + math.sqrt(linear_s**2 + 4 * square_s * budget_s)
    share = 2 * budget_s / root if root else 1.0
    return share if share < 1 - 1e-9 else 1.0  # what was added up elsewhere may be less by a rounding


def _share(split: Split, share: float, seed: int) -> Split:
    """A seeded part of a split, in its own order."""
    if share == 1:
        return split
    n = max(1, round(share * len(split)))
    return split.take(np.sort(np.random.default_rng(seed).permutation(len(split))[:n]))


def _class_weights(split: Split, kind: str) -> np.ndarray | None:
    import torch

    from fer.training.losses import class_weights

    weights = class_weights(torch.from_numpy(split.targets), kind)
    return None if weights is None else weights.numpy()


def _scores(log_p: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Cross-entropy against probability vectors, and accuracy."""
    loss = float(-(targets * log_p).sum(axis=1).mean())
    return loss, float((log_p.argmax(axis=1) == targets.argmax(axis=1)).mean())
