"""Listeners for training events: a progress bar and TensorBoard. (history.jsonl is written by the loop itself.)"""

from __future__ import annotations

import sys
from pathlib import Path

from fer.training.events import EpochEnded, Event, PhaseStarted, RunEnded, RunStarted, StepEnded


class Progress:
    """Progress bar with loss, accuracy, images per second and time left; one line per epoch as well."""

    def __init__(self, stream=None):  # type: ignore[no-untyped-def]
        self.stream = stream or sys.stderr
        self.bar = None
        self.total_epochs = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.total_epochs = event.epochs
            again = f", continuing at epoch {event.first_epoch}" if event.first_epoch > 1 else ""
            self._say(
                f"{event.model}: {event.parameters:,} parameters, {event.n_train:,} training and {event.n_val:,} "
                f"validation faces, {event.epochs} epochs on {event.device}{again}\n  output: {event.run}"
            )
        elif isinstance(event, PhaseStarted):
            self._say(f"  phase {event.name}: {event.epochs} epochs, {event.trainable:,} parameters move")
        elif isinstance(event, StepEnded):
            self._step(event)
        elif isinstance(event, EpochEnded):
            self._close()
            mark = "  best" if event.best else ""
            self._say(
                f"  epoch {event.epoch:3d}/{self.total_epochs}"
                f"  loss {event.train_loss:.3f}  acc {event.train_accuracy:.3f}"
                f"  val loss {event.val_loss:.3f}  val acc {event.val_accuracy:.4f}  lr {event.lr:.2g}"
                f"  {event.images_per_second:.0f} img/s  {event.seconds:.0f} s{mark}"
            )
        elif isinstance(event, RunEnded):
            early = ", stopped early" if event.stopped_early else ""
            self._say(
                f"  best epoch {event.best_epoch}: validation accuracy {event.val_accuracy:.4f} "
                f"({event.seconds / 60:.1f} min{early})"
            )

    def _say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def _step(self, event: StepEnded) -> None:
        from tqdm import tqdm

        if self.bar is None:
            self.bar = tqdm(
                total=event.steps,
                desc=f"epoch {event.epoch}",
                unit="step",
                leave=False,
                file=self.stream,
                disable=not self.stream.isatty(),
                dynamic_ncols=True,
            )
        self.bar.update(event.step - self.bar.n)
        self.bar.set_postfix_str(f"loss {event.loss:.3f} acc {event.accuracy:.3f} {event.images_per_second:.0f} img/s")

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class TensorBoard:
    """Scalars of every epoch under `logs/<model>/<time>`; silent where tensorboard is not installed."""

    def __init__(self, folder: str | Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.writer = None
        else:
            self.writer = SummaryWriter(str(folder))

    def __call__(self, event: Event) -> None:
        if self.writer is None:
            return
        if isinstance(event, EpochEnded):
            for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr", "images_per_second"):
                self.writer.add_scalar(name, getattr(event, name), event.epoch)
            self.writer.flush()
        elif isinstance(event, RunEnded):
            self.writer.close()
