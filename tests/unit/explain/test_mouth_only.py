"""Drawn faces on which nothing but the mouth tells the class: whoever looks anywhere else is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from fer.explain import explain
from fer.explain.faithfulness import EYES_BROWS, MOUTH, box_share
from fer.labels import FER7
from fer.specs import InputSpec
from fer.transforms import normalise, prepare

SPEC = InputSpec(24, 1, 24)


def draw(mouth: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 (24, 24): a face that smiles (0), gapes (1) or pouts (2); brows, eyes, light and noise are drawn alike."""
    big = np.full((192, 192), rng.integers(30, 90), np.uint8)
    skin, ink = int(rng.integers(140, 220)), int(rng.integers(10, 60))
    cv2.ellipse(big, (96, 100), (72, 88), 0, 0, 360, skin, -1, cv2.LINE_AA)
    for x in (64, 128):
        y = int(rng.integers(66, 76))
        cv2.ellipse(big, (x, y), (14, int(rng.integers(3, 10))), 0, 0, 360, ink, -1, cv2.LINE_AA)
        lift = int(rng.integers(-7, 8))
        cv2.line(big, (x - 18, y - 20 - lift), (x + 18, y - 20 + lift), ink, 5, cv2.LINE_AA)
    cv2.line(big, (96, 84), (96, 112), ink, 3, cv2.LINE_AA)
    at = (96 + int(rng.integers(-4, 5)), 152 + int(rng.integers(-4, 5)))
    if mouth == 1:
        cv2.ellipse(big, at, (13, 15), 0, 0, 360, ink, -1, cv2.LINE_AA)
    else:
        smile = mouth == 0
        centre = (at[0], at[1] - 9 if smile else at[1] + 9)
        cv2.ellipse(big, centre, (27, 18), 0, *((20, 160) if smile else (200, 340)), ink, 6, cv2.LINE_AA)
    small = cv2.resize(big, (24, 24), interpolation=cv2.INTER_AREA).astype(np.float64)
    return np.clip(small + rng.normal(0, 4, small.shape), 0, 255).astype(np.uint8)


@dataclass
class Reader:
    """The part of a Predictor that explanations use."""

    module: torch.nn.Module
    input_spec: InputSpec = SPEC
    name: str = "reader"
    labels: object = FER7
    manifest: object = field(default_factory=lambda: SimpleNamespace(model="reader"))

    def preprocess(self, faces):
        return normalise(torch.from_numpy(prepare(faces, self.input_spec)), self.input_spec)

    def predict_proba(self, faces):
        with torch.inference_mode():
            return self.module(self.preprocess(faces)).softmax(1).numpy()


class Net(torch.nn.Module):
    """A map of evidence for each class, of which the strongest place decides."""

    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(16, 3, 5, padding=2),
            torch.nn.Softplus(),
        )

    @property
    def cam_layer(self):
        return self.features

    def forward(self, x):
        return self.features(x).amax(dim=(2, 3))


@pytest.fixture(scope="module")
def reader() -> Reader:
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    faces = np.stack([draw(int(c), rng) for c in labels])
    torch.manual_seed(0)
    found = Reader(Net())
    x, y = found.preprocess(faces), torch.from_numpy(labels)
    optimizer = torch.optim.Adam(found.module.parameters(), lr=2e-2)
    for _ in range(8):
        for part in torch.randperm(len(x)).split(25):
            evidence = found.module.features(x[part])
            # evidence has its price: none where none is needed
            loss = torch.nn.functional.cross_entropy(evidence.amax(dim=(2, 3)), y[part]) + 0.5 * evidence.mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found.module.eval().requires_grad_(False)
    return found


@pytest.fixture(scope="module")
def fresh() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    labels = np.arange(24) % 3
    return np.stack([draw(int(c), rng) for c in labels]), labels


def shares(heat: np.ndarray) -> tuple[float, float, float]:
    """Mouth, eyes and brows, rest."""
    mouth, eyes = box_share(heat, MOUTH), box_share(heat, EYES_BROWS)
    return mouth, eyes, 1 - mouth - eyes


def test_the_net_has_learnt_the_mouth(reader, fresh):
    faces, labels = fresh
    assert (reader.predict_proba(faces).argmax(1) == labels).mean() > 0.9


@pytest.mark.parametrize("method", ["grad_cam", "occlusion"])
def test_the_mouth_holds_the_largest_share_of_heat(reader, fresh, method):
    faces, labels = fresh
    found = np.array([shares(explain(reader, f, method, int(c))) for f, c in zip(faces, labels, strict=True)])
    mouth, eyes, rest = found.mean(axis=0)
    assert mouth > eyes and mouth > rest, found.mean(axis=0)
