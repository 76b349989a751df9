"""scripts/webcam.py as a user runs it, without a window and without a camera."""

import csv
import os
import re
import signal
import sys
import time
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


def test_a_film_that_is_cut_off_is_written_with_a_warning(script, film, tmp_path, capsys, untrained):
    data = film.read_bytes()
    half = tmp_path / "half.avi"
    half.write_bytes(data[: len(data) // 2])
    command = ["--headless", "--record", str(tmp_path / "out.avi"), "--model", str(untrained("baseline_cnn"))]
    assert script.main(["--video", str(half), *command]) == 0
    err = capsys.readouterr().err
    assert f"warning: {half}: the file is cut off; it ends after 0." in err
    assert 5 <= len(frames_of(tmp_path / "out.avi")) <= 11
    assert script.main(["--video", str(half), *command, "--seconds", "0.3"]) == 0
    assert script.main(["--video", str(film), *command]) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_home_folder_is_put_in_full(script, film, tmp_path, monkeypatch, capsys, untrained):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(), elsewhere.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.chdir(elsewhere)
    command = ["--headless", "--record=~/out.avi", "--model", str(untrained("baseline_cnn"))]
    assert script.main(["--video", str(film), "--table=~/out.csv", *command]) == 0
    assert str(home / "out.csv") in capsys.readouterr().out
    assert sorted(p.name for p in home.iterdir()) == ["out.avi", "out.csv"]
    with monkeypatch.context() as m:
        stand_in_camera(m, signal.SIGTERM, after=500)
        assert script.main([*command, "--seconds", "0.2"]) == 0
    assert len(frames_of(home / "out.avi")) < 9 and not list(elsewhere.iterdir())


def test_the_time_can_be_limited(script, film, tmp_path, capsys, untrained):
    command = ["--video", str(film), "--headless", "--record", str(tmp_path / "o.webm"), "--seconds", "0.5"]
    assert script.main([*command, "--model", str(untrained("baseline_cnn")), "--calibrate"]) == 0
    assert len(frames_of(tmp_path / "o.webm")) <= 7


def test_a_camera_into_a_file_keeps_its_pace(script, tmp_path, monkeypatch, untrained, capsys):
    """A stand-in camera of five frames a second; the file has its own steady rate."""
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
        assert script.main(command) == 1
    said = capsys.readouterr()
    assert re.search(r"the camera stopped giving pictures after (0\.[89]|1\.\d) s\n$", said.err), said.err
    assert f"written to {target}" in said.out
    written = frames_of(target)
    assert 0.5 * 20 <= len(written) <= 10 * 20 and written[0].shape == (H, W, 3)


def test_time_counts_from_the_cameras_first_picture(script, tmp_path, monkeypatch, untrained, capsys):
    """One that takes a second and a half to wake up, and then gives 25 pictures a second."""
    import cv2

    frames = draw_clip([Shot("happy", 3)], draw_person(3, plain=True), fps=25, width=W, height=H)
    pictures = [f.image[:, :, ::-1] for f in frames]

    class Sleepy:
        def __init__(self, number):
            self.taken = 0

        def isOpened(self):
            return True

        def read(self):
            time.sleep(0.04 if self.taken else 1.5)
            self.taken += 1
            return True, pictures[self.taken % len(pictures)]

        def release(self):
            pass

    target = tmp_path / "me.avi"
    with monkeypatch.context() as m:
        m.setattr(cv2, "VideoCapture", Sleepy)
        command = ["--record", str(target), "--headless", "--seconds", "1"]
        assert script.main([*command, "--model", str(untrained("baseline_cnn"))]) == 0
    assert "stopped" not in capsys.readouterr().err
    written = frames_of(target)
    assert 10 <= len(written) <= 22, "a second of twenty frames"
    assert (written[0] != written[6]).any(), "not filled up with the first picture"


@pytest.fixture
def harmless():
    """A signal that nobody heeds ends the command, as Ctrl-C does, and not this process."""
    before = {n: signal.signal(n, signal.default_int_handler) for n in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def stand_in_camera(monkeypatch, number, after, stalls=False):
    """A camera of twenty frames a second; the signal comes at its frame `after`, where it may stall, too."""
    import cv2

    (frame,) = draw_clip([Shot("happy", 0.05)], draw_person(3, plain=True), fps=20, width=W, height=H)

    class Stand:
        taken = 0

        def __init__(self, number):
            pass

        def isOpened(self):
            return True

        def read(self):
            time.sleep(0.05)
            if self.taken == after:
                os.kill(os.getpid(), number)
                time.sleep(1.5 if stalls else 0)
            self.taken += 1
            return self.taken < after + 200, frame.image[:, :, ::-1]

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Stand)


@pytest.mark.parametrize(("number", "stalls"), [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGINT, True)])
def test_a_signal_ends_a_recording_and_keeps_it(
    script, tmp_path, monkeypatch, untrained, capsys, harmless, number, stalls
):
    target = tmp_path / "me.avi"
    before = signal.getsignal(number)
    with monkeypatch.context() as m:
        stand_in_camera(m, number, after=20, stalls=stalls)
        command = ["--record", str(target), "--headless", "--model", str(untrained("baseline_cnn"))]
        assert script.main(command) == 0
    assert f"written to {target}" in capsys.readouterr().out
    assert 5 <= len(frames_of(target)) <= 60 and [p.name for p in tmp_path.iterdir()] == ["me.avi"]
    assert signal.getsignal(number) is before


def test_a_signal_before_the_first_frame_says_that_nothing_was_written(
    script, tmp_path, monkeypatch, untrained, capsys, harmless
):
    stand_in_camera(monkeypatch, signal.SIGINT, after=0, stalls=True)
    command = ["--record", str(tmp_path / "me.avi"), "--headless", "--model", str(untrained("baseline_cnn"))]
    assert script.main(command) == 130
    assert "nothing was written" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cuts_a_film_short_and_keeps_film_and_table(
    script, film, tmp_path, monkeypatch, untrained, capsys, harmless, number
):
    drawn = []
    draw = script.Shown.draw

    def then(self, *args):
        drawn.append(1)
        if len(drawn) == 6:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)  # from the terminal, and from what started the program
        return draw(self, *args)

    monkeypatch.setattr(script.Shown, "draw", then)
    out, table = tmp_path / "out.avi", tmp_path / "faces.csv"
    command = ["--video", str(film), "--headless", "--record", str(out), "--table", str(table)]
    assert script.main([*command, "--model", str(untrained("baseline_cnn"))]) == 130
    said = capsys.readouterr()
    assert str(out) in said.out and str(table) in said.out and "before the film did" in said.err
    assert len(frames_of(out)) == 6
    with open(table, encoding="utf-8", newline="") as f:
        assert len(list(csv.DictReader(f))) >= 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["faces.csv", "out.avi"]


def test_who_insists_gives_the_recording_up(script, monkeypatch, harmless):
    with script.Ending() as ending:
        os.kill(os.getpid(), signal.SIGINT)
        assert ending.signal == signal.SIGINT
        monkeypatch.setattr(script, "PATIENCE_S", -1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("window", [False, True])
@pytest.mark.parametrize(("record", "table"), [
    ("{film}", None),
    ("{folder}/../{name}/clip.avi", None),
    ("{folder}/link.avi", None),
    ("{folder}/hard.avi", None),
    ("clip.avi", None),
    (None, "{film}"),
    (None, "{folder}/link.avi"),
    ("{folder}/new.avi", "{folder}/new.avi"),
    ("{folder}/new.avi", "new.avi"),
])  # fmt: skip
def test_the_same_file_twice_is_refused(script, film, tmp_path, monkeypatch, capsys, record, table, window):
    source = tmp_path / "clip.avi"
    source.write_bytes(film.read_bytes())
    (tmp_path / "link.avi").symlink_to(source)
    os.link(source, tmp_path / "hard.avi")
    monkeypatch.chdir(tmp_path)
    command = ["--video", str(source)]
    for option, place in (("--record", record), ("--table", table)):
        command += [option, place.format(film=source, folder=tmp_path, name=tmp_path.name)] if place else []
    assert script.main([*command, *([] if window else ["--headless"])]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "the same file" in err
    assert source.read_bytes() == film.read_bytes() and not (tmp_path / "new.avi").exists()


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
