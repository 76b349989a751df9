"""Calibration to a neutral face: what it lowers, what it leaves alone, and that it works through pixels."""

import cv2
import numpy as np
import pytest

from fer.data.drawn_clip import draw_person, paint_people, pose_of
from fer.data.face_actions import Actions
from fer.errors import ConfigError, DataError
from fer.faces import crop
from fer.inference.neutral import NeutralCollector, measure_offset
from fer.labels import FER7, LabelSet
from fer.models import LIVE_MODEL

ANGRY, HAPPY, SAD, NEUTRAL = (FER7.index(n) for n in ("angry", "happy", "sad", "neutral"))


def faces_like(logits, n=40, noise=0.2, seed=0):
    z = np.array(logits, float) + np.random.default_rng(seed).normal(0, noise, (n, 7))
    p = np.exp(z)
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


#         angry disg fear happy sad  surp neutral
GRUMPY = [2.5, -2, -2, -2, -1, -2, 1]


def test_a_face_that_looks_angry_at_rest_becomes_neutral_and_only_angry_is_lowered():
    rest = faces_like(GRUMPY)
    assert (rest.argmax(1) == ANGRY).all()
    offset = measure_offset(rest, FER7)
    fresh = offset.apply(faces_like(GRUMPY, seed=1))
    assert (fresh.argmax(1) == NEUTRAL).mean() >= 0.9
    assert offset.lowering[ANGRY] > 1.5 and np.delete(offset.lowering, ANGRY).max() == 0
    assert fresh.dtype == np.float32 and np.allclose(fresh.sum(1), 1, atol=1e-5)


def test_other_expressions_are_left_as_they_were():
    offset = measure_offset(faces_like(GRUMPY), FER7)
    for logits in ([-1, -1, -1, 4, -1, -1, 0], [1, -1, 0, -2, 4, -2, 0], [7, 1, 0, -2, 0, -2, -1]):
        p = faces_like(logits, seed=2)
        assert (offset.apply(p).argmax(1) == p.argmax(1)).all()
    far = faces_like([-3, -3, -3, 6, -3, -3, 0], noise=0)
    assert offset.apply(far) == pytest.approx(far, abs=1e-5)


def test_who_looks_neutral_already_is_not_changed():
    rest = faces_like([-2, -2, -2, -2, -2, -2, 2])
    assert measure_offset(rest, FER7).lowering.tolist() == [0] * 7


def test_one_vector_and_rows_agree_and_the_lowering_is_limited():
    rest = faces_like([12, -9, -9, -9, -9, -9, -9])
    offset = measure_offset(rest, FER7, limit=3)
    assert offset.lowering.max() == 3
    assert offset.apply(rest[0]) == pytest.approx(offset.apply(rest)[0])
    assert np.isfinite(offset.apply(np.eye(7)[:2])).all()


def test_wrong_input():
    with pytest.raises(DataError, match="at least 5"):
        measure_offset(faces_like(GRUMPY, n=4), FER7)
    with pytest.raises(DataError):
        measure_offset(np.full((9, 6), 1 / 6), FER7)
    with pytest.raises(ConfigError, match="neutral"):
        NeutralCollector(LabelSet("two", ("happy", "sad")))
    with pytest.raises(ConfigError):
        NeutralCollector(FER7, seconds=0)


def test_the_collector_counts_seconds_in_which_the_face_is_seen():
    c = NeutralCollector(FER7, seconds=2)
    rest = faces_like(GRUMPY)
    assert all(c.add(rest[k], k * 0.1) is None for k in range(20))
    assert c.progress == pytest.approx(0.95)
    assert c.add(rest[20], 2.0) is not None
    gap = NeutralCollector(FER7, seconds=2)
    gap.add(rest[0], 0.0)
    assert gap.add(rest[1], 3.0) is None and gap.progress < 0.3 and not gap.failed
    gap.check_patience(6.5)
    assert gap.failed


RESTS = (
    Actions(brow_inner=-0.7, brow_outer=-0.1, brow_squeeze=0.6),
    Actions(corner=-0.6, pout=0.4),
    Actions(brow_inner=-0.5, brow_squeeze=0.4, corner=-0.5),
    Actions(lid_upper=-0.5, corner=-0.4, brow_inner=0.3),
)


def snapshot(person, expression, rng, side_px=96):
    """A face as the detector would cut it out: uint8 (S, S, 3)."""
    half = 0.82 * side_px * rng.uniform(0.95, 1.05)
    x, y = side_px + rng.normal(0, 2.4, 2)
    box = (x - half, y - half, x + half, y + half)
    light, angle = rng.uniform(0, 0.2), rng.uniform(0, 6.28)
    turned = {"roll": rng.normal(0, 0.04), "yaw": rng.normal(0, 0.08), "light": light, "light_angle": angle}
    head = (person, person.acts(expression, rng), pose_of(box, **turned))
    image = paint_people([head], 2 * side_px, 2 * side_px, rng, grain=6)
    image = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)
    return crop(image, tuple(round(v / 2) for v in box))


@pytest.mark.slow
def test_through_pixels_it_restores_neutral_and_costs_little():
    """Drawn subjects whose resting face a bundled net takes for something else."""
    import fer

    net = fer.load(LIVE_MODEL, backend="fastest")  # as moving pictures do
    restored, before, after = [], [], []
    for subject in range(60):
        rng = np.random.default_rng([8, subject])
        person = draw_person(1000 + subject, RESTS[subject % len(RESTS)], plain=True)
        rest = net.predict_proba([snapshot(person, "neutral", rng) for _ in range(12)])
        if np.bincount(rest.argmax(1), minlength=7).argmax() == NEUTRAL:
            continue
        offset = measure_offset(rest, FER7)
        fresh = offset.apply(net.predict_proba([snapshot(person, "neutral", rng) for _ in range(9)]))
        restored.append(np.bincount(fresh.argmax(1), minlength=7).argmax() == NEUTRAL)
        for i, name in enumerate(FER7.names[:NEUTRAL]):
            p = net.predict_proba([snapshot(person, name, rng) for _ in range(4)])
            before.append((p.argmax(1) == i).mean())
            after.append((offset.apply(p).argmax(1) == i).mean())
    print(
        f"{len(restored)} subjects, restored {np.mean(restored):.2f}, "
        f"others {np.mean(before):.3f} -> {np.mean(after):.3f}"
    )
    assert len(restored) >= 10, "too few subjects whose resting face looks like something else"
    assert np.mean(restored) >= 0.9
    assert np.mean(after) >= np.mean(before) - 0.05
