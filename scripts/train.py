#!/usr/bin/env python3
"""Train one model or all: python scripts/train.py --model all

Output goes to runs/<model>/<time>/ (checkpoint, history.jsonl, resume state) and logs/ (TensorBoard).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import shutil
import time

from fer.command_line import run_script
from fer.errors import ConfigError, FerError
from fer.paths import ROOT, results_dir


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        description="Train facial-expression classifiers.",
        epilog="Ctrl-C loses at most one epoch: run again with --resume.",
    )
    p.add_argument("--model", default="all", help="a name from --list, several with commas, or all (default)")
    p.add_argument("--list", action="store_true", help="list the models and their recipes, and stop")
    p.add_argument(
        "--data",
        default="fer2013",
        help="fer2013 (default), synthetic, folders:PATH, or a path; see scripts/prepare_data.py",
    )
    p.add_argument("--out", type=Path, default=ROOT / "runs", help="where runs go (default: runs/)")
    p.add_argument("--logs", type=Path, default=None, help="where TensorBoard logs go (default: logs/ beside runs/)")
    p.add_argument("--epochs", type=int, help="epochs of every phase")
    p.add_argument("--batch-size", type=int)
    p.add_argument("--lr", type=float, help="peak learning rate of every phase")
    p.add_argument("--weight-decay", type=float)
    p.add_argument(
        "--num-workers", type=int, default=0, help="threads that augment ahead (default 0: in the training thread)"
    )
    p.add_argument("--threads", type=int, help="CPU threads for torch (default: all cores)")
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    p.add_argument("--amp", action="store_true", help="mixed precision where the device has it")
    p.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        metavar="RUN",
        help="go on with the newest run of each model, or with the given run folder; what is finished is not trained again",
    )
    p.add_argument("--init", help="begin with the weights of this run or checkpoint: more epochs for a finished one")
    p.add_argument("--teacher", help="distil from this checkpoint (name or path) on the same augmented view")
    p.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any field of the recipe or the input, for example phases.0.schedule=cosine or input.size_px=48",
    )
    p.add_argument(
        "--model-arg",
        dest="model_args",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="argument of the model, for example attention=false",
    )
    p.add_argument(
        "--promote",
        action="store_true",
        help="put the finished checkpoint into checkpoints/ and its history into results/",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 a model failed, 2 bad arguments or data, 130 interrupted."""
    args = parser().parse_args(argv)
    return run_script(
        show_models if args.list else lambda: run(args),
        interrupted="interrupted; the last full epoch is kept: run the same command with --resume",
    )


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

    jobs = settle(args)
    if args.threads:
        torch.set_num_threads(args.threads)
    data = open_dataset(args.data, splits=("train", "val"))
    failed: dict[str, str] = {}
    for job in jobs:
        try:
            one(job, data, args)
        except FerError as e:
            if len(jobs) == 1:
                raise
            failed[job.model] = str(e)
            print(f"error: {job.model}: {e}", file=sys.stderr)
    if failed:
        print(f"{len(failed)} of {len(jobs)} models failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def settle(args: argparse.Namespace) -> list:
    """The jobs to do. Finds wrong options before any data are read or any folder is made."""
    from fer import checkpoint
    from fer.device import pick_device
    from fer.models import list_models
    from fer.training.job import build, read_description

    for option, value, least in (
        ("--seed", args.seed, 0),
        ("--num-workers", args.num_workers, 0),
        ("--threads", args.threads, 1),
    ):
        if value is not None and value < least:
            raise ConfigError(f"{option} must be at least {least}, got {value}")
    pick_device(args.device)
    names = list_models() if args.model == "all" else [n.strip() for n in args.model.split(",") if n.strip()]
    if not names:
        raise ConfigError(f"--model names no model, got {args.model!r}; see --list")
    if args.resume and args.resume != "latest":
        begun = read_description(args.resume)["model"]
        if args.model != "all" and names != [begun]:
            raise ConfigError(f"{args.resume} is a run of {begun}, not of {args.model}")
        names = [begun]
    jobs = [job_of(name, args) for name in names]
    for job in jobs:
        for other in filter(None, (job.recipe.teacher, job.recipe.init)):
            checkpoint.read_manifest(other)
        if not job.model_args.get("pretrained"):  # that would ask the network
            build(job, 7)
    return jobs


def job_of(name: str, args: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The model's own recipe and input with the options applied."""
    from fer.models import get_model
    from fer.specs import override, parse_value
    from fer.training import Job, resolve

    entry = get_model(name)
    spec, settings = entry.SPEC.input, []
    for text in args.settings:
        key, _, value = text.partition("=")
        if key.strip().startswith("input."):
            spec = override(spec, (key.strip().removeprefix("input."), value.strip()))
        else:
            settings.append(text)
    recipe = resolve(
        entry.RECIPE, args.epochs, args.batch_size, args.lr, args.weight_decay, args.teacher, args.init, settings
    )
    model_args = {}
    for text in args.model_args:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--model-arg takes key=value, got {text!r}; for example --model-arg attention=false")
        model_args[key.strip()] = parse_value(value.strip())
    return Job(name, recipe, args.seed, model_args, spec)


def one(job, data, args) -> Path:  # type: ignore[no-untyped-def]
    """Train one model, or take over its finished run under --resume; returns the run folder."""
    from fer import checkpoint
    from fer.training import train
    from fer.training.job import is_finished
    from fer.training.listeners import Progress, TensorBoard

    folder, resume = run_folder(job, data, args)
    if resume and is_finished(folder):
        print(f"{job.model}: {folder} is finished; nothing to train", file=sys.stderr)
    else:
        logs = (args.logs or args.out.resolve().parent / "logs") / job.model / folder.name
        train(job, data, folder, args.device, args.amp, args.num_workers, resume, [Progress(), TensorBoard(logs)])
    temperature = calibrate(folder, data)
    print(f"  temperature {temperature:.3f} (validation)", file=sys.stderr)
    print(folder)
    if args.promote:
        if data.name == "synthetic":
            print("  not promoted: trained on synthetic faces", file=sys.stderr)
        else:
            target = checkpoint.promote(folder)
            results = results_dir() / data.name / job.model
            results.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "history.jsonl", results / "history.jsonl")
            print(f"  promoted to {target}", file=sys.stderr)
    return folder


def run_folder(job, data, args) -> tuple[Path, bool]:  # type: ignore[no-untyped-def]
    """(folder, whether it continues an earlier run).

    --resume takes the newest run of the model: if unfinished, to go on; if finished under these very options, as it is.
    """
    from fer.training.job import RUN, differences, is_finished

    if args.resume and args.resume != "latest":
        return Path(args.resume), True
    base = args.out / job.model
    if args.resume:
        begun = sorted(p.parent for p in base.glob(f"*/{RUN}"))
        if begun and (not is_finished(begun[-1]) or not differences(begun[-1], job.describe(data))):
            return begun[-1], True
        print(f"{job.model}: no unfinished run in {base}; starting anew", file=sys.stderr)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder, n = base / stamp, 1
    while folder.exists():
        n += 1
        folder = base / f"{stamp}-{n}"
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


if __name__ == "__main__":
    sys.exit(main())
