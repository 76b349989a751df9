#!/usr/bin/env python3
"""Make DIR/val from DIR/train: stratified by class, seeded, identical pictures on one side, the same on every machine.

It is the split that scripts/prepare_data.py cuts by itself where there is no val folder; make it on disk when other
programs have to see it. Nothing is ever deleted: --undo takes it back.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
from collections import Counter
from collections.abc import Sequence

from fer.command_line import run_script
from fer.data.checks import RowChecker
from fer.data.folders import find_split_folders
from fer.data.splits import SEED, VAL_FRACTION
from fer.data.val_folder import Plan, apply, lost, plan, set_aside, undo, undo_pairs
from fer.errors import DataError
from fer.labels import FER7


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("dir", type=Path, help="folder that holds train/<class>/")
    p.add_argument("--fraction", type=float, default=VAL_FRACTION, help="share of each class (default %(default)s)")
    p.add_argument("--seed", type=int, default=SEED, help="default %(default)s")
    how = p.add_mutually_exclusive_group()
    how.add_argument("--move", dest="mode", action="store_const", const="move", help="move the files (default)")
    how.add_argument("--copy", dest="mode", action="store_const", const="copy", help="copy them; train/ keeps its own")
    how.add_argument("--link", dest="mode", action="store_const", const="link", help="hard links; train/ keeps its own")
    p.set_defaults(mode="move")
    p.add_argument("--force", action="store_true", help="make a new val/; an old one is undone or renamed, not deleted")
    p.add_argument("--dry-run", action="store_true", help="say what would be done, change nothing")
    p.add_argument("--undo", action="store_true", help="put everything back as it was")
    p.add_argument("--skip-bad", action="store_true", help="ignore stray files and unknown classes")
    return p


def summary(planned: Plan) -> str:
    """One line per class and the total."""
    counts = Counter(f.label for f in planned.chosen)
    lines = [f"  {name:<9} {counts[i]:>6}" for i, name in enumerate(FER7.names) if counts[i]]
    return "\n".join([*lines, f"  {'total':<9} {len(planned.chosen):>6} of {planned.total}"])


def undone(root: Path, val: Path, gone: Sequence[str]) -> str:
    """How a folder is after --undo; `gone` are files of the split that are nowhere any more."""
    says = []
    if val.exists():
        files = sum(p.is_file() for p in val.rglob("*"))
        says.append(f"{val} stays with what else is in it ({files} files)")
    if gone:
        more = ", ..." if len(gone) > 3 else ""
        says.append(f"{len(gone)} files of the split are neither in val nor in train: {', '.join(gone[:3])}{more}")
    return "; ".join(says) or f"{root} is as it was"


def run(args: argparse.Namespace) -> None:
    """Do what the arguments say."""
    if args.undo and args.dry_run:
        pairs = undo_pairs(args.dir)
        there = sum(back.exists() for _, back in pairs)
        says = [f"put {len(pairs) - there} files back into train"] if len(pairs) > there else []
        says += [f"remove {there} files from val that train has as well"] if there else []
        print(f"Would {' and '.join(says) or 'remove no files'}; {args.dir} is left as it is now")
        return
    if args.undo:
        gone, val = lost(args.dir), find_split_folders(args.dir)["val"]
        print(f"Undone: {undo(args.dir)} files; {undone(args.dir, val, gone)}")
        return
    old = find_split_folders(args.dir).get("val")
    if old and not args.force:
        raise DataError(
            f"{old}: exists already and is used as it is; --undo takes back a split made here, --force makes a new one"
        )
    checker = RowChecker(args.skip_bad)
    if args.dry_run:
        planned = plan(args.dir, args.fraction, args.seed, checker)
        if old:
            print(f"Would first undo or rename {old}, then {args.mode} {args.fraction:.0%} of each class there")
        else:
            print(f"Would {args.mode} into {planned.val}:\n{summary(planned)}")
        return
    plan(args.dir, args.fraction, args.seed, RowChecker(args.skip_bad))  # Complain before anything is set aside.
    done = set_aside(args.dir)
    if done:
        print(done[0].upper() + done[1:])
    planned = plan(args.dir, args.fraction, args.seed, checker)
    apply(planned, args.mode)
    for line in checker.left_out:
        print(f"Left out: {line}")
    print(f"Made {planned.val} ({args.mode}, seed {args.seed}):\n{summary(planned)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    args = build_parser().parse_args(argv)
    return run_script(lambda: run(args), interrupted=f"Interrupted; take back what was done with --undo {args.dir}")


if __name__ == "__main__":
    sys.exit(main())
