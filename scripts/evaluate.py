#!/usr/bin/env python3
"""Score trained models: tables, pictures and stored predictions under results/<data set>/<model>/.

Without arguments every trained model is scored on FER2013's PublicTest and PrivateTest, each on its own, and
results/leaderboard.csv is generated again. Choose on PublicTest; PrivateTest is for the final figure only.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer import paths
from fer.checkpoint import find, read_manifest, trained_models
from fer.command_line import run_script
from fer.data import Dataset, Split, open_dataset
from fer.errors import ConfigError, DataError, unknown_name
from fer.evaluation import calibration, figures, leaderboard, leakage, report, results
from fer.labels import project

README = paths.ROOT / "README.md"


@dataclass(frozen=True, eq=False)
class Views:
    """Raw answers to one split, before any temperature: of the faces and of the mirrored faces, (N, C) each."""

    single: np.ndarray
    mirrored: np.ndarray


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
        help="folder of results (default: results/; runs/results/ for synthetic data or --checkpoint)",
    )
    p.add_argument("--batch-size", type=int, default=256, metavar="N", help="faces per call (default %(default)s)")
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
        help="also put the leaderboard between the README's markers",
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
                f"no trained models in {paths.checkpoints_dir()}; train one with: python scripts/train.py --model all --promote"
            )
    for name in names:
        find(name)  # an unknown or untrained name fails here, before the first model is scored
    return list(dict.fromkeys([*names, *(str(find(c)) for c in args.checkpoint or [])]))


def predict(predictor: Any, faces: np.ndarray, batch_size: int) -> np.ndarray:
    """(N, C) float32 probabilities, `batch_size` faces at a time."""
    parts = [predictor.predict_proba(faces[i : i + batch_size]) for i in range(0, len(faces), batch_size)]
    return np.concatenate(parts).astype(np.float32)


def answers(predictor: Any, split: Split, dataset: Dataset, batch_size: int) -> Views:
    """What the model says, in the classes of the data set and without the checkpoint's temperature."""

    def raw(faces: np.ndarray) -> np.ndarray:
        probs = calibration.apply_temperature(predict(predictor, faces, batch_size), 1 / predictor.temperature)
        same = predictor.labels.names == dataset.label_set.names
        return probs if same else project(probs, predictor.labels, dataset.label_set)

    return Views(raw(split.faces), raw(np.ascontiguousarray(split.faces[:, :, ::-1])))


def temperature_of(predictor: Any, views: Mapping[str, Views], dataset: Dataset) -> dict[str, Any]:
    """The checkpoint's own temperature, or one fitted here on validation where it has none."""
    if predictor.temperature != 1:
        return {"value": round(float(predictor.temperature), 6), "source": "checkpoint"}
    if "val" not in views:
        return {"value": 1.0, "source": "none"}
    value = calibration.fit_temperature(calibration.log_probabilities(views["val"].single), dataset["val"].labels)
    return {"value": round(value, 6), "source": f"fitted on {dataset.title('val')}"}


def seen_in_training(dataset: Dataset, splits: Sequence[str]) -> dict[str, np.ndarray | None]:
    """Per split: "", "exact" or "near" for every face; None where the training split is not at hand."""
    if "train" not in dataset.splits:
        return dict.fromkeys(splits)
    found = {k: leakage.find(dataset[k].faces, dataset["train"].faces) for k in splits}
    return {k: np.where(v.exact, "exact", np.where(v.near, "near", "")) for k, v in found.items()}


def card_for(folder: Path, name: str, dataset: Dataset, temperature: dict[str, Any], earlier: Path) -> dict[str, Any]:
    """What metrics.json holds besides scores, from the checkpoint's manifest."""
    from fer.models import get_model

    manifest = read_manifest(folder)
    training = manifest.training
    sha256 = manifest.weights.get("sha256", "")
    latency = None
    if (earlier / results.METRICS).is_file():
        try:
            old = results.read_result(earlier).metrics
            latency = old.get("latency_ms") if (old.get("checkpoint") or {}).get("sha256") == sha256 else None
        except DataError:
            pass  # a damaged file is replaced
    return {
        "model": name,
        "title": get_model(manifest.model).SPEC.title,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "label_set": dataset.label_set.name,
            "labels": list(dataset.label_set.names),
            "majority": majority_of(dataset),
        },
        "checkpoint": {
            "sha256": sha256,
            "git_commit": manifest.git_commit,
            "created": manifest.created,
            "seed": manifest.seed,
        },
        "parameters": manifest.weights.get("parameters"),
        "trained": {k: training.get(k) for k in ("epochs", "seconds", "device", "best_epoch")}
        | {"data": manifest.data.get("name"), "images": manifest.data.get("n_train")},
        "marks": {
            "distilled_from": training.get("teacher") or "",
            "pretrained": bool(training.get("pretrained")),
            "extra_annotation": bool(training.get("extra_annotation")),
        },
        "temperature": temperature,
        "latency_ms": latency,
        "titles": {k: dataset.title(k) for k in dataset.splits},
    }


def majority_of(dataset: Dataset) -> str | None:
    """The commonest class of the training split, where that is at hand."""
    if "train" not in dataset.splits:
        return None
    return dataset.label_set.names[int(dataset["train"].targets.sum(axis=0).argmax())]


def folder_names(targets: Sequence[str]) -> dict[str, str]:
    """Target -> name of its results: the model's, followed by the run's where one model comes twice."""
    models = {t: read_manifest(t).model for t in targets}
    twice = {m for m in models.values() if list(models.values()).count(m) > 1}
    names = {t: f"{m}@{find(t).name}" if m in twice and t != m else m for t, m in models.items()}
    if len(set(names.values())) < len(names):
        both = " and ".join(t for t, n in names.items() if list(names.values()).count(n) > 1)
        raise ConfigError(f"the results of {both} would overwrite each other; score them apart, with --out")
    return names


def score_all(args: argparse.Namespace) -> tuple[Path, str]:
    """Load, predict, write; returns the folder of results and the name of the data set."""
    from fer.inference import load

    targets = chosen(args)
    dataset = open_dataset(args.data)
    splits = [k for k in ("val", "test") if k in dataset.splits and len(dataset[k])]
    if not splits:
        raise DataError(
            f"{dataset.name}: has no validation or test split to score; it has {', '.join(dataset.splits) or 'none'}"
        )
    out = args.out or default_out(args, dataset.name)
    seen = seen_in_training(dataset, splits)
    for target, name in folder_names(targets).items():
        predictor = load(target, device=args.device)
        lacking = [c for c in dataset.label_set.names if c not in predictor.labels.names]
        if lacking:
            print(f"note: {name} knows no {', '.join(lacking)}: such faces count as errors", file=sys.stderr)
        start = time.perf_counter()
        views = {k: answers(predictor, dataset[k], dataset, args.batch_size) for k in splits}
        spent_s = time.perf_counter() - start
        n = sum(len(dataset[k]) for k in splits)
        print(
            f"{name}: {n:,} faces, each also mirrored, in {spent_s:.1f} s ({2 * n / spent_s:,.0f} a second)", flush=True
        )
        temperature = temperature_of(predictor, views, dataset)
        stored = {}
        for k, v in views.items():
            single, mirrored = (calibration.apply_temperature(p, temperature["value"]) for p in (v.single, v.mirrored))
            stored[k] = {
                "rows": dataset[k].rows,
                "labels": dataset[k].labels,
                "single": single,
                "flip": (single + mirrored) / 2,
                "seen": seen[k],
            }
        frame = results.predictions_frame(stored, dataset.label_set.names)
        folder, checkpoint = results.folder_of(dataset.name, name, out), find(target)
        metrics = report.summarise(frame, card_for(checkpoint, name, dataset, temperature, folder))
        results.write_predictions(frame, folder)
        results.write_json(metrics, folder / results.METRICS)
        copy_history(checkpoint, name, dataset.name, folder)
    return out, dataset.name


def default_out(args: argparse.Namespace, data: str) -> Path:
    """results/ for bundled models on real data; runs/results/ for drawn faces and for checkpoints that are not bundled."""
    bundled = all(find(c).parent == paths.checkpoints_dir() for c in args.checkpoint or [])
    return paths.results_dir() if bundled and not leaderboard.is_synthetic(data) else paths.ROOT / "runs" / "results"


def copy_history(checkpoint: Path, name: str, data: str, folder: Path) -> None:
    """Take the training history along: from beside the checkpoint, else from where promotion put it."""
    target = folder / results.HISTORY
    trained_on = read_manifest(checkpoint).data.get("name", data)
    places = [checkpoint, *([] if target.is_file() else [results.folder_of(trained_on, name)])]
    for place in places:
        source = place / results.HISTORY
        if source.is_file() and source.resolve() != target.resolve():
            results.write_text(source.read_text(encoding="utf-8"), target)
            return


# --- tables and pictures ----------------------------------------------------------------------------------------------


def summarise_again(args: argparse.Namespace) -> tuple[Path, str]:
    """Make metrics.json again from predictions.parquet."""
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
    return out, data


def say_left_out(problems: Sequence[str]) -> None:
    """One line per folder of results that cannot be read."""
    for line in problems:
        print(f"left out: {line}", file=sys.stderr)


def publish(out: Path, data: str) -> None:
    """Pictures, comparison, leaderboard; then print what they say."""
    from fer.viz import model_color, model_order

    problems: list[str] = []
    by_name = {r.name: r for r in results.read_results(out, data, problems)}
    say_left_out(problems)
    found = [by_name[n] for n in model_order(by_name)]
    if not found:
        raise DataError(f"{out / data}: no readable results")
    for r in found:
        figures.write_all(r, r.folder)
    split = "test" if any("test" in r.splits for r in found) else "val"
    colors = {r.name: model_color(r.name) for r in found}
    figures.save(figures.model_comparison(found, split, colors), out / data / "model_comparison.png")
    compared = report.comparison(found, split)
    results.write_json(compared, out / data / "comparison.json")
    written = [f"{out / data}/"]
    if not leaderboard.is_synthetic(data):
        everywhere: list[str] = []
        written.append(str(leaderboard.write(out, everywhere)))
        say_left_out([line for line in everywhere if line not in problems])
    print_tables([leaderboard.row_of(r) for r in found], compared)
    print(f"\nWritten: {', '.join(written)}")


def print_tables(rows: Sequence[Mapping[str, Any]], compared: Mapping[str, Any]) -> None:
    """The leaderboard's lines of this data set, and which differences are real."""
    lines = [leaderboard.cells(r) for r in rows]
    head = list(lines[0])
    table = [head, *([line.replace("`", "") for line in row.values()] for row in lines)]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    print(f"\n{rows[0]['data']}, per cent unless said; single view, chosen on {rows[0]['val_split'] or 'nothing'}")
    for line in table:
        print(
            "  ".join(
                c.ljust(w) if i in (0, len(head) - 1, len(head) - 2) else c.rjust(w)
                for i, (c, w) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
        )
    if compared["pairs"]:
        print(f"\nDifferences on {compared['title']} ({compared['n']:,} faces), exact McNemar test, Holm's correction:")
    for p in compared["pairs"]:
        low, high = p["interval"]
        verdict = "real" if p["p_holm"] < 0.05 else "may be chance"
        print(
            f"  {p['a']} - {p['b']}: {100 * p['difference']:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}], p = {p['p_holm']:.2g} ({verdict})"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.batch_size < 1:
        parser.error(f"--batch-size must be at least 1, got {args.batch_size}")
    if args.from_predictions and args.checkpoint:
        parser.error("--from-predictions reads what is stored; it takes no --checkpoint")
    return run_script(lambda: run(args))


def run(args: argparse.Namespace) -> int:
    """Check the README, or score, draw and print."""
    if args.check_readme:
        current = leaderboard.readme_is_current(args.check_readme, args.out)
        verdict = "up to date" if current else "out of date; run scripts/evaluate.py --from-predictions --readme"
        print(f"{args.check_readme}: {verdict}")
        return 0 if current else 1
    publish(*(summarise_again(args) if args.from_predictions else score_all(args)))
    if args.readme:
        changed = leaderboard.update_readme(args.readme, args.out)
        print(f"{args.readme}: {'table replaced' if changed else 'table was up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
