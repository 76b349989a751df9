import json

import numpy as np
import pytest

from fer.errors import DataError
from fer.evaluation import crowd

NAMES = ("angry", "happy", "sad")
VOTES = np.array(
    [
        [1.0, 0.0, 0.0],  # unanimous
        [0.0, 1.0, 0.0],  # unanimous
        [0.2, 0.8, 0.0],
        [0.5, 0.5, 0.0],  # two lead
        [0.0, 0.0, 0.0],  # nobody voted for a class of this set
    ]
)
LABELS = np.array([0, 2, 1, 1, 0])


def test_facts_by_hand():
    facts = crowd.crowd_facts(VOTES, LABELS, NAMES)
    assert facts["n"] == 4 and facts["unanimous_n"] == 2
    assert facts["agreement"] == pytest.approx((1 + 1 + 0.8 + 0.5) / 4)
    assert facts["label_agreement"] == 0.75  # the second is not; the fourth is one of the two that lead
    assert facts["label_agreement_by_lot"] == 0.625  # which the crowd names every other time
    entropy = (-0.2 * np.log(0.2) - 0.8 * np.log(0.8) + np.log(2)) / 4
    assert facts["crowd_entropy"] == pytest.approx(entropy, abs=1e-6)
    assert facts["agreement_per_class"] == {"angry": 0.75, "happy": 0.9, "sad": None}
    assert json.loads(json.dumps(facts)) == facts


def test_scores_by_hand():
    probs = np.array([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.6, 0.3], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
    scores = crowd.crowd_scores(probs, VOTES, LABELS, NAMES)
    expected = -(np.log(0.7) + np.log(0.3) + 0.2 * np.log(0.1) + 0.8 * np.log(0.6) + 0.5 * np.log(0.2 * 0.7)) / 4
    assert scores["cross_entropy"] == pytest.approx(expected, abs=1e-6)
    assert scores["unanimous_accuracy"] == 0.5 and scores["majority_accuracy"] == 0.75
    assert scores["n"] == 4 and scores["label_agreement"] == 0.75
    assert set(scores) == {
        "n",
        "cross_entropy",
        "crowd_entropy",
        "unanimous_n",
        "unanimous_accuracy",
        "agreement",
        "majority_accuracy",
        "label_agreement",
    }


def test_no_model_beats_the_entropy_of_the_crowd_and_the_crowd_itself_reaches_it():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(10, [0.5, 0.3, 0.2], 300)
    votes, labels = counts / 10, counts.argmax(axis=1)
    own = crowd.crowd_scores(votes, votes, labels, NAMES)
    assert own["cross_entropy"] == pytest.approx(own["crowd_entropy"], abs=1e-6) and own["majority_accuracy"] == 1
    other = crowd.crowd_scores(rng.dirichlet([5, 3, 2], 300), votes, labels, NAMES)
    assert other["cross_entropy"] > other["crowd_entropy"]


def test_the_ceiling_is_what_a_random_annotator_reaches():
    rng = np.random.default_rng(1)
    counts = rng.multinomial(10, [0.6, 0.3, 0.1], 4000)
    votes = counts / 10
    annotator = (votes.cumsum(axis=1) < rng.random((4000, 1))).sum(axis=1)
    facts = crowd.crowd_facts(votes, counts.argmax(axis=1), NAMES)
    clear = np.sort(votes, axis=1)[:, -1] > np.sort(votes, axis=1)[:, -2]
    reached = (annotator == votes.argmax(axis=1))[clear].mean()
    expected = votes.max(axis=1)[clear].mean()
    assert reached == pytest.approx(expected, abs=0.02) and facts["agreement"] == pytest.approx(
        votes.max(axis=1).mean()
    )


def test_no_votes_at_all():
    scores = crowd.crowd_scores(np.full((2, 3), 1 / 3), np.zeros((2, 3)), np.array([0, 1]), NAMES)
    assert scores["n"] == scores["unanimous_n"] == 0
    assert all(scores[k] is None for k in scores if k not in ("n", "unanimous_n"))
    assert set(crowd.crowd_facts(np.zeros((2, 3)), np.array([0, 1]), NAMES)["agreement_per_class"].values()) == {None}


@pytest.mark.parametrize(
    ("votes", "message"),
    [
        (np.full((2, 4), 0.25), "shape"),
        (np.array([[1.0, 0, 0], [3, 4, 3]]), "row 1"),
        (np.array([[1.5, -0.5, 0], [1, 0, 0]]), "row 0"),
        (np.array([[1.0, 0, 0], [np.nan, 0, 0]]), "row 1"),
    ],
)
def test_votes_that_are_no_shares_are_refused(votes, message):
    with pytest.raises(DataError, match=message):
        crowd.crowd_facts(votes, np.array([0, 1]), NAMES)
