"""The lock on a run's folder, against a real second process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fer
from fer.errors import CheckpointError
from fer.training.lock import alone
from fer.training.processes import Processes

ROOT = Path(fer.__file__).parents[1]
ALONE = Processes(0, 1, torch.device("cpu"))
OTHER = """
import sys
from pathlib import Path
import torch
from fer.training.lock import alone
from fer.training.processes import Processes
with alone(Path(sys.argv[1]), Processes(0, 1, torch.device("cpu"))):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """A process that trains in tmp_path / "run", as far as the lock is concerned."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, str(tmp_path / "run")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_nobody_else_trains_in_a_folder_meanwhile(other, tmp_path):
    refused = pytest.raises(CheckpointError, match="being trained by another process; wait until that one ends")
    with refused, alone(tmp_path / "run", ALONE):
        pytest.fail("both train")
    with alone(tmp_path / "another run", ALONE):
        pass
    other.communicate("\n")
    with alone(tmp_path / "run", ALONE):
        assert (tmp_path / "run").is_dir()


def test_a_killed_process_holds_nothing(other, tmp_path):
    os.kill(other.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    other.wait()
    with alone(tmp_path / "run", ALONE):
        pass


def test_the_folder_is_left_as_it_would_be_without_a_lock(tmp_path):
    class Stop(Exception):
        pass

    with pytest.raises(Stop), alone(tmp_path / "empty", ALONE):
        raise Stop
    assert not (tmp_path / "empty").exists(), "nothing was put into it"
    with alone(tmp_path / "run", ALONE):
        (tmp_path / "run" / "run.json").write_text("{}")
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["run.json"]


def test_of_processes_that_train_together_the_main_one_holds_it(other, tmp_path, monkeypatch):
    """What the main process says is raised in the others too, or they would wait for it for ever."""
    second = Processes(1, 2, torch.device("cpu"))
    said = []
    monkeypatch.setattr(Processes, "agreed", lambda self, value: said.append(value))
    with alone(tmp_path / "run", second):
        assert said == [None], "it did not ask for the lock, which another process has"
    monkeypatch.setattr(Processes, "agreed", lambda self, value: "taken")
    with pytest.raises(CheckpointError, match="taken"), alone(tmp_path / "run", second):
        pytest.fail("it goes on alone")


def test_without_locks_training_goes_on_with_a_warning(tmp_path, monkeypatch, caplog):
    import errno

    from filelock import FileLock

    def unsupported(self, *args, **kw):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(FileLock, "acquire", unsupported)
    with alone(tmp_path / "run", ALONE):
        pass
    assert "knows no locks" in caplog.text
