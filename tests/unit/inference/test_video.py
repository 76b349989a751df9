"""Films: every frame once and the right way up, files that are none refused, annotated films and tables."""

import csv
import struct
import tracemalloc

import numpy as np
import pytest

from fer.errors import ConfigError, ImageError
from fer.inference.live import LivePipeline
from fer.inference.video import CODECS, Video, VideoWriter, annotate_video
from fer.labels import FER7

W, H, FPS = 96, 64, 20


class Says:
    labels = FER7

    def predict_proba(self, faces):
        return np.full((len(faces), 7), 1 / 7, np.float32)


def picture(k):
    """Bright on the left, a band that rises with k."""
    image = np.full((H, W, 3), 30, np.uint8)
    image[:, : W // 4] = (250, 60, 60)
    image[H - 4 - 3 * k : H - 3 * k] = 200
    return image


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for suffix in CODECS:
        with VideoWriter(folder / f"clip{suffix}", FPS, (W, H)) as w:
            for k in range(16):
                w.write(picture(k))
    return folder


@pytest.mark.parametrize("suffix", CODECS)
def test_written_films_are_read_again_frame_by_frame(films, suffix):
    with Video(films / f"clip{suffix}") as film:
        frames = list(film)
    assert len(frames) == 16 and (film.facts.width, film.facts.height) == (W, H)
    assert [t for t, _ in frames] == pytest.approx([k / FPS for k in range(16)], abs=0.004)
    for k, (_, image) in enumerate(frames):
        assert np.abs(image.astype(int) - picture(k)).mean() < 12, k
    assert frames[0][1][5, 5, 0] > 180 > 120 > frames[0][1][5, 5, 2], "RGB, not BGR"


def turned(source, target, degrees):
    """Copy of an MP4 whose track header says that it is to be shown turned clockwise."""
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4
    assert data[at] == 0, "version 0"
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data[at + 40 : at + 76] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(("degrees", "turns"), [(90, 3), (180, 2), (270, 1)])
def test_rotation_in_the_metadata_is_applied(films, tmp_path, degrees, turns):
    with Video(turned(films / "clip.mp4", tmp_path / "t.mp4", degrees)) as film:
        _, image = next(iter(film))
    expected = np.rot90(picture(0), turns)
    assert image.shape == expected.shape == (film.facts.height, film.facts.width, 3)
    assert np.abs(image.astype(int) - expected).mean() < 12


def test_what_is_no_film(films, tmp_path):
    cases = {
        "empty.mp4": (b"", "0 bytes"),
        "text.mp4": (b"just some words, not a film at all" * 9, "not a film"),
        "list.m3u8": (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not a film"),
        "concat.mp4": (b"ffconcat version 1.0\nfile clip.mp4\n", "not a film"),
        "cut.mp4": ((films / "clip.mp4").read_bytes()[:400], "cannot be read|no frames"),
        "picture.mp4": (b"\x89PNG\r\n\x1a\n" + bytes(200), "not a film"),
    }
    for name, (data, words) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImageError, match=words):
            Video(tmp_path / name)
    for path in (tmp_path, tmp_path / "absent.mp4", "http://example.org/a.mp4"):
        with pytest.raises(ImageError, match=r"directory|no such"):
            Video(path)


def test_a_film_without_frames(tmp_path):
    with VideoWriter(tmp_path / "none.mp4", FPS, (W, H)):
        pass
    with pytest.raises(ImageError, match=r"no frames|cannot be read"):
        Video(tmp_path / "none.mp4")


def test_the_content_counts_and_not_the_name(films, tmp_path):
    for name in ("clip.jpg", "clip.txt", "clip"):
        (tmp_path / name).write_bytes((films / "clip.webm").read_bytes())
        with Video(tmp_path / name) as film:
            assert len(list(film)) == 16


def test_too_long(films):
    with pytest.raises(ImageError, match="at most 0 s"):
        Video(films / "clip.mp4", max_s=0.2)
    with Video(films / "clip.mp4", max_s=0.8) as film:
        assert len(list(film)) == 16


def test_annotated_film_and_table(films, tmp_path, monkeypatch):
    from fer.faces import Face
    from fer.inference import live as module

    monkeypatch.setattr(module, "detect", lambda *a, **k: [Face((20, 10, 60, 50), 0.9)])
    progress, drawn = [], []

    def draw(image, seen):
        drawn.append(len(seen.faces))
        return 255 - image

    out, table = tmp_path / "out" / "a.webm", tmp_path / "out" / "a.csv"
    report = annotate_video(films / "clip.mp4", LivePipeline(Says()), out, table, draw, progress.append)
    assert (report.frames, report.cancelled, report.faces, report.rows) == (16, False, (1,), 16) and drawn == [1] * 16
    assert [p.frames for p in progress] == list(range(1, 17)) and progress[-1].share == 1.0
    with Video(out) as film:
        frames = [image for _, image in film]
    assert len(frames) == 16 and np.abs(frames[3].astype(int) - (255 - picture(3))).mean() < 12
    with open(table, encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 16 and rows[2]["face"] == "1" and float(rows[2]["time_s"]) == pytest.approx(0.1)
    assert sum(float(rows[0][f"p_{n}"]) for n in FER7.names) == pytest.approx(1, abs=0.01)
    assert sorted(p.name for p in out.parent.iterdir()) == ["a.csv", "a.webm"], "no half files"


def test_cancelled_films_keep_what_is_done(films, tmp_path):
    asked = []

    def cancelled():
        asked.append(1)
        return len(asked) > 5

    report = annotate_video(films / "clip.mp4", LivePipeline(Says()), tmp_path / "a.mp4", cancelled=cancelled)
    assert (report.frames, report.cancelled) == (5, True)
    with Video(tmp_path / "a.mp4") as film:
        assert len(list(film)) == 5


def test_a_failure_leaves_no_file(films, tmp_path):
    def draw(image, seen):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        annotate_video(films / "clip.mp4", LivePipeline(Says()), tmp_path / "a.mp4", tmp_path / "a.csv", draw)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ImageError, match=r"\.xyz"):
        annotate_video(films / "clip.mp4", LivePipeline(Says()), tmp_path / "a.xyz")


def test_no_film_is_written_over_the_one_that_is_read(films, tmp_path):
    source = tmp_path / "clip.webm"
    source.write_bytes((films / "clip.webm").read_bytes())
    for film, table in ((source, None), (None, source), (tmp_path / "a.avi", tmp_path / "." / "a.avi")):
        with pytest.raises(ConfigError, match="the same file"):
            annotate_video(source, LivePipeline(Says()), film, table)
    assert source.read_bytes() == (films / "clip.webm").read_bytes() and list(tmp_path.iterdir()) == [source]


def test_memory_does_not_grow_with_the_length(tmp_path):
    path = tmp_path / "long.avi"
    with VideoWriter(path, FPS, (320, 240)) as w:
        for k in range(120):
            w.write(np.full((240, 320, 3), k, np.uint8))
    live = LivePipeline(Says())
    peaks = {}

    def watch(p):
        if p.frames in (20, 120):
            peaks[p.frames] = tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    annotate_video(path, live, tmp_path / "out.avi", on_progress=watch)
    tracemalloc.stop()
    frame_bytes = 240 * 320 * 3
    assert peaks[120] < peaks[20] + 3 * frame_bytes, "a hundred frames more, not even three of them kept"


def test_a_film_with_uneven_intervals_keeps_its_time(films, tmp_path, monkeypatch):
    """What a browser records while it lags: the file claims 1000 frames a second, only the stamps tell the time."""
    import cv2

    class Uneven:
        def __init__(self, *args):
            self.film, self.at = cv2_capture(*args), -1

        def get(self, key):
            stamp = 1000 * (self.at / 10 if self.at < 5 else 0.4 + (self.at - 4) / 5)
            known = {cv2.CAP_PROP_FPS: 1000.0, cv2.CAP_PROP_FRAME_COUNT: 1600.0, cv2.CAP_PROP_POS_MSEC: stamp}
            return known.get(key, self.film.get(key))

        def read(self):
            self.at += 1
            return self.film.read()

        def __getattr__(self, name):
            return getattr(self.film, name)

    cv2_capture = cv2.VideoCapture
    source = tmp_path / "source.avi"
    with VideoWriter(source, 10, (64, 48)) as out:
        for k in range(10):
            out.write(np.full((48, 64, 3), 20 * k, np.uint8))
    monkeypatch.setattr(cv2, "VideoCapture", Uneven)
    shares = []
    live = LivePipeline("baseline_cnn")
    report = annotate_video(source, live, tmp_path / "out.avi", on_progress=lambda p: shares.append(p.share))
    monkeypatch.undo()
    assert report.frames == 10 and report.seconds == pytest.approx(1.4)
    assert shares == sorted(shares) and 0.8 < shares[-1] <= 1
    with Video(tmp_path / "out.avi") as film:
        frames = list(film)
    assert film.facts.fps == pytest.approx(30) and len(frames) == 43, "1.4 seconds, and the last frame"
    shown = [round(float(image.mean()) / 20) for _, image in frames]
    assert [shown.count(k) for k in range(10)] == [3, 3, 3, 3, 6, 6, 6, 6, 6, 1], "each until the next"


def restamped(source, target, runs, trimmed=False):
    """Copy of an MP4 whose frames last as the runs (how many, how often as long as before) say.

    Args:
        trimmed: The edit list still ends where the film did before.
    """
    data = source.read_bytes()
    at = data.index(b"stts") - 4
    size, _, _, number, _, step = struct.unpack(">6I", data[at : at + 24])
    assert number == 1, "an even film"
    box = b"stts" + struct.pack(">2I", 0, len(runs)) + b"".join(struct.pack(">2I", n, k * step) for n, k in runs)
    grown = bytearray(data[:at] + struct.pack(">I", len(box) + 4) + box + data[at + size :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        at = grown.index(name) - 4
        grown[at : at + 4] = struct.pack(">I", struct.unpack(">I", grown[at : at + 4])[0] + len(box) + 4 - size)
    target.write_bytes(grown if trimmed else grown.replace(b"edts", b"free"))
    return target


def numbered_film(path, fps, count):
    """Each frame has its number on it, as seven black or white bars."""
    with VideoWriter(path, fps, (7 * 16, 48)) as out:
        for k in range(count):
            bits = np.array([255 * (k >> i & 1) for i in range(7)], np.uint8)
            out.write(np.broadcast_to(bits.repeat(16)[None, :, None], (48, 7 * 16, 3)).copy())
    return path


def numbers_in(path):
    """Rate of a film, and what number is on each of its frames."""
    with Video(path) as film:
        bars = [image.reshape(48, 7, 16, 3).mean((0, 2, 3)) > 128 for _, image in film]
    return film.facts.fps, [sum(int(white) << i for i, white in enumerate(frame)) for frame in bars]


@pytest.mark.parametrize(("fps", "runs"), [
    (30, [(30, 1), (15, 4)]),
    (30, [(15, 4), (30, 1)]),
    (60, [(30, 1), (15, 6)]),
    (20, [(20, 1), (5, 4), (20, 1)]),
    (50, [(20, 1), (5, 7), (20, 1)]),
])  # fmt: skip
def test_frames_of_a_film_whose_rate_changes_keep_their_time(tmp_path, fps, runs):
    source = restamped(numbered_film(tmp_path / "even.mp4", fps, 45), tmp_path / "source.mp4", runs)
    lengths = np.repeat([k / fps for _, k in runs], [n for n, _ in runs])
    times = np.cumsum(lengths) - lengths
    shares = []
    report = annotate_video(
        source, LivePipeline(Says()), tmp_path / "out.avi", on_progress=lambda p: shares.append(p.share)
    )
    assert report.frames == 45 and report.seconds == pytest.approx(times[-1], abs=0.002)
    assert shares == sorted(shares) and shares[-1] == 1
    rate, shown = numbers_in(tmp_path / "out.avi")
    assert 29.9 <= rate <= 60 and len(shown) / rate == pytest.approx(times[-1], abs=1.5 / rate)
    for k, time_s in enumerate(times):
        first = shown.index(k) / rate
        assert abs(first - time_s) <= 1 / rate, f"frame {k} of {time_s:.3f} s is shown at {first:.3f} s"
    assert report.complete


@pytest.mark.parametrize("suffix", CODECS)
@pytest.mark.parametrize("fps", [24, 25, 29.97, 30, 60])
def test_every_frame_of_an_even_film_is_written_once(tmp_path, fps, suffix):
    source = numbered_film(tmp_path / f"source{suffix}", fps, 90)
    with Video(source) as film:
        assert film.facts.frames == 90 and not film.uneven
    annotate_video(source, LivePipeline(Says()), tmp_path / "out.avi")
    rate, shown = numbers_in(tmp_path / "out.avi")
    assert rate == pytest.approx(fps, abs=0.01) and shown == list(range(90))


@pytest.mark.parametrize("stamps", [
    [0.0] * 12,
    [0, 0.1, 0.2, 0, 0, 0.5, 0.6, 0.7, 0, 0.9, 1.0, 1.1],
    [0, 0.1, 0.2, 0.3, 0.1, 0.5, 0.4, 0.7, 0.8, 0.9, 1.0, 1.1],
    [5, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0],
    [k / 10 + 3 for k in range(12)],
    [0, 0.1, 0.2, 0.3, 0.4, 99, 0.6, 0.7, 0.8, -1, 1.0, 1.1],
    [float("nan")] * 12,
    [float("nan"), *(k / 10 for k in range(1, 12))],
])  # fmt: skip
def test_stamps_that_are_missing_or_run_backwards_cost_no_frame(tmp_path, monkeypatch, stamps):
    import cv2

    class Damaged:
        def __init__(self, *args):
            self.film, self.at = cv2_capture(*args), -1

        def get(self, key):
            return 1000 * stamps[self.at] if key == cv2.CAP_PROP_POS_MSEC else self.film.get(key)

        def read(self):
            self.at += 1
            return self.film.read()

        def grab(self):
            self.at += 1
            return self.film.grab()

        def __getattr__(self, name):
            return getattr(self.film, name)

    cv2_capture = cv2.VideoCapture
    source = numbered_film(tmp_path / "source.avi", 10, 12)
    with monkeypatch.context() as m:
        m.setattr(cv2, "VideoCapture", Damaged)
        report = annotate_video(source, LivePipeline(Says()), tmp_path / "out.avi")
    assert report.seconds == pytest.approx(1.1) and report.frames == 12
    assert numbers_in(tmp_path / "out.avi") == (10, list(range(12)))


def in_front(source, target):
    """Copy of an MP4 with its index before the frames, as on the web: a part of it can be played."""
    data = source.read_bytes()
    at, head = data.rindex(b"moov") - 4, struct.unpack(">I", data[:4])[0]
    moov = bytearray(data[at:])
    table = moov.index(b"stco") + 8
    (number,) = struct.unpack(">I", moov[table : table + 4])
    places = struct.unpack(f">{number}I", moov[table + 4 : table + 4 + 4 * number])
    moov[table + 4 : table + 4 + 4 * number] = struct.pack(f">{number}I", *(p + len(moov) for p in places))
    target.write_bytes(data[:head] + moov + data[head:at])
    return target


@pytest.mark.parametrize("suffix", CODECS)
def test_a_film_that_is_cut_off_is_told(tmp_path, suffix):
    noise = np.random.default_rng(0)
    path = tmp_path / f"whole{suffix}"
    with VideoWriter(path, 25, (64, 48)) as out:
        for _ in range(100):
            out.write(noise.integers(0, 255, (48, 64, 3), np.uint8))
    whole = in_front(path, tmp_path / "front.mp4") if suffix == ".mp4" else path
    data = whole.read_bytes()
    reports = []
    for share in (1, 0.97, 0.5):
        part = tmp_path / f"part{suffix}"
        part.write_bytes(data[: int(share * len(data))])
        reports.append(annotate_video(part, LivePipeline(Says()), tmp_path / f"out{suffix}"))
    assert [r.promised for r in reports] == [100] * 3 and reports[0].frames == 100 and 35 < reports[2].frames < 65
    assert [r.complete for r in reports] == [True, True, False] and reports[2].cut_off and not reports[2].cancelled
    asked = []
    report = annotate_video(part, LivePipeline(Says()), cancelled=lambda: asked.append(1) or len(asked) > 9)
    assert report.cancelled and not report.complete and not report.cut_off
    with Video(tmp_path / f"out{suffix}") as film:
        assert len(list(film)) == reports[2].frames, "what came is there"


def test_a_film_trimmed_by_its_edit_list_is_whole(tmp_path):
    runs = [(15, 1), (30, 4)]
    source = restamped(numbered_film(tmp_path / "even.mp4", 30, 45), tmp_path / "source.mp4", runs, trimmed=True)
    report = annotate_video(source, LivePipeline(Says()))
    assert report.frames < 0.9 * report.promised and report.complete


def test_a_home_folder_is_put_in_full(films, tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(), elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(elsewhere)
    annotate_video(films / "clip.avi", LivePipeline(Says()), "~/a.avi", "~/a.csv")
    assert sorted(p.name for p in home.iterdir()) == ["a.avi", "a.csv"] and not list(elsewhere.iterdir())
