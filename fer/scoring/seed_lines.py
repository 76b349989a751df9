"""Lines of seeds.csv: what is stored behind them, and that none takes the place of another run's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer.checkpoint import Manifest
from fer.data import Dataset
from fer.errors import ConfigError, DataError
from fer.evaluation import results, stored
from fer.files import alone_with
from fer.history import HISTORY, fits
from fer.scoring.card import is_foreign, is_other_copy, recipe_digest, require_own_data, row_name

if TYPE_CHECKING:
    import pandas as pd

# what half precision may change in an accuracy: a history is measured before the weights are stored
HALF_PRECISION = 1.5e-3


def seed_row(manifest: Manifest, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a scored run."""
    scores = {k: s["single"] for k, s in metrics["splits"].items()}
    return {
        "model": row_name(manifest, metrics["data"]["name"]),
        "twin_of": metrics["twin_of"] or "",
        "seed": manifest.seed,
        "epochs": manifest.training.get("epochs"),
        "best_epoch": manifest.training.get("best_epoch"),
        "recipe": recipe_digest(manifest),
        "data": str(metrics["data"].get("fingerprint") or "")[:8],
        "val_accuracy": scores["val"]["accuracy"] if "val" in scores else None,
        "test_accuracy": scores["test"]["accuracy"] if "test" in scores else None,
        "macro_f1": scores["test"]["macro_f1"] if "test" in scores else None,
        "sha256": manifest.weights.get("sha256", ""),
        "git_commit": manifest.git_commit,
    }


def add_seed_rows(rows: Sequence[Mapping[str, Any]], out: Path, data: str) -> Path:
    """Put lines into seeds.csv; one of the same weights, or of the same model, seed, epochs and recipe, is replaced.

    The folder of weights that have no line any more goes.
    """
    with alone_with(out / data / stored.SEEDS):
        before = stored.read_seeds(out, data)
        kept = [r for r in before if not any(r["sha256"] == new["sha256"] or _clash(r, new) for new in rows)]
        path = stored.write_seeds([*kept, *rows], out, data)
        now = {r["sha256"] for r in (*kept, *rows)}
        for r in before:
            if r["sha256"] not in now:
                shutil.rmtree(stored.seed_run(r, out, data), ignore_errors=True)
    return path


def keep_seed_run(line: Mapping[str, Any], predictions: pd.DataFrame, checkpoint: Path, out: Path, data: str) -> Path:
    """Store what a line of seeds.csv was counted from, and how the run went; returns the folder."""
    folder = stored.seed_run(line, out, data)
    results.write_predictions(predictions, folder)
    if (history := checkpoint / HISTORY).is_file():
        results.write_text(history.read_text(encoding="utf-8"), folder / HISTORY)
    return folder


def keep_superseded(name: str, manifest: Manifest, out: Path, data: str, fingerprint: str = "") -> None:
    """A checkpoint is about to take a model's folder of results: what stands there and has a line is kept.

    Called when other weights are scored or another copy of the data, and before promotion, which replaces the history.

    Args:
        name: Of the folder.
        manifest: Of the checkpoint.
        fingerprint: Of the data that it is scored on; "" for those that what stands there was scored on.
    """
    try:
        earlier = results.read_result(results.folder_of(data, name, out))
    except DataError:
        return  # absent, or damaged and about to be replaced
    scored_on = str(earlier.metrics["data"].get("fingerprint") or "")
    same = (sha := results.weights_of(earlier)) in _shas(manifest) and fingerprint in ("", scored_on)
    if same or earlier.predictions is None:
        return
    for line in stored.read_seeds(out, data):
        if line["data"] and not scored_on.startswith(line["data"]):
            continue  # what stands there is of another copy than the line
        if line["sha256"] == sha and not (folder := stored.seed_run(line, out, data)).exists():
            results.write_predictions(earlier.predictions, folder)
            # after promotion, the history is that of the new weights, and the right one is kept already
            ran = {k: line[k] for k in ("epochs", "best_epoch", "val_accuracy")}
            if fits(earlier.history, ran, HALF_PRECISION):
                results.write_text("".join(json.dumps(e) + "\n" for e in earlier.history), folder / HISTORY)


def require_free_line(manifest: Manifest, out: Path, data: str) -> None:
    """A run's line in seeds.csv takes the place of no other run's.

    Raises:
        ConfigError: the file has a line of other weights for this model, seed, number of epochs and recipe.
    """
    line = _line_of(manifest, data)
    for row in stored.read_seeds(out, data):
        if _clash(row, line) and row["sha256"] not in _shas(manifest):
            raise ConfigError(
                f"{out / data / stored.SEEDS} has a line of another run of {_in_words(line)}; give the run another "
                "--seed, or delete that line"
            )


def require_same_data(manifest: Manifest, dataset: Dataset) -> None:
    """A line of seeds.csv is of a run that was trained on the data it is scored on.

    Raises:
        ConfigError: it was trained on other data, or on another copy of them.
    """
    if is_foreign(manifest, dataset.name) or is_other_copy(manifest, dataset):
        require_own_data(manifest, dataset)


def require_lines_apart(manifests: Mapping[str, Manifest], data: str) -> None:
    """Runs that are scored together do not take one line of seeds.csv.

    Args:
        manifests: Of the runs, by their names or paths.

    Raises:
        ConfigError: names two that would.
    """
    for (one, a), (other, b) in combinations(manifests.items(), 2):
        if _clash(_line_of(a, data), line := _line_of(b, data)):
            raise ConfigError(f"{one} and {other} are both {_in_words(line)}")


def _shas(manifest: Manifest) -> tuple[Any, ...]:
    return manifest.weights.get("sha256"), manifest.weights.get("made_from", "")


def _clash(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Do two lines say that they are of one run? A recipe, or a copy of the data, that is not known may be any."""
    return all(a[k] == b[k] for k in ("model", "seed", "epochs")) and all(
        a[k] == b[k] or not (a[k] and b[k]) for k in ("recipe", "data")
    )


def _line_of(manifest: Manifest, data: str) -> dict[str, Any]:
    return {
        "model": row_name(manifest, data),
        "seed": manifest.seed,
        "epochs": manifest.training.get("epochs"),
        "recipe": recipe_digest(manifest),
        "data": str(manifest.data.get("fingerprint") or "")[:8],  # a line is of a run that was scored on its own data
    }


def _in_words(line: Mapping[str, Any]) -> str:
    return f"{line['model']} with seed {line['seed']} over {line['epochs']} epochs"
