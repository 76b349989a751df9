"""FER+ votes as a second thing to learn: a head beside the classifier that is thrown away after training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fer.data.dataset import Dataset
from fer.errors import ConfigError
from fer.paths import data_dir
from fer.specs import Recipe


def votes_of(recipe: Recipe, data: Dataset, file: str | Path | None = None) -> np.ndarray | None:
    """The votes of the training rows, for a recipe that asks for them.

    Args:
        file: fer2013new.csv of FER+; None = the one among the prepared data.

    Returns:
        float32 (n_train, 8), normalised, zero rows where nobody could tell; None where `ferplus_weight` is 0.

    Raises:
        ConfigError: other data than FER2013.
        DataError: see `fer.data.ferplus.votes_by_split`.
    """
    if not recipe.ferplus_weight:
        return None
    from fer.data.ferplus import VOTES_FILE, targets_from_votes, votes_by_split

    if data.name != "fer2013":
        raise ConfigError(f"ferplus_weight: the votes belong to the rows of the FER2013 CSV, not to {data.name}")
    return targets_from_votes(votes_by_split(file or data_dir() / VOTES_FILE, data)["train"])[0]


def checked(votes: np.ndarray | None, recipe: Recipe, data: Dataset, sets: Sequence[Dataset]) -> np.ndarray | None:
    """Votes that fit a run, None for a recipe without `ferplus_weight`.

    Args:
        votes: (n_train, K) normalised; zero rows = none.
        sets: Data set of every phase.

    Raises:
        ConfigError: none where they are asked for, of other rows, or a phase on other data.
    """
    if not recipe.ferplus_weight:
        return None
    if votes is None:
        raise ConfigError("ferplus_weight needs the FER+ votes of the training rows: fer2013new.csv, see --votes")
    if any(s is not data for s in sets):
        raise ConfigError("ferplus_weight needs phases that all train on FER2013")
    n = len(data["train"])
    if votes.ndim != 2 or len(votes) != n:
        raise ConfigError(f"expected votes of {n} training rows, got shape {votes.shape}")
    return votes


class WithVotes(nn.Module):
    """A net and a linear head that guesses the crowd's votes from the features before the last linear layer.

    Shape: (N, C, S, S) -> (N, n_classes), (N, n_votes) logits.

    Args:
        net: Its last linear layer with `n_classes` outputs marks where the features are read.

    Raises:
        ConfigError: no such layer.
    """

    def __init__(self, net: nn.Module, n_classes: int, n_votes: int):
        super().__init__()
        last = [m for m in net.modules() if isinstance(m, nn.Linear) and m.out_features == n_classes]
        if not last:
            raise ConfigError("ferplus_weight needs a net whose last layer is linear")
        self.net, self.votes = net, nn.Linear(last[-1].in_features, n_votes)
        self.features: torch.Tensor | None = None
        last[-1].register_forward_pre_hook(self._keep)

    def _keep(self, _module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self.features = inputs[0]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.net(x)
        assert self.features is not None
        votes, self.features = self.votes(self.features), None
        return logits, votes


def votes_loss(logits: torch.Tensor, votes: torch.Tensor) -> torch.Tensor:
    """Mean KL(votes || softmax(logits)) over the batch; rows without votes (all zero) count as 0. (N, K) each."""
    return F.kl_div(F.log_softmax(logits.float(), dim=1), votes, reduction="batchmean")
