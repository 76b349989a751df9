#!/usr/bin/env python3
"""What does each lever of training do? One recipe, one change at a time, the same seeds, judged on the validation split.

    python scripts/ablate.py --model tiny_cnn --epochs 6
    python scripts/ablate.py --model tiny_cnn --epochs 6 --lever mixup,sam --seeds 1,2,3 --budget minutes=60

Writes results/<data>/ablations.csv and the history of every run; the test split is never opened. Runs that stand there
already are left alone, so the same command goes on where an earlier one stopped. All levers get the first seed before
any gets the second. A short schedule favours levers that learn fast: what regularises may do better in long runs.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import hashlib
import json
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fer.command_line import run_script
from fer.data_names import is_synthetic
from fer.errors import CheckpointError, ConfigError, FerError
from fer.files import alone_with
from fer.paths import ROOT, data_dir, results_dir

if TYPE_CHECKING:
    from fer.data.dataset import Dataset
    from fer.specs import Recipe
    from fer.training.job import Job


Wanted = tuple[str, str, int, int, "Job"]
"""A run to do: model, lever, seed, epochs of the plain recipe, job."""

SHOWN = {"single": 1, "flip": 2, "tencrop": 10}
"""How often each face is shown for a view."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="tiny_cnn", help="a name, or several with commas (default tiny_cnn)")
    p.add_argument("--lever", default="all", help="names from --list with commas, or all (default)")
    p.add_argument("--list", action="store_true", help="list the levers, and stop")
    p.add_argument("--seeds", default="42,43,44", metavar="N,N", help="default 42,43,44")
    p.add_argument("--epochs", type=int, help="of every phase (default: as many as the recipe says)")
    p.add_argument("--data", default="fer2013", help="as for train.py (default fer2013)")
    p.add_argument("--budget", metavar="minutes=N", help="begin no run that would probably end after this time")
    p.add_argument("--votes", type=Path, metavar="FILE", help="FER+ votes (default: the file in data/)")
    p.add_argument("--again", action="store_true", help="train what stands in the table once more")
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    p.add_argument("--amp", action="store_true", help="mixed precision where the device has it (default: float32)")
    p.add_argument("--threads", type=int, help="CPU threads for torch (default: all cores)")
    p.add_argument("--results", type=Path, help="default: results/, runs/ablations for drawn faces")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 all done, 1 a run failed or the time was too short, 2 bad arguments or data."""
    args = parser().parse_args(argv)
    return run_script(lambda: run(args), interrupted="interrupted; run the same command to go on")


def run(args: argparse.Namespace) -> int:
    """One run after the other; prints a line each, then the table."""
    import torch

    from fer.data import open_dataset
    from fer.device import keep_freed_memory
    from fer.evaluation import ablations
    from fer.training.budget import parse_budget
    from fer.training.levers import LEVERS, job_of, named

    if args.list:
        print("\n".join(f"{name:16s} {lever.title}" for name, lever in LEVERS.items()))
        return 0
    end = time.monotonic() + parse_budget(args.budget) if args.budget else None
    seeds, levers = seeds_of(args.seeds), named(args.lever)
    models = [m.strip() for m in args.model.split(",") if m.strip()]
    wanted: list[Wanted] = []
    for seed in seeds:
        for model in models:
            epochs = 0
            for lever in levers:  # the plain recipe first, whose epochs name the row
                try:
                    job = job_of(model, lever, seed, args.epochs)
                    why = "it changes nothing here, or the model or its number of epochs does not allow it"
                except CheckpointError as e:
                    job, why = None, str(e)
                if job is None and seed == seeds[0]:
                    print(f"{model} {lever}: left out, {why}", file=sys.stderr)
                if job is not None:
                    epochs = job.recipe.epochs if lever == ablations.PLAIN else epochs
                    wanted.append((model, lever, seed, epochs, job))
    if not wanted:
        raise ConfigError("no lever of these fits a model of these")
    keep_freed_memory()
    if args.threads:
        torch.set_num_threads(args.threads)
    data = open_dataset(args.data, splits=("train", "val"))
    if args.lever == "all" and (data.name != "fer2013" or not votes_file(args.votes).is_file()):
        print("votes: left out, there are no FER+ votes of these faces (--votes)", file=sys.stderr)
        wanted = [w for w in wanted if w[1] != "votes"]
    root = args.results or (ROOT / "runs" / "ablations" if is_synthetic(data.name) else results_dir())
    require_same(ablations.read(root, data.name), wanted, data, root, args)
    with tempfile.TemporaryDirectory() as scratch:
        return 1 if pull(wanted, data, Path(scratch), root, end, args) else 0


def pull(
    wanted: Sequence[Wanted],
    data: "Dataset",
    scratch: Path,
    root: Path,
    end: float | None,
    args: argparse.Namespace,
) -> bool:
    """The runs, one after the other; a line each, then the table. Whether something was left or failed.

    Args:
        scratch: Folder for the nets.
        root: Folder of results.
        end: Monotonic time after which no run should end; None = no matter.
    """
    from fer.evaluation import ablations
    from fer.training.levers import LEVERS, relative_cost
    from fer.training.processes import Processes

    here = ablations.machine(Processes.join(args.device).title)
    plain = {model: relative_cost(job.recipe) for model, lever, _, _, job in wanted if lever == ablations.PLAIN}
    busy, slowest, view_s, left, failed = 1.0, 0.0, 0.0, 0, 0
    for model, lever, seed, epochs, job in wanted:
        cost = relative_cost(job.recipe) / plain[model]
        rows = ablations.read(root, data.name)
        digest = digest_of(job, data, args.votes, halves(args))
        if not args.again and any(r["job"] == digest and r["lever"] == lever for r in rows):
            continue
        began, folder = time.monotonic(), scratch / digest
        anew = not folder.is_dir()
        if anew:
            known_s = known(lever, [r for r in rows if (r["model"], r["epochs"]) == (model, epochs)], here, cost)
            needed_s = busy * known_s or slowest * cost
        else:
            needed_s = SHOWN[LEVERS[lever].view] * view_s
        if end is not None and began + needed_s > end:
            left += 1
            continue
        if anew:  # the plain recipe's net is kept for what uses its weights, which comes next
            shutil.rmtree(scratch)
            scratch.mkdir()
        try:
            row, lines = trained(job, lever, folder, data, args)
        except (FerError, OSError, RuntimeError) as e:  # votes that are not there, memory: the others may still go
            print(f"error: {model} {lever}, seed {seed}: {e}", file=sys.stderr)
            failed += 1
            shutil.rmtree(folder, ignore_errors=True)  # or what uses the same weights would take them for whole
            continue
        if anew:  # a machine that does other things as well takes longer than the row says
            spent_s, judged = time.monotonic() - began, json.loads(lines[-1])
            busy, slowest = max(1.0, spent_s / max(row["seconds"], 0.1)), max(slowest, spent_s / cost)
            view_s = judged["seconds"] / SHOWN[judged["view"]]
        row |= {"model": model, "lever": lever, "title": LEVERS[lever].title, "seed": seed, "epochs": epochs}
        row["job"] = digest
        history = ablations.history_file(row, root, data.name)
        history.parent.mkdir(parents=True, exist_ok=True)
        history.write_text("\n".join(lines) + "\n", encoding="utf-8")
        # after its history: a row never stands alone; read again, since others may have written meanwhile
        with alone_with(root / data.name / ablations.FILE):
            ablations.write([*ablations.read(root, data.name), row], root, data.name)
        print(f"{model} {lever}, seed {seed}: {100 * row['val_accuracy']:.2f} in {row['seconds']:.0f} s", flush=True)
    print(ablations.text(root, data.name))
    if left:
        print(f"{left} runs left for want of time; run the same command to go on", file=sys.stderr)
    return bool(left or failed)


def trained(
    job: "Job", lever: str, folder: Path, data: "Dataset", args: argparse.Namespace
) -> tuple[dict[str, Any], list[str]]:
    """Train in a folder, or go on with the net that is there; the row as far as the run tells it, and its history.

    The history ends with a line on how the row is judged: who answers to which view. All are judged alike, by their
    checkpoints in half precision.
    """
    from fer import checkpoint
    from fer.evaluation import ablations
    from fer.scoring.answers import validation_accuracy
    from fer.training import train
    from fer.training.levers import LEVERS
    from fer.training.record import SNAPSHOTS
    from fer.training.votes import votes_of

    if not folder.is_dir():
        votes = votes_of(job.recipe, data, args.votes)
        train(job, data, folder, args.device, args.amp, votes=votes)
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    view, members = LEVERS[lever].view, sorted((folder / SNAPSHOTS).glob("*"))
    began = time.monotonic()
    accuracy = validation_accuracy([str(m) for m in members or [folder]], data, view, args.device)
    judged = {"view": view, "nets": len(members) or 1, "val_accuracy": accuracy}
    judged |= {"unmixed": plain} if (plain := unmixed(job.recipe, lines)) else {}
    lines.append(json.dumps(judged | {"seconds": time.monotonic() - began}))
    manifest = checkpoint.read_manifest(folder)
    said = manifest.training
    row = ablations.of_history(lines) | {
        "device": said["device"],
        "teacher": said["teacher"],
        "extra_annotation": bool(said["extra_annotation"]),
        "git_commit": manifest.git_commit,
    }
    return row, lines


def known(lever: str, rows: Sequence[dict[str, Any]], here: str, cost: float) -> float:
    """Seconds that a run takes, as far as rows tell; 0 = they do not.

    Args:
        rows: Of its model and length.
        here: Kind of device.
        cost: Its own over that of the plain recipe, where it was never trained.
    """
    from fer.evaluation import ablations

    took = {
        r["lever"]: r["seconds"]
        for r in sorted(rows, key=lambda r: r["seconds"])
        if ablations.machine(r["device"]) == here
    }
    return took.get(lever, cost * took.get(ablations.PLAIN, 0.0))


def unmixed(recipe: "Recipe", lines: Sequence[str]) -> list[int]:
    """Epochs of a history that were trained without the mixup or cutmix of the others; none where nothing is mixed."""
    from fer.training.mixing import mixes

    if not (recipe.mixup or recipe.cutmix):
        return []
    phases, behind, found = {p.name: p for p in recipe.phases}, Counter[str](), []
    for row in map(json.loads, lines):
        if not mixes(recipe, phases[row["phase"]], behind[row["phase"]]):
            found.append(row["epoch"])
        behind[row["phase"]] += 1
    return found


def seeds_of(text: str) -> list[int]:
    """The seeds of a list with commas, each once.

    Raises:
        ConfigError: none, or one that is no whole number from 0.
    """
    parts = [t.strip() for t in text.split(",") if t.strip()]
    if not parts or not all(t.isascii() and t.isdigit() for t in parts):
        raise ConfigError(f"--seeds takes whole numbers with commas, got {text!r}")
    return list(dict.fromkeys(map(int, parts)))


def require_same(
    rows: Sequence[dict[str, Any]], wanted: Sequence[Wanted], data: "Dataset", root: Path, args: argparse.Namespace
) -> None:
    """Refuse to go on with a table whose runs were asked for otherwise: unlike runs would be compared, or averaged.

    Args:
        wanted: The runs to do. A lever's stored run with a seed of theirs is trained again if it is another one.
        args: --votes and --amp count.

    Raises:
        ConfigError: runs of another recipe, with other teachers, in another precision or on other data.
    """
    from fer.evaluation import ablations

    jobs = {(model, epochs, lever): job for model, lever, _, epochs, job in wanted}
    again = {(model, epochs, lever, seed) for model, lever, seed, epochs, _ in wanted if lever != ablations.PLAIN}
    for r in rows:
        key = r["model"], r["epochs"], r["lever"]
        if key not in jobs or (*key, r["seed"]) in again:
            continue
        if r["job"] != digest_of(replace(jobs[key], seed=r["seed"]), data, args.votes, halves(args)):
            raise ConfigError(
                f"{root / data.name / ablations.FILE} holds runs of {r['model']} over {r['epochs']} epochs by another "
                f"recipe, with or without --amp, or on other data or another copy of them ({r['lever']}, seed {r['seed']}), which "
                "cannot be compared with these; write elsewhere with --results DIR, or delete them and their histories"
            )


def halves(args: argparse.Namespace) -> bool:
    """Whether --amp has an effect: on the CPU it has none."""
    from fer.device import pick_device
    from fer.training.step import half_precision

    return half_precision(pick_device(args.device), args.amp) is not None


def votes_file(votes: Path | None) -> Path:
    """The file that --votes means."""
    from fer.data.fer2013_csv import find_csv
    from fer.data.ferplus import VOTES_FILE

    place = votes or data_dir()
    return find_csv(place, (VOTES_FILE,)) or place / VOTES_FILE if place.is_dir() else place


def digest_of(job: "Job", data: "Dataset", votes: Path | None, amp: bool = False) -> str:
    """Sixteen hex digits that two runs share if and only if they were asked for alike.

    Args:
        votes: As for --votes; what the file says counts for a recipe that learns from it.
        amp: Whether it is trained in mixed precision.
    """
    file = votes_file(votes)
    learnt = file.read_bytes() if job.recipe.ferplus_weight and file.is_file() else b""
    asked = job.describe(data) | {"votes": hashlib.sha256(learnt).hexdigest()} | ({"amp": True} if amp else {})
    said = json.dumps(asked, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
