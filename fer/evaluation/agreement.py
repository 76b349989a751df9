"""Do two models make the same mistakes?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fer.errors import DataError

EXPECTED = 5.0


@dataclass(frozen=True)
class ChiSquare:
    """Result of a chi-square test.

    Attributes:
        statistic: Pearson's chi-square.
        dof: Degrees of freedom; 0 where there was nothing to compare.
        p: p-value; 1 where there was nothing to compare.
    """

    statistic: float
    dof: int
    p: float


@dataclass(frozen=True)
class Agreement:
    """How alike the answers of two models are. Shares are fractions of the faces.

    Attributes:
        both_right, both_wrong: Both correct; both incorrect, with the same answer or not.
        same_answer: Same class predicted, right or wrong.
        kappa: Cohen's kappa of the two answers: 1 is identical, 0 what chance would give.
    """

    both_right: float
    both_wrong: float
    same_answer: float
    kappa: float


def chi_square(conf_a: np.ndarray, conf_b: np.ndarray) -> ChiSquare:
    """Do two models spread their mistakes over the pairs (true class, predicted class) in the same way?

    Pearson's test of homogeneity on a table of two rows (models) and one column per off-diagonal cell. It compares
    the pattern of the mistakes, not their number: a model with twice as many of each kind has the same pattern.

    Sparse cells are pooled, so that the chi-square distribution holds (Cochran 1954): every column with an expected
    count below 5 in either row goes into one column "other"; if that is still below 5 it joins the smallest column
    that was kept. Cells that neither model ever filled are left out.

    Both models saw the same faces, which the test does not use. Their mistakes tend to coincide, so a true difference
    is found less often than the level promises, not more often.

    Args:
        conf_a, conf_b: (C, C) counts, rows true, columns predicted.

    Raises:
        DataError: matrices of different shapes.
    """
    from scipy.stats import chi2_contingency

    a, b = np.asarray(conf_a), np.asarray(conf_b)
    if a.shape != b.shape or a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise DataError(f"expected two square confusion matrices of the same classes, got {a.shape} and {b.shape}")
    off = ~np.eye(len(a), dtype=bool)
    table = _pooled(np.stack([a[off], b[off]]))
    if table.shape[1] < 2:
        return ChiSquare(0.0, 0, 1.0)
    found = chi2_contingency(table, correction=False)
    return ChiSquare(float(found.statistic), int(found.dof), float(found.pvalue))


def _pooled(table: np.ndarray) -> np.ndarray:
    """(2, K) counts -> (2, <= K) counts with an expected count of at least 5 everywhere; (2, 0) if a row is empty."""
    rows = table.sum(axis=1)
    if not rows.all():
        return table[:, :0]
    share = rows.min() / rows.sum()
    kept = table.sum(axis=0) * share >= EXPECTED
    columns = table[:, kept]
    other = table[:, ~kept].sum(axis=1)
    if not other.any():
        return columns
    if other.sum() * share >= EXPECTED or not kept.any():
        return np.column_stack([columns, other])
    columns[:, columns.sum(axis=0).argmin()] += other
    return columns


def agreement(pred_a: np.ndarray, pred_b: np.ndarray, labels: np.ndarray) -> Agreement:
    """Share of faces on which two models are both right, both wrong, give the same answer; and Cohen's kappa (1960).

    Args:
        pred_a, pred_b: (N,) int, predicted classes, in the same order.
        labels: (N,) int, true classes.

    Raises:
        DataError: different lengths or nothing to compare.

    >>> agreement(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([0, 0, 1, 0]))
    Agreement(both_right=0.5, both_wrong=0.25, same_answer=0.75, kappa=0.5)
    """
    a, b, labels = np.asarray(pred_a), np.asarray(pred_b), np.asarray(labels)
    if not (a.shape == b.shape == labels.shape) or a.ndim != 1 or not len(a):
        raise DataError(f"expected answers to the same faces, got {a.shape}, {b.shape} and {labels.shape}")
    same = float((a == b).mean())
    classes = max(a.max(), b.max()) + 1
    chance = float((np.bincount(a, minlength=classes) / len(a)) @ (np.bincount(b, minlength=classes) / len(b)))
    return Agreement(
        both_right=float(((a == labels) & (b == labels)).mean()),
        both_wrong=float(((a != labels) & (b != labels)).mean()),
        same_answer=same,
        kappa=(same - chance) / (1 - chance) if chance < 1 else 1.0,
    )


def agreement_matrix(preds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Share of faces on which two models give the same answer, for all pairs.

    Args:
        preds: Model name -> (N,) int predicted classes, all in the same order of faces.

    Returns:
        (M, M) float64, symmetric, 1 on the diagonal, in the order of the names.

    Raises:
        DataError: models that answered different numbers of faces, or none.
    """
    answers = [np.asarray(p) for p in preds.values()]
    if len({p.shape for p in answers}) > 1 or any(p.ndim != 1 or not len(p) for p in answers):
        raise DataError(f"expected answers to the same faces, got {[p.shape for p in answers]}")
    return np.array([[(a == b).mean() for b in answers] for a in answers], dtype=np.float64)
