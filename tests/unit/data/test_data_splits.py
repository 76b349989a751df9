from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data import open_dataset
from fer.data.checks import RowChecker
from fer.data.folders import read_folders
from fer.data.splits import grouped_split, stratified_holdout
from fer.data.val_folder import MODES, RECORD, apply, lost, plan, set_aside, undo
from fer.errors import ConfigError, DataError, FerError

Make = Callable[..., Path]


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_exact_counts_per_class() -> None:
    sizes = [3995, 436, 4097, 7215, 4830, 3171, 4965, 1, 2, 3]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    held = stratified_holdout([str(i) for i in range(len(labels))], labels)
    # round half up of 15 %; one is never split, two keep one on either side.
    assert np.bincount(labels[held], minlength=len(sizes)).tolist() == [599, 65, 615, 1082, 725, 476, 745, 0, 1, 1]


def test_the_choice_is_pinned() -> None:
    held = stratified_holdout([f"happy/{i}.png" for i in range(20)], [3] * 20, seed=42)
    assert np.flatnonzero(held).tolist() == [6, 8, 10]


def test_blind_to_order_and_to_other_classes() -> None:
    keys, labels = [f"k{i}" for i in range(300)], np.arange(300) % 3
    chosen = {k for k, h in zip(keys, stratified_holdout(keys, labels), strict=True) if h}
    order = np.random.default_rng(0).permutation(300)
    mixed = [keys[i] for i in order]
    assert {k for k, h in zip(mixed, stratified_holdout(mixed, labels[order]), strict=True) if h} == chosen
    one = [k for k, c in zip(keys, labels, strict=True) if c == 1]
    assert {k for k, h in zip(one, stratified_holdout(one, [1] * 100), strict=True) if h} == chosen & set(one)


def test_seed_and_fraction_matter() -> None:
    keys, labels = [str(i) for i in range(100)], [0] * 100
    assert (stratified_holdout(keys, labels, seed=1) != stratified_holdout(keys, labels, seed=2)).any()
    small, large = stratified_holdout(keys, labels, 0.1), stratified_holdout(keys, labels, 0.3)
    assert (small.sum(), large.sum()) == (10, 30)
    assert (large | ~small).all()  # A larger split contains the smaller one.


@pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
def test_bad_fraction(fraction: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        stratified_holdout(["a", "b"], [0, 0], fraction)


def test_without_repetition_groups_change_nothing_and_with_it_they_stay_whole() -> None:
    rng = np.random.default_rng(0)
    for n, fraction in [(1, 0.15), (2, 0.9), (3, 0.15), (10, 0.15), (90, 0.15), (997, 0.15), (997, 0.31), (50, 0.999)]:
        keys, labels = [f"k{i}" for i in range(n)], rng.integers(0, 3, n)
        alone = stratified_holdout(keys, labels, fraction)
        for c in range(3):
            size = int((labels == c).sum())
            wanted = min(max(int(np.floor(fraction * size + 0.5)), min(1, size - 1)), size - 1) if size else 0
            assert alone[labels == c].sum() == wanted
        np.testing.assert_array_equal(stratified_holdout(keys, labels, fraction, groups=range(n)), alone)
    groups = rng.integers(0, 60, 997)
    held = stratified_holdout(keys := [str(i) for i in range(997)], groups % 3, groups=groups.tolist())
    assert all(len(set(held[groups == g])) == 1 for g in range(60))
    assert (held != stratified_holdout(keys, groups % 3)).any()


def test_names_that_are_no_utf_8_are_dealt_out_like_others() -> None:
    keys = [os.fsdecode(b"happy/caf\xe9%d.png" % i) for i in range(20)]
    held = stratified_holdout(keys, [3] * 20)
    assert held.sum() == 3 and len(set(keys)) == 20


def test_repeated_key() -> None:
    with pytest.raises(DataError, match="'a' occurs twice"):
        stratified_holdout(["a", "b", "a"], [0, 0, 1])
    with pytest.raises(DataError, match="'a' occurs twice"):
        grouped_split(["a", "b", "a"], [0, 0, 1], [0, 1, 2], SHARES)


SHARES = {"test": 0.15, "val": 0.15}


def test_groups_stay_whole_and_classes_keep_their_shares() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 400, 1000)
    labels = groups % 3
    keys = [f"k{i}" for i in range(1000)]
    where = grouped_split(keys, labels, groups.tolist(), SHARES)
    for g in set(groups):
        assert len(set(where[groups == g])) == 1
    for c in range(3):
        for split in SHARES:
            share = (where[labels == c] == split).mean()
            assert abs(share - 0.15) < 0.015, "as near as a group of a few allows"
    order = rng.permutation(1000)
    again = grouped_split([keys[i] for i in order], labels[order], groups[order].tolist(), SHARES)
    np.testing.assert_array_equal(again, where[order])
    assert (grouped_split(keys, labels, groups.tolist(), SHARES, seed=1) != where).any()


def test_single_items_get_exact_shares_and_the_choice_is_pinned() -> None:
    labels = np.repeat([0, 1, 2, 3, 4], [100, 20, 3, 2, 1])
    keys = [f"k{i:03d}" for i in range(len(labels))]
    where = grouped_split(keys, labels, range(len(labels)), SHARES)
    count = {s: np.bincount(labels[where == s], minlength=5).tolist() for s in ("train", "val", "test")}
    assert count == {"train": [70, 14, 1, 2, 1], "val": [15, 3, 1, 0, 0], "test": [15, 3, 1, 0, 0]}
    assert np.flatnonzero((where == "test") & (labels == 1)).tolist() == [102, 105, 107]


def test_a_large_group_does_not_end_in_a_small_split() -> None:
    for seed in range(20):
        where = grouped_split([f"{i:02d}" for i in range(14)], [0] * 14, [0] * 10 + [1, 2, 3, 4], SHARES, seed)
        assert (where[:10] == "train").all()
        assert {"val", "test"} <= set(where[10:])


def test_a_group_counts_for_the_class_of_its_first_key() -> None:
    keys, labels = [f"{i:02d}" for i in range(40)], [0] * 20 + [1] * 20
    where = grouped_split(keys, labels, [i % 20 for i in range(40)], {"val": 0.25})
    assert (where[:20] == where[20:]).all()
    assert (where == "val").sum() == 10


@pytest.mark.parametrize("shares", [{"val": 0}, {"val": 1}, {"val": 0.5, "test": 0.5}, {"val": -0.1}])
def test_impossible_shares(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="together below 1"):
        grouped_split(["a", "b"], [0, 0], [0, 1], shares)


@pytest.mark.parametrize("mode", MODES)
def test_the_folder_split_is_the_one_read_folders_cuts_and_can_be_undone(mode: str, make_folders: Make) -> None:
    root = make_folders({"train": 20, "test": 2})
    before, cut = tree(root), read_folders(root)
    planned = plan(root)
    assert (len(planned.chosen), planned.total) == (21, 140)
    assert tree(root) == before
    assert apply(planned, mode) == 21
    made = read_folders(root)
    for key in ("train", "val", "test"):
        np.testing.assert_array_equal(made[key].faces, cut[key].faces)
        np.testing.assert_array_equal(made[key].labels, cut[key].labels)
    assert len(list((root / "train").rglob("*.png"))) == (119 if mode == "move" else 140)
    assert undo(root) == 21
    assert tree(root) == before
    assert not (root / "val").exists()


@pytest.mark.parametrize("side", [48, 64])
def test_the_folder_split_parts_no_repeated_pictures_either(side: int, make_folders: Make) -> None:
    root = make_folders({"train": 20, "test": 2})
    for file in root.rglob("*.png"):
        Image.open(file).resize((side, side)).save(file)
    for place in sorted((root / "train").iterdir()):
        files = sorted(place.iterdir())
        for k in range(8):  # the same pixels in other bytes
            Image.open(files[k % 4]).save(files[8 + k], compress_level=k)
    (root / "train" / "fear" / "train_0019.png").write_bytes(b"")
    for seed in range(3):
        planned = plan(root, seed=seed)
        chosen = {f.path for f in planned.chosen}
        seen: dict[bool, set[bytes]] = {True: set(), False: set()}
        for file in (root / "train").rglob("*.png"):
            if file.stat().st_size:
                seen[file in chosen].add(np.asarray(Image.open(file)).tobytes())
        assert seen[True] and not seen[True] & seen[False]
        if side == 48:
            cut = read_folders(root, seed=seed, skip_bad=True)
            for mode in MODES:
                apply(planned, mode)
                made = read_folders(root, skip_bad=True)
                for key in ("train", "val", "test"):
                    np.testing.assert_array_equal(made[key].faces, cut[key].faces)
                undo(root)


@pytest.mark.parametrize("mode", MODES)
def test_what_is_validated_on_is_not_trained_on_whatever_the_pictures(mode: str, make_folders: Make) -> None:
    root = make_folders({"train": 20, "test": 2})
    for file in root.rglob("*.png"):  # no FER2013: other data take the general reader
        Image.open(file).resize((64, 64)).save(file)
    assert apply(plan(root), mode) == 21
    data = open_dataset(f"folder:{root}")
    assert (len(data["train"]), len(data["val"]), len(data["test"])) == (119, 21, 14)
    seen = {face.tobytes() for face in data["train"].faces}
    assert not any(face.tobytes() in seen for face in data["val"].faces)
    assert data.notes.get("train_files_also_in_val") == (None if mode == "move" else 21)


def test_nothing_happens_where_a_val_folder_exists(make_folders: Make) -> None:
    root = make_folders({"train": 20, "Validation": 1})
    before = tree(root)
    with pytest.raises(DataError, match="exists already"):
        apply(plan(root))
    with pytest.raises(DataError, match="was not made by create_val_split"):
        undo(root)
    assert tree(root) == before
    assert "renamed" in set_aside(root)
    apply(plan(root))
    assert len(list((root / "Validation.before-1").rglob("*.png"))) == 7
    assert "undid" in set_aside(root)
    assert len(list((root / "train").rglob("*.png"))) == 140


def test_an_interrupted_move_is_undone(make_folders: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_folders({"train": 20})
    before, real, calls = tree(root), MODES["move"], []

    def breaks(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 5:
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setitem(MODES, "move", breaks)
    with pytest.raises(DataError, match=r"No space left on device; take back .* --undo"):
        apply(plan(root))
    assert len(list((root / "val").rglob("*.png"))) == 4
    assert undo(root) == 4
    assert tree(root) == before


def test_undo_overwrites_nothing_and_keeps_what_came_later(make_folders: Make) -> None:
    root = make_folders({"train": 20})
    apply(plan(root))
    moved = json.loads((root / "val" / RECORD).read_text())["files"][0]
    (root / "train" / moved).write_bytes(b"another picture")
    with pytest.raises(DataError, match="differs from"):
        undo(root)
    (root / "train" / moved).unlink()
    (root / "val" / "happy" / "mine.png").write_bytes(b"x")
    undo(root)
    assert [p.name for p in (root / "val").rglob("*") if p.is_file()] == ["mine.png"]
    assert len(list((root / "train").rglob("*.png"))) == 140


def test_what_file_managers_leave_behind_is_in_nobody_s_way(make_folders: Make) -> None:
    root = make_folders({"train": 20})
    before = tree(root)
    for again in (undo, set_aside):
        apply(plan(root))
        for litter in ("Thumbs.db", "happy/Thumbs.db", "sad/.DS_Store", "sad/._a.png", "fear/desktop.ini"):
            (root / "val" / litter).write_bytes(b"x")
        assert again(root)
        assert tree(root) == before and not (root / "val").exists()


def test_a_new_split_is_made_beside_what_else_lay_in_the_old_one(make_folders: Make) -> None:
    root = make_folders({"train": 20})
    apply(plan(root))
    (root / "val" / "happy" / "mine.png").write_bytes(b"x")
    assert re.search(r"undid .* what else was in it stays: renamed .* to val.before-1", set_aside(root))
    assert (root / "val.before-1" / "happy" / "mine.png").is_file()
    assert apply(plan(root, seed=7)) == 21


def test_files_of_a_split_that_are_gone_are_told(make_folders: Make) -> None:
    root = make_folders({"train": 20})
    apply(plan(root))
    assert lost(root) == []
    first = json.loads((root / "val" / RECORD).read_text())["files"][0]
    (root / "val" / first).unlink()
    assert lost(root) == [first] and undo(root) == 20


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"format": "other"}'])
def test_undo_refuses_a_foreign_record(record: str, make_folders: Make) -> None:
    root = make_folders({"train": 2, "val": 1})
    (root / "val" / RECORD).write_text(record)
    with pytest.raises(DataError, match="was not made by"):
        undo(root)


def test_plan_errors(make_folders: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no train folder"):
        plan(tmp_path)
    root = make_folders()
    (root / "train" / "bored").mkdir()
    with pytest.raises(DataError, match="unknown class"):
        plan(root)
    assert plan(root, checker=RowChecker(skip_bad=True)).total == 42
    with pytest.raises(FerError, match="unknown mode"):
        apply(plan(root, checker=RowChecker(skip_bad=True)), "delete")
