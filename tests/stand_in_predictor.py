"""A net as explanations see it, without a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import torch

from fer.labels import FER7
from fer.specs import InputSpec
from fer.transforms import normalise, prepare


@dataclass
class StandIn:
    """The part of a Predictor that explanations use."""

    module: torch.nn.Module
    input_spec: InputSpec
    name: str = "stand_in"
    labels: object = FER7
    manifest: object = field(default_factory=lambda: SimpleNamespace(model="stand_in"))

    def preprocess(self, faces):
        return normalise(torch.from_numpy(prepare(faces, self.input_spec)), self.input_spec)

    def predict_proba(self, faces):
        with torch.inference_mode():
            return self.module(self.preprocess(faces)).softmax(1).numpy()
