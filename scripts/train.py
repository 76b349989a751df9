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
import traceback

from fer.command_line import run_script
from fer.errors import ConfigError, DataError, FerError, unknown_name
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
        "--recipe",
        default="best",
        help="best (default: from scratch at native resolution) or reference (as the project did that the model comes "
        "from: its optimizer and schedule, ImageNet weights and 224 px where it used them)",
    )
    p.add_argument("--no-pretrained", action="store_true", help="the reference recipe without ImageNet weights")
    p.add_argument(
        "--skip-phase",
        action="append",
        default=[],
        metavar="NAME",
        help="leave a phase out, for example affectnet where there is no AffectNet; the checkpoint says so",
    )
    p.add_argument(
        "--data",
        default="fer2013",
        help="fer2013 (default), muxspace, affectnet, ferplus, synthetic, folder:PATH, or a path; see "
        "scripts/prepare_data.py",
    )
    p.add_argument("--out", type=Path, default=ROOT / "runs", help="where runs go (default: runs/)")
    # torchrun takes --logs for its own --logs-specs
    p.add_argument(
        "--tensorboard",
        "--logs",
        dest="logs",
        type=Path,
        default=None,
        metavar="DIR",
        help="where TensorBoard logs go (default: logs/ beside runs/)",
    )
    p.add_argument("--epochs", type=int, help="epochs of every phase")
    p.add_argument("--batch-size", type=int)
    p.add_argument("--lr", type=float, help="peak learning rate of every phase")
    p.add_argument("--weight-decay", type=float)
    p.add_argument(
        "--num-workers", type=int, default=0, help="threads that augment ahead (default 0: in the training thread)"
    )
    p.add_argument("--threads", type=int, help="CPU threads for torch (default: all cores)")
    p.add_argument(
        "--budget",
        metavar="minutes=N",
        help="shorten the schedules so that everything asked for ends within this time; each model gets an equal share "
        "of what is left",
    )
    p.add_argument(
        "--again",
        action="store_true",
        help="of several models, train those too that are trained already under the same recipe, seed and data",
    )
    p.add_argument(
        "--votes",
        type=Path,
        metavar="FILE",
        help="FER+ votes (fer2013new.csv) for recipes with ferplus_weight (default: the one in data/)",
    )
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
        phases = phases if entry.SPEC.backend == "torch" else "one fit"
        other = "   [--recipe reference]" if hasattr(entry, "REFERENCE") else ""
        print(f"{name:18s} {entry.SPEC.summary}\n{'':18s}   {phases}{'   [trained]' if name in have else ''}{other}")
    return 0


def run(args: argparse.Namespace) -> int:
    """Train what was asked for; with several models a failed one does not stop the others."""
    import torch

    from fer.data import open_dataset
    from fer.training.budget import parse_budget
    from fer.training.processes import Processes

    end = time.monotonic() + parse_budget(args.budget) if args.budget else None
    jobs, failed = settle(args)
    total = len(jobs) + len(failed)
    if args.threads:
        torch.set_num_threads(args.threads)
    processes = Processes.join(args.device)
    data = open_dataset(args.data, splits=("train", "val"))
    for i, job in enumerate(jobs):
        seconds = None if end is None else (end - time.monotonic()) / (len(jobs) - i)
        try:
            one(job, data, args, seconds, len(jobs) > 1, processes)
        except Exception as e:  # out of memory, say: the others may still fit
            if total == 1 or (processes.count > 1 and not isinstance(e, FerError)):
                raise
            failed[job.model] = str(e) or type(e).__name__
            if not isinstance(e, FerError):
                traceback.print_exc()
            if processes.main:
                print(f"error: {job.model}: {e}", file=sys.stderr)
    if failed and processes.main:
        print(f"{len(failed)} of {total} models failed:", file=sys.stderr)
        for name, reason in failed.items():
            print(f"  {name}: {reason.splitlines()[0]}", file=sys.stderr)
    return 1 if failed else 0


def settle(args: argparse.Namespace) -> tuple[list, dict[str, str]]:
    """The jobs to do, and why others cannot be. Finds wrong options before data are read or a folder is made."""
    from fer import checkpoint
    from fer.device import pick_device
    from fer.models import MODELS, RECIPES, get_preset, list_models
    from fer.training.job import build, read_description

    for option, value, least in (
        ("--seed", args.seed, 0),
        ("--num-workers", args.num_workers, 0),
        ("--threads", args.threads, 1),
    ):
        if value is not None and not least <= value < 2**63:
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
    failed: dict[str, str] = {}
    for name in list(names):
        try:
            get_preset(name, args.recipe)
        except ConfigError as e:  # of several models, one may have no reference recipe
            if len(names) == 1 or args.recipe not in RECIPES or name not in MODELS:
                raise
            failed[name] = str(e)
    jobs = [job_of(name, args) for name in names if name not in failed]
    if not jobs:
        raise ConfigError("; ".join(failed.values()))
    unused = [n for n in args.skip_phase if not any(n in job.recipe.skipped for job in jobs)]
    if unused:
        known = sorted({p.name for job in jobs for p in job.recipe.phases})
        raise unknown_name("phase to skip", unused[0], known)
    for job in jobs:
        for other in filter(None, (job.recipe.teacher, job.recipe.init)):
            checkpoint.read_manifest(other)
        if not job.model_args.get("pretrained"):  # that would ask the network
            build(job, 7)
    return jobs, failed


def job_of(name: str, args: argparse.Namespace):  # type: ignore[no-untyped-def]
    """The model's own recipe and input with the options applied."""
    from fer.models import get_model, get_preset
    from fer.specs import override, parse_value
    from fer.training import Job, resolve
    from fer.training.recipes import without_phases

    preset = get_preset(name, args.recipe)
    spec, settings = preset.input or get_model(name).SPEC.input, []
    for text in args.settings:
        key, _, value = text.partition("=")
        if key.strip().startswith("input."):
            spec = override(spec, (key.strip().removeprefix("input."), value.strip()))
        else:
            settings.append(text)
    recipe = resolve(
        without_phases(preset.recipe, args.skip_phase),
        args.epochs,
        args.batch_size,
        args.lr,
        args.weight_decay,
        args.teacher,
        args.init,
        settings,
    )
    model_args = dict(preset.model_args)
    if args.no_pretrained and "pretrained" in model_args:
        model_args["pretrained"] = False
    for text in args.model_args:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--model-arg takes key=value, got {text!r}; for example --model-arg attention=false")
        model_args[key.strip()] = parse_value(value.strip())
    return Job(name, recipe, args.seed, model_args, spec)


def one(job, data, args, budget_s, several, processes) -> Path:  # type: ignore[no-untyped-def]
    """Train one model, or take over its finished run; returns the run folder.

    Args:
        budget_s: Seconds for this model; None = as long as its recipe takes.
        several: Whether it is one of several: what is trained already under the same options is then left alone.
    """
    from fer import checkpoint
    from fer.training import train
    from fer.training.job import is_finished
    from fer.training.listeners import Progress, TensorBoard

    def say(text: str) -> None:
        if processes.main:
            print(text, file=sys.stderr, flush=True)

    extra = {"open_data": phase_opener(job.recipe, args), "votes": votes_of(job, data, args)}
    sets = job.open_phases(data, extra["open_data"])
    folder, resume = run_folder(job, data, sets, args, several, budget_s is not None, say)
    folder = Path(processes.agreed(str(folder)))
    if resume and is_finished(folder):
        say(f"{job.model}: {folder} is finished; nothing to train")
    else:
        if budget_s is not None:
            job = begun_with(folder, job) if resume else shortened(job, data, args, budget_s, extra, processes, say)
        logs = (args.logs or args.out.resolve().parent / "logs") / job.model / folder.name
        listeners = [Progress(), TensorBoard(logs)] if processes.main else []
        train(job, data, folder, args.device, args.amp, args.num_workers, resume, listeners, **extra)
    if not processes.main:
        return folder
    data = sets[-1]
    temperature = calibrate(folder, data)
    say(f"  temperature {temperature:.3f} (validation)")
    print(folder)
    if args.promote:
        if data.name == "synthetic":
            say("  not promoted: trained on synthetic faces")
        else:
            target = checkpoint.promote(folder)
            results = results_dir() / data.name / job.model
            results.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / "history.jsonl", results / "history.jsonl")
            say(f"  promoted to {target}")
    return folder


def phase_opener(recipe, args):  # type: ignore[no-untyped-def]
    """Opens the data that a phase names; drawn faces stand in for them when everything else is drawn too."""
    from fer.data import open_dataset

    def open_data(name: str):  # type: ignore[no-untyped-def]
        kind, _, options = args.data.partition(":")
        if kind == "synthetic":
            return open_dataset(f"synthetic:{options},contempt=1", splits=("train", "val"))
        try:
            return open_dataset(name, splits=("train", "val"))
        except DataError as e:
            phases = [p.name for p in recipe.phases if p.data == name]
            raise DataError(f"{e}; or leave that phase out: --skip-phase {phases[0]}") from e

    return open_data


def votes_of(job, data, args):  # type: ignore[no-untyped-def]
    """(n_train, 8) FER+ targets of the training rows for a recipe that asks for them, else None."""
    if not job.recipe.ferplus_weight:
        return None
    from fer.data.ferplus import VOTES_FILE, targets_from_votes, votes_for
    from fer.paths import data_dir

    if data.name != "fer2013":
        raise ConfigError(f"ferplus_weight: the votes belong to the rows of the FER2013 CSV, not to {data.name}")
    return targets_from_votes(votes_for(args.votes or data_dir() / VOTES_FILE, data["train"].rows))[0]


def shortened(job, data, args, budget_s, extra, processes, say):  # type: ignore[no-untyped-def]
    """The job with schedules that fit the time, after a short measurement."""
    from dataclasses import replace

    from fer.models import get_model
    from fer.specs import Recipe, from_dict, to_dict
    from fer.training.budget import fit

    began = time.monotonic()
    if get_model(job.model).SPEC.backend == "torch":
        from fer.training.loop import epoch_seconds

        measured = epoch_seconds(job, data, args.device, args.amp, **extra)
        left = max(budget_s - (time.monotonic() - began), 1.0)
        recipe, seconds = fit(job.recipe, measured, left), max(measured)
    else:
        from fer.training.classical import share_within

        share, seconds = share_within(job, data, budget_s)
        recipe = replace(job.recipe, epoch_share=min(share, job.recipe.epoch_share))
    recipe = from_dict(Recipe, processes.agreed(to_dict(recipe)))
    part = f", each with {recipe.epoch_share:.0%} of the faces" if recipe.epoch_share < 1 else ""
    say(
        f"{job.model}: {max(budget_s, 0) / 60:.1f} min allow {recipe.epochs} of {job.recipe.epochs} epochs{part} "
        f"({seconds:.0f} s each)"
    )
    return replace(job, recipe=recipe, asked=job.recipe)


def begun_with(folder, job):  # type: ignore[no-untyped-def]
    """The job with the recipe under which an unfinished run was begun."""
    from dataclasses import replace

    from fer.specs import Recipe, from_dict
    from fer.training.job import read_description

    begun = read_description(folder)
    asked = job.recipe if "asked_recipe" in begun else None
    return replace(job, recipe=from_dict(Recipe, begun["recipe"]), asked=asked)


def run_folder(job, data, sets, args, several, any_length, say) -> tuple[Path, bool]:  # type: ignore[no-untyped-def]
    """(folder, whether it continues an earlier run).

    --resume takes the newest run of the model: if unfinished, to go on; if finished under these very options, as it is.
    Of several models, one that is finished under these very options is taken as it is in any case.
    """
    from fer.training.job import RUN, differences, is_finished, same_request

    if args.resume and args.resume != "latest":
        return Path(args.resume), True
    base = args.out / job.model
    begun = sorted(p.parent for p in base.glob(f"*/{RUN}"))
    description = job.describe(data, sets)
    done = [
        p
        for p in begun
        if is_finished(p) and (same_request(p, description) if any_length else not differences(p, description))
    ]
    if several and not args.again and done:
        return done[-1], True
    if args.resume:
        if begun and (not is_finished(begun[-1]) or begun[-1] in done):
            return begun[-1], True
        say(f"{job.model}: no unfinished run in {base}; starting anew")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder, n = base / stamp, 1
    while folder.exists():
        n += 1
        folder = base / f"{stamp}-{n}"
    return folder, False


def calibrate(folder: Path, data) -> float:  # type: ignore[no-untyped-def]
    """Fit the temperature on the validation split and record it in the manifest.

    A model without a net calibrates itself while it is fitted; another fit on the same faces would make it too sure.
    """
    import numpy as np

    from fer import checkpoint
    from fer.evaluation.calibration import fit_temperature
    from fer.inference import load
    from fer.models import get_model

    predictor = load(folder)
    if get_model(predictor.manifest.model).SPEC.backend == "classical":
        return predictor.temperature
    if predictor.labels.names != data.label_set.names:
        raise ConfigError(f"{folder} knows {predictor.labels.names}, {data.name} has {data.label_set.names}")
    probs = predictor.predict_proba(data["val"].faces).astype(np.float64)
    logits = np.log(np.maximum(probs, 1e-30)) * predictor.temperature  # up to a constant per row
    temperature = fit_temperature(logits, data["val"].labels)
    checkpoint.set_temperature(folder, temperature)
    return temperature


if __name__ == "__main__":
    sys.exit(main())
