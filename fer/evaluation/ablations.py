"""What each lever of training does: a row of results/<data>/ablations.csv a run, judged on the validation split alone.

The history of every run lies beside it, in results/<data>/ablations/<model>/<lever>-<epochs>-<seed>.jsonl.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer import paths
from fer.errors import DataError
from fer.evaluation.results import ABLATIONS, write_text
from fer.evaluation.seeds import SeedDifference, Spread, change_in_points, in_points, seed_difference, spread

FILE = "ablations.csv"
PLAIN = "plain"
COLUMNS: dict[str, type] = {
    "model": str,
    "lever": str,
    "title": str,
    "seed": int,
    "epochs": int,
    "trained": int,
    "val_accuracy": float,
    "best_epoch": int,
    "train_accuracy": float,
    "seconds": float,
    "device": str,
    "teacher": str,
    "extra_annotation": bool,
    "job": str,
    "git_commit": str,
}


@dataclass(frozen=True)
class Row:
    """One lever of a model, over its seeds.

    Attributes:
        lever, title: Its name and what is done.
        epochs: Of the plain recipe; a lever can mean more of them.
        seeds: In rising order.
        val_accuracy: Of its runs, as fractions.
        difference: Minus the plain recipe, seed by seed; None for that itself and where no seed is shared.
        cost: Seconds of its runs over those of the plain recipe's, same seeds on the same kind of device, see
            `of_history`; None as above and where no seed was trained on the same kind.
        extra_annotation: Whether it learnt from more labels than the training split's.
        teacher: Models it learnt from, "" = none.
    """

    lever: str
    title: str
    epochs: int
    seeds: tuple[int, ...]
    val_accuracy: Spread
    difference: SeedDifference | None
    cost: float | None
    extra_annotation: bool
    teacher: str


def read(root: str | Path | None, data: str) -> list[dict[str, Any]]:
    """The runs, as numbers; none where there is no file.

    Raises:
        DataError: a column is missing or a value is none of its type, or not finite; names the line.
    """
    file = _place(root, data) / FILE
    if not file.is_file():
        return []
    try:
        lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise DataError(f"{file}: not readable ({e})") from e
    return [_typed(line, f"{file}, line {n}") for n, line in enumerate(lines, start=2)]


def write(rows: Iterable[Mapping[str, Any]], root: str | Path | None, data: str) -> Path:
    """Write the runs, sorted by model, length, lever and seed; of two with these alike the later one counts."""
    kept = {tuple(str(r[k]) for k in ("model", "epochs", "lever", "seed")): r for r in rows}
    out = io.StringIO()
    writer = csv.DictWriter(out, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    order = sorted(kept.values(), key=lambda r: (r["model"], r["epochs"], r["lever"] != PLAIN, r["lever"], r["seed"]))
    writer.writerows({k: r[k] for k in COLUMNS} for r in order)
    file = _place(root, data) / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(out.getvalue(), file)
    return file


def history_file(row: Mapping[str, Any], root: str | Path | None, data: str) -> Path:
    """Where the history of a run lies."""
    return _place(root, data) / ABLATIONS / row["model"] / f"{row['lever']}-{row['epochs']}-{row['seed']}.jsonl"


def of_history(lines: Sequence[str]) -> dict[str, Any]:
    """What a row takes from its history: epochs trained, the best one and its accuracy, the last on training faces.

    A last line that names a view says what the lever is judged by in the place of the best epoch's accuracy: the
    checkpoint, several nets together, or several views of a face; its `unmixed` are the epochs without the mixup or
    cutmix of the others. The time is what all epochs would take at the pace of the fastest of their kind, those of a
    phase that are mixed or are not: machines do other things as well.

    Raises:
        DataError: not a history.
    """
    try:
        said = [json.loads(line) for line in lines]
        epochs = [e for e in said if "view" not in e]
        unmixed = {n for e in said for n in e.get("unmixed", ())}
        kinds: dict[tuple[str, bool], list[float]] = {}
        for e in epochs:
            kinds.setdefault((e.get("phase", ""), e["epoch"] in unmixed), []).append(float(e["seconds"]))
        training_s = sum(min(seconds) * len(seconds) for seconds in kinds.values())
        best = max(epochs, key=lambda e: (e["val_accuracy"], -e["val_loss"]))  # as training keeps it
        return {
            "trained": len(epochs),
            "val_accuracy": round(float((said[-1] if "view" in said[-1] else best)["val_accuracy"]), 6),
            "best_epoch": int(best["epoch"]),
            "train_accuracy": round(float(epochs[-1]["train_accuracy"]), 6),
            "seconds": round(training_s + sum(float(e["seconds"]) for e in said if "view" in e), 1),
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise DataError(f"not the history of a run ({type(e).__name__}: {e})") from e


def machine(device: str) -> str:
    """Kind of a device that runs were trained on: "cpu" however many threads it had, or the name of the GPU."""
    return device.partition(",")[0]


def tables(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], list[Row]]:
    """(model, epochs of its plain recipe) -> its levers, the plain recipe first, the others from best to worst.

    Those with most levers come first.
    """
    groups: dict[tuple[str, int], dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        groups.setdefault((row["model"], row["epochs"]), {}).setdefault(row["lever"], []).append(row)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return {key: sorted((_row(levers, name, key[1]) for name in levers), key=_rank) for key, levers in ordered}


def text(root: str | Path | None = None, data: str = "fer2013") -> str:
    """Table for a README, one for each model and length."""
    parts = []
    for (model, epochs), rows in tables(read(root, data)).items():
        lines = [
            f"**`{model}`, {epochs} epoch{'s' * (epochs != 1)}**",
            "",
            "| lever | seeds | validation | plain, same seeds | difference [95 %] | time | marks |",
            "| --- | --- | --: | --: | --: | --: | --- |",
        ]
        for r in rows:
            marks = [f"learnt from {', '.join(f'`{t.strip()}`' for t in r.teacher.split(','))}"] if r.teacher else []
            marks += ["extra annotation"] * r.extra_annotation
            plain = "–" if r.difference is None else f"{100 * r.difference.b.mean:.1f}"
            lines.append(
                f"| {r.title} | {', '.join(map(str, r.seeds))} | {in_points(r.val_accuracy)} | "
                f"{plain} | {change_in_points(r.difference)} | "
                f"{'–' if r.cost is None else f'×{r.cost:.1f}'} | {'; '.join(marks) or '–'} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts) or "No lever has been pulled yet."


def _row(levers: Mapping[str, Sequence[Mapping[str, Any]]], name: str, epochs: int) -> Row:
    runs = {r["seed"]: r for r in levers[name]}
    plain = {r["seed"]: r for r in levers.get(PLAIN, ())}
    shared = sorted(set(runs) & set(plain)) if name != PLAIN else []
    pairs = [
        {"model": lever, "seed": s, "epochs": epochs, "val_accuracy": of[s]["val_accuracy"]}
        for lever, of in ((name, runs), (PLAIN, plain))
        for s in shared
    ]
    timed = [s for s in shared if machine(runs[s]["device"]) == machine(plain[s]["device"])]
    seconds = [sum(of[s]["seconds"] for s in timed) for of in (runs, plain)]
    first = next(iter(runs.values()))
    return Row(
        name,
        str(first["title"]),
        epochs,
        tuple(sorted(runs)),
        spread([r["val_accuracy"] for r in runs.values()]),
        seed_difference(pairs, name, PLAIN, "val_accuracy") if shared else None,
        seconds[0] / seconds[1] if timed and seconds[1] else None,
        any(r["extra_annotation"] for r in runs.values()),
        str(first["teacher"]),
    )


def _rank(row: Row) -> tuple[bool, float]:
    change = row.difference.difference.mean if row.difference else 0.0
    return row.lever != PLAIN, -change


def _typed(line: Mapping[str, str | None], where: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, kind in COLUMNS.items():
        value = line.get(key)
        if value is None:
            raise DataError(f"{where}: no {key}; make it again with scripts/ablate.py")
        try:
            out[key] = {"True": True, "False": False}[value] if kind is bool else kind(value)
            if kind is float and not math.isfinite(out[key]):
                raise ValueError
        except (ValueError, KeyError) as e:
            raise DataError(f"{where}: {key} is {value!r}; make it again with scripts/ablate.py") from e
    return out


def _place(root: str | Path | None, data: str) -> Path:
    return Path(root or paths.results_dir()) / data
