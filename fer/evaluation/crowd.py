"""A model against ten people per face: FER+ votes (Barsoum et al. 2016) as the measure and as the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fer.errors import DataError
from fer.evaluation.metrics import FLOOR, check

_SAME = 1e-6


def crowd_facts(votes: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """What the votes say about the faces and about the data set's labels, without any model.

    The crowd's majority is the class with most votes. Where several share the lead, a label (or an answer) that is any
    of them agrees with the majority.

    Args:
        votes: (N, C) shares of the votes over the data set's classes; a row of zeros has no usable votes and is left
            out.
        labels: (N,) int, the data set's labels.
        names: C class names.

    Returns:
        n: faces with votes; crowd_entropy: mean entropy of the votes in nats (no model's cross-entropy can be lower);
        unanimous_n: faces on which all votes agree; agreement: mean probability that a random annotator gives the
        crowd's majority (who, being part of the crowd, agrees with it a little more than a newcomer would);
        label_agreement: share of faces whose label is the crowd's majority, or one of the classes that share it;
        label_agreement_by_lot: the same where the crowd has to choose one of these by lot; agreement_per_class:
        agreement over the faces whose majority is the class, None where there are none. Means are None where no face
        has votes.

    Raises:
        DataError: votes that do not fit.
    """
    votes, kept = _usable(votes, len(labels), len(names))
    labels = np.asarray(labels)[kept]
    top = votes.max(axis=1, initial=0)
    majority = votes.argmax(axis=1)
    logs = np.log(votes, out=np.zeros_like(votes), where=votes > 0)
    return {
        "n": len(votes),
        "crowd_entropy": _mean(-(votes * logs).sum(axis=1)),
        "unanimous_n": int((top > 1 - _SAME).sum()),
        "agreement": _mean(top),
        "label_agreement": _mean(_agrees(votes, labels)),
        "label_agreement_by_lot": _mean(_agrees(votes, labels) / _leaders(votes)),
        "agreement_per_class": {name: _mean(top[majority == k]) for k, name in enumerate(names)},
    }


def crowd_scores(probs: np.ndarray, votes: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """One model's answers measured by the crowd's votes.

    Args:
        probs: (N, C) probabilities.
        votes: (N, C) shares of the votes; a row of zeros has no usable votes and is left out.
        labels: (N,) int, the data set's labels.
        names: C class names.

    Returns:
        What `crowd_facts` returns but agreement_per_class and label_agreement_by_lot, and of the model: cross_entropy
        to the votes in nats; unanimous_accuracy and majority_accuracy: share of its answers that are the crowd's
        majority, over the faces on which all votes agree and over all with votes.

    Raises:
        DataError: votes or probabilities that do not fit.
    """
    probs, labels = check(probs, labels)
    if len(names) != probs.shape[1]:
        raise DataError(f"{len(names)} class names for {probs.shape[1]} columns of probabilities")
    facts = crowd_facts(votes, labels, names)
    votes, kept = _usable(votes, len(labels), len(names))
    probs = probs[kept]
    hit = _agrees(votes, probs.argmax(axis=1))
    unanimous = votes.max(axis=1, initial=0) > 1 - _SAME
    return {
        "n": facts["n"],
        "cross_entropy": _mean(-(votes * np.log(np.maximum(probs, FLOOR))).sum(axis=1)),
        "crowd_entropy": facts["crowd_entropy"],
        "unanimous_n": facts["unanimous_n"],
        "unanimous_accuracy": _mean(hit[unanimous]),
        "agreement": facts["agreement"],
        "majority_accuracy": _mean(hit),
        "label_agreement": facts["label_agreement"],
    }


def _usable(votes: np.ndarray, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that hold votes, and which they are."""
    votes = np.asarray(votes, dtype=np.float64)
    if votes.shape != (n, classes):
        raise DataError(f"expected votes of shape {(n, classes)}, got {votes.shape}")
    total = votes.sum(axis=1)
    bad = ~np.isfinite(total) | (votes < 0).any(axis=1) | ((total != 0) & (np.abs(total - 1) > 1e-3))
    if bad.any():
        row = int(bad.argmax())
        raise DataError(f"votes of row {row} are neither shares that sum to 1 nor all zero: {votes[row].tolist()}")
    kept = total > 0
    return votes[kept] / total[kept, None], kept


def _agrees(votes: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """(N,) bool: is the answer the class, or one of the classes, with most votes?"""
    return votes[np.arange(len(votes)), answers] > votes.max(axis=1, initial=0) - _SAME


def _leaders(votes: np.ndarray) -> np.ndarray:
    """(N,) int: how many classes have the most votes."""
    return (votes > votes.max(axis=1, initial=0)[:, None] - _SAME).sum(axis=1)


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 6) if len(values) else None
