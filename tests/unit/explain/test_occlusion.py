"""Occlusion on predictors whose reason is planted."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from fer.explain import explain, methods_for, occlusion, resolve
from fer.labels import FER7
from fer.specs import InputSpec
from fer.transforms import prepare


@dataclass
class BoxReader:
    """No net inside: class 3 (happy) grows with the brightness of a box of its input, class 0 falls with it."""

    input_spec: InputSpec
    box: tuple[slice, slice]
    name: str = "box_reader"
    labels: object = FER7
    manifest: object = field(default_factory=lambda: SimpleNamespace(model="box_reader"))
    calls: list = field(default_factory=list)

    def predict_proba(self, faces):
        self.calls.append(len(faces))
        x = prepare(faces, self.input_spec).astype(np.float64) / 255
        x = x.mean(axis=3) if x.ndim == 4 else x
        value = x[:, self.box[0], self.box[1]].mean(axis=(1, 2))
        logits = np.zeros((len(x), 7))
        logits[:, 3], logits[:, 0] = 3 * value, -3 * value
        p = np.exp(logits)
        return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


def noisy(shape, box, seed=0):
    face = np.random.default_rng(seed).integers(60, 120, shape, dtype=np.uint8)
    face[box] = 250
    return face


@pytest.mark.parametrize(
    "spec", [InputSpec(48, 1, 48), InputSpec(44, 1, 48), InputSpec(40, 3, 48), InputSpec(47, 1, 48)]
)
def test_the_map_is_highest_on_the_patch_that_matters(spec):
    box = (slice(8, 18), slice(26, 36))  # rows and columns of the model's input
    at = tuple(
        slice((s.start + (spec.resize_px - spec.size_px) // 2), s.stop + (spec.resize_px - spec.size_px) // 2)
        for s in box
    )
    face = noisy((spec.resize_px, spec.resize_px), at)
    heat = explain(BoxReader(spec, box), face, "occlusion", target="happy")
    assert heat.shape == face.shape and heat.dtype == np.float32 and heat.max() == 1
    row, column = (round(v.mean()) for v in np.nonzero(heat > 0.95))
    assert abs(row - (at[0].start + 5)) <= 2 and abs(column - (at[1].start + 5)) <= 2
    far = np.ones_like(heat, dtype=bool)
    far[max(at[0].start - 10, 0) : at[0].stop + 10, max(at[1].start - 10, 0) : at[1].stop + 10] = False
    assert heat[far].max() == 0, "covering what is not read changes nothing"
    assert heat[at].min() > 0.2 and heat[~far].mean() < heat[at].mean()


def test_covering_what_speaks_against_a_class_is_no_reason_for_it():
    box = (slice(8, 18), slice(26, 36))
    reader = BoxReader(InputSpec(), box)
    assert explain(reader, noisy((48, 48), box), "occlusion", target="angry").max() == 0


def test_the_values_are_falls_of_the_probability():
    """A box as large as the patch, at one of its places: the fall there is that of the covered face."""
    spec, box = InputSpec(50, 1, 50), (slice(0, 10), slice(40, 50))
    face = noisy((50, 50), box)
    reader = BoxReader(spec, box)
    covered = face.copy()
    covered[box] = round(face.mean())
    fall = reader.predict_proba(face[None])[0, 3] - reader.predict_proba(covered[None])[0, 3]
    grid = occlusion.probe(reader, face, 3)
    assert grid.shape == (50, 50)
    assert grid[0, 49] == pytest.approx(fall, abs=1e-6), "only one patch covers the corner"


def test_a_predictor_without_a_net_is_explained_by_occlusion_in_few_calls():
    reader = BoxReader(InputSpec(), (slice(0, 9), slice(0, 9)))
    assert methods_for(reader) == ["occlusion"] and resolve(reader) == "occlusion"
    face = noisy((30, 70, 3), (slice(0, 6), slice(0, 12)))
    before = face.copy()
    heat = explain(reader, face)
    assert heat.shape == (30, 70) and heat.max() == 1
    assert np.array_equal(face, before) and np.array_equal(heat, explain(reader, face))
    assert len(reader.calls) <= 10 and max(reader.calls) <= 64


def test_a_model_that_does_not_look_gives_an_empty_map():
    class Constant(BoxReader):
        def predict_proba(self, faces):
            noise = np.random.default_rng(len(faces)).normal(0, 3e-8, (len(faces), 7))
            return (np.full((len(faces), 7), 1 / 7) + noise).astype(np.float32)

    reader = Constant(InputSpec(), (slice(0, 9), slice(0, 9)))
    assert explain(reader, noisy((48, 48), (slice(0, 9), slice(0, 9)))).max() == 0


@pytest.mark.parametrize("spec", [InputSpec(8, 1, 8), InputSpec(9, 3, 12)])
def test_the_smallest_inputs(spec):
    reader = BoxReader(spec, (slice(0, 4), slice(0, 4)))
    heat = explain(reader, noisy((12, 12), (slice(0, 6), slice(0, 6))), target="happy")
    assert np.isfinite(heat).all() and heat.max() == 1
