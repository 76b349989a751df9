from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data import open_dataset
from fer.data.folders import read_folders, read_grey
from fer.errors import DataError

Make = Callable[..., Path]
SPELLINGS = ("Anger", "disgusted", "FEAR", "Happiness", "sad", "Surprise", "neutral")


def test_classes_come_from_names_never_from_the_order_on_disk(make_folders: Make) -> None:
    data = read_folders(make_folders())
    assert data.name == "fer2013-folders"
    for split in data.splits.values():
        mean = split.faces.mean(axis=(1, 2))
        # The builder makes class c (in FER7 order, not alphabetical) lie around 30 + 30 c.
        np.testing.assert_array_equal(np.round((mean - 30) / 30), split.labels)
    assert np.bincount(data["test"].labels).tolist() == [2] * 7


def test_any_spelling_and_any_order_of_creation_give_the_same_data(make_folders: Make) -> None:
    plain = read_folders(make_folders())
    other = read_folders(make_folders(root="other", names=SPELLINGS, reverse=True))
    assert other.fingerprint == plain.fingerprint


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".JPG"])
def test_png_and_jpg(suffix: str, make_folders: Make) -> None:
    splits = {"train": 6, "val": 2}
    png = read_folders(make_folders(splits))
    other = read_folders(make_folders(splits, root="other", suffix=suffix))
    assert abs(png["train"].faces.astype(int) - other["train"].faces).mean() < 3
    np.testing.assert_array_equal(png["val"].labels, other["val"].labels)


def test_existing_val_is_respected(make_folders: Make) -> None:
    for name in ("val", "validation", "Valid"):
        data = read_folders(make_folders({"train": 6, name: 3, "test": 2}, root=f"with-{name}"))
        assert {k: len(s) for k, s in data.splits.items()} == {"train": 42, "val": 21, "test": 14}
        assert data.title("val") == name
    rows = np.concatenate([data[k].rows for k in ("train", "val", "test")])
    np.testing.assert_array_equal(rows, np.arange(77))


def test_absent_val_is_cut_from_train_seeded_and_stratified(make_folders: Make) -> None:
    root = make_folders({"train": 20, "test": 2})
    data, again, other = read_folders(root), read_folders(root), read_folders(root, seed=1)
    assert np.bincount(data["val"].labels).tolist() == [3] * 7
    assert np.bincount(data["train"].labels).tolist() == [17] * 7
    assert data.title("val") == "val (cut from train)"
    assert not set(data["val"].rows) & set(data["train"].rows)
    assert data.fingerprint == again.fingerprint
    assert set(data["val"].rows) != set(other["val"].rows)
    np.testing.assert_array_equal(data["test"].faces, other["test"].faces)


def test_a_train_file_that_lies_in_val_too_is_not_trained_on(make_folders: Make) -> None:
    root = make_folders({"train": 6, "val": 2})
    twin = root / "train" / "happy" / "train_0003.png"
    (root / "val" / "happy" / twin.name).write_bytes(twin.read_bytes())
    # The same name with another picture is another face.
    namesake = root / "train" / "sad" / "train_0003.png"
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(root / "val" / "sad" / namesake.name)
    data = read_folders(root)
    assert np.bincount(data["train"].labels).tolist() == [6, 6, 6, 5, 6, 6, 6]
    assert data.notes["train_files_also_in_val"] == 1


def repeat(root: Path) -> None:
    """Of every class eight of the twenty training pictures become four others, under other names and in other bytes."""
    for place in sorted(p for p in (root / "train").iterdir()):
        files = sorted(place.iterdir())
        for k in range(8):
            with Image.open(files[k % 4]) as image:
                image.save(files[8 + k], **({"optimize": True} if k < 4 else {"compress_level": 0}))


def test_repeated_pictures_stay_on_one_side_of_the_cut(make_folders: Make) -> None:
    root = make_folders({"train": 20, "test": 2})
    before = read_folders(root)
    assert "repeated_images" not in before.notes and "images_in_train_and_val" not in before.notes
    repeat(root)
    for seed in range(5):
        data = read_folders(root, seed=seed)
        seen = {k: {f.tobytes() for f in data[k].faces} for k in ("train", "val")}
        assert not seen["train"] & seen["val"]
        assert data.notes["repeated_images"] == 7 * 8
        assert not [n for n in data.notes if n.startswith("images_in_")]
        assert (len(data["train"]) + len(data["val"])) == 140
        assert all(2 <= n <= 4 for n in np.bincount(data["val"].labels))


def test_pictures_that_given_splits_share_are_counted(make_folders: Make) -> None:
    root = make_folders({"train": 6, "val": 2, "test": 2})
    for split, n in (("val", 1), ("test", 2)):
        for i in range(n):
            with Image.open(root / "train" / "happy" / f"train_000{i}.png") as image:
                image.save(root / split / "sad" / f"again{i}.png", compress_level=0)
    notes = read_folders(root).notes
    shared = {k: v for k, v in notes.items() if "images" in k}
    assert shared == {
        "repeated_images": 3,
        "images_in_train_and_val": 1,
        "images_in_train_and_test": 2,
        "images_in_val_and_test": 1,
    }


def test_other_sizes_are_told_who_reads_them(make_folders: Make) -> None:
    root = make_folders()
    for file in root.rglob("*.png"):
        Image.open(file).resize((64, 64)).save(file)
    with pytest.raises(DataError, match="pictures of other sizes are read with folder:PATH"):
        open_dataset(root)
    assert open_dataset(f"folder:{root}")["train"].faces.shape[1:] == (64, 64, 3)


def test_litter_is_ignored(make_folders: Make) -> None:
    root = make_folders()
    before = read_folders(root).fingerprint
    (root / "train" / ".DS_Store").write_bytes(b"x")
    (root / "train" / "happy" / "Thumbs.db").write_bytes(b"x")
    (root / "__MACOSX").mkdir()
    (root / "readme.txt").write_text("x")
    assert read_folders(root).fingerprint == before


def _wrong_size(p: Path) -> None:
    Image.new("L", (64, 48)).save(p)


def _sixteen_bit(p: Path) -> None:
    Image.fromarray(np.zeros((48, 48), np.uint16)).save(p)


def _truncate(p: Path) -> None:
    p.write_bytes(p.read_bytes()[:-60])


def _bad_checksum(p: Path) -> None:
    data = bytearray(p.read_bytes())
    data[len(data) // 2] ^= 0xFF
    p.write_bytes(bytes(data))


BAD_FILES = [
    ("size", ".png", _wrong_size, "64 x 48 pixels; expected 48 x 48"),
    ("16 bit", ".png", _sixteen_bit, "more than 8 bits"),
    ("cut png", ".png", _truncate, "truncated or damaged"),
    ("cut jpg", ".jpg", _truncate, "truncated or damaged"),
    ("flipped byte", ".png", _bad_checksum, "truncated or damaged"),
    ("empty", ".png", lambda p: p.write_bytes(b""), "empty file"),
    ("text", ".jpg", lambda p: p.write_text("hello"), "not an image"),
]


@pytest.mark.parametrize(("name", "suffix", "damage", "message"), BAD_FILES, ids=[b[0] for b in BAD_FILES])
def test_a_bad_picture_is_named_and_can_be_skipped(
    name: str, suffix: str, damage: Callable[[Path], object], message: str, make_folders: Make
) -> None:
    root = make_folders({"train": 6, "val": 1, "test": 1}, suffix=suffix)
    good = read_folders(root)
    bad = root / "train" / "fear" / f"train_0004{suffix}"
    damage(bad)
    with pytest.raises(DataError) as error:
        read_folders(root)
    assert str(bad) in str(error.value)
    assert message in str(error.value)
    data = read_folders(root, skip_bad=True)
    assert np.bincount(data["train"].labels).tolist() == [6, 6, 5, 6, 6, 6, 6]
    assert message in data.notes["left_out"][0]
    assert data.notes["left_out"][0].startswith(bad.name)
    # Everybody else keeps their row number.
    assert set(good["train"].rows) - set(data["train"].rows) == {4 * 7 + 2}


def test_bad_pictures_do_not_move_the_validation_split(make_folders: Make) -> None:
    root = make_folders({"train": 20, "test": 1})
    before = set(read_folders(root)["val"].rows)
    for i in range(5):
        (root / "train" / "fear" / f"train_{i:04d}.png").write_bytes(b"")
    assert set(read_folders(root, skip_bad=True)["val"].rows) <= before


def _add(relative: str, content: bytes | None = b"x") -> Callable[[Path], None]:
    def change(root: Path) -> None:
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if content is None else path.write_bytes(content)

    return change


def _empty_class(root: Path) -> None:
    for file in (root / "train" / "sad").iterdir():
        file.unlink()


def _rename(old: str, new: str) -> Callable[[Path], None]:
    return lambda root: (root / old).rename(root / new) and None


BAD_FOLDERS = [
    ("unknown class", _add("train/bored/a.png"), "unknown class 'bored'"),
    ("empty class", _empty_class, "empty folder"),
    ("stray file", _add("train/readme.txt"), "a file where only class folders"),
    ("stray type", _add("train/happy/notes.txt"), "not a png or jpg"),
    ("folder in class", _add("train/happy/more", None), "not a png or jpg"),
    ("missing class", _rename("train/disgust", ".hidden"), "no folder for disgust"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD_FOLDERS, ids=[b[0] for b in BAD_FOLDERS])
def test_odd_folders_are_errors_and_can_be_skipped(
    name: str, change: Callable[[Path], None], message: str, make_folders: Make
) -> None:
    root = make_folders()
    change(root)
    with pytest.raises(DataError, match=message):
        read_folders(root)
    data = read_folders(root, skip_bad=True)
    assert any(message in line for line in data.notes["left_out"])
    assert len(data["test"]) == 14


def test_layouts_that_are_none(make_folders: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        read_folders(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="not a folder"):
        read_folders(tmp_path / "file")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="no train folder"):
        read_folders(tmp_path / "bare")
    (tmp_path / "bare" / "train").mkdir()
    for skip_bad in (False, True):
        with pytest.raises(DataError, match="holds no images"):
            read_folders(tmp_path / "bare", skip_bad=skip_bad)
    both = make_folders({"val": 1, "validation": 1, "train": 1})
    with pytest.raises(DataError, match="both val and validation"):
        read_folders(both)


def test_two_folders_of_one_class_are_merged_but_a_name_may_not_repeat(make_folders: Make) -> None:
    root = make_folders()
    (root / "train" / "anger").mkdir()
    face = (root / "train" / "angry" / "train_0000.png").read_bytes()
    (root / "train" / "anger" / "new.png").write_bytes(face)
    data = read_folders(root)
    assert np.bincount(np.concatenate([data["train"].labels, data["val"].labels])).tolist() == [7] + [6] * 6
    (root / "train" / "anger" / "train_0000.png").write_bytes(face)
    with pytest.raises(DataError, match=r"a second file 'train_0000.png' of class angry"):
        read_folders(root)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "LA"])
def test_grey_in_colour_clothes_is_exact(mode: str, tmp_path: Path) -> None:
    grey = np.arange(48 * 48, dtype=np.uint32).reshape(48, 48).astype(np.uint8)
    image = Image.fromarray(grey).convert(mode)
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    image.save(path, quality=100) if mode == "CMYK" else image.save(path)
    assert abs(read_grey(path).astype(int) - grey).mean() <= (30 if mode == "CMYK" else 0)
