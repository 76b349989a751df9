#!/usr/bin/env python3
"""Compare two or more models from their stored predictions: is the difference real, and do they err alike?

    python scripts/compare.py attention_cnn baseline_cnn
    python scripts/compare.py attention_cnn vit_tiny hog_svm --split val --view flip

Needs neither models nor data. The tests see the faces, not the luck of a seed; where results/<data>/seeds.csv holds
several seeds of both models, the spread over seeds is printed too.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import dataclasses
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fer.command_line import run_script
from fer.errors import DataError, unknown_name
from fer.evaluation import leaderboard, report, results, seeds, stored

SHOWN = {"val_accuracy": "validation accuracy", "test_accuracy": "test accuracy", "macro_f1": "test macro-F1"}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model", nargs="+", metavar="NAME", help="two or more models with results; all = every one")
    p.add_argument("--data", default="fer2013", metavar="NAME", help="data set (default %(default)s)")
    p.add_argument("--split", choices=("test", "val"), default="test", help="default %(default)s")
    p.add_argument("--view", choices=tuple(results.VIEWS), default="single", help="default %(default)s")
    p.add_argument("--results", type=Path, metavar="DIR", help="folder of results (default: results/)")
    p.add_argument("--json", action="store_true", help="print JSON")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    args = build_parser().parse_args(argv)
    return run_script(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Read, compare, print."""
    chosen = read(args)
    compared = report.comparison(chosen, args.split, args.view)
    if not compared["n"]:
        raise DataError(f"{', '.join(r.name for r in chosen)} have no face in common; score them on the same data")
    rows = stored.read_seeds(args.results, args.data)
    differences = seed_differences(rows, compared)
    if args.json:
        found = compared | {
            "data": args.data,
            "models": {r.name: r.scores(args.split, args.view)["accuracy"] for r in chosen},
            "verdicts": [report.verdict(compared, p) for p in compared["pairs"]],
            "seeds": differences,
        }
        print(json.dumps(plain(found), indent=1, allow_nan=False))
        return
    titles = {r.name: r.title for r in chosen}
    print_models(chosen, args.split, args.view, leaderboard.bundled(args.results))
    for pair, over_seeds in zip(compared["pairs"], differences, strict=True):
        print_pair(compared, pair, over_seeds, titles)


def read(args: argparse.Namespace) -> list[results.ModelResult]:
    """The results asked for, in that order.

    Raises:
        ConfigError: a model or data set without results.
        DataError: fewer than two models, or results that lack predictions, the split or the view.
    """
    problems: list[str] = []
    by_name = {r.name: r for r in results.read_results(args.results, args.data, problems)}
    for line in problems:
        print(f"left out: {line}", file=sys.stderr)
    if not by_name:
        have = results.list_data(args.results)
        if have and args.data not in have:
            raise unknown_name("data set with results", args.data, have)
        raise DataError(f"no readable results of {args.data}; scripts/evaluate.py makes them")
    names = list(by_name) if "all" in args.model else list(dict.fromkeys(args.model))
    for name in names:
        if name not in by_name:
            raise unknown_name("model with results", name, by_name)
    if len(names) < 2:
        raise DataError(f"two models or more are compared, got {', '.join(names)}; there are {', '.join(by_name)}")
    for name in names:
        by_name[name].probs(args.split, args.view)  # says what is absent, where something is
    return [by_name[n] for n in names]


def seed_differences(
    rows: Sequence[Mapping[str, Any]], compared: Mapping[str, Any]
) -> list[dict[str, seeds.SeedDifference]]:
    """Per pair, score -> difference over the seeds that both models were trained with; empty where there are none."""
    return [
        {k: d for k in SHOWN if (d := seeds.seed_difference(rows, p["a"], p["b"], k)) is not None}
        for p in compared["pairs"]
    ]


def plain(value: Any) -> Any:
    """Dataclasses as dicts, numbers that are none as null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_models(chosen: Sequence[results.ModelResult], split: str, view: str, bundled: Collection[str] | None) -> None:
    """One line per model."""
    width = max(len(r.name) for r in chosen)
    first = chosen[0]
    print(f"{first.metrics['data']['name']}, {first.split_title(split)}, {view} view, accuracy in per cent\n")
    for r in chosen:
        s = r.scores(split, view)
        low, high = s["accuracy_interval"]
        print(
            f"  {r.name:{width}s}  {100 * s['accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]   "
            f"macro-F1 {100 * s['macro_f1']:.1f}   {marks(r, bundled)}".rstrip()
        )


def marks(result: results.ModelResult, bundled: Collection[str] | None) -> str:
    """The model's marks in brackets; "" where it has none."""
    said = leaderboard.marks(leaderboard.row_of(result, bundled)).replace("`", "")
    return "" if said == "–" else f"({said})"


def print_pair(
    compared: Mapping[str, Any],
    pair: Mapping[str, Any],
    over_seeds: Mapping[str, seeds.SeedDifference],
    titles: Mapping[str, str],
) -> None:
    """The verdict, and what it rests on."""
    a, b, chi2, alike = pair["a"], pair["b"], pair["chi2"], pair["agreement"]
    print(f"\n{report.verdict(compared, pair, titles)}")
    print(f"  only {a} right: {pair['only_a']:,}   only {b} right: {pair['only_b']:,}   raw p = {pair['p']:.2g}")
    print(
        f"  both right {100 * alike['both_right']:.1f} %   both wrong {100 * alike['both_wrong']:.1f} %   "
        f"same answer {100 * alike['same_answer']:.1f} %   Cohen's kappa {alike['kappa']:.2f}"
    )
    if chi2["dof"]:
        same = "may be the same" if chi2["p_holm"] >= report.SIGNIFICANT else "differs"
        print(
            f"  the pattern of their mistakes {same}: chi-square {chi2['statistic']:.1f} with {chi2['dof']} degrees of "
            f"freedom, p = {chi2['p_holm']:.2g}"
        )
    for key, d in over_seeds.items():
        length = "" if d.epochs is None else f" of {d.epochs} epochs each"  # not always that of the nets compared
        said = f"  over {len(d.seeds)} seed{'s' if len(d.seeds) != 1 else ''}{length}, {SHOWN[key]}: "
        said += f"{100 * d.difference.mean:+.1f} points"
        if d.interval:
            said += f" (95 % interval {100 * d.interval.low:+.1f} to {100 * d.interval.high:+.1f})"
        print(said)


if __name__ == "__main__":
    sys.exit(main())
