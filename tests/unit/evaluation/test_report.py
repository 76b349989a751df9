"""From predictions to metrics.json and comparison.json: what is fitted where, and who is compared with whom."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from fer.errors import DataError
from fer.evaluation import report, results
from fer.labels import FER7

NAMES = FER7.names


def answers(n, skill, seed, first_row=0):
    labels = np.random.default_rng([7, first_row]).integers(0, 7, n)
    logits = np.random.default_rng(seed).normal(size=(n, 7)) + skill * np.eye(7)[labels]
    single = softmax(logits, axis=1).astype(np.float32)
    return {"rows": np.arange(n) + first_row, "labels": labels, "single": single}


def made(name="a", n=400, skill=2.0, test_skill=None, seed=0, view=None, **card):
    """A result as read from results/, its test answers perhaps of another quality than its validation answers."""
    splits = {
        "val": answers(n, skill, [seed, 0]),
        "test": answers(n, skill if test_skill is None else test_skill, [seed, 1], 10_000),
    }
    if view:
        for s in splits.values():
            s[view] = np.roll(s["single"], 1, axis=1)
    frame = results.predictions_frame(splits, NAMES)
    card = {
        "model": name,
        "title": name.upper(),
        "data": {"name": "fer2013", "labels": list(NAMES), "majority": "happy"},
        "parameters": 1,
        "temperature": {"value": 1.0, "source": "none"},
        "titles": {"val": "PublicTest", "test": "PrivateTest"},
        **card,
    }
    return results.ModelResult(name, name.upper(), report.summarise(frame, card), frame)


def test_prediction_sets_are_fitted_on_validation_and_measured_on_test():
    alike, worse = made().metrics["splits"]["test"], made(test_skill=0.5).metrics["splits"]["test"]
    for level in ("0.8", "0.9", "0.95"):
        assert alike["conformal"][level]["coverage"] == pytest.approx(float(level), abs=0.05)
        # the threshold is of validation, which both have in common: the worse answers are not made up for
        assert worse["conformal"][level]["threshold"] == alike["conformal"][level]["threshold"]
    assert worse["conformal"]["0.9"]["coverage"] < 0.85
    sizes = alike["conformal"]["0.9"]["sizes"]
    assert len(sizes) == 8 and sum(sizes) == 400 and sizes[0] == 0
    mean = sum(k * n for k, n in enumerate(sizes)) / 400
    assert alike["conformal"]["0.9"]["mean_size"] == pytest.approx(mean, abs=1e-6)


def test_without_validation_there_are_no_prediction_sets():
    r = made()
    only_test = r.predictions[r.predictions["split"] == "test"]
    card = report.card_of(r.metrics)
    assert report.summarise(only_test, card)["splits"]["test"]["conformal"] is None


def test_declining_is_summarised_per_split():
    sure, unsure = (made(skill=s).metrics["splits"]["test"]["selective"] for s in (4.0, 0.2))
    assert sure["aurc"] < unsure["aurc"] and sure["coverage_at"]["0.9"] > 0.5
    assert unsure["coverage_at"]["0.9"] is None or unsure["coverage_at"]["0.9"] < 0.2


def test_a_view_has_scores_only_where_every_split_was_seen_so():
    both = made(view="tencrop")
    assert both.views("test") == ("single", "tencrop")
    assert both.scores("test", "tencrop")["accuracy"] < both.scores("test")["accuracy"]
    frame = both.predictions.copy()
    frame.loc[frame["split"] == "test", "tencrop_sad"] = np.nan
    again = report.summarise(frame, report.card_of(both.metrics))
    assert "tencrop" in again["splits"]["val"] and "tencrop" not in again["splits"]["test"]


def test_the_crowd_comes_from_the_card_and_survives():
    crowd = {"val": None, "test": {"n": 3}}
    r = made(crowd=crowd)
    assert r.metrics["splits"]["test"]["crowd"] == {"n": 3} and r.metrics["splits"]["val"]["crowd"] is None
    assert report.summarise(r.predictions, report.card_of(r.metrics)) == r.metrics


def test_models_are_aligned_by_row():
    a, b = made("a"), made("b", seed=5)
    shuffled = b.predictions[b.predictions["row"] != 10_003].sample(frac=1, random_state=0)
    other = results.ModelResult("b", "B", b.metrics, shuffled)
    same = report.aligned([a, other], "test")
    assert len(same.rows) == 399 and 10_003 not in same.rows
    assert (same.probs["b"] == np.delete(b.probs("test"), 3, axis=0)).all()
    assert (same.labels == np.delete(b.labels("test"), 3)).all()
    with pytest.raises(DataError, match="classes"):
        m = b.metrics | {"data": b.metrics["data"] | {"labels": list(reversed(NAMES))}}
        report.aligned([a, results.ModelResult("b", "B", m, b.predictions)], "test")


def test_comparison_of_another_view_leaves_out_who_has_none():
    a, b, c = made("a", view="flip"), made("b", seed=1, view="flip"), made("c", seed=2)
    assert [(p["a"], p["b"]) for p in report.comparison([a, b, c], view="flip")["pairs"]] == [("a", "b")]
    assert len(report.comparison([a, b, c])["pairs"]) == 3


def test_equal_models_agree_and_have_one_pattern():
    a, same, other = made("a"), made("b"), made("c", seed=9)
    pairs = {(p["a"], p["b"]): p for p in report.comparison([a, same, other])["pairs"]}
    assert pairs["a", "b"]["agreement"]["kappa"] == 1 and pairs["a", "b"]["chi2"]["p"] == pytest.approx(1)
    assert pairs["a", "b"]["difference"] == 0 and pairs["a", "c"]["agreement"]["kappa"] < 0.9
    assert pairs["a", "c"]["chi2"]["p_holm"] >= pairs["a", "c"]["chi2"]["p"]


def test_the_verdict_names_who_is_better_and_whether_it_may_be_chance():
    compared = report.comparison([made("a", skill=3.0), made("b", skill=1.0, seed=2), made("c", skill=1.0, seed=3)])
    first, _, last = compared["pairs"]
    said = report.verdict(compared, first, {"a": "Net A"})
    assert said.startswith("On the 400 faces of PrivateTest Net A gets ") and "more right than b" in said
    assert "p < 0.0001 after Holm's correction for 3 pairs" in said and said.endswith("does not explain it.")
    assert report.verdict(compared, last).endswith("may well be chance.")
    turned = {**first, "a": "b", "b": "a", "difference": -first["difference"], "interval": [-0.5, -0.2]}
    assert "b gets" in (said := report.verdict(compared, turned)) and "fewer right than a (95 % interval -50.0" in said


def test_an_ensemble_can_be_chosen_by_a_view_that_the_test_split_was_not_seen_in():
    members = [made("a", view="tencrop"), made("b", seed=2, view="tencrop")]
    for r in members:
        del r.metrics["splits"]["test"]["tencrop"]
    with pytest.raises(DataError, match="tencrop"):
        report.ensemble_entry(members, "tencrop")
    chosen = report.ensemble_entry(members, "tencrop", open_test=False)
    assert (chosen["test_accuracy"], chosen["scorings"]) == (None, 0) and chosen["val_accuracy"] > 0


def test_an_ensemble_is_weighted_on_validation_and_scored_on_test():
    good, bad = made("good", skill=3.0, test_skill=1.0), made("bad", skill=0.3, seed=4, test_skill=3.0)
    entry = report.ensemble_entry([good, bad])
    assert entry["members"] == ["good", "bad"] and entry["weights"][0] > 0.8, "on test the other one is better"
    mean = entry["weights"][0] * good.probs("test") + entry["weights"][1] * bad.probs("test")
    assert entry["test_accuracy"] == pytest.approx((mean.argmax(axis=1) == good.labels("test")).mean(), abs=1e-6)
    low, high = entry["test_interval"]
    assert low < entry["test_accuracy"] < high and entry["test_nll"] > 0
    with pytest.raises(DataError, match="two models or more"):
        report.ensemble_entry([good])
    # every look at the test split counts: with the same weights of its members it is the same look
    for sha256, members in (("a", [good, bad]), ("a", [good, bad]), ("b", [good, bad])):
        good.metrics["checkpoint"] = {"sha256": sha256}
        entry = report.ensemble_entry(members, before=entry)
    assert entry["scorings"] == 3 and entry["sha256"] == ["b", None], "unmarked, a, b"
    parts = {r.name: r.metrics["splits"].pop("test") for r in (good, bad)}  # scored on validation alone, to choose
    good.metrics["checkpoint"] = {"sha256": "c"}
    chosen = report.ensemble_entry([good, bad], before=entry)
    assert (chosen["scorings"], chosen["test_accuracy"], chosen["sha256"]) == (3, None, ["c", None])
    for r in (good, bad):
        r.metrics["splits"]["test"] = parts[r.name]
    assert report.ensemble_entry([good, bad], before=chosen)["scorings"] == 4, "and then opened again"
    elsewhere = report.ensemble_entry([good, bad])
    good.metrics["data"] = good.metrics["data"] | {"fingerprint": "another copy"}
    assert report.ensemble_entry([good, bad], before=elsewhere)["scorings"] == 2, "on other faces"
    for r in (good, bad):
        del r.metrics["splits"]["test"]
    chosen = report.ensemble_entry([good, bad])
    assert chosen["test_accuracy"] is None and chosen["scorings"] == 0
    assert chosen["val_accuracy"] == entry["val_accuracy"]
    with pytest.raises(DataError, match="'flip'"):
        report.ensemble_entry([good, bad], "flip")


def copied(r, **rows):
    """The same result, its faces looked up among those of training: kind -> rows of PrivateTest of that kind."""
    seen = r.predictions["row"].map({row: kind for kind, of in rows.items() for row in of}).fillna("")
    frame = r.predictions.assign(seen=seen)
    return results.ModelResult(r.name, r.title, report.summarise(frame, report.card_of(r.metrics)), frame)


def test_an_ensemble_has_its_score_without_copies_too():
    one, two = made("a"), made("b", seed=4)
    mixed = [copied(one, exact=range(10_000, 10_100)), copied(two, near=range(10_050, 10_120))]
    entry = report.ensemble_entry(mixed)
    mean = sum(w * r.probs("test") for w, r in zip(entry["weights"], mixed, strict=True))
    right = mean.argmax(axis=1) == one.labels("test")
    found = entry["leakage"]
    assert (found["exact"], found["near"], found["kept"]) == (100, 20, 280), "of any member"
    assert found["accuracy"] == pytest.approx(right[120:].mean(), abs=1e-6) != entry["test_accuracy"]
    assert found["accuracy_interval"][0] < found["accuracy"] < found["accuracy_interval"][1]
    plain = report.ensemble_entry([one, two])
    assert plain["leakage"] is None is report.ensemble_entry([mixed[0], two])["leakage"], "not known of all of them"
    assert plain == entry | {"leakage": None}, "and nothing else is another number"
    later = report.ensemble_entry(mixed, before=plain)
    assert later == entry, "filled in where it was not known, which is no further look at the test split"
    assert report.ensemble_entry(mixed, before=later, open_test=False)["leakage"] == found
    alone = report.ensemble_entry([copied(one, exact=range(10_000, 10_030)), copied(one, exact=range(10_000, 10_030))])
    single = copied(one, exact=range(10_000, 10_030)).metrics["splits"]["test"]["leakage"]
    assert alone["leakage"] == single, "computed as of a single model"
