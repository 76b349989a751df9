import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from fer.errors import ConfigError, DataError
from fer.evaluation import calibration as c
from fer.evaluation.metrics import ece, nll


def drawn(temperature, n=20_000, seed=0):
    """Logits that are `temperature` times too large for labels drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(n, 7)) * 2
    labels = (softmax(true, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return true * temperature, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_again(temperature):
    logits, labels = drawn(temperature)
    assert c.fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)
    assert c.fit_temperature(log_softmax(logits, axis=1), labels) == pytest.approx(temperature, rel=0.03)


def test_applying_it_lowers_nll_and_ece_and_changes_no_decision():
    logits, labels = drawn(2.5)
    before = softmax(logits, axis=1)
    after = c.apply_temperature(before, c.fit_temperature(logits, labels))
    assert nll(after, labels) < nll(before, labels) - 0.1
    assert ece(after, labels) < 0.02 < ece(before, labels)
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()


def test_the_inverse_undoes_it():
    probs = softmax(np.random.default_rng(2).normal(size=(50, 7)) * 3, axis=1).astype(np.float32)
    assert c.apply_temperature(c.apply_temperature(probs, 1.7), 1 / 1.7) == pytest.approx(probs, abs=1e-6)


def test_underflowed_probabilities_stay_finite():
    out = c.apply_temperature(np.array([[1.0, 0.0, 0.0]]), 3.0)
    assert np.isfinite(out).all() and out.sum() == pytest.approx(1)
    assert np.isfinite(c.log_probabilities(np.array([[1.0, 0.0]]))).all()


def test_a_temperature_of_one_changes_no_bit():
    probs = np.array([[0.1, 0.9]], dtype=np.float32)
    assert c.apply_temperature(probs, 1.0).tobytes() == probs.tobytes()


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf])
def test_bad_temperature(bad):
    with pytest.raises(ConfigError, match="positive"):
        c.apply_temperature(np.array([[0.5, 0.5]]), bad)


def test_labels_must_fit():
    with pytest.raises(DataError):
        c.fit_temperature(np.zeros((3, 7)), np.array([0, 1]))
    with pytest.raises(DataError):
        c.fit_temperature(np.zeros((3, 7)), np.array([0, 1, 7]))


def test_the_difference_of_two_models_by_definition_and_by_resampling_faces():
    logits, labels = drawn(2.0, n=800)
    a, b = softmax(logits / 2, axis=1), softmax(logits, axis=1)
    d = c.calibration_difference(a, b, labels)
    assert d.nll == pytest.approx(nll(a, labels) - nll(b, labels)) and d.nll < 0
    assert d.ece == pytest.approx(ece(a, labels) - ece(b, labels)) and d.ece < 0
    rng, found = np.random.default_rng(9), []
    for _ in range(800):
        i = rng.integers(0, 800, 800)
        found.append([nll(a[i], labels[i]) - nll(b[i], labels[i]), ece(a[i], labels[i]) - ece(b[i], labels[i])])
    expected = np.quantile(found, [0.025, 0.975], axis=0)
    assert (d.nll_interval.low, d.nll_interval.high) == pytest.approx(tuple(expected[:, 0]), abs=0.015)
    assert (d.ece_interval.low, d.ece_interval.high) == pytest.approx(tuple(expected[:, 1]), abs=0.008)


def test_a_model_does_not_differ_from_itself_and_needs_the_same_classes():
    logits, labels = drawn(1.0, n=100)
    probs = softmax(logits, axis=1)
    same = c.calibration_difference(probs, probs, labels)
    assert (same.nll, same.ece, same.ece_interval.low, same.nll_interval.high) == (0, 0, 0, 0)
    with pytest.raises(DataError, match="same classes"):
        c.calibration_difference(probs, np.c_[probs, np.zeros(100)], labels)
