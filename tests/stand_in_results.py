"""Made-up results, written with the project's own writer, for tests of whatever reads results/."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from fer.evaluation.report import summarise
from fer.evaluation.results import METRICS, folder_of, predictions_frame, write_json, write_predictions
from fer.labels import FER7

MODELS = {
    "baseline_cnn": ("Baseline CNN", 0.60, 389_383, ""),
    "attention_cnn": ("Attention CNN", 0.67, 1_177_000, ""),
    "vit_tiny": ("ViT-Tiny", 0.62, 5_400_000, "attention_cnn"),
}
TITLES = {"val": "PublicTest", "test": "PrivateTest"}


def write_stand_in(root: Path, data: str = "fer2013", n: int = 700, models: dict | None = None) -> Path:
    """Write results/<data>/<model>/ for three models below `root`; returns `root`."""
    for seed, (name, (title, accuracy, parameters, teacher)) in enumerate((models or MODELS).items()):
        folder = folder_of(data, name, root)
        folder.mkdir(parents=True, exist_ok=True)
        splits = {k: _answers(np.random.default_rng([seed, i]), i, n, accuracy) for i, k in enumerate(TITLES)}
        frame = predictions_frame(splits, FER7.names)
        card = {
            "model": name,
            "title": title,
            "data": {"name": data, "fingerprint": "f" * 64, "label_set": FER7.name, "labels": list(FER7.names)},
            "checkpoint": {"sha256": "0" * 64},
            "parameters": parameters,
            "trained": {"epochs": 20 + seed, "seconds": 1800.0 + 600 * seed, "device": "cpu", "best_epoch": 19},
            "marks": {"distilled_from": teacher, "pretrained": False, "extra_annotation": False},
            "temperature": {"value": 1.0, "source": "none"},
            "latency_ms": None,
            "titles": TITLES,
        }
        write_json(summarise(frame, card), folder / METRICS)
        write_predictions(frame, folder)
        lines = [json.dumps(_epoch(e, 20 + seed, accuracy)) for e in range(1, 21 + seed)]
        (folder / "history.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def _answers(rng: np.random.Generator, split: int, n: int, accuracy: float) -> dict[str, np.ndarray]:
    # the same images for every model, so that they can be compared pair by pair
    labels = np.random.default_rng([99, split]).choice(7, n, p=[0.13, 0.02, 0.15, 0.25, 0.165, 0.115, 0.17])
    wrong = (labels + rng.choice([1, 2, 4, 6], n)) % 7
    shown = np.where(rng.random(n) < accuracy, labels, wrong)
    logits = rng.normal(0, 1, (n, 7)) + 4.5 * np.eye(7)[shown]
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return {"rows": np.arange(n) + 30_000 + split * n, "labels": labels, "probs": probs}


def _epoch(epoch: int, epochs: int, accuracy: float) -> dict[str, object]:
    rise = 1 - np.exp(-4 * epoch / epochs)
    return {
        "phase": "main",
        "epoch": epoch,
        "train_loss": round(1.9 - 0.9 * rise, 4),
        "train_accuracy": round(0.2 + (accuracy - 0.18) * rise, 4),
        "val_loss": round(1.8 - 0.8 * rise, 4),
        "val_accuracy": round(0.25 + (accuracy - 0.25) * rise, 4),
        "lr": round(0.05 * (1 - epoch / epochs), 5),
        "images_per_second": 220.0,
        "seconds": 90.0,
    }
