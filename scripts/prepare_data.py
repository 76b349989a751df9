#!/usr/bin/env python3
"""Find, check and pack the data: one compact file that every other script loads in under two seconds.

Without arguments it looks into data/, the working directory and ~/Downloads. It never uses the network unless
--download says so.

--inspect packs nothing: it prints counts, balance, sizes and duplicates of a data set and writes a sheet of faces.
  prepare_data.py --inspect                  what is packed, else what is found
  prepare_data.py --inspect fer2013          a packed data set, or any other name that --data takes elsewhere
  prepare_data.py --inspect folder:~/faces   what lies in a place
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import dataclasses
from collections.abc import Sequence

from fer import paths
from fer.command_line import run_script
from fer.data import SOURCES, Dataset, Spec, guess_source, load, open_dataset, parse_spec, project_dataset, save
from fer.data.counts import count_table
from fer.data.dataset import require_own
from fer.data.discovery import default_places, find_data
from fer.data.download import DOWNLOADS, arrived, how_to_get
from fer.data.inspection import balance_table, picture_grid, stored_size
from fer.data.splits import SEED
from fer.errors import ConfigError, DataError, FerError
from fer.evaluation import leakage
from fer.images import save_image


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "path", nargs="?", help="CSV or folder, also SOURCE:PATH,option=1@labels (see fer.data); default: look for it"
    )
    p.add_argument("--source", choices=list(SOURCES), help="what PATH is; default: guessed from what lies there")
    out = "file to write (.npz) or its folder; default: data/<name>.npz (FER_DATA moves it)"
    p.add_argument("--out", type=Path, help=out)
    seed = "of a validation split cut from train/, and of drawn faces (default %(default)s)"
    p.add_argument("--seed", type=int, default=SEED, help=seed)
    p.add_argument("--inspect", action="store_true", help="look at the data, pack nothing; takes data set names too")
    p.add_argument(
        "--grid", type=Path, metavar="FILE", help="sheet of faces that --inspect writes (default: data/<name>-grid.png)"
    )
    p.add_argument("--skip-bad", action="store_true", help="leave unusable rows out and list them instead of stopping")
    where = "; ".join(f"{k}: {d.title}" for k, d in DOWNLOADS.items())
    p.add_argument("--download", choices=list(DOWNLOADS), help=f"fetch the data first ({where})")
    return p


def locate(args: argparse.Namespace) -> Spec | None:
    """What to read and from where; None = there is nothing to read, but a packed file that answers is there already."""
    if args.download:
        return fetch(args)
    if args.source and not SOURCES[args.source].has_path:
        return parse_spec(f"{args.source}:{args.path or ''}")
    labels = None
    if args.path:
        asked = parse_spec(f"{args.source}:{args.path}" if args.source else args.path)
        if not asked.source:
            return dataclasses.replace(asked, source=guess_source(asked.place))
        if asked.place or not SOURCES[asked.source].has_path:
            return asked
        if Path(asked.source).exists():  # a place of that name; FER2013's may hold either form
            source = guess_source(asked.source) if asked.source == "fer2013" else asked.source
            return dataclasses.replace(asked, source=source, place=asked.source)
        args.source, labels = asked.source, asked.labels
    if args.source and not SOURCES[args.source].data_name:
        raise ConfigError(f"--source {args.source} needs the place: {SOURCES[args.source].help}")
    found = [f for f in find_data() if (args.source or f.source) == f.source]
    if found:
        for other in found[1:]:
            print(f"Also found, not used: {other.source}:{other.path}")
        return Spec(found[0].source, str(found[0].path), {}, labels)
    if args.out is None and labels is None and packed_files(args.source):
        return None
    looked = ", ".join(str(p) for p in default_places())
    known = (
        '; it is known by class folders 0 to 7 or by "affectnet" in a folder\'s name, else name it: affectnet:PATH'
        if args.source == "affectnet"
        else ""
    )
    raise DataError(f"no {args.source or 'FER2013'} data found in {looked}{known}\n{how_to_get()}")


def fetch(args: argparse.Namespace) -> Spec:
    """What --download brought, and what reads it.

    Raises:
        ConfigError: PATH is given as well, or a --source that does not read what is fetched.
    """
    download = DOWNLOADS[args.download]
    if args.path:
        raise ConfigError(
            f"--download takes no PATH, got {args.path!r}; prepare it first, then add options and @labels "
            f"where the data are named (--data NAME@labels)"
        )
    sources = (download.source, *download.also)
    source = args.source or download.source
    if source not in sources:
        raise ConfigError(f"--download {args.download} is read as {' or '.join(sources)}, not as {source}")
    print(f"Fetching: {download.title}", flush=True)
    return Spec(source, str(download.fetch(paths.data_dir())), {}, None)


def packed_files(source: str | None) -> list[Path]:
    """Packed files that exist already."""
    keys = [source] if source else [k for k, s in SOURCES.items() if s.has_path]
    names = [SOURCES[k].data_name for k in keys if SOURCES[k].data_name]
    return [p for n in names if (p := paths.data_dir() / f"{n}.npz").is_file()]


def read(asked: Spec, args: argparse.Namespace) -> Dataset:
    """The data set from its place, under the label set asked for."""
    source, options = SOURCES[asked.source], dict(asked.options)
    if source.has_path:
        print(f"Reading {asked.source}:{asked.place}", flush=True)
        name = DOWNLOADS[args.download].name if args.download else ""
        options |= {"skip_bad": args.skip_bad, "seed": args.seed} | ({"name": name} if name else {})
        dataset = source.read(Path(asked.place).expanduser(), **options)
    else:
        dataset = source.read(**{"seed": args.seed} | options)
    return dataset if asked.labels is None else project_dataset(dataset, asked.labels)


def write(dataset: Dataset, out: Path | None, guessed: str = "") -> str:
    """Pack the data set unless the same one is there; returns the lines to print.

    Args:
        dataset: With the fingerprint that its packed file gets.
        out: File or folder.
        guessed: What PATH was taken for where nobody said so; "" = it was said.
    """
    path = out or paths.data_dir()
    if path.suffix.lower() != ".npz":
        path = path / f"{dataset.name}.npz"
    packed = _packed(dataset, path, guessed)
    by_name = path.parent.resolve() == paths.data_dir().resolve() and _opens(path.stem, dataset)
    return f"{packed}\nOther commands take it with --data {path.stem if by_name else path}" + (
        ", and without any" if by_name and path.stem == "fer2013" else ""
    )


def _opens(name: str, dataset: Dataset) -> bool:
    """Whether a name opens this very data set (synthetic draws anew, folders means fer2013-folders)."""
    source = parse_spec(name).source
    if source and not SOURCES[source].has_path:
        return False
    try:
        return open_dataset(name, []).fingerprint == dataset.fingerprint
    except FerError:
        return False


def _packed(dataset: Dataset, path: Path, guessed: str) -> str:
    there = ""
    if path.is_file():
        try:
            old = load(path)
            if (old.fingerprint, old.notes, old.titles) == (dataset.fingerprint, dataset.notes, dataset.titles):
                return f"Unchanged: {path}"
            there = old.fingerprint if old.fingerprint != dataset.fingerprint else ""
        except DataError:
            require_own(path)  # A damaged one is replaced.
    try:
        save(dataset, path)
    except OSError as e:
        raise DataError(f"{path}: cannot be written ({e.strerror or e})") from e
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    if not there:
        return f"Written: {path} ({size})"
    taken = f"; that PATH is {guessed} was guessed, --source says it" if guessed else ""
    return f"Replaced: {path} ({size}; other data were there: fingerprint {there}{taken})"


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


def find_what_to_inspect(args: argparse.Namespace) -> list[Dataset]:
    """The data sets to look at: what is named, else what is packed, else what is found."""
    if args.path and not args.source and not args.download:
        asked = parse_spec(args.path)
        place = Path(asked.place).expanduser() if asked.place else None
        if not (place and place.exists() and place.suffix.lower() != ".npz"):
            return [open_dataset(args.path)]
    if not args.path and not args.download and packed_files(args.source):
        return [load(p) for p in packed_files(args.source)]
    asked = locate(args)
    return [] if asked is None else [read(asked, args)]


def inspect(dataset: Dataset, args: argparse.Namespace) -> None:
    """Print counts, balance, sizes and duplicates, and write the sheet of faces."""
    report(dataset)
    print(f"\nClass balance\n{balance_table(dataset)}")
    original = dataset.notes.get("original_sizes")
    print(f"\nSizes\n  stored: {stored_size(dataset)}" + (f"\n  original: {original}" if original else ""))
    print(f"\nDuplicates (exact: the same pixels; near: both perceptual hashes within {leakage.NEAR_BITS} of 64 bits)")
    print(duplicate_table(dataset), flush=True)
    path = args.grid or paths.data_dir() / f"{dataset.name}-grid.png"
    print(f"\nSheet of faces: {save_image(picture_grid(dataset), path)}")


def duplicate_table(dataset: Dataset) -> str:
    """For every split: how many faces have a copy in it, and in the splits before it."""
    found = leakage.copies({k: (s.faces, s.labels) for k, s in dataset.splits.items()})
    keys = list(dataset.splits)
    head = ("faces of", "with a copy in", "exact", "near", "under another label")
    body = []
    for i, split in enumerate(keys):
        for other in (split, *keys[:i]):
            c = found[split, other]
            where = "itself" if other == split else dataset.title(other)
            numbers = (f"{n} ({n / max(len(dataset[split]), 1):.1%})" for n in (c.exact.sum(), c.near.sum()))
            body.append((dataset.title(split), where, *numbers, str(c.other_label.sum())))
    widths = [max(len(line[k]) for line in (head, *body)) for k in range(len(head))]
    return "\n".join(
        "  " + "  ".join(c.ljust(w) if k < 2 else c.rjust(w) for k, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in (head, *body)
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    args = build_parser().parse_args(argv)
    return run_script(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Find, check, count and pack, or look."""
    if args.inspect:
        if args.out:
            raise ConfigError("--inspect packs nothing; leave --out away, or --inspect")
        datasets = find_what_to_inspect(args)
        if args.grid and len(datasets) > 1:
            raise ConfigError(f"--grid is one file, but there are {len(datasets)} data sets; name one of them")
        for dataset in datasets:
            inspect(dataset, args)
        return
    if args.grid:
        raise ConfigError("--grid goes with --inspect")
    asked = locate(args)
    if asked is None:
        for path in packed_files(args.source):
            print(f"Prepared before: {path}")
            report(load(path))
        return
    dataset = read(asked, args)
    if asked.labels:  # Packed, it has the fingerprint of its own faces, not one made of the whole source's.
        dataset = dataclasses.replace(dataset, fingerprint="")
    report(dataset)
    if args.download:
        for line in arrived(DOWNLOADS[args.download], dataset):
            print(f"Not as expected: {line}")
    said = args.source or args.download or (args.path and parse_spec(args.path).source)
    print(write(dataset, args.out, "" if said else asked.source))


if __name__ == "__main__":
    sys.exit(main())
