#!/usr/bin/env python3
"""Score trained models: tables, pictures and stored predictions under results/<data set>/<model>/.

Without arguments every trained model is scored on FER2013's PublicTest and PrivateTest, each on its own, and
results/leaderboard.csv is generated again. Choose on PublicTest; PrivateTest is for the final figure only, so a run
(--checkpoint) is scored on PublicTest alone unless --split all says that the choice is made.
Stored predictions are used again while checkpoint and data are the same; where the data are not at hand, everything is
made from them alone.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import time
from collections.abc import Sequence
from typing import Any

from fer import paths
from fer.checkpoint import find, read_manifest, trained_models
from fer.command_line import run_script
from fer.data import Dataset, open_dataset
from fer.data_names import is_synthetic
from fer.errors import ConfigError, DataError, unknown_name
from fer.evaluation import figures, leaderboard, readme, report, results, stored
from fer.evaluation.printed import tables

README = paths.ROOT / "README.md"


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--model",
        action="append",
        metavar="NAME|all",
        help="model(s), comma separated or repeated (default: all trained)",
    )
    p.add_argument(
        "--checkpoint",
        action="append",
        metavar="PATH",
        help="score this checkpoint, for example runs/attention_cnn/<time>; repeatable",
    )
    p.add_argument(
        "--data",
        default="fer2013",
        metavar="SPEC",
        help="fer2013 (default), synthetic, synthetic:n=200,seed=1, a path, or SOURCE:PATH",
    )
    p.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of results (default: results/; runs/results/ for synthetic data, --checkpoint, or where results/ "
        "is of another copy of the data)",
    )
    p.add_argument(
        "--split",
        choices=("val", "all"),
        help="val: the validation split alone, for choosing (default for runs that do not go into results/); all: the "
        "test split as well",
    )
    p.add_argument("--again", action="store_true", help="ask the models again, although what is stored still holds")
    p.add_argument(
        "--ten-crop", action="store_true", help="also ten crops of every face (ten times the work; kept once stored)"
    )
    p.add_argument(
        "--robustness",
        action="store_true",
        help="also accuracy under nine corruptions on 1,000 test faces (45 times 1,000 answers; kept once stored)",
    )
    p.add_argument(
        "--latency",
        choices=("keep", "again", "none"),
        default="keep",
        help="measure time per call where none is stored of this checkpoint (default), always, or never",
    )
    p.add_argument(
        "--ensemble",
        action="append",
        metavar="NAME,NAME",
        help="also a weighted mean of these models, the weights fitted on validation; repeatable",
    )
    p.add_argument(
        "--ensemble-view",
        choices=tuple(results.VIEWS),
        default="single",
        help="how the models of --ensemble see a face, where each was scored so (default %(default)s)",
    )
    p.add_argument(
        "--seed-row",
        action="store_true",
        help="of every --checkpoint keep only its line in results/<data>/seeds.csv, its predictions and history",
    )
    p.add_argument("--votes", type=Path, metavar="PATH", help="FER+ votes (fer2013new.csv; default: the one in data/)")
    p.add_argument("--batch-size", type=int, default=32, metavar="N", help="faces per call (default %(default)s)")
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    p.add_argument(
        "--from-predictions",
        action="store_true",
        help="make tables and pictures again from the stored predictions; needs neither models nor data",
    )
    p.add_argument(
        "--readme",
        nargs="?",
        type=Path,
        const=README,
        metavar="FILE",
        help="also renew what stands between the README's markers: tables, ensembles, seeds, levers, speed, and what attention bought",
    )
    p.add_argument(
        "--check-readme",
        nargs="?",
        type=Path,
        const=README,
        metavar="FILE",
        help="only say whether the README's table is up to date (exit status 1 if not)",
    )
    return p


# --- scoring ----------------------------------------------------------------------------------------------------------


def chosen(args: argparse.Namespace) -> list[str]:
    """Names or paths to load, as the command line asks for them."""
    names = [n.strip() for value in args.model or [] for n in value.split(",") if n.strip()]
    trained = trained_models()
    if "all" in names or not (names or args.checkpoint):
        names = trained
        if not trained and not args.checkpoint:
            raise DataError(
                f"no trained models in {paths.checkpoints_dir()}; "
                "train one with: python scripts/train.py --model all --promote"
            )
    for name in names:
        find(name)  # an unknown or untrained name fails here, before the first model is scored
    return list(dict.fromkeys([*names, *(str(find(c)) for c in args.checkpoint or [])]))


def score_all(args: argparse.Namespace) -> tuple[Path, str, str]:
    """Load, predict, write; returns the folder of results, the name of the data set, and val or all: what was opened."""
    from fer.scoring import seed_lines
    from fer.scoring.card import is_foreign, is_other_copy, require_free_row, row_name, row_names
    from fer.scoring.score import NothingToScore, Options, Scorer

    targets = chosen(args)
    try:
        dataset = open_dataset(args.data)
    except DataError as e:
        if args.checkpoint or args.ten_crop or args.robustness or args.again or not stored_here(args):
            raise
        print(f"note: {e}\nnote: tables and pictures are made from the stored predictions alone", file=sys.stderr)
        return summarise_again(args)
    out = args.out or default_out(args, dataset)
    committed = out.resolve() == paths.results_dir().resolve()
    bundled = {t: find(t).parent == paths.checkpoints_dir() for t in targets}
    options = Options(args.device, args.batch_size, args.again, args.ten_crop, args.robustness, args.latency)
    choosing = not (all(bundled.values()) or committed or args.seed_row or is_synthetic(dataset.name))
    split = args.split or ("val" if choosing and "val" in dataset.splits else "all")
    if split == "val" and args.robustness:
        raise ConfigError("--robustness is measured on faces of the test split: add --split all")
    if split == "val" and not args.split:
        say("validation split only; --split all also opens the test split, once the choice is made")
    only = None if split == "all" else split
    scorer = Scorer(dataset, out, args.votes, say, note, only)
    rows, left_out = [], list[str]()
    if args.seed_row:  # lines of one file: several runs may share a name
        names = {t: row_name(read_manifest(t), dataset.name) for t in targets}
        seed_lines.require_lines_apart({t: read_manifest(t) for t in targets}, dataset.name)
        for target in targets:
            if not bundled[target]:
                seed_lines.require_same_data(read_manifest(target), dataset)
    else:
        names = row_names(targets, dataset.name)
        if runs := {t: read_manifest(t) for t in targets if committed and not bundled[t]}:
            seed_lines.require_lines_apart(runs, dataset.name)
            for target, manifest in runs.items():
                require_free_row(target, names[target], dataset.name)
                seed_lines.require_free_line(manifest, out, dataset.name)
    for target, name in names.items():
        start = time.perf_counter()
        only_a_line = args.seed_row and not bundled[target]
        if only_a_line:
            seed_lines.require_free_line(read_manifest(target), out, dataset.name)
        try:
            score = scorer.score_in_passing if only_a_line else scorer.score
            scored = score(target, name, options)
        except NothingToScore as e:
            left_out.append(name)
            if len(left_out) == len(names):
                raise
            note(f"{name} is left out: {e}")
            continue
        own = not is_foreign(scored.manifest, dataset.name) and not is_other_copy(scored.manifest, dataset)
        if own and scorer.is_complete(scored.metrics) and (args.seed_row or bundled[target] or committed):
            rows.append(line := seed_lines.seed_row(scored.manifest, scored.metrics))
            if scored.predictions is not None:
                seed_lines.keep_seed_run(line, scored.predictions, find(target), out, dataset.name)
        say(f"{name}: {time.perf_counter() - start:.1f} s")
    scorer.write_facts(lines_alone=args.seed_row and not any(bundled.values()))
    if rows:
        path = seed_lines.add_seed_rows(rows, out, dataset.name)
        say(f"{len(rows)} line{'s' if len(rows) != 1 else ''} in {path}")
    return out, dataset.name, split


def say(text: str) -> None:
    """A line of progress, at once."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line of what is worth knowing."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def stored_here(args: argparse.Namespace) -> bool:
    """Are there results of this data set to make tables from?"""
    return bool(results.read_results(args.out, args.data, []))


def default_out(args: argparse.Namespace, dataset: Dataset) -> Path:
    """results/ for seed rows; else `fer.scoring.card.home_of`."""
    from fer.scoring.card import home_of

    bundled = [find(c).parent == paths.checkpoints_dir() for c in args.checkpoint or []]
    if not args.seed_row:
        return home_of(dataset, all(bundled), note)
    if any(bundled) and results.copy_of(None, dataset.name) not in ("", dataset.fingerprint):
        raise ConfigError(
            f"results/{dataset.name}/ was made on another copy of {dataset.name}; --seed-row is for runs on this one"
        )
    return paths.results_dir()


# --- tables and pictures ----------------------------------------------------------------------------------------------


def summarise_again(args: argparse.Namespace) -> tuple[Path, str, str]:
    """Make metrics.json again from predictions.parquet; returns the same as `score_all`."""
    out, data = args.out or paths.results_dir(), args.data
    if not (out / data).is_dir():
        have = results.list_data(out)
        raise (
            unknown_name("data set with results", data, have)
            if have
            else DataError(f"{out}: no results there; scripts/evaluate.py without --from-predictions makes them")
        )
    wanted = {n.strip() for value in args.model or [] for n in value.split(",")} - {"all", ""}
    found = results.read_results(out, data, problems := [])
    for name in wanted:
        if name not in [r.name for r in found]:
            say_left_out(problems)
            raise unknown_name("model with results", name, [r.name for r in found])
    for r in found:
        if wanted and r.name not in wanted:
            continue
        if r.predictions is None:
            print(f"left out: {r.folder} has no {results.PREDICTIONS}", file=sys.stderr)
            continue
        results.write_json(report.summarise(r.predictions, report.card_of(r.metrics)), r.folder / results.METRICS)
    return out, data, args.split or "all"


def say_left_out(problems: Sequence[str]) -> None:
    """One line per folder of results that cannot be read."""
    for line in problems:
        print(f"left out: {line}", file=sys.stderr)


def publish(out: Path, data: str, opened: str, ensembles: Sequence[str], view: str) -> None:
    """Pictures, comparison, ensembles, leaderboard; then print what they say.

    Args:
        opened: val = the test split is not asked for what is not known of it yet.
    """
    from fer.viz import model_color, model_order

    problems: list[str] = []
    by_name = {r.name: r for r in results.read_results(out, data, problems)}
    say_left_out(problems)
    found = [by_name[n] for n in model_order(by_name)]
    if not found:
        raise DataError(f"{out / data}: no readable results")
    for r in found:
        figures.write_all(r, r.folder, "test" if "test" in r.splits else "val")
    split = next((k for k in ("test", "val") if all(k in r.splits for r in found)), "test")
    found = [r for r in found if split in r.splits]
    robust = {}
    for r in found:
        try:
            robust |= {r.name: content} if (content := stored.robustness_of(r)) else {}
        except DataError as e:
            say_left_out([str(e)])
    figures.write_comparison(found, out / data, split, {r.name: model_color(r.name) for r in found}, robust)
    compared = report.comparison(found, split)
    results.write_json(compared, out / data / stored.COMPARISON)
    combined = combine(found, ensembles, view, out, data, opened != "val")
    written = [f"{out / data}/"]
    if not is_synthetic(data):
        everywhere: list[str] = []
        written.append(str(leaderboard.write(out, everywhere)))
        say_left_out([line for line in everywhere if line not in problems])
    known = leaderboard.bundled(out)
    print(tables([leaderboard.row_of(r, known) for r in found], compared, combined))
    print(f"\nWritten: {', '.join(written)}")


def combine(
    found: Sequence[results.ModelResult], asked: Sequence[str], view: str, out: Path, data: str, open_test: bool
) -> list[dict[str, Any]]:
    """The ensembles asked for and those stored before, made from what is stored now."""
    by_name = {r.name: r for r in found}
    wanted = [(tuple(n.strip() for n in value.split(",") if n.strip()), view) for value in asked]
    for name in (n for members, _ in wanted for n in members if n not in by_name):
        raise unknown_name("model with results", name, by_name)
    try:
        before = stored.read_ensembles(out, data) or []
    except DataError as e:
        say_left_out([str(e)])
        before = []
    made = []
    for one in dict.fromkeys([*((tuple(e["members"]), e["view"]) for e in before), *wanted]):
        members, view = one
        known = next((e for e in before if (tuple(e["members"]), e["view"]) == one), None)
        try:
            if lacking := [n for n in members if n not in by_name]:
                raise DataError(f"no results of {', '.join(lacking)}")
            made.append(report.ensemble_entry([by_name[n] for n in members], view, known, open_test))
        except DataError as e:
            if one in wanted:
                raise
            say_left_out([f"the ensemble {' + '.join(members)} stays as it was stored: {e}"])
            made += [known] if known else []
    if made:
        stored.write_ensembles(made, out, data)
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f"--batch-size must be at least 1, got {args.batch_size}")
    if args.from_predictions and (args.checkpoint or args.ten_crop or args.robustness or args.again):
        parser.error("--from-predictions reads what is stored; no --checkpoint, --ten-crop, --robustness or --again")
    if args.seed_row and not args.checkpoint:
        parser.error("--seed-row is for runs: name them with --checkpoint")
    if args.seed_row and args.split == "val":
        parser.error("a line of seeds.csv holds both splits; no --split val with --seed-row")
    return run_script(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Check the README, or score, draw and print."""
    if args.check_readme:
        current = readme.is_current(args.check_readme, args.out)
        verdict = "up to date" if current else "out of date; run scripts/evaluate.py --from-predictions --readme"
        print(f"{args.check_readme}: {verdict}")
        return 0 if current else 1
    if args.seed_row:
        score_all(args)
        return 0
    publish(
        *(summarise_again(args) if args.from_predictions else score_all(args)), args.ensemble or [], args.ensemble_view
    )
    if args.readme:
        changed = readme.update(args.readme, args.out)
        print(f"{args.readme}: {'brought up to date' if changed else 'was up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
