"""Augmented batches: faces stay on the device as uint8, views are drawn there in batches."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from fer.data.dataset import Split
from fer.specs import Augment, InputSpec
from fer.transforms import N_RANDOM, augment, keyed_uniform, normalise, prepare


class AugmentedStream:
    """Batches of one epoch, the same whatever the device, the number of workers or a resume in between.

    Args:
        split: Training faces.
        workers: Background threads that prepare the next batches; 0 prepares in the training thread.
    """

    def __init__(
        self,
        split: Split,
        spec: InputSpec,
        how: Augment,
        batch_size: int,
        seed: int,
        device: torch.device,
        workers: int = 0,
    ):
        self.faces = torch.from_numpy(prepare(split.faces, spec, crop=False)).to(device)
        self.targets = torch.from_numpy(split.targets).to(device)
        self.spec, self.how, self.seed, self.workers = spec, how, seed, workers
        self.batch_size = min(batch_size, len(split))
        self.device = device

    def __len__(self) -> int:
        """Steps per epoch; the last, smaller batch is left out (its images change from epoch to epoch)."""
        return len(self.faces) // self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """(N,) positions in the order of an epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.faces))

    def batch(self, epoch: int, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Views float32 (B, C, S, S) and targets (B, C) of the given positions."""
        where = torch.from_numpy(index).to(self.device)
        random = keyed_uniform(self.seed, epoch, index, N_RANDOM)
        with torch.no_grad():
            x = augment(self.faces[where], random, self.how, self.spec)
        return x.contiguous(memory_format=torch.channels_last), self.targets[where]

    def epoch(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All batches of one epoch."""
        order = self.order(epoch)
        parts = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]
        if not self.workers:
            for part in parts:
                yield self.batch(epoch, part)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            ahead = [pool.submit(self.batch, epoch, p) for p in parts[: 2 * self.workers]]
            for i in range(len(parts)):
                yield ahead.pop(0).result()
                if i + 2 * self.workers < len(parts):
                    ahead.append(pool.submit(self.batch, epoch, parts[i + 2 * self.workers]))


@torch.no_grad()
def evaluate(
    module: torch.nn.Module, split: Split, spec: InputSpec, device: torch.device, batch_size: int = 512
) -> torch.Tensor:
    """Logits float32 (N, C) on the CPU for un-augmented faces; the module comes back in the mode it was in."""
    was_training = module.training
    module.eval()
    faces = prepare(split.faces, spec)
    out = []
    for i in range(0, len(faces), batch_size):
        x = normalise(torch.from_numpy(np.ascontiguousarray(faces[i : i + batch_size])).to(device), spec)
        out.append(module(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    module.train(was_training)
    return torch.cat(out)
