"""Checkpoints that a run builds on: a teacher to distil from, a net to go on with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fer import checkpoint
from fer.errors import ConfigError
from fer.history import promoted_history, read_history
from fer.specs import InputSpec


class Teacher:
    """A trained checkpoint that looks at the student's own augmented view.

    Raises:
        ConfigError: other classes than the student's.
    """

    def __init__(self, name: str, student: InputSpec, labels: Sequence[str], device: torch.device):
        module, manifest = checkpoint.load_module(name)
        if manifest.labels != tuple(labels):
            raise ConfigError(f"teacher {name} knows {manifest.labels}, the student learns {tuple(labels)}")
        self.module = module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.spec, self.student, self.name = manifest.input, student, manifest.model

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        s, t = self.student, self.spec
        if (s.mean, s.std) != (t.mean, t.std):
            x = (x * s.std + s.mean - t.mean) / t.std
        if s.size_px != t.size_px:
            x = nn.functional.interpolate(x, size=(t.size_px, t.size_px), mode="bilinear", align_corners=False)
        return self.module(x.contiguous(memory_format=torch.channels_last))


class Teachers:
    """One teacher, or several of which each sees the same view.

    Args:
        names: Checkpoints, at least one.
    """

    def __init__(self, names: Sequence[str], student: InputSpec, labels: Sequence[str], device: torch.device):
        self.members = [Teacher(name, student, labels, device) for name in names]

    @torch.no_grad()
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, C): a single teacher's own, of several the logarithm of their mean probabilities."""
        if len(self.members) == 1:
            return self.members[0](x)
        each = torch.stack([teacher(x).float().log_softmax(dim=1) for teacher in self.members])
        return each.logsumexp(dim=0) - math.log(len(self.members))


def read_teachers(names: Sequence[str], student: InputSpec) -> list[checkpoint.Manifest]:
    """The manifests of nets that can teach together, whatever phase they teach in.

    Raises:
        ConfigError: other channels than the student's, other classes than the first teacher's, or no torch net.
        CheckpointError: one that is not there.
    """
    found = [checkpoint.read_manifest(name) for name in names]
    for name, manifest in zip(names, found, strict=True):
        if manifest.classical:
            raise ConfigError(f"teacher {name} is a {manifest.model}, which holds no torch net; name one that does")
        if manifest.input.channels != student.channels:
            raise ConfigError(
                f"teacher {name} takes {manifest.input.channels} channel(s), the student {student.channels}"
            )
        if manifest.labels != found[0].labels:
            raise ConfigError(
                f"teachers must know the same classes: {names[0]} knows {found[0].labels}, {name} {manifest.labels}"
            )
    return found


@dataclass(frozen=True)
class Past:
    """What was trained before this run, when it begins with the weights of another."""

    epochs: int
    seconds: float
    history: list[dict[str, Any]]
    teacher: str
    extra_annotation: bool = False
    pretrained: bool = False
    device: str = ""

    @classmethod
    def none(cls) -> Past:
        return cls(0, 0.0, [], "")

    @classmethod
    def of(cls, name: str) -> Past:
        """What the manifest and the history of a run or checkpoint say."""
        manifest = checkpoint.read_manifest(name)
        done = manifest.training
        promoted = promoted_history(manifest.model, str(manifest.data.get("name", "")), done)
        history = read_history(checkpoint.find(name)) or (read_history(promoted.parent) if promoted else [])
        return cls(
            int(done.get("epochs", 0)),
            float(done.get("seconds", 0)),
            history,
            str(done.get("teacher", "")),
            bool(done.get("extra_annotation", False)),
            bool(done.get("pretrained", False)),
            re.sub(r"\b1 threads", "1 thread", str(done.get("device", ""))),  # as it was written once
        )

    def devices(self, now: str) -> str:
        """On what all of it was trained, given the device of today."""
        if self.device in ("", now):
            return now
        return self.device if self.device.endswith(f"then {now}") else f"{self.device}, then {now}"

    @classmethod
    def load(
        cls, name: str, module: nn.Module, model: str, labels: Sequence[str], in_head: Callable[[str], bool]
    ) -> Past:
        """Puts the weights of a run or checkpoint into `module`; without its head where the classes are others."""
        before, manifest = checkpoint.load_module(name)
        if manifest.model != model:
            raise ConfigError(f"{name} is a {manifest.model}; {model} cannot begin there")
        same = manifest.labels == tuple(labels)
        kept = {k: v for k, v in before.state_dict().items() if same or not in_head(k)}
        head = {} if same else {k: v for k, v in module.state_dict().items() if in_head(k)}
        try:
            module.load_state_dict(kept | head)
        except RuntimeError as e:
            raise ConfigError(f"the weights of {name} do not fit these model arguments: {e}") from e
        return cls.of(name)
