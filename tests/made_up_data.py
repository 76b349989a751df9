"""Small data sets in the layouts that people have them in: FER2013's CSV, folders of classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fer.labels import AFFECTNET8, FER7


def write_csv(path: Path, bad: dict[int, str] | None = None) -> Path:
    """21 rows: seven per usage, one per class; `bad` replaces the class of some rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = ["emotion,pixels,Usage"]
    for i in range(21):
        pixels = " ".join(map(str, rng.integers(0, 256, 2304)))
        lines.append(f"{(bad or {}).get(i, i % 7)},{pixels},{('Training', 'PublicTest', 'PrivateTest')[i // 7]}")
    path.write_text("\n".join(lines) + "\n")
    return path


def write_votes(csv: Path) -> Path:
    """FER+'s votes beside the CSV of FER2013: everybody sees happiness."""
    votes = ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"]
    usages = [line.rsplit(",", 1)[1] for line in csv.read_text().splitlines()[1:]]
    votes += [f"{usage},x.png,0,10,0,0,0,0,0,0,0,0" for usage in usages]
    path = csv.with_name("fer2013new.csv")
    path.write_text("\n".join(votes))
    return path


def write_folders(root: Path, n: int = 20, names: tuple[str, ...] = FER7.names) -> Path:
    for split, count in (("train", n), ("test", 1)):
        for c, name in enumerate(names):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                face = np.random.default_rng([c, i, count]).integers(0, 256, (48, 48), dtype=np.uint8)
                Image.fromarray(face).save(root / split / name / f"{split}_{c}_{i}.png")
    return root


def write_class_folders(root: Path, splits: dict[str, int], names: tuple[str, ...] = AFFECTNET8.names) -> Path:
    """Smooth grey pictures of 32 px, all different."""
    for k, (split, n) in enumerate(splits.items()):
        for c, name in enumerate(names):
            (root / split / name).mkdir(parents=True)
            for i in range(n):
                low = np.random.default_rng([k, c, i]).integers(0, 256, (6, 6), dtype=np.uint8)
                face = Image.fromarray(low).resize((32, 32), Image.Resampling.BICUBIC)
                face.save(root / split / name / f"{i:03d}.png")
    return root
