import numpy as np
import pytest

from fer.errors import DataError
from fer.evaluation import leakage


def pictures(n, seed, size=48):
    """Smooth random grey pictures: neighbouring pixels belong together, as in a photograph."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(np.random.default_rng(seed).normal(size=(n, size, size)), (0, 4, 4))
    low, high = noise.min(axis=(1, 2), keepdims=True), noise.max(axis=(1, 2), keepdims=True)
    return ((noise - low) / (high - low) * 200 + 20).astype(np.uint8)


def test_copies_are_found_and_strangers_are_not():
    train = pictures(400, 1)
    brighter = np.clip(train[10:20].astype(int) + 15, 0, 255).astype(np.uint8)
    one_pixel = train[30:40].copy()
    one_pixel[:, 5, 5] ^= 1
    shifted = np.roll(train[50:60], 1, axis=2)
    found = leakage.find(np.concatenate([train[:10], brighter, one_pixel, shifted, pictures(60, 2)]), train)
    assert found.exact.tolist() == [True] * 10 + [False] * 90
    assert found.near[:10].sum() == 0  # an exact copy is not counted twice
    assert found.near[10:30].all()
    assert found.near[30:40].sum() >= 8
    assert found.near[40:].sum() == 0
    assert (found.either == (found.exact | found.near)).all()


def test_colour_is_compared_by_its_grey_and_sizes_may_differ():
    train = pictures(30, 3)
    colour = np.repeat(train[:5, :, :, None], 3, axis=3)
    assert leakage.find(colour, train).exact.all()
    larger = np.kron(train[:5], np.ones((1, 2, 2), dtype=np.uint8))
    found = leakage.find(larger, train)
    assert not found.exact.any() and found.near.all()


def test_blank_faces_are_near_nothing_but_may_be_exact():
    train = np.concatenate([pictures(5, 4), np.zeros((1, 48, 48), np.uint8)])
    found = leakage.find(np.stack([np.full((48, 48), 7, np.uint8), np.zeros((48, 48), np.uint8)]), train)
    assert found.exact.tolist() == [False, True] and found.near.tolist() == [False, False]


def test_nothing_seen_and_nothing_asked():
    some, none = pictures(3, 5), np.empty((0, 48, 48), np.uint8)
    assert not leakage.find(some, none).either.any()
    assert leakage.find(none, some).either.shape == (0,)


def test_hashes_are_64_bits_that_follow_the_picture():
    ramp = np.tile(np.arange(48, dtype=np.uint8) * 5, (48, 1))
    assert leakage.dhash(ramp[None])[0] == np.uint64(2**64 - 1)
    assert leakage.dhash(ramp[None, :, ::-1])[0] == 0
    assert leakage.phash(pictures(4, 6)).dtype == np.uint64


@pytest.mark.parametrize("bad", [np.zeros((2, 8, 8)), np.zeros((8, 8), np.uint8), np.zeros((2, 8, 8, 4), np.uint8)])
def test_faces_must_be_uint8_images(bad):
    with pytest.raises(DataError, match="uint8"):
        leakage.find(bad, pictures(2, 7))


def test_copies_within_and_across_splits_and_under_other_labels():
    faces = pictures(60, seed=5)
    train, test = faces[:40].copy(), faces[40:].copy()
    train_labels, test_labels = np.arange(40) % 7, np.arange(20) % 7
    train[3] = train[10]  # labels 3 and 3
    train[5] = train[20]  # labels 5 and 6
    brighter = np.clip(train[30].astype(int) + 12, 0, 255).astype(np.uint8)
    train[31] = brighter  # near, labels 2 and 3
    test[0] = train[7]  # labels 0 and 0
    test[1] = train[8]  # labels 1 and 1
    test_labels[1] = 4
    test[2] = np.clip(train[9].astype(int) + 9, 0, 255)  # near, labels 2 and 2
    found = leakage.copies({"train": (train, train_labels), "test": (test, test_labels)})
    assert set(found) == {("train", "train"), ("train", "test"), ("test", "train"), ("test", "test")}

    def where(a, b):
        c = found[a, b]
        return [np.flatnonzero(m).tolist() for m in (c.exact, c.near, c.other_label)]

    assert where("train", "train") == [[3, 5, 10, 20], [30, 31], [5, 20, 30, 31]]
    assert where("test", "train") == [[0, 1], [2], [1]]
    assert where("train", "test") == [[7, 8], [9], [8]]
    assert where("test", "test") == [[], [], []]
    single = leakage.find(test, train)
    np.testing.assert_array_equal(single.exact, found["test", "train"].exact)
    np.testing.assert_array_equal(single.near, found["test", "train"].near)


def test_a_picture_that_occurs_often_is_counted_face_by_face():
    faces = np.repeat(pictures(1, seed=6), 5, axis=0)
    found = leakage.copies({"a": (faces, np.array([0, 0, 0, 1, 0])), "b": (faces[:1], np.array([0]))})
    assert found["a", "a"].exact.all() and not found["a", "a"].near.any() and found["a", "a"].other_label.all()
    assert not found["b", "b"].exact.any()
    assert found["a", "b"].other_label.tolist() == [False, False, False, True, False]


def test_blank_faces_are_copies_of_the_same_blank_only():
    faces = np.stack([np.full((48, 48), v, np.uint8) for v in (0, 0, 90)])
    found = leakage.copies({"a": (faces, np.zeros(3, int))})["a", "a"]
    assert found.exact.tolist() == [True, True, False]
    assert not found.near.any()


def test_colour_counts_for_exact_copies_and_sizes_have_to_agree():
    grey = pictures(2, seed=7)[:, :, :, None].repeat(3, axis=3)
    tinted = grey[:1].copy()
    tinted[0, 0, 0] = (*tinted[0, 0, 0, :2], tinted[0, 0, 0, 2] ^ 1)
    found = leakage.copies({"a": (grey, np.zeros(2, int)), "b": (tinted, np.zeros(1, int))})
    assert (found["b", "a"].exact.tolist(), found["b", "a"].near.tolist()) == ([False], [True])
    assert leakage.copies({"a": (grey[:0], np.zeros(0, int))})["a", "a"].exact.shape == (0,)
    with pytest.raises(DataError, match="differ in size"):
        leakage.copies({"a": (grey, np.zeros(2, int)), "b": (grey[:, :8], np.zeros(2, int))})
    with pytest.raises(DataError, match="2 faces, but 1 labels"):
        leakage.copies({"a": (grey, np.zeros(1, int))})
