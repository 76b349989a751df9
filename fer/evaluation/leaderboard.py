"""results/leaderboard.csv and the README's table, both generated from the committed metrics.json files."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fer import paths
from fer.checkpoint import bundled_weights
from fer.data_names import is_synthetic
from fer.errors import DataError
from fer.evaluation import stored
from fer.evaluation.results import ModelResult, list_data, read_results, weights_of, write_text

_log = logging.getLogger(__name__)
FILE = "leaderboard.csv"
COLUMNS = (
    "data",
    "model",
    "title",
    "parameters",
    "val_split",
    "val_accuracy",
    "test_split",
    "test_accuracy",
    "test_low",
    "test_high",
    "macro_f1",
    "balanced_accuracy",
    "top2",
    "ece",
    "nll",
    "flip_accuracy",
    "tencrop_accuracy",
    "unleaked_accuracy",
    "leaked",
    "robustness",
    "macs",
    "latency_ms",
    "latency_runtime",
    "epochs",
    "seconds",
    "device",
    "distilled_from",
    "pretrained",
    "extra_annotation",
    "trained_on",
    "twin_of",
    "bundled",
    "majority",
    "majority_accuracy",
    "majority_macro_f1",
)


def percent(fraction: float | str | None) -> str:
    """A share as the project writes it everywhere: in per cent, one decimal; a dash where there is none.

    >>> percent(0.66349), percent("")
    ('66.3', '–')
    """
    return "–" if fraction in (None, "") else f"{100 * float(fraction):.1f}"


def bundled(root: str | Path | None = None) -> Collection[str] | None:
    """The weights by which `row_of` tells the rows that can be had with the project from those that cannot.

    Args:
        root: Folder of results; default: the committed ones.

    Returns:
        SHA-256 of what lies in checkpoints/; None where the mark would say nothing: results other than the committed
        ones (of runs, say, which are bundled when they are promoted), or no checkpoint at all.
    """
    base, committed = (Path(p).resolve() for p in (root or paths.results_dir(), paths.results_dir()))
    if base != committed or base.is_relative_to(paths.ROOT / "runs"):
        return None
    return bundled_weights() or None


def row_of(result: ModelResult, bundled: Collection[str] | None = None) -> dict[str, Any]:
    """One line of the leaderboard; empty where something was not measured.

    Args:
        bundled: SHA-256 of the weights that are bundled (the function `bundled`); None = not to be said. Nor is it
            said of results without a SHA-256.
    """
    m = result.metrics
    row: dict[str, Any] = dict.fromkeys(COLUMNS, "")
    row |= {
        "data": m["data"]["name"],
        "model": result.name,
        "title": result.title,
        "parameters": m.get("parameters"),
    }
    trained, cost, robust = m.get("trained") or {}, m.get("cost") or {}, _robustness(result)
    row |= {k: trained.get(k) for k in ("epochs", "seconds", "device")}
    row |= {"trained_on": trained.get("data"), "twin_of": m.get("twin_of"), "robustness": robust.get("mean")}
    latency = cost.get("latency_ms") or {}
    row["bundled"] = None if bundled is None or (sha256 := weights_of(result)) is None else sha256 in bundled
    row |= {"macs": cost.get("macs"), "latency_ms": latency.get("batch_1"), "latency_runtime": latency.get("runtime")}
    row |= {k: (m.get("marks") or {}).get(k) for k in ("distilled_from", "pretrained", "extra_annotation")}
    if "val" in m["splits"]:
        row |= {"val_split": result.split_title("val"), "val_accuracy": result.scores("val")["accuracy"]}
    if "test" in m["splits"]:
        split, single = m["splits"]["test"], result.scores("test")
        low, high = single["accuracy_interval"]
        leakage = split.get("leakage") or {}
        row |= {"test_split": result.split_title("test"), "test_accuracy": single["accuracy"]}
        row |= {"test_low": low, "test_high": high}
        row |= {k: single[k] for k in ("macro_f1", "balanced_accuracy", "top2", "ece", "nll")}
        row |= {
            "flip_accuracy": (split.get("flip") or {}).get("accuracy"),
            "tencrop_accuracy": (split.get("tencrop") or {}).get("accuracy"),
            "unleaked_accuracy": leakage.get("accuracy"),
            "leaked": leakage["exact"] + leakage["near"] if leakage else None,
        }
        majority = split.get("majority") or {}
        row |= {
            "majority": majority.get("label"),
            "majority_accuracy": majority.get("accuracy"),
            "majority_macro_f1": majority.get("macro_f1"),
        }
    return {k: "" if v is None else v for k, v in row.items()}


def _robustness(result: ModelResult) -> dict[str, Any]:
    try:
        return stored.robustness_of(result) or {}
    except DataError as e:  # the row is good without it
        _log.warning("left out: %s", e)
        return {}


def build(root: str | Path | None = None, problems: list[str] | None = None) -> list[dict[str, Any]]:
    """All lines: every data set but the synthetic one, small models first.

    Args:
        root: Folder of results; default: the committed ones.
        problems: Receives one line per folder that was left out.
    """
    known, names = bundled(root), [data for data in list_data(root) if not is_synthetic(data)]
    return [row_of(r, known) for data in names for r in read_results(root, data, problems)]


def to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    """The lines as CSV text."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write(root: str | Path | None = None, problems: list[str] | None = None) -> Path:
    """Generate <root>/leaderboard.csv from all metrics.json files below."""
    base = Path(root or paths.results_dir())
    return write_text(to_csv(build(base, problems)), base / FILE)


def read(root: str | Path | None = None) -> list[dict[str, str]]:
    """The lines of <root>/leaderboard.csv.

    Raises:
        DataError: absent, or another file's columns.
    """
    path = Path(root or paths.results_dir()) / FILE
    if not path.is_file():
        raise DataError(f"{path}: no such file; scripts/evaluate.py writes it")
    with open(path, encoding="utf-8", newline="") as f:
        reader = csv.DictReader(f)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise DataError(f"{path}: not a leaderboard of this version; make it again with scripts/evaluate.py")
        return list(reader)


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """One line as people read it, in the terminal as in the README; shares in per cent."""
    interval = f" [{percent(row['test_low'])}, {percent(row['test_high'])}]" if row["test_low"] != "" else ""
    return {
        "model": f"`{row['model']}`",
        "parameters": _millions(row["parameters"]),
        row["val_split"] or "val": percent(row["val_accuracy"]),
        f"{row['test_split'] or 'test'} [95 %]": percent(row["test_accuracy"]) + interval,
        "macro-F1": percent(row["macro_f1"]),
        "balanced": percent(row["balanced_accuracy"]),
        "top 2": percent(row["top2"]),
        "ECE": percent(row["ece"]),
        "with flip": percent(row["flip_accuracy"]),
        "ten-crop": percent(row["tencrop_accuracy"]),
        "no copies": percent(row["unleaked_accuracy"]),
        "trained": _trained(row),
        "marks": marks(row),
    }


def titled(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Lines of one data set; one that was not scored on a split has the others' title of it."""
    known = {k: next((r[k] for r in rows if r[k]), "") for k in ("val_split", "test_split")}
    return [{**r} | {k: r[k] or title for k, title in known.items()} for r in rows]


def readme_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The lines as a Markdown table; one table per data set if there are several."""
    if not rows:
        return "No results yet."
    tables = []
    names = list(dict.fromkeys(str(r["data"]) for r in rows))
    for data in names:
        lines = [cells(r) for r in titled([r for r in rows if r["data"] == data])]
        head = list(lines[0])
        body = [[*line.values()] for line in lines]
        align = ["---" if h in ("model", "trained", "marks") else "--:" for h in head]
        table = "\n".join("| " + " | ".join(line) + " |" for line in [head, align, *body])
        tables.append((f"**{data}**\n\n{table}" if len(names) > 1 else table) + _floor(rows, data))
    return "\n\n".join(tables)


def _floor(rows: Sequence[Mapping[str, Any]], data: str) -> str:
    """What always giving the same answer would score, as a sentence below the table."""
    known = [r for r in rows if r["data"] == data and r["majority"] not in (None, "")]
    if not known:
        return ""
    r = known[0]
    return (
        f"\n\nAlways answering *{r['majority']}*, the commonest class in training, would be right in "
        f"{percent(r['majority_accuracy'])} % (macro-F1 {percent(r['majority_macro_f1'])})."
    )


def _millions(parameters: Any) -> str:
    return "–" if parameters in (None, "") else f"{int(parameters) / 1e6:.2f} M"


def _trained(row: Mapping[str, Any]) -> str:
    epochs, seconds, device = row["epochs"], row["seconds"], row["device"]
    count = int(float(epochs)) if epochs not in (None, "") else 0
    parts = [f"{count} epoch{'s' if count != 1 else ''}" if count else ""]
    if seconds not in (None, ""):
        s = float(seconds)
        parts.append(f"{s:.0f} s" if s < 120 else f"{s / 60:.0f} min" if s < 7200 else f"{s / 3600:.1f} h")
    parts.append(str(device or ""))
    return ", ".join(p for p in parts if p) or "–"


def marks(row: Mapping[str, Any]) -> str:
    """What makes a comparison unequal, or says what a row is: other training data, teacher, pretraining, twin.

    Also that its weights are not among the bundled ones, where that is known.
    """
    said = [f"trained on {row['trained_on']}"] if row["trained_on"] not in ("", row["data"]) else []
    said += [f"distilled from `{row['distilled_from']}`"] if row["distilled_from"] else []
    said += [
        title
        for key, title in (("pretrained", "pretrained"), ("extra_annotation", "extra annotation"))
        if str(row[key]) == "True"
    ]
    said += [f"twin of `{row['twin_of']}`"] if row["twin_of"] else []
    said += ["weights not bundled"] if str(row["bundled"]) == "False" else []
    return ", ".join(said) or "–"
