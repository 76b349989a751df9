"""The package by itself, as `pip install .` puts it somewhere: it brings its checkpoints and needs no clone."""

import json
import shutil
import subprocess
import sys

import pytest

from fer import paths
from fer.checkpoint import trained_models

CODE = """
import json, sys
import numpy as np
import fer
from fer import checkpoint, paths, provenance

predictor = fer.load("tiny_cnn")
probs = predictor.predict_proba(np.zeros((2, 60, 60), np.uint8))
print(json.dumps({
    "file": fer.__file__,
    "models": checkpoint.trained_models(),
    "folder": str(checkpoint.find("tiny_cnn")),
    "sum": float(probs.sum()),
    "data": str(paths.data_dir()),
    "commit": provenance.git_commit(),
}))
"""


def test_where_things_lie_once_installed(tmp_path, monkeypatch):
    for name in ("FER_CHECKPOINTS", "FER_RESULTS", "FER_DATA"):
        monkeypatch.delenv(name, raising=False)
    assert paths.checkpoints_dir() == paths.ROOT / "checkpoints" and paths.data_dir() == paths.ROOT / "data"
    packed = tmp_path / "site-packages" / "fer" / "_checkpoints"
    packed.mkdir(parents=True)
    monkeypatch.setattr(paths, "_PACKED", packed)
    monkeypatch.chdir(tmp_path)
    assert (paths.checkpoints_dir(), paths.results_dir()) == (packed, tmp_path / "results")
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "mine"))
    assert paths.checkpoints_dir() == tmp_path / "mine"


@pytest.mark.slow
def test_a_wheel_brings_the_checkpoints_and_runs_away_from_the_clone(tmp_path):
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name in ("fer", "checkpoints"):
        shutil.copytree(paths.ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(paths.ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True, capture_output=True, text=True, timeout=300)
    # a repository around the environment, as a project that uses the package would be
    repository = tmp_path / "somebody"
    shutil.move(site, repository / "env")
    git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "theirs"]):
        subprocess.run([*git, *command], check=True)
    env = {"PYTHONPATH": str(repository / "env"), "FER_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    r = subprocess.run([sys.executable, "-c", CODE], cwd=repository, env=env, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    found = json.loads(r.stdout)
    assert found["file"].startswith(str(repository)) and found["folder"].startswith(str(repository / "env" / "fer"))
    assert found["models"] == trained_models() and found["sum"] == pytest.approx(2, abs=1e-4)
    assert found["data"] == str(repository / "data")
    assert found["commit"] == "", "the commit of whoever uses it says nothing about this code"
