"""Deletion, insertion, pointing and sanity on cases whose numbers are known."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fer.data.dataset import Split
from fer.errors import ConfigError, ImageError
from fer.explain import explain, faithfulness
from fer.explain.faithfulness import EYES_BROWS, MOUTH, box_share, curves, rank_correlation
from fer.explain.study import choose, study
from fer.labels import FER7
from fer.specs import InputSpec
from fer.transforms import prepare


@dataclass
class Whiteness:
    """The probability of class 3 is the share of white in what the model sees; the others share the rest."""

    input_spec: InputSpec = field(default_factory=lambda: InputSpec(8, 1, 8))
    name: str = "whiteness"
    labels: object = FER7
    manifest: object = field(default_factory=lambda: SimpleNamespace(model="whiteness"))

    def predict_proba(self, faces):
        white = prepare(faces, self.input_spec).reshape(len(faces), -1).mean(axis=1) / 255
        p = np.repeat((1 - white[:, None]) / 6, 7, axis=1)
        p[:, 3] = white
        return p.astype(np.float32)


UPPER = np.zeros((8, 8), np.uint8)
UPPER[:4] = 255
BLACK = np.zeros((8, 8), np.uint8)
ROW_BY_ROW = np.repeat(np.arange(8, 0, -1.0)[:, None], 8, axis=1)  # hottest at the top


def test_deletion_and_insertion_by_hand():
    """Half the face is white. A map that knows it takes all white in the first half, its opposite in the second."""
    found = curves(Whiteness(), UPPER, ROW_BY_ROW, 3, steps=4, empty=BLACK)
    np.testing.assert_allclose(found.steps, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(found.deletion, [0.5, 0.25, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.insertion, [0, 0.25, 0.5, 0.5, 0.5], atol=1e-6)
    assert found.deletion_area == pytest.approx(0.125) and found.insertion_area == pytest.approx(0.375)
    opposite = curves(Whiteness(), UPPER, -ROW_BY_ROW, 3, steps=4, empty=BLACK)
    np.testing.assert_allclose(opposite.deletion, [0.5, 0.5, 0.5, 0.25, 0], atol=1e-6)
    assert opposite.insertion_area == pytest.approx(0.125)


def test_a_map_without_contrast_is_as_good_as_chance():
    """Pixels of equal heat come in random order, not row by row, which would be worth something here."""
    found = [curves(Whiteness(), UPPER, np.zeros((8, 8)), 3, 8, BLACK, seed=s) for s in range(20)]
    assert np.mean([f.deletion_area for f in found]) == pytest.approx(0.25, abs=0.02)
    again = curves(Whiteness(), UPPER, np.zeros((8, 8)), 3, 8, BLACK, seed=3)
    np.testing.assert_array_equal(again.deletion, found[3].deletion)


def test_only_what_the_model_sees_is_counted():
    """The border that is cropped away neither costs steps nor changes anything."""
    spec = InputSpec(8, 1, 12)
    face = np.zeros((12, 12), np.uint8)
    face[2:6, 2:10] = 255  # the upper half of what is seen
    heat = np.full((12, 12), 99.0)  # hottest where nothing is seen
    heat[2:10, 2:10] = ROW_BY_ROW
    found = curves(Whiteness(spec), face, heat, 3, steps=4, empty=np.zeros((12, 12), np.uint8))
    np.testing.assert_allclose(found.deletion, [0.5, 0.25, 0, 0, 0], atol=1e-6)
    large = curves(Whiteness(spec), np.kron(face, np.ones((3, 3), np.uint8)), np.kron(heat, np.ones((3, 3))), 3, 4)
    assert large.deletion[0] == pytest.approx(0.5, abs=0.01) and large.deletion_area < large.insertion_area


def test_what_is_taken_away_is_blurred_and_both_curves_share_their_ends():
    seen = []

    class Watching(Whiteness):
        def predict_proba(self, faces):
            seen.append(np.array(faces))
            return super().predict_proba(faces)

    face = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)
    found = curves(Watching(), face, ROW_BY_ROW, 3)
    (batch,) = seen
    assert len(batch) == 2 * faithfulness.STEPS
    gone = batch[faithfulness.STEPS]
    assert np.array_equal(batch[0], face) and gone.std() < face.std() / 2
    assert abs(gone.mean() - face.mean()) < 12, "as light as it was"
    assert found.insertion[0] == found.deletion[-1] and found.insertion[-1] == found.deletion[0]


def test_sizes_must_agree():
    with pytest.raises(ImageError, match="size of the face"):
        curves(Whiteness(), UPPER, np.zeros((4, 4)), 3)


# --- pointing ---------------------------------------------------------------------------------------------------------


def test_the_boxes_hold_the_features_of_a_drawn_face():
    """In their units the eyes lie 0.4 left and right of the origin and the mouth at 0.77."""
    from fer.data.face_canvas import BOX_HALF, BOX_Y

    def place(x, y):
        return (y - BOX_Y + BOX_HALF) / (2 * BOX_HALF), (x + BOX_HALF) / (2 * BOX_HALF)

    def inside(point, box):
        return box[0] < point[0] < box[1] and box[2] < point[1] < box[3]

    for s in (-1, 1):
        assert inside(place(0.4 * s, 0.0), EYES_BROWS) and inside(place(0.42 * s, -0.27), EYES_BROWS)
        assert inside(place(0.3 * s, 0.77), MOUTH)
    assert not inside(place(0, 0.5), EYES_BROWS) and not inside(place(0, 0.5), MOUTH), "the nose is in neither"


def test_shares_of_an_even_map_are_the_areas_of_the_boxes():
    even = np.ones((48, 48))
    assert box_share(even, EYES_BROWS) == pytest.approx(12 * 34 / 2304)
    assert box_share(even, MOUTH) == pytest.approx(11 * 24 / 2304)
    spot = np.zeros((96, 96))
    spot[78:80, 46:50] = 0.3  # 80 to 83 % down, in the middle
    assert box_share(spot, MOUTH) == 1 and box_share(spot, EYES_BROWS) == 0
    assert box_share(np.zeros((5, 5)), MOUTH) == 0


# --- sanity -----------------------------------------------------------------------------------------------------------


def test_rank_correlation_agrees_with_scipy():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a = rng.integers(0, 9, (6, 6)).astype(float)  # with ties
    b = a + rng.normal(0, 3, a.shape)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert rank_correlation(a, -a) == pytest.approx(-1) and rank_correlation(a, np.ones((6, 6))) == 0


def test_an_untrained_net_has_other_weights_and_leaves_the_trained_one_alone(untrained):
    import fer

    trained = fer.load(untrained("vit_tiny"))
    before = {k: v.clone() for k, v in trained.module.state_dict().items()}
    other = faithfulness.reinitialised(trained, 1)
    assert all(torch.equal(v, before[k]) for k, v in trained.module.state_dict().items())
    for name, p in other.module.named_parameters():
        if p.ndim > 1:  # norms and biases may begin at the same 0 and 1
            assert not torch.equal(p, before[name]), name
    twin, third = faithfulness.reinitialised(trained, 1), faithfulness.reinitialised(trained, 2)
    face = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    p1, p2, p3 = (net.predict_proba([face]) for net in (other, twin, third))
    assert np.array_equal(p1, p2) and not np.array_equal(p1, p3)


def test_the_cbam_map_of_the_trained_net_is_not_that_of_an_untrained_one():
    """The bundled attention_cnn on drawn faces: what it attends to is learnt, not given by its architecture."""
    import fer
    from fer.data.synthetic import draw_face

    trained = fer.load("attention_cnn")
    rng = np.random.default_rng(0)
    faces = [draw_face(name, rng) for name in FER7.names]
    for seed in range(2):
        other = faithfulness.reinitialised(trained, seed)
        pairs = [(explain(trained, f, "cbam"), explain(other, f, "cbam")) for f in faces]
        found = [rank_correlation(a[2:-2, 2:-2], b[2:-2, 2:-2]) for a, b in pairs]
        assert max(found) < 0.8 and abs(np.mean(found)) < 0.6, found
        assert all(
            rank_correlation(a, explain(trained, f, "cbam")) == 1 for (a, _), f in zip(pairs, faces, strict=True)
        )


# --- the study --------------------------------------------------------------------------------------------------------


def test_faces_are_chosen_by_seed_and_balanced_from_the_start():
    labels = np.array([0] * 50 + [1] * 30 + [2] * 2)
    split = Split(np.zeros((82, 8, 8), np.uint8), np.eye(7, dtype=np.float32)[labels], np.arange(82))
    rows = choose(split, 20, seed=1)
    assert len(set(rows)) == 20 and np.bincount(labels[rows]).tolist() == [9, 9, 2]
    assert np.bincount(labels[rows[:6]]).tolist() == [2, 2, 2]
    assert np.array_equal(rows, choose(split, 20, seed=1)) and not np.array_equal(rows, choose(split, 20, seed=2))
    assert sorted(choose(split, 500)) == list(range(82))
    with pytest.raises(ConfigError, match="at least 1"):
        choose(split, 0)


def test_a_study_holds_what_its_parts_say(untrained):
    import fer

    predictor = fer.load(untrained("attention_cnn"))
    faces = np.random.default_rng(0).integers(0, 256, (4, 48, 48), dtype=np.uint8)
    told = []
    found = study(predictor, faces, ["grad_cam", "occlusion"], 1, on_method=lambda name, m: told.append((name, m["n"])))
    assert told == [("grad_cam", 4), ("occlusion", 1)] and sum(found.counts.values()) == 4
    targets = predictor.predict_proba(faces).argmax(axis=1)
    heats = [explain(predictor, f, "grad_cam", int(t)) for f, t in zip(faces, targets, strict=True)]
    m = found.methods["grad_cam"]
    lines = [curves(predictor, f, h, int(t)) for f, h, t in zip(faces, heats, targets, strict=True)]
    assert m["deletion"] == pytest.approx(np.mean([c.deletion_area for c in lines]), abs=1e-4)
    np.testing.assert_allclose(m["insertion_curve"], np.mean([c.insertion for c in lines], axis=0), atol=1e-4)
    assert m["mouth"] == pytest.approx(np.mean([box_share(h, MOUTH) for h in heats]), abs=1e-4)
    # of 48 px the net sees 44, and both boxes lie within
    assert m["area"] == pytest.approx((12 * 34 + 11 * 24) / 44**2, abs=1e-4) and 0 <= m["sanity"] <= 1
    for c in range(7):
        own = [h for h, t in zip(heats, targets, strict=True) if t == c]
        expected = np.rint(255 * np.mean(own, axis=0)) if own else np.zeros((48, 48))
        assert np.abs(found.maps["grad_cam"][c] - expected).max() <= 1 and found.counts[FER7.names[c]] == len(own)
    again = study(predictor, faces, ["grad_cam"])
    assert {k: v for k, v in again.methods["grad_cam"].items() if k != "ms"} == {
        k: v for k, v in m.items() if k != "ms"
    }


def test_a_study_of_a_model_without_a_net():
    found = study(Whiteness(), UPPER[None])
    assert list(found.methods) == ["occlusion"] and found.methods["occlusion"]["sanity"] is None
    with pytest.raises(ConfigError, match="no faces"):
        study(Whiteness(), UPPER[:0])
    with pytest.raises(ConfigError, match="needs a convolutional net"):
        study(Whiteness(), UPPER[None], ["grad_cam"])
