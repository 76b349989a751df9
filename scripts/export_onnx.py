#!/usr/bin/env python3
"""Write trained nets as ONNX files: float32, and int8 where that costs at most 0.3 points of validation accuracy."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from fer import export
from fer.checkpoint import find, read_manifest, trained_models
from fer.command_line import run_script
from fer.data import open_dataset
from fer.data.dataset import Dataset
from fer.errors import ConfigError, DataError, ExportError


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        description="Write trained nets as ONNX files that take uint8 pixels. float32 files go into the cache, int8 "
        "files beside the checkpoint, both under --out where that is given.",
        epilog="Accuracy is measured on the validation split; the test split is never opened.",
    )
    p.add_argument("--model", default="all", help="all, names with commas between, or the path of a checkpoint")
    p.add_argument("--data", default="fer2013", help="faces for the accuracy check and the ranges (default: fer2013)")
    p.add_argument("--int8", action="store_true", help="an int8 file too (needs the data)")
    p.add_argument("--out", type=Path, help="folder for OUT/<model>/model.fp32.onnx and model.int8.onnx")
    p.add_argument(
        "--runs", type=int, default=200, help="single faces per latency measurement, 0 = none (default: 200)"
    )
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status; 1 when an export was refused."""
    args = build_parser().parse_args(argv)
    return run_script(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Export one model after the other; one that is refused does not stop the others."""
    if args.runs < 0:
        raise ConfigError(f"--runs must not be negative, got {args.runs}")
    folders = chosen(args.model)
    data = open_splits(args.data, needed=args.int8)
    refused = 0
    for folder in folders:
        try:
            export_model(folder, data, args)
        except ExportError as e:
            refused += 1
            print(f"refused: {e}", file=sys.stderr)
    return 1 if refused else 0


def chosen(text: str) -> list[Path]:
    """Folders of the checkpoints that --model names; "all" leaves out what holds no net.

    Raises:
        ConfigError: unknown name, or a model without a net.
    """
    if text == "all":
        folders = [find(name) for name in trained_models()]
        return [f for f in folders if not read_manifest(f).classical]
    folders = [find(name.strip()) for name in text.split(",") if name.strip()]
    for folder in folders:
        if read_manifest(folder).classical:
            raise ConfigError(f"{folder} holds no net; ONNX files are made of nets")
    return folders


def open_splits(name: str, needed: bool) -> Dataset | None:
    """Training and validation split; None where there is no such data and none is needed."""
    try:
        return open_dataset(name, ["train", "val"])
    except DataError as e:
        if needed:
            raise
        print(f"accuracy is not measured: {e}", file=sys.stderr)
        return None


def export_model(folder: Path, data: Dataset | None, args: argparse.Namespace) -> None:
    """Write one model's files and print what they cost."""
    manifest = read_manifest(folder)
    if data is not None and data.label_set.names != manifest.labels:
        raise ConfigError(
            f"{data.name} has the classes {', '.join(data.label_set.names)}, {folder} answers {', '.join(manifest.labels)}; "
            f"name the data it was trained on: --data {manifest.data.get('name', 'NAME')}"
        )
    judge = None
    if data is not None:
        title = data.titles.get("val", "val")
        source = {"data": data.name, "split": "val", "title": title}
        judge = export.Judge(data["val"].faces, data["val"].labels, source)
    print(f"{manifest.model}", flush=True)
    fp32, info = export.export_fp32(folder, judge)
    path = (args.out / manifest.model / export.file_name(export.FP32)) if args.out else cached(folder)
    report(export.write(fp32, info, path), info, folder, args.runs)
    if args.int8 and data is not None and judge is not None:
        pick = np.random.default_rng(0).permutation(len(data["train"]))[: export.N_CALIBRATION]
        int8, info = export.export_int8(fp32, info, data["train"].faces[np.sort(pick)], judge)
        place = args.out / manifest.model if args.out else folder
        report(export.write(int8, info, place / export.file_name(export.INT8)), info, folder, args.runs)


def cached(folder: Path) -> Path:
    """Where `fer.load` looks for the float32 export of a checkpoint."""
    from fer.inference.onnx import cache_path

    return cache_path(read_manifest(folder))


def report(path: Path, info: export.ExportInfo, folder: Path, runs: int) -> None:
    """One line: place, size, accuracy, milliseconds for one face."""
    from fer.inference import TorchPredictor, load
    from fer.inference.onnx import OnnxPredictor

    parts = [f"{path.stat().st_size / 2**20:.2f} MiB"]
    if info.accuracy:
        known = ", ".join(f"{k} {100 * info.accuracy[k]:.2f}" for k in ("torch", "fp32", "int8") if k in info.accuracy)
        parts.append(f"{info.accuracy['title']} {known}")
    if runs:
        shown = OnnxPredictor(path, folder, read_manifest(folder))
        eager = load(folder, backend="torch")
        assert isinstance(eager, TorchPredictor)
        side = info.input.resize_px
        faces = np.random.default_rng(0).integers(0, 256, (32, side, side), dtype=np.uint8)
        for n in (1, 32):
            before, after = (milliseconds(p.predict_proba, faces[:n], max(runs // n, 5)) for p in (eager, shown))
            parts.append(f"{n} face{'s' * (n > 1)} {after:.2f} ms (torch {before:.2f})")
    print(f"  {info.precision:5s} {path}: {'; '.join(parts)}", flush=True)


def milliseconds(call: Callable[[np.ndarray], np.ndarray], faces: np.ndarray, runs: int) -> float:
    """Median time of a call."""
    call(faces)
    spent = []
    for _ in range(runs):
        start = time.perf_counter()
        call(faces)
        spent.append(time.perf_counter() - start)
    return 1000 * statistics.median(spent)


if __name__ == "__main__":
    sys.exit(main())
