"""The repair, on stand-in torchvision packages: broken like a CUDA wheel beside CPU torch, healthy, or otherwise."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

BROKEN = """
import torch
from torchvision import half
torch.library.register_fake("torchvision::first_op")(lambda d, s, i: d)
torch.library.register_fake("torchvision::second_op")(lambda d, s, i: d)
"""


def run(tmp_path, init, code):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(init)
    (package / "half.py").write_text("imported = 1\n")
    path = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]"
    program = f"{path}\nfrom fer.torchvision_repair import repair\n{code}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_missing_operators_are_declared_one_after_the_other(tmp_path):
    r = run(
        tmp_path,
        BROKEN,
        "print(repair()); print(repair()); import torchvision, torch\n"
        "print(hasattr(torch.ops.torchvision, 'second_op'))",
    )
    assert r.returncode == 0, r.stderr
    assert r.stdout.split("\n")[:3] == ["('first_op', 'second_op')"] * 2 + ["True"]


def test_a_healthy_pair_is_left_alone(tmp_path):
    r = run(tmp_path, "ok = 1\n", "print(repair()); import torchvision; print(torchvision.ok, 'torch' in sys.modules)")
    assert r.stdout.split("\n")[:2] == ["()", "1 False"], r.stderr


@pytest.mark.parametrize("message", ["something else is broken", "operator other::nms does not exist"])
def test_other_failures_are_not_hidden(tmp_path, message):
    r = run(tmp_path, f"raise RuntimeError({message!r})\n", "repair()")
    assert r.returncode != 0 and message in r.stderr


def test_the_real_pair_imports():
    r = subprocess.run(
        [
            sys.executable,
            "-c",
            "from fer.torchvision_repair import import_repaired; print(import_repaired('timm').__name__)",
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert r.stdout.strip() == "timm", r.stderr
