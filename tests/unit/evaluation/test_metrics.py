import numpy as np
import pytest
import sklearn.metrics as sk

from fer.errors import DataError
from fer.evaluation import metrics as m

NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    labels = rng.choice(7, 500, p=[0.13, 0.02, 0.14, 0.25, 0.17, 0.12, 0.17])
    logits = rng.normal(size=(500, 7)) + 1.5 * np.eye(7)[labels]
    probs = np.exp(logits)
    return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32), labels


def test_scores_agree_with_scikit_learn(sample):
    probs, labels = sample
    predicted = probs.argmax(axis=1)
    exact = probs / probs.astype(float).sum(axis=1, keepdims=True)
    s = m.score(probs, labels, NAMES)
    assert s.n == 500
    assert s.accuracy == pytest.approx(sk.accuracy_score(labels, predicted))
    assert s.macro_f1 == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert s.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert s.top2 == pytest.approx(sk.top_k_accuracy_score(labels, probs, k=2, labels=range(7)))
    assert s.nll == pytest.approx(sk.log_loss(labels, exact, labels=range(7)), rel=1e-5)
    assert s.brier == pytest.approx(np.mean(((probs - np.eye(7)[labels]) ** 2).sum(axis=1)))
    assert np.array(s.confusion).tolist() == sk.confusion_matrix(labels, predicted).tolist()
    assert s.accuracy != pytest.approx(s.balanced_accuracy, abs=1e-3)  # the sample can tell them apart
    report = sk.classification_report(labels, predicted, target_names=NAMES, output_dict=True)
    for name in NAMES:
        mine = s.per_class[name]
        assert (mine.precision, mine.recall, mine.f1, mine.support) == pytest.approx(
            (report[name]["precision"], report[name]["recall"], report[name]["f1-score"], report[name]["support"])
        )


@pytest.mark.parametrize("average", ["macro", "weighted"])
def test_averages_agree_with_scikit_learn_also_where_classes_are_missing(sample, average):
    probs, labels = sample
    for kept in (labels >= 0, labels != 3, (labels == 1) | (labels == 5)):
        predicted, truth = probs[kept].argmax(axis=1), labels[kept]
        s = m.score(probs[kept], truth, NAMES)
        expected = sk.precision_recall_fscore_support(truth, predicted, average=average, zero_division=0)[:3]
        got = [getattr(s, f"{average}_{k}") for k in ("precision", "recall", "f1")]
        assert got == pytest.approx(expected)
        assert s.weighted_recall == pytest.approx(s.accuracy)


@pytest.mark.parametrize("seed", range(3))
def test_brier_agrees_with_scikit_learn_on_two_classes(seed):
    rng = np.random.default_rng(seed)
    p, labels = rng.random(200), rng.integers(0, 2, 200)
    # scikit-learn's counts one class only, the original form both
    assert m.brier(np.c_[1 - p, p], labels) == pytest.approx(2 * sk.brier_score_loss(labels, p))


def test_ece_agrees_with_a_loop_over_the_bins(sample):
    probs, labels = sample
    confidence, right = probs.astype(float).max(axis=1), probs.argmax(axis=1) == labels
    total = 0.0
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert m.ece(probs, labels) == pytest.approx(total)


def test_rows_of_the_confusion_matrix_are_the_truth():
    probs = np.array([[0.1, 0.9, 0.0], [0.2, 0.7, 0.1], [0.9, 0.1, 0.0]])
    counts = m.confusion_matrix(probs, np.array([0, 0, 2]))
    assert counts.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 0]]


def test_a_class_that_never_occurs_does_not_lower_the_means():
    probs = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    s = m.score(probs, np.array([0, 1]), ("angry", "disgust", "fear"))
    assert (s.macro_f1, s.balanced_accuracy, s.macro_precision, s.macro_recall) == (1.0, 1.0, 1.0, 1.0)
    assert s.per_class["fear"] == m.ClassScore(0.0, 0.0, 0.0, 0)


def test_ece_by_hand():
    # Confidences .95 .95 lie in the last of 15 bins (accuracy .5), .62 in the tenth (wrong), .55 in the ninth (right).
    probs = np.array([[0.95, 0.05], [0.05, 0.95], [0.62, 0.38], [0.55, 0.45]])
    labels = np.array([0, 0, 1, 0])
    expected = (2 * abs(0.5 - 0.95) + abs(0 - 0.62) + abs(1 - 0.55)) / 4
    assert m.ece(probs, labels) == pytest.approx(expected)
    r = m.reliability(probs, labels)
    assert r.counts.tolist() == [0] * 8 + [1, 1, 0, 0, 0, 0, 2]
    assert r.accuracy[14] == 0.5 and np.isnan(r.accuracy[0])


def test_a_confidence_on_an_edge_closes_its_bin_and_certainty_is_counted():
    r = m.reliability(np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([0, 0]), bins=2)
    assert r.counts.tolist() == [1, 1]


def test_calibrated_and_certain_extremes():
    certain = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert m.ece(certain, np.array([0, 1])) == 0 and m.brier(certain, np.array([0, 1])) == 0
    assert m.ece(certain, np.array([1, 0])) == 1 and m.brier(certain, np.array([1, 0])) == 2
    assert m.nll(certain, np.array([1, 0])) == pytest.approx(-np.log(1e-12))


def test_top2_of_a_constant_answer_is_not_inflated_by_ties():
    probs = np.full((4, 4), 0.25)
    assert m.top_k(probs, np.array([0, 1, 2, 3]), 2) == 0.5


def test_as_dict_is_json(sample):
    import json

    d = m.score(*sample, NAMES).as_dict()
    assert json.loads(json.dumps(d)) == d
    low, high = d["accuracy_interval"]
    assert low < d["accuracy"] < high


@pytest.mark.parametrize(
    ("probs", "labels", "message"),
    [
        (np.ones((3, 7)) / 7, np.array([0, 1]), "labels"),
        (np.ones((0, 7)), np.array([], dtype=int), "no images"),
        (np.ones((2, 7)), np.array([0, 1]), "row 0 is not a probability vector"),
        (np.array([[0.5, 0.5], [np.nan, 1.0]]), np.array([0, 1]), "row 1 is not"),
        (np.array([[0.5, 0.5], [-0.5, 1.5]]), np.array([0, 1]), "row 1 is not"),
        (np.ones((2, 2)) / 2, np.array([0, 2]), "0..1"),
        (np.ones((2, 2)) / 2, np.array([0, -1]), "0..1"),
        (np.ones((2, 2)) / 2, np.array([0.0, 1.0]), "integers"),
    ],
)
def test_bad_input_is_refused(probs, labels, message):
    with pytest.raises(DataError, match=message):
        m.nll(probs, labels)


def test_class_names_must_fit(sample):
    with pytest.raises(DataError, match="6 class names for 7"):
        m.score(*sample, NAMES[:6])
