"""Detectors: photographs that come with matplotlib and scikit-learn, drawn scenes, crops, and pictures of nothing."""

import functools
import os
import shutil
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from fer import hub
from fer.data.synthetic import draw_scene
from fer.errors import ConfigError, HubError, ImageError
from fer.faces import DETECTORS, Face, crop, detect
from fer.faces.haar import HaarOptions, _votes
from fer.faces.types import iou, make_frame, suppress
from fer.hub import downloads
from fer.images import read_image

HOPPER_FACE = (165, 110, 365, 335)  # by eye, brows to chin

needs_yunet = pytest.mark.skipif(
    not os.environ.get("FER_YUNET"), reason="YuNet's model file is not bundled; FER_YUNET names one to test with"
)


@pytest.fixture(scope="module")
def hopper():
    from matplotlib.cbook import get_sample_data

    return read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))


@pytest.fixture(scope="module")
def couple():
    image, boxes = draw_scene(["happy", "angry"], np.random.default_rng(2))
    return image, boxes


def textures():
    rng = np.random.default_rng(0)
    yield "noise", rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    y, x = np.mgrid[:240, :320]
    yield "bricks", np.where(((y // 20) * 13 + x) % 40 < 3, 60, np.where(y % 20 < 3, 70, 150)).astype(np.uint8)
    yield "checkers", ((x // 16 + y // 16) % 2 * 255).astype(np.uint8)
    yield "stripes", (127 + 120 * np.sin(x / 6)).astype(np.uint8)
    yield "black", np.zeros((200, 200), np.uint8)
    coins = np.full((240, 320), 60, np.uint8)
    for i in range(12):
        cv2.circle(coins, (45 + 75 * (i % 4), 45 + 75 * (i // 4)), 28, 170, -1, cv2.LINE_AA)
    yield "coins", coins
    for seed in range(3):
        yield f"scene without people {seed}", draw_scene([], np.random.default_rng(seed), 320, 240)[0]


def test_one_face_in_the_portrait(hopper):
    faces = detect(hopper)
    assert len(faces) == 1
    assert iou(faces[0].box, HOPPER_FACE) > 0.6 and 0.5 < faces[0].score <= 1 and faces[0].landmarks is None


@pytest.mark.parametrize("turn", ["mirrored", "grey", "half", "double"])
def test_the_portrait_in_other_forms(hopper, turn):
    image = {
        "mirrored": lambda: hopper[:, ::-1],
        "grey": lambda: cv2.cvtColor(hopper, cv2.COLOR_RGB2GRAY),
        "half": lambda: cv2.resize(hopper, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
        "double": lambda: cv2.resize(hopper, None, fx=2, fy=2),
    }[turn]()
    faces = detect(image)
    scale = image.shape[0] / hopper.shape[0]
    box = (512 - 365, 110, 512 - 165, 335) if turn == "mirrored" else HOPPER_FACE
    assert len(faces) == 1 and iou(faces[0].box, tuple(v * scale for v in box)) > 0.55


def test_landscapes_have_no_face():
    from sklearn.datasets import load_sample_images

    for image in load_sample_images().images:
        assert detect(image) == []


def test_textures_have_no_face():
    wrong = {name: [f.box for f in detect(image)] for name, image in textures()}
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("size", [48, 64, 120, 500])
def test_a_crop_that_the_face_fills(hopper, size):
    face = cv2.resize(crop(hopper, HOPPER_FACE), (size, size), interpolation=cv2.INTER_AREA)
    faces = detect(face)
    assert len(faces) == 1
    left, top, right, bottom = faces[0].box
    assert 0 <= left < right <= size and 0 <= top < bottom <= size and right - left > 0.6 * size


def test_largest_first_and_min_face(couple):
    image, boxes = couple
    faces = detect(image)
    assert len(faces) == 2 and faces[0].area_px >= faces[1].area_px
    assert all(max(iou(f.box, b) for b in boxes) > 0.5 for f in faces)
    widths = sorted(f.box[2] - f.box[0] for f in faces)
    assert len(detect(image, min_face_px=round(widths[1] * 1.6))) == 0
    small = np.full((1200, 1600, 3), 120, np.uint8)
    small[:120, :160] = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    assert len(detect(small)) == 0, "by default nothing below a sixteenth"
    assert len(detect(small, min_face_px=25, max_side_px=1600)) == 2


def test_a_profile_is_found_from_both_sides_only_with_profiles(monkeypatch):
    """No free profile photograph is at hand: the cascade is replaced by one that knows a mark."""
    from fer.faces import haar

    class Knows:
        def __init__(self, mark):
            self.mark = mark

        def detectMultiScale2(self, pixels, *_args, **_options):
            hits = np.argwhere((pixels[:, :-1] == 250) & (pixels[:, 1:] == 3))
            return (
                ([(int(hits[0][1]) - 20, int(hits[0][0]) - 20, 40, 40)], [60]) if self.mark and len(hits) else ([], [])
            )

    knows = {name: Knows(name == "profile") for name in ("alt2", "default", "profile", "eye")}
    monkeypatch.setattr(haar, "_cascades", lambda: knows)
    monkeypatch.setattr(haar, "_try", lambda gray, box, profiles: (0.9, box))
    gray = np.full((200, 448), 100, np.uint8)
    gray[100, 100:102] = (250, 3)
    for pixels, x in ((gray, 100), (np.ascontiguousarray(gray[:, ::-1]), 448 - 100)):
        frame = make_frame(pixels, 448)
        boxes = [f.box for f in haar._search_and_try(frame, 28, HaarOptions())]
        assert len(boxes) == 1 and abs((boxes[0][0] + boxes[0][2]) / 2 - x) <= 2
        assert haar._search_and_try(frame, 28, HaarOptions(profiles=False)) == []


def test_eyes_raise_the_score_but_a_face_is_found_without_them(hopper):
    from fer.faces import haar

    gray = cv2.cvtColor(hopper, cv2.COLOR_RGB2GRAY)
    votes, _ = _votes(gray, HOPPER_FACE)
    assert votes["alt2"] > 10 and votes["default"] > 10
    without, with_eyes = (
        haar._BIAS + sum(haar._WEIGHTS[k] * np.log1p(v) for k, v in (votes | {"eye": n}).items()) for n in (0, 20)
    )
    assert with_eyes > without > 0
    assert votes["eye"] == 0 and detect(hopper)[0].score > 0.8, "none of hers are found"


def test_dark_glasses_cost_most_votes_and_the_face_is_missed(hopper):
    """What happens, not what is wished for; the module's docstring says so."""
    glasses = hopper.copy()
    for x in (225, 295):
        cv2.ellipse(glasses, (x, 210), (32, 22), 0, 0, 360, (25, 25, 25), -1)
    bar = hopper.copy()
    bar[190:235, 165:345] = 25
    plain, behind_glasses, behind_bar = (
        _votes(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), HOPPER_FACE)[0] for image in (hopper, glasses, bar)
    )
    assert behind_bar["alt2"] < behind_glasses["alt2"] < plain["alt2"]
    assert behind_bar["default"] < behind_glasses["default"] < plain["default"] / 2
    (face,) = detect(glasses, min_score=0.0)
    assert iou(face.box, HOPPER_FACE) > 0.6 and face.score < 0.5
    assert detect(glasses) == [] and detect(bar, min_score=0.0) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 3), (19, 19), (4000, 30)])
def test_odd_shapes_do_no_harm(shape):
    rng = np.random.default_rng(0)
    for detector in ("haar", "whole"):
        for face in detect(rng.integers(0, 256, (*shape, 3), dtype=np.uint8), detector):
            assert 0 <= face.box[0] < face.box[2] <= shape[1] and 0 <= face.box[1] < face.box[3] <= shape[0]


def test_threads_agree(couple):
    image, _ = couple
    expected = [f.box for f in detect(image)]
    answers = []
    threads = [threading.Thread(target=lambda: answers.append([f.box for f in detect(image)])) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert answers == [expected] * 4


@pytest.fixture
def cascades_in(monkeypatch, tmp_path):
    """Function: a copy of OpenCV's cascades in a folder of this name, from where every thread loads them anew."""
    from fer.faces import haar

    def place(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in haar._FILES.values():
            shutil.copy(Path(cv2.data.haarcascades) / file, folder)
        monkeypatch.setattr(cv2.data, "haarcascades", f"{folder}{os.sep}")
        monkeypatch.setattr(haar, "_store", functools.cache(haar._Cascades))
        return folder

    return place


def test_cascades_are_read_from_a_folder_that_opencv_cannot_open(couple, cascades_in, monkeypatch):
    """On Windows it opens no path with letters that the system's code page lacks, and says nothing."""
    image, boxes = couple
    expected = detect(image)
    cascades_in("Müller 木")
    opens_nothing = cv2.CascadeClassifier
    monkeypatch.setattr(cv2, "CascadeClassifier", lambda *_path: opens_nothing())
    faces = detect(image)
    assert [(f.box, f.score) for f in faces] == [(f.box, f.score) for f in expected]
    assert len(faces) == len(boxes)


def test_cascades_from_memory_find_what_cascades_from_files_find(monkeypatch):
    from fer.faces import haar

    scenes = [draw_scene(["happy"] * n, np.random.default_rng(n))[0] for n in (1, 2, 3)]
    found = [detect(scene) for scene in scenes]
    folder = Path(cv2.data.haarcascades)
    by_path = {name: cv2.CascadeClassifier(str(folder / file)) for name, file in haar._FILES.items()}
    monkeypatch.setattr(haar, "_cascades", lambda: by_path)
    assert any(found) and [[(f.box, f.score) for f in faces] for faces in found] == [
        [(f.box, f.score) for f in detect(scene)] for scene in scenes
    ]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "another", "gone"])
def test_a_damaged_cascade_is_named(hopper, cascades_in, damage):
    file = cascades_in("cascades") / "haarcascade_eye.xml"
    if damage == "gone":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    else:
        file.write_bytes(
            {
                "empty": b"",
                "text": b"\xff\xfe no cascade",
                "another": b'<?xml version="1.0"?>\n<opencv_storage><cascade><a>1</a></cascade></opencv_storage>',
            }[damage]
        )
    with pytest.raises(ConfigError, match=r"haarcascade_eye\.xml.*yunet"):
        detect(hopper)


def test_whole_is_the_whole(hopper):
    assert detect(hopper, "whole")[0].box == (0, 0, 512, 600)


@pytest.mark.parametrize(("call", "words"), [
    (lambda i: detect(i, "har"), "did you mean 'haar'"),
    (lambda i: detect(i, "haar", min_face=3), "did you mean 'min_face_px'"),
    (lambda i: detect(i, "haar", min_face_px=0), "min_face_px"),
    (lambda i: detect(i, "haar", max_side_px=3), "max_side_px"),
    (lambda i: detect(i, "haar", min_score=2), "min_score"),
    (lambda i: detect(i, "yunet", path="nowhere.onnx"), "nowhere.onnx"),
])  # fmt: skip
def test_wrong_settings(hopper, call, words):
    with pytest.raises(ConfigError, match=words):
        call(hopper)


def test_detect_reads_pictures_and_refuses_others(tmp_path):
    with pytest.raises(ImageError):
        detect(tmp_path / "absent.jpg")
    assert set(DETECTORS) == {"haar", "yunet", "whole"}


def test_suppress_keeps_neighbours_and_drops_doubles():
    faces = [
        Face((0, 0, 100, 100), 0.9),
        Face((10, 10, 90, 90), 0.95),
        Face((90, 0, 190, 100), 0.5),
        Face((30, 30, 60, 60), 0.4),
    ]
    assert [f.score for f in suppress(faces)] == [0.95, 0.5]


def test_frame_and_back():
    frame = make_frame(np.zeros((300, 600, 3), np.uint8), 300, border=0.1)
    assert frame.pixels.shape == (210, 360, 3)
    assert frame.to_picture((30, 30, 330, 180)) == (0, 0, 600, 300)
    assert frame.to_picture((0, 0, 20, 20)) is None


def test_crop_is_square_and_repeats_the_edge():
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    assert (crop(image, (2, 3, 6, 7), margin=0) == image[3:7, 2:6]).all()
    tall = crop(image, (4, 1, 6, 7), margin=0)
    assert tall.shape == (6, 6) and (tall == image[1:7, 2:8]).all()
    corner = crop(image, (-3, -3, 3, 3), margin=0)
    assert (corner[:4, :4] == image[0, 0]).all() and corner[5, 5] == image[2, 2]
    assert crop(image, (2, 2, 6, 6), margin=0.25).shape == (6, 6)
    assert crop(np.zeros((9, 9, 3), np.uint8), (1, 1, 2, 2), margin=0).shape == (1, 1, 3)
    copy = crop(image, (0, 0, 2, 2), margin=0)
    copy[:] = 0
    assert image[1, 1] == 11
    for box in ((5, 5, 5, 8), (20, 20, 30, 30), (-9, -9, 0, 0)):
        with pytest.raises(ImageError):
            crop(image, box)


@needs_yunet
def test_yunet_finds_faces_with_landmarks(hopper, couple):
    (face,) = detect(hopper, "yunet")
    assert iou(face.box, HOPPER_FACE) > 0.6 and face.landmarks.shape == (5, 2) and face.landmarks.dtype == np.float32
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    small = cv2.resize(crop(hopper, HOPPER_FACE), (48, 48), interpolation=cv2.INTER_AREA)
    assert len(detect(small, "yunet")) == 1
    assert detect(np.zeros((50, 70, 3), np.uint8), "yunet") == []
    assert len(detect(couple[0], "yunet")) == 2


def test_yunet_without_a_file_says_what_to_do(monkeypatch, tmp_path, hopper):
    monkeypatch.delenv("FER_YUNET", raising=False)
    monkeypatch.setattr(
        hub, "fetch_yunet", lambda cache_dir=None, allow_download=True: (_ for _ in ()).throw(HubError("offline"))
    )
    with pytest.raises(ConfigError, match="FER_YUNET"):
        detect(hopper, "yunet")
    with pytest.raises(HubError):
        detect(hopper, "yunet", fetch=True)
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"no model")
    for content in (b"no model", b""):
        bad.write_bytes(content)
        with pytest.raises(ConfigError, match=r"bad\.onnx is not a YuNet model"):
            detect(hopper, "yunet", path=bad)


def test_yunets_file_is_opened_by_python_not_by_opencv(hopper, tmp_path, monkeypatch):
    """On Windows OpenCV opens no path with letters that the system's code page lacks. A net of no use stands in."""
    given = []

    class Sees:
        def setInputSize(self, size):
            pass

        def setScoreThreshold(self, score):
            pass

        def detect(self, pixels):
            return 1, None

    def create(framework, model, config, size):
        given.append((framework, bytes(model), bytes(config)))
        return Sees()

    monkeypatch.setattr(cv2, "FaceDetectorYN", type("FaceDetectorYN", (), {"create": staticmethod(create)}))
    path = tmp_path / "Müller 木.onnx"
    path.write_bytes(b"a net")
    assert detect(hopper, "yunet", path=path) == [] == detect(hopper, "yunet", path=path)
    assert given == [("onnx", b"a net", b"")], "read once"


def test_a_file_of_yunets_that_cannot_be_read_is_named(hopper, tmp_path, monkeypatch):
    path = tmp_path / "private.onnx"
    path.write_bytes(b"a net")

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(ConfigError, match=r"private\.onnx cannot be read \(Permission denied\)"):
        detect(hopper, "yunet", path=path)


@needs_yunet
def test_yunet_from_memory_finds_what_yunet_from_its_file_finds(couple, monkeypatch):
    from fer.faces import yunet

    found = detect(couple[0], "yunet")
    monkeypatch.setattr(yunet, "_detector", lambda path: cv2.FaceDetectorYN.create(str(path), "", (320, 320)))
    again = detect(couple[0], "yunet")
    assert [(f.box, f.score) for f in found] == [(f.box, f.score) for f in again] and len(found) == 2


class TestFetch:
    """The Hub client is replaced: no test touches the network."""

    @pytest.fixture
    def client(self, monkeypatch, tmp_path):
        import huggingface_hub

        calls = []
        file = tmp_path / "model.onnx"

        def download(repo, name, cache_dir=None, force_download=False):
            calls.append((repo, name, force_download))
            file.write_bytes(self.content)
            return str(file)

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
        monkeypatch.setattr(
            huggingface_hub, "try_to_load_from_cache", lambda *a, **k: str(file) if file.exists() else None
        )
        self.content = b"the right bytes"
        monkeypatch.setattr(downloads, "YUNET_SHA256", "0" * 64)
        return calls

    def right(self, monkeypatch):
        import hashlib

        monkeypatch.setattr(downloads, "YUNET_SHA256", hashlib.sha256(b"the right bytes").hexdigest())

    def test_once_then_from_the_cache(self, client, monkeypatch):
        self.right(monkeypatch)
        with pytest.raises(HubError, match="no download"):
            hub.fetch_yunet(allow_download=False)
        assert client == []
        path = hub.fetch_yunet()
        assert path.read_bytes() == b"the right bytes" and client == [
            ("opencv/face_detection_yunet", hub.YUNET_FILE, False)
        ]
        assert hub.fetch_yunet(allow_download=False) == path and len(client) == 1

    def test_other_bytes_are_never_used(self, client):
        with pytest.raises(HubError, match="SHA-256"):
            hub.fetch_yunet()
        with pytest.raises(HubError, match="no download"):
            hub.fetch_yunet(allow_download=False)

    def test_a_damaged_copy_is_fetched_anew(self, client, monkeypatch, tmp_path):
        self.right(monkeypatch)
        (tmp_path / "model.onnx").write_bytes(b"damaged")
        assert hub.fetch_yunet().read_bytes() == b"the right bytes"
        assert client[0][2] is True

    @pytest.mark.parametrize("error", [ConnectionError("refused"), OSError("disk full")])
    def test_no_network(self, client, monkeypatch, error):
        import huggingface_hub

        def refuse(*_args, **_options):
            raise error

        monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
        with pytest.raises(HubError, match="by hand"):
            hub.fetch_yunet()


@needs_yunet
def test_the_recorded_checksum_is_that_of_the_file(tmp_path):
    copy = shutil.copy(os.environ["FER_YUNET"], tmp_path)
    assert downloads._sha256(Path(copy)) == downloads.YUNET_SHA256
