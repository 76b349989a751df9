"""A time shared among several trainings, and recipes that become longer."""

import dataclasses

import pytest

from fer.models.hog_svm import RECIPE as ONE_FIT
from fer.specs import Phase, Recipe
from fer.training import Job, budget
from fer.training.budget import Clock, Cost, fit, share_of_first, shares
from fer.training.campaign import within

NEED = Cost((1.0,), (0.0,), 0.0, 0.0, 0.0)


def needing(seconds, begun=False):
    return dataclasses.replace(NEED, use_s=seconds, begun=begun)


@pytest.mark.parametrize(
    ("needs", "left", "expected"),
    [
        ([10.0, 20.0, 30.0], 100.0, [10.0, 20.0, 30.0]),
        ([90.0, 90.0, 90.0], 60.0, [20.0, 20.0, 20.0]),
        ([5.0, 300.0, 10.0], 100.0, [5.0, 85.0, 10.0]),  # the dear one is not the last
        ([300.0, 5.0, 30.0, 300.0], 115.0, [40.0, 5.0, 30.0, 40.0]),  # level by level
        ([30.0, 10.0], -5.0, [0.0, 0.0]),
        ([], 10.0, []),
    ],
)
def test_who_needs_less_than_an_equal_share_leaves_the_rest_to_the_others(needs, left, expected):
    found = shares(needs, left)
    assert found == pytest.approx(expected) and sum(found) <= max(left, 0.0) + 1e-9


def test_what_has_begun_and_what_is_finished_come_before_the_sharing():
    costs = [needing(300.0), None, needing(50.0, begun=True), needing(10.0)]
    assert share_of_first(costs, 100.0) == 40.0
    assert share_of_first(costs[1:], 100.0) == 0.0
    assert share_of_first(costs[2:], 100.0) == 50.0
    assert share_of_first([needing(300.0), needing(50.0, begun=True)], 40.0) == 0.0


def test_the_clock_runs_and_keeps_a_part_back(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    clock, dear = Clock(100.0), needing(1e6)
    assert Clock(100.0, 990.0).share([dear], 1) == clock.share([dear], 1) - 10.0
    kept = 100 - 100 * budget.RESERVED
    assert 0.01 <= budget.RESERVED <= 0.1
    assert clock.share([dear, dear], 2) == pytest.approx(kept / 2)
    now[0] += 20.0  # the first was quicker than its share
    assert clock.share([dear], 2) == pytest.approx(100 - 20 - 100 * budget.RESERVED / 2)
    now[0] += 500.0
    assert clock.share([dear], 2) == 0.0


def test_phases_grow_as_they_shrink_and_no_further_than_asked():
    head = Phase(name="head", epochs=2, warmup_epochs=0.5, freeze=("features",))
    recipe = Recipe(phases=(head, Phase(epochs=20, restart_epochs=10)))
    assert fit(recipe, [10.0, 10.0], 1e6) is recipe, "only on request"
    assert fit(recipe, [10.0, 10.0], 220.0, stretch=4.0) is recipe, "no time for it"
    assert fit(recipe, [10.0, 10.0], 229.0, stretch=4.0) is recipe, "less than an epoch more"
    twice = fit(recipe, [10.0, 10.0], 440.0, stretch=4.0)
    assert [p.epochs for p in twice.phases] == [4, 40] and twice.phases[0].warmup_epochs == 1.0
    assert twice.phases[1].restart_epochs == 20 and twice.epoch_share == 1 and twice.phases[0].freeze == head.freeze
    assert [p.epochs for p in fit(recipe, [10.0, 10.0], 1e6, stretch=2.5).phases] == [5, 50]
    uneven = fit(recipe, [50.0, 10.0], 500.0, stretch=4.0)
    assert [p.epochs for p in uneven.phases] == [3, 33]
    assert fit(recipe, [10.0, 10.0], 110.0, stretch=4.0) == fit(recipe, [10.0, 10.0], 110.0)
    thin = dataclasses.replace(recipe, epoch_share=0.5)
    assert fit(thin, [5.0, 5.0], 440.0, stretch=4.0).epoch_share == 0.5, "as asked for"


def test_a_stretched_snapshot_ensemble_keeps_the_number_of_its_cycles():
    phase = Phase(epochs=20, warmup_epochs=2, schedule="warm_restarts", restart_epochs=6)
    recipe = Recipe(phases=(phase,), snapshots=True)
    grown = fit(recipe, [10.0], 300.0, stretch=2.0)
    assert grown.snapshots and grown.phases[0].cycle_ends() == (12, 21, 30)
    odd = dataclasses.replace(recipe, phases=(dataclasses.replace(phase, epochs=9, warmup_epochs=0, restart_epochs=3),))
    assert fit(odd, [10.0], 110.0, stretch=2.0) is odd, "two epochs more are not one for each cycle"


def test_a_sum_that_rounding_made_smaller_costs_no_epoch():
    recipe = Recipe(phases=(Phase(epochs=3), Phase(epochs=7)))
    needed = 3 * 0.1 + 7 * 0.7
    assert fit(recipe, [0.1, 0.7], (needed + 1000.0) - 1000.0 - 1e-12) is recipe
    assert fit(recipe, [0.1, 0.7], 3 * needed - 1e-12, stretch=3.0).epochs == 30


def test_a_command_comes_to_the_same_budget_each_time_and_one_fit_is_not_stretched():
    net, fit_once = within([Job("custom_cnn", Recipe()), Job("hog_svm", ONE_FIT)], 60.0, 4.0)
    assert (net.budget_s, net.stretch) == (30.0, 4.0) and (fit_once.budget_s, fit_once.stretch) == (30.0, 1.0)
