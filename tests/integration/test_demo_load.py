"""Twenty visitors at once: every answer is the right one, nobody gets an error but a polite "busy", memory stays."""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.running_demo import running_demo

ROOT = Path(__file__).resolve().parents[2]
gradio_client = pytest.importorskip("gradio_client")
ENOUGH = "100000"  # the clients share one address here


@pytest.fixture(scope="module")
def demo(untrained, tmp_path_factory):
    """A demo in a process of its own: (address, process id, folder of uploads)."""
    home = tmp_path_factory.mktemp("demo")
    shutil.copytree(untrained("baseline_cnn"), home / "checkpoints" / "baseline_cnn")
    with running_demo(home, "--per-minute", ENOUGH) as (address, pid):
        yield address, pid, home / "uploads"


def resident_mb(pid: int) -> float:
    """What a process holds in memory."""
    pages = Path(f"/proc/{pid}/statm")
    if not pages.is_file():
        pytest.skip("memory is read from /proc")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


class Visitor(threading.Thread):
    """Sends picture after picture, each of a size of its own, two at a time, and looks whether the answers fit.

    Attributes:
        answered, busy: How often. wrong: What should not have happened.
    """

    def __init__(self, number: int, client, folder: Path, end: float):
        super().__init__(name=f"visitor {number}", daemon=True)
        self.number, self.client, self.folder, self.end = number, client, folder, end
        self.answered, self.busy, self.wrong = 0, 0, []

    def run(self) -> None:
        sent = 0
        try:
            while time.monotonic() < self.end or not self.answered:
                batch = [(40 + self.number, 40 + (sent + i) % 97) for i in range(2)]
                jobs = [self._send(size) for size in batch]
                for job, size in zip(jobs, batch, strict=True):
                    self._look(job, size)
                sent += 2
        except Exception as e:
            self.wrong.append(repr(e))

    def _send(self, size: tuple[int, int]):
        path = self.folder / f"{size[0]}x{size[1]}.png"
        Image.new("RGB", size, (120, 100, 90)).save(path)
        return self.client.submit(gradio_client.handle_file(str(path)), "", True, api_name="/analyze")

    def _look(self, job, size: tuple[int, int]) -> None:
        from gradio_client.utils import QueueError

        try:
            answer = job.result(timeout=120)
        except QueueError as e:
            assert "try again" in str(e)
            self.busy += 1
            time.sleep(0.5)
            return
        self.answered += 1
        if (answer["width"], answer["height"]) != size or len(answer["faces"]) != 1:
            self.wrong.append(f"sent {size}, got {answer}")


def crowd(address: str, folder: Path, people: int, seconds: float) -> list[Visitor]:
    """Visitors, when all of them are done."""
    patient = {"timeout": 120}  # a busy machine is no fault of the demo
    clients = [gradio_client.Client(address, verbose=False, httpx_kwargs=patient) for _ in range(people)]
    end = time.monotonic() + seconds
    visitors = [Visitor(n, client, folder, end) for n, client in enumerate(clients)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(timeout=seconds + 240)
        assert not visitor.is_alive(), "somebody waits for ever"
    return visitors


def check(visitors: list[Visitor], uploads: Path) -> None:
    """Nothing went wrong, everybody had their turn, no picture was kept."""
    assert [w for v in visitors for w in v.wrong] == []
    assert all(v.answered for v in visitors), [v.answered for v in visitors]
    left = [p for p in uploads.rglob("*.png") if re.fullmatch(r"\d+x\d+\.png", p.name)]
    assert left == [], "uploads are gone with their answers"


@pytest.mark.slow
def test_eight_visitors_at_once(demo, tmp_path):
    address, _, uploads = demo
    visitors = crowd(address, tmp_path, people=8, seconds=3)
    check(visitors, uploads)


@pytest.mark.slow
def test_twenty_visitors_for_a_minute(demo, tmp_path, capsys):
    address, pid, uploads = demo
    check(crowd(address, tmp_path, people=20, seconds=8), uploads)  # what is loaded with the first crowd stays
    before = resident_mb(pid)
    visitors = crowd(address, tmp_path, people=20, seconds=60)
    check(visitors, uploads)
    after = resident_mb(pid)
    answered, busy = sum(v.answered for v in visitors), sum(v.busy for v in visitors)
    with capsys.disabled():
        print(f"\n{answered} answers, {busy} times busy, {before:.0f} MB before, {after:.0f} MB after")
    assert after <= 1.1 * before
