import numpy as np
import pytest
from scipy.optimize import minimize

from fer.errors import DataError
from fer.evaluation import ensemble
from fer.evaluation.metrics import nll


def members(seed, n=400, strengths=(1.0, 1.5, 2.0)):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 7, n)
    out = []
    for s in strengths:
        logits = rng.normal(size=(n, 7)) + s * np.eye(7)[labels]
        out.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    return out, labels


def test_average_is_weighted_and_scales_the_weights():
    a, b = np.array([[0.8, 0.2]]), np.array([[0.4, 0.6]])
    assert ensemble.average([a, b]) == pytest.approx(np.array([[0.6, 0.4]]))
    assert ensemble.average([a, b], [30, 10]) == pytest.approx(np.array([[0.7, 0.3]]))
    assert ensemble.average([a, b], [0, 1]) == pytest.approx(b)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_a_general_optimiser(seed):
    probs, labels = members(seed)
    found = ensemble.fit_weights(probs, labels)

    def loss(z):
        w = np.exp(z) / np.exp(z).sum()
        return nll(ensemble.average(probs, w), labels)

    best = minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12, "maxiter": 4000})
    assert nll(ensemble.average(probs, found), labels) <= best.fun + 1e-5
    assert found.sum() == pytest.approx(1) and (found >= 0).all()


def test_weights_beat_every_member_and_equal_shares():
    probs, labels = members(7)
    fitted = nll(ensemble.average(probs, ensemble.fit_weights(probs, labels)), labels)
    assert fitted <= min(nll(p, labels) for p in probs) + 1e-6
    assert fitted <= nll(ensemble.average(probs), labels) + 1e-6


def test_a_useless_member_gets_nothing_and_twins_share():
    probs, labels = members(3, strengths=(2.0,))
    assert ensemble.fit_weights([probs[0], np.full_like(probs[0], 1 / 7)], labels)[0] > 0.9
    wrong = np.roll(probs[0], 1, axis=1)
    assert ensemble.fit_weights([wrong, probs[0]], labels)[0] < 0.15
    assert ensemble.fit_weights([probs[0], probs[0]], labels).tolist() == [0.5, 0.5]
    assert ensemble.fit_weights(probs, labels).tolist() == [1.0]


def test_a_certain_mistake_does_not_break_the_fit():
    certain = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = ensemble.fit_weights([certain, np.full((3, 2), 0.5)], np.array([0, 1, 1]))
    assert np.isfinite(found).all() and 0 < found[0] < 1


@pytest.mark.parametrize(
    ("probs", "weights", "message"),
    [
        ([], None, "from every member"),
        ([np.full((2, 3), 1 / 3), np.full((2, 2), 0.5)], None, "same faces"),
        ([np.full((2, 2), 0.5)], [1, 1], "1 weights"),
        ([np.full((2, 2), 0.5)] * 2, [2, -1], "not negative"),
        ([np.full((2, 2), 0.5)] * 2, [0, 0], "not all 0"),
        ([np.full((2, 2), 0.5)] * 2, [np.nan, 1], "not negative"),
    ],
)
def test_what_does_not_fit_is_refused(probs, weights, message):
    with pytest.raises(DataError, match=message):
        ensemble.average(probs, weights)
