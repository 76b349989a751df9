import json

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from fer.errors import DataError
from fer.evaluation import twins
from fer.evaluation.metrics import ece, nll
from fer.evaluation.report import summarise
from fer.evaluation.results import ModelResult, predictions_frame
from fer.labels import FER7

N = 700


def result(name, skill, seed, order=None, labels=None, **card):
    rng = np.random.default_rng(seed)
    truth = np.random.default_rng(99).integers(0, 7, N) if labels is None else labels
    logits = rng.normal(size=(N, 7)) + np.asarray(skill) * np.eye(7)[truth]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    at = np.arange(N) if order is None else order
    split = {"rows": 1000 + at, "labels": truth[at], "single": probs[at]}
    frame = predictions_frame({"test": split}, FER7.names)
    metrics = summarise(
        frame,
        {
            "model": name,
            "title": name.upper(),
            "data": {"name": "fer2013", "labels": list(FER7.names)},
            "trained": {"epochs": 20, "model_args": {}},
            "temperature": {"value": 1.0, "source": "none"},
            "titles": {"test": "PrivateTest"},
        }
        | card,
    )
    return ModelResult(name, name.upper(), metrics, frame)


@pytest.fixture(scope="module")
def pair():
    return result("cbam", 2.2, 1), result("plain", 1.8, 2, twin_of="cbam")


def test_twins_are_found_by_mark_and_by_argument():
    off = {"trained": {"epochs": 20, "model_args": {"attention": False}}}
    found = [
        result("attention_cnn", 2, 1),
        result("attention_cnn@run", 2, 2, **off),
        result("cbam_cnn4", 2, 3),
        result("baseline_cnn4", 2, 4, twin_of="cbam_cnn4"),
        result("lonely", 2, 5, twin_of="absent"),
        result("vit@run", 2, 6, trained={"epochs": 3, "model_args": {"attention": True}}),
    ]
    assert [(a.name, b.name) for a, b in twins.twin_pairs(found)] == [
        ("attention_cnn", "attention_cnn@run"),
        ("cbam_cnn4", "baseline_cnn4"),
    ]
    assert twins.twin_of(result("attention_cnn", 2, 1, **off)) is None  # a net is not its own twin


def test_the_effect_agrees_with_statsmodels_and_with_the_definitions(pair):
    (effect,) = twins.attention_effect([pair])
    probs = [r.probs() for r in pair]
    labels = pair[0].labels()
    right = [p.argmax(axis=1) == labels for p in probs]
    table = [[(right[0] & right[1]).sum(), (right[0] & ~right[1]).sum()], [(right[1] & ~right[0]).sum(), 0]]
    assert effect.p == effect.p_holm == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert (effect.only_attention, effect.only_twin, effect.n) == (table[0][1], table[1][0], N)
    assert effect.difference == pytest.approx(right[0].mean() - right[1].mean()) and effect.difference > 0
    assert effect.interval.low < effect.difference < effect.interval.high
    assert effect.macro_f1_interval.low < effect.macro_f1 < effect.macro_f1_interval.high
    c = effect.calibration
    assert c.nll == pytest.approx(nll(probs[0], labels) - nll(probs[1], labels))
    assert c.ece == pytest.approx(ece(probs[0], labels) - ece(probs[1], labels))
    assert c.nll_interval.low < c.nll < c.nll_interval.high < 0


def test_recall_class_by_class_is_corrected_over_the_classes(pair):
    (effect,) = twins.attention_effect([pair])
    recall = [r.scores()["per_class"] for r in pair]
    for name, c in effect.per_class.items():
        assert c.difference == pytest.approx(recall[0][name]["recall"] - recall[1][name]["recall"], abs=2e-6)
        assert c.n == recall[0][name]["support"] and c.interval.low <= c.difference <= c.interval.high
    raw = [c.p for c in effect.per_class.values()]
    assert [c.p_holm for c in effect.per_class.values()] == pytest.approx(multipletests(raw, method="holm")[1])


def test_faces_are_matched_by_row_and_not_by_position(pair):
    with_, without = pair
    shuffled = result("plain", 1.8, 2, order=np.random.default_rng(0).permutation(N)[: N - 50])
    (effect,) = twins.attention_effect([(with_, shuffled)])
    kept = np.isin(with_.rows(), shuffled.rows())
    labels = with_.labels()
    right = [r.probs().argmax(axis=1) == labels for r in (with_, without)]
    assert effect.n == N - 50
    assert (effect.only_attention, effect.only_twin) == (
        (right[0] & ~right[1])[kept].sum(),
        (right[1] & ~right[0])[kept].sum(),
    )


def test_holm_runs_over_all_pairs(pair):
    other = result("a", 2.0, 5), result("b", 1.9, 6)
    effects = twins.attention_effect([pair, other])
    raw = [e.p for e in effects]
    assert [e.p_holm for e in effects] == pytest.approx(multipletests(raw, method="holm")[1])
    assert [e.pairs for e in effects] == [2, 2] and effects[0].p_holm > effects[0].p
    assert twins.attention_effect([]) == []


def test_what_else_differs_is_said(pair):
    other = result("plain", 1.8, 2, trained={"epochs": 12, "model_args": {"width": 8}})
    (effect,) = twins.attention_effect([(pair[0], other)])
    assert effect.unequal == ("epochs: 20 and 12", "arguments: {} and {'width': 8}")
    off = result("plain", 1.8, 2, trained={"epochs": 20, "model_args": {"attention": False}})
    assert twins.attention_effect([(pair[0], off)])[0].unequal == ()


@pytest.mark.parametrize(
    ("digests", "said"), [(("a", "a"), ()), (("a", "b"), ("recipe: the two differ in a setting",)), (("a", ""), ())]
)
def test_recipes_are_told_apart_by_their_settings(digests, said):
    """Both are "best, changed": the words do not say whether they were changed alike."""
    trained = [{"epochs": 20, "model_args": {}, "recipe_name": "best, changed", "recipe": d} for d in digests]
    both = result("cbam", 2.2, 1, trained=trained[0]), result("plain", 1.8, 2, twin_of="cbam", trained=trained[1])
    assert twins.attention_effect([both])[0].unequal == said


def test_in_words_says_what_was_measured(pair):
    (effect,) = twins.attention_effect([pair])
    first, second, third, fourth, fifth = twins.in_words(effect)
    a, b = (f"{100 * v:.1f} %" for v in effect.accuracy)
    assert f"CBAM is right on {a} of the 700 faces of PrivateTest" in first and f"(PLAIN) on {b}" in first
    assert f"{100 * effect.difference:+.1f} points (95 % interval {100 * effect.interval.low:+.1f} to" in first
    assert "exact McNemar test p < 0.001), so in this run attention helped." in second
    assert "after Holm's correction" in third and f"{effect.calibration.nll:+.3f} nats" in fourth
    assert fifth.startswith("There are no three seeds")


def test_words_for_chance_harm_an_unequal_pair_and_seeds(pair):
    (chance,) = twins.attention_effect([(result("a", 2.0, 5), result("b", 2.0, 6))])
    assert chance.p_holm > 0.05 and "may be chance" in twins.in_words(chance)[1]
    (harm,) = twins.attention_effect([pair[::-1]])
    assert "so in this run attention hurt." in twins.in_words(harm)[1]
    other = result("plain", 1.8, 2, trained={"epochs": 12})
    (unequal,) = twins.attention_effect([(pair[0], other)])
    words = twins.in_words(unequal)
    assert "the two really differ" in words[1] and words[5] == "The pair is not quite equal: epochs: 20 and 12."
    rows = [
        {"model": m, "seed": s, "epochs": 20, "test_accuracy": v}
        for m, values in (("cbam", (0.66, 0.68, 0.70)), ("plain", (0.65, 0.65, 0.66)))
        for s, v in enumerate(values)
    ]
    (seeded,) = twins.attention_effect([pair], seed_rows=rows)
    assert seeded.seeds.difference.mean == pytest.approx(0.08 / 3)
    assert twins.in_words(seeded)[4].startswith(
        "Over 3 seeds, trained for 20 epochs each, the difference is +2.7 points"
    )
    assert twins.in_words(seeded)[4].endswith("from +1.0 to +4.0.")
    for left_out in (1, 2):  # the attention net keeps its three runs
        (fewer,) = twins.attention_effect([pair], seed_rows=rows[:-left_out])
        assert len(fewer.seeds.seeds) == 3 - left_out
        assert twins.in_words(fewer)[4].startswith("There are no three seeds that both were trained with")


def test_pairs_that_cannot_be_compared_are_refused(pair):
    labels = pair[0].labels()
    with pytest.raises(DataError, match="different labels"):
        twins.attention_effect([(pair[0], result("x", 2, 3, labels=(labels + 1) % 7))])
    elsewhere = pair[1].predictions.assign(row=pair[1].predictions["row"] + 5000)
    with pytest.raises(DataError, match="no face"):
        twins.attention_effect([(pair[0], ModelResult("x", "X", pair[1].metrics, elsewhere))])
    metrics = json.loads(json.dumps(pair[1].metrics))
    metrics["data"]["labels"] = metrics["data"]["labels"][::-1]
    with pytest.raises(DataError, match="different classes"):
        twins.attention_effect([(pair[0], ModelResult("x", "X", metrics, pair[1].predictions))])
