"""Small made-up data in the real layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fer.labels import FER7

USAGES = ("Training", "PublicTest", "PrivateTest")


@pytest.fixture
def faces() -> np.ndarray:
    """(42, 48, 48) uint8 noise: six faces for each class."""
    return np.random.default_rng(0).integers(0, 256, (42, 48, 48), dtype=np.uint8)


@pytest.fixture
def csv_lines(faces: np.ndarray) -> list[str]:
    """The challenge CSV: header and 42 rows; row i has class i % 7, usages of 28, 7 and 7 rows."""
    usage = [USAGES[0]] * 28 + [USAGES[1]] * 7 + [USAGES[2]] * 7
    return ["emotion,pixels,Usage"] + [
        f"{i % 7},{' '.join(map(str, face.ravel()))},{u}" for i, (face, u) in enumerate(zip(faces, usage, strict=True))
    ]


@pytest.fixture
def csv_file(tmp_path: Path, csv_lines: list[str]) -> Path:
    path = tmp_path / "fer2013.csv"
    path.write_text("\n".join(csv_lines) + "\n")
    return path


@pytest.fixture
def make_folders(tmp_path: Path) -> Callable[..., Path]:
    """make_folders(splits={"train": 6}, suffix=".png", names=FER7.names): every class gets that many files."""

    def make(
        splits: dict[str, int] | None = None,
        suffix: str = ".png",
        names: tuple[str, ...] = FER7.names,
        root: str = "folders",
        reverse: bool = False,
    ) -> Path:
        place = tmp_path / root
        for split, n in (splits or {"train": 6, "test": 2}).items():
            jobs = [(c, i) for c in range(len(names)) for i in range(n)]
            for c, i in reversed(jobs) if reverse else jobs:
                folder = place / split / names[c]
                folder.mkdir(parents=True, exist_ok=True)
                rng = np.random.default_rng([c, i, len(split)])
                # Smooth enough that a jpg stays close; the mean tells the class.
                low = rng.integers(20 + 30 * c, 40 + 30 * c, (3, 3), dtype=np.uint8)
                image = Image.fromarray(low).resize((48, 48), Image.Resampling.BILINEAR)
                image.save(folder / f"{split}_{i:04d}{suffix}")
        return place

    return make
