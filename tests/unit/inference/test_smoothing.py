"""Smoothing in seconds: independent of the frame rate, exact on a step, and a label that holds."""

import math

import numpy as np
import pytest

from fer.errors import ConfigError
from fer.inference.smoothing import Smoother

A, B = np.array([0.9, 0.1]), np.array([0.1, 0.9])


def after_step(fps: float, tau: float = 0.25, at_s: float = 0.4) -> float:
    s = Smoother(tau, 0.0)
    s.update(A, 0.0)
    for k in range(1, round(at_s * fps) + 1):
        out = s.update(B, k / fps)
    return float(out[1])


def test_a_step_decays_with_the_time_constant_at_any_frame_rate():
    exact = 0.9 - 0.8 * math.exp(-0.4 / 0.25)
    for fps in (5, 10, 30, 60):
        assert after_step(fps) == pytest.approx(exact, abs=1e-6)
    assert after_step(30, tau=1.0) < after_step(30) < after_step(30, tau=0.05)


def test_no_time_constant_means_no_smoothing_and_the_first_frame_is_itself():
    s = Smoother(0.0, 0.0)
    assert s.update(A, 0).tolist() == pytest.approx(A.tolist()) and s.update(B, 0.01).tolist() == pytest.approx(
        [0.1, 0.9]
    )
    assert Smoother(5.0).update(B, 7.0).tolist() == pytest.approx(B.tolist())


def test_hysteresis_holds_the_label_on_a_coin_toss_and_lets_a_clear_change_through():
    rng = np.random.default_rng(0)
    with_it, without = Smoother(0.3, 0.15), Smoother(0.3, 0.0)
    seen = {0: [], 1: []}
    for k in range(300):
        p = 0.5 + rng.normal(0, 0.1)
        for i, s in enumerate((with_it, without)):
            s.update(np.array([p, 1 - p]), k / 30)
            seen[i].append(s.index)
    changes = [int(np.count_nonzero(np.diff(v))) for v in seen.values()]
    assert changes[0] == 0 and changes[1] > 10
    for k in range(300, 330):
        with_it.update(B, k / 30)
    assert with_it.index == 1


def test_one_wild_frame_weighs_its_time_only():
    s = Smoother(0.3, 0.1)
    for k in range(30):
        s.update(A, k / 30)
    out = s.update(np.array([0.0, 1.0]), 1.0)
    assert s.index == 0 and out[0] == pytest.approx(0.9 * math.exp(-(1 / 30) / 0.3), abs=1e-6)


@pytest.mark.parametrize("wrong", [(-1, 0), (100, 0), (0.2, -0.1), (0.2, 1.0), (float("nan"), 0)])
def test_impossible_settings(wrong):
    with pytest.raises(ConfigError):
        Smoother(*wrong)
