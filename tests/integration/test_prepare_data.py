"""scripts/prepare_data.py and scripts/create_val_split.py from the command line, on small made-up data."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import types
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fer
from fer.data import load
from fer.data.counts import count_rows, count_table
from fer.data.discovery import find_data
from fer.data.download import (
    COMPETITION,
    DOWNLOADS,
    HUB_SHARDS,
    KAGGLE_AFFECTNET,
    KAGGLE_FERPLUS,
    KAGGLE_FOLDERS,
    arrived,
    unpack_shards,
)
from fer.data.fer2013_csv import OFFICIAL_COUNTS
from fer.errors import DataError
from fer.labels import AFFECTNET8, FER7

ROOT = Path(fer.__file__).parents[1]
ALPHABETICAL = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")


def _script(name: str) -> types.ModuleType:
    spec = spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The script's main, in an empty working directory, home and data folder."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    main = _script("prepare_data").main
    return lambda *argv: main([str(a) for a in argv])


@pytest.fixture
def split_script() -> Callable[..., int]:
    main = _script("create_val_split").main
    return lambda *argv: main([str(a) for a in argv])


def write_csv(path: Path, bad: dict[int, str] | None = None) -> Path:
    """21 rows: seven per usage, one per class; `bad` replaces the class of some rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for i in range(21):
        pixels = " ".join(map(str, rng.integers(0, 256, 2304)))
        lines.append(f"{(bad or {}).get(i, i % 7)},{pixels},{('Training', 'PublicTest', 'PrivateTest')[i // 7]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_folders(root: Path, n: int = 20, names: tuple[str, ...] = FER7.names) -> Path:
    for split, count in (("train", n), ("test", 1)):
        for c, name in enumerate(names):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                face = np.random.default_rng([c, i, count]).integers(0, 256, (48, 48), dtype=np.uint8)
                Image.fromarray(face).save(root / split / name / f"{split}_{c}_{i}.png")
    return root


def test_csv_to_one_file(prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    csv = write_csv(tmp_path / "mine" / "fer2013.csv")
    assert prepare(csv) == 0
    out = capsys.readouterr().out
    data = load(tmp_path / "data" / "fer2013.npz")
    assert {k: len(s) for k, s in data.splits.items()} == {"train": 7, "val": 7, "test": 7}
    assert data.fingerprint in out
    assert "Training" in out
    assert "1 (-3994)" in out  # Beside the official count.
    assert "Written: " in out
    stamp = (tmp_path / "data" / "fer2013.npz").stat().st_mtime_ns
    assert prepare(csv) == 0
    assert "Unchanged: " in capsys.readouterr().out
    assert (tmp_path / "data" / "fer2013.npz").stat().st_mtime_ns == stamp


def test_finds_what_is_there(prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folders(tmp_path / "home" / "Downloads" / "archive")
    assert prepare() == 0
    assert (tmp_path / "data" / "fer2013-folders.npz").is_file()
    capsys.readouterr()
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
    assert "No official counts" in count_table(Dataset("mine", FER7, {"val": split(val)}))


def write_shards(root: Path, names: tuple[str, ...] = ALPHABETICAL) -> Path:
    """WebDataset shards whose class numbers follow `names`; the top left pixel tells the FER2013 class."""
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
        for shard in range(2):
            with tarfile.open(root / split / f"{shard}.tar", "w") as tar:
                for i, name in enumerate(names):
                    face = np.full((48, 48), 10 * FER7.index(name) + shard, np.uint8)
                    png = io.BytesIO()
                    Image.fromarray(face).save(png, "PNG")
                    for suffix, content in (("png", png.getvalue()), ("cls", str(i).encode())):
                        info = tarfile.TarInfo(f"s{i:07d}.{suffix}")
                        info.size = len(content)
                        tar.addfile(info, io.BytesIO(content))
    (root / "classnames.txt").write_text("\n".join(names) + "\n")
    return root


def _fake(monkeypatch: pytest.MonkeyPatch, name: str, **functions: object) -> None:
    module = types.ModuleType(name)
    for key, value in functions.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


def test_download_from_the_hub(prepare: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, dict[str, object]]] = []

    def snapshot_download(repo_id: str, **options: object) -> str:
        asked.append((repo_id, options))
        return str(write_shards(tmp_path / "snapshot"))

    _fake(monkeypatch, "huggingface_hub", snapshot_download=snapshot_download)
    assert prepare("--download", "hub") == 0
    assert asked[0][0] == HUB_SHARDS
    assert asked[0][1]["repo_type"] == "dataset"
    data = load(tmp_path / "data" / "fer2013-folders.npz")
    for split in data.splits.values():
        np.testing.assert_array_equal(split.faces[:, 0, 0] // 10, split.labels)
    assert sum(len(s) for s in data.splits.values()) == 28


def test_download_from_kaggle(prepare: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def competition_download(name: str) -> str:
        assert name == COMPETITION
        return str(write_csv(tmp_path / "k" / "deeper" / "icml_face_data.csv").parents[1])

    def dataset_download(handle: str) -> str:
        assert handle == KAGGLE_FOLDERS
        return str(write_folders(tmp_path / "kf", n=2))

    _fake(monkeypatch, "kagglehub", competition_download=competition_download, dataset_download=dataset_download)
    assert prepare("--download", "kaggle") == 0
    assert prepare("--download", "kaggle-folders") == 0
    assert {p.name for p in (tmp_path / "data").iterdir()} == {"fer2013.npz", "fer2013-folders.npz"}


def write_class_folders(root: Path, splits: dict[str, int], names: tuple[str, ...] = AFFECTNET8.names) -> Path:
    """Smooth grey pictures of 32 px, all different."""
    for k, (split, n) in enumerate(splits.items()):
        for c, name in enumerate(names):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                low = np.random.default_rng([k, c, i]).integers(0, 256, (6, 6), dtype=np.uint8)
                face = Image.fromarray(low).resize((32, 32), Image.Resampling.BICUBIC)
                face.save(root / split / name / f"{i:03d}.png")
    return root


def test_download_of_affectnet_says_what_is_missing(
    prepare: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def dataset_download(handle: str) -> str:
        assert handle == KAGGLE_AFFECTNET
        return str(
            write_class_folders(tmp_path / "versions" / "1" / "deeper", {"train": 2, "val": 1, "test": 1}).parent
        )

    _fake(monkeypatch, "kagglehub", dataset_download=dataset_download)
    assert prepare("--download", "affectnet") == 0
    out = capsys.readouterr().out
    assert "Not as expected: train: 16 faces, the copy is described with 29526 (-29510)" in out
    assert load(tmp_path / "data" / "affectnet.npz").label_set == AFFECTNET8
    assert sum(DOWNLOADS["affectnet"].expected.values()) == 41008
    assert arrived(DOWNLOADS["hub"], load(tmp_path / "data" / "affectnet.npz")) == []


def test_download_of_ferplus_folders_has_a_name(
    prepare: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dataset_download(handle: str) -> str:
        assert handle == KAGGLE_FERPLUS
        return str(write_class_folders(tmp_path / "versions" / "1", {"train": 2, "validation": 1, "test": 1}))

    _fake(monkeypatch, "kagglehub", dataset_download=dataset_download)
    assert prepare("--download", "ferplus-folders") == 0
    assert load(tmp_path / "data" / "ferplus-folders.npz").name == "ferplus-folders"


def test_download_of_ferplus_joins_votes_that_are_there(
    prepare: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = write_csv(tmp_path / "k" / "fer2013.csv")
    _fake(monkeypatch, "kagglehub", competition_download=lambda name: str(csv.parent))
    assert prepare("--download", "ferplus") == 2
    err = capsys.readouterr().err
    assert "github.com/microsoft/FERPlus" in err and "fer2013new.csv" in err
    votes = ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"]
    usages = [line.rsplit(",", 1)[1] for line in csv.read_text().splitlines()[1:]]
    votes += [f"{u},x.png,0,10,0,0,0,0,0,0,0,0" for u in usages]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fer2013new.csv").write_text("\n".join(votes))
    assert prepare("--download", "ferplus") == 0
    assert (load(tmp_path / "data" / "ferplus.npz")["train"].labels == 1).all()
    assert [p.name for p in csv.parent.iterdir()] == ["fer2013.csv"], "the client's cache is left as it was"


def test_download_of_muxspace_says_how(prepare: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare("--download", "muxspace") == 2
    assert "git clone https://github.com/muxspace/facial_expressions" in capsys.readouterr().err


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


def planted(root: Path) -> Path:
    """Happy and sad, 10 + 2 + 2 each; one picture twice in train, two of test in train, one of them as the other."""
    write_class_folders(root, {"train": 10, "val": 2, "test": 2}, ("happy", "sad"))
    copies = [
        ("train/happy/000", "train/happy/x"),
        ("train/happy/001", "test/happy/y"),
        ("train/happy/002", "test/sad/z"),
    ]
    for source, copy in copies:
        (root / f"{copy}.png").write_bytes((root / f"{source}.png").read_bytes())
    return root


def test_inspect_counts_balance_sizes_and_planted_duplicates(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = planted(tmp_path / "two")
    assert prepare("--inspect", f"folder:{root}") == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "train 11 10 21" in lines and "test 3 3 6" in lines
    assert "happy 16 51.6% #####################" in lines
    assert "train: imbalance 1.1 (11 happy, 10 sad)" in lines
    assert "stored: 32 x 32 RGB" in lines and "original: 32 x 32" in lines
    assert "train itself 2 (9.5%) 0 (0.0%) 0" in lines
    assert "val itself 0 (0.0%) 0 (0.0%) 0" in lines
    assert "test train 2 (33.3%) 0 (0.0%) 1" in lines
    assert "images in train and test: 2" in lines
    grid = tmp_path / "data" / "two-grid.png"
    assert f"Sheet of faces: {grid}" in out
    assert [p.name for p in (tmp_path / "data").iterdir()] == ["two-grid.png"], "nothing is packed"
    with Image.open(grid) as sheet:
        assert sheet.mode == "RGB" and sheet.width > 10 * 72 and sheet.height > 2 * 72


def test_inspect_takes_every_way_to_name_data(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = write_csv(tmp_path / "x" / "fer2013.csv")
    assert prepare(csv) == 0
    packed = tmp_path / "data" / "fer2013.npz"
    grid = tmp_path / "deep" / "g.jpg"
    for argument in (
        ["fer2013"],
        [packed],
        [csv],
        [],
        ["--source", "fer2013"],
        ["fer2013@ferplus8"],
        ["synthetic:n=2"],
    ):
        capsys.readouterr()
        assert prepare("--inspect", *argument, "--grid", grid) == 0, argument
        out = capsys.readouterr().out
        assert "Class balance" in out and "Duplicates" in out and str(grid) in out
    assert grid.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inspect", "nowhere"], "unknown data set 'nowhere'"),
        (["--inspect", "nowhere/x"], "no such file or folder"),
        (["--inspect", "folder:nowhere"], "no such folder"),
        (["--inspect"], "no FER2013 data found"),
        (["--inspect", "synthetic:n=1", "--out", "x.npz"], "--inspect packs nothing"),
        (["--inspect", "synthetic:n=1", "--grid", "x.txt"], "cannot tell the format"),
        (["--grid", "x.png"], "--grid goes with --inspect"),
        (["--source", "folder"], "--source folder needs the place"),
    ],
)
def test_inspect_on_what_is_not_there(
    arguments: list[str], message: str, prepare: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(*arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and message in err


def test_inspect_of_a_damaged_file(
    prepare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "fer2013.npz").write_bytes(b"PK\x03\x04 cut off")
    assert prepare("--inspect", "fer2013") == 2
    assert "damaged or not a data file" in capsys.readouterr().err


@pytest.mark.parametrize("choice", ["kaggle", "kaggle-folders", "hub", "affectnet", "ferplus-folders"])
def test_download_without_client_or_network(
    choice: str, prepare: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = "huggingface_hub" if choice == "hub" else "kagglehub"
    monkeypatch.setitem(sys.modules, client, None)
    assert prepare("--download", choice) == 2
    assert f"needs the package {client}: python -m pip install {client}" in capsys.readouterr().err

    class Refused(Exception):
        """What a client raises of its own."""

    def refuse(*_: object, **__: object) -> str:
        raise Refused("403 Forbidden\nmore")

    _fake(monkeypatch, client, snapshot_download=refuse, competition_download=refuse, dataset_download=refuse)
    _fake(monkeypatch, f"{client}.exceptions", Refused=Refused)
    assert prepare("--download", choice) == 2
    err = capsys.readouterr().err
    assert "download failed (403 Forbidden)" in err
    assert ("kaggle.json" in err) == (client == "kagglehub")


def test_no_network_without_the_flag(prepare: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    for client in ("huggingface_hub", "kagglehub"):
        monkeypatch.setitem(sys.modules, client, None)

    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("network touched")

    monkeypatch.setattr("socket.socket.connect", no_socket)
    assert prepare() == 2


def test_shards_that_cannot_be_trusted(tmp_path: Path) -> None:
    shards = write_shards(tmp_path / "a")
    (shards / "train" / "1.tar").write_bytes(b"x" * 2000)
    with pytest.raises(DataError, match=r"1.tar: damaged archive"):
        unpack_shards(shards, tmp_path / "out")
    (shards / "classnames.txt").write_text("\n".join(ALPHABETICAL[:6]))
    with pytest.raises(DataError, match="expected the classes"):
        unpack_shards(shards, tmp_path / "out")
    (shards / "classnames.txt").unlink()
    with pytest.raises(DataError, match="mean nothing"):
        unpack_shards(shards, tmp_path / "out")
    short = write_shards(tmp_path / "b")
    with tarfile.open(short / "test" / "2.tar", "w") as tar:
        info = tarfile.TarInfo("../../evil.png")
        tar.addfile(info, io.BytesIO())
    with pytest.raises(DataError, match=r"evil.png has class ''"):
        unpack_shards(short, tmp_path / "out")
    assert not list(tmp_path.parent.glob("evil*"))


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
