"""scripts/prepare_data.py --inspect: counts, balance, sizes, duplicates and a sheet of faces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.made_up_data import write_class_folders, write_csv


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
