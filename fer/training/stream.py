"""Augmented batches: faces stay on the device as uint8 where they fit, views are drawn there in batches."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from fer.data.dataset import Split
from fer.errors import ConfigError
from fer.specs import InputSpec, Recipe
from fer.training.mixing import N_MIX, mix
from fer.training.processes import Processes
from fer.transforms import N_RANDOM, augment, keyed_uniform, normalise, on_device, prepare

_MIX_KEY = 0x6D6978  # sets the random numbers of mixing apart from those of augmentation


_MOST = 0.25  # of a device's free memory, for the training faces


def _fit(nbytes: int, device: torch.device) -> bool:
    """Whether training faces of this size may stay on a device."""
    return device.type != "cuda" or nbytes <= _MOST * torch.cuda.mem_get_info(device)[0]


class AugmentedStream:
    """Batches of one epoch, the same whatever the device, the processes, the workers or a resume in between.

    Args:
        split: Training faces.
        recipe: Batch size, augmentation, mixup and cutmix, share of the split in an epoch.
        seed: Keys every random choice, together with epoch and position in the split.
        workers: Background threads that prepare the next batches; 0 prepares in the training thread.
        votes: (N, K) more targets, behind the classes.
        processes: Of each global batch this process gets its share; None = all of it.
    """

    def __init__(
        self,
        split: Split,
        spec: InputSpec,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        workers: int = 0,
        votes: np.ndarray | None = None,
        processes: Processes | None = None,
    ):
        faces = torch.from_numpy(prepare(split.faces, spec, crop=False))
        self.resident = _fit(faces.nbytes, device)  # else each batch is sent when its turn comes
        self.faces = faces.to(device) if self.resident else faces
        targets = split.targets if votes is None else np.concatenate([split.targets, votes.astype(np.float32)], axis=1)
        self.targets = torch.from_numpy(targets).to(device)
        self.spec, self.recipe, self.seed, self.workers = spec, recipe, seed, workers
        self.seen = max(round(recipe.epoch_share * len(split)), 1)
        self.batch_size = min(recipe.batch_size, self.seen)
        self.device, self.processes = device, processes or Processes(0, 1, device)
        if self.batch_size < self.processes.count:
            raise ConfigError(f"a batch of {self.batch_size} is too small for {self.processes.count} processes")
        if self.batch_size // self.processes.count < recipe.accumulate:
            raise ConfigError(
                f"accumulate = {recipe.accumulate} needs at least as many faces per process in a batch; "
                f"{self.batch_size} among {self.processes.count} are too few"
            )

    def __len__(self) -> int:
        """Steps per epoch; the last, smaller batch is left out (its images change from epoch to epoch)."""
        return self.seen // self.batch_size

    def order(self, epoch: int) -> np.ndarray:
        """Positions in the order of an epoch."""
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.faces))[: self.seen]

    def batch(self, epoch: int, index: np.ndarray, mixing: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Views float32 (B, C, S, S) and targets (B, K) of this process's part of a global batch.

        Args:
            index: Positions of the global batch.
            mixing: Whether mixup and cutmix are on; each image is mixed with the next one of the global batch.
        """
        mine = self.processes.share(index)
        x, y = self._views(epoch, mine)
        if mixing and (self.recipe.mixup or self.recipe.cutmix):
            partners = self._views(epoch, self.processes.share(np.roll(index, -1)))
            random = keyed_uniform(self.seed ^ _MIX_KEY, epoch, mine, N_MIX)
            x, y = mix(x, y, *partners, random, self.recipe)
        return x.contiguous(memory_format=torch.channels_last), y

    def _views(self, epoch: int, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        where = on_device(torch.from_numpy(index), self.device)
        random = keyed_uniform(self.seed, epoch, index, N_RANDOM)
        faces = self.faces[where] if self.resident else on_device(self.faces[torch.from_numpy(index)], self.device)
        with torch.no_grad():
            return augment(faces, random, self.recipe.augment, self.spec), self.targets[where]

    def epoch(self, epoch: int, mixing: bool = False) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All batches of one epoch."""
        order = self.order(epoch)
        parts = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(len(self))]
        if not self.workers:
            for part in parts:
                yield self.batch(epoch, part, mixing)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            ahead = [pool.submit(self.batch, epoch, p, mixing) for p in parts[: 2 * self.workers]]
            for i in range(len(parts)):
                yield ahead.pop(0).result()
                if i + 2 * self.workers < len(parts):
                    ahead.append(pool.submit(self.batch, epoch, parts[i + 2 * self.workers], mixing))


@torch.no_grad()
def evaluate(
    module: torch.nn.Module, split: Split, spec: InputSpec, device: torch.device, batch_size: int | None = None
) -> torch.Tensor:
    """Logits float32 (N, C) on the CPU for un-augmented faces; the module comes back in the mode it was in.

    Args:
        batch_size: None = 512 faces of 48 px or as many pixels of larger ones, 64 at least.
    """
    batch_size = batch_size or max(64, min(512, 512 * 48**2 // spec.size_px**2))
    was_training = module.training
    module.eval()
    faces = prepare(split.faces, spec)
    out = []
    for i in range(0, len(faces), batch_size):
        x = normalise(torch.from_numpy(np.ascontiguousarray(faces[i : i + batch_size])).to(device), spec)
        out.append(module(x.contiguous(memory_format=torch.channels_last)).float().cpu())
    module.train(was_training)
    return torch.cat(out)
