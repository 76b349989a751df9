import numpy as np
import pytest
import sklearn.metrics as sk

from fer.errors import DataError
from fer.evaluation import ranking


def random_case(seed, n=300, classes=5, decimals=None):
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    probs = rng.dirichlet(np.ones(classes), n) + 0.4 * np.eye(classes)[labels]
    if decimals is not None:  # many equal scores
        probs = np.round(probs, decimals) + 1e-9
    return probs / probs.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize(("seed", "decimals"), [(0, None), (1, None), (2, 1)])
def test_areas_agree_with_scikit_learn(seed, decimals):
    probs, labels = random_case(seed, decimals=decimals)
    for k in range(5):
        truth = labels == k
        assert ranking.roc(probs, labels, k).area == pytest.approx(sk.roc_auc_score(truth, probs[:, k]))
        assert ranking.precision_recall(probs, labels, k).area == pytest.approx(
            sk.average_precision_score(truth, probs[:, k])
        )


def test_the_area_of_roc_is_the_share_of_pairs_in_the_right_order():
    probs, labels = random_case(4, n=60)
    own, others = probs[labels == 1, 1], probs[labels != 1, 1]
    pairs = (own[:, None] > others).mean() + 0.5 * (own[:, None] == others).mean()
    assert ranking.roc(probs, labels, 1).area == pytest.approx(pairs)


def test_curves_run_from_left_to_right():
    probs, labels = random_case(5)
    roc, pr = ranking.roc(probs, labels, 0), ranking.precision_recall(probs, labels, 0)
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert (pr.x[0], pr.x[-1]) == (0, 1)
    assert (np.diff(roc.x) >= 0).all() and (np.diff(roc.y) >= 0).all() and (np.diff(pr.x) >= 0).all()
    assert pr.y[-1] == pytest.approx((labels == 0).mean(), abs=0.05)  # answering everything: the share of the class


def test_precision_and_recall_by_hand():
    # ranked: right, wrong, right -> precision 1 at recall 1/2, 2/3 at recall 1
    probs = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7], [0.9, 0.1]])
    pr = ranking.precision_recall(probs, np.array([1, 0, 1, 0]), 1)
    assert pr.area == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


@pytest.mark.parametrize("labels", [[0, 0, 0], [1, 1, 1]])
def test_a_class_of_no_face_or_of_every_face_has_no_roc(labels):
    probs = np.array([[0.6, 0.4], [0.5, 0.5], [0.4, 0.6]])
    curve = ranking.roc(probs, np.array(labels), 1)
    assert np.isnan(curve.area) and len(curve.x) == len(curve.y) == 0
    assert np.isnan(ranking.precision_recall(probs, np.array([0, 0, 0]), 1).area)
    assert ranking.precision_recall(probs, np.array([1, 1, 1]), 1).area == 1


@pytest.mark.parametrize("k", [-1, 2])
def test_a_class_that_does_not_exist_is_refused(k):
    with pytest.raises(DataError, match="no class"):
        ranking.roc(np.full((3, 2), 0.5), np.array([0, 1, 0]), k)
