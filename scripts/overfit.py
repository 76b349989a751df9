#!/usr/bin/env python3
"""Can it learn at all? Every model learns a small slice of the training faces by heart, without augmentation.

A net that cannot is broken: a gradient that does not arrive, labels that do not belong to their faces, a layer that
destroys what it gets. Writes OUT/<model>.jsonl (loss and accuracy of every epoch) and OUT/curves.png. Says nothing about
faces it has not seen; nothing is chosen by it, and the validation and test splits stay closed.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import argparse
import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress

from fer.command_line import run_script
from fer.data_names import is_synthetic
from fer.errors import ConfigError, DataError
from fer.paths import results_dir

LEAST_LOSS = 1e-3  # that the axis of the curves shows


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", default="all", help="a name, several with commas, or all (default)")
    p.add_argument("--data", default="fer2013", help="as for train.py (default fer2013)")
    p.add_argument("--faces", type=int, default=140, metavar="N", help="size of the slice, equal classes (default 140)")
    p.add_argument("--epochs", type=int, default=40, help="at most (default 40); a model that knows all stops earlier")
    p.add_argument("--lr", type=float, default=1e-3, help="of AdamW (default 0.001)")
    p.add_argument("--target", type=float, default=0.98, help="accuracy that counts as learnt (default 0.98)")
    p.add_argument("--seed", type=int, default=42)
    p.add_argument("--device", default="auto", help="auto (default), cuda, mps or cpu")
    p.add_argument("--threads", type=int, help="CPU threads for torch (default: all cores)")
    p.add_argument("--draw-only", action="store_true", help="draw the curves that are stored again; train nothing")
    p.add_argument("--out", type=Path, help="default: results/overfit, runs/overfit for drawn faces")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 all learnt, 1 a model did not, 2 bad arguments or data."""
    args = parser().parse_args(argv)
    return run_script(lambda: run(args), interrupted="interrupted")


def run(args: argparse.Namespace) -> int:
    """One model after the other; prints a line each."""
    import torch

    from fer.data import open_dataset
    from fer.models import get_model, list_models
    from fer.paths import ROOT

    names = list_models() if args.model == "all" else [n.strip() for n in args.model.split(",") if n.strip()]
    for name in names:
        get_model(name)
    for option, value in (("--faces", args.faces), ("--epochs", args.epochs), ("--threads", args.threads or 1)):
        if value < 1:
            raise ConfigError(f"{option} must be at least 1, got {value}")
    if args.draw_only:
        print(f"Written: {draw(args.out or results_dir() / 'overfit')}")
        return 0
    if args.threads:
        torch.set_num_threads(args.threads)
    data = slice_of(open_dataset(args.data, splits="train"), args.faces, args.seed)
    out = args.out or (ROOT / "runs" / "overfit" if is_synthetic(data.name) else results_dir() / "overfit")
    failed = []
    for name in names:
        rows = learn(name, data, args)
        out.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (out / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        best = max(row["accuracy"] for row in rows)
        learnt = best >= args.target
        failed += [] if learnt else [name]
        epochs = f"{len(rows)} epoch{'s' if len(rows) != 1 else ''}"
        verdict = "learnt" if learnt else f"NOT learnt (target {args.target:.0%})"
        print(f"{name:18s} {verdict}: {best:.1%} of {len(data['train'])} faces after {epochs}", flush=True)
    print(f"Written: {draw(out)}")
    return 1 if failed else 0


def slice_of(data, n: int, seed: int):  # type: ignore[no-untyped-def]
    """A data set whose training and validation split are the same few faces, as many of each class as there are."""
    import numpy as np

    from fer.data.dataset import Dataset

    train = data["train"]
    rng, picked = np.random.default_rng(seed), []
    classes = sorted(set(train.labels.tolist()))
    for i, c in enumerate(classes):
        members = np.flatnonzero(train.labels == c)
        share = n * (i + 1) // len(classes) - n * i // len(classes)
        picked.append(rng.permutation(members)[:share])
    part = train.take(np.sort(np.concatenate(picked)))
    if len(part) < len(classes):
        raise DataError(f"{data.name}: {n} faces are too few for {len(classes)} classes")
    return Dataset(data.name, data.label_set, {"train": part, "val": part})


def learn(name: str, data, args: argparse.Namespace) -> list[dict[str, float]]:  # type: ignore[no-untyped-def]
    """Loss and accuracy on the slice after every epoch, as the net judges it at rest."""
    from fer.errors import FerError
    from fer.models import get_model
    from fer.specs import Augment, Phase, Recipe
    from fer.training import Job, train
    from fer.training.events import EpochEnded, Event

    still = Augment(
        flip=0, rotate_deg=0, scale_min=1, scale_max=1, shift=0, brightness=0, contrast=0, erase=0, erase_area_max=0
    )
    phase = Phase(epochs=args.epochs, lr=args.lr, weight_decay=0.0, schedule="cosine")
    recipe = Recipe(phases=(phase,), batch_size=min(20, args.faces), label_smoothing=0.0, clip_norm=1.0, augment=still)
    rows: list[dict[str, float]] = []

    class Learnt(FerError):
        """Enough."""

    def watch(event: Event) -> None:
        if isinstance(event, EpochEnded):
            rows.append({"epoch": event.epoch, "loss": event.val_loss, "accuracy": event.val_accuracy})
            if event.val_accuracy >= args.target:
                raise Learnt

    with tempfile.TemporaryDirectory() as run_folder:
        entry = get_model(name)
        if entry.SPEC.backend == "classical":
            return fitted(name, data, run_folder)
        with suppress(Learnt):
            train(Job(name, recipe, args.seed), data, run_folder, args.device, listeners=[watch])
    return rows


def fitted(name: str, data, run_folder: str) -> list[dict[str, float]]:  # type: ignore[no-untyped-def]
    """The one row of a model that is fitted, not trained: what it says of the faces that it saw."""
    import numpy as np

    from fer.inference import load
    from fer.models import get_model
    from fer.training import Job, train

    train(Job(name, get_model(name).RECIPE), data, run_folder)
    faces, labels = data["train"].faces, data["train"].labels
    probs = load(run_folder).predict_proba(faces).astype(float)
    loss = -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12)).mean()
    return [{"epoch": 1, "loss": float(loss) + 0.0, "accuracy": float((probs.argmax(1) == labels).mean())}]


def draw(out: Path) -> Path:
    """OUT/curves.png from every OUT/<model>.jsonl."""
    from matplotlib.figure import Figure

    from fer.models import list_models
    from fer.viz import model_color

    stored = {name: out / f"{name}.jsonl" for name in list_models()}
    curves = {
        name: [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for name, file in stored.items()
        if file.is_file()
    }
    if not curves:
        raise DataError(f"{out}: no curves here; leave --draw-only out to make some")
    # a logarithmic axis has no zero: what is below the others' least loss by far is drawn at the foot, as an arrow
    losses = [row["loss"] for rows in curves.values() for row in rows if row["loss"] > LEAST_LOSS]
    foot = min(losses, default=1.0) / 2
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, rows in curves.items():
        x, y = [row["epoch"] for row in rows], [row["loss"] for row in rows]
        label, marker = name, None
        if len(rows) == 1:
            below = y[0] <= LEAST_LOSS
            marker, y = "v" if below else "o", [foot if below else y[0]]
            label = f"{name}: one fit, loss {abs(rows[0]['loss']):.2g}"
        axes.plot(x, y, label=label, color=model_color(name), marker=marker, zorder=3 if marker else 2, markersize=9)
    axes.set(
        xlabel="epoch", ylabel="cross-entropy on the slice", title="Every model learns a slice of the training faces"
    )
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    target = out / "curves.png"
    figure.savefig(target, dpi=110)
    return target


if __name__ == "__main__":
    sys.exit(main())
