#!/usr/bin/env python3
"""Train one model or all: python scripts/train.py --model all

Output goes to runs/<model>/<time>/ (checkpoint, history.jsonl, resume state) and logs/ (TensorBoard).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import math
import shlex
import time
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fer.command_line import add_amp, refuse_tokens, run_script
from fer.data_names import is_synthetic
from fer.errors import ConfigError, FerError, HubError
from fer.paths import ROOT

if TYPE_CHECKING:
    from fer.data.dataset import Dataset
    from fer.training import Job
    from fer.training.budget import Cost
    from fer.training.campaign import Campaign
    from fer.training.events import Listener
    from fer.training.request import Request

# exit status
NOT_PUT = 3


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        description="Train facial-expression classifiers.",
        epilog="Ctrl-C costs the epoch that it falls into, and at most half a minute before it: run again with --resume. "
        "Exit status: 0 done, 1 a model failed, 2 bad arguments or data, 3 all is trained but not all of it promoted or "
        "published, 130 interrupted.",
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
        help="leave a phase out; the checkpoint says so. --model all leaves out by itself what it has no data for",
    )
    p.add_argument(
        "--data",
        default="fer2013",
        help="fer2013 (default), fer2013-folders, muxspace, affectnet, ferplus, synthetic, folder:PATH, or a path; see "
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
    p.add_argument("--batch-size", type=int, help="images per step, of all processes together")
    p.add_argument("--lr", type=float, help="peak learning rate of every phase")
    p.add_argument("--weight-decay", type=float, help="of every phase; not applied to norms, biases and embeddings")
    p.add_argument(
        "--num-workers", type=int, default=0, help="threads that augment ahead (default 0: in the training thread)"
    )
    p.add_argument("--threads", type=int, help="CPU threads for torch (default: all cores)")
    p.add_argument(
        "--budget",
        metavar="minutes=N",
        help="shorten the schedules so that everything asked for ends within this time: each model's pace is measured "
        "first, and what one does not need of its equal share goes to the others",
    )
    p.add_argument(
        "--stretch", type=float, default=1.0, metavar="N", help="with --budget: up to N times the epochs if time allows"
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
    p.add_argument("--seed", type=int, default=42, help="of weights, order and augmentation (default: 42)")
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    add_amp(p)
    p.add_argument(
        "--compile",
        action="store_true",
        help="compile the nets first (torch.compile), a minute or more each; benchmark.py train --compile tells if it pays",
    )
    p.add_argument(
        "--resume",
        nargs="?",
        const="latest",
        metavar="RUN",
        help="go on with the newest run of each model, or with the given run folder; what is finished is not trained again",
    )
    p.add_argument("--init", help="begin with the weights of this run or checkpoint: more epochs for a finished one")
    p.add_argument("--teacher", help="distil from this checkpoint (name or path; several with commas)")
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
        help="put the finished checkpoint into checkpoints/ and its history into results/; a net there that is better on "
        "the validation split, or made for other data, stays",
    )
    p.add_argument(
        "--force-promote",
        action="store_true",
        help="promote even a net that --model-arg makes another one than the model's own, or in the place of a better one",
    )
    p.add_argument(
        "--push-to-hub",
        metavar="NAMESPACE",
        help="publish the finished checkpoint on the Hugging Face Hub, as scripts/push_to_hub.py does; a better or another "
        "net that is there already stays",
    )
    p.add_argument("--revision", help="with --push-to-hub: the branch to publish on (default: main)")
    p.add_argument(
        "--force-push",
        action="store_true",
        help="with --push-to-hub: even if a better net, or another one, is there already",
    )
    refuse_tokens(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status.

    0 done, 1 a model failed, 2 bad arguments or data, 3 all is trained but not all of it promoted or published,
    130 interrupted.
    """
    args = parser().parse_args(argv)
    return run_script(
        show_models if args.list else lambda: run(args),
        interrupted="interrupted; all but this epoch and half a minute before it is kept: run the same command with --resume",
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
    began = time.monotonic()  # libraries take seconds to load
    import torch

    from fer import hub
    from fer.data import open_dataset
    from fer.device import keep_freed_memory, pick_device
    from fer.models.ablation import require_own_net
    from fer.training.budget import Clock, parse_budget
    from fer.training.campaign import Campaign, within
    from fer.training.processes import Processes

    clock = Clock(parse_budget(args.budget), began) if args.budget else None
    for option, value, least in (
        ("--seed", args.seed, 0),
        ("--num-workers", args.num_workers, 0),
        ("--threads", args.threads, 1),
    ):
        if value is not None and not least <= value < 2**63:
            raise ConfigError(f"{option} must be at least {least}, got {value}")
    if not args.push_to_hub and (args.revision or args.force_push):
        raise ConfigError("--revision and --force-push go with --push-to-hub NAMESPACE")
    if not 1 <= args.stretch < math.inf or (args.stretch > 1 and clock is None):
        raise ConfigError(f"--stretch takes a factor of at least 1 and goes with --budget, got {args.stretch:g}")
    pick_device(args.device)
    run_given = None if args.resume == "latest" else args.resume
    wanted = request(args) if run_given else request(args).without_absent(args.data)
    jobs, failed = wanted.jobs(run_given)
    if args.promote and not args.force_promote:
        for job in jobs:
            require_own_net(job.model, job.model_args, job.spec, job.recipe.name, 7)
    if args.push_to_hub:
        hub.check_access(args.push_to_hub)
    keep_freed_memory()
    total, not_put = len(jobs) + len(failed), list[str]()
    processes = Processes.join(args.device)
    if args.threads:
        torch.set_num_threads(args.threads)
    data = open_dataset(args.data, splits=("train", "val"))
    reuse, resume = len(jobs) > 1 and not args.again, args.resume or ""
    how = args.device, args.amp, args.compile, args.num_workers
    campaign = Campaign(data, args.data, args.out, processes, resume, reuse, args.votes, *how)

    def tried(step: Callable[..., Any], job: Job, *rest: object) -> Any:
        try:
            return step(job, *rest)
        except Exception as e:  # out of memory, say: the others may still fit
            # of several processes, one alone may run out of memory or fail to download: the others cannot go on with it
            together = isinstance(e, FerError) and not isinstance(e, HubError)
            if total == 1 or (processes.count > 1 and not together):
                raise
            failed[job.model] = str(e) or type(e).__name__
            if not isinstance(e, FerError):
                traceback.print_exc()
            if processes.main:
                print(f"error: {job.model}: {e}", file=sys.stderr)
            return None

    if clock:
        jobs = within(jobs, clock.budget_s, args.stretch)
    costs = [tried(campaign.cost, job) if clock else None for job in jobs]
    costs = [cost for job, cost in zip(jobs, costs, strict=True) if job.model not in failed]
    for i, job in enumerate([job for job in jobs if job.model not in failed]):
        seconds = processes.agreed(clock.share(costs[i:], len(costs))) if clock else 0.0
        if tried(one, job, campaign, args, costs[i], seconds) is False:
            not_put.append(job.model)
    if failed and processes.main:
        print(f"{len(failed)} of {total} models failed:", file=sys.stderr)
        for name, reason in failed.items():
            print(f"  {name}: {reason.splitlines()[0]}", file=sys.stderr)
    if not_put and total > 1:
        names = ", ".join(not_put)
        print(f"{len(not_put)} of {total} models trained, but not promoted or published: {names}", file=sys.stderr)
    return 1 if failed else NOT_PUT if not_put else 0


def request(args: argparse.Namespace) -> Request:
    """What the options ask for."""
    from fer.training.request import Request

    return Request(
        models=args.model,
        recipe=args.recipe,
        pretrained=not args.no_pretrained,
        skip_phases=args.skip_phase,
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        weight_decay=args.weight_decay,
        teacher=args.teacher,
        init=args.init,
        settings=args.settings,
        model_args=args.model_args,
        seed=args.seed,
    )


def one(job: Job, campaign: Campaign, args: argparse.Namespace, cost: Cost | None, budget_s: float) -> bool:
    """Train one model, or take over its finished run; returns False where it was not promoted or published as asked.

    Args:
        cost: What it was measured to take; None = there is no budget, or nothing was left to train.
        budget_s: Seconds for this model, where its cost is known.
    """
    from fer.ancestry import learnt_val
    from fer.checkpoint import read_manifest
    from fer.training import train
    from fer.training.folders import as_begun, new_folder
    from fer.training.job import differences
    from fer.training.listeners import Progress, TensorBoard
    from fer.training.timing import fitted

    data, processes = campaign.data, campaign.processes

    def say(text: str) -> None:
        if processes.main:
            print(text, file=sys.stderr, flush=True)

    material = campaign.material(job)
    earlier, finished = campaign.earlier(job, material)
    folder = earlier or Path()
    if finished:
        if args.resume != "latest" and (
            other := differences(folder, as_begun(folder, job).describe(data, material.sets, material.votes))
        ):
            say(f"note: {folder} was trained with other options ({', '.join(other)}), which stay as they were")
        say(f"{job.model}: {folder} is finished; nothing to train")
    else:
        for name in filter(None, (*job.recipe.teachers, job.recipe.init)):
            if learnt := learnt_val(read_manifest(name), material.sets[-1]):
                say(
                    f"warning: {name} learnt from {learnt}, which may hold the validation faces of "
                    f"{material.sets[-1].name}: accuracy on them, by which the epoch is chosen, will be too high"
                )
        if args.resume and not earlier:
            say(f"{job.model}: no unfinished run in {args.out / job.model}; starting anew")
        if cost and earlier:
            job = as_begun(earlier, job)
            say(f"{job.model}: {folder} goes on to the end of its {job.recipe.epochs} epochs, whatever the budget")
        elif cost:
            asked, job = job.recipe, fitted(job, cost, budget_s)
            part = f", each with {job.recipe.epoch_share:.0%} of the faces" if job.recipe.epoch_share < 1 else ""
            part += f" ({max(cost.epoch_s):.0f} s each)"
            part += ", too few for a snapshot ensemble" * (asked.snapshots > job.recipe.snapshots)
            allowed = f"{max(budget_s, 0) / 60:.1f} min allow {job.recipe.epochs} epochs"
            say(f"{job.model}: {allowed} where {asked.epochs} were asked for{part}")
        if not earlier:
            folder = processes.agreed(new_folder(args.out, job.model) if processes.main else folder)
        logs = (args.logs or args.out.resolve().parent / "logs") / job.model / folder.name
        listeners: list[Listener] = [Progress(), TensorBoard(logs)] if processes.main else []
        options = (args.device, args.amp, args.num_workers, bool(earlier), listeners)
        more = {"open_data": material.open_data, "votes": material.votes, "compiled": args.compile}
        train(job, data, folder, *options, **more)
    return finish(folder, job, material.sets[-1], args, say) if processes.main else True


def finish(folder: Path, job: Job, data: Dataset, args: argparse.Namespace, say: Callable[[str], None]) -> bool:
    """Calibrate a trained model, print its folder, promote and publish it when that is asked for.

    Returns:
        False where it was to be promoted or published and could not be.
    """
    from fer import checkpoint, promotion
    from fer.training.record import SNAPSHOTS

    for snapshot in sorted((folder / SNAPSHOTS).glob("*")):
        calibrated(snapshot, data)
    say(f"  temperature {calibrated(folder, data):.3f} (validation)")
    print(folder)
    to_promote = args.promote or args.force_promote
    if is_synthetic(data.name):
        if to_promote or args.push_to_hub:
            say("  not promoted and not published: trained on synthetic faces")
        return True
    done = True
    if to_promote:
        try:
            target = promotion.promote_run(folder, data, force=args.force_promote)
        except ConfigError as e:
            say(f"error: {job.model} was not promoted: {e}")
            done = False
        else:
            weights = checkpoint.read_manifest(target).weights
            cost = weights.get("accuracy") or {}
            right = ", ".join(f"{kind} {100 * cost[kind]:.2f}" for kind in ("float16", "int8") if kind in cost)
            say(f"  promoted to {target} as {weights['dtype']}" + f" ({cost.get('title')} {right})" * bool(right))
    if args.push_to_hub:
        done = publish(folder, job.model, args, say) and done
    return done


def calibrated(folder: Path, data: Dataset) -> float:
    """The temperature of a checkpoint, fitted on the validation split unless that was done with these very faces."""
    from fer import checkpoint
    from fer.scoring.calibrate import calibrate

    manifest = checkpoint.read_manifest(folder)
    about = {"data": data.name, "split": data.title("val"), "n": len(data["val"])}
    fitted = manifest.conformal | {"thresholds": bool(manifest.conformal.get("thresholds"))}
    own = (manifest.data.get("name"), manifest.data.get("fingerprint")) == (data.name, data.fingerprint)
    return manifest.temperature if own and fitted == about | {"thresholds": True} else calibrate(folder, data)


def publish(folder: Path, model: str, args: argparse.Namespace, say: Callable[[str], None]) -> bool:
    """Send a finished run to the Hugging Face Hub; returns whether that went well. What is trained stays in any case."""
    from fer.publish import push_checkpoint

    try:
        sent = push_checkpoint(folder, args.push_to_hub, revision=args.revision, force=args.force_push)
    except (FerError, OSError) as e:
        later = f"python scripts/push_to_hub.py --namespace {args.push_to_hub} --checkpoint {shlex.quote(str(folder))}"
        later += f" --revision {shlex.quote(args.revision)}" if args.revision else ""
        later += " --force-push" if args.force_push else ""
        say(f"error: {model}: {e}; the checkpoint is kept, publish it later with: {later}")
        return False
    say(f"  published: {sent.url}, commit {sent.commit[:12]}")
    return True


if __name__ == "__main__":
    sys.exit(main())
