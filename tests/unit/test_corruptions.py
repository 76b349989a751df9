"""Corruptions: do what they say, grow with the strength, and come out the same every time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fer.corruptions import CORRUPTIONS, EYES, MOUTH, STRENGTHS, corrupt
from fer.errors import ConfigError, ImageError


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """Blotches of three pixels and grain, so that blur and downscaling have something to take away."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.integers(60, 200, (6, 17, 17)), np.ones((1, 3, 3)))[:, 1:49, 2:50]
    return (coarse + rng.integers(0, 20, coarse.shape)).astype(np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("colour", [False, True])
def test_shape_type_and_originals_are_kept(name, colour, faces):
    given = np.repeat(faces[..., None], 3, axis=3) if colour else faces
    before = given.copy()
    out = corrupt(given, name, 3)
    assert out.shape == given.shape and out.dtype == np.uint8
    assert (given == before).all() and (out != given).any()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_is_further_from_the_original(name, faces):
    distance = [np.abs(corrupt(faces, name, s).astype(float) - faces).mean() for s in STRENGTHS]
    assert all(a < b for a, b in itertools.pairwise(distance)), distance


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_gives_the_same_faces_whatever_the_others_are(name, faces):
    assert (corrupt(faces, name, 4) == corrupt(faces, name, 4)).all()
    assert (corrupt(faces[:2], name, 4) == corrupt(faces, name, 4)[:2]).all()


@pytest.mark.parametrize("name", ["noise", "brightness", "rotation"])
def test_another_seed_gives_other_faces(name, faces):
    assert (corrupt(faces, name, 4, seed=1) != corrupt(faces, name, 4)).any()


def test_a_face_is_turned_the_same_way_at_every_strength(faces):
    bright = np.array([corrupt(faces, "brightness", s).mean(axis=(1, 2)) > faces.mean(axis=(1, 2)) for s in STRENGTHS])
    assert (bright == bright[0]).all() and 0 < bright[0].sum() < len(faces)


def test_noise_blur_and_contrast_have_the_size_they_say():
    grey = np.full((4, 96, 96), 128, dtype=np.uint8)
    assert corrupt(grey, "noise", 1).astype(float).std() == pytest.approx(8, rel=0.03)
    halves = np.zeros((1, 48, 48), dtype=np.uint8)
    halves[:, :, 24:] = 200
    low = corrupt(halves, "contrast", 2)
    assert np.ptp(low) == pytest.approx(100, abs=1) and low.mean() == pytest.approx(halves.mean(), abs=1)
    steep = np.diff(corrupt(halves, "blur", 3)[0, 20].astype(float)).max()
    assert steep == pytest.approx(200 * 0.32, rel=0.1)  # the peak of a normal density of 1.2 px, over one pixel


def test_blur_grows_with_the_face():
    small = np.zeros((1, 48, 48), dtype=np.uint8)
    small[:, :, 24:] = 200
    large = np.kron(small, np.ones((1, 4, 4))).astype(np.uint8)
    at_48 = corrupt(small, "blur", 5)[0, 24].astype(float)
    at_192 = corrupt(large, "blur", 5)[0, 96].astype(float).reshape(48, 4).mean(axis=1)
    assert np.abs(at_48 - at_192).max() < 4


@pytest.mark.parametrize(("name", "box"), [("occluded_eyes", EYES), ("occluded_mouth", MOUTH)])
def test_only_the_box_is_covered_and_at_full_strength_all_of_it(name, box, faces):
    left, top, right, bottom = (round(48 * v) for v in box)
    changed = (corrupt(faces, name, 5) != faces).any(axis=0)
    outside = changed.copy()
    outside[top:bottom, left:right] = False
    assert not outside.any() and changed[top:bottom, left:right].all()
    covered = corrupt(faces, name, 5)[0, top:bottom, left:right]
    assert (covered == np.rint(faces[0].mean())).all()


def test_eyes_lie_above_the_mouth():
    assert EYES[3] < MOUTH[1]


def test_red_stays_red_through_jpeg():
    red = np.zeros((1, 48, 48, 3), dtype=np.uint8)
    red[..., 0] = 200
    out = corrupt(red, "jpeg", 1).astype(int)
    assert out[..., 0].mean() > 150 > 60 > out[..., 2].mean()


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (("fog", 1), ConfigError, "unknown corruption 'fog'"),
        (("nois", 1), ConfigError, "did you mean 'noise'"),
        (("noise", 0), ConfigError, "strength must be 1 to 5"),
        (("noise", 6), ConfigError, "strength must be 1 to 5"),
    ],
)
def test_mistakes_are_explained(args, error, message, faces):
    with pytest.raises(error, match=message):
        corrupt(faces, *args)


def test_faces_of_another_kind_are_refused(faces):
    for wrong in (faces.astype(float), faces[0], np.repeat(faces[..., None], 4, axis=3)):
        with pytest.raises(ImageError, match="expected faces uint8"):
            corrupt(wrong, "noise", 1)
