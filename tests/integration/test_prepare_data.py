"""scripts/prepare_data.py and scripts/create_val_split.py from the command line, on small made-up data."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fer
from fer.data import load, open_dataset
from fer.data.counts import count_rows, count_table
from fer.data.discovery import find_data
from fer.data.download import (
    COMPETITION,
    DOWNLOADS,
    HUB_SHARDS,
    KAGGLE_FOLDERS,
)
from fer.data.fer2013_csv import OFFICIAL_COUNTS
from fer.labels import AFFECTNET8, FER7
from tests.made_up_data import write_class_folders, write_csv, write_folders, write_votes

ROOT = Path(fer.__file__).parents[1]


def test_csv_to_one_file(prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = write_csv(tmp_path / "mine" / "fer2013.csv")
    assert prepare(csv) == 0
    out = capsys.readouterr().out
    data = load(tmp_path / "data" / "fer2013.npz")
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 7, "val": 7, "test": 7}
    assert data.fingerprint in out
    assert "Training" in out
    assert "1 (-3994)" in out  # Beside the official count.
    assert "Written: " in out and out.endswith("--data fer2013, and without any\n")
    stamp = (tmp_path / "data" / "fer2013.npz").stat().st_mtime_ns
    assert prepare(csv) == 0
    assert "Unchanged: " in capsys.readouterr().out
    assert (tmp_path / "data" / "fer2013.npz").stat().st_mtime_ns == stamp


def test_finds_what_is_there(prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folders(tmp_path / "home" / "Downloads" / "archive")
    assert prepare() == 0
    assert (tmp_path / "data" / "fer2013-folders.npz").is_file()
    said = capsys.readouterr().out.splitlines()[-1]
    assert open_dataset(said.rpartition("--data ")[2]).fingerprint == open_dataset("folders").fingerprint
    assert prepare("--out", tmp_path / "elsewhere.npz") == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert open_dataset(said.rpartition("--data ")[2]).fingerprint == open_dataset("folders").fingerprint
    write_csv(tmp_path / "cwd" / "icml_face_data.csv")
    assert prepare() == 0
    out = capsys.readouterr().out
    assert "Reading fer2013:" in out
    assert "Also found, not used: folders:" in out
    assert (tmp_path / "data" / "fer2013.npz").is_file()
    assert prepare("--source", "folders") == 0


def test_other_peoples_train_folders_are_not_taken_for_faces(tmp_path: Path) -> None:
    for name in ("cats", "dogs", "happy"):
        (tmp_path / "pets" / "train" / name).mkdir(parents=True)
    assert find_data([tmp_path, tmp_path / "absent"]) == []


def test_prepared_before(prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = write_csv(tmp_path / "x" / "fer2013.csv")
    assert prepare(csv) == 0
    csv.unlink()
    capsys.readouterr()
    assert prepare() == 0
    assert "Prepared before: " in capsys.readouterr().out


def test_nothing_there_says_how_to_get_it(prepare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare() == 2
    err = capsys.readouterr().err
    for word in (COMPETITION, KAGGLE_FOLDERS, HUB_SHARDS, "~/.kaggle", "KAGGLE_USERNAME", "KAGGLE_KEY", "synthetic"):
        assert word in err


def test_bad_rows_stop_it_or_are_listed(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = write_csv(tmp_path / "x" / "fer2013.csv", bad={2: "7", 9: "x"})
    assert prepare(csv) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {csv}:4: unknown class 7")
    assert not (tmp_path / "data").exists()
    assert prepare(csv, "--skip-bad") == 0
    out = capsys.readouterr().out
    assert "Left out 2:\n  fer2013.csv:4: unknown class 7" in out
    assert "  fer2013.csv:11: class 'x'" in out
    data = load(tmp_path / "data" / "fer2013.npz")
    assert len(data.notes["left_out"]) == 2
    assert data["train"].rows.tolist() == [0, 1, 3, 4, 5, 6]


def test_out_and_seed(prepare: Callable[..., int], tmp_path: Path) -> None:
    root = write_folders(tmp_path / "f")
    assert prepare(root, "--out", tmp_path / "a.npz") == 0
    assert prepare(root, "--out", tmp_path / "b.npz", "--seed", 7) == 0
    assert prepare(root, "--out", tmp_path / "place") == 0
    a, b = load(tmp_path / "a.npz"), load(tmp_path / "b.npz")
    assert a.fingerprint == load(tmp_path / "place" / "fer2013-folders.npz").fingerprint
    assert a.fingerprint != b.fingerprint
    assert (len(a["train"]), len(a["val"]), len(a["test"])) == (119, 21, 7)
    (tmp_path / "file").write_text("x")
    assert prepare(root, "--out", tmp_path / "file" / "c.npz") == 2


@pytest.mark.parametrize("path", ["nowhere", "nowhere.csv", ".", "/dev/null"])
def test_bad_paths(path: str, prepare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare(path) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_runs_from_anywhere_without_installation(tmp_path: Path) -> None:
    csv = write_csv(tmp_path / "fer2013.csv")
    env = os.environ | {"FER_DATA": str(tmp_path / "d")}
    for script, argument in (("prepare_data", csv), ("create_val_split", tmp_path / "nowhere")):
        run = subprocess.run(
            [sys.executable, ROOT / "scripts" / f"{script}.py", argument], cwd=tmp_path, env=env, capture_output=True
        )
        assert run.returncode == (0 if script == "prepare_data" else 2)
        assert b"Traceback" not in run.stderr
    assert (tmp_path / "d" / "fer2013.npz").is_file()


def test_counts_against_the_official_ones() -> None:
    from fer.data.dataset import Dataset, Split

    def split(counts: tuple[int, ...]) -> Split:
        labels = np.repeat(np.arange(7), counts)
        n = len(labels)
        return Split(np.zeros((n, 1, 1), np.uint8), np.eye(7, dtype=np.float32)[labels], np.arange(n))

    exact = Dataset("fer2013", FER7, {k: split(c) for k, c in OFFICIAL_COUNTS.items()})
    assert "All 35887 faces: every count equals the official one." in count_table(exact)
    merged = tuple(a + b for a, b in zip(OFFICIAL_COUNTS["val"], OFFICIAL_COUNTS["test"], strict=True))
    val = (600, 65, 615, 1082, 724, 475, 745)
    train = tuple(a - b for a, b in zip(OFFICIAL_COUNTS["train"], val, strict=True))
    folders = Dataset("fer2013-folders", FER7, {"train": split(train), "val": split(val), "test": split(merged)})
    assert "All 35887 faces" in count_table(folders)
    one_more = (492, *OFFICIAL_COUNTS["test"][1:])
    other = Dataset("fer2013", FER7, {**exact.splits, "test": split(one_more)})
    assert count_rows(other)[2].difference == (1, 0, 0, 0, 0, 0, 0)
    assert "492 (+1)" in count_table(other)
    assert "3590 (+1)" in count_table(other)
    own = dataclasses.replace(exact, name="fer2013-folders")
    assert "All 35887 faces: every count equals the official one." in count_table(own), "val/ is PublicTest"
    alone = Dataset("fer2013", FER7, {"train": exact["train"]})
    assert "official one, but there is no val and no test." in count_table(alone)
    assert "No official counts" in count_table(Dataset("mine", FER7, {"val": split(val)}))


def test_class_folders_by_spec_options_and_labels(prepare: Callable[..., int], tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "Mine!", {"": 10})
    assert prepare(f"folder:{root},size_px=24@fer7") == 0
    data = load(tmp_path / "data" / "mine-fer7.npz")
    assert (data.label_set, data["train"].faces.shape[1:]) == (FER7, (24, 24, 3))
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 42, "val": 14, "test": 14}
    assert prepare(root, "--source", "folder") == 0
    assert len(load(tmp_path / "data" / "mine.npz").label_set) == 8
    assert prepare("--source", "folder") == 2
    assert prepare("--source", "synthetic", "n=2,contempt=1") == 0
    assert load(tmp_path / "data" / "synthetic.npz").label_set == AFFECTNET8


def test_one_s_own_eight_classes_touch_no_affectnet(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = write_class_folders(tmp_path / "a" / "AffectNet", {"train": 3, "val": 1})
    assert prepare(theirs) == 0
    packed = tmp_path / "data" / "affectnet.npz"
    before = packed.read_bytes()
    # the Kaggle copy of FER+ in folders, wherever it lies
    mine = write_class_folders(tmp_path / "home" / "Downloads" / "ferplus", {"train": 4, "validation": 1, "test": 1})
    capsys.readouterr()
    assert prepare(mine) == 0
    assert f"Reading folder:{mine}" in capsys.readouterr().out
    assert load(tmp_path / "data" / "folder-ferplus.npz")["train"].faces.shape[0] == 32
    assert prepare() == 0
    assert f"Reading folder:{mine}" in capsys.readouterr().out
    assert prepare("--source", "affectnet", "--out", tmp_path / "x.npz") == 2
    assert "affectnet:PATH" in capsys.readouterr().err
    assert packed.read_bytes() == before
    assert prepare("--source", "affectnet", mine) == 0, "asked for by name it is read as that"
    assert prepare(f"affectnet:{mine}") == 0
    assert len(load(packed)["train"]) == 32


def test_a_name_alone_is_a_place_of_that_name_or_looked_for_and_never_the_working_directory(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cwd, data = tmp_path / "cwd", tmp_path / "data"
    write_class_folders(cwd / "Ferplus", {"train": 4, "val": 1})
    for name in ("affectnet", "affectnet@fer7", "affectnet:", "muxspace"):
        assert prepare(name) == 2
        assert f"no {name.rstrip(':').partition('@')[0]} data found" in capsys.readouterr().err
    assert prepare("folder") == 2 and not data.exists()
    write_class_folders(cwd / "affectnet", {"train": 3, "val": 1})
    assert prepare("affectnet") == 0
    assert "Reading affectnet:affectnet\n" in capsys.readouterr().out
    assert prepare("affectnet@fer7") == 0
    assert {p.name for p in data.iterdir()} == {"affectnet.npz", "affectnet-fer7.npz"}
    write_csv(cwd / "fer2013" / "fer2013.csv")
    assert prepare("fer2013") == 0 and (data / "fer2013.npz").is_file()
    (cwd / "fer2013").rename(tmp_path / "cwd" / "x")
    assert prepare("fer2013") == 0, "looked for"
    assert f"Reading fer2013:{cwd / 'x'}" in capsys.readouterr().out
    write_folders(cwd / "fer2013", n=3)
    assert prepare("fer2013") == 0
    assert "Reading folders:fer2013\n" in capsys.readouterr().out
    (cwd / "x" / "fer2013.csv").unlink()
    (cwd / "fer2013").rename(tmp_path / "gone")
    assert prepare("fer2013") == 0
    assert f"Prepared before: {data / 'fer2013.npz'}" in capsys.readouterr().out


def test_a_file_that_is_not_this_project_s_or_a_newer_one_s_is_not_replaced(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv, packed = write_csv(tmp_path / "x" / "FER2013.CSV"), tmp_path / "data" / "fer2013.npz"
    packed.parent.mkdir()
    header = {"format": "fer-dataset", "schema": 99}
    newer = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    for arrays, said in (
        ({"header": np.zeros(3, np.uint8)}, "not a data file of this project"),
        ({"faces": np.zeros(3)}, "not a data file of this project"),
        (newer, "of schema 99, newer than 1"),
    ):
        np.savez(packed, **arrays)  # type: ignore[arg-type]
        before = packed.read_bytes()
        assert prepare(csv.parent) == 2 and packed.read_bytes() == before
        assert f"{packed}: is {said}" in capsys.readouterr().err
    packed.write_text("my notes")
    assert prepare(csv.parent) == 2 and packed.read_text() == "my notes"
    packed.write_bytes(b"")
    assert prepare(csv.parent) == 0 and "Written: " in capsys.readouterr().out
    assert prepare(csv.parent, "--out", tmp_path / "MINE.NPZ") == 0, "a file, not a folder"
    assert open_dataset(tmp_path / "MINE.NPZ").fingerprint == load(packed).fingerprint


def test_other_data_under_the_same_name_are_replaced_loudly(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "data" / "fer2013.npz"
    assert prepare(write_csv(tmp_path / "x" / "fer2013.csv", bad={2: "5"})) == 0
    old = load(packed).fingerprint
    capsys.readouterr()
    csv = write_csv(tmp_path / "x" / "fer2013.csv")  # mended
    assert prepare(csv) == 0
    out = capsys.readouterr().out
    line = next(x for x in out.splitlines() if str(packed) in x)
    assert line.startswith("Replaced: ") and f"other data were there: fingerprint {old}" in line
    assert "guessed" in line and "Written: " not in out
    assert load(packed).fingerprint != old
    assert prepare("--source", "fer2013", csv) == 0
    assert "Unchanged: " in capsys.readouterr().out
    assert prepare("--source", "fer2013", write_csv(tmp_path / "x" / "fer2013.csv", bad={2: "5"})) == 0
    out = capsys.readouterr().out
    assert "Replaced: " in out and "guessed" not in out
    packed.write_bytes(packed.read_bytes()[:5000])
    assert prepare(csv) == 0
    assert "Written: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "by_name"),
    [
        (["--source", "synthetic"], False),
        (["--source", "synthetic", "n=3,contempt=1"], False),
        (["synthetic:n=3", "--seed", 7], False),
        (["synthetic:n=3", "--out", "{data}/mine.npz"], True),
        (["{csv}", "--out", "{data}/folders.npz"], False),
        (["{csv}", "--out", "{data}/fer2013-folders.npz"], True),
        (["{csv}", "--out", "{data}/folder.npz"], False),
        (["{csv}@ferplus8"], True),
        (["{csv}", "--out", "{data}/x@fer7.npz"], False),
    ],
)
def test_the_name_that_is_printed_opens_what_was_written(
    arguments: list[object],
    by_name: bool,
    prepare: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    csv = write_csv(tmp_path / "x" / "fer2013.csv")
    arguments = [str(a).format(csv=csv, data=tmp_path / "data") for a in arguments]
    if "synthetic" in arguments and len(arguments) == 2:
        arguments += ["n=2", "--seed", "7"]
    assert prepare(*arguments) == 0
    out = capsys.readouterr().out
    (packed,) = (tmp_path / "data").glob("*.npz")
    said = out.splitlines()[-1].rpartition("--data ")[2]
    assert said == (packed.stem if by_name else str(packed))
    assert open_dataset(said).fingerprint == load(packed).fingerprint
    assert f"Fingerprint: {load(packed).fingerprint}" in out
    assert prepare(*arguments) == 0
    assert "Unchanged: " in capsys.readouterr().out


def test_download_takes_a_source_that_reads_the_same_place_and_nothing_else(
    prepare: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = write_csv(tmp_path / "k" / "fer2013.csv")
    write_votes(csv)
    fetched: list[str] = []

    def fetch(name: str, place: Path) -> Callable[[Path], Path]:
        return lambda _: fetched.append(name) or place

    for name, place in (("ferplus", csv.parent), ("kaggle", csv)):
        monkeypatch.setitem(DOWNLOADS, name, dataclasses.replace(DOWNLOADS[name], fetch=fetch(name, place)))
    for arguments, said in (
        (["kaggle", "--source", "ferplus"], "--download kaggle is read as fer2013, not as ferplus"),
        (["ferplus", "--source", "folders"], "is read as ferplus or ferplus-majority, not as folders"),
        (["ferplus", "ferplus@fer7"], "--download takes no PATH, got 'ferplus@fer7'"),
        (["kaggle", csv, "--inspect"], "--download takes no PATH"),
        (["kaggle", "--source", "synthetic"], "not as synthetic"),
    ):
        assert prepare("--download", *arguments) == 2, arguments
        assert said in capsys.readouterr().err
    assert not fetched, "it complains before anything is fetched"
    assert prepare("--download", "ferplus", "--source", "ferplus-majority") == 0
    assert prepare("--download", "kaggle", "--source", "fer2013") == 0
    assert {p.name for p in (tmp_path / "data").iterdir()} == {"ferplus-majority.npz", "fer2013.npz"}
    assert prepare("--download", "ferplus") == 0
    assert (tmp_path / "data" / "ferplus.npz").is_file()


@pytest.mark.parametrize("mode", ["--move", "--copy"])
def test_undo_that_only_says_what_it_would_do(
    mode: str, split_script: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folders(tmp_path / "f")
    assert split_script(root, "--undo", "--dry-run") == 2, "nothing to undo"
    assert split_script(root, mode) == 0
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*")}
    capsys.readouterr()
    assert split_script(root, "--undo", "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.startswith("Would ") and "21" in out and "is as it was" not in out
    assert ("back" in out) == (mode == "--move")
    assert {p: p.stat().st_mtime_ns for p in root.rglob("*")} == before
    assert split_script(root, "--undo") == 0
    assert not (root / "val").exists() and f"{root} is as it was" in capsys.readouterr().out


def test_undo_says_what_is_not_as_it_was(
    split_script: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folders(tmp_path / "f")
    assert split_script(root) == 0
    next((root / "val" / "sad").iterdir()).unlink()
    (root / "val" / "happy" / "mine.png").write_bytes(b"x")
    capsys.readouterr()
    assert split_script(root, "--undo") == 0
    out = capsys.readouterr().out
    assert "val stays with what else is in it (1 files)" in out and "is as it was" not in out
    assert "1 files of the split are neither in val nor in train: sad/train_" in out


def test_create_val_split(
    split_script: Callable[..., int],
    prepare: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = write_folders(tmp_path / "f")
    assert prepare(root, "--out", tmp_path / "cut.npz") == 0
    assert split_script(root, "--dry-run") == 0
    assert not (root / "val").exists()
    capsys.readouterr()
    assert split_script(root) == 0
    assert "total         21 of 140" in capsys.readouterr().out
    assert prepare(root, "--out", tmp_path / "made.npz") == 0
    cut, made = load(tmp_path / "cut.npz"), load(tmp_path / "made.npz")
    for key in ("train", "val", "test"):
        np.testing.assert_array_equal(cut[key].faces, made[key].faces)

    capsys.readouterr()
    assert split_script(root) == 2
    assert "exists already" in capsys.readouterr().err
    chosen = json.loads((root / "val" / ".val_split.json").read_text())["files"]
    assert split_script(root, "--force", "--seed", 7, "--copy", "--fraction", 0.25) == 0
    assert json.loads((root / "val" / ".val_split.json").read_text())["files"] != chosen
    assert len(list((root / "train").rglob("*.png"))) == 140
    assert len(list((root / "val").rglob("*.png"))) == 35
    assert split_script(root, "--undo") == 0
    assert not (root / "val").exists()
    assert len(list((root / "train").rglob("*.png"))) == 140
    assert split_script(root, "--undo") == 2
    assert split_script(root, "--fraction", 2) == 2
    assert split_script(tmp_path / "nowhere") == 2


def test_force_complains_before_it_touches_anything(split_script: Callable[..., int], tmp_path: Path) -> None:
    root = write_folders(tmp_path / "f", n=4)
    assert split_script(root) == 0
    before = sorted(str(p) for p in root.rglob("*"))
    (root / "train" / "bored").mkdir()
    assert split_script(root, "--force") == 2
    (root / "train" / "bored").rmdir()
    assert sorted(str(p) for p in root.rglob("*")) == before
