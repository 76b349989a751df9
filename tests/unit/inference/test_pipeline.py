"""From a picture to results, with a stand-in for the model: what it is given, and what becomes of its answer."""

import json

import numpy as np
import pytest

from fer.data.synthetic import draw_scene
from fer.errors import ConfigError, ImageError
from fer.faces import crop, detect
from fer.inference import FaceResult, analyze
from fer.labels import AFFECTNET8, FER7
from fer.overlay import draw_faces


class BrightnessPredictor:
    """Likes class 3 the more, the brighter the face; keeps what it was given."""

    labels = FER7

    def __init__(self):
        self.given = []

    def predict_proba(self, faces):
        self.given.append(faces)
        p = np.full((len(faces), 7), 0.05, np.float32)
        p[:, 3] = [float(np.mean(f)) / 255 + 0.1 for f in faces]
        return p / p.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def scene():
    return draw_scene(["happy", "sad", "angry"], np.random.default_rng(1))


def test_every_face_gets_its_own_answer(scene, tmp_path):
    from fer.images import save_image

    image, _ = scene
    predictor = BrightnessPredictor()
    results = analyze(image, predictor)
    faces = detect(image)
    assert [r.box for r in results] == [f.box for f in faces] and len(results) == 3
    assert len(predictor.given) == 1, "one call for all faces"
    for face, r, given in zip(faces, results, predictor.given[0], strict=True):
        assert (given == crop(image, face.box)).all()
        assert r.probs[3] == pytest.approx(predictor.predict_proba([given])[0, 3])
        assert (r.label, r.emoji) == ("happy", "😄") and r.score == face.score
    path = save_image(image, tmp_path / "scene.png")
    assert [r.as_dict() for r in analyze(path, predictor)] == [r.as_dict() for r in results]


def test_no_face_is_an_empty_list_and_the_model_is_not_asked():
    predictor = BrightnessPredictor()
    assert analyze(np.zeros((80, 90, 3), np.uint8), predictor) == []
    assert predictor.given == []


@pytest.mark.parametrize("shape", [(1000, 50000, 3), (50000, 1000, 3)])
def test_a_long_strip_as_one_face_stays_small(shape):
    seen = []

    class Eye:
        labels = FER7

        def predict_proba(self, faces):
            seen.extend(faces)
            return np.full((len(faces), 7), 1 / 7, dtype=np.float32)

    strip = np.zeros(shape, dtype=np.uint8)
    strip[shape[0] // 2 :] = 200
    (r,) = analyze(strip, Eye(), detector="whole")
    assert r.box == (0, 0, shape[1], shape[0])
    assert seen[0].shape == (512, 512, 3)
    assert seen[0][0].max() == 0 and seen[0][-1].min() == 200


def test_whole_takes_the_crop_as_it_is(scene):
    image = scene[0][100:220, 50:170]
    predictor = BrightnessPredictor()
    (r,) = analyze(image, predictor, detector="whole")
    assert r.box == (0, 0, 120, 120) and (predictor.given[0][0] == image).all()


def test_errors_pass_through(scene, tmp_path):
    with pytest.raises(ImageError):
        analyze(tmp_path / "absent.jpg", BrightnessPredictor())
    with pytest.raises(ConfigError, match="attention_cnn"):
        analyze(scene[0], "atention_cnn")
    with pytest.raises(ConfigError, match="haar"):
        analyze(scene[0], BrightnessPredictor(), detector="hare")


def test_a_real_net_gives_probabilities(scene, untrained):
    results = analyze(scene[0], untrained("attention_cnn"))
    assert len(results) == 3
    for r in results:
        assert r.probs.shape == (7,) and r.probs.dtype == np.float32 and r.probs.sum() == pytest.approx(1, abs=1e-5)


def test_result_properties():
    r = FaceResult((1, 2, 3, 4), 0.5, np.array([0, 0.1, 0.2, 0, 0, 0, 0.1, 0.6], np.float32), AFFECTNET8)
    assert (r.label, r.emoji, r.index) == ("contempt", "😒", 7) and r.confidence == pytest.approx(0.6)
    assert [name for name, _ in r.top(3)] == ["contempt", "sad", "happy"]
    assert json.loads(json.dumps(r.as_dict()))["probs"]["contempt"] == pytest.approx(0.6)


def result(box, label="happy"):
    return FaceResult(box, 1.0, np.eye(7, dtype=np.float32)[FER7.index(label)], FER7)


def test_drawing_marks_the_box_and_leaves_the_picture_alone():
    image = np.full((300, 400, 3), 128, np.uint8)
    drawn = draw_faces(image, [result((100, 100, 200, 220))])
    assert (image == 128).all() and drawn.shape == image.shape
    assert drawn[219, 150].tolist() == [0xE6, 0x9F, 0x00], "happy's colour, at the lower edge"
    assert (drawn[130:200, 110:190] == 128).all() and (drawn[230:] == 128).all()
    assert (drawn[60:100, 100:200] != 128).any(), "the label above"


def test_numbers_stand_before_the_label_and_alone_beside_a_small_face():
    image = np.full((400, 600, 3), 128, np.uint8)

    def tag_width(side, numbers):
        drawn = draw_faces(image, [result((200, 200, 200 + side, 200 + side))], numbers)
        return (drawn[185:198] != 128).any((0, 2)).sum()

    assert tag_width(150, True) > tag_width(150, False), "large: the number comes on top"
    assert tag_width(40, True) < 60 < tag_width(40, False), "small: the number replaces the label"


@pytest.mark.parametrize(
    "box", [(0, 0, 400, 300), (380, 280, 400, 300), (0, 0, 3, 3), (-20, -20, 30, 30), (5, 5, 5, 5)]
)
def test_drawing_never_fails_at_the_borders(box):
    image = np.zeros((300, 400, 3), np.uint8)
    assert draw_faces(image, [result(box)]).shape == (300, 400, 3)
    assert draw_faces(image[:5, :5], [result((0, 0, 5, 5))]).shape == (5, 5, 3)


def test_drawing_takes_faces_without_a_label_and_none_at_all():
    image = np.zeros((100, 100), np.uint8)
    from fer.faces import Face

    assert draw_faces(image, []).shape == (100, 100, 3)
    assert draw_faces(image, [Face((10, 10, 50, 50), 0.9)])[10, 30].tolist() == [255] * 3
