"""Reading and writing results/<data set>/<model>/: metrics.json, predictions.parquet, history.jsonl."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fer import paths
from fer.errors import DataError
from fer.files import replacing
from fer.history import read_history

if TYPE_CHECKING:
    import pandas as pd

FORMAT = "fer-results"
SCHEMA = 2
METRICS, PREDICTIONS, FACTS = "metrics.json", "predictions.parquet", "data.json"
SEEN = ("", "exact", "near")
# folders beside those of the models, see `fer.evaluation.ablations` and `fer.evaluation.stored.seed_run`
ABLATIONS, SEED_RUNS = "ablations", "seeds"
# view of a face -> prefix of its columns in predictions.parquet
VIEWS = {"single": "p_", "flip": "flip_", "tencrop": "tencrop_"}
_SCORES = ("accuracy", "macro_f1", "balanced_accuracy", "top2", "nll", "brier", "ece")
_AGAIN = "make it again with scripts/evaluate.py"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ModelResult:
    """What is stored about one model on one data set.

    Attributes:
        name: Name of the model (folder, table key).
        title: Name for people.
        metrics: Content of metrics.json (see `fer.evaluation.report`); of an older schema, what that did not hold is
            absent.
        predictions: One row per image: `row`, `split`, `label` (true class), `seen` ("", "exact" or "near": a copy
            lies in the training split), `p_<class>` (calibrated), `flip_<class>` (mean of face and mirrored face) and
            `tencrop_<class>` (mean of five crops and their mirror images); None where the file is absent.
        history: One dict per epoch; empty where the file is absent.
        folder: Where it was read from.
    """

    name: str
    title: str
    metrics: dict[str, Any]
    predictions: pd.DataFrame | None
    history: list[dict[str, Any]] = field(default_factory=list)
    folder: Path | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in class order."""
        return tuple(self.metrics["data"]["labels"])

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits that were scored, for example ("val", "test")."""
        return tuple(self.metrics["splits"])

    def split_title(self, split: str) -> str:
        """What the data's authors call a split ("PublicTest")."""
        return str(self._split(split).get("title", split))

    def views(self, split: str = "test") -> tuple[str, ...]:
        """Views that were scored on a split: single, perhaps flip and tencrop."""
        return tuple(v for v in VIEWS if self._split(split).get(v))

    def scores(self, split: str = "test", view: str = "single") -> dict[str, Any]:
        """Stored scores of a split.

        Args:
            view: single (the headline), flip (mean with the mirrored face) or tencrop.

        Raises:
            DataError: a split or view that was not scored.
        """
        self._need(split, view)
        return self._split(split)[view]

    def frame(self, split: str) -> pd.DataFrame:
        """The stored predictions of one split.

        Raises:
            DataError: no predictions stored, or none of that split.
        """
        if self.predictions is None:
            raise DataError(f"{self.name}: {PREDICTIONS} is absent; {_AGAIN}")
        part = self.predictions[self.predictions["split"] == split]
        if not len(part):
            raise DataError(f"{self.name}: no predictions of split {split!r}; there are {', '.join(self.splits)}")
        return part

    def probs(self, split: str = "test", view: str = "single") -> np.ndarray:
        """(N, C) float32 probabilities of one split; view is single, flip or tencrop.

        Raises:
            DataError: no predictions of that split and view.
        """
        self._need(split, view)
        return self.frame(split)[[VIEWS[view] + c for c in self.class_names]].to_numpy(dtype=np.float32)

    def labels(self, split: str = "test") -> np.ndarray:
        """(N,) int64 true classes of one split."""
        return self.frame(split)["label"].to_numpy(dtype=np.int64)

    def rows(self, split: str = "test") -> np.ndarray:
        """(N,) int64 positions in the source."""
        return self.frame(split)["row"].to_numpy(dtype=np.int64)

    def _need(self, split: str, view: str) -> None:
        if view not in (have := self.views(split)):
            raise DataError(f"{self.name}: no {view!r} scores of split {split!r}; there are {' and '.join(have)}")

    def _split(self, split: str) -> dict[str, Any]:
        if split not in self.metrics["splits"]:
            raise DataError(f"{self.name}: split {split!r} was not scored; there are {', '.join(self.splits)}")
        return self.metrics["splits"][split]


def folder_of(data: str, model: str, root: str | Path | None = None) -> Path:
    """results/<data>/<model> below `root` (default: the committed results)."""
    return Path(root or paths.results_dir()) / data / model


def list_data(root: str | Path | None = None) -> list[str]:
    """Names of the data sets that have results."""
    base = Path(root or paths.results_dir())
    return sorted({p.parent.parent.name for p in base.glob(f"*/*/{METRICS}")})


def read_results(
    root: str | Path | None = None, data: str = "fer2013", problems: list[str] | None = None
) -> list[ModelResult]:
    """Every model's results on one data set, small models first.

    A folder that cannot be read, or that is of another copy of the data than `copy_of` says, is left out; why is
    appended to `problems` or, where that is not given, logged.

    Args:
        root: Folder of results; default: the committed ones.
        data: Name of the data set.
        problems: Receives one line per folder that was left out.

    Returns:
        Empty where nothing was scored yet.
    """
    base = Path(root or paths.results_dir()) / data
    found: list[ModelResult] = []
    for folder in sorted(p for p in base.glob("*") if p.is_dir() and p.name not in (ABLATIONS, SEED_RUNS)):
        try:
            found.append(read_result(folder))
        except DataError as e:
            _leave_out(str(e), problems)
    if len({_fingerprint(r.metrics) for r in found}) > 1:
        own = _one_of([_fingerprint(r.metrics) for r in found], base)
        for r in [r for r in found if _fingerprint(r.metrics) not in ("", own)]:
            found.remove(r)
            _leave_out(
                f"{r.folder}: scored on another copy of {data} (fingerprint {_fingerprint(r.metrics)[:12]}) than the "
                f"rest ({own[:12]})",
                problems,
            )
    return sorted(found, key=lambda r: (r.metrics.get("parameters") or 0, r.name))


def copy_of(root: str | Path | None, data: str) -> str:
    """Fingerprint of the copy of a data set that the results there are of; "" where there are none, or none that tell.

    Of several copies it is the one that data.json is of, else the one that most results are of.
    """
    base = Path(root or paths.results_dir()) / data
    prints = []
    for file in sorted(base.glob(f"*/{METRICS}")):
        try:
            prints.append(_fingerprint(_read_metrics(file)))
        except DataError:
            continue
    return _one_of(prints, base)


def _one_of(fingerprints: Sequence[str], base: Path) -> str:
    told = Counter(filter(None, fingerprints))
    try:
        facts = str(json.loads((base / FACTS).read_text(encoding="utf-8"))["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        facts = ""
    return facts if facts in told else told.most_common(1)[0][0] if told else ""


def _fingerprint(metrics: Mapping[str, Any]) -> str:
    return str(metrics["data"].get("fingerprint") or "")


def _leave_out(why: str, problems: list[str] | None) -> None:
    if problems is None:
        _log.warning("left out: %s", why)
    else:
        problems.append(why)


def read_result(folder: str | Path) -> ModelResult:
    """One model's results.

    Raises:
        DataError: absent, partial, damaged or foreign files, a newer schema, or predictions that do not fit.
    """
    folder = Path(folder)
    metrics = _read_metrics(folder / METRICS)
    predictions = _read_predictions(folder / PREDICTIONS, metrics) if (folder / PREDICTIONS).is_file() else None
    return ModelResult(
        metrics["model"], metrics.get("title") or metrics["model"], metrics, predictions, read_history(folder), folder
    )


def _read_metrics(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; scripts/evaluate.py writes it")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise DataError(f"{path}: damaged ({e}); {_AGAIN}") from e
    if not isinstance(metrics, dict) or metrics.get("format") != FORMAT:
        raise DataError(f"{path}: not a results file of this project; {_AGAIN}")
    if not isinstance(metrics.get("schema"), int) or metrics["schema"] > SCHEMA:
        raise DataError(f"{path}: schema {metrics.get('schema')} is newer than {SCHEMA}; update the package")
    try:
        if not (metrics["model"] and metrics["data"]["labels"] and metrics["data"]["name"]):
            raise DataError(f"{path}: model, data name and labels must not be empty; {_AGAIN}")
        _check_metrics(metrics)
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise DataError(f"{path}: incomplete, {e} is missing or of another kind; {_AGAIN}") from e
    return metrics


def _check_metrics(metrics: Mapping[str, Any]) -> None:
    """Touch everything that tables and pictures read, so that a damaged file fails here and not in the middle of them.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: something is missing or of another kind.
    """
    names = metrics["data"]["labels"]
    if not isinstance(names, list) or not isinstance(metrics.get("parameters") or 0, (int, float)):
        raise TypeError("labels or parameters")
    if not metrics["splits"]:
        raise ValueError("splits")
    if not float(metrics["temperature"]["value"]) > 0:
        raise ValueError("temperature")
    parts = {key: metrics.get(key) or {} for key in ("trained", "marks", "cost", "checkpoint")}
    parts["latency_ms"] = parts["cost"].get("latency_ms") or {}
    if wrong := [key for key, part in parts.items() if not isinstance(part, dict)]:
        raise TypeError(wrong[0])
    _number_or_none(parts["trained"], "epochs", "seconds")
    _number_or_none(parts["cost"], "parameters", "macs")
    _number_or_none(parts["latency_ms"], "batch_1", "batch_32")
    for split in metrics["splits"].values():
        for scores in (split["single"], *(split[v] for v in list(VIEWS)[1:] if split.get(v))):
            low, high = scores["accuracy_interval"]
            numbers = [low, high, split["n"], *(scores[k] for k in _SCORES)]
            numbers += [scores["per_class"][c][k] for c in names for k in ("precision", "recall", "f1", "support")]
            numbers += [n for row in scores["confusion"] for n in row]
            if not all(isinstance(n, (int, float)) for n in numbers):
                raise TypeError("a score")
            if np.shape(scores["confusion"]) != (len(names), len(names)):
                raise ValueError("confusion")
        if leakage := split.get("leakage"):
            leakage["exact"] + leakage["near"], leakage["accuracy"]
            _number_or_none(leakage, "exact", "near", "accuracy")
        if majority := split.get("majority"):
            majority["label"], majority["accuracy"] + majority["macro_f1"]
        if crowd := split.get("crowd"):
            crowd["crowd_entropy"], crowd["cross_entropy"]
            _number_or_none(crowd, *crowd)


def _number_or_none(part: Mapping[str, Any], *keys: str) -> None:
    """Raise a TypeError that names the first of the keys which holds something else; an absent one is fine."""
    for key in keys:
        if not isinstance(part.get(key) or 0, (int, float)):
            raise TypeError(key)


def _read_predictions(path: Path, metrics: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    # pyarrow's errors derive from ValueError, OSError, KeyError or TypeError
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"{path}: damaged or not a parquet file ({e}); {_AGAIN}") from e
    check_predictions(frame, metrics["data"]["labels"], path)
    for key, split in metrics["splits"].items():
        if (got := int((frame["split"] == key).sum())) != split["n"]:
            raise DataError(f"{path}: {got} predictions of split {key}, {METRICS} has {split['n']}; {_AGAIN}")
        for view, prefix in VIEWS.items():
            if split.get(view) and prefix + metrics["data"]["labels"][0] not in frame:
                raise DataError(f"{path}: no {view} predictions, {METRICS} has their scores; {_AGAIN}")
    return frame


def check_predictions(frame: pd.DataFrame, class_names: Sequence[str], path: str | Path = PREDICTIONS) -> None:
    """Raise a DataError unless the columns are those of a predictions file with these classes."""
    wanted = ["row", "split", "label", *(f"p_{c}" for c in class_names)]
    for prefix in list(VIEWS.values())[1:]:
        columns = [prefix + c for c in class_names]
        wanted += columns if any(c in frame.columns for c in columns) else []
    if missing := [c for c in wanted if c not in frame.columns]:
        raise DataError(f"{path}: column {missing[0]!r} is missing; {_AGAIN}")
    try:
        p = frame[[f"p_{c}" for c in class_names]].to_numpy(dtype=np.float64)
        labels = frame["label"].to_numpy(dtype=np.int64)
        frame["row"].to_numpy(dtype=np.int64), frame[wanted[3:]].to_numpy(dtype=np.float64)
    except (ValueError, TypeError) as e:
        raise DataError(f"{path}: a column does not hold numbers ({e}); {_AGAIN}") from e
    if not np.isfinite(p).all() or (len(p) and (p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3)):
        raise DataError(f"{path}: a row of probabilities does not sum to 1; {_AGAIN}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(class_names)):
        raise DataError(f"{path}: a label lies outside 0..{len(class_names) - 1}; {_AGAIN}")


def weights_of(result: ModelResult) -> str | None:
    """SHA-256 of the weights that were scored; None where the results do not say."""
    return (result.metrics.get("checkpoint") or {}).get("sha256")


def predictions_frame(splits: Mapping[str, Mapping[str, np.ndarray]], class_names: Sequence[str]) -> pd.DataFrame:
    """Predictions of all splits as one table.

    Args:
        splits: Split key -> arrays `rows` (N,), `labels` (N,), `single` (N, C) and optionally `flip` and `tencrop`
            (N, C) and `seen` (N,) of "", "exact", "near".
        class_names: C names in class order.
    """
    import pandas as pd

    parts = []
    for key, s in splits.items():
        columns: dict[str, Any] = {
            "row": np.asarray(s["rows"], dtype=np.int64),
            "split": [key] * len(s["rows"]),
            "label": np.asarray(s["labels"], dtype=np.int64),
        }
        if s.get("seen") is not None:
            columns["seen"] = np.asarray(s["seen"], dtype=object)
        for view, prefix in VIEWS.items():
            if (probs := s.get(view)) is not None:
                columns |= {prefix + c: np.asarray(probs[:, i], dtype=np.float32) for i, c in enumerate(class_names)}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def write_predictions(frame: pd.DataFrame, folder: str | Path) -> Path:
    """Write predictions.parquet; a half-written file never replaces a good one."""
    path = Path(folder) / PREDICTIONS
    with replacing(path) as part:
        frame.to_parquet(part, index=False, compression="zstd")
    return path


def write_json(value: Any, path: str | Path) -> Path:
    """Write readable JSON; a half-written file never replaces a good one."""
    path = Path(path)
    text = _compact(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)) + "\n"
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
    return path


def write_text(text: str, path: str | Path) -> Path:
    """Write text; a half-written file never replaces a good one."""
    path = Path(path)
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")
    return path


def _compact(text: str) -> str:
    """Lists of numbers on one line: a confusion matrix that a person can read in a diff."""
    import re

    number = r"-?\d[\d.eE+-]*"
    return re.sub(rf"\[\s+({number}(?:,\s+{number})*)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
