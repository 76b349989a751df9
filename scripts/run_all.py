#!/usr/bin/env python3
"""Everything in one go: prepare the data, train the models, score them, compare them.

On real data the finished models replace the bundled ones, and results/ and the leaderboard are made again; a bundled net
that is better on the validation split, or made for other data, stays, and the new one is scored into runs/. With drawn
faces (--data synthetic), with --epochs, --budget, --out or --no-promote nothing bundled is touched: all of it stays in
runs/ or DIR.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import importlib.util
import io
import shlex
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout

from fer import paths
from fer.checkpoint import MANIFEST, read_manifest
from fer.command_line import add_amp, run_script
from fer.data import SOURCES
from fer.data_names import is_synthetic
from fer.errors import CheckpointError, ConfigError
from fer.models import get_model, list_models

SCRIPTS = Path(__file__).resolve().parent
# of train.py: all is trained, but not all of it promoted
NOT_PUT = 3


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--data",
        default="fer2013",
        metavar="SPEC",
        help="fer2013 (default; packed first if need be), synthetic, a path, or SOURCE:PATH",
    )
    p.add_argument(
        "--model", action="append", metavar="NAME|all", help="model(s), comma separated or repeated (default: all)"
    )
    p.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="shorten or lengthen every recipe; such models are not promoted unless --promote says so",
    )
    p.add_argument("--budget", metavar="minutes=N", help="shorten the schedules so that training ends within this time")
    p.add_argument(
        "--stretch", type=float, metavar="N", help="with --budget: up to N times the epochs where there is time"
    )
    p.add_argument(
        "--skip-phase",
        action="append",
        default=[],
        metavar="NAME",
        help="leave a phase out; of all models, those without data are left out anyway",
    )
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    add_amp(p)
    p.add_argument("--compile", action="store_true", help="as for train.py")
    p.add_argument("--seed", type=int, metavar="N", help="of the training")
    p.add_argument("--out", type=Path, metavar="DIR", help="put runs and results below this folder and promote nothing")
    p.add_argument(
        "--promote",
        action=argparse.BooleanOptionalAction,
        help="bundle the finished models (default: on real data with whole recipes and no --out)",
    )
    return p


def script(name: str) -> Callable[[Sequence[str]], int]:
    """The main function of a script beside this one."""
    spec = importlib.util.spec_from_file_location(f"fer_script_{name}", SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module.main


class Failed(Exception):
    """A step that has already said what is wrong; carries its exit status."""


def step(name: str, *arguments: str | Path) -> None:
    """Announce and run one script; stop everything if it fails."""
    argv = [str(a) for a in arguments]
    print(f"\n== {name}.py {shlex.join(argv)}", flush=True)
    status = script(name)(argv)
    if status:
        raise Failed(status)


def trained(models: Sequence[str], options: Sequence[str | Path]) -> list[Path]:
    """Train the models one after the other; returns the run folders of those that went well.

    Raises:
        Failed: none of them did, or the options or data are wrong.
    """
    names = "all" if list(models) == list_models() else ",".join(models)
    argv = [str(a) for a in ("--model", names, *options)]
    print(f"\n== train.py {shlex.join(argv)}", flush=True)
    said = io.StringIO()  # train.py prints the folder of each finished run
    with redirect_stdout(said):
        status = script("train")(argv)
    runs = [Path(line) for line in said.getvalue().splitlines()]
    print(said.getvalue(), end="", flush=True)
    if status not in (0, 1, NOT_PUT) or not runs:
        raise Failed(status)
    return runs


def is_bundled(run: Path) -> bool:
    """Was this run promoted: are its weights those that its model's name means?"""
    own = read_manifest(run)
    try:
        there = read_manifest(paths.checkpoints_dir() / own.model / MANIFEST)
    except CheckpointError:
        return False
    return own.weights["sha256"] in (there.weights.get("sha256"), there.weights.get("made_from"))


def models_of(args: argparse.Namespace) -> list[str]:
    """Names asked for, in the order of the table."""
    names = [n.strip() for value in args.model or ["all"] for n in value.split(",") if n.strip()]
    if not names:
        raise ConfigError(f"--model names no model, got {args.model}; see scripts/train.py --list")
    for name in set(names) - {"all"}:
        get_model(name)
    return [n for n in list_models() if n in names or "all" in names]


def run(args: argparse.Namespace) -> None:
    """Prepare, train, evaluate and compare."""
    models = models_of(args)
    synthetic = is_synthetic(args.data)
    shortened = args.epochs or args.budget
    promote = args.promote if args.promote is not None else not (synthetic or shortened or args.out)
    promote = promote and not synthetic
    if (
        args.data in SOURCES
        and not synthetic
        and not (paths.data_dir() / f"{SOURCES[args.data].data_name}.npz").is_file()
    ):
        step("prepare_data", "--source", args.data)
    runs = args.out / "runs" if args.out else paths.ROOT / "runs"
    options = ["--data", args.data, "--out", runs, "--device", args.device]
    options += ["--epochs", str(args.epochs)] if args.epochs is not None else []
    options += ["--seed", str(args.seed)] if args.seed is not None else []
    options += ["--logs", args.out / "logs"] if args.out else []
    options += [a for name in args.skip_phase for a in ("--skip-phase", name)]
    options += ["--budget", args.budget] if args.budget else []
    options += ["--stretch", str(args.stretch)] if args.stretch is not None else []
    options += ["--amp" if args.amp else "--no-amp"] * (args.amp is not None)
    options += ["--compile"] * args.compile
    done = trained(models, [*options, *(["--promote"] if promote else [])])
    bundled = [run for run in done if promote and is_bundled(run)]
    if bundled:
        names = ",".join(read_manifest(run).model for run in bundled)
        out = paths.results_dir()  # of nets in checkpoints/, also where it holds scores on another copy of the data
        step("evaluate", "--model", names, "--data", args.data, "--out", out, "--device", args.device)
    if rest := [run for run in done if run not in bundled]:
        # what is only left out by its validation score has no business on the test split
        split = ["--split", "val" if promote else "all"]
        out = args.out / "results" if args.out else runs / "results"
        checkpoints = [a for run in rest for a in ("--checkpoint", run)]
        step("evaluate", *checkpoints, "--data", args.data, "--out", out, "--device", args.device, *split)
    if len(done) < len(models):
        print(f"\n{len(models) - len(done)} of {len(models)} models failed, see above", file=sys.stderr)
        raise Failed(1)


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.epochs is not None and args.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {args.epochs}")
    try:
        return run_script(lambda: run(args), interrupted="interrupted")
    except Failed as e:
        return int(e.args[0])


if __name__ == "__main__":
    sys.exit(main())
