import dataclasses

import numpy as np
import pytest
import torch

from fer.errors import ImageError
from fer.specs import Augment, InputSpec
from fer.transforms import N_RANDOM, augment, keyed_uniform, normalise, prepare, ten_crop

STILL = Augment(flip=0, rotate_deg=0, scale_min=1, scale_max=1, shift=0, brightness=0, contrast=0, erase=0)
SPEC = InputSpec(size_px=44, channels=1, resize_px=48)


def faces(n=6, shape=(48, 48), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def random(n, seed=0, epoch=1):
    return keyed_uniform(seed, epoch, np.arange(n), N_RANDOM)


def test_prepare_crops_the_centre_and_leaves_the_input_alone():
    x = faces()
    before = x.copy()
    np.testing.assert_array_equal(prepare(x, SPEC), x[:, 2:46, 2:46])
    np.testing.assert_array_equal(prepare(x, SPEC, crop=False), x)
    np.testing.assert_array_equal(x, before)


def test_prepare_takes_any_size_and_both_colour_modes():
    mixed = [faces(1, (90, 70))[0], faces(1, (20, 30, 3))[0], faces(1, (1, 1, 3))[0]]
    assert prepare(mixed, SPEC).shape == (3, 44, 44)
    rgb = InputSpec(size_px=32, channels=3, resize_px=32)
    assert prepare(mixed, rgb).shape == (3, 32, 32, 3)
    assert prepare(np.empty((0, 48, 48), np.uint8), SPEC).shape == (0, 44, 44)


def test_grey_is_luma_of_rgb_not_of_bgr():
    red = np.zeros((48, 48, 3), np.uint8)
    red[..., 0] = 255
    assert prepare([red], SPEC)[0, 0, 0] == pytest.approx(0.299 * 255, abs=1)


def test_a_batch_equals_its_faces_one_by_one():
    x = faces(4, (60, 60, 3))
    np.testing.assert_array_equal(prepare(x, SPEC), np.concatenate([prepare(x[i : i + 1], SPEC) for i in range(4)]))


@pytest.mark.parametrize(
    "bad", [np.zeros((48, 48), np.float32), np.zeros((48, 48, 4), np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_prepare_refuses_what_is_no_face(bad):
    with pytest.raises(ImageError, match="face 0"):
        prepare([bad], SPEC)


@pytest.mark.parametrize("one", [np.zeros((60, 50, 3), np.uint8), np.zeros((48, 48), np.uint8)])
def test_a_single_face_in_place_of_a_batch_is_refused(one):
    with pytest.raises(ImageError, match=r"pass \[face\]"):
        prepare(one, SPEC)


def test_normalise_divides_once():
    x = torch.full((1, 44, 44), 255, dtype=torch.uint8)
    assert normalise(x, SPEC).shape == (1, 1, 44, 44)
    assert normalise(x, SPEC).unique().item() == pytest.approx((1 - SPEC.mean) / SPEC.std)


@pytest.mark.parametrize("size", [48, 44, 40, 43])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_that_does_nothing_equals_the_evaluation_path(size, channels):
    spec = InputSpec(size_px=size, channels=channels, resize_px=48)
    x = faces(5, (48, 48) if channels == 1 else (48, 48, 3))
    expected = normalise(torch.from_numpy(np.ascontiguousarray(prepare(x, spec))), spec)
    got = augment(torch.from_numpy(prepare(x, spec, crop=False)), random(5), STILL, spec)
    torch.testing.assert_close(got, expected, atol=2e-4, rtol=0)


def test_flip_is_horizontal():
    spec = InputSpec(48, 1, 48)
    x = faces(3)
    how = Augment(**{**STILL.__dict__, "flip": 1.0})
    got = augment(torch.from_numpy(x), random(3), how, spec)
    expected = normalise(torch.from_numpy(x[:, :, ::-1].copy()), spec)
    torch.testing.assert_close(got, expected, atol=2e-4, rtol=0)


def test_shift_moves_by_at_most_what_it_says():
    spec = InputSpec(48, 1, 48)
    x = np.zeros((200, 48, 48), np.uint8)
    x[:, 22:26, 22:26] = 255
    how = Augment(**{**STILL.__dict__, "shift": 0.25})
    y = augment(torch.from_numpy(x), random(200), how, spec)[:, 0] * spec.std + spec.mean
    ticks = torch.arange(48) - 23.5
    mass = y.sum((1, 2))
    dx, dy = (y.sum(1) * ticks).sum(1) / mass, (y.sum(2) * ticks).sum(1) / mass
    for d in (dx, dy):
        assert d.abs().max() <= 12.01
        assert d.std() > 5  # uniform on +-12 px: 6.9


def test_rotation_and_zoom_keep_the_centre():
    spec = InputSpec(48, 1, 48)
    x = np.zeros((100, 48, 48), np.uint8)
    x[:, 23:25, 23:25] = 255
    how = Augment(**{**STILL.__dict__, "rotate_deg": 30, "scale_min": 0.8, "scale_max": 1.2})
    y = augment(torch.from_numpy(x), random(100), how, spec)[:, 0] * spec.std + spec.mean
    assert (y[:, 22:26, 22:26].sum((1, 2)) / y.sum((1, 2))).min() > 0.95


def test_erasing_fills_one_rectangle_at_the_rate_asked_for():
    spec = InputSpec(48, 1, 48)
    x = np.full((2000, 48, 48), 128, np.uint8)
    how = Augment(**{**STILL.__dict__, "erase": 0.4, "erase_area_max": 0.2})
    y = augment(torch.from_numpy(x), random(2000), how, spec)
    plain = (128 / 255 - spec.mean) / spec.std
    changed = ((y - plain).abs() > 1e-3).flatten(1)
    assert 0.33 < changed.any(1).float().mean() < 0.45
    assert changed.float().mean(1).max() <= 0.21
    whole = changed[changed.any(1)][0].view(48, 48)
    rows, cols = whole.any(1), whole.any(0)
    assert whole.sum() == rows.sum() * cols.sum(), "the erased pixels form a rectangle"


def test_random_numbers_depend_on_seed_epoch_and_index_only():
    a = keyed_uniform(7, 3, np.arange(100), 5)
    np.testing.assert_array_equal(a[[40, 2]], keyed_uniform(7, 3, np.array([40, 2]), 5))
    for other in (keyed_uniform(8, 3, np.arange(100), 5), keyed_uniform(7, 4, np.arange(100), 5)):
        assert (a != other).all()
    big = keyed_uniform(0, 0, np.arange(50_000), 4)
    assert big.min() >= 0 and big.max() < 1
    np.testing.assert_allclose(big.mean(0), 0.5, atol=0.01)
    np.testing.assert_allclose(np.corrcoef(big.T), np.eye(4), atol=0.02)
    assert abs(np.corrcoef(big[:-1, 0], big[1:, 0])[0, 1]) < 0.02


def test_randaugment_gives_each_face_its_own_operations():
    x = torch.from_numpy(faces(64))
    how = dataclasses.replace(STILL, randaugment=2)
    spec = InputSpec(48, 1, 48)
    out = augment(x, random(64), how, spec)
    plain = normalise(x, spec)
    changed = [not torch.allclose(a, b, atol=1e-5) for a, b in zip(out, plain, strict=True)]
    assert 50 < sum(changed) < 64, "identity is one of thirteen operations, drawn twice: 1 in 169 stays"
    alone = augment(x[7:8], random(64)[7:8], how, spec)
    torch.testing.assert_close(alone[0], out[7])
    assert not torch.equal(out, augment(x, random(64, epoch=2), how, spec))
    weak = augment(x, random(64), dataclasses.replace(how, randaugment=1, magnitude=1), spec)
    strong = augment(x, random(64), dataclasses.replace(how, randaugment=1, magnitude=20), spec)
    far = lambda a: (a - plain).abs().mean()  # noqa: E731
    assert far(weak) < far(strong)
    assert out.min() >= -2.01 and out.max() <= 2.01


def test_saturation_changes_colours_and_keeps_grey_and_luma():
    spec = InputSpec(48, 3, 48)
    how = dataclasses.replace(STILL, saturation=0.3)
    grey = torch.from_numpy(np.repeat(faces(4)[..., None], 3, axis=3))
    torch.testing.assert_close(augment(grey, random(4), how, spec), normalise(grey, spec), atol=1e-5, rtol=0)
    colour = torch.from_numpy(np.random.default_rng(0).integers(90, 160, (4, 48, 48, 3), dtype=np.uint8))
    before, after = normalise(colour, spec), augment(colour, random(4), how, spec)
    assert (before - after).abs().amax((1, 2, 3)).min() > 0.01
    luma = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    torch.testing.assert_close((before * luma).sum(1), (after * luma).sum(1), atol=1e-4, rtol=0)


def test_ten_crops_are_corners_centre_and_their_mirror_images():
    x = faces()
    crops = ten_crop(x, SPEC)
    assert crops.shape == (10, 6, 44, 44)
    starts = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2)]
    for crop, mirrored, (y, x0) in zip(crops[:5], crops[5:], starts, strict=True):
        np.testing.assert_array_equal(crop, x[:, y : y + 44, x0 : x0 + 44])
        np.testing.assert_array_equal(mirrored, crop[:, :, ::-1])
    np.testing.assert_array_equal(crops[4], prepare(x, SPEC))


def test_a_face_without_margin_is_enlarged_for_ten_crops():
    spec = InputSpec(size_px=48, channels=1, resize_px=48)
    ramp = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (1, 48, 1))
    crops = ten_crop(ramp, spec)
    assert crops.shape == (10, 1, 48, 48)
    left, right = crops[0, 0, 24].astype(int), crops[1, 0, 24].astype(int)
    assert left[0] == 0 and right[-1] == 255 and left[-1] < 255 < 2 * right[0] + 255
    # 52 px hold what 48 did: a step is 48/52 of what it was, and the right crop lies four of them further
    assert np.abs((right - left) - 4 * 255 / 51).max() <= 2
    colour = InputSpec(size_px=32, channels=3, resize_px=32)
    assert ten_crop([faces(1, (90, 70))[0]], colour).shape == (10, 1, 32, 32, 3)
