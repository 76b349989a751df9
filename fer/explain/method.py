"""What an explanation method is, and what it gets to see."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    import torch

    from fer.inference import Predictor, TorchPredictor


@dataclass(frozen=True)
class Method:
    """One way to ask a model where it looked: by looking into its net (`supports` and `compute`), or by `probe` alone.

    Attributes:
        name: Key of the table METHODS and file name.
        title: Name for people.
        summary: One line that says what the map shows.
        needs: What a model must have; completes the sentence "<name> needs ...".
        per_class: Whether the map depends on the class asked for.
        source: Paper.
        supports: Whether a net (torch.nn.Module) has it.
        compute: (net in eval mode that nobody else uses, float batch (1, C, S, S), class index) -> float (h, w) on the
            net's own grid, unscaled.
        probe: (predictor, uint8 face (H, W) or (H, W, 3), class index) -> float (h, w) over the model's input,
            unscaled. It sees faces go in and probabilities come out, so it works for every predictor.
        suits: Which predictors `probe` is for; None = every one.
    """

    name: str
    title: str
    summary: str
    needs: str
    per_class: bool
    source: str
    supports: Callable[[torch.nn.Module], bool] | None = None
    compute: Callable[[torch.nn.Module, torch.Tensor, int], np.ndarray] | None = None
    probe: Callable[[Predictor, np.ndarray, int], np.ndarray] | None = None
    suits: Callable[[Predictor], bool] | None = None

    def works_for(self, predictor: Predictor) -> bool:
        """Whether this method can explain a predictor."""
        if self.probe is not None:
            return self.suits is None or self.suits(predictor)
        module = getattr(predictor, "module", None)
        return module is not None and self.supports is not None and self.supports(module)

    def grid(self, predictor: Predictor, face: np.ndarray, target: int) -> np.ndarray:
        """The map of one face for a predictor that this method works for: float (h, w) over its input, unscaled."""
        if self.probe is not None:
            return self.probe(predictor, face, target)
        assert self.compute is not None
        net = cast("TorchPredictor", predictor)
        return self.compute(private_copy(net.module).eval(), net.preprocess([face]), target)


def private_copy(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of a net's structure that shares its parameters and buffers.

    Hooks and switches set on the copy cannot reach a prediction that runs on the original in another thread, and
    several explanations may run side by side. Costs milliseconds and no memory for weights.
    """
    shared = {id(t): t for t in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, shared)
