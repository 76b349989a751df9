"""Files that several write."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from fer.files import alone_with, replacing


def test_no_update_is_lost_when_several_add_to_a_file(tmp_path):
    file = tmp_path / "table.csv"
    file.write_text("")

    def add(number):
        with alone_with(file):
            text = file.read_text()
            time.sleep(0.01)  # time enough for the others to come between
            file.write_text(f"{text}{number}\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(24)))
    assert sorted(map(int, file.read_text().split())) == list(range(24))


def test_the_lock_is_given_back_after_an_error_and_leaves_nothing_beside_the_file(tmp_path):
    with pytest.raises(ZeroDivisionError), alone_with(tmp_path / "a"):
        _ = 1 / 0
    got = threading.Event()

    def enter():
        with alone_with(tmp_path / "a"):
            got.set()

    threading.Thread(target=enter, daemon=True).start()
    assert got.wait(10) and list(tmp_path.iterdir()) == []


def test_a_half_written_file_replaces_nothing(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(file) as part:
        part.write_text("half")
        _ = 1 / 0
    assert file.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    with replacing(file) as part:
        part.write_text("new")
    assert file.read_text() == "new" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]
