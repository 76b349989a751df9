"""Recipe -> checkpoint. The loop knows no model by name."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer import checkpoint
from fer.data.dataset import Dataset
from fer.errors import ConfigError, DataError
from fer.models import get_model
from fer.specs import Phase
from fer.training import state as resume_state
from fer.training.earlier import HISTORY, Past, Teacher
from fer.training.events import EpochEnded, Event, Listener, PhaseStarted, RunEnded, RunStarted, StepEnded
from fer.training.job import RUN, Job, build, differences
from fer.training.losses import LOSSES, class_weights
from fer.training.optim import Schedule, build_optimizer, train_mode
from fer.training.processes import Processes
from fer.training.step import Stepper
from fer.training.stream import AugmentedStream, evaluate


def train(
    job: Job,
    data: Dataset,
    run: str | Path,
    device: str = "auto",
    amp: bool = False,
    workers: int = 0,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    open_data: Callable[[str], Dataset] | None = None,
    votes: np.ndarray | None = None,
) -> Path:
    """Train one net and write the checkpoint of its best validation epoch to `run`.

    Reads only the train and val splits. After an interrupt, `resume=True` continues from the last full epoch; on the
    CPU with the same number of threads the result equals that of an uninterrupted run. Where torchrun or accelerate
    launch started several processes, they share every batch, and the first of them writes.

    Args:
        run: Folder for checkpoint, history.jsonl and resume state; made when absent.
        amp: Mixed precision (bfloat16 where CUDA has it, else float16 with loss scaling); ignored on the CPU.
        open_data: Opens the data set that a phase of the recipe names in place of `data`.
        votes: (n_train, K) normalised votes of the training rows, for a recipe with `ferplus_weight`; zero rows = none.

    Raises:
        DataError: no training or validation faces.
        ConfigError: --resume under another recipe, seed or data; a teacher that does not fit; loss not finite; votes or
            data of a phase that are asked for and not given.
    """
    return _Trainer(job, data, Path(run), Processes.join(device), amp, workers, listeners, open_data, votes).fit(resume)


def epoch_seconds(
    job: Job,
    data: Dataset,
    device: str = "auto",
    amp: bool = False,
    open_data: Callable[[str], Dataset] | None = None,
    votes: np.ndarray | None = None,
    patience_s: float = 4.0,
) -> list[float]:
    """Seconds that an epoch of each phase will take here, extrapolated from a few steps. Writes nothing.

    Args:
        patience_s: Time to measure, per phase; two steps are measured in any case.
    """
    trainer = _Trainer(job, data, Path(), Processes.join(device), amp, 0, (), open_data, votes)
    out = []
    for number, phase in enumerate(job.recipe.phases):
        if not number or trainer.sets[number] is not trainer.now:
            trainer._open(number, None)
        out.append(trainer.measure(phase, patience_s))
    return out


class _Trainer:
    def __init__(
        self,
        job: Job,
        data: Dataset,
        run: Path,
        processes: Processes,
        amp: bool,
        workers: int,
        listeners: Sequence[Listener],
        open_data: Callable[[str], Dataset] | None,
        votes: np.ndarray | None,
    ):
        self.job, self.run, self.processes = job, run, processes
        self.listeners = listeners if processes.main else ()
        self.recipe, self.amp, self.workers, self.data = job.recipe, amp, workers, data
        entry = get_model(job.model)
        self.spec, self.head = job.input or entry.SPEC.input, entry.SPEC.head
        self.sets = job.open_phases(data, open_data)
        self.votes = self._checked(votes)
        # a phase on other classes than the teacher knows goes without; one that fits no phase is an error in the first
        self.taught = checkpoint.read_manifest(self.recipe.teacher).labels if self.recipe.teacher else None
        if all(s.label_set.names != self.taught for s in self.sets):
            self.taught = None
        self.past = Past.none()
        self.parameters = 0
        self.best_state: dict[str, torch.Tensor] = {}
        self.best: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0
        self.stopped_early = False
        self.commit = checkpoint.git_commit()

    def _checked(self, votes: np.ndarray | None) -> np.ndarray | None:
        n = len(self.data["train"])
        if not self.recipe.ferplus_weight:
            return None
        if votes is None:
            raise ConfigError("ferplus_weight needs the FER+ votes of the training rows: fer2013new.csv, see --votes")
        if any(s is not self.data for s in self.sets):
            raise ConfigError("ferplus_weight needs phases that all train on FER2013")
        if votes.ndim != 2 or len(votes) != n:
            raise ConfigError(f"expected votes of {n} training rows, got shape {votes.shape}")
        return votes

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def _open(self, number: int, begin_with: dict[str, torch.Tensor] | None) -> None:
        """Net, batches and teacher for the data of a phase.

        Args:
            begin_with: Weights of the phase before; what depends on the classes is left out where they differ.
        """
        self.now = data = self.sets[number]
        for split in ("train", "val"):
            if not len(data[split]):
                got = " and ".join(str(len(data[s])) for s in ("train", "val"))
                raise DataError(f"{data.name}: training needs faces in train and val, got {got}")
        names = data.label_set.names
        module = build(self.job, len(names))
        if number == 0 and self.recipe.init:
            self.past = Past.load(self.recipe.init, module, self.job.model, names, self._in_head)
        if begin_with is not None:
            same = self.sets[number - 1].label_set.names == names
            kept = {k: v for k, v in begin_with.items() if same or not self._in_head(k)}
            missing, unexpected = module.load_state_dict(kept, strict=False)
            wrong = [k for k in missing if not self._in_head(k)] + unexpected
            if wrong:
                raise ConfigError(f"{self.job.model}: {', '.join(wrong[:3])} cannot move to {len(names)} classes")
        if self.processes.rank:
            torch.manual_seed(self.job.seed + 1_000_003 * self.processes.rank)
        self.parameters = sum(p.numel() for p in module.parameters())
        device = self.processes.device
        self.stream = AugmentedStream(
            data["train"], self.spec, self.recipe, self.job.seed, device, self.workers, self.votes, self.processes
        )
        targets = self.stream.targets[:, : len(names)]
        teaches = self.recipe.teacher and (self.taught is None or self.taught == names)
        self.teacher = Teacher(self.recipe.teacher, self.spec, names, device) if teaches else None
        self.stepper = Stepper(
            self.processes.prepare(module),
            self.recipe,
            len(names),
            self.stream.targets.shape[1] - len(names),
            class_weights(targets, self.recipe.class_weights),
            self.teacher,
            self.processes,
            self.amp,
        )
        self.best = {"epoch": 0, "accuracy": -1.0, "loss": float("inf")}
        self.best_state = {}

    def _in_head(self, key: str) -> bool:
        return any(key == h or key.startswith(h + ".") for h in self.head)

    def fit(self, resume: bool) -> Path:
        description = self.job.describe(self.data, self.sets)
        state = None
        if resume:
            if differing := differences(self.run, description):
                raise ConfigError(
                    f"{self.run} was begun with other options ({', '.join(differing)}); resume it with the same"
                )
            state = resume_state.read(self.run)
        if state is None:
            self._open(0, None)
            self._write(RUN, description)
        else:
            self._open(state["phase"], None)
            if self.recipe.init:
                self.past = Past.of(self.recipe.init)
            self.stepper.load_state_dict(state["stepper"])
            self.history, self.best = json.loads(state["history"]), json.loads(state["best"])
            self.seconds, self.stopped_early = state["seconds"], state["stopped_early"]
            # the files may be one epoch ahead of the state
            self.best_state, self.commit = state["best_state"], state["commit"]
            if self.processes.main:
                checkpoint.save(self.run, self.best_state, self._manifest())
        splits = self.now["train"], self.now["val"]
        started = RunStarted(
            self.job.model,
            self.run,
            self.parameters,
            str(self.processes.device),
            self.recipe.epochs,
            len(self.history) + 1,
            len(splits[0]),
            len(splits[1]),
        )
        self.emit(started)
        begun = state["phase"] if state is not None else 0
        for number, phase in enumerate(self.recipe.phases[begun:], begun):
            if state is not None and number == begun:
                self._phase(number, phase, state["first"], state)
                continue
            if number and self.sets[number] is not self.now:
                self._open(number, self.best_state)
            self._phase(number, phase, len(self.history) + 1, None)
        self._write(RUN, description | {"finished": True})
        if self.processes.main:
            (self.run / resume_state.STATE).unlink(missing_ok=True)
        self.emit(RunEnded(self.run, self.best["epoch"], self.best["accuracy"], self.seconds, self.stopped_early))
        return self.run

    def _phase(self, number: int, phase: Phase, first: int, state: dict[str, Any] | None) -> None:
        """One phase, or what is left of it.

        Args:
            first: Its first epoch, counted over all phases.
            state: Of an interrupted run, when it was in this phase.
        """
        optimizer = build_optimizer(self.stepper.module, phase, self.stepper.extra)
        schedule = Schedule(phase, len(self.stream))
        self.stepper.begin_phase()
        phase_best, bad, start, last = float("-inf"), 0, first, first + phase.epochs - 1
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            if self.processes.main:
                torch.set_rng_state(state["rng"])
            phase_best, bad, start = state["phase_best"], state["bad"], state["epoch"] + 1
            if self.stopped_early:
                start = last + 1
        moving = sum(p.numel() for p in self.stepper.module.parameters() if p.requires_grad)
        self.emit(PhaseStarted(phase.name, first, phase.epochs, moving))
        for epoch in range(start, last + 1):
            accuracy, loss = self._epoch(phase, first, epoch, optimizer, schedule)
            score = {"accuracy": accuracy, "loss": loss}[phase.watch]
            rises = score if phase.watch == "accuracy" else -score
            bad = 0 if rises > phase_best else bad + 1
            phase_best = max(rises, phase_best)
            schedule.epoch_ended(score)
            self.stopped_early = bool(phase.early_stopping and bad >= phase.early_stopping)
            if self.processes.main:
                resume_state.write(
                    self.run,
                    {
                        "phase": number,
                        "first": first,
                        "epoch": epoch,
                        "phase_best": phase_best,
                        "bad": bad,
                        "stepper": self.stepper.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "rng": torch.get_rng_state(),
                        "seconds": self.seconds,
                        "stopped_early": self.stopped_early,
                        "history": json.dumps(self.history),
                        "best": json.dumps(self.best),
                        "best_state": self.best_state,
                        "commit": self.commit,
                    },
                )
            if self.stopped_early:
                break

    def _epoch(
        self, phase: Phase, first: int, epoch: int, optimizer: torch.optim.Optimizer, schedule: Schedule
    ) -> tuple[float, float]:
        """Trains and validates; returns validation accuracy and loss."""
        began = time.perf_counter()
        stepper, processes = self.stepper, self.processes
        train_mode(stepper.module, phase.freeze)
        mixing = epoch - first < phase.epochs * (1 - self.recipe.mix_off)
        steps, done = len(self.stream), (epoch - first) * len(self.stream)
        # sums stay on the device: reading them every step would wait for it
        kind = torch.float64 if processes.device.type != "mps" else torch.float32
        sums = torch.zeros(3, device=processes.device, dtype=kind)
        rate = mean_loss = accuracy = 0.0
        seen = 0
        # counted over --init as well: a run that goes on with another's weights sees views that were not drawn before
        for i, (x, y) in enumerate(self.stream.epoch(self.past.epochs + epoch, mixing)):
            rate = schedule.rate(done + i)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["lr_factor"]
            loss, hits = stepper.step(x, y, len(x) * processes.count / self.stream.batch_size, optimizer)
            sums += torch.stack([loss * len(x), hits, torch.tensor(len(x), device=loss.device)]).to(sums.dtype)
            seen += self.stream.batch_size
            if i % 20 == 19 or i == steps - 1:
                total = processes.total(sums).tolist()
                mean_loss, accuracy = total[0] / total[2], total[1] / total[2]
                if not mean_loss < float("inf"):
                    raise ConfigError(f"the loss is {mean_loss} in epoch {epoch}: lower --lr, or set clip_norm")
                rate_now = seen / (time.perf_counter() - began)
                self.emit(StepEnded(epoch, i + 1, steps, mean_loss, accuracy, seen, rate_now))
        train_seconds = time.perf_counter() - began
        val = self.now["val"]
        logits = evaluate(stepper.judged, val, self.spec, processes.device)
        targets = torch.from_numpy(val.targets)
        val_loss = LOSSES[self.recipe.loss](self.recipe)(logits, targets, None, 0.0).item()
        val_accuracy = (logits.argmax(1) == targets.argmax(1)).double().mean().item()
        val_accuracy, val_loss = processes.agreed((val_accuracy, val_loss))  # type: ignore[misc]
        if not val_loss < float("inf"):
            raise ConfigError(f"the validation loss is {val_loss} in epoch {epoch}: lower --lr, or set clip_norm")
        self.seconds += time.perf_counter() - began
        better = (val_accuracy, -val_loss) > (self.best["accuracy"], -self.best["loss"])
        if better:
            self.best_state = {k: v.detach().cpu().clone() for k, v in stepper.judged.state_dict().items()}
            self.best = {"epoch": epoch, "accuracy": val_accuracy, "loss": val_loss}
        event = EpochEnded(
            phase.name,
            epoch,
            mean_loss,
            accuracy,
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
        if processes.main:
            self._write_checkpoint(better)
        self.emit(event)
        return val_accuracy, val_loss

    def measure(self, phase: Phase, patience_s: float) -> float:
        """Seconds of one epoch with its validation, from a few steps that move the weights by nothing."""
        optimizer = build_optimizer(self.stepper.module, phase, self.stepper.extra)
        self.stepper.begin_phase()
        train_mode(self.stepper.module, phase.freeze)
        for group in optimizer.param_groups:
            group["lr"] = 0.0
        times: list[float] = []
        began = time.perf_counter()
        enough = False
        while not enough:
            for x, y in self.stream.epoch(1):
                loss, _ = self.stepper.step(x, y, 1.0, optimizer)
                loss.item()  # waits for the device
                times.append(time.perf_counter())
                tired = len(times) >= 3 and (times[-1] - began > patience_s or len(times) >= 50)
                enough = bool(self.processes.agreed(tired))  # all stop after the same step
                if enough:
                    break
        step_s = (times[-1] - times[0]) / (len(times) - 1)  # the first one warms up
        val = self.now["val"]
        few = val.take(np.arange(min(len(val), 256)))
        began = time.perf_counter()
        evaluate(self.stepper.judged, few, self.spec, self.processes.device)
        seconds = step_s * len(self.stream) + (time.perf_counter() - began) * len(val) / len(few)
        return float(self.processes.agreed(seconds))  # type: ignore[arg-type]

    def _write(self, name: str, content: dict[str, Any]) -> None:
        if self.processes.main:
            self.run.mkdir(parents=True, exist_ok=True)
            checkpoint.write_atomic(self.run / name, (json.dumps(content, indent=2) + "\n").encode())

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
        others = [
            {"phase": p.name, "name": s.name, "fingerprint": s.fingerprint, "n_train": len(s["train"])}
            for p, s in zip(self.recipe.phases, self.sets, strict=True)
            if s is not self.now
        ]
        return checkpoint.Manifest(
            model=self.job.model,
            model_args=self.job.model_args,
            labels=self.now.label_set.names,
            label_set=self.now.label_set.name,
            input=self.spec,
            recipe=self.recipe,
            data={
                "name": self.now.name,
                "fingerprint": self.now.fingerprint,
                "n_train": len(self.now["train"]),
                "n_val": len(self.now["val"]),
            }
            | ({"other_phases": others} if others else {}),
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
                "precision": self.stepper.precision,
                "pretrained": bool(self.job.model_args.get("pretrained", False)),
                "extra_annotation": self.votes is not None or self.past.extra_annotation,
            },
        )

    def _device_title(self) -> str:
        device, count = self.processes.device, self.processes.count
        if device.type == "cuda":
            title = torch.cuda.get_device_name()
        elif device.type == "cpu":
            n = torch.get_num_threads()
            title = f"cpu, {n} thread{'s' if n > 1 else ''}"
        else:
            title = device.type
        return title if count == 1 else f"{count} x {title}"
