"""What an explanation method is, and what it gets to see."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch


@dataclass(frozen=True)
class Method:
    """One way to ask a net where it looked.

    Attributes:
        name: Key of the table METHODS and file name.
        title: Name for people.
        summary: One line that says what the map shows.
        needs: What a net must have; completes the sentence "<name> needs ...".
        supports: Whether a net (torch.nn.Module) has it.
        compute: (net in eval mode that nobody else uses, float batch (1, C, S, S), class index) -> float (h, w) on the
            net's own grid, unscaled.
        per_class: Whether the map depends on the class asked for.
        source: Paper.
    """

    name: str
    title: str
    summary: str
    needs: str
    supports: Callable[[torch.nn.Module], bool]
    compute: Callable[[torch.nn.Module, torch.Tensor, int], np.ndarray]
    per_class: bool
    source: str


def private_copy(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of a net's structure that shares its parameters and buffers.

    Hooks and switches set on the copy cannot reach a prediction that runs on the original in another thread, and
    several explanations may run side by side. Costs milliseconds and no memory for weights.
    """
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)
