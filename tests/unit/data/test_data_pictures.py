"""AffectNet and class folders: layouts, splits, damaged files, sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data import SOURCES, guess_source, load, open_dataset, save
from fer.data.affectnet import read_affectnet
from fer.data.checks import RowChecker
from fer.data.class_folders import read_class_folders
from fer.data.discovery import find_data
from fer.data.pictures import read_pictures
from fer.errors import ConfigError, DataError
from fer.labels import AFFECTNET8, FER7, FERPLUS8

SPELLINGS = ("Neutral", "happiness", "Sad", "surprised", "FEAR", "disgusted", "anger", "Contempt")
NUMBERS = tuple("01234567")


def picture(name: str, seed: int, side: int = 40) -> Image.Image:
    """RGB noise whose red tells the class: 20 + 25 times its AffectNet number."""
    rng = np.random.default_rng([AFFECTNET8.index(name), seed])
    image = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
    image[:, :, 0] = 20 + 25 * AFFECTNET8.index(name) + rng.integers(0, 8, (side, side))
    return Image.fromarray(image)


def classes_of(faces: np.ndarray) -> list[int]:
    """AffectNet numbers that the pictures show."""
    return np.rint((faces[..., 0].mean(axis=(1, 2)) - 23.5) / 25).astype(int).tolist()


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """tree({"train": 6}, names=...): PATH/<split>/<class>/*.png; split "" puts the classes straight into PATH."""

    def make(
        splits: dict[str, int], names: tuple[str, ...] = AFFECTNET8.names, root: str = "set", side: int = 40
    ) -> Path:
        for k, (split, n) in enumerate(splits.items()):
            for folder in names:
                name = AFFECTNET8.names[int(folder)] if folder.isdigit() else folder
                place = tmp_path / root / split / folder
                place.mkdir(parents=True)
                for i in range(n):
                    picture(name, 1000 * k + i, side).save(place / f"{split}{i:03d}.png")
        return tmp_path / root

    return make


# --- AffectNet --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [AFFECTNET8.names, SPELLINGS, NUMBERS, (*NUMBERS[:4], *SPELLINGS[4:])])
def test_affectnet_classes_by_name_or_by_its_own_numbers(names: tuple[str, ...], tree: Callable[..., Path]) -> None:
    data = read_affectnet(tree({"train": 10, "val": 2, "test": 1}, names))
    assert (data.name, data.label_set) == ("affectnet", AFFECTNET8)
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 80, "val": 16, "test": 8}
    for split in data.splits.values():
        assert split.faces.shape[1:] == (40, 40, 3), "smaller than size_px: as it is"
        assert classes_of(split.faces) == split.labels.tolist()


def test_affectnet_without_test_keeps_the_published_validation_for_it(tree: Callable[..., Path]) -> None:
    root = tree({"train": 20, "val": 3})
    data = read_affectnet(root)
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 136, "val": 24, "test": 24}
    published = read_affectnet(tree({"train": 20, "val": 3, "test": 1}, root="with-test"))["val"]
    np.testing.assert_array_equal(data["test"].faces, published.faces)
    assert np.bincount(data["val"].labels).tolist() == [3] * 8
    assert data.title("test") == "val (published validation)"
    assert not set(data["train"].rows) & set(data["val"].rows)
    assert read_affectnet(root).fingerprint == data.fingerprint != read_affectnet(root, seed=1).fingerprint
    for file in (root / "val").rglob("*.png"):  # a validation split that was copied out of train
        (root / "train" / file.parent.name / file.name).write_bytes(file.read_bytes())
    again = read_affectnet(root)
    np.testing.assert_array_equal(again["train"].faces, data["train"].faces)
    assert again.notes["train_files_also_in_test"] == 24


def test_affectnet_with_train_and_test_only_a_level_deeper(tree: Callable[..., Path], tmp_path: Path) -> None:
    tree({"Train": 20, "Test": 2}, root="archive/archive (3)")
    data = read_affectnet(tmp_path / "archive")
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 136, "val": 24, "test": 16}


def test_affectnet_layouts_that_are_none(tree: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither val nor test"):
        read_affectnet(tree({"train": 1}, root="a"))
    with pytest.raises(DataError, match=r"no folder for contempt; .*folder:PATH"):
        read_affectnet(tree({"train": 1, "val": 1}, FER7.names, root="b"))
    with pytest.raises(DataError, match=r"unknown class number '8'; AffectNet's are 0 neutral"):
        root = tree({"train": 1, "val": 1}, NUMBERS, root="c")
        (root / "train" / "8").mkdir()
        read_affectnet(root)
    with pytest.raises(DataError, match=r"unknown class 'hapy'; did you mean 'happy'"):
        root = tree({"train": 1, "val": 1}, root="d")
        (root / "train" / "hapy").mkdir()
        read_affectnet(root)
    (tmp_path / "e").mkdir()
    with pytest.raises(DataError, match="no train folder here"):
        read_affectnet(tmp_path / "e")


# --- any class folders ------------------------------------------------------------------------------------------------


def test_folder_without_splits_is_dealt_out(tree: Callable[..., Path]) -> None:
    root = tree({"": 20}, FER7.names, root="My Faces")
    (root / "readme.txt").write_text("x")
    data = open_dataset(f"folder:{root}")
    assert (data.name, data.label_set) == ("my-faces", FER7)
    for split, each in (("train", 14), ("val", 3), ("test", 3)):
        assert np.bincount(data[split].labels).tolist() == [each] * 7
        shown = [FER7.index(AFFECTNET8.names[c]) for c in classes_of(data[split].faces)]
        assert shown == data[split].labels.tolist()
    assert sorted(np.concatenate([s.rows for s in data.splits.values()])) == list(range(140))
    assert data.fingerprint == read_class_folders(root).fingerprint != read_class_folders(root, seed=1).fingerprint
    assert guess_source(root) == "folder"


def test_folder_with_splits_keeps_them(tree: Callable[..., Path]) -> None:
    data = read_class_folders(tree({"train": 20, "validation": 2, "test": 1}))
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 160, "val": 16, "test": 8}
    assert data.label_set == FERPLUS8, "the first known set with these eight"
    data = read_class_folders(tree({"train": 20, "test": 1}, root="other"))
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 136, "val": 24, "test": 8}
    with pytest.raises(DataError, match="has test but no train folder"):
        read_class_folders(tree({"test": 1}, root="third"))


def test_folder_with_other_classes_has_a_label_set_of_its_own(tree: Callable[..., Path], tmp_path: Path) -> None:
    root = tree({"": 10}, ("sad", "contempt", "Joy"), root="three")
    data = read_class_folders(root)
    assert data.label_set.names == ("happy", "sad", "contempt")
    again = load(save(data, tmp_path / "three.npz"))
    assert again.label_set == data.label_set
    with pytest.raises(DataError, match=r"unknown class 'exited'.*known|Known"):
        (root / "exited").mkdir()
        read_class_folders(root)
    with pytest.raises(DataError, match="pictures of happy only"):
        read_class_folders(tree({"": 3}, ("happy",), root="one"))


def test_a_folder_never_takes_a_known_data_sets_name(tree: Callable[..., Path]) -> None:
    for name in ("fer2013", "folders", "synthetic"):
        assert read_class_folders(tree({"": 3}, ("happy", "sad"), root=name)).name == f"folder-{name}"
    assert read_class_folders(tree({"": 3}, ("happy", "sad"), root="x"), name="mine").name == "mine"


def test_identical_images_stay_on_one_side_whatever_their_names_and_formats(tree: Callable[..., Path]) -> None:
    root = tree({"": 6}, ("happy", "sad"))
    for name in ("happy", "sad"):
        for i in range(40):
            grey = np.random.default_rng([7, i, len(name)]).integers(0, 256, (30, 30), dtype=np.uint8)
            Image.fromarray(grey).save(root / name / f"a{i:03d}.png")
            Image.fromarray(grey).convert("RGB").save(root / name / f"z{i:03d}.bmp")
    data = read_class_folders(root)
    assert data.notes["repeated_images"] == 80
    seen = {k: {f.tobytes() for f in s.faces} for k, s in data.splits.items()}
    assert len(set.union(*seen.values())) == sum(map(len, seen.values())) == 92
    assert all(9 <= n <= 17 for n in np.bincount(data["test"].labels))


def test_images_that_published_splits_share_are_counted(tree: Callable[..., Path]) -> None:
    root = tree({"train": 5, "val": 2, "test": 2}, ("happy", "sad"))
    for i in range(2):
        (root / "test" / "sad" / f"copy{i}.png").write_bytes((root / "train" / "sad" / f"train00{i}.png").read_bytes())
    notes = read_class_folders(root).notes
    assert notes["images_in_train_and_test"] == 2
    assert "images_in_train_and_val" not in notes


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("cut", lambda p: p.write_bytes(p.read_bytes()[:-900]), "truncated or damaged"),
        ("empty", lambda p: p.write_bytes(b""), "empty"),
        ("text", lambda p: p.write_text("hello"), "not a picture"),
    ],
)
@pytest.mark.parametrize("source", ["affectnet", "folder"])
def test_a_damaged_picture_is_named_once_and_can_be_skipped(
    source: str, name: str, damage: Callable[[Path], object], message: str, tree: Callable[..., Path]
) -> None:
    root = tree({"train": 6, "val": 2, "test": 1})
    bad = root / "train" / "fear" / "train004.png"
    damage(bad)
    read = SOURCES[source].read
    with pytest.raises(DataError, match=message) as error:
        read(root)
    assert str(error.value).count(str(bad)) == 1
    data = read(root, skip_bad=True)
    assert np.bincount(data["train"].labels).tolist() == [
        5 if n == "fear" else 6 for n in data.label_set.names
    ]  # everybody else keeps their class
    assert data.notes["left_out"][0].startswith("train004.png: ")
    assert data["train"].rows.max() == 47, "and their row"


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("train/happy/notes.txt", b"x", "not a picture file"),
        ("train/happy/more", None, "not a picture file"),
        ("train/stray.png", b"x", "a file where only class folders"),
        ("train/calm", None, "empty folder"),
        ("train/Happiness/train000.png", b"twin", "a second file 'train000.png' of class happy"),
    ],
)
def test_odd_things_in_class_folders(
    place: str, content: bytes | None, message: str, tree: Callable[..., Path]
) -> None:
    root = tree({"train": 3, "val": 1, "test": 1})
    (root / place).parent.mkdir(exist_ok=True)
    if content == b"twin":
        content = (root / "train" / "happy" / "train000.png").read_bytes()
    (root / place).mkdir() if content is None else (root / place).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_class_folders(root)
    assert len(read_class_folders(root, skip_bad=True)["train"]) == 24


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_pictures_of_all_sizes_become_one_and_small_sets_are_not_blown_up(tmp_path: Path) -> None:
    paths = []
    for i, (width, height) in enumerate([(30, 60), (200, 100), (48, 48)]):
        ramp = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width))
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(np.ascontiguousarray(ramp)).save(paths[-1])
    got = read_pictures(paths, 64, 1, RowChecker())
    assert got.faces.shape == (3, 64, 64)
    assert got.sizes.tolist() == [[30, 60], [200, 100], [48, 48]]
    for face in got.faces:  # squeezed, not cropped: both ends of the ramp are there
        assert face[:, 0].max() < 12 and face[:, -1].min() > 243
    assert read_pictures(paths, 500, 1, RowChecker()).faces.shape == (3, 200, 200)
    assert read_pictures(paths[2:], 500, 3, RowChecker()).faces.shape == (1, 48, 48, 3)
    with pytest.raises(ConfigError, match=r"size_px must be 16..512, got 8"):
        read_pictures(paths, 8, 1, RowChecker())


def test_more_pictures_than_fit_in_one_batch_keep_their_order(tmp_path: Path) -> None:
    paths = []
    for i in range(600):
        paths.append(tmp_path / f"{i}.png")
        if i % 97 == 5:
            paths[-1].write_text("no picture")
        else:
            Image.fromarray(np.full((16, 16), i % 251, np.uint8)).save(paths[-1])
    checker = RowChecker(skip_bad=True)
    got = read_pictures(paths, 16, 1, checker)
    good = [i for i in range(600) if i % 97 != 5]
    assert got.kept.tolist() == good
    assert got.faces[:, 0, 0].tolist() == [i % 251 for i in good]
    assert len(checker.left_out) == 600 - len(good)


# --- which is which ---------------------------------------------------------------------------------------------------


def test_layouts_are_told_apart(tree: Callable[..., Path], tmp_path: Path) -> None:
    assert guess_source(tree({"train": 1, "val": 1}, root="a/AffectNet-8")) == "affectnet"
    assert guess_source(tree({"train": 1, "val": 1}, NUMBERS, root="a/numbers")) == "affectnet"
    assert guess_source(tree({"train": 1, "test": 1}, FER7.names, root="a/fer2013")) == "folders"
    assert guess_source(tree({"train": 1, "test": 1}, ("happy", "sad"), root="a/two")) == "folder"
    assert [(f.source, f.path.name) for f in find_data([tmp_path / "a"])] == [
        ("folders", "fer2013"),
        ("affectnet", "AffectNet-8"),
        ("affectnet", "numbers"),
    ]


CK_PLUS = ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")


@pytest.mark.parametrize(
    ("root", "names", "source"),
    [
        ("ferplus", AFFECTNET8.names, "folder"),
        ("ferplus", ("suprise", *(n for n in SPELLINGS if n != "surprised")), "folder"),
        ("ck", CK_PLUS, "folder"),
        ("archive/MyAFFECTNET", AFFECTNET8.names, "affectnet"),
        ("balanced-affectnet/versions/1", SPELLINGS, "affectnet"),
        ("affectnet/far/too/deep", AFFECTNET8.names, "folder"),
        ("affectnet-study/data/FER-Plus", AFFECTNET8.names, "folder"),
        ("ferplus/data/affectnet", AFFECTNET8.names, "affectnet"),
        ("AffectNet", (*NUMBERS, "8"), "affectnet"),
        ("digits", NUMBERS, "affectnet"),
    ],
)
def test_eight_classes_alone_are_no_proof(root: str, names: tuple[str, ...], source: str, tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        for name in names:
            (tmp_path / root / split / name).mkdir(parents=True)
    (tmp_path / root / "train" / ".cache").mkdir()
    assert guess_source(tmp_path / root) == source
    assert [f.source for f in find_data([(tmp_path / root).parent])] == [source]


def test_ten_numbered_folders_are_digits(tmp_path: Path) -> None:
    for name in range(10):
        (tmp_path / "mnist" / "train" / str(name)).mkdir(parents=True)
    assert guess_source(tmp_path / "mnist") != "affectnet"
    assert find_data([tmp_path]) == []


def test_a_folder_that_may_not_be_entered_is_passed_over(
    tree: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree({"train": 1, "test": 1}, FER7.names, root="fer")
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "aside").mkdir()  # say, a link into a place that may not be entered: already what it is cannot be asked

    def refused(real: Callable[..., bool], names: tuple[str, ...]) -> Callable[..., bool]:
        def ask(self: Path) -> bool:
            if set(names) & set(self.parts):
                raise PermissionError(13, "Permission denied", str(self))
            return real(self)

        return ask

    monkeypatch.setattr(Path, "is_file", refused(Path.is_file, ("lost+found", "aside")))
    monkeypatch.setattr(Path, "is_dir", refused(Path.is_dir, ("aside",)))
    assert [(f.source, f.path.name) for f in find_data([tmp_path])] == [("folders", "fer")]
