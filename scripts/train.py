#!/usr/bin/env python3
"""Train one model or all: python scripts/train.py --model all

Output goes to runs/<model>/<time>/ (checkpoint, history.jsonl, resume state) and logs/ (TensorBoard).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import json
import shutil
import time

from fer.errors import CheckpointError, ConfigError, FerError
from fer.paths import ROOT, results_dir


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description="Train facial-expression classifiers.", epilog="Ctrl-C loses at most one epoch: run again with --resume.")
    p.add_argument("--model", default="all", help="a name from --list, several with commas, or all (default)")
    p.add_argument("--list", action="store_true", help="list the models and their recipes, and stop")
    p.add_argument("--data", default="fer2013", help="fer2013 (default), synthetic, folders:PATH, or a path; see scripts/prepare_data.py")
    p.add_argument("--out", type=Path, default=ROOT / "runs", help="where runs go (default: runs/)")
    p.add_argument("--logs", type=Path, default=None, help="where TensorBoard logs go (default: logs/ beside runs/)")
    p.add_argument("--epochs", type=int, help="epochs of every phase")
    p.add_argument("--batch-size", type=int)
    p.add_argument("--lr", type=float, help="peak learning rate of every phase")
    p.add_argument("--weight-decay", type=float)
    p.add_argument("--num-workers", type=int, default=0, help="threads that augment ahead (default 0: in the training thread)")
    p.add_argument("--threads", type=int, help="CPU threads for torch (default: all cores)")
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    p.add_argument("--amp", action="store_true", help="mixed precision where the device has it")
    p.add_argument("--resume", nargs="?", const="latest", metavar="RUN", help="continue the latest unfinished run of the model, or the given run folder")
    p.add_argument("--teacher", help="distil from this checkpoint (name or path) on the same augmented view")
    p.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="any recipe field, for example phases.0.schedule=cosine")
    p.add_argument("--model-arg", dest="model_args", action="append", default=[], metavar="KEY=VALUE", help="argument of the model, for example attention=false")
    p.add_argument("--promote", action="store_true", help="put the finished checkpoint into checkpoints/ and its history into results/")
    return p


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 a model failed, 2 bad arguments or data, 130 interrupted."""
    args = parser().parse_args(argv)
    try:
        if args.list:
            return show_models()
        return run(args)
    except FerError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ninterrupted; the last full epoch is kept: run the same command with --resume", file=sys.stderr)
        return 130


def show_models() -> int:
    """--list."""
    from fer.checkpoint import trained_models
    from fer.models import get_model, list_models

    have = trained_models()
    for name in list_models():
        entry = get_model(name)
        phases = " + ".join(f"{p.epochs} epochs {p.optimizer} lr {p.lr:g} {p.schedule}" for p in entry.RECIPE.phases)
        print(f"{name:16s} {entry.SPEC.summary}\n{'':16s}   {phases}{'   [trained]' if name in have else ''}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Train what was asked for; with several models a failed one does not stop the others."""
    import torch

    from fer.data import open_dataset
    from fer.models import list_models

    if args.threads:
        torch.set_num_threads(args.threads)
    names = list_models() if args.model == "all" else [n.strip() for n in args.model.split(",") if n.strip()]
    settle(names, args)
    data = open_dataset(args.data, splits=("train", "val"))
    failed: dict[str, str] = {}
    for name in names:
        try:
            one(name, data, args)
        except FerError as e:
            if len(names) == 1:
                raise
            failed[name] = str(e)
            print(f"error: {name}: {e}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {len(names)} models failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def settle(names: list[str], args: argparse.Namespace) -> None:
    """Find wrong options before any data are read."""
    from fer import checkpoint
    from fer.device import pick_device

    pick_device(args.device)
    for name in names:
        recipe = job_of(name, args).recipe
        if recipe.teacher:
            checkpoint.read_manifest(recipe.teacher)
    if args.resume and args.resume != "latest":
        run_folder(names[0], args)


def job_of(name: str, args: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The model's own recipe with the options applied."""
    from fer.models import get_model
    from fer.training import Job, resolve

    recipe = resolve(
        get_model(name).RECIPE, args.epochs, args.batch_size, args.lr, args.weight_decay, args.teacher, args.settings
    )
    return Job(name, recipe, args.seed, dict(parse_model_arg(text) for text in args.model_args))


def one(name, data, args) -> Path:  # type: ignore[no-untyped-def]
    """Train one model; returns its run folder."""
    from fer import checkpoint
    from fer.training import train
    from fer.training.listeners import Progress, TensorBoard

    job = job_of(name, args)
    folder, resume = run_folder(name, args)
    logs = (args.logs or args.out.resolve().parent / "logs") / name / folder.name
    train(job, data, folder, args.device, args.amp, args.num_workers, resume, [Progress(), TensorBoard(logs)])
    temperature = calibrate(folder, data)
    print(f"  temperature {temperature:.3f} (validation)", file=sys.stderr)
    print(folder)
    if args.promote:
        if data.name == "synthetic":
            print("  not promoted: trained on synthetic faces", file=sys.stderr)
        else:
            target = checkpoint.promote(folder)
            results = results_dir() / data.name / name
            results.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "history.jsonl", results / "history.jsonl")
            print(f"  promoted to {target}", file=sys.stderr)
    return folder


def run_folder(name: str, args: argparse.Namespace) -> tuple[Path, bool]:
    """(folder, whether it continues an earlier run)."""
    from fer.training.loop import RUN, is_finished

    if args.resume and args.resume != "latest":
        folder = Path(args.resume)
        if not (folder / RUN).is_file():
            raise CheckpointError(f"{folder}: no run to resume here ({RUN} is missing)")
        return folder, True
    if args.resume:
        begun = sorted(p.parent for p in (args.out / name).glob(f"*/{RUN}") if not is_finished(p.parent))
        if begun:
            return begun[-1], True
        print(f"{name}: no unfinished run in {args.out / name}; starting anew", file=sys.stderr)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder, n = args.out / name / stamp, 1
    while folder.exists():
        n += 1
        folder = args.out / name / f"{stamp}-{n}"
    return folder, False


def calibrate(folder: Path, data) -> float:  # type: ignore[no-untyped-def]
    """Fit the temperature on the validation split and record it in the manifest."""
    import torch

    from fer import checkpoint
    from fer.evaluation.calibration import fit_temperature
    from fer.training.stream import evaluate

    module, manifest = checkpoint.load_module(folder)
    logits = evaluate(module.to(memory_format=torch.channels_last), data["val"], manifest.input, torch.device("cpu"))
    temperature = fit_temperature(logits.log_softmax(1).numpy(), data["val"].labels)
    checkpoint.set_temperature(folder, temperature)
    return temperature


def parse_model_arg(text: str) -> tuple[str, object]:
    """"attention=false" -> ("attention", False); values are JSON, or plain text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--model-arg takes key=value, got {text!r}")
    try:
        return key.strip(), json.loads(value)
    except json.JSONDecodeError:
        return key.strip(), value


if __name__ == "__main__":
    sys.exit(main())
