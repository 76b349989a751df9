"""Which faces are worth a look? Positions in the arrays handed in, the most telling first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fer.evaluation.ensemble import average
from fer.evaluation.metrics import check


def confident_mistakes(probs: np.ndarray, labels: np.ndarray, n: int) -> np.ndarray:
    """The wrong answers given with most confidence.

    Args:
        probs: (N, C) probabilities of one model.
        labels: (N,) int.
        n: At most so many.

    Returns:
        (<= n,) int64 positions, the surest mistake first.

    >>> confident_mistakes(np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]]), np.array([0, 1, 0]), 5).tolist()
    [2, 1]
    """
    probs, labels = check(probs, labels)
    return _first(-probs.max(axis=1), probs.argmax(axis=1) != labels, n)


def disagreements(probs_list: Sequence[np.ndarray], labels: np.ndarray, n: int) -> np.ndarray:
    """The faces on which the models differ most.

    Ranked by the Jensen-Shannon divergence of the models' probabilities (Lin 1991): the entropy of their mean minus
    the mean of their entropies. Only faces that got at least two different answers.

    Args:
        probs_list: M arrays (N, C), the same faces and classes in the same order.
        labels: (N,) int.
        n: At most so many.

    Returns:
        (<= n,) int64 positions, the greatest divergence first.
    """
    mean = average(probs_list)
    checked = np.stack([check(p, labels)[0] for p in probs_list])
    answers = checked.argmax(axis=2)
    divergence = _entropy(mean) - _entropy(checked).mean(axis=0)
    return _first(-divergence, (answers != answers[0]).any(axis=0), n)


def label_errors(probs_list: Sequence[np.ndarray], labels: np.ndarray, n: int) -> np.ndarray:
    """The faces whose label is most likely wrong, by confident learning (Northcutt, Jiang and Chuang 2021).

    The models' mean probability of a class counts as confident where it reaches the mean of that class's own faces.
    A face is suspect if the likeliest of its confident classes is not its label; suspects are ranked by the
    normalised margin, p(label) - max p(other). Only for faces the models were not trained on.

    Args:
        probs_list: M arrays (N, C), the same faces and classes in the same order.
        labels: (N,) int.
        n: At most so many.

    Returns:
        (<= n,) int64 positions, the most suspect first.
    """
    probs, labels = check(average(probs_list), labels)
    rows = np.arange(len(labels))
    own = [probs[labels == k, k] for k in range(probs.shape[1])]
    threshold = np.array([p.mean() if len(p) else np.inf for p in own])
    confident = np.where(probs >= threshold, probs, -1.0)
    likeliest = confident.argmax(axis=1)
    suspect = (confident.max(axis=1) >= 0) & (likeliest != labels)
    others = probs.copy()
    others[rows, labels] = -1
    return _first(probs[rows, labels] - others.max(axis=1), suspect, n)


def _entropy(probs: np.ndarray) -> np.ndarray:
    from scipy.special import entr

    return entr(probs).sum(axis=-1)


def _first(key: np.ndarray, kept: np.ndarray, n: int) -> np.ndarray:
    """Positions of the kept faces by rising key, at most n; equal ones in their own order."""
    order = np.argsort(key, kind="stable")
    return order[kept[order]][: max(n, 0)].astype(np.int64)
