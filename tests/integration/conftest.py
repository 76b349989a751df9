"""What several tests of the scripts share."""

from __future__ import annotations

import types
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import fer

ROOT = Path(fer.__file__).parents[1]


def _script(name: str) -> types.ModuleType:
    spec = spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The script's main, in an empty working directory, home and data folder."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("FER_DATA", str(tmp_path / "data"))
    main = _script("prepare_data").main
    return lambda *argv: main([str(a) for a in argv])


@pytest.fixture
def split_script() -> Callable[..., int]:
    main = _script("create_val_split").main
    return lambda *argv: main([str(a) for a in argv])
