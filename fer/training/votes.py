"""FER+ votes as a second thing to learn: a head beside the classifier that is thrown away after training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from fer.errors import ConfigError


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
