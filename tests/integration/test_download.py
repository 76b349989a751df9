"""scripts/prepare_data.py --download, with clients that are made up: no test touches the network."""

from __future__ import annotations

import io
import sys
import tarfile
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data import load
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
from fer.errors import DataError
from fer.labels import AFFECTNET8, FER7
from tests.made_up_data import write_class_folders, write_csv, write_folders

ALPHABETICAL = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")


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
    assert "download failed" in err and "403 Forbidden" in err and err.count("\n") == 1
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
