"""The lab as a process of its own, for tests in a browser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 120


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def running_lab(home: Path, **places: str) -> Iterator[str]:
    """Start the lab from a foreign working directory; end it, and read its log.

    Args:
        home: Holds its log.
        places: Environment variables, such as FER_RESULTS.

    Yields:
        Its address.
    """
    port, log = free_port(), home / "log.txt"
    env = os.environ | {"OMP_NUM_THREADS": "1"} | places
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(ROOT / "streamlit_app" / "app.py"),
             "--server.headless", "true", "--server.port", str(port), "--server.fileWatcherType", "none"],
            cwd=home, env=env, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        _wait(server, f"http://localhost:{port}/_stcore/health", log)
        yield f"http://localhost:{port}"
        assert "Traceback" not in log.read_text(errors="replace")
    finally:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()


def _wait(server: subprocess.Popen, address: str, log: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while True:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except OSError:
            assert time.monotonic() < end, f"the lab does not answer: {log.read_text()}"
            time.sleep(0.25)
