"""scripts/webcam.py as a user runs it, without a window and without a camera."""

import csv
import sys
from importlib import util
from pathlib import Path

import numpy as np
import pytest

from fer.data.drawn_clip import Shot, draw_clip, draw_person
from fer.inference.video import Video, VideoWriter

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "webcam.py"
W, H, FPS = 320, 240, 10


@pytest.fixture(scope="module")
def script():
    spec = util.spec_from_file_location("webcam_script", SCRIPT)
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    path = tmp_path_factory.mktemp("film") / "clip.avi"
    shots = [Shot("happy", 0.8), Shot("surprise", 0.8)]
    with VideoWriter(path, FPS, (W, H)) as w:
        for frame in draw_clip(shots, draw_person(3, plain=True), fps=FPS, width=W, height=H):
            w.write(frame.image)
    return path


def frames_of(path):
    with Video(path) as film:
        return [image for _, image in film]


@pytest.mark.parametrize("mirror", [False, True])
def test_a_film_into_an_annotated_film(script, film, tmp_path, capsys, untrained, mirror):
    out, table = tmp_path / "out.avi", tmp_path / "faces.csv"
    command = ["--video", str(film), "--headless", "--record", str(out), "--table", str(table)]
    command += ["--model", str(untrained("baseline_cnn")), *(["--mirror"] if mirror else [])]
    assert script.main(command) == 0
    assert "16 frames" in capsys.readouterr().out
    before, after = frames_of(film), frames_of(out)
    assert len(after) == 16 and all((a != b).any() for a, b in zip(before, after, strict=True))
    with open(table, encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) >= 15 and {r["face"] for r in rows} == {"1"}
    left, top, right, bottom = (int(rows[5][k]) for k in ("left", "top", "right", "bottom"))
    changed = np.abs(after[5].astype(int) - before[5]).sum(axis=2) > 60
    inside = changed[top + 8 : bottom - 8, left + 8 : right - 8].mean()
    assert inside > 0.6 if mirror else inside < 0.4, "the mirror covers the face, the box leaves it free"


def test_the_time_can_be_limited(script, film, tmp_path, capsys, untrained):
    command = ["--video", str(film), "--headless", "--record", str(tmp_path / "o.webm"), "--seconds", "0.5"]
    assert script.main([*command, "--model", str(untrained("baseline_cnn")), "--calibrate"]) == 0
    assert len(frames_of(tmp_path / "o.webm")) <= 7


def test_a_camera_into_a_file_keeps_its_pace(script, tmp_path, monkeypatch, untrained, capsys):
    """A stand-in camera of five frames a second; the file has its own steady rate."""
    import time

    import cv2

    frames = draw_clip([Shot("happy", 1.2)], draw_person(3, plain=True), fps=5, width=W, height=H)
    pictures = [f.image[:, :, ::-1] for f in frames]

    class Stand:
        def __init__(self, number):
            self.left = list(pictures)

        def isOpened(self):
            return True

        def read(self):
            time.sleep(0.2)
            return (True, self.left.pop(0)) if self.left else (False, None)

        def release(self):
            pass

    target = tmp_path / "me.avi"
    with monkeypatch.context() as m:
        m.setattr(cv2, "VideoCapture", Stand)
        command = ["--record", str(target), "--headless", "--mirror", "--model", str(untrained("baseline_cnn"))]
        assert script.main(command) == 0
    written = frames_of(target)
    assert 0.5 * 20 <= len(written) <= 10 * 20 and written[0].shape == (H, W, 3)


@pytest.mark.parametrize(("args", "words"), [
    (["--camera", "-1", "--headless", "--record", "{out}/a.mp4"], "--camera counts from 0, got -1"),
    (["--camera", "93", "--headless", "--record", "{out}/a.mp4"], "camera 93 cannot be opened"),
    (["--headless"], "--record"),
    (["--video", "{film}", "--headless", "--record", "{out}/a.xyz"], ".xyz"),
    (["--video", "{out}/absent.mp4", "--headless", "--record", "{out}/a.mp4"], "no such file"),
    (["--table", "{out}/a.csv", "--headless"], "--table"),
    (["--video", "{film}", "--headless", "--record", "{out}/a.mp4", "--model", "atention_cnn"], "attention_cnn"),
    (["--seconds", "0", "--headless", "--record", "{out}/a.mp4"], "--seconds"),
    (["--smoothing", "-1", "--headless", "--record", "{out}/a.mp4"], "time_constant_s"),
])  # fmt: skip
def test_wrong_commands_end_in_one_line(script, film, tmp_path, capfd, args, words):
    args = [a.format(out=tmp_path, film=film) for a in args]
    assert script.main(args) == 2
    out, err = capfd.readouterr()
    mine = [line for line in err.splitlines() if line.startswith("error: ")]
    assert out == "" and len(mine) == 1 and words in mine[0] and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_without_a_display_it_says_so(script, film, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert script.main(["--video", str(film)]) == 2
    assert "--headless" in capsys.readouterr().err


def test_keys(script):
    class Live:
        forgotten = 0

        def forget_calibration(self):
            self.forgotten += 1

    live = Live()
    shown = script.Shown(live, mirror=False, calibrate=False)
    assert all(shown.key(ord(k)) for k in "mcfx") and shown.key(-1)
    assert shown.mirror and shown.wants_calibration and live.forgotten == 1
    assert not shown.key(ord("q")) and not shown.key(27)
