"""The files beside metrics.json: robustness, explanation, comparison, ensembles, facts of the data, seeds.

A reader gives None (a list: nothing) where a file is absent and raises a DataError that names the file and what to do
where it is damaged, incomplete or newer. A writer checks what it is given in the same way.

results/<data>/<model>/: robustness.json, explanation.json, maps.npz;
results/<data>/: comparison.json, ensembles.json, data.json, seeds.csv, and notes.json, which people write;
results/<data>/seeds/<model>/<epochs>-<seed>-<weights>/: predictions and history of a run that has only its
line in seeds.csv.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fer import paths
from fer.errors import DataError
from fer.evaluation.results import FACTS, SEED_RUNS, ModelResult, write_json, write_text
from fer.files import replacing

SCHEMA = 1
ROBUSTNESS, EXPLANATION, MAPS = "robustness.json", "explanation.json", "maps.npz"
COMPARISON, ENSEMBLES, DATA, SEEDS = "comparison.json", "ensembles.json", FACTS, "seeds.csv"
NOTES = "notes.json"
SEED_COLUMNS = {
    "model": str,
    "twin_of": str,
    "seed": int,
    "epochs": int,
    "best_epoch": int,
    "recipe": str,
    "data": str,
    "val_accuracy": float,
    "test_accuracy": float,
    "macro_f1": float,
    "sha256": str,
    "git_commit": str,
}
_LATER_SEED_COLUMNS = ("best_epoch", "recipe", "data")  # files without them are read
MAP_PX = 48
_SCORE = "make it again with scripts/evaluate.py"
_MAKERS = {
    ROBUSTNESS: "make it again with scripts/evaluate.py --robustness",
    EXPLANATION: "make it again with scripts/explain.py",
    MAPS: "make it again with scripts/explain.py",
    ENSEMBLES: "make it again with scripts/evaluate.py --ensemble",
    DATA: "delete it and score once more with scripts/evaluate.py, where the data are at hand",
    NOTES: "it is written by hand: an object of SHA-256 -> text",
}
_FORMATS = {
    ROBUSTNESS: "fer-robustness",
    EXPLANATION: "fer-explanation",
    ENSEMBLES: "fer-ensembles",
    DATA: "fer-data",
}
_WRONG = (KeyError, TypeError, AttributeError, ValueError)
_METHOD_SCORES = ("deletion", "insertion", "deletion_random", "insertion_random")
_METHOD_SHARES = ("eyes_brows", "mouth", "pointing", "area", "ms")


def read_robustness(folder: str | Path) -> dict[str, Any] | None:
    """Accuracy under corruptions: robustness.json of one model's folder.

    Raises:
        DataError: damaged, incomplete, or a newer schema.
    """
    return _read(Path(folder) / ROBUSTNESS, _check_robustness)


def robustness_of(result: ModelResult) -> dict[str, Any] | None:
    """robustness.json of a model, where it was measured of the very checkpoint and data that were scored.

    Raises:
        DataError: damaged, incomplete, or a newer schema.
    """
    found = read_robustness(result.folder) if result.folder else None
    return found if found and fits(found, result) else None


def fits(measured: Mapping[str, Any], result: ModelResult) -> bool:
    """Was this (robustness.json, explanation.json) measured of the checkpoint and, as far as it says, data scored?"""
    sha256, fingerprint = (
        (result.metrics.get("checkpoint") or {}).get("sha256"),
        result.metrics["data"].get("fingerprint"),
    )
    return measured["checkpoint_sha256"] == sha256 and measured.get("fingerprint", fingerprint) == fingerprint


def write_robustness(content: Mapping[str, Any], folder: str | Path) -> Path:
    """Write robustness.json; format and schema are added."""
    return _write(content, Path(folder) / ROBUSTNESS, _check_robustness)


def read_explanation(folder: str | Path) -> dict[str, Any] | None:
    """Faithfulness scores of the explanation methods: explanation.json of one model's folder.

    Raises:
        DataError: damaged, incomplete, or a newer schema.
    """
    return _read(Path(folder) / EXPLANATION, _check_explanation)


def write_explanation(content: Mapping[str, Any], folder: str | Path) -> Path:
    """Write explanation.json; format and schema are added."""
    return _write(content, Path(folder) / EXPLANATION, _check_explanation)


def read_maps(folder: str | Path) -> dict[str, np.ndarray] | None:
    """Mean heat per class: maps.npz of one model's folder.

    Returns:
        Method -> uint8 (C, 48, 48); a class without faces is all zeros.

    Raises:
        DataError: damaged, or arrays of another kind.
    """
    path = Path(folder) / MAPS
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as z:
            maps = {k: z[k] for k in z.files}
        _check_maps(maps)
    except (OSError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error, *_WRONG) as e:
        raise DataError(f"{path}: damaged ({e}); {_again(path)}") from e
    return maps


def write_maps(maps: Mapping[str, np.ndarray], folder: str | Path) -> Path:
    """Write maps.npz: method -> uint8 (C, 48, 48)."""
    _checked(maps, _check_maps, path := Path(folder) / MAPS)
    with replacing(path) as part, open(part, "wb") as f:
        np.savez_compressed(f, **maps)  # type: ignore[arg-type]
    return path


def read_comparison(root: str | Path | None, data: str) -> dict[str, Any] | None:
    """Every pair of models: comparison.json of one data set (`fer.evaluation.report.comparison`).

    Raises:
        DataError: damaged or incomplete.
    """
    return _read(_place(root, data) / COMPARISON, _check_comparison)


def read_ensembles(root: str | Path | None, data: str) -> list[dict[str, Any]] | None:
    """The ensembles of one data set.

    Raises:
        DataError: damaged, incomplete, or a newer schema.
    """
    content = _read(_place(root, data) / ENSEMBLES, _check_ensembles)
    return None if content is None else content["ensembles"]


def write_ensembles(ensembles: Sequence[Mapping[str, Any]], root: str | Path | None, data: str) -> Path:
    """Write ensembles.json."""
    return _write({"ensembles": list(ensembles)}, _place(root, data) / ENSEMBLES, _check_ensembles)


def read_data(root: str | Path | None, data: str) -> dict[str, Any] | None:
    """Counts, copies and crowd of one data set: data.json.

    Raises:
        DataError: damaged, incomplete, or a newer schema.
    """
    return _read(_place(root, data) / DATA, _check_data)


def write_data(content: Mapping[str, Any], root: str | Path | None, data: str) -> Path:
    """Write data.json; format and schema are added."""
    return _write(content, _place(root, data) / DATA, _check_data)


def read_notes(root: str | Path | None, data: str) -> dict[str, str]:
    """What a reader of the scores should know of a checkpoint: SHA-256 of its weights -> text; empty without a file.

    Raises:
        DataError: damaged.
    """
    return _read(_place(root, data) / NOTES, lambda content: _names(*content.values())) or {}


def read_seeds(root: str | Path | None, data: str) -> list[dict[str, Any]]:
    """One row per trained run, with the types of SEED_COLUMNS; a number that is not known is None, a text "".

    Raises:
        DataError: other columns, or a cell that is no number.
    """
    path = _place(root, data) / SEEDS
    if not path.is_file():
        return []
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
        columns = tuple(reader.fieldnames or ())
        if columns != tuple(k for k in SEED_COLUMNS if k in columns or k not in _LATER_SEED_COLUMNS):
            raise DataError(f"{path}: its columns are not {', '.join(SEED_COLUMNS)}; {_SCORE}")
        rows = [dict.fromkeys(_LATER_SEED_COLUMNS, "") | row for row in reader]
        return [
            {k: cast(row[k]) if row[k] != "" or cast is str else None for k, cast in SEED_COLUMNS.items()}
            for row in rows
        ]
    except (OSError, csv.Error, *_WRONG) as e:
        raise DataError(f"{path}: damaged ({e}); {_SCORE}") from e


def write_seeds(rows: Iterable[Mapping[str, Any]], root: str | Path | None, data: str) -> Path:
    """Write seeds.csv, sorted by model and seed."""
    rows = sorted(rows, key=lambda r: (r["model"], r["seed"] or 0, r["epochs"] or 0, r["sha256"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(SEED_COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if r.get(k) is None else r[k] for k in SEED_COLUMNS} for r in rows)
    return write_text(text.getvalue(), _place(root, data) / SEEDS)


def seed_run(line: Mapping[str, Any], root: str | Path | None, data: str) -> Path:
    """Folder of the predictions and the history behind a line of seeds.csv, where they are not the model's own."""
    name = f"{line['epochs']}-{line['seed']}-{str(line['sha256'])[:8]}"
    return _place(root, data) / SEED_RUNS / str(line["model"]) / name


def _place(root: str | Path | None, data: str) -> Path:
    return Path(root or paths.results_dir()) / data


def _again(path: Path) -> str:
    return _MAKERS.get(path.name, _SCORE)


def _read(path: Path, check: Callable[[Any], None]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: damaged ({e}); {_again(path)}") from e
    form = _FORMATS.get(path.name)
    if not isinstance(content, dict) or (form and content.get("format") != form):
        raise DataError(f"{path}: not a file of this project; {_again(path)}")
    schema = content.get("schema", SCHEMA if form is None else None)
    if not isinstance(schema, int) or schema > SCHEMA:
        raise DataError(f"{path}: schema {schema} is newer than {SCHEMA}; update the package")
    _checked(content, check, path)
    return content


def _write(content: Mapping[str, Any], path: Path, check: Callable[[Any], None]) -> Path:
    _checked(content, check, path)
    return write_json({"format": _FORMATS[path.name], "schema": SCHEMA} | dict(content), path)


def _checked(content: Any, check: Callable[[Any], None], path: Path) -> None:
    try:
        check(content)
    except _WRONG as e:
        raise DataError(f"{path}: incomplete, {e} is missing or of another kind; {_again(path)}") from e


def _numbers(*values: Any) -> None:
    for v in values:
        if isinstance(v, bool) or not isinstance(v, (int, float)):
            raise TypeError(f"the number {str(v)[:20]!r}")


def _check_robustness(content: Mapping[str, Any]) -> None:
    _names(content["model"], content["checkpoint_sha256"], content["split"])
    _numbers(content["n"], content["seed"], content["clean"], content["mean"], *content["strengths"])
    if not content["accuracy"]:
        raise ValueError("accuracy")
    for name, values in content["accuracy"].items():
        _numbers(*values)
        if len(values) != len(content["strengths"]):
            raise ValueError(f"one accuracy per strength of {name}")


def _check_explanation(content: Mapping[str, Any]) -> None:
    _names(content["model"], content["checkpoint_sha256"], content["split"])
    _numbers(content["n"], content["seed"], *content["counts"].values())
    for m in content["methods"].values():
        _names(m["title"])
        _numbers(*(m[k] for k in (*_METHOD_SCORES, *_METHOD_SHARES)), *m["steps"])
        _numbers(*m["deletion_curve"], *m["insertion_curve"], m["sanity"] or 0)
        if not isinstance(m["per_class"], bool):
            raise TypeError("per_class")
        if not len(m["steps"]) == len(m["deletion_curve"]) == len(m["insertion_curve"]):
            raise ValueError("one value per step")


def _check_maps(maps: Mapping[str, np.ndarray]) -> None:
    for method, heat in maps.items():
        if heat.dtype != np.uint8 or heat.ndim != 3 or heat.shape[1:] != (MAP_PX, MAP_PX):
            raise ValueError(f"{method}: expected uint8 (C, {MAP_PX}, {MAP_PX}), got {heat.dtype} {heat.shape}")


def _check_comparison(content: Mapping[str, Any]) -> None:
    _names(content["split"], content["title"])
    _numbers(content["n"])
    for p in content["pairs"]:
        _names(p["a"], p["b"])
        low, high = p["interval"]
        _numbers(low, high, *(p[k] for k in ("accuracy_a", "accuracy_b", "difference", "only_a", "only_b")))
        _numbers(p["p"], p["p_holm"])
        if chi2 := p.get("chi2"):
            _numbers(*(chi2[k] for k in ("statistic", "dof", "p", "p_holm")))
        if agreement := p.get("agreement"):
            _numbers(*(agreement[k] for k in ("both_right", "both_wrong", "same_answer", "kappa")))


def _check_ensembles(content: Mapping[str, Any]) -> None:
    for e in content["ensembles"]:
        _names(e["view"], *e["members"])
        _numbers(e["val_accuracy"], *e["weights"])
        if e["test_accuracy"] is not None:  # scored on validation alone
            low, high = e["test_interval"]
            _numbers(low, high, e["test_accuracy"], e["test_nll"])
        if (without := e.get("leakage")) and without["accuracy"] is not None:
            low, high = without["accuracy_interval"]
            _numbers(low, high, without["accuracy"], without["exact"], without["near"])
        if len(e["members"]) != len(e["weights"]):
            raise ValueError("one weight per member")


def _check_data(content: Mapping[str, Any]) -> None:
    _names(content["name"], *content["labels"], *content["titles"].values())
    _names(content["fingerprint"])
    for per_class in content["counts"].values():
        _numbers(*(per_class[c] for c in content["labels"]))
    for copies in content["copies"].values():
        _numbers(copies["exact"], copies["near"])
    _numbers(content["conflicting"])
    for crowd in filter(None, (content["crowd"] or {}).values()):
        _numbers(*(crowd[k] for k in ("n", "crowd_entropy", "unanimous_n", "agreement", "label_agreement")))
        _numbers(*(v for v in crowd["agreement_per_class"].values() if v is not None))


def _names(*values: Any) -> None:
    for v in values:
        if not isinstance(v, str) or not v:
            raise TypeError(f"the name {str(v)[:20]!r}")
