import numpy as np
import pytest

from fer.errors import DataError
from fer.evaluation.pareto import front


def test_a_hand_drawn_front():
    cost = np.array([1, 2, 3, 4, 2.5])
    score = np.array([0.5, 0.7, 0.6, 0.9, 0.7])
    # the third is beaten by the second; the fifth costs more for the same score
    assert front(cost, score).tolist() == [True, True, False, True, False]


def test_equal_models_stand_or_fall_together():
    assert front(np.array([1, 1, 2, 2]), np.array([0.5, 0.5, 0.4, 0.4])).tolist() == [True, True, False, False]


def test_the_front_is_what_nobody_beats():
    rng = np.random.default_rng(0)
    cost, score = rng.integers(0, 6, (2, 40)).astype(float)
    mask = front(cost, score)
    for i in range(40):
        beaten = any(
            cost[j] <= cost[i] and score[j] >= score[i] and (cost[j], score[j]) != (cost[i], score[i])
            for j in range(40)
        )
        assert mask[i] == (not beaten)


def test_an_unknown_cost_is_never_on_the_front_and_beats_nobody():
    nan = float("nan")
    assert front(np.array([nan, 2, 3]), np.array([0.9, 0.5, nan])).tolist() == [False, True, False]
    assert front(np.array([]), np.array([])).tolist() == []


def test_one_score_per_cost():
    with pytest.raises(DataError, match="one score"):
        front(np.array([1.0, 2]), np.array([1.0]))
