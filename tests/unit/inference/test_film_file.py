"""How a film is laid out in time, told without decoding it."""

import cv2
import numpy as np
import pytest

from fer.errors import ImageError
from fer.inference import film_file
from fer.inference.video import Video, VideoWriter


def test_only_the_beginning_of_a_film_is_read_for_its_pace(tmp_path, monkeypatch):
    clip = tmp_path / "clip.mp4"
    with VideoWriter(clip, 20, (32, 32)) as w:
        for _ in range(16):
            w.write(np.zeros((32, 32, 3), np.uint8))
    asked = []

    class Endless:
        """A small file may hold millions of packets."""

        def __init__(self, *_):
            self.at = 0

        def set(self, *_):
            return True

        def grab(self):
            asked.append(1)
            self.at += 1
            return True

        def get(self, *_):
            return self.at * 1000 / 30

        def release(self):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(cv2, "VideoCapture", Endless)
        pace = film_file.pace_of(clip, 30.0, 10_000_000)
    assert len(asked) <= film_file.MOST_STAMPS and pace.frames == 10_000_000
    # what is too long by its own header is refused before that
    monkeypatch.setattr("fer.inference.video.pace_of", lambda *_: pytest.fail("read"))
    with pytest.raises(ImageError, match="1 s long, at most 0 s"):
        Video(clip, max_s=0.1)


def test_a_finer_grid_is_taken_only_where_it_keeps_more_frames(tmp_path, monkeypatch):
    stamps = sorted([k / 30 for k in range(320)] + [k / 30 + 0.001 for k in range(0, 320, 16)])
    monkeypatch.setattr(film_file, "read_stamps", lambda _: np.array(stamps))
    assert film_file.pace_of(tmp_path, 30.0, 340).fps == 30.0
    halves = [k / 30 for k in range(30)] + [1 + k / 15 for k in range(75)]
    monkeypatch.setattr(film_file, "read_stamps", lambda _: np.array(halves))
    assert film_file.pace_of(tmp_path, 17.5, 105).fps == 30.0
