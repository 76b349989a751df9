#!/usr/bin/env python3
"""Find, check and pack the data: one compact file that every other script loads in under two seconds.

Without arguments it looks into data/, the working directory and ~/Downloads. It never uses the network unless
--download says so.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
from collections.abc import Sequence

from fer import paths
from fer.command_line import run_script
from fer.data import SOURCES, Dataset, guess_source, load, save
from fer.data.counts import count_table
from fer.data.discovery import default_places, find_data
from fer.data.download import DOWNLOADS, how_to_get
from fer.data.splits import SEED
from fer.errors import DataError


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("path", nargs="?", help="CSV or folder; default: look for it")
    p.add_argument("--source", choices=list(SOURCES), help="what PATH is; default: guessed from what lies there")
    out = "file to write (.npz) or its folder; default: data/<name>.npz (FER_DATA moves it)"
    p.add_argument("--out", type=Path, help=out)
    seed = "of a validation split cut from train/, and of drawn faces (default %(default)s)"
    p.add_argument("--seed", type=int, default=SEED, help=seed)
    p.add_argument("--skip-bad", action="store_true", help="leave unusable rows out and list them instead of stopping")
    where = "; ".join(f"{k}: {d.title}" for k, d in DOWNLOADS.items())
    p.add_argument("--download", choices=list(DOWNLOADS), help=f"fetch the data first ({where})")
    return p


def locate(args: argparse.Namespace) -> tuple[str, Path | None] | None:
    """(source, path) to read; None = there is nothing to read, but a packed file that answers is there already."""
    if args.download:
        print(f"Fetching: {DOWNLOADS[args.download].title}", flush=True)
        path = DOWNLOADS[args.download].fetch(paths.data_dir())
        return DOWNLOADS[args.download].source, path
    if args.source and SOURCES[args.source].options:
        return args.source, None
    if args.path:
        return args.source or guess_source(args.path), Path(args.path).expanduser()
    found = [f for f in find_data() if (args.source or f.source) == f.source]
    if found:
        for other in found[1:]:
            print(f"Also found, not used: {other.source}:{other.path}")
        return found[0].source, found[0].path
    if args.out is None and packed_files(args.source):
        return None
    looked = ", ".join(str(p) for p in default_places())
    raise DataError(f"no {args.source or 'FER2013'} data found in {looked}\n{how_to_get()}")


def packed_files(source: str | None) -> list[Path]:
    """Packed files that exist already."""
    keys = [source] if source else [k for k, s in SOURCES.items() if not s.options]
    return [p for k in keys if (p := paths.data_dir() / f"{SOURCES[k].data_name}.npz").is_file()]


def write(dataset: Dataset, out: Path | None) -> str:
    """Pack the data set unless the same one is there; returns the line to print."""
    path = out or paths.data_dir()
    if path.suffix != ".npz":
        path = path / f"{dataset.name}.npz"
    if path.is_file():
        try:
            old = load(path)
            if (old.fingerprint, old.notes, old.titles) == (dataset.fingerprint, dataset.notes, dataset.titles):
                return f"Unchanged: {path}"
        except DataError:
            pass  # A damaged file is replaced.
    try:
        save(dataset, path)
    except OSError as e:
        raise DataError(f"{path}: cannot be written ({e.strerror or e})") from e
    return f"Written: {path} ({path.stat().st_size / 1e6:.1f} MB)"


def report(dataset: Dataset) -> None:
    """Print counts, what was left out and the fingerprint."""
    left_out = dataset.notes.get("left_out", [])
    if left_out:
        print(f"Left out {len(left_out)}:")
        for line in left_out:
            print(f"  {line}")
    for key, value in dataset.notes.items():
        if key != "left_out":
            print(f"{key.replace('_', ' ')}: {value}")
    print(f"\n{dataset.name}: {sum(len(s) for s in dataset.splits.values())} faces")
    print(count_table(dataset))
    print(f"Fingerprint: {dataset.fingerprint}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    args = build_parser().parse_args(argv)
    return run_script(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Find, check, count and pack."""
    place = locate(args)
    if place is None:
        for path in packed_files(args.source):
            print(f"Prepared before: {path}")
            report(load(path))
        return
    source, path = place
    if path is None:
        dataset = SOURCES[source].read(seed=args.seed)
    else:
        print(f"Reading {source}:{path}", flush=True)
        dataset = SOURCES[source].read(path, skip_bad=args.skip_bad, seed=args.seed)
    report(dataset)
    print(write(dataset, args.out))


if __name__ == "__main__":
    sys.exit(main())
