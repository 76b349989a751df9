"""Recipe -> checkpoint. The loop knows no model by name."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fer.data.dataset import Dataset
from fer.errors import ConfigError, DataError
from fer.models import get_model
from fer.specs import Phase
from fer.training import state as resume_state
from fer.training import votes as extra_votes
from fer.training.earlier import Past, Teachers, read_teachers
from fer.training.events import EpochEnded, Event, Listener, PhaseStarted, RunEnded, RunStarted, StepEnded
from fer.training.job import Job, build, differences, write_description
from fer.training.losses import LOSSES, class_weights
from fer.training.mixing import mixes
from fer.training.optim import Schedule, build_optimizer, train_mode
from fer.training.processes import Processes
from fer.training.record import SNAPSHOTS, Record
from fer.training.step import Stepper
from fer.training.stream import AugmentedStream, evaluate


def train(
    job: Job,
    data: Dataset,
    run: str | Path,
    device: str = "auto",
    amp: bool | None = None,
    workers: int = 0,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    open_data: Callable[[str], Dataset] | None = None,
    votes: np.ndarray | None = None,
    compiled: bool = False,
) -> Path:
    """Train one net and write the checkpoint of its best validation epoch to `run`.

    Reads only the train and val splits. After an interrupt, `resume=True` continues from the epoch whose state was
    written last: of the first, of the last of a phase, and of any other that ended `fer.training.state.EVERY_S` seconds
    or more after the writing before. On the CPU with the same number of threads and processes the result equals that of
    an uninterrupted run. Where torchrun or accelerate launch started several processes, they share every batch, and the
    first of them writes.

    Args:
        run: Folder for checkpoint, history.jsonl and resume state; made when absent.
        amp: Mixed precision: None = bfloat16 where CUDA computes in it, True = else float16 with loss scaling (the CPU
            has none), False = float32.
        open_data: Opens the data set that a phase of the recipe names in place of `data`.
        votes: (n_train, K) normalised votes of the training rows, for a recipe with `ferplus_weight`; zero rows = none.
        compiled: Compile the net's passes (torch.compile), a minute or more at first; measure if it pays.

    Raises:
        DataError: no training or validation faces.
        ConfigError: --resume under another recipe, seed or data; a teacher that does not fit; loss not finite; votes or
            data of a phase that are asked for and not given.
    """
    processes = Processes.join(device)
    return Trainer(job, data, Path(run), processes, amp, workers, listeners, open_data, votes, compiled).fit(resume)


class Trainer:
    """One run of a net: its arguments are those of `train`.

    Attributes:
        sets: Data set of every phase.
        now, stepper, stream: Of the phase that is open: data set, net that moves, augmented batches.
    """

    def __init__(
        self,
        job: Job,
        data: Dataset,
        run: Path,
        processes: Processes,
        amp: bool | None,
        workers: int,
        listeners: Sequence[Listener],
        open_data: Callable[[str], Dataset] | None,
        votes: np.ndarray | None,
        compiled: bool = False,
    ):
        self.job, self.run, self.processes = job, run, processes
        self.listeners = listeners if processes.main else ()
        self.recipe, self.workers, self.data = job.recipe, workers, data
        self.amp, self.compiled = amp, compiled
        self.spec, self.head = job.spec, get_model(job.model).SPEC.head
        self.sets = job.open_phases(data, open_data)
        self.votes = extra_votes.checked(votes, job.recipe, data, self.sets)
        teachers = read_teachers(self.recipe.teachers, self.spec)
        self.teacher_model = ", ".join(teacher.model for teacher in teachers)
        # a phase on other classes than the teacher knows goes without; one that fits no phase is an error in the first
        self.taught = teachers[0].labels if teachers else None
        if all(s.label_set.names != self.taught for s in self.sets):
            self.taught = None
        self.record = Record(job, run, self.sets, self.spec, processes, self.votes is not None)
        self.stopped_early = False
        self.kept_at = float("-inf")  # when the state was written, by time.monotonic()

    def emit(self, event: Event) -> None:
        for listener in self.listeners:
            listener(event)

    def open(self, number: int, begin_with: dict[str, torch.Tensor] | None) -> None:
        """Net, batches and teacher for the data of a phase.

        Args:
            begin_with: Weights of the phase before; what depends on the classes is left out where they differ.
        """
        self.now = data = self.sets[number]
        self.__dict__.pop("stream", None), self.__dict__.pop("stepper", None)  # two at once may not fit a device
        for split in ("train", "val"):
            if not len(data[split]):
                got = " and ".join(str(len(data[s])) for s in ("train", "val"))
                raise DataError(f"{data.name}: training needs faces in train and val, got {got}")
        names = data.label_set.names
        module = build(self.job, len(names))
        if number == 0 and self.recipe.init:
            self.record.past = Past.load(self.recipe.init, module, self.job.model, names, self._in_head)
        if begin_with is not None:
            same = self.sets[number - 1].label_set.names == names
            kept = {k: v for k, v in begin_with.items() if same or not self._in_head(k)}
            missing, unexpected = module.load_state_dict(kept, strict=False)
            wrong = [k for k in missing if not self._in_head(k)] + unexpected
            if wrong:
                raise ConfigError(f"{self.job.model}: {', '.join(wrong[:3])} cannot move to {len(names)} classes")
        if self.processes.rank:
            torch.manual_seed(self.job.seed + 1_000_003 * self.processes.rank)
        device = self.processes.device
        self.stream = AugmentedStream(
            data["train"], self.spec, self.recipe, self.job.seed, device, self.workers, self.votes, self.processes
        )
        targets = self.stream.targets[:, : len(names)]
        teacher = Teachers(self.recipe.teachers, self.spec, names, device) if self._is_taught(data) else None
        self.stepper = Stepper(
            self.processes.prepare(module),
            self.recipe,
            len(names),
            self.stream.targets.shape[1] - len(names),
            class_weights(targets, self.recipe.class_weights),
            teacher,
            self.processes,
            self.amp,
            self.compiled,
        )
        so_far = any(self._is_taught(s) for s in self.sets[: number + 1])
        self.record.begin(data, self.stepper, self.teacher_model if so_far else "")

    def _in_head(self, key: str) -> bool:
        return any(key == h or key.startswith(h + ".") for h in self.head)

    def _is_taught(self, data: Dataset) -> bool:
        return bool(self.recipe.teachers) and (self.taught is None or self.taught == data.label_set.names)

    def fit(self, resume: bool) -> Path:
        """All phases, or what is left of them."""
        description = self.job.describe(self.data, self.sets, self.votes)
        record, state = self.record, None
        if resume:
            if differing := differences(self.run, description):
                raise ConfigError(
                    f"{self.run} was begun with other options ({', '.join(differing)}); resume it with the same"
                )
            state = resume_state.read(self.run)
        if state is None:
            self.open(0, None)
            if self.processes.main:
                if not resume:  # what an earlier run left in the folder is not this one's
                    (self.run / resume_state.STATE).unlink(missing_ok=True)
                    shutil.rmtree(self.run / SNAPSHOTS, ignore_errors=True)
                write_description(self.run, description)
        else:
            self.open(state["phase"], None)
            if self.recipe.init:
                record.past = Past.of(self.recipe.init)
            self.stepper.load_state_dict(state["stepper"])
            self.stopped_early = state["stopped_early"]
            record.load_state_dict(state)
            record.write_best()  # the files may be some epochs ahead of the state
        splits = self.now["train"], self.now["val"]
        started = RunStarted(
            self.job.model,
            self.run,
            record.parameters,
            str(self.processes.device),
            self.recipe.epochs,
            len(record.history) + 1,
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
                self.open(number, record.best_state)
            self._phase(number, phase, len(record.history) + 1, None)
        if self.processes.main:
            write_description(self.run, description | {"finished": True})
            (self.run / resume_state.STATE).unlink(missing_ok=True)
        best = record.best
        self.emit(RunEnded(self.run, best["epoch"], best["accuracy"], record.seconds, self.stopped_early))
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
        processes = self.processes
        phase_best, bad, start, last = float("-inf"), 0, first, first + phase.epochs - 1
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
            if processes.rank < len(state["random"]):
                resume_state.set_random_state(state["random"][processes.rank], processes.device)
            phase_best, bad, start = state["phase_best"], state["bad"], state["epoch"] + 1
            if self.stopped_early:
                start = last + 1
        moving = sum(p.numel() for p in self.stepper.module.parameters() if p.requires_grad)
        self.emit(PhaseStarted(phase.name, first, phase.epochs, moving))
        for epoch in range(start, last + 1):
            accuracy, loss = self._epoch(phase, first, epoch, optimizer, schedule)
            final = number == len(self.recipe.phases) - 1
            if self.recipe.snapshots and final and epoch - first + 1 in phase.cycle_ends():
                self.record.write_snapshot(epoch, accuracy, self.stepper.judged)
            score = {"accuracy": accuracy, "loss": loss}[phase.watch]
            rises = score if phase.watch == "accuracy" else -score
            bad = 0 if rises > phase_best else bad + 1
            phase_best = max(rises, phase_best)
            schedule.epoch_ended(score)
            self.stopped_early = bool(phase.early_stopping and bad >= phase.early_stopping)
            due = time.monotonic() >= self.kept_at + resume_state.EVERY_S
            if processes.agreed(due or self.stopped_early or epoch == last):
                self._keep(
                    {
                        "phase": number,
                        "first": first,
                        "epoch": epoch,
                        "phase_best": phase_best,
                        "bad": bad,
                        "optimizer": optimizer.state_dict(),
                        "schedule": schedule.state_dict(),
                        "stopped_early": self.stopped_early,
                    }
                )
            if self.stopped_early:
                break

    def _keep(self, where: dict[str, Any]) -> None:
        """Writes down all that is needed to go on from here.

        Args:
            where: What is not in the net or the record: place in the phase, optimizer, schedule.
        """
        random = self.processes.gathered(resume_state.random_state(self.processes.device))
        if self.processes.main:
            more = {"stepper": self.stepper.state_dict(), "random": random}
            resume_state.write(self.run, where | more | self.record.state_dict())
        self.kept_at = time.monotonic()

    def _epoch(
        self, phase: Phase, first: int, epoch: int, optimizer: torch.optim.Optimizer, schedule: Schedule
    ) -> tuple[float, float]:
        """Trains and validates; returns validation accuracy and loss."""
        began = time.perf_counter()
        stepper, processes, record = self.stepper, self.processes, self.record
        train_mode(stepper.module, phase.freeze)
        mixing = mixes(self.recipe, phase, epoch - first)
        steps, done = len(self.stream), (epoch - first) * len(self.stream)
        # sums stay on the device: reading them every step would wait for it
        kind = torch.float64 if processes.device.type != "mps" else torch.float32
        sums = torch.zeros(2, device=processes.device, dtype=kind)
        rate = mean_loss = accuracy = 0.0
        seen = 0
        # counted over --init as well: a run that goes on with another's weights sees views that were not drawn before
        for i, (x, y) in enumerate(self.stream.epoch(record.past.epochs + epoch, mixing)):
            rate = schedule.rate(done + i)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["lr_factor"]
            loss, hits = stepper.step(x, y, len(x) * processes.count / self.stream.batch_size, optimizer)
            sums += torch.stack([loss * len(x), hits]).to(sums.dtype)
            seen += self.stream.batch_size
            if i % 20 == 19 or i == steps - 1:
                total = processes.total(sums).tolist()
                mean_loss, accuracy = total[0] / seen, total[1] / seen
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
        val_accuracy, val_loss = processes.agreed((val_accuracy, val_loss))
        if not val_loss < float("inf"):
            raise ConfigError(f"the validation loss is {val_loss} in epoch {epoch}: lower --lr, or set clip_norm")
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
            record.improves(val_accuracy, val_loss),
        )
        record.add(event, stepper.judged)
        self.emit(event)
        return val_accuracy, val_loss
