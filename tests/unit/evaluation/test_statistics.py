import time

import numpy as np
import pytest
import sklearn.metrics as sk
from scipy import stats
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from fer.errors import DataError
from fer.evaluation import statistics as st


@pytest.fixture(scope="module")
def answers():
    rng = np.random.default_rng(1)
    labels = rng.choice(7, 600, p=[0.13, 0.02, 0.14, 0.25, 0.17, 0.12, 0.17])
    predicted = np.where(rng.random(600) < 0.6, labels, rng.integers(0, 7, 600))
    return labels, predicted


def test_scores_of_stacked_matrices(answers):
    labels, predicted = answers
    counts = sk.confusion_matrix(labels, predicted)
    assert st.accuracy_of(counts) == pytest.approx(sk.accuracy_score(labels, predicted))
    both = st.macro_f1_of(np.stack([counts, counts.T * 3]))
    assert both == pytest.approx([sk.f1_score(labels, predicted, average="macro")] * 2)


def test_bootstrap_equals_resampling_the_rows(answers):
    labels, predicted = answers
    accuracy, f1 = st.bootstrap(sk.confusion_matrix(labels, predicted, labels=range(7)))
    picks = np.random.default_rng(5).integers(0, len(labels), (2000, len(labels)))
    cells = (labels * 7 + predicted)[picks] + 49 * np.arange(len(picks))[:, None]
    drawn = np.bincount(cells.ravel(), minlength=49 * len(picks)).reshape(-1, 7, 7)
    for interval, score in ((accuracy, st.accuracy_of), (f1, st.macro_f1_of)):
        low, high = np.quantile(score(drawn), [0.025, 0.975])
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.007)


def test_bootstrap_at_the_size_of_fer2013_is_the_documented_interval_and_quick():
    counts = np.diag([355] * 7) + 25  # n = 3,710
    start = time.process_time()
    accuracy, _ = st.bootstrap(counts)
    assert time.process_time() - start < 1
    p, n = st.accuracy_of(counts), counts.sum()
    half = 1.96 * np.sqrt(p * (1 - p) / n)
    assert (accuracy.low, accuracy.high) == pytest.approx((p - half, p + half), abs=0.001)


def test_bootstrap_is_seeded():
    counts = np.array([[30, 7], [9, 20]])
    assert st.bootstrap(counts, seed=4) == st.bootstrap(counts, seed=4)
    assert st.bootstrap(counts, 200, seed=4) != st.bootstrap(counts, 200, seed=5)
    with pytest.raises(DataError):
        st.bootstrap(np.zeros((2, 2), dtype=int))


def test_mcnemar_counts_only_the_images_on_which_two_models_differ():
    a = np.array([1] * 50 + [1] * 15 + [0] * 5 + [0] * 30, dtype=bool)
    b = np.array([1] * 50 + [0] * 15 + [1] * 5 + [0] * 30, dtype=bool)
    t = st.mcnemar(a, b)
    assert (t.only_a, t.only_b, t.n) == (15, 5, 100)
    assert t.p == pytest.approx(binomtest(5, 20, 0.5).pvalue) == pytest.approx(0.04138946533203125)
    assert t.difference == pytest.approx(0.10)
    assert t.interval.low == pytest.approx(0.02, abs=0.012) and t.interval.high == pytest.approx(0.19, abs=0.012)


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(244, 203, 3589), (15, 5, 100), (3, 0, 8), (0, 1, 1)])
def test_the_interval_is_that_of_all_resamples_and_mirrors_when_the_models_change_places(only_a, only_b, n):
    a, b = (np.arange(n) < only_a), (np.arange(n) >= only_a) & (np.arange(n) < only_a + only_b)
    chance = np.ones(1)
    for _ in range(n):
        chance = np.convolve(chance, [only_b / n, 1 - (only_a + only_b) / n, only_a / n])
    sums, below = np.arange(-n, n + 1), np.cumsum(chance)
    found, back = st.mcnemar(a, b).interval, st.mcnemar(b, a).interval
    low, high = sums[below >= 0.025][0] / n, sums[np.concatenate([[0], below[:-1]]) <= 0.975][-1] / n
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (back.low, back.high) == (-found.high, -found.low)


def test_equal_models_differ_by_nothing():
    a = np.array([True, False, True])
    t = st.mcnemar(a, a)
    assert (t.p, t.difference, t.interval) == (1.0, 0.0, st.Interval(0.0, 0.0))


@pytest.mark.parametrize("lengths", [(3, 4), (0, 0)])
def test_mcnemar_needs_the_same_images(lengths):
    with pytest.raises(DataError, match="same images"):
        st.mcnemar(*(np.ones(n, dtype=bool) for n in lengths))


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
        ([0.0001, 0.2, 0.011, 0.02], [0.0004, 0.2, 0.033, 0.04]),
    ],
)
def test_holm(raw, adjusted):
    assert st.holm(raw).tolist() == pytest.approx(adjusted)


def test_compare_takes_every_pair_and_corrects_over_all():
    rng = np.random.default_rng(0)
    correct = {"a": rng.random(400) < 0.5, "b": rng.random(400) < 0.6, "c": rng.random(400) < 0.9}
    pairs = st.compare(correct)
    assert [(p.a, p.b) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [p.p_holm for p in pairs] == pytest.approx(st.holm([p.test.p for p in pairs]).tolist())
    assert all(p.p_holm >= p.test.p for p in pairs)
    assert st.compare({"alone": correct["a"]}) == []


@pytest.mark.parametrize("seed", range(5))
def test_mcnemar_agrees_with_statsmodels(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.random(300) < 0.6, rng.random(300) < 0.6 + 0.05 * seed
    table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
    assert st.mcnemar(a, b).p == pytest.approx(mcnemar(table, exact=True).pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_holm_agrees_with_statsmodels(seed):
    raw = np.random.default_rng(seed).random(8) ** 3
    assert st.holm(raw) == pytest.approx(multipletests(raw, method="holm")[1])


def pair_of(labels, predicted, seed=2):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(labels)) < 0.8, predicted, labels), predicted


def test_paired_intervals_agree_with_scipys_bootstrap(answers):
    labels, predicted = answers
    a, b = pair_of(labels, predicted)
    right_a, right_b = (a == labels).astype(float), (b == labels).astype(float)
    scipy = stats.bootstrap((right_a - right_b,), np.mean, method="percentile", rng=np.random.default_rng(0))
    mine = st.mcnemar(right_a, right_b).interval
    assert (mine.low, mine.high) == pytest.approx(tuple(scipy.confidence_interval), abs=0.006)


def test_the_interval_of_macro_f1_equals_resampling_faces_with_both_answers(answers):
    labels, predicted = answers
    a, b = pair_of(labels, predicted)
    mine = st.macro_f1_difference(a, b, labels)
    rng, drawn = np.random.default_rng(7), []
    for _ in range(1500):
        i = rng.integers(0, len(labels), len(labels))
        f1 = [st.macro_f1_of(np.bincount(labels[i] * 7 + p[i], minlength=49).reshape(7, 7)) for p in (a, b)]
        drawn.append(f1[0] - f1[1])
    assert (mine.low, mine.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.008)
    # resampling each model's faces apart would give a wider one
    apart = np.hypot(*(np.ptp([i.low, i.high]) for i in (f1_interval(labels, a), f1_interval(labels, b))))
    assert mine.high - mine.low < 0.8 * apart
    back = st.macro_f1_difference(b, a, labels)
    assert (back.low, back.high) == pytest.approx((-mine.high, -mine.low), abs=0.006)


def f1_interval(labels, predicted):
    return st.bootstrap(sk.confusion_matrix(labels, predicted, labels=range(7)))[1]


def test_a_model_against_itself_and_against_other_faces(answers):
    labels, predicted = answers
    assert st.macro_f1_difference(predicted, predicted, labels) == st.Interval(0.0, 0.0)
    with pytest.raises(DataError, match="same images"):
        st.macro_f1_difference(predicted, predicted[1:], labels)


def test_resampled_sums_draw_all_columns_together():
    columns = np.random.default_rng(0).normal(size=(50, 2))
    sums = st.resampled_sums(np.column_stack([columns, columns.sum(axis=1), np.ones(50)]))
    assert sums[:, 0] + sums[:, 1] == pytest.approx(sums[:, 2])
    assert (sums[:, 3] == 50).all() and len(sums) == st.RESAMPLES
    assert sums[:, 0].std() == pytest.approx(columns[:, 0].std() * np.sqrt(50), rel=0.05)
