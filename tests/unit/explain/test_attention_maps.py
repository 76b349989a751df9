"""Attention read out of the nets themselves, on nets so small that the right answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from fer.explain import METHODS, cbam, explain, methods_for, self_attention, spatial
from fer.labels import FER7
from fer.models import get_model
from fer.models.layers import SelfAttention, SpatialGate
from fer.specs import InputSpec
from fer.transforms import normalise, prepare


class StandIn:
    """The part of a Predictor that explanations use."""

    def __init__(self, module: nn.Module, input_spec: InputSpec, name: str = "stand_in"):
        self.module, self.input_spec, self.name, self.labels = module.eval(), input_spec, name, FER7
        self.manifest = SimpleNamespace(model=name)

    def preprocess(self, faces):
        return normalise(torch.from_numpy(prepare(faces, self.input_spec)), self.input_spec)

    def predict_proba(self, faces):
        with torch.inference_mode():
            return self.module(self.preprocess(faces)).softmax(1).numpy()


class Gated(nn.Module):
    """A mask that is high where the 4-px cells of the input are bright."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(4)
        self.gate = SpatialGate(1)
        self.gate.spatial.conv.weight.data = torch.tensor([4.0, 0.0]).view(1, 2, 1, 1)

    def forward(self, x):
        return self.gate(self.pool(x)).mean((2, 3)).repeat(1, 7)


class Attending(nn.Module):
    """Every position looks for brightness: one token of (brightness, 0, 0, 0) per 4-px cell, key 0 = 8 x brightness."""

    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(4)
        self.attention = SelfAttention(4, 1)
        self.attention.norm = nn.Identity()
        with torch.no_grad():
            for p in self.attention.qkv.parameters():
                p.zero_()
            self.attention.qkv.bias[0] = 2.0  # every query
            self.attention.qkv.weight[4, 0] = 8.0  # key

    def forward(self, x):
        x = self.pool(x).flatten(2).transpose(1, 2)  # (N, T, 1)
        x = self.attention(torch.cat([x, torch.zeros(*x.shape[:2], 3)], dim=2))
        return x.mean(1).repeat(1, 2)[:, :7]


SPEC = InputSpec(16, 1, 16, mean=0.0, std=1.0)


def spot(row: int, column: int) -> np.ndarray:
    face = np.zeros((16, 16), np.uint8)
    face[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 255
    return face


def test_spatial_is_the_mask_itself():
    net = Gated().eval()
    batch = torch.zeros(1, 1, 16, 16)
    batch[:, :, 4:8, 12:16] = 1
    grid = spatial.compute(net, batch)
    expected = np.full((4, 4), 0.5)
    expected[1, 3] = 1 / (1 + np.exp(-4.0 / np.sqrt(1 + net.gate.spatial.bn.eps)))
    np.testing.assert_allclose(grid, expected, atol=1e-6)
    assert net.gate.record is False and net.gate.last_spatial is None


def test_self_attention_is_what_each_position_receives():
    net = Attending().eval()
    batch = torch.zeros(1, 1, 16, 16)
    batch[:, :, 4:8, 12:16] = 1
    grid = self_attention.compute(net, batch)
    # scores: q . k / sqrt(4) = 2 * 8 * brightness / 2, the same for every query
    expected = np.full((4, 4), 1 / (15 + np.exp(8.0)))
    expected[1, 3] *= np.exp(8.0)
    np.testing.assert_allclose(grid, expected, atol=1e-6)
    assert grid.sum() == pytest.approx(1)
    assert net.attention.record is False and net.attention.last_attention is None


def test_received_is_the_column_not_the_row():
    """One query looks at one place, all others evenly: what counts is where the looks arrive."""
    net = Attending().eval()
    with torch.no_grad():
        net.attention.qkv.bias[0] = 0.0
        net.attention.qkv.weight[0, 0] = 2.0  # only the bright position asks, and it finds itself
    batch = torch.zeros(1, 1, 16, 16)
    batch[:, :, 0:4, 4:8] = 1
    grid = self_attention.compute(net, batch)
    alone = np.exp(8.0) / (15 + np.exp(8.0))
    assert grid[0, 1] == pytest.approx((15 / 16 + alone) / 16, abs=1e-6)


@pytest.mark.parametrize(("net", "method"), [(Gated(), "spatial"), (Attending(), "self_attention")])
def test_the_map_lies_over_the_spot(net, method):
    predictor = StandIn(net, SPEC)
    assert methods_for(predictor)[0] == method
    for row, column in [(0, 0), (1, 3), (3, 2)]:
        heat = explain(predictor, spot(row, column), method)
        at = np.unravel_index(heat.argmax(), heat.shape)
        assert heat.max() == 1 and (at[0] // 4, at[1] // 4) == (row, column)


@pytest.mark.parametrize(
    ("name", "method"),
    [("resnet34_attention", "spatial"), ("emotionnet", "self_attention"), ("cbam_cnn4", "cbam")],
)
def test_auto_means_the_attention_that_the_model_names(name, method):
    torch.manual_seed(0)
    entry = get_model(name)
    net = entry.build(7).eval().requires_grad_(False)
    if name == "emotionnet":  # drawn at random it attends almost evenly, as far as float32 tells
        net.attention.qkv.weight *= 10
    predictor = StandIn(net, entry.SPEC.input, name)
    assert entry.SPEC.attention == method == methods_for(predictor)[0]
    assert "grad_cam" in methods_for(predictor)
    face = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    slow = ("occlusion", "integrated_gradients")  # and the same for every net
    for asked in ["auto", *(m for m in methods_for(predictor) if m not in slow)]:
        heat = explain(predictor, face, asked, target="happy")
        assert heat.shape == (60, 60) and heat.max() == 1
        assert np.array_equal(heat, explain(predictor, face, asked, target="happy"))
    assert np.array_equal(explain(predictor, face), explain(predictor, face, method))


def test_cbam_of_a_net_without_stages_is_its_one_mask():
    torch.manual_seed(0)
    net = get_model("cbam_cnn4").build(7).eval()
    x = torch.randn(1, 1, 48, 48)
    net.attention.record = True
    with torch.no_grad():
        net(x)
    mask = net.attention.last_spatial[0, 0].numpy()  # (3, 3)
    net.attention.record = False
    np.testing.assert_allclose(cbam.compute(net, x)[8::16, 8::16], mask, atol=0.02)
    assert not cbam.supports(get_model("baseline_cnn4").build(7))


def test_nets_without_it_are_not_claimed():
    for name, attention in [("vgg8", None), ("emotionnet", self_attention), ("resnet34_attention", spatial)]:
        net = get_model(name).build(7)
        assert [m for m in (spatial, self_attention) if m.supports(net)] == ([attention] if attention else [])
    assert METHODS["spatial"] is spatial.METHOD and METHODS["self_attention"] is self_attention.METHOD
