"""Memory that a training program frees is kept for its next step."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fer import device

FAULTS = """
import resource
from fer.device import keep_freed_memory
done = {keep} and keep_freed_memory()
def step():
    block = bytearray(48 << 20)
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is asked")
def test_pages_are_not_fetched_anew_in_every_step():
    faults = {}
    for keep in (False, True):
        out = subprocess.run(
            [sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, text=True, check=True
        )
        done, count = out.stdout.split()
        faults[keep] = int(count)
    if done == "False":
        pytest.skip("not glibc")
    assert faults[True] < 1000 and faults[False] > 3 * faults[True], faults


@pytest.mark.parametrize("without", ["platform", "function", "library"])
def test_elsewhere_nothing_is_done(monkeypatch, without):
    def library(name):
        if without == "library":
            raise OSError("none")
        return object()

    monkeypatch.setattr(sys, "platform", "win32" if without == "platform" else "linux")
    monkeypatch.setattr(device.ctypes, "CDLL", library)
    assert device.keep_freed_memory() is False
