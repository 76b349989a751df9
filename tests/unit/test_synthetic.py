"""Drawn faces: seeded, balanced, readable by their expression only, and faces to a detector."""

import numpy as np
import pytest

from fer.data import open_dataset
from fer.data.face_actions import EXPRESSIONS, draw_actions
from fer.data.synthetic import BACKGROUNDS, draw_face, draw_scene, read_synthetic
from fer.errors import ConfigError
from fer.faces import detect
from fer.faces.types import iou
from fer.labels import AFFECTNET8, EMOJI, FER7

NAMES = list(EMOJI)


@pytest.fixture(scope="module")
def small():
    return read_synthetic(n=40, seed=3)


def test_splits_are_balanced_grey_and_framed_like_fer2013(small):
    assert small.name == "synthetic" and small.label_set is FER7
    assert {k: len(s) for k, s in small.splits.items()} == {"train": 280, "val": 56, "test": 56}
    for split in small.splits.values():
        assert split.faces.shape[1:] == (48, 48) and split.faces.dtype == np.uint8
        assert len(set(np.bincount(split.labels, minlength=7))) == 1
    rows = np.concatenate([s.rows for s in small.splits.values()])
    assert len(set(rows.tolist())) == len(rows)
    flat = np.concatenate([s.faces.reshape(len(s), -1) for s in small.splits.values()])
    assert len(np.unique(flat, axis=0)) == len(flat), "the same face twice"


def test_by_default_a_hundred_a_class():
    import inspect

    n = inspect.signature(read_synthetic).parameters["n"].default
    faces = sum(len(s.faces) for s in read_synthetic(n=n, size_px=16).splits.values())
    assert faces >= 100 * 7, "training, validation and test together"


def test_the_seed_decides_everything():
    a, b, c = read_synthetic(n=1, seed=5), read_synthetic(n=1, seed=5), read_synthetic(n=1, seed=6)
    assert a.fingerprint == b.fingerprint != c.fingerprint
    more = read_synthetic(n=2, seed=5)
    assert (more["train"].faces[:7] == a["train"].faces).all(), "a larger set starts with the smaller one"
    one, two = (draw_scene(["happy", "sad"], np.random.default_rng(4)) for _ in range(2))
    assert (one[0] == two[0]).all() and one[1] == two[1]


def test_other_sizes_and_label_sets():
    data = read_synthetic(n=1, size_px=64, seed=0, label_set=AFFECTNET8)
    assert data["train"].faces.shape == (8, 64, 64) and data.label_set is AFFECTNET8
    assert data["train"].labels.tolist() == list(range(8))
    for size in (16, 33, 224):
        face = draw_face("contempt", np.random.default_rng(0), size_px=size)
        assert face.shape == (size, size, 3) and face.dtype == np.uint8 and face.std() > 15


def test_contempt_on_request_is_seen_at_one_corner_of_the_mouth():
    data = open_dataset("synthetic:n=24,seed=2,contempt=1")
    assert (data.name, data.label_set) == ("synthetic", AFFECTNET8)
    assert np.bincount(data["train"].labels).tolist() == [24] * 8
    assert read_synthetic(n=1, contempt=0).label_set is FER7
    # The lower half of a face with contempt is less like its mirror image than that of a neutral one.
    faces, labels = data["train"].faces[:, 30:44].astype(float), data["train"].labels
    skew = np.abs(faces - faces[:, :, ::-1]).mean(axis=(1, 2)) / faces.std(axis=(1, 2))
    assert np.median(skew[labels == 7]) > 1.1 * np.median(skew[labels == 0])


@pytest.mark.parametrize(
    "call",
    [
        lambda rng: read_synthetic(contempt=2),
        lambda rng: read_synthetic(n=0),
        lambda rng: read_synthetic(n=1.5),
        lambda rng: read_synthetic(seed=-1),
        lambda rng: read_synthetic(size_px=4),
        lambda rng: draw_face("bored", rng),
        lambda rng: draw_face("happy", rng, size_px=5),
        lambda rng: draw_scene(["bored"], rng),
        lambda rng: draw_scene([], rng, width=5),
        lambda rng: draw_scene([], rng, background="moon"),
    ],
)
def test_impossible_wishes(call):
    with pytest.raises(ConfigError):
        call(np.random.default_rng(0))


def test_the_expression_carries_the_class_and_nothing_else_does(small):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def score(features):
        train, test = small["train"], small["test"]
        both = np.concatenate([small["val"].faces, test.faces]), np.concatenate([small["val"].labels, test.labels])
        net = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=300))
        return net.fit(features(train.faces), train.labels).score(features(both[0]), both[1])

    def pixels(faces):
        f = faces.astype(float)
        f -= f.mean(axis=(1, 2), keepdims=True)
        return (f / f.std(axis=(1, 2), keepdims=True))[:, ::2, ::2].reshape(len(f), -1)

    def surroundings(faces):  # tone, contrast, corners and borders: background, hair, light
        f = faces.astype(float)
        rows = f[:, :6].reshape(len(f), -1)[:, ::9]
        tone = f.mean(axis=(1, 2))[:, None], f.std(axis=(1, 2))[:, None]
        return np.concatenate([*tone, rows, f[:, ::6, :3].mean(axis=2), f[:, ::6, -3:].mean(axis=2)], axis=1)

    assert score(pixels) > 0.5
    assert score(surroundings) < 0.3  # chance is .14, foreheads wrinkle at the upper edge


def test_intensity_varies_but_the_sign_holds():
    rng = np.random.default_rng(0)
    smiles = [draw_actions("happy", rng).corner for _ in range(50)]
    assert min(smiles) > 0.5 and np.std(smiles) > 0.05
    assert max(draw_actions("sad", rng).corner for _ in range(50)) < -0.4
    assert max(draw_actions("neutral", rng).open_mouth for _ in range(50)) == 0
    assert set(EXPRESSIONS) == set(EMOJI)


def test_scenes_have_one_box_a_head_inside_the_picture_and_apart():
    rng = np.random.default_rng(0)
    for count in (0, 1, 2, 5, 9):
        for background in BACKGROUNDS:
            image, boxes = draw_scene(NAMES[:count] + NAMES[: max(count - 8, 0)], rng, 320, 240, background)
            assert image.shape == (240, 320, 3) and len(boxes) == count
            for i, a in enumerate(boxes):
                assert 0 <= a[0] < a[2] <= 320 and 0 <= a[1] < a[3] <= 240
                assert all(iou(a, b) < 0.1 for b in boxes[:i])


@pytest.mark.slow
def test_the_default_detector_finds_95_percent():
    """208 portraits of every expression with faces of at least 100 px, and their surroundings give no false alarm."""
    found = wrong = 0
    for i in range(208):
        image, (box,) = draw_scene([NAMES[i % 8]], np.random.default_rng([11, i]), 260, 300)
        assert box[2] - box[0] >= 100
        overlaps = [iou(f.box, box) for f in detect(image, max_side_px=300, profiles=False)]
        found += max(overlaps, default=0) >= 0.4
        wrong += sum(o < 0.4 for o in overlaps)
    assert found >= 0.95 * 208
    assert wrong <= 6


def test_several_faces_and_crops_are_found_with_default_settings():
    total = found = wrong = 0
    for i in range(12):
        image, boxes = draw_scene([NAMES[(i + k) % 8] for k in range(i % 4)], np.random.default_rng([12, i]))
        faces = detect(image)
        total += len(boxes)
        found += sum(any(iou(b, f.box) >= 0.4 for f in faces) for b in boxes)
        wrong += sum(all(iou(b, f.box) < 0.4 for b in boxes) for f in faces)
    assert found >= 0.9 * total and wrong <= 1
    crops = [detect(draw_face(NAMES[i % 8], np.random.default_rng([13, i]), 48)) for i in range(24)]
    assert sum(len(c) == 1 for c in crops) >= 18
