"""The demo as a process of its own, for tests in a browser and with many visitors."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 240


@contextmanager
def running_demo(home: Path, *options: str, own_checkpoints: bool = True) -> Iterator[tuple[str, int]]:
    """Start `python demo/app.py` from another folder; its own printed line says where. Ends it, and reads its log.

    Args:
        home: Holds its log, its uploads and, if `own_checkpoints`, the only checkpoints and results that it sees.
        options: Of the command line.

    Yields:
        Address, number of the process.
    """
    env = os.environ | {"GRADIO_TEMP_DIR": str(home / "uploads"), "OMP_NUM_THREADS": "1"}
    if own_checkpoints:
        env |= {"FER_CHECKPOINTS": str(home / "checkpoints"), "FER_RESULTS": str(home / "results")}
    command = [sys.executable, str(ROOT / "demo" / "app.py"), *options]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    late = threading.Timer(PATIENCE_S, process.kill)
    late.start()
    try:
        address = next((m[0] for line in process.stdout if (m := re.search(r"http://\S+", line))), None)
        late.cancel()
        assert address, (home / "log").read_text()
        yield address, process.pid
    finally:
        late.cancel()
        process.terminate()
        process.wait(timeout=60)
    text = (home / "log").read_text()
    assert "Traceback" not in text, text[-4000:]
