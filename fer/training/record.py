"""What a net's run leaves in its folder: history.jsonl and the checkpoint of its best epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer import ancestry, checkpoint, provenance
from fer.data.dataset import Dataset
from fer.history import HISTORY
from fer.specs import InputSpec
from fer.training.earlier import Past
from fer.training.events import EpochEnded
from fer.training.job import Job
from fer.training.processes import Processes
from fer.training.step import Stepper

SNAPSHOTS = "snapshots"


class Record:
    """History, best epoch and manifest of a run, written after every epoch by the main process.

    Args:
        run: Folder of the run.
        sets: Data set of every phase.
        spec: Input of the net.
        extra_annotation: Whether FER+ votes are learnt beside the labels.

    Attributes:
        past: What was trained before, where the run begins with the weights of another.
        history: One row per epoch, as in history.jsonl.
        seconds: Time spent on all epochs.
        best: epoch, accuracy and loss of the best epoch on the data of the phase.
        best_state: Its weights, on the CPU.
    """

    def __init__(
        self,
        job: Job,
        run: Path,
        sets: Sequence[Dataset],
        spec: InputSpec,
        processes: Processes,
        extra_annotation: bool,
    ):
        self.job, self.run, self.sets, self.spec, self.processes = job, run, sets, spec, processes
        self.extra_annotation = extra_annotation
        self.past = Past.none()
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self._before = ""  # precision of the epochs before an interrupt
        self.commit = provenance.git_commit()
        self.ancestors = {ancestry.KEY: found} if (found := ancestry.record(job.recipe)) else {}

    def begin(self, data: Dataset, stepper: Stepper, teacher: str) -> None:
        """A net on other data than before: no epoch of it is the best yet.

        Args:
            teacher: Model that has taught this net, in this phase or before; "" = none.
        """
        self.data, self.teacher, self.precision = data, teacher, stepper.precision
        self.parameters = sum(p.numel() for p in stepper.module.parameters())
        self.best: dict[str, Any] = {"epoch": 0, "accuracy": -1.0, "loss": float("inf")}
        self.best_state: dict[str, torch.Tensor] = {}

    def improves(self, accuracy: float, loss: float) -> bool:
        """Whether an epoch with this validation score is the best so far; of equal accuracies the lower loss counts."""
        return (accuracy, -loss) > (self.best["accuracy"], -self.best["loss"])

    def add(self, epoch: EpochEnded, judged: nn.Module) -> None:
        """An epoch is over: history and manifest are written, the weights when they are the best so far.

        Args:
            judged: The net that was validated.
        """
        self.seconds += epoch.seconds
        if epoch.best:
            self.best_state = {k: v.detach().cpu().clone() for k, v in judged.state_dict().items()}
            self.best = {"epoch": epoch.epoch, "accuracy": epoch.val_accuracy, "loss": epoch.val_loss}
        row = asdict(epoch)
        row.pop("best")
        self.history.append(row)
        if not self.processes.main:
            return
        rows = self.past.history + [r | {"epoch": r["epoch"] + self.past.epochs} for r in self.history]
        lines = "".join(json.dumps(r) + "\n" for r in rows)
        checkpoint.write_atomic(self.run / HISTORY, lines.encode())
        if epoch.best:
            self.write_best()
        else:
            weights = checkpoint.read_manifest(self.run).weights
            checkpoint.write_manifest(self.run, replace(self._manifest(), weights=weights))

    def write_best(self) -> None:
        """Weights of the best epoch, and the manifest."""
        if self.processes.main:
            checkpoint.save(self.run, self.best_state, self._manifest())

    def write_snapshot(self, epoch: int, accuracy: float, judged: nn.Module) -> None:
        """A checkpoint of its own, in a folder named after the epoch (those of earlier runs counted).

        Args:
            accuracy: Of this epoch on validation.
        """
        if not self.processes.main:
            return
        manifest, epoch = self._manifest(), self.past.epochs + epoch
        training = manifest.training | {"best_epoch": epoch, "val_accuracy": round(accuracy, 6)}
        folder = self.run / SNAPSHOTS / f"epoch-{epoch:03d}"
        checkpoint.save(folder, judged.state_dict(), replace(manifest, training=training))
        checkpoint.write_atomic(folder / HISTORY, (self.run / HISTORY).read_bytes())

    def state_dict(self) -> dict[str, Any]:
        """What the record needs to go on after an interrupt."""
        return {
            "seconds": self.seconds,
            "history": json.dumps(self.history),
            "best": json.dumps(self.best),
            "best_state": self.best_state,
            "commit": self.commit,
            "device": self.past.devices(self.processes.title),
            "precision": self._precisions(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.history, self.best = json.loads(state["history"]), json.loads(state["best"])
        self.seconds, self.best_state, self.commit = state["seconds"], state["best_state"], state["commit"]
        # states of earlier versions do not tell on what the epochs before were trained
        self.past = replace(self.past, device=state.get("device", self.past.device))
        self._before = state.get("precision", "")

    def _precisions(self) -> str:
        """In what all epochs of this run were computed."""
        if self._before in ("", self.precision):
            return self.precision
        then = f"then {self.precision}"
        return self._before if self._before.endswith(then) else f"{self._before}, {then}"

    def _manifest(self) -> checkpoint.Manifest:
        job, now, past = self.job, self.data, self.past
        rates = [row["images_per_second"] for row in self.history]
        others = [
            {"phase": p.name, "name": s.name, "fingerprint": s.fingerprint, "n_train": len(s["train"])}
            for p, s in zip(job.recipe.phases, self.sets, strict=True)
            if s is not now
        ]
        data = {
            "name": now.name,
            "fingerprint": now.fingerprint,
            "n_train": len(now["train"]),
            "n_val": len(now["val"]),
        }
        return checkpoint.Manifest(
            model=job.model,
            model_args=job.model_args,
            labels=now.label_set.names,
            label_set=now.label_set.name,
            input=self.spec,
            recipe=job.recipe,
            data=data | ({"other_phases": others} if others else {}),
            seed=job.seed,
            git_commit=self.commit,
            versions=provenance.versions(),
            created=provenance.now(),
            weights={"parameters": self.parameters},
            training={
                "epochs": past.epochs + len(self.history),
                "seconds": round(past.seconds + self.seconds, 1),
                "device": past.devices(self.processes.title),
                "images_per_second": round(sum(rates) / len(rates), 1),
                "best_epoch": past.epochs + self.best["epoch"],
                "val_accuracy": round(self.best["accuracy"], 6),
                "teacher": self.teacher or past.teacher,
                "precision": self._precisions(),
                "pretrained": bool(job.model_args.get("pretrained", False)) or past.pretrained,
                "extra_annotation": self.extra_annotation or past.extra_annotation,
            }
            | self.ancestors,
        )
