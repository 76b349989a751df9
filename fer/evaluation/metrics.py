"""How good are these probabilities? Every score of one model on one split."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer.errors import DataError
from fer.evaluation.statistics import Interval, bootstrap, macro_f1_of

BINS = 15
# A float32 probability may underflow to 0; without a floor one such image would make the mean infinite.
FLOOR = 1e-12


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class, as fractions.

    Attributes:
        precision: Of the faces called so, how many are (0 where none was called so).
        recall: Of the faces that are so, how many were called so (0 where there are none).
        f1: Harmonic mean of both.
        support: Faces that are so.
    """

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Reliability:
    """How confidence and accuracy agree, bin by bin (Guo et al. 2017, "On Calibration of Modern Neural Networks").

    Attributes:
        edges: (bins + 1,) float64, from 0 to 1; a bin is open on the left and closed on the right.
        counts: (bins,) int64, images per bin.
        confidence: (bins,) float64, mean confidence; NaN in an empty bin.
        accuracy: (bins,) float64, share of correct answers; NaN in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Everything measured about one model on one split. Shares are fractions in [0, 1].

    Attributes:
        n: Images.
        accuracy: Share of correct answers. accuracy_interval: its 95 % bootstrap interval.
        macro_f1: Mean F1 of the classes that occur. macro_f1_interval: its 95 % bootstrap interval.
        macro_precision, macro_recall: Means over the classes that occur as label or as prediction, as for macro_f1.
        weighted_precision, weighted_recall, weighted_f1: Means weighted by the number of faces of each class;
            weighted_recall is the accuracy.
        balanced_accuracy: Mean recall of the classes that occur among the labels.
        top2: Share of images whose label is among the two likeliest classes.
        nll: Mean negative log-likelihood of the label, in nats.
        brier: Mean squared distance between probabilities and one-hot label, 0..2 (Brier 1950).
        ece: Expected calibration error over 15 equal-width bins of the confidence.
        per_class: Class name -> its scores, in class order.
        confusion: C rows (true) of C counts (predicted).
    """

    n: int
    accuracy: float
    accuracy_interval: Interval
    macro_f1: float
    macro_f1_interval: Interval
    macro_precision: float
    macro_recall: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    balanced_accuracy: float
    top2: float
    nll: float
    brier: float
    ece: float
    per_class: Mapping[str, ClassScore]
    confusion: tuple[tuple[int, ...], ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types; intervals become [low, high]; six decimals."""
        out: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Interval):
                value = [round(value.low, 6), round(value.high, 6)]
            elif isinstance(value, float):
                value = round(value, 6)
            elif field.name == "per_class":
                value = {k: _rounded(dataclasses.asdict(v)) for k, v in value.items()}
            elif field.name == "confusion":
                value = [list(row) for row in value]
            out[field.name] = value
        return out


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: round(v, 6) if isinstance(v, float) else v for k, v in values.items()}


def check(probs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities as float64 (N, C) and labels as int64 (N,), or an error that says what is wrong.

    Raises:
        DataError: wrong shapes, no rows, a row that is no probability vector, a label outside 0..C-1.
    """
    probs, labels = np.asarray(probs, dtype=np.float64), np.asarray(labels)
    if probs.ndim != 2 or probs.shape[1] < 2 or labels.shape != (len(probs),):
        raise DataError(f"expected probabilities (N, C) and labels (N,), got {probs.shape} and {labels.shape}")
    if not len(probs):
        raise DataError("no images to score")
    if not np.isfinite(probs).all() or probs.min() < 0 or (off := np.abs(probs.sum(axis=1) - 1)).max() > 1e-3:
        bad = np.flatnonzero(~np.isfinite(probs).all(axis=1) | (probs < 0).any(axis=1))
        row = int(bad[0]) if len(bad) else int(off.argmax())
        raise DataError(f"row {row} is not a probability vector: {np.round(probs[row], 4).tolist()}")
    if not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0 or labels.max() >= probs.shape[1]:
        raise DataError(
            f"labels must be integers in 0..{probs.shape[1] - 1}, got {labels.dtype} {np.unique(labels)[:9]}"
        )
    return probs, labels.astype(np.int64)


def confusion_matrix(probs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts of (label, likeliest class).

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int.

    Returns:
        (C, C) int64, rows true, columns predicted.
    """
    from sklearn.metrics import confusion_matrix as count

    probs, labels = check(probs, labels)
    return count(labels, probs.argmax(axis=1), labels=np.arange(probs.shape[1])).astype(np.int64)


def nll(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean negative log-likelihood of the labels, in nats; probabilities below 1e-12 count as 1e-12."""
    probs, labels = check(probs, labels)
    return float(-np.log(np.maximum(probs[np.arange(len(labels)), labels], FLOOR)).mean())


def brier(probs: np.ndarray, labels: np.ndarray) -> float:
    """Mean over images of the squared distance to the one-hot label, summed over classes: 0 (best) to 2.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability", the original multi-class form.
    """
    probs, labels = check(probs, labels)
    return float(((probs - np.eye(probs.shape[1])[labels]) ** 2).sum(axis=1).mean())


def top_k(probs: np.ndarray, labels: np.ndarray, k: int = 2) -> float:
    """Share of images whose label is among the k likeliest classes; of equal ones the lower index comes first."""
    probs, labels = check(probs, labels)
    first = np.argsort(-probs, axis=1, kind="stable")[:, :k]
    return float((first == labels[:, None]).any(axis=1).mean())


def reliability(probs: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Reliability:
    """Accuracy and mean confidence in equal-width bins of the confidence (the largest probability).

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int.
        bins: Number of bins over (0, 1].
    """
    probs, labels = check(probs, labels)
    confidence = probs.max(axis=1)
    correct = probs.argmax(axis=1) == labels
    edges = np.linspace(0, 1, bins + 1)
    where = bin_of(confidence, bins)
    counts = np.bincount(where, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges,
            counts,
            np.bincount(where, weights=confidence, minlength=bins) / counts,
            np.bincount(where, weights=correct, minlength=bins) / counts,
        )


def bin_of(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """(N,) int64, the equal-width bin of each confidence; one equal to an edge belongs to the bin that it closes."""
    upper = np.linspace(0, 1, bins + 1)[1:]
    return np.minimum(np.searchsorted(upper, confidence, side="left"), bins - 1)


def ece(probs: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """Expected calibration error: |accuracy - confidence| per bin, weighted by its images (Guo et al. 2017, eq. 3).

    >>> round(ece(np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]]), np.array([0, 1, 1])), 4)
    0.4
    """
    r = reliability(probs, labels, bins)
    return float(np.nansum(np.abs(r.accuracy - r.confidence) * r.counts) / r.counts.sum())


def calibration_scores(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """ECE, NLL and Brier score, six decimals."""
    return {
        "ece": round(ece(probs, labels), 6),
        "nll": round(nll(probs, labels), 6),
        "brier": round(brier(probs, labels), 6),
    }


def score(probs: np.ndarray, labels: np.ndarray, class_names: Sequence[str], seed: int = 0) -> Scores:
    """Every score of one model on one split.

    Args:
        probs: (N, C) probabilities.
        labels: (N,) int, the true classes.
        class_names: C names in class order.
        seed: Of the bootstrap.

    Raises:
        DataError: the inputs do not fit together (see `check`).
    """
    from sklearn.metrics import precision_recall_fscore_support

    probs, labels = check(probs, labels)
    if len(class_names) != probs.shape[1]:
        raise DataError(f"{len(class_names)} class names for {probs.shape[1]} columns of probabilities")
    predicted = probs.argmax(axis=1)
    counts = confusion_matrix(probs, labels)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(class_names)), zero_division=0
    )
    occurs = counts.sum(axis=0) + counts.sum(axis=1) > 0
    share = support / support.sum()
    accuracy_interval, macro_f1_interval = bootstrap(counts, seed=seed)
    return Scores(
        n=len(labels),
        accuracy=float((predicted == labels).mean()),
        accuracy_interval=accuracy_interval,
        macro_f1=float(macro_f1_of(counts)),
        macro_f1_interval=macro_f1_interval,
        macro_precision=float(precision[occurs].mean()),
        macro_recall=float(recall[occurs].mean()),
        weighted_precision=float(share @ precision),
        weighted_recall=float(share @ recall),
        weighted_f1=float(share @ f1),
        balanced_accuracy=float(recall[support > 0].mean()),
        top2=top_k(probs, labels, 2),
        nll=nll(probs, labels),
        brier=brier(probs, labels),
        ece=ece(probs, labels),
        per_class={
            name: ClassScore(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, name in enumerate(class_names)
        },
        confusion=tuple(tuple(int(v) for v in row) for row in counts),
    )
