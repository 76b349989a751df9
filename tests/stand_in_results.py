"""Made-up results, written with the project's own writers, for tests of whatever reads results/."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from fer.evaluation import stored
from fer.evaluation.report import comparison, summarise
from fer.evaluation.results import METRICS, folder_of, predictions_frame, read_results, write_json, write_predictions
from fer.labels import FER7

MODELS = {
    "baseline_cnn": ("Baseline CNN", 0.60, 389_383, ""),
    "attention_cnn": ("Attention CNN", 0.67, 1_177_000, ""),
    "vit_tiny": ("ViT-Tiny", 0.62, 5_400_000, "attention_cnn"),
}
# with `models=MODELS | TWINS`: two attention nets, each with its twin without attention
TWINS = {
    "attention_cnn@no_attention": ("Attention CNN (no attention)", 0.65, 1_150_000, ""),
    "baseline_cnn4": ("Baseline CNN, four layers", 0.63, 3_915_143, ""),
    "cbam_cnn4": ("CBAM CNN, four layers", 0.64, 3_948_011, ""),
}
TWIN_OF = {"attention_cnn@no_attention": "attention_cnn", "baseline_cnn4": "cbam_cnn4"}
TITLES = {"val": "PublicTest", "test": "PrivateTest"}
CORRUPTIONS = (
    "noise",
    "blur",
    "brightness",
    "contrast",
    "jpeg",
    "downscaling",
    "rotation",
    "occluded_eyes",
    "occluded_mouth",
)
METHODS = {
    "grad_cam": ("Grad-CAM", True),
    "integrated_gradients": ("Integrated gradients", True),
    "cbam": ("CBAM spatial map", False),
    "occlusion": ("Occlusion", True),
}
SHARES = [0.13, 0.02, 0.15, 0.25, 0.165, 0.115, 0.17]


def write_stand_in(root: Path, data: str = "fer2013", n: int = 700, models: dict | None = None) -> Path:
    """Write every file of results/<data>/ and of its models' folders below `root`; returns `root`.

    Args:
        n: Faces per split.
        models: Name -> (title, accuracy, parameters, teacher); default: the three of MODELS.
    """
    for seed, (name, (title, accuracy, parameters, teacher)) in enumerate((models or MODELS).items()):
        folder = folder_of(data, name, root)
        folder.mkdir(parents=True, exist_ok=True)
        splits = {k: _answers(np.random.default_rng([seed, i]), i, n, accuracy) for i, k in enumerate(TITLES)}
        frame = predictions_frame(splits, FER7.names)
        card = {
            "model": name,
            "title": title,
            "data": {
                "name": data,
                "fingerprint": "f" * 64,
                "label_set": FER7.name,
                "labels": list(FER7.names),
                "majority": "happy",
            },
            "checkpoint": {
                "sha256": sha256(name),
                "git_commit": "0" * 40,
                "created": "2026-01-01T00:00:00Z",
                "seed": 42,
            },
            "parameters": parameters,
            "trained": {
                "epochs": 20 + seed,
                "seconds": 1800.0 + 600 * seed,
                "device": "cpu",
                "best_epoch": 19,
                "data": data,
                "images": 28_709,
                "model_args": {"attention": False} if "@no_attention" in name else {},
                "recipe_name": "best",
                "seed": 42,
            },
            "marks": {"distilled_from": teacher, "pretrained": False, "extra_annotation": False},
            "temperature": {"value": 1.0, "source": "none"},
            "cost": {
                "parameters": parameters,
                "macs": 40 * parameters,
                "latency_ms": {
                    "batch_1": round(1.5 + parameters / 1e6, 3),
                    "batch_32": round(20 + 12 * parameters / 1e6, 3),
                    "threads": 2,
                    "cpu": "A made-up CPU",
                },
                "bytes": 2 * parameters,
            },
            "twin_of": TWIN_OF.get(name),
            "titles": TITLES,
            "crowd": {k: _crowd(n, accuracy) for k in TITLES},
        }
        write_json(summarise(frame, card), folder / METRICS)
        write_predictions(frame, folder)
        lines = [json.dumps(_epoch(e, 20 + seed, accuracy)) for e in range(1, 21 + seed)]
        (folder / "history.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        stored.write_robustness(_robustness(name, accuracy, seed), folder)
        stored.write_explanation(_explanation(name, seed), folder)
        stored.write_maps(_maps(seed), folder)
    _write_about_the_data(root, data, n, models or MODELS)
    return root


def sha256(name: str) -> str:
    """The checksum of a made-up checkpoint."""
    return f"{zlib.crc32(name.encode()):08x}" * 8


def _labels(split: int, n: int) -> np.ndarray:
    # the same images for every model, so that they can be compared pair by pair
    return np.random.default_rng([99, split]).choice(7, n, p=SHARES)


def _answers(rng: np.random.Generator, split: int, n: int, accuracy: float) -> dict[str, np.ndarray]:
    labels = _labels(split, n)
    wrong = (labels + rng.choice([1, 2, 4, 6], n)) % 7
    shown = np.where(rng.random(n) < accuracy, labels, wrong)
    logits = rng.normal(0, 1, (n, 7)) + 4.5 * np.eye(7)[shown]
    views = [np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) for z in (logits, logits + rng.normal(0, 0.4, (n, 7)))]
    seen = np.where(np.arange(n) % 10 == 0, "exact", np.where(np.arange(n) % 15 == 1, "near", ""))
    return {
        "rows": np.arange(n) + 30_000 + split * n,
        "labels": labels,
        "single": views[0],
        "flip": (views[0] + views[1]) / 2,
        "tencrop": 0.4 * views[0] + 0.6 * views[1],
        "seen": seen,
    }


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


def _crowd(n: int, accuracy: float) -> dict[str, Any]:
    return {
        "n": n - 20,
        "cross_entropy": round(1.9 - accuracy, 6),
        "crowd_entropy": 0.52,
        "unanimous_n": n // 3,
        "unanimous_accuracy": round(accuracy + 0.15, 6),
        "agreement": 0.76,
        "majority_accuracy": round(accuracy + 0.05, 6),
        "label_agreement": 0.67,
    }


def _robustness(name: str, accuracy: float, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 7])
    cells = {
        c: [round(accuracy * (1 - 0.1 * s * w), 3) for s in range(1, 6)]
        for c, w in zip(CORRUPTIONS, rng.uniform(0.2, 1.4, len(CORRUPTIONS)), strict=True)
    }
    return {
        "model": name,
        "checkpoint_sha256": sha256(name),
        "split": "test",
        "n": 1000,
        "seed": 0,
        "clean": accuracy,
        "mean": round(float(np.mean(list(cells.values()))), 6),
        "strengths": [1, 2, 3, 4, 5],
        "accuracy": cells,
    }


def _explanation(name: str, seed: int) -> dict[str, Any]:
    steps = [round(s, 2) for s in np.linspace(0, 1, 11)]
    methods = {}
    for i, (key, (title, per_class)) in enumerate(METHODS.items()):
        if key == "cbam" and "attention" not in name and "cbam" not in name:
            continue
        fall = [round(0.15 + 0.6 * float(np.exp(-(3 + i) * s)), 6) for s in steps]
        rise = [round(0.75 - 0.6 * float(np.exp(-(2 + i) * s)), 6) for s in steps]
        methods[key] = {
            "title": title,
            "per_class": per_class,
            "deletion": round(float(np.mean(fall)), 6),
            "insertion": round(float(np.mean(rise)), 6),
            "deletion_random": 0.42,
            "insertion_random": 0.44,
            "steps": steps,
            "deletion_curve": fall,
            "insertion_curve": rise,
            "eyes_brows": round(0.25 + 0.02 * i + 0.01 * seed, 6),
            "mouth": round(0.3 - 0.02 * i, 6),
            "pointing": round(0.55 + 0.01 * seed, 6),
            "area": 0.38,
            "sanity": None if key == "occlusion" else round(0.1 + 0.05 * i, 6),
            "ms": round(4.0 * 3**i, 3),
        }
    return {
        "model": name,
        "checkpoint_sha256": sha256(name),
        "split": "test",
        "n": 300,
        "seed": 0,
        "counts": dict(zip(FER7.names, [40, 6, 44, 76, 50, 34, 50], strict=True)),
        "methods": methods,
    }


def _maps(seed: int) -> dict[str, np.ndarray]:
    y, x = np.mgrid[:48, :48]
    maps = {}
    for i, method in enumerate(METHODS):
        heat = np.zeros((7, 48, 48), dtype=np.uint8)
        for c in (0, 2, 3, 4, 5, 6):  # nobody was taken for disgust
            row, column = 16 + 4 * (c % 4) + seed, 24 + 2 * (c - 3)
            heat[c] = (255 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / (60 + 20 * i))).astype(np.uint8)
        maps[method] = heat
    return maps


def _write_about_the_data(root: Path, data: str, n: int, models: dict) -> None:
    results = read_results(root, data)
    write_json(comparison(results), root / data / stored.COMPARISON)
    members = [list(models), list(models)[:2]] if len(models) > 2 else [list(models)] if len(models) == 2 else []
    stored.write_ensembles(
        [
            {
                "members": m,
                "weights": [round(1 / len(m), 6)] * len(m),
                "view": "single",
                "val_accuracy": 0.68,
                "test_accuracy": 0.69,
                "test_interval": [0.655, 0.725],
                "test_nll": 0.88,
            }
            for m in members
        ],
        root,
        data,
    )
    sizes = {"train": 8 * n, "val": n, "test": n}
    counts = {k: np.bincount(_labels(i % 3, size), minlength=7) for i, (k, size) in enumerate(sizes.items(), -1)}
    crowd = {k: v for k, v in _crowd(n, 0.6).items() if k not in ("cross_entropy", "unanimous_accuracy")}
    del crowd["majority_accuracy"]
    per_class = dict(zip(FER7.names, [0.62, 0.55, 0.58, 0.93, 0.64, 0.84, 0.79], strict=True))
    stored.write_data(
        {
            "name": data,
            "fingerprint": "f" * 64,
            "labels": list(FER7.names),
            "titles": {"train": "Training"} | TITLES,
            "counts": {k: dict(zip(FER7.names, map(int, v), strict=True)) for k, v in counts.items()},
            "copies": {
                "train": {"exact": n // 4, "near": n // 10},
                "val": {"exact": n // 12, "near": n // 25},
                "test": {"exact": n // 10, "near": n // 15},
            },
            "conflicting": n // 30,
            "crowd": {k: crowd | {"agreement_per_class": per_class} for k in sizes},
        },
        root,
        data,
    )
    stored.write_seeds(
        [
            {
                "model": name,
                "twin_of": TWIN_OF.get(name, ""),
                "seed": s,
                "epochs": 20,
                "val_accuracy": round(accuracy - 0.02 + 0.004 * ((s + i) % 3), 6),
                "test_accuracy": round(accuracy + 0.005 * ((s + i) % 3 - 1), 6),
                "macro_f1": round(accuracy - 0.06 + 0.005 * (s % 3), 6),
                "sha256": sha256(f"{name} {s}") if s != 42 else sha256(name),
                "git_commit": "0" * 40,
            }
            for i, (name, (_, accuracy, _, _)) in enumerate(models.items())
            for s in (1, 2, 42)
        ],
        root,
        data,
    )
