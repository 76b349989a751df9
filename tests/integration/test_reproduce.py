"""scripts/reproduce.py counts for itself and notices a figure that is not so."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import fer
from fer.labels import FER7
from fer.specs import InputSpec
from fer.transforms import prepare, ten_crop

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("reproduce", ROOT / "scripts" / "reproduce.py")
reproduce = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reproduce)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A small fer2013.csv of noise, whose PrivateTest labels are right for exactly 7 of 20 by `baseline_cnn`."""
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (28, 48, 48), dtype=np.uint8)
    answers = [FER7.names[k] for k in fer.load("baseline_cnn").predict_proba(list(faces)).argmax(axis=1)]
    codes = [reproduce.NAMES.index(a) for a in answers]
    path = tmp_path_factory.mktemp("data") / "fer2013.csv"
    with path.open("w", newline="") as f:
        out = csv.writer(f)
        out.writerow(["emotion", "pixels", "Usage"])
        for i, (face, code) in enumerate(zip(faces, codes, strict=True)):
            usage = "Training" if i < 4 else "PublicTest" if i < 8 else "PrivateTest"
            wrong = usage == "Training" or (usage == "PrivateTest" and i >= 15)
            out.writerow([(code + 1) % 7 if wrong else code, " ".join(map(str, face.ravel())), usage])
    return path


def report(folder: Path, accuracy: float) -> Path:
    (folder / "baseline_cnn").mkdir(parents=True)
    metrics = {"splits": {"test": {"single": {"accuracy": accuracy}}}}
    (folder / "baseline_cnn" / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.mark.parametrize(("said", "status"), [(0.35, 0), (0.3505, 0), (0.352, 1)])
def test_it_counts_and_compares(table, tmp_path, capsys, said, status):
    folder = report(tmp_path / "results", said)
    assert reproduce.main([str(table), "--model", "baseline_cnn", "--results", str(folder)]) == status
    _, public, private = capsys.readouterr().out.splitlines()
    assert public.split() == ["baseline_cnn", "PublicTest", "single", "4", "100.00", "–", "nothing", "reported"]
    assert private.split()[:5] == ["baseline_cnn", "PrivateTest", "single", "20", "35.00"]
    assert ("DIFFERS" in private) == bool(status)


def test_the_other_form_of_the_challenge_csv_is_read_too(table, tmp_path, capsys):
    """icml_face_data.csv: blanks in the head; and a mark at the beginning, as some editors put it."""
    other = tmp_path / "icml_face_data.csv"
    text = table.read_text().replace("emotion,pixels,Usage", "emotion, pixels, Usage")
    other.write_text(text, encoding="utf-8-sig")
    assert reproduce.main([str(other), "--model", "baseline_cnn", "--results", str(report(tmp_path / "r", 0.35))]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[:5] == [
        "baseline_cnn",
        "PrivateTest",
        "single",
        "20",
        "35.00",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "no column Usage, emotion, pixels"),
        ("emotion,pixels,Usage\n0,1 2 3,PrivateTest\n", "line 2"),
        ("emotion,pixels,Usage\n", "no rows of PublicTest or PrivateTest"),
        (f"emotion,pixels,Usage\n0,{' '.join(['1'] * 2304)},PublicTest\n", "no rows of PrivateTest"),
        (f"emotion,pixels,Usage\n7,{' '.join(['1'] * 2304)},PublicTest\n", "emotion 7, expected 0 to 6"),
        (f"emotion,pixels,Usage\n-1,{' '.join(['1'] * 2304)},PublicTest\n", "emotion -1, expected 0 to 6"),
    ],
)
def test_another_file_is_told_in_words(tmp_path, capsys, text, said):
    (tmp_path / "other.csv").write_text(text)
    assert reproduce.main([str(tmp_path / "other.csv"), "--model", "baseline_cnn"]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(("size", "resize"), [(44, 48), (40, 44), (45, 48), (48, 48)])
def test_ten_crops_made_here_are_what_a_net_gets_to_see(size, resize):
    """After its own resizing and cropping, the very pixels that were scored."""
    faces = np.random.default_rng(1).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    asked = InputSpec(size_px=size, channels=1, resize_px=resize)
    seen = [prepare(list(np.ascontiguousarray(p)), asked) for p in reproduce.shown(faces, "tencrop", size, resize)]
    np.testing.assert_array_equal(seen, ten_crop(list(faces), asked))


def test_other_views_are_compared_where_they_are_reported(table, tmp_path, capsys):
    with table.open() as f:
        rows = [r for r in csv.DictReader(f) if r["Usage"] == "PrivateTest"]
    faces = np.array([r["pixels"].split() for r in rows], np.uint8).reshape(-1, 48, 48)
    net, codes = fer.load("baseline_cnn"), [int(r["emotion"]) for r in rows]
    mean = (net.predict_proba(list(faces)) + net.predict_proba(list(np.ascontiguousarray(faces[:, :, ::-1])))) / 2
    right = float(
        np.mean([FER7.names[k] == reproduce.NAMES[c] for k, c in zip(mean.argmax(axis=1), codes, strict=True)])
    )
    argv = [
        str(table),
        "--model",
        "baseline_cnn",
        "--split",
        "test",
        "--view",
        "flip,tencrop",
        "--results",
        str(tmp_path),
    ]
    (tmp_path / "baseline_cnn").mkdir()
    for said, status in ((right, 0), (right + 0.05, 1)):
        metrics = {"splits": {"test": {"single": {"accuracy": 0.0}, "flip": {"accuracy": said}}}}
        (tmp_path / "baseline_cnn" / "metrics.json").write_text(json.dumps(metrics))
        assert reproduce.main(argv) == status
        _, line = capsys.readouterr().out.splitlines()
        assert line.split()[1:5] == ["PrivateTest", "flip", "20", f"{100 * right:.2f}"]
    assert reproduce.main([*argv[:-4], "--view", "flop"]) == 2 and "--view takes" in capsys.readouterr().err


def test_what_was_scored_out_of_fold_is_compared_in_sample(table, tmp_path, capsys):
    folder = report(tmp_path / "results", 0.35)
    metrics = {"splits": {"val": {"single": {"accuracy": 0.5}}}}
    argv = [str(table), "--model", "baseline_cnn", "--results", str(folder), "--split", "val"]
    for temperature, status in (({"out_of_fold": "val", "in_sample_accuracy": 1.0}, 0), ({}, 1)):
        (folder / "baseline_cnn" / "metrics.json").write_text(json.dumps(metrics | {"temperature": temperature}))
        assert reproduce.main(argv) == status
        out = capsys.readouterr().out
        assert ("in sample; the tables have 50.00, out of fold" in out) == (not status)
    temperature = {"out_of_fold": "val", "in_sample_accuracy": 0.998}
    (folder / "baseline_cnn" / "metrics.json").write_text(json.dumps(metrics | {"temperature": temperature}))
    assert reproduce.main(argv) == 1 and "DIFFERS" in capsys.readouterr().out


def test_where_nothing_is_reported_nothing_was_checked(table, tmp_path, capsys):
    assert reproduce.main([str(table), "--model", "baseline_cnn", "--results", str(tmp_path / "none")]) == 2
    said = capsys.readouterr()
    assert said.out.count("nothing reported") == 2 and "no figure to compare with" in said.err


@pytest.mark.parametrize(("moved", "said"), [(0, ""), (2, "at least 2 labels of PrivateTest are not those")])
def test_another_copy_of_the_data_is_named(table, tmp_path, capsys, moved, said):
    with table.open() as f:
        codes = [int(r["emotion"]) for r in csv.DictReader(f) if r["Usage"] == "PrivateTest"]
    counts = {name: codes.count(k) for k, name in enumerate(reproduce.NAMES)}
    first, second = sorted(counts, key=counts.get)[-2:]
    counts |= {first: counts[first] - moved, second: counts[second] + moved}
    folder = report(tmp_path / "results", 0.35)
    (folder / "data.json").write_text(json.dumps({"counts": {"test": counts}}))
    assert reproduce.main([str(table), "--model", "baseline_cnn", "--results", str(folder), "--split", "test"]) == 0
    out = capsys.readouterr().out
    assert (said in out) and ("another copy" in out) == bool(moved)
