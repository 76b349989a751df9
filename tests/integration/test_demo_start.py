"""How the demo starts and ends: which models it offers, what it says of wrong options, where its uploads lie."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer.errors import CheckpointError

pytest_plugins = ("tests.demo_fixtures",)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkpoints(untrained, tmp_path, monkeypatch):
    """Two untrained nets, to which FER_CHECKPOINTS points."""
    for name in ("baseline_cnn", "attention_cnn"):
        shutil.copytree(untrained(name), tmp_path / "checkpoints" / name)
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))


def test_without_a_model_the_page_stands_and_says_how_to_get_one(demo, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "none"))
    models = demo.analysis.Models()
    assert not models and models.default is None
    demo.app.build_app(models)
    with pytest.raises(CheckpointError, match=r"scripts/train\.py"):
        models.predictor("attention_cnn")
    assert "scripts/train.py" in demo.photo._facts(models, None)


def test_a_given_checkpoint_is_offered_first(demo, untrained, checkpoints):
    models = demo.analysis.Models(untrained("baseline_cnn"))
    assert models.default == models.names[0] and models.predictor(None).name == "baseline_cnn"
    assert "attention_cnn" in models.names and models.live_default == models.default


def test_what_is_chosen_at_the_start_is_loaded_first(demo, checkpoints, monkeypatch):
    models, seen = demo.analysis.Models(), []
    monkeypatch.setattr("fer.inference.load", lambda place, backend: seen.append((Path(place).name, backend)))
    models.warm_up().join(timeout=60)
    assert seen[:2] == [(models.default, "auto"), (models.live_default, "fastest")]
    assert {name for name, _ in seen[2:]} == set(models.names) - {models.default} and len(seen) == len(set(seen))


@pytest.mark.parametrize("what", ["absent", "empty folder", "text"])
def test_a_wrong_checkpoint_is_one_line_and_status_2(demo, what, tmp_path, capsys):
    path = tmp_path / "it"
    if what == "empty folder":
        path.mkdir()
    elif what == "text":
        path.write_text("hello")
    assert demo.app.main(["--checkpoint", str(path)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ") and "Traceback" not in err and err.count("\n") == 1


def test_a_taken_port_is_one_line_and_status_2(demo, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert demo.app.main(["--port", str(taken.getsockname()[1])]) == 2
    assert "choose another with --port" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["0", "-1", "99999"])
def test_an_impossible_port_is_told_in_words(demo, port, capsys):
    with pytest.raises(SystemExit) as ended:
        demo.app.main(["--port", port])
    assert ended.value.code == 2 and "--port must be 1..65535" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-3"])
def test_an_impossible_rate_is_told_in_words(demo, value, capsys):
    with pytest.raises(SystemExit) as ended:
        demo.app.main(["--per-minute", value])
    assert ended.value.code == 2 and "--per-minute must be at least 1" in capsys.readouterr().err


ENDS = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import app
folder = os.environ["GRADIO_TEMP_DIR"]
def launch(*args, **options):
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "upload.jpg"), "w").close()
    print(folder, oct(os.stat(folder).st_mode), flush=True)
    os.kill(os.getpid(), int(sys.argv[2]))
    time.sleep(60)
app.gr.Blocks.launch = launch
sys.exit(app.main([]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("given", ["", "given/deep"])
def test_the_folder_of_uploads_is_private_and_goes_however_the_process_is_ended(name, given, tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "GRADIO_TEMP_DIR"}
    env |= {"FER_CHECKPOINTS": str(tmp_path / "none"), "TMPDIR": str(tmp_path)}
    if given:
        env["GRADIO_TEMP_DIR"] = given  # in the folder that it is started from
    command = [sys.executable, "-c", ENDS, str(ROOT / "demo"), str(int(getattr(signal, name)))]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
    folder, mode = done.stdout.split()
    assert done.returncode == 0, done.stderr
    assert not Path(folder).exists() and Path(folder).parent == tmp_path / given
    assert stat.S_IMODE(int(mode, 8)) == 0o700


IMPORTS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import app
from gradio.utils import get_upload_folder
from pathlib import Path
from sweep import sweep
print(get_upload_folder(), sweep(Path(get_upload_folder()), -1))
"""


def test_what_others_keep_in_the_folder_that_was_named_is_left_alone(tmp_path):
    mine = tmp_path / "given" / "precious" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    old = time.time() - 10 * 24 * 3600
    for path in (mine, mine.parent):
        os.utime(path, (old, old))
    env = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "given")}
    command = [sys.executable, "-c", IMPORTS, str(ROOT / "demo")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=True)
    folder = Path(done.stdout.split()[0])
    assert folder.parent == tmp_path / "given" and folder.name.startswith("fer-demo-")
    assert mine.read_text() == "mine", "it is no upload of the demo, however old it is"
    assert not folder.exists(), "what the demo made is gone with it"


def test_a_folder_that_cannot_be_made_is_told_in_words(tmp_path):
    (tmp_path / "file").write_text("no folder")
    env = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path / "file" / "uploads")}
    command = [sys.executable, str(ROOT / "demo" / "app.py")]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 2 and "GRADIO_TEMP_DIR" in done.stderr and "Traceback" not in done.stderr
