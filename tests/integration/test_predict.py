"""scripts/predict.py as a user runs it."""

import json
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.data.synthetic import draw_face, draw_scene
from fer.images import read_image, save_image

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "predict.py"


@pytest.fixture(scope="module")
def main():
    spec = util.spec_from_file_location("predict_script", SCRIPT)
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    save_image(draw_scene(["happy", "sad"], np.random.default_rng(1))[0], folder / "two.png")
    save_image(draw_scene([], np.random.default_rng(1), background="gradient")[0], folder / "sub" / "nobody.jpg")
    save_image(draw_face("happy", np.random.default_rng(0), 48), folder / "sub" / "crop.png")
    (folder / "notes.txt").write_text("not a picture and not asked for")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "x.png").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def checkpoint(untrained):
    return ["--checkpoint", str(untrained("baseline_cnn"))]


def test_a_table_for_one_picture(main, pictures, checkpoint, capsys):
    assert main([str(pictures / "two.png"), *checkpoint]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["file", "face"] and len(lines) == 4 and err == ""
    assert all("two.png" in line and line.count("%") == 4 for line in lines[2:])


def test_folders_are_searched_and_no_face_is_no_error(main, pictures, checkpoint, capsys):
    assert main([str(pictures), *checkpoint]) == 0
    out = capsys.readouterr().out
    assert "no face found" in next(line for line in out.splitlines() if "nobody.jpg" in line)
    assert "notes.txt" not in out and ".hidden" not in out and "crop.png" in out


def test_json_is_json_and_nothing_else(pictures, checkpoint, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("text")
    files = [str(pictures / "two.png"), str(bad), str(pictures / "sub" / "nobody.jpg")]
    command = [sys.executable, str(SCRIPT), "--json", *files, *checkpoint]
    done = subprocess.run(command, capture_output=True, cwd=tmp_path, timeout=240, check=False)
    answer = json.loads(done.stdout.decode("utf-8"))
    assert done.returncode == 1 and b"Traceback" not in done.stderr and b"bad.jpg" in done.stderr
    two, broken, nobody = answer
    assert len(two["faces"]) == 2 and nobody["faces"] == [] and "not a picture" in broken["error"]
    face = two["faces"][0]
    assert sum(face["probs"].values()) == pytest.approx(1, abs=1e-4) and next(iter(face["probs"])) == "angry"
    assert face["confidence"] == max(face["probs"].values()) == face["probs"][face["label"]]


def test_one_bad_picture_does_not_stop_the_others(main, pictures, checkpoint, tmp_path, capsys):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(
        Path(save_image(np.zeros((300, 300, 3), np.uint8), tmp_path / "c.jpg")).read_bytes()[:700]
    )
    (tmp_path / "c.jpg").unlink()
    Image.new("RGB", (1, 1)).save(tmp_path / "one.png")
    names = [
        str(tmp_path / "absent.png"),
        str(tmp_path / "empty.jpg"),
        str(tmp_path / "cut.jpg"),
        str(tmp_path / "one.png"),
        str(pictures / "two.png"),
    ]
    assert main([*names, *checkpoint]) == 1
    out, err = capsys.readouterr()
    assert out.count("two.png") == 2 and "one.png" in out
    assert "no such file" in err and "empty" in err and "truncated" in err and "3 of 5" in err


def test_no_detect_takes_crops(main, pictures, checkpoint, capsys):
    assert main([str(pictures / "sub" / "crop.png"), "--no-detect", "--json", *checkpoint]) == 0
    assert json.loads(capsys.readouterr().out)[0]["faces"][0]["box"] == [0, 0, 48, 48]


def test_save_one_and_many(main, pictures, checkpoint, tmp_path, capsys):
    one = tmp_path / "annotated.png"
    assert main([str(pictures / "two.png"), "--save", str(one), *checkpoint]) == 0
    drawn, original = read_image(one), read_image(pictures / "two.png")
    assert drawn.shape == original.shape and (drawn != original).any()
    folder = tmp_path / "out"
    shutil.copytree(pictures, tmp_path / "again", ignore=shutil.ignore_patterns("*.txt", ".hidden"))
    assert main([str(pictures), str(tmp_path / "again"), "--save", str(folder), *checkpoint]) == 0
    stems = ("sub/crop_faces", "sub/nobody_faces", "two_faces")
    expected = sorted(f"{stem}{n}.png" for stem in stems for n in ("", "_2"))
    assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.png")) == expected


@pytest.mark.parametrize(("args", "words"), [
    (["{two}", "--model", "atention_cnn"], "attention_cnn"),
    (["{two}", "--checkpoint", "{folder}/nowhere"], "nowhere"),
    (["{two}", "{two}", "--save", "x.png"], "name a folder"),
    (["{two}", "--save", "{two}"], "overwrite"),
    (["{two}", "--save", "x.xyz"], ".xyz"),
    (["{folder}/empty", "--save", "x.png"], "no pictures"),
    (["{two}", "--yunet", "{folder}/notes.txt"], "YuNet"),
    (["{two}", "--min-face", "0"], "min_face_px"),
])  # fmt: skip
def test_wrong_commands_end_in_one_line(main, pictures, checkpoint, capsys, args, words):
    (pictures / "empty").mkdir(exist_ok=True)
    args = [a.format(two=pictures / "two.png", folder=pictures) for a in args]
    if not {"--checkpoint", "--model"} & set(args):
        args += checkpoint
    assert main(args) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and words in err and err.count("\n") == 1
