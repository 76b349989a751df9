#!/usr/bin/env python
"""Check the reported accuracies: nothing but `fer.load` and the raw CSV, no code that reported them.

    python scripts/reproduce.py fer2013.csv
    python scripts/reproduce.py fer2013.csv --model baseline_cnn,vit_tiny --split test
    python scripts/reproduce.py fer2013.csv --view single,flip,tencrop      # the columns of test-time augmentation too

Reads the pixels with the standard library, asks each bundled model face by face (one view, no augmentation) and counts;
`--view` adds the face with its mirror image (flip) and ten crops (tencrop), made here as well.
Beside each figure stands the one in results/; they may differ by 0.1 percentage points, as much as another processor's
rounding can do. Where the class counts of the CSV are not those that results/ was made with (data.json), that is said:
copies of FER2013 differ in a few labels and pictures, and then so may the figures. The one figure that is of other fits
(hog_svm on PublicTest, out of fold) stands in results/ a second time, as `fer.load` answers, and is compared with that.
Exit code: 0, 1 when one differs by more, 2 when nothing could be checked.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import argparse
import csv
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

import fer
from fer.command_line import run_script
from fer.errors import DataError

if TYPE_CHECKING:
    from fer.inference import Predictor

VIEWS = ("single", "flip", "tencrop")
USAGE = {"PublicTest": "val", "PrivateTest": "test"}
NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")  # codes 0 to 6 of the file
TOLERANCE = 0.001
BATCH = 256


def parse(argv: list[str] | None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("csv", metavar="CSV", help="fer2013.csv with the columns emotion, pixels, Usage")
    p.add_argument("--model", default="all", metavar="NAMES", help="bundled models, with commas (default: all)")
    p.add_argument("--split", default="val,test", help="val (PublicTest), test (PrivateTest) or both (default)")
    p.add_argument(
        "--view", default="single", help="single (default), flip, tencrop, with commas; the last takes minutes"
    )
    p.add_argument("--results", default=ROOT / "results" / "fer2013", type=Path, help="where the figures lie")
    return p.parse_args(argv)


def rows(path: str) -> Iterator[tuple[str, int, np.ndarray]]:
    """(split, code, uint8 (48, 48)) of each row of PublicTest and PrivateTest.

    Raises:
        DataError: not the file that is meant; names the line.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as f:
            reader = csv.DictReader(f)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]  # " pixels" in one of the copies
            if missing := {"emotion", "pixels", "Usage"} - set(reader.fieldnames or ()):
                raise DataError(f"{path}: no column {', '.join(sorted(missing))}; expected fer2013.csv")
            for row in reader:
                if (split := USAGE.get(row["Usage"])) is not None:
                    try:
                        pixels = np.array(row["pixels"].split(), dtype=np.uint8).reshape(48, 48)
                        code = int(row["emotion"])
                        if not 0 <= code < len(NAMES):
                            raise ValueError(f"emotion {code}, expected 0 to {len(NAMES) - 1}")
                    except (ValueError, OverflowError, AttributeError) as e:
                        raise DataError(f"{path}, line {reader.line_num}: {e}") from e
                    yield split, code, pixels
    except (UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{path}: not a CSV file ({e})") from e


def shown(faces: np.ndarray, view: str, size: int, resize: int) -> list[np.ndarray]:
    """The pictures whose probabilities a view takes the mean of, uint8 (N, S, S) each.

    The ten crops are those of the face at `resize` pixels where the net sees a smaller part of it, else at 48/44 of its
    size: four corners, the middle, and their mirror images. A net that crops the middle out of what it is given gets
    each crop with a border around it.

    Args:
        faces: uint8 (N, 48, 48).
        size, resize: Pixels that the net sees, and those of the face that they are cut from.
    """
    if view == "single":
        return [faces]
    if view == "flip":
        return [faces, faces[:, :, ::-1]]
    side = resize if resize > size else round(size * 48 / 44)
    how = cv2.INTER_AREA if side < faces.shape[1] else cv2.INTER_LINEAR
    whole = np.stack([cv2.resize(f, (side, side), interpolation=how) for f in faces])
    end = side - size
    places = ((0, 0), (0, end), (end, 0), (end, end), (end // 2, end // 2))
    crops = [whole[:, y : y + size, x : x + size] for y, x in places]
    before = (resize - size) // 2
    border = (before, resize - size - before)
    return [np.pad(crop, ((0, 0), border, border)) for crop in crops + [crop[:, :, ::-1] for crop in crops]]


def accuracy(model: Predictor, faces: np.ndarray, codes: np.ndarray, view: str = "single") -> float:
    """Share of `faces` (N, 48, 48) whose most probable class bears the name that the code in `codes` (N,) stands for."""
    right, size, resize = 0, model.input_spec.size_px, model.input_spec.resize_px
    for i in range(0, len(faces), BATCH):
        pictures = shown(faces[i : i + BATCH], view, size, resize)
        probs = np.mean([model.predict_proba([np.ascontiguousarray(p) for p in many]) for many in pictures], axis=0)
        answers = [model.labels.names[k] for k in probs.argmax(axis=1)]
        right += sum(answer == NAMES[code] for answer, code in zip(answers, codes[i : i + BATCH], strict=True))
    return right / len(faces)


def reported(folder: Path, split: str, view: str = "single") -> tuple[float | None, str]:
    """The figure in results/ that `fer.load` must give, None where there is none, and what should be said of it."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
        table = float(metrics["splits"][split][view]["accuracy"])
        temperature = metrics.get("temperature") or {}
        if temperature.get("out_of_fold") == split:  # fer.load knows these faces: its calibration was fitted on them
            if view != "single":
                return None, ""
            asked = float(temperature["in_sample_accuracy"])
            return asked, f"in sample; the tables have {100 * table:.2f}, out of fold"
        return table, ""
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def relabelled(folder: Path, split: str, codes: np.ndarray) -> int:
    """At least how many labels of a split differ from those that results/ was made with; 0 where that is not known."""
    try:
        counts = json.loads((folder / "data.json").read_text(encoding="utf-8"))["counts"][split]
        return sum(max(0, int((codes == k).sum()) - int(counts[name])) for k, name in enumerate(NAMES))
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def run(args: argparse.Namespace) -> int:
    wanted = [s.strip() for s in args.split.split(",")]
    if unknown := set(wanted) - set(USAGE.values()):
        raise DataError(f"--split takes {' and '.join(USAGE.values())}, not {', '.join(sorted(unknown))}")
    views = [v.strip() for v in args.view.split(",")]
    if unknown := set(views) - set(VIEWS):
        raise DataError(f"--view takes {', '.join(VIEWS)}, not {', '.join(sorted(unknown))}")
    found = [r for r in rows(args.csv) if r[0] in wanted]
    if lacking := [u for u, s in USAGE.items() if s in wanted and s not in {r[0] for r in found}]:
        raise DataError(f"{args.csv}: no rows of {' or '.join(lacking)}")
    bundled = sorted(p.parent.name for p in (ROOT / "checkpoints").glob("*/config.json"))
    names = bundled if args.model == "all" else [n.strip() for n in args.model.split(",")]
    title = {split: usage for usage, split in USAGE.items()}
    compared = differing = 0
    for split in wanted:
        if n := relabelled(args.results, split, np.array([code for s, code, _ in found if s == split])):
            print(f"another copy of FER2013: at least {n} labels of {title[split]} are not those that results/ is of")
    print(f"{'model':16s} {'split':12s} {'view':8s} {'faces':>6s} {'here':>7s} {'results/':>9s}")
    for name in names:
        model = fer.load(name)
        for split, view in ((s, v) for s in wanted for v in views):
            said, verdict = reported(args.results / name, split, view)
            if said is None and view != "single":  # such a model has no ten crops
                continue
            faces = np.stack([face for s, _, face in found if s == split])
            codes = np.array([code for s, code, _ in found if s == split])
            here = accuracy(model, faces, codes, view)
            if said is None:
                verdict = "nothing reported"
            else:
                compared += 1
                if abs(here - said) > TOLERANCE:
                    differing, verdict = differing + 1, "DIFFERS"
            figure = "–" if said is None else f"{100 * said:.2f}"
            asked = f"{name:16s} {title[split]:12s} {view:8s} {len(faces):6d}"
            print(f"{asked} {100 * here:7.2f} {figure:>9s}  {verdict}".rstrip())
            sys.stdout.flush()
    if not compared:
        raise DataError(f"{args.results}: no figure to compare with")
    return int(differing > 0)


def main(argv: list[str] | None = None) -> int:
    """Run it; returns the exit status."""
    args = parse(argv)
    return run_script(lambda: run(args))


if __name__ == "__main__":
    raise SystemExit(main())
