"""How fast each backend answers on a CPU: results/speed.json and the README's table of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer import paths
from fer.errors import DataError
from fer.evaluation import leaderboard
from fer.evaluation.results import write_json

FILE = "speed.json"
FORMAT = "fer-speed"
SCHEMA = 1
BATCHES = ("batch_1", "batch_32")
_AGAIN = "make it again with: python scripts/benchmark.py backends --save"


@dataclass(frozen=True)
class BackendSpeed:
    """One model on three backends.

    Attributes:
        model: Name.
        sha256: Of the weights that were measured.
        torch, onnx: Milliseconds of one call of `predict_proba`, preprocessing included: batch_1, batch_32.
        int8: The same of the 8-bit file; None where there is none.
        int8_file: Its bytes, and the accuracies (0..1) on validation that let it in: bytes, fp32, int8.
    """

    model: str
    sha256: str
    torch: dict[str, float]
    onnx: dict[str, float]
    int8: dict[str, float] | None = None
    int8_file: dict[str, float] | None = None

    def __post_init__(self) -> None:
        for name in ("torch", "onnx", "int8"):
            times = getattr(self, name)
            if times is not None and not all(isinstance(times[b], int | float) and times[b] > 0 for b in BATCHES):
                raise ValueError(f"{name} wants a positive number of milliseconds for {' and '.join(BATCHES)}")

    def gain(self, backend: str, batch: str = "batch_1") -> float | None:
        """How many times faster than torch; backend is "onnx" or "int8"."""
        times = getattr(self, backend)
        return None if times is None else self.torch[batch] / times[batch]


@dataclass(frozen=True)
class SpeedReport:
    """What `measure` found on one machine.

    Attributes:
        cpu: Its name.
        threads: That each backend could use.
        versions: torch and onnxruntime.
        models: One each.
    """

    cpu: str
    threads: int
    versions: dict[str, str]
    models: tuple[BackendSpeed, ...]


def write_speed(report: SpeedReport, root: str | Path | None = None) -> Path:
    """Write results/speed.json.

    Returns:
        The file.
    """
    path = Path(root or paths.results_dir()) / FILE
    write_json({"format": FORMAT, "schema": SCHEMA} | asdict(report), path)
    return path


def read_speed(root: str | Path | None = None) -> SpeedReport | None:
    """What results/speed.json says; None where there is no such file.

    Raises:
        DataError: damaged, incomplete or of a newer version.
    """
    path = Path(root or paths.results_dir()) / FILE
    if not path.is_file():
        return None
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if raw.pop("format") != FORMAT or raw.pop("schema") > SCHEMA:
            raise DataError(f"{path}: of another kind or a newer version of fer; {_AGAIN}")
        return SpeedReport(**raw | {"models": tuple(BackendSpeed(**row) for row in raw["models"])})
    except (OSError, KeyError, TypeError, AttributeError, ValueError) as e:
        raise DataError(f"{path}: damaged ({e}); {_AGAIN}") from e


def speed_table(root: str | Path | None = None) -> str:
    """The README's table: one face on torch, ONNX Runtime and the 8-bit file, and what the 8 bits cost.

    Models are marked as in the leaderboard, where one stands below `root`; rows of weights that are not bundled are
    of other nets than those timed.

    Raises:
        DataError: a damaged speed.json or leaderboard.
    """
    report = read_speed(root)
    if report is None or not report.models:
        return "The backends have not been timed yet."
    known = (Path(root or paths.results_dir()) / leaderboard.FILE).is_file()
    rows = [row for row in (leaderboard.read(root) if known else []) if row["bundled"] != "False"]
    marks = {row["model"]: leaderboard.marks(row) for row in rows}
    lines = [
        "| | torch, eager | ONNX fp32 | ONNX int8 | PublicTest, fp32 | int8 | int8 file | marks |",
        "| --- | --: | --: | --: | --: | --: | --: | --- |",
    ]
    for m in report.models:
        file = m.int8_file or {}
        accuracy = [f"{100 * file[k]:.1f}" if k in file else "–" for k in ("fp32", "int8")]
        size = f"{file['bytes'] / 1e6:.1f} MB" if "bytes" in file else "–"
        lines.append(
            f"| `{m.model}` | {m.torch['batch_1']:.1f} ms | {_timed(m, 'onnx')} | {_timed(m, 'int8')} | "
            f"{' | '.join(accuracy)} | {size} | {marks.get(m.model) or '–'} |"
        )
    on = f"One face, preprocessing included, {report.threads} threads of {report.cpu}, torch {report.versions['torch']}"
    return "\n".join([*lines, "", f"{on}, ONNX Runtime {report.versions['onnxruntime']}; × = times faster than torch."])


def _timed(speed: BackendSpeed, backend: str) -> str:
    times, gain = getattr(speed, backend), speed.gain(backend)
    return "–" if times is None else f"{times['batch_1']:.1f} ms (×{gain:.1f})"
