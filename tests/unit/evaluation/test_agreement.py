import numpy as np
import pytest
import sklearn.metrics as sk
from scipy.stats import chi2_contingency
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportions_chisquare

from fer.errors import DataError
from fer.evaluation import agreement as ag


def off_diagonal(counts):
    return counts[~np.eye(len(counts), dtype=bool)]


def test_chi_square_of_well_filled_matrices_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.integers(30, 90, (2, 7, 7))
    found = ag.chi_square(a, b)
    expected = chi2_contingency(np.stack([off_diagonal(a), off_diagonal(b)]))
    assert (found.statistic, found.dof, found.p) == pytest.approx((expected.statistic, 41, expected.pvalue))


def test_chi_square_of_two_kinds_of_mistakes_is_the_test_of_two_proportions():
    a, b = np.array([[900, 40], [60, 700]]), np.array([[10, 70], [50, 5]])
    statistic, p, _ = proportions_chisquare([40, 70], [100, 120])
    found = ag.chi_square(a, b)
    assert (found.statistic, found.dof, found.p) == pytest.approx((statistic, 1, p))


def test_chi_square_sees_the_pattern_and_not_the_number_of_mistakes_nor_the_diagonal():
    a = np.array([[5, 20, 40], [30, 6, 50], [25, 35, 7]])
    b = 3 * a
    np.fill_diagonal(b, 1000)
    assert ag.chi_square(a, b).p == pytest.approx(1.0)
    moved = a.T  # as many mistakes, in the opposite direction
    assert ag.chi_square(a, moved).p < 0.01


def test_sparse_cells_are_pooled():
    # expected counts are half the column sums: 50 and 40 stay, 3 + 4 + 9 become one column of 16
    a = np.array([[0, 30, 20], [2, 0, 3], [0, 4, 0]])
    b = np.array([[0, 20, 20], [1, 0, 1], [0, 5, 0]])
    table = np.array([[30, 20, 9], [20, 20, 7]])
    expected = chi2_contingency(table)
    found = ag.chi_square(a, b)
    assert (found.statistic, found.dof, found.p) == pytest.approx((expected.statistic, 2, expected.pvalue))


def test_a_pool_that_is_still_sparse_joins_the_smallest_column():
    a = np.array([[0, 30, 20], [1, 0, 0], [0, 1, 0]])
    b = np.array([[0, 20, 25], [1, 0, 0], [0, 0, 0]])
    expected = chi2_contingency(np.array([[30, 22], [20, 26]]), correction=False)
    found = ag.chi_square(a, b)
    assert (found.statistic, found.dof, found.p) == pytest.approx((expected.statistic, 1, expected.pvalue))


@pytest.mark.parametrize(
    "b", [np.diag([5, 6, 7]), np.array([[9, 1, 0], [0, 9, 0], [0, 0, 9]])], ids=["no mistakes", "one mistake"]
)
def test_nothing_to_compare(b):
    a = np.array([[5, 20, 40], [30, 6, 50], [25, 35, 7]])
    assert ag.chi_square(a, b) == ag.ChiSquare(0.0, 0, 1.0)


def test_chi_square_keeps_its_level():
    rng = np.random.default_rng(5)
    share = rng.dirichlet(np.full(42, 0.5))  # many rare confusions, as in practice
    cells = np.flatnonzero(~np.eye(7, dtype=bool).ravel())
    found = []
    for _ in range(400):
        pair = np.zeros((2, 49), dtype=int)
        pair[:, cells] = rng.multinomial([900, 1200], share)
        found.append(ag.chi_square(*pair.reshape(2, 7, 7)).p)
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.08


@pytest.mark.parametrize("b", [np.zeros((2, 2)), np.zeros((3, 2))])
def test_chi_square_needs_the_same_classes(b):
    with pytest.raises(DataError, match="square confusion matrices"):
        ag.chi_square(np.zeros((3, 3)), b)


@pytest.mark.parametrize("seed", range(4))
def test_kappa_agrees_with_scikit_learn_and_statsmodels(seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 5, 200)
    b = np.where(rng.random(200) < 0.6, a, rng.choice(5, 200, p=[0.6, 0.1, 0.1, 0.1, 0.1]))
    got = ag.agreement(a, b, rng.integers(0, 5, 200))
    assert got.kappa == pytest.approx(sk.cohen_kappa_score(a, b))
    assert got.kappa == pytest.approx(cohens_kappa(sk.confusion_matrix(a, b), return_results=False))
    assert got.same_answer == pytest.approx(sk.accuracy_score(a, b))


def test_agreement_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 2])
    a, b = np.array([0, 0, 1, 1, 2, 0]), np.array([0, 2, 1, 1, 0, 1])
    got = ag.agreement(a, b, labels)
    assert (got.both_right, got.both_wrong, got.same_answer) == pytest.approx((2 / 6, 3 / 6, 3 / 6))


def test_two_constant_models_agree_completely_or_as_chance():
    zero, one = np.zeros(4, dtype=int), np.ones(4, dtype=int)
    assert ag.agreement(zero, zero, one).kappa == 1
    assert ag.agreement(zero, one, one).kappa == 0


def test_agreement_matrix():
    preds = {"a": np.array([0, 1, 2, 3]), "b": np.array([0, 1, 0, 0]), "c": np.array([3, 2, 1, 0])}
    assert ag.agreement_matrix(preds).tolist() == [[1, 0.5, 0], [0.5, 1, 0.25], [0, 0.25, 1]]


def test_answers_to_other_faces_are_refused():
    with pytest.raises(DataError, match="same faces"):
        ag.agreement(np.zeros(3, dtype=int), np.zeros(4, dtype=int), np.zeros(3, dtype=int))
    with pytest.raises(DataError, match="same faces"):
        ag.agreement_matrix({"a": np.zeros(3), "b": np.zeros(4)})
