import json
from dataclasses import replace

import numpy as np
import pytest

from fer.checkpoint import read_manifest, trained_models
from fer.errors import ConfigError
from fer.evaluation import conformal
from fer.evaluation.results import METRICS, folder_of
from fer.labels import FER7


def draw(rng, n, sharpness=1.2):
    """Faces of a model that is right about its own uncertainty up to a temperature."""
    logits = rng.normal(size=(n, 7)) * sharpness
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (truth.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=6)
    probs = truth**1.7
    return probs / probs.sum(axis=1, keepdims=True), labels


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_sets_hold_the_label_as_often_as_promised_on_average_over_draws(level):
    rng = np.random.default_rng(1)
    n, covered = 100, []
    for _ in range(300):
        threshold = conformal.fit(*draw(rng, n), level)
        probs, labels = draw(rng, 200)
        # without the rule that the likeliest class is always in, coverage has a lower and an upper bound
        covered.append((probs[np.arange(200), labels] >= threshold).mean())
        assert conformal.measure(probs, labels, threshold).coverage >= covered[-1]
    assert level - 0.006 < np.mean(covered) < level + 1 / (n + 1) + 0.006


def test_the_finite_sample_quantile_by_hand():
    own = np.arange(1, 10) / 10  # nine faces, probability of the label .1 .. .9
    probs, labels = np.c_[own, 1 - own], np.zeros(9, dtype=int)
    assert conformal.fit(probs, labels, 0.5) == 0.5  # ceil(10 * .5) = the 5th largest
    assert conformal.fit(probs, labels, 0.9) == 0.1  # the 9th; a plain quantile would stop earlier
    assert conformal.fit(probs, labels, 0.91) == 0.0  # the 10th of nine: everything enters


def test_a_product_that_rounds_up_does_not_move_the_rank():
    own = np.linspace(0.999, 0.001, 99)  # 100 * 0.55 is 55.00000000000001
    assert conformal.fit(np.c_[own, 1 - own], np.zeros(99, dtype=int), 0.55) == own[54]


def test_sets_by_hand_and_the_likeliest_class_is_always_in():
    probs = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.9, 0.05, 0.05]])
    assert conformal.sets(probs, 0.3).tolist() == [[True, True, False], [True, True, False], [True, False, False]]
    assert conformal.sets(probs, 0.6).tolist() == [[True, False, False]] * 3
    assert conformal.sets(probs, 0.0).all()


def test_measure_counts_what_the_sets_hold():
    probs = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6]])
    got = conformal.measure(probs, np.array([1, 2, 0, 0]), 0.3)
    assert got == conformal.ConformalScore(coverage=0.5, mean_size=1.5, sizes=(0, 2, 2, 0))


def test_float32_probabilities_reach_their_own_threshold():
    probs, labels = draw(np.random.default_rng(2), 50)
    probs = probs.astype(np.float32)
    threshold = conformal.fit(probs, labels, 0.9)
    assert conformal.measure(probs, labels, threshold).coverage >= 0.9


@pytest.mark.parametrize("level", [0, 1, 1.5, -1])
def test_a_level_outside_0_to_1_is_refused(level):
    with pytest.raises(ConfigError, match="level must lie"):
        conformal.fit(np.full((3, 2), 0.5), np.array([0, 1, 0]), level)


def test_thresholds_of_a_manifest_keep_their_promise_and_make_the_same_sets(untrained):
    probs, labels = draw(np.random.default_rng(2), 50)
    probs = probs.astype(np.float32)
    found = conformal.thresholds(probs, labels)
    assert list(found) == ["0.8", "0.9", "0.95"]
    for level, threshold in found.items():
        assert (
            conformal.fit(probs, labels, float(level)) - 1e-6 <= threshold <= conformal.fit(probs, labels, float(level))
        )
        assert conformal.measure(probs, labels, threshold).coverage >= float(level)
    manifest = replace(read_manifest(untrained("baseline_cnn")), conformal={"thresholds": {"0.9": 0.2}})
    assert conformal.prediction_sets(manifest, 0.8) is None
    face = np.array([0.05, 0.0, 0.3, 0.05, 0.1, 0.4, 0.1])
    assert conformal.prediction_sets(manifest).of(face, FER7) == ("surprise", "fear")


@pytest.mark.parametrize("name", trained_models())
def test_bundled_manifests_hold_the_thresholds_that_were_measured(name):
    manifest = read_manifest(name)
    metrics = json.loads((folder_of(manifest.data["name"], name) / METRICS).read_text())
    assert manifest.conformal["split"] == metrics["splits"]["val"]["title"]
    assert manifest.conformal["n"] == metrics["splits"]["val"]["n"]
    measured = {k: v["threshold"] for k, v in metrics["splits"]["test"]["conformal"].items()}
    rounding = 5e-3 if manifest.weights["dtype"] == "int8" else 5e-6  # int8 was fitted in half precision
    assert manifest.conformal["thresholds"] == pytest.approx(measured, abs=rounding)
