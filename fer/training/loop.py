"""Recipe -> checkpoint. The loop knows no model by name."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fer import checkpoint
from fer.data.dataset import Dataset
from fer.device import pick_device
from fer.errors import CheckpointError, ConfigError, DataError
from fer.models import get_model
from fer.specs import Phase
from fer.torchvision_repair import import_repaired
from fer.training.earlier import HISTORY, Past, Teacher
from fer.training.events import EpochEnded, Event, Listener, PhaseStarted, RunEnded, RunStarted, StepEnded
from fer.training.job import RUN, Job, build, differences, is_finished
from fer.training.losses import LOSSES, class_weights, distillation
from fer.training.optim import Schedule, build_optimizer, train_mode
from fer.training.stream import AugmentedStream, evaluate

log = logging.getLogger(__name__)
STATE = "state.pt"


def train(
    job: Job,
    data: Dataset,
    run: str | Path,
    device: str = "auto",
    amp: bool = False,
    workers: int = 0,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
) -> Path:
    """Train one model and write the checkpoint of its best validation epoch to `run`.

    Reads only the train and val splits. After an interrupt, `resume=True` continues from the last full epoch; on the
    CPU with the same number of threads the result equals that of an uninterrupted run.

    Args:
        run: Folder for checkpoint, history.jsonl and resume state; made when absent.
        amp: Mixed precision (bfloat16 where CUDA has it, else float16 with loss scaling); ignored on the CPU.

    Raises:
        DataError: no training or validation faces.
        ConfigError: --resume under another recipe, seed or data; a teacher that does not fit; loss not finite.
    """
    return _Trainer(job, data, Path(run), pick_device(device), amp, workers, listeners).fit(resume)


class _Trainer:
    def __init__(
        self,
        job: Job,
        data: Dataset,
        run: Path,
        device: torch.device,
        amp: bool,
        workers: int,
        listeners: Sequence[Listener],
    ):
        self.job, self.run, self.device, self.listeners = job, run, device, listeners
        self.recipe = job.recipe
        entry = get_model(job.model)
        self.spec = job.input or entry.SPEC.input
        self.train_split, self.val_split, self.data = data["train"], data["val"], data
        if not len(self.train_split) or not len(self.val_split):
            got = f"{len(self.train_split)} and {len(self.val_split)}"
            raise DataError(f"{data.name}: training needs faces in train and val, got {got}")
        module = build(job, len(data.label_set))
        self.past = Past.none()
        if self.recipe.init:
            self.past = Past.load(self.recipe.init, module, job.model, data.label_set.names)
        self.parameters = sum(p.numel() for p in module.parameters())
        self.module = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stream = AugmentedStream(
            self.train_split, self.spec, self.recipe.augment, self.recipe.batch_size, job.seed, device, workers
        )
        self.weights = class_weights(self.stream.targets, self.recipe.class_weights)
        self.teacher = (
            Teacher(self.recipe.teacher, self.spec, data.label_set.names, device) if self.recipe.teacher else None
        )
        self.ema = None
        if self.recipe.ema_decay:
            utils = import_repaired("timm.utils")
            self.ema = utils.ModelEmaV3(self.module, decay=self.recipe.ema_decay, use_warmup=True)
        self.autocast, self.scaler, self.precision = nullcontext, None, "float32"
        self.commit = checkpoint.git_commit()
        if amp and device.type != "cpu":
            half = torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16
            self.autocast = lambda: torch.autocast(device.type, dtype=half)  # type: ignore[assignment]
            if half == torch.float16:
                self.scaler = torch.amp.GradScaler(device.type)
            self.precision = str(half).removeprefix("torch.")
        elif amp:
            log.warning("mixed precision is for CUDA and MPS; training in float32 on the CPU")
        self.best_state: dict[str, torch.Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"epoch": 0, "accuracy": -1.0, "loss": float("inf")}
        self.steps = 0
        self.seconds = 0.0
        self.stopped_early = False

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def fit(self, resume: bool) -> Path:
        description = self.job.describe(self.data)
        state = None
        if resume:
            if differing := differences(self.run, description):
                raise ConfigError(
                    f"{self.run} was begun with other options ({', '.join(differing)}); resume it with the same"
                )
            state = self._read_state()
        self.run.mkdir(parents=True, exist_ok=True)
        if state is None:
            checkpoint.write_atomic(self.run / RUN, (json.dumps(description, indent=2) + "\n").encode())
        else:
            self.module.load_state_dict(state["module"])
            if self.ema is not None:
                self.ema.module.load_state_dict(state["ema"])
            self.history, self.best = json.loads(state["history"]), json.loads(state["best"])
            self.steps, self.seconds, self.stopped_early = state["steps"], state["seconds"], state["stopped_early"]
            # the files may be one epoch ahead of the state
            self.best_state, self.commit = state["best_state"], state["commit"]
            checkpoint.save(self.run, self.best_state, self._manifest())
        done = len(self.history)
        self.emit(
            RunStarted(
                self.job.model,
                self.run,
                self.parameters,
                str(self.device),
                self.recipe.epochs,
                done + 1,
                len(self.train_split),
                len(self.val_split),
            )
        )
        first = 1
        for number, phase in enumerate(self.recipe.phases):
            last = first + phase.epochs - 1
            if state is not None and state["phase"] > number:
                first = last + 1
                continue
            optimizer, schedule = build_optimizer(self.module, phase), Schedule(phase, len(self.stream))
            moving = sum(p.numel() for p in self.module.parameters() if p.requires_grad)
            phase_best, start = -1.0, first
            bad = 0
            if state is not None and state["phase"] == number:
                optimizer.load_state_dict(state["optimizer"])
                schedule.load_state_dict(state["schedule"])
                if self.scaler is not None and state["scaler"]:
                    self.scaler.load_state_dict(state["scaler"])
                torch.set_rng_state(state["rng"])
                phase_best, bad, start = state["phase_best"], state["bad"], state["epoch"] + 1
                if self.stopped_early:
                    start = last + 1
            self.emit(PhaseStarted(phase.name, first, phase.epochs, moving))
            for epoch in range(start, last + 1):
                score = self._epoch(phase, epoch, (epoch - first) * len(self.stream), optimizer, schedule)
                bad = 0 if score > phase_best else bad + 1
                phase_best = max(score, phase_best)
                schedule.epoch_ended(score)
                self.stopped_early = bool(phase.early_stopping and bad >= phase.early_stopping)
                self._write_state(number, epoch, optimizer, schedule, phase_best, bad)
                if self.stopped_early:
                    break
            first = last + 1
        checkpoint.write_atomic(
            self.run / RUN, (json.dumps(description | {"finished": True}, indent=2) + "\n").encode()
        )
        (self.run / STATE).unlink(missing_ok=True)
        self.emit(RunEnded(self.run, self.best["epoch"], self.best["accuracy"], self.seconds, self.stopped_early))
        return self.run

    def _epoch(
        self, phase: Phase, epoch: int, step0: int, optimizer: torch.optim.Optimizer, schedule: Schedule
    ) -> float:
        began = time.perf_counter()
        train_mode(self.module, phase.freeze)
        steps, seen = len(self.stream), 0
        # sums stay on the device: reading them every step would wait for it
        sums = torch.zeros(2, device=self.device, dtype=torch.float64 if self.device.type != "mps" else torch.float32)
        rate = 0.0
        for i, (x, y) in enumerate(self.stream.epoch(epoch)):
            rate = schedule.rate(step0 + i)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss, hits = self._step(x, y, optimizer)
            sums += torch.stack([loss.detach() * len(x), hits.detach()]).to(sums.dtype)
            seen += len(x)
            if i % 20 == 19 or i == steps - 1:
                mean_loss, accuracy = (sums / seen).tolist()
                if not mean_loss < float("inf"):
                    raise ConfigError(f"the loss is {mean_loss} in epoch {epoch}: lower --lr, or set clip_norm")
                self.emit(
                    StepEnded(epoch, i + 1, steps, mean_loss, accuracy, seen, seen / (time.perf_counter() - began))
                )
        train_loss, train_accuracy = (sums / seen).tolist()
        train_seconds = time.perf_counter() - began
        judged = self.ema.module if self.ema is not None else self.module
        logits = evaluate(judged, self.val_split, self.spec, self.device)
        targets = torch.from_numpy(self.val_split.targets)
        val_loss = LOSSES[self.recipe.loss](logits, targets, None, 0.0).item()
        val_accuracy = (logits.argmax(1) == targets.argmax(1)).double().mean().item()
        self.seconds += time.perf_counter() - began
        better = (val_accuracy, -val_loss) > (self.best["accuracy"], -self.best["loss"])
        if better:
            self.best_state = {k: v.detach().cpu().clone() for k, v in judged.state_dict().items()}
            self.best = {"epoch": epoch, "accuracy": val_accuracy, "loss": val_loss}
        event = EpochEnded(
            phase.name,
            epoch,
            train_loss,
            train_accuracy,
            val_loss,
            val_accuracy,
            rate,
            seen / train_seconds,
            time.perf_counter() - began,
            better,
        )
        row = asdict(event)
        row.pop("best")
        self.history.append(row)
        self._write_checkpoint(better)
        self.emit(event)
        return val_accuracy

    def _step(
        self, x: torch.Tensor, y: torch.Tensor, optimizer: torch.optim.Optimizer
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r = self.recipe
        with self.autocast():
            logits = self.module(x)
            loss = LOSSES[r.loss](logits, y, self.weights, r.label_smoothing)
            if self.teacher is not None:
                soft = distillation(logits, self.teacher(x), r.distill_temperature)
                loss = (1 - r.distill_weight) * loss + r.distill_weight * soft
        optimizer.zero_grad(set_to_none=True)
        if self.scaler is not None:
            self.scaler.scale(loss).backward()
            self.scaler.unscale_(optimizer)
        else:
            loss.backward()
        if r.clip_norm:
            nn.utils.clip_grad_norm_((p for p in self.module.parameters() if p.requires_grad), r.clip_norm)
        if self.scaler is not None:
            self.scaler.step(optimizer)
            self.scaler.update()
        else:
            optimizer.step()
        self.steps += 1
        if self.ema is not None:
            self.ema.update(self.module, step=self.steps)
        return loss, (logits.detach().argmax(1) == y.argmax(1)).sum()

    def _write_checkpoint(self, better: bool) -> None:
        """history.jsonl and manifest after every epoch; the weights when they are the best so far."""
        rows = self.past.history + [row | {"epoch": row["epoch"] + self.past.epochs} for row in self.history]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        checkpoint.write_atomic(self.run / HISTORY, lines.encode())
        manifest = self._manifest()
        if better:
            checkpoint.save(self.run, self.best_state, manifest)
        else:
            weights = checkpoint.read_manifest(self.run).weights
            checkpoint.write_manifest(self.run, replace(manifest, weights=weights))

    def _manifest(self) -> checkpoint.Manifest:
        rates = [row["images_per_second"] for row in self.history]
        return checkpoint.Manifest(
            model=self.job.model,
            model_args=self.job.model_args,
            labels=self.data.label_set.names,
            label_set=self.data.label_set.name,
            input=self.spec,
            recipe=self.recipe,
            data={
                "name": self.data.name,
                "fingerprint": self.data.fingerprint,
                "n_train": len(self.train_split),
                "n_val": len(self.val_split),
            },
            seed=self.job.seed,
            git_commit=self.commit,
            versions=checkpoint.versions(),
            created=checkpoint.now(),
            weights={"parameters": self.parameters},
            training={
                "epochs": self.past.epochs + len(self.history),
                "seconds": round(self.past.seconds + self.seconds, 1),
                "device": self._device_title(),
                "images_per_second": round(sum(rates) / len(rates), 1),
                "best_epoch": self.past.epochs + self.best["epoch"],
                "val_accuracy": round(self.best["accuracy"], 6),
                "teacher": self.teacher.name if self.teacher else self.past.teacher,
                "precision": self.precision,
                "pretrained": bool(self.job.model_args.get("pretrained", False)),
                "extra_annotation": False,
            },
        )

    def _device_title(self) -> str:
        if self.device.type == "cuda":
            return torch.cuda.get_device_name()
        if self.device.type == "cpu":
            n = torch.get_num_threads()
            return f"cpu, {n} thread{'s' if n > 1 else ''}"
        return self.device.type

    def _write_state(
        self, phase: int, epoch: int, optimizer: torch.optim.Optimizer, schedule: Schedule, phase_best: float, bad: int
    ) -> None:
        import io

        buffer = io.BytesIO()
        torch.save(
            {
                "phase": phase,
                "epoch": epoch,
                "phase_best": phase_best,
                "bad": bad,
                "module": self.module.state_dict(),
                "ema": self.ema.module.state_dict() if self.ema is not None else None,
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "scaler": self.scaler.state_dict() if self.scaler is not None else None,
                "rng": torch.get_rng_state(),
                "steps": self.steps,
                "seconds": self.seconds,
                "stopped_early": self.stopped_early,
                "history": json.dumps(self.history),
                "best": json.dumps(self.best),
                "best_state": self.best_state,
                "commit": self.commit,
            },
            buffer,
        )
        checkpoint.write_atomic(self.run / STATE, buffer.getvalue())

    def _read_state(self) -> dict[str, Any] | None:
        """The last full epoch, or None when the run was cut before its first one ended."""
        import pickle
        import zipfile

        file = self.run / STATE
        if is_finished(self.run):
            raise CheckpointError(f"{self.run} is finished: there is nothing to resume")
        if not file.is_file():
            return None
        if not zipfile.is_zipfile(file):
            raise CheckpointError(f"{file}: damaged resume state (not a file that torch wrote); start the run anew")
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError) as e:
            raise CheckpointError(f"{file}: damaged resume state ({e}); start the run anew") from e
