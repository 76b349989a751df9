import numpy as np

from fer.evaluation import gallery


def test_confident_mistakes_are_wrong_and_sorted():
    probs = np.array([[0.9, 0.1], [0.45, 0.55], [0.3, 0.7], [0.95, 0.05], [0.2, 0.8]])
    labels = np.array([0, 0, 0, 1, 0])
    assert gallery.confident_mistakes(probs, labels, 10).tolist() == [3, 4, 2, 1]
    assert gallery.confident_mistakes(probs, labels, 2).tolist() == [3, 4]
    assert gallery.confident_mistakes(probs, labels, 0).tolist() == []
    assert gallery.confident_mistakes(probs[:1], labels[:1], 5).shape == (0,)


def test_disagreements_need_two_answers_and_put_the_surest_clash_first():
    a = np.array([[0.6, 0.4], [0.99, 0.01], [0.99, 0.01], [0.7, 0.3]])
    b = np.array([[0.4, 0.6], [0.01, 0.99], [0.51, 0.49], [0.3, 0.7]])
    assert gallery.disagreements([a, b], np.array([0, 0, 0, 0]), 9).tolist() == [1, 3, 0]
    assert gallery.disagreements([a, a], np.array([0, 0, 0, 0]), 9).tolist() == []
    assert gallery.disagreements([a], np.array([0, 0, 0, 0]), 9).tolist() == []


def test_disagreements_do_not_depend_on_the_order_of_the_models():
    rng = np.random.default_rng(0)
    probs = [rng.dirichlet(np.ones(4), 50) for _ in range(3)]
    labels = np.zeros(50, dtype=int)
    assert gallery.disagreements(probs, labels, 20).tolist() == gallery.disagreements(probs[::-1], labels, 20).tolist()


def planted(seed=0, n=1500, share=0.06):
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, n, p=[0.4, 0.25, 0.15, 0.15, 0.05])
    models = []
    for _ in range(3):
        logits = rng.normal(size=(n, 5)) + 2.5 * np.eye(5)[truth]
        models.append(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))
    flipped = rng.random(n) < share
    return models, np.where(flipped, (truth + rng.integers(1, 5, n)) % 5, truth), flipped


def test_planted_label_errors_are_found():
    models, labels, flipped = planted()
    found = gallery.label_errors(models, labels, 50)
    assert len(found) == 50 and len(set(found.tolist())) == 50
    assert flipped[found].mean() > 0.85
    assert flipped[gallery.label_errors(models, labels, 20)].mean() == 1
    everything = gallery.label_errors(models, labels, 10_000)
    assert flipped[everything].sum() > 0.6 * flipped.sum()
    assert len(everything) < 0.15 * len(labels)  # suspects only, not a ranking of all faces


def test_label_errors_respect_that_a_model_is_less_sure_of_some_classes():
    # Faces of class 1 never get more than .45; .45 is confident for it, .55 is not for class 0, whose faces get .9.
    own = np.array([[0.9, 0.1]] * 8 + [[0.58, 0.42]] * 2 + [[0.55, 0.45]] * 6)
    labels = np.array([0] * 10 + [1] * 6)
    found = gallery.label_errors([own], labels, 10)
    assert set(found.tolist()).isdisjoint(range(10, 16))  # not suspect, although the model answers 0 for them
    labels[0] = 1
    assert gallery.label_errors([own], labels, 1).tolist() == [0]
