#!/usr/bin/env python3
"""Measure: `benchmark.py train` (share of each stage of a training step, and what the loop costs beyond bare forward and
backward passes), `benchmark.py load` (import, load, first answer),
`benchmark.py pipeline` (share of each stage of the live pipeline, one drawn face at 640x480), `benchmark.py backends`
(torch, ONNX Runtime and its 8-bit files, side by side)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fer.command_line import add_amp, run_script
from fer.errors import CheckpointError, ConfigError
from fer.paths import ROOT

if TYPE_CHECKING:
    from fer.data.dataset import Split


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description="Measure training, start-up, the live pipeline and the backends.")
    p.add_argument(
        "what",
        choices=("train", "load", "pipeline", "backends"),
        help="train: each stage of a training step; load: import, load and first answer in a fresh interpreter; pipeline: "
        "the live pipeline's frames a second, detection included; backends: torch, ONNX Runtime and its 8-bit files",
    )
    p.add_argument(
        "--model",
        default=None,
        help="default: attention_cnn for train, the Live page's for pipeline; for load and backends every trained model",
    )
    p.add_argument("--steps", type=int, default=20, help="training steps; frames of the pipeline are ten times as many")
    p.add_argument("--batch-size", type=int, default=128, help="train: images per step (default: 128)")
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    p.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    p.add_argument(
        "--max-share", type=float, help="fail when loading plus augmentation take more than this share of a step"
    )
    p.add_argument(
        "--max-ratio", type=float, help="fail when a step of training takes more than this times bare forward-backward"
    )
    add_amp(p)
    p.add_argument("--compile", action="store_true", help="train: compile the net; its loop against passes as they are")
    p.add_argument("--min-fps", type=float, help="fail when the pipeline does fewer frames a second")
    p.add_argument("--save", action="store_true", help="backends: write results/speed.json")
    p.add_argument("--json", action="store_true", help="print the figures as JSON")
    return p


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status; 1 when --max-share, --max-ratio or --min-fps is not held."""
    args = parser().parse_args(argv)
    return run_script(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Check the numbers and measure."""
    for option, value in (("--steps", args.steps), ("--batch-size", args.batch_size), ("--threads", args.threads)):
        if value is not None and value < 1:
            raise ConfigError(f"{option} must be at least 1, got {value}")
    if args.save and args.what != "backends":
        raise ConfigError("--save is for backends")
    return {"train": train, "load": load, "pipeline": pipeline, "backends": backends}[args.what](args)


def train(args: argparse.Namespace) -> int:
    """Time loading + augmentation, forward, backward and update of real training steps on random faces."""
    import numpy as np
    import torch

    from fer.data.dataset import Split
    from fer.device import keep_freed_memory, pick_device
    from fer.models import get_model
    from fer.training.losses import cross_entropy
    from fer.training.optim import build_optimizer
    from fer.training.step import half_precision
    from fer.training.stream import AugmentedStream

    if args.threads:
        torch.set_num_threads(args.threads)
    keep_freed_memory()  # as train.py does
    device = pick_device(args.device)
    entry = get_model(args.model or "attention_cnn")
    if entry.SPEC.backend != "torch":
        raise ConfigError(f"{entry.SPEC.name} is fitted once and has no training steps to measure")
    spec, recipe = entry.SPEC.input, entry.RECIPE
    rng = np.random.default_rng(0)
    shape = (2048, spec.resize_px, spec.resize_px) + ((3,) if spec.channels == 3 else ())
    split = Split(
        rng.integers(0, 256, shape, dtype=np.uint8),
        np.eye(7, dtype=np.float32)[rng.integers(0, 7, 2048)],
        np.arange(2048),
    )
    stream = AugmentedStream(split, spec, replace(recipe, batch_size=args.batch_size), 0, device)
    module = entry.build(7).to(device, memory_format=torch.channels_last).train()
    optimizer = build_optimizer(module, recipe.phases[-1])
    half = half_precision(device, args.amp)

    def now() -> float:
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()
        return time.perf_counter()

    spent = dict.fromkeys(("load + augment", "forward", "backward", "update"), 0.0)
    done, epoch = -3, 0  # three steps to warm up
    while done < args.steps:
        epoch += 1
        t = now()
        for x, y in stream.epoch(epoch):
            a = now()
            with torch.autocast(device.type, dtype=half or torch.bfloat16, enabled=half is not None):
                loss = cross_entropy(module(x), y, None, recipe.label_smoothing)
            b = now()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            c = now()
            optimizer.step()
            d = now()
            if done >= 0:
                for key, dt in zip(spent, (a - t, b - a, c - b, d - c), strict=True):
                    spent[key] += dt
            done += 1
            if done >= args.steps:
                break
            t = now()
    whole, bare = loop_and_bare(args, split)
    total = sum(spent.values())
    share = spent["load + augment"] / total
    report = {
        "model": entry.SPEC.name,
        "device": str(device),
        "precision": str(half or torch.float32).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "batch_size": stream.batch_size,
        "step_ms": round(1000 * total / args.steps, 1),
        "images_per_second": round(args.steps * stream.batch_size / total, 1),
        "share": {k: round(v / total, 4) for k, v in spent.items()},
        "loop_ms": round(1000 * whole, 1),
        "bare_ms": round(1000 * bare, 1),
        "loop_over_bare": round(whole / bare, 3),
    }
    if args.json:
        print(json.dumps(report))
    else:
        print(
            f"{report['model']}, batch {report['batch_size']}, {report['device']}, {report['threads']} threads: "
            f"{report['step_ms']} ms a step, {report['images_per_second']} images/s"
        )
        for key, value in spent.items():
            print(f"  {key:15s} {1000 * value / args.steps:8.1f} ms  {100 * value / total:5.1f} %")
        print(
            f"the loop as train.py runs it: {report['loop_ms']} ms a step, {whole / bare:.2f} times bare forward and "
            f"backward passes ({report['bare_ms']} ms)"
        )
    if args.max_share is not None and share > args.max_share:
        print(f"loading and augmentation take {share:.1%} of a step, more than {args.max_share:.0%}", file=sys.stderr)
        return 1
    if args.max_ratio is not None and whole / bare > args.max_ratio:
        print(f"the loop takes {whole / bare:.2f} times the bare passes, more than {args.max_ratio:g}", file=sys.stderr)
        return 1
    return 0


def loop_and_bare(args: argparse.Namespace, split: "Split") -> tuple[float, float]:
    """Seconds of a step as training runs it (augmented batch, loss, gradients, clipping, update, EMA), and of bare passes.

    Bare is forward, loss and backward of the same net on one batch that lies on the device. Both take turns, so that a
    machine that does other things as well slows both; the median of each counts.
    """
    from contextlib import nullcontext
    from itertools import count
    from statistics import median

    import torch

    from fer.models import get_model
    from fer.training.losses import cross_entropy
    from fer.training.optim import build_optimizer
    from fer.training.processes import Processes
    from fer.training.step import Stepper
    from fer.training.stream import AugmentedStream

    entry, processes = get_model(args.model or "attention_cnn"), Processes.join(args.device)
    recipe, device = replace(entry.RECIPE, batch_size=args.batch_size), processes.device
    stream = AugmentedStream(split, entry.SPEC.input, recipe, 0, device)
    net, same = (entry.build(7).to(device, memory_format=torch.channels_last).train() for _ in range(2))
    stepper = Stepper(net, recipe, 7, 0, None, None, processes, args.amp, args.compile)
    stepper.begin_phase()
    optimizer = build_optimizer(net, recipe.phases[-1])
    batches = (batch for epoch in count(1) for batch in stream.epoch(epoch))
    x, y = next(batches)

    def step() -> None:
        stepper.step(*next(batches), 1.0, optimizer)[0].item()  # waits for the device

    def passes() -> None:
        same.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=stepper.half) if stepper.half else nullcontext():
            loss = cross_entropy(same(x), y, None, recipe.label_smoothing)
        loss.backward()
        next(same.parameters()).grad.sum().item()

    seconds: dict[Callable[[], None], list[float]] = {step: [], passes: []}
    for _ in range(args.steps + 2):  # two warm up
        for call, times in seconds.items():
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
    whole, bare = (median(times[2:]) for times in seconds.values())
    return whole, bare


def chosen(args: argparse.Namespace) -> list[str]:
    """--model, or every trained model."""
    from fer.checkpoint import trained_models

    names = [args.model] if args.model else trained_models()
    if not names:
        raise CheckpointError("no trained models; train one with: python scripts/train.py --model all --promote")
    return names


def load(args: argparse.Namespace) -> int:
    """Time `import fer` and `fer.load` + first prediction, each in a fresh interpreter (best of three)."""
    names = chosen(args)
    code = (
        "import time; t = time.perf_counter(); import fer; a = time.perf_counter()\n"
        "import sys, numpy\n"
        "fer.load(sys.argv[1]).predict_proba(numpy.zeros((1, 48, 48), numpy.uint8)); b = time.perf_counter()\n"
        "print(a - t, b - t)"
    )
    rows = []
    for name in names:
        runs = []
        for _ in range(3):
            r = subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, cwd=ROOT)
            if r.returncode:
                print(f"error: {r.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                return 2
            runs.append(tuple(map(float, r.stdout.split())))
        rows.append(
            {
                "model": name,
                "import_s": round(min(r[0] for r in runs), 3),
                "load_and_first_prediction_s": round(min(r[1] for r in runs), 2),
            }
        )
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(
                f"{row['model']:16s} import fer {row['import_s']:.3f} s   load + first prediction {row['load_and_first_prediction_s']:.2f} s"
            )
    return 0


def pipeline(args: argparse.Namespace) -> int:
    """Time detection, tracking, classification, smoothing and drawing of one drawn face at 640x480."""
    import torch

    from fer.data.drawn_clip import Shot, draw_clip, draw_person
    from fer.inference.live import LivePipeline
    from fer.inference.stage_times import measure_stages
    from fer.models import LIVE_MODEL
    from fer.overlay import draw_live

    torch.set_num_threads(args.threads or 2)
    live = LivePipeline(args.model or LIVE_MODEL)
    clip = draw_clip([Shot("neutral", 0.7), Shot("happy", 0.7), Shot("surprise", 0.6)], draw_person(3), fps=20)
    times = measure_stages(live, [f.image for f in clip], frames=10 * args.steps, draw=draw_live)
    report = {"model": live.predictor.name, "size": "640x480", "threads": torch.get_num_threads(), **times.as_dict()}
    if args.json:
        print(json.dumps(report))
    else:
        print(
            f"{report['model']}, one face at {report['size']}, {report['threads']} threads: {report['fps']} frames/s, "
            f"{report['cpu_ms']} ms of processor time a frame, slowest of a hundred {report['slowest_ms']} ms"
        )
        for name, stage in report["stages"].items():
            print(f"  {name:10s} {stage['ms']:8.2f} ms  {100 * stage['share']:5.1f} %")
    if args.min_fps is not None and report["fps"] < args.min_fps:
        print(f"{report['fps']} frames/s, fewer than {args.min_fps:g}", file=sys.stderr)
        return 1
    return 0


def backends(args: argparse.Namespace) -> int:
    """Time torch, ONNX Runtime and its 8-bit file for one face and for 32."""
    from dataclasses import asdict

    import torch

    from fer.evaluation.speed import write_speed
    from fer.scoring.speed import measure

    if args.threads:
        torch.set_num_threads(args.threads)
    report = measure(chosen(args))
    if args.json:
        print(json.dumps(asdict(report)))
    else:
        print(f"{report.threads} threads of {report.cpu}; milliseconds for one face / for 32, preprocessing included")
        for m in report.models:
            cells = [f"torch {m.torch['batch_1']:.2f} / {m.torch['batch_32']:.1f}"]
            for title, name in (("ONNX fp32", "onnx"), ("int8", "int8")):
                if (times := getattr(m, name)) is not None:
                    gains = " / ".join(f"x{m.gain(name, b):.1f}" for b in ("batch_1", "batch_32"))
                    cells.append(f"{title} {times['batch_1']:.2f} / {times['batch_32']:.1f} ({gains})")
            print(f"  {m.model:16s} {'   '.join(cells)}")
    if args.save:
        print(f"written: {write_speed(report)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
