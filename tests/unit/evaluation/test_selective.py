import numpy as np
import pytest

from fer.errors import ConfigError
from fer.evaluation import selective


def binary(confidence, right):
    """Two classes, label 0: a right answer puts the confidence on class 0, a wrong one on class 1."""
    c = np.asarray(confidence)
    probs = np.where(np.asarray(right, dtype=bool)[:, None], np.c_[c, 1 - c], np.c_[1 - c, c])
    return probs, np.zeros(len(c), dtype=int)


def test_risk_by_hand():
    curve = selective.risk_coverage(
        *binary([0.6, 0.9, 0.7, 0.8], [1, 1, 0, 0])
    )  # surest first: right wrong wrong right
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 2 / 3, 1 / 2])
    assert curve.aurc == pytest.approx((0 + 1 / 2 + 2 / 3 + 1 / 2) / 4)


def test_the_last_risk_is_the_error_rate_and_a_good_order_has_less_area():
    rng = np.random.default_rng(0)
    confidence, right = rng.uniform(0.5, 1, 400), rng.random(400) < 0.7
    told = selective.risk_coverage(*binary(np.where(right, 0.75 + confidence / 4, confidence / 2 + 0.25), right))
    blind = selective.risk_coverage(*binary(confidence, right))
    assert told.risk[-1] == blind.risk[-1] == pytest.approx((~right).mean())
    assert told.aurc < blind.aurc == pytest.approx((~right).mean(), abs=0.06)


def test_equal_confidences_stand_in_no_order():
    right = np.array([1, 0, 1, 0, 1, 1])
    confidence = np.array([0.9, 0.7, 0.7, 0.7, 0.7, 0.6])
    first = selective.risk_coverage(*binary(confidence, right))
    order = [0, 2, 4, 1, 3, 5]  # all the wrong ones of the group last
    other = selective.risk_coverage(*binary(confidence[order], right[order]))
    assert first.risk.tolist() == pytest.approx(other.risk.tolist())
    # two of the four are wrong: k of them hold k / 2 mistakes on average
    assert first.risk.tolist() == pytest.approx([0, 0.5 / 2, 1 / 3, 1.5 / 4, 2 / 5, 2 / 6])


def test_coverage_at_is_the_largest_threshold_that_holds():
    # accuracy of the surest k: 1, 1/2, 2/3, 3/4, 3/5
    case = binary([0.95, 0.9, 0.8, 0.7, 0.6], [1, 0, 1, 1, 0])
    assert selective.coverage_at(*case, 0.7) == 0.8
    assert selective.coverage_at(*case, 0.75) == 0.8
    assert selective.coverage_at(*case, 0.76) == 0.2
    assert selective.coverage_at(*case, 0.6) == 1.0
    assert selective.coverage_at(*binary([0.9, 0.8], [0, 1]), 0.9) is None


def test_coverage_at_cannot_split_faces_of_equal_confidence():
    case = binary([0.9, 0.9, 0.8], [1, 0, 1])
    assert selective.coverage_at(*case, 1.0) is None
    assert selective.coverage_at(*case, 2 / 3) == 1.0


def test_a_threshold_of_some_faces_is_measured_on_others():
    chosen_on = binary([0.95, 0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0, 0])
    others = binary([0.99, 0.85, 0.8, 0.75], [1, 0, 1, 1])
    threshold = selective.threshold_at(*chosen_on, 0.75)
    assert threshold == 0.7
    assert selective.answered_from(*others, threshold) == (1, 0.75)
    assert selective.answered_from(*others, selective.threshold_at(*chosen_on, 1.0)) == (0.75, pytest.approx(2 / 3))
    assert selective.answered_from(*chosen_on, threshold)[0] == selective.coverage_at(*chosen_on, 0.75) == 0.8
    share, right = selective.answered_from(*others, 0.999)
    assert share == 0 and np.isnan(right)
    assert selective.threshold_at(*binary([0.9, 0.8], [0, 1]), 0.9) is None


@pytest.mark.parametrize("accuracy", [0, -0.1, 1.1, float("nan")])
def test_an_accuracy_outside_0_to_1_is_refused(accuracy):
    with pytest.raises(ConfigError, match="accuracy must lie"):
        selective.coverage_at(*binary([0.9], [1]), accuracy)
