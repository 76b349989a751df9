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
