"""How long each stage of the live pipeline takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fer.errors import ConfigError
from fer.inference.live import STAGES, LiveFrame, LivePipeline


@dataclass(frozen=True)
class StageTimes:
    """Means over the frames measured.

    Attributes:
        frames: How many.
        found: Share of them in which a face was followed.
        ms: Wall-clock milliseconds a frame, by stage; "draw" where frames were drawn.
        cpu_ms: Processor milliseconds a frame, all threads and stages together: what the wall clock would show on one
            core that nothing else uses.
        slowest_ms: Wall clock of the slowest frame in a hundred.
    """

    frames: int
    found: float
    ms: dict[str, float]
    cpu_ms: float
    slowest_ms: float

    @property
    def fps(self) -> float:
        """Frames a second through the pipeline, drawing not counted."""
        return 1000 / max(sum(v for k, v in self.ms.items() if k != "draw"), 1e-9)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the share of each stage."""
        total = max(sum(self.ms.values()), 1e-9)
        return {
            "frames": self.frames,
            "found": round(self.found, 3),
            "fps": round(self.fps, 1),
            "cpu_ms": round(self.cpu_ms, 2),
            "slowest_ms": round(self.slowest_ms, 1),
            "stages": {k: {"ms": round(v, 2), "share": round(v / total, 3)} for k, v in self.ms.items()},
        }


def measure_stages(
    pipeline: LivePipeline,
    images: Sequence[np.ndarray],
    frames: int = 200,
    fps: float = 30.0,
    draw: Callable[[np.ndarray, LiveFrame], np.ndarray] | None = None,
) -> StageTimes:
    """Run a pipeline over a clip, to and fro until there were enough frames.

    Args:
        pipeline: Is reset first.
        images: The clip, uint8 (H, W, 3) each.
        frames: How many are measured, after ten to warm up.
        fps: Rate that the time stamps pretend.
        draw: Also measured, for example `fer.overlay.draw_live`.

    Raises:
        ConfigError: no images or no frames asked for.
    """
    if not images or frames < 1:
        raise ConfigError(f"expected at least one image and one frame, got {len(images)} and {frames}")
    pipeline.warm_up()
    pipeline.reset()
    to_and_fro = [*images, *images[-2:0:-1]]
    names = [*STAGES, *(["draw"] if draw else [])]
    spent = {name: 0.0 for name in names}
    slow, found, cpu = [], 0, 0.0
    for k in range(-10, frames):
        image = to_and_fro[k % len(to_and_fro)]
        before = time.process_time()
        seen = pipeline.process(image, (k + 10) / fps)
        used = time.process_time() - before
        start = time.perf_counter()
        if draw:
            draw(image, seen)
        drawing_ms = 1000 * (time.perf_counter() - start)
        if k < 0:
            continue
        cpu += used
        found += bool(seen.faces)
        slow.append(sum(seen.timings_ms.values()))
        for name in names:
            spent[name] += drawing_ms if name == "draw" else seen.timings_ms[name]
    return StageTimes(
        frames,
        found / frames,
        {name: value / frames for name, value in spent.items()},
        1000 * cpu / frames,
        float(np.percentile(slow, 99)),
    )
