import numpy as np
import pytest
from scipy.stats import ttest_rel
from statsmodels.stats.weightstats import DescrStatsW

from fer.errors import DataError
from fer.evaluation import seeds


def run(model, seed, test, epochs=20, **more):
    return {"model": model, "seed": seed, "epochs": epochs, "test_accuracy": test, "val_accuracy": 0.6} | more


def test_spread_by_hand():
    s = seeds.spread([0.6, 0.7, 0.65, 0.65])
    assert (s.n, s.low, s.high) == (4, 0.6, 0.7)
    assert s.mean == pytest.approx(0.65) and s.std == pytest.approx(np.sqrt(0.005 / 3))
    one = seeds.spread([0.6])
    assert one.n == 1 and one.mean == one.low == one.high == 0.6 and np.isnan(one.std)


@pytest.mark.parametrize("values", [[], [float("nan")], [[0.5]]])
def test_spread_of_nothing(values):
    with pytest.raises(DataError, match="one run or more"):
        seeds.spread(values)


def test_table_keeps_models_and_lengths_apart_and_reads_text():
    rows = [
        run("b", "1", "0.60", twin_of="a"),
        run("a", 3, 0.70),
        run("b", "2", "0.62", twin_of="a"),
        run("b", 2, 0.30, epochs=1, twin_of="a"),
        run("a", 1, "", val_accuracy=None),
    ]
    b, a, short = seeds.seed_table(rows)
    assert (b.model, b.twin_of, b.epochs, b.seeds, b.test_accuracy.mean) == ("b", "a", 20, (1, 2), 0.61)
    assert (a.model, a.twin_of, a.seeds, a.test_accuracy.n, a.val_accuracy.n) == ("a", "", (1, 3), 1, 1)
    assert (short.epochs, short.test_accuracy.mean) == (1, 0.30) and short.macro_f1 is None


def test_table_keeps_recipes_apart_and_names_them_where_there_are_several():
    rows = [run("a", s, 0.5 + s / 10, recipe=r) for s, r in ((1, "x"), (2, "x"), (1, "y"))]
    x, y, b = seeds.seed_table([*rows, run("b", 1, 0.5, recipe="x")])
    assert (x.recipe, x.seeds, y.recipe, y.seeds, b.recipe) == ("x", (1, 2), "y", (1,), "")
    d = seeds.seed_difference([*rows, *(run("b", s, 0.5, recipe="z") for s in (1, 2))], "a", "b")
    assert d is None, "a has two recipes and b a third: which of the two would be a choice"


def test_table_keeps_copies_of_the_data_apart():
    """Two copies of FER2013 share most faces, and still other ones are right or wrong."""
    rows = [run("a", s, 0.5 + s / 10, recipe="x", data=d) for s, d in ((1, "p"), (2, "p"), (3, "q"))]
    assert [(s.recipe, s.seeds) for s in seeds.seed_table(rows)] == [("x, data p", (1, 2)), ("x, data q", (3,))]
    assert [(s.recipe, s.seeds) for s in seeds.seed_table(rows[:2])] == [("", (1, 2))]
    others = [run("b", s, 0.5, recipe="x", data=d) for s, d in ((1, "p"), (2, "q"), (3, "q"))]
    assert seeds.seed_difference([*rows, *others], "a", "b").seeds in ((1,), (3,)), "never one copy with the other"


def test_runs_of_one_recipe_are_compared_with_runs_of_the_same():
    rows = [run("a", s, 0.7 + s / 1000, recipe="x") for s in (1, 2, 3)]
    rows += [run("b", s, 0.69 + s / 1000, recipe="x") for s in (1, 2)]
    rows += [run("a", s, 0.6, recipe="y") for s in (1, 2, 3)] + [run("b", s, 0.5, recipe="y") for s in (1, 2, 3)]
    for order in (rows, rows[::-1]):
        d = seeds.seed_difference(order, "a", "b")
        assert d.seeds == (1, 2, 3) and d.difference.mean == pytest.approx(0.1), "y has more seeds in common"
    d = seeds.seed_difference([r for r in rows if (r["model"], r["recipe"]) != ("b", "y")], "a", "b")
    assert d.seeds == (1, 2) and d.difference.mean == pytest.approx(0.01), "never a's y with b's x"
    own = [run("a", 1, 0.7, recipe="x"), run("c", 1, 0.4, recipe="z"), run("a", 1, 0.1, epochs=3, recipe="x")]
    assert seeds.seed_difference(own, "a", "c").difference.mean == pytest.approx(0.3), "each by its own recipe"


def test_a_recipe_that_is_not_known_is_the_only_one_there_is():
    rows = [run("a", 1, 0.5, recipe="x"), run("a", 2, 0.6), run("a", 1, 0.1, recipe=""), run("a", 3, 0.7, epochs=9)]
    a, other = seeds.seed_table(rows)
    assert (a.seeds, a.recipe, a.test_accuracy.mean, other.epochs) == ((1, 2), "", pytest.approx(0.55), 9)
    assert [s.seeds for s in seeds.seed_table([*rows, run("a", 5, 0.5, recipe="y")])] == [(1,), (1, 2), (3,), (5,)]


def test_a_run_without_a_seed_is_left_out_and_a_repeated_one_replaces_the_earlier():
    rows = [run("a", None, 0.1), run("a", "", 0.2), run("a", 7, 0.3), run("a", 7, 0.4)]
    (a,) = seeds.seed_table(rows)
    assert a.seeds == (7,) and a.test_accuracy.mean == 0.4
    assert seeds.seed_table([]) == []


def test_difference_pairs_runs_by_seed():
    rng = np.random.default_rng(0)
    va, vb = rng.uniform(0.6, 0.7, (2, 5))
    rows = [run("a", s, v) for s, v in enumerate(va)] + [run("b", s, v) for s, v in reversed(list(enumerate(vb)))]
    rows += [run("a", 99, 0.99), run("b", 98, 0.01), run("b", 97, None), run("a", 97, 0.5)]
    d = seeds.seed_difference(rows, "a", "b")
    assert d.seeds == (0, 1, 2, 3, 4) and d.difference.mean == pytest.approx((va - vb).mean())
    assert (d.difference.low, d.difference.high) == ((va - vb).min(), (va - vb).max())
    assert (d.interval.low, d.interval.high) == pytest.approx(DescrStatsW(va - vb).tconfint_mean())
    assert (d.interval.low, d.interval.high) == pytest.approx(tuple(ttest_rel(va, vb).confidence_interval()))
    back = seeds.seed_difference(rows, "b", "a")
    assert back.difference.mean == pytest.approx(-d.difference.mean) and back.a == d.b


def test_runs_of_different_length_are_never_paired():
    assert seeds.seed_difference([run("a", 1, 0.7, epochs=20), run("b", 1, 0.6, epochs=10)], "a", "b") is None
    rows = [run(m, s, 0.5, epochs=e) for m in "ab" for s, e in ((1, 10), (2, 10), (1, 20))]
    d = seeds.seed_difference(rows, "a", "b")
    assert (d.epochs, d.seeds, d.interval) == (10, (1, 2), None)  # two seeds: no interval


@pytest.mark.parametrize(
    ("row", "message"), [({"seed": 1}, "names no model"), (run("a", 1, "much"), "no number: 'much'")]
)
def test_damaged_lines_are_named(row, message):
    with pytest.raises(DataError, match=message):
        seeds.seed_table([row])
