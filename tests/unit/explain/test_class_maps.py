"""Grad-CAM++, Layer-CAM, integrated gradients, channel attention, gradient rollout and the HOG picture, by hand."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fer.explain import (
    METHODS,
    channel,
    explain,
    grad_cam,
    grad_cam_pp,
    gradient_rollout,
    integrated_gradients,
    layer_cam,
    methods_for,
)
from fer.labels import FER7
from fer.models.hog_svm import HogSvm
from fer.models.layers import CBAM
from fer.specs import InputSpec
from fer.torchvision_repair import import_repaired
from tests.stand_in_predictor import StandIn


class Weighted(torch.nn.Module):
    """Score 0 is the feature map times fixed numbers, score 1 its negative."""

    def __init__(self, weights):
        super().__init__()
        self.cam_layer = torch.nn.Identity()
        self.register_buffer("weights", torch.tensor(weights))

    def forward(self, x):
        score = (self.cam_layer(x) * self.weights).sum(dim=(1, 2, 3))
        return torch.stack([score, -score], dim=1)


A = np.array([[1.0, 3.0], [2.0, 5.0]], np.float32)
NET = Weighted([[1.0, -1.0], [2.0, 0.0]])
FACE = torch.from_numpy(A)[None, None]


def test_layer_cam_weighs_every_position_by_its_own_gradient():
    np.testing.assert_allclose(layer_cam.compute(NET, FACE, 0), [[1, 0], [4, 0]])
    np.testing.assert_allclose(layer_cam.compute(NET, FACE, 1), [[0, 3], [0, 0]])
    np.testing.assert_allclose(grad_cam.compute(NET, FACE, 0), 0.5 * A)


def test_grad_cam_pp_equals_the_paper_on_a_map_of_four():
    # sum of A = 11; alpha = g^2 / (2 g^2 + 11 g^3): 1 / 13 where g = 1, 4 / 96 where g = 2
    weight = 1 / 13 * 1 + 4 / 96 * 2
    np.testing.assert_allclose(grad_cam_pp.compute(NET, FACE, 0), weight * A, rtol=1e-5)
    assert np.isfinite(grad_cam_pp.compute(Weighted([[0.0, 0.0], [0.0, 0.0]]), FACE, 0)).all()


class Bent(torch.nn.Module):
    """A small net with kinks and products in it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.conv = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.head = torch.nn.Linear(4, 7)

    def forward(self, x):
        x = self.conv(x)
        return self.head((torch.tanh(x) * x).mean(dim=(2, 3)) * 5)


def test_integrated_gradients_are_complete():
    """The shares add up to what the face scores more than an empty one."""
    net = Bent().eval()
    batch = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(1)) * 4 - 2
    empty = torch.full_like(batch, float(batch.mean()))
    for target in range(3):
        shares = integrated_gradients.attributions(net, batch, target)
        with torch.no_grad():
            difference = float((net(batch) - net(empty))[0, target])
        assert abs(difference) > 0.05
        assert float(shares.sum()) == pytest.approx(difference, rel=1e-3)
    with torch.inference_mode():
        inside = integrated_gradients.compute(net, net.conv(batch)[:, :1].clone(), 0)
    assert inside.shape == (12, 12)


def test_integrated_gradients_show_what_speaks_for_the_class_only():
    weights = np.zeros((16, 16), np.float32)
    weights[2:6, 2:6], weights[10:14, 10:14] = 1, -1
    face = np.full((16, 16), 60, np.uint8)
    face[2:6, 2:6] = face[10:14, 10:14] = 240
    predictor = StandIn(Weighted(weights.tolist()), InputSpec(16, 1, 16))
    for target, place in ((0, slice(2, 6)), (1, slice(10, 14))):
        heat = explain(predictor, face, "integrated_gradients", target=target)
        assert heat[place, place].min() > 0.5 and heat.max() == 1
        heat[place.start - 1 : place.stop + 1, place.start - 1 : place.stop + 1] = 0
        assert heat.max() < 1e-4, "nothing but the tail of the smoothing"


class Gated(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.conv = torch.nn.Conv2d(1, 8, 3, padding=1)
        self.block = CBAM(8)

    def forward(self, x):
        return self.block(self.conv(x)).mean(dim=(2, 3))[:, :7]


def test_channel_is_the_weighted_mean_of_the_map():
    net = Gated().eval()
    batch = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    net.block.record = True
    with torch.no_grad():
        features = net.conv(batch)[0].numpy()
        net(batch)
    weights = net.block.last_channel[0].numpy()
    expected = np.average(features, axis=0, weights=weights)
    np.testing.assert_allclose(channel.compute(net, batch), expected, atol=1e-6)
    assert np.abs(expected - features.mean(axis=0)).max() > 1e-3, "the weights matter"
    assert not net.block.channel._forward_hooks
    assert not channel.supports(Bent())


def vit(**changes) -> torch.nn.Module:
    options = {"img_size": 12, "patch_size": 4, "in_chans": 1, "num_classes": 7, "embed_dim": 12, "num_heads": 3}
    torch.manual_seed(0)
    net = import_repaired("timm.models.vision_transformer").VisionTransformer(**options | {"depth": 1} | changes)
    for block in net.blocks:  # fresh weights attend almost evenly: sharpen them
        block.attn.qkv.weight.data *= 40
    return net.double().eval()


@pytest.mark.parametrize("options", [{"class_token": True}, {"class_token": False, "global_pool": "avg"}])
def test_gradient_rollout_of_one_layer_by_finite_differences(options):
    net = vit(**options)
    batch = torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(3)).double()
    attn = net.blocks[0].attn
    attn.fused_attn = False
    kept: list[torch.Tensor] = []

    def score(change: torch.Tensor | float, target: int) -> float:
        handle = attn.attn_drop.register_forward_hook(lambda _m, _i, out: kept.append(out) or out + change)
        with torch.no_grad():
            value = float(net(batch)[0, target])
        handle.remove()
        return value

    for target in (0, 4):
        score(0.0, target)
        attention = kept[-1]
        gradient = torch.zeros_like(attention)
        for at in np.ndindex(*attention.shape):
            step = torch.zeros_like(attention)
            step[at] = 1e-4
            gradient[at] = (score(step, target) - score(-step, target)) / 2e-4
        layer = (gradient * attention).clamp(min=0)[0].mean(dim=0).numpy()
        flow = np.eye(len(layer)) + layer
        expected = flow[0, 1:] if options["class_token"] else flow.mean(axis=0)
        grid = gradient_rollout.compute(net, batch, target)
        np.testing.assert_allclose(grid.ravel(), expected, atol=1e-7)
        assert np.ptp(grid) > 1e-4
    assert not np.allclose(gradient_rollout.compute(net, batch, 0), gradient_rollout.compute(net, batch, 4))


def hog_predictor(spec: InputSpec) -> SimpleNamespace:
    """A predictor on HOG that was never trained: its picture needs no support vectors."""
    manifest = SimpleNamespace(model="hog_svm")
    return SimpleNamespace(
        estimator=HogSvm(7, spec), input_spec=spec, name="hog_svm", labels=FER7, manifest=manifest, module=None
    )


@pytest.mark.parametrize("spec", [InputSpec(48, 1, 48), InputSpec(48, 3, 48)])
def test_the_hog_picture_shows_edges_where_they_are(spec):
    predictor = hog_predictor(spec)
    assert methods_for(predictor) == ["occlusion", "hog"]
    face = np.full((96, 96, 3), 60, np.uint8)
    face[:, 56:] = 200  # one upright edge, in the cells of columns 48..64
    heat = explain(predictor, face, "hog")
    assert heat.shape == (96, 96) and heat.max() == 1
    assert heat[:, 48:64].sum() > 0.95 * heat.sum()
    np.testing.assert_array_equal(heat, explain(predictor, face, "hog", target="sad"))
    assert "hog" not in methods_for(StandIn(Bent(), InputSpec(12, 1, 12)))


@pytest.mark.parametrize(
    ("net", "method"),
    [
        (Weighted(np.random.default_rng(0).normal(size=(12, 12)).astype(np.float32).tolist()), "layer_cam"),
        (Gated(), "channel"),
        (Bent(), "integrated_gradients"),
        (vit(depth=2).float(), "gradient_rollout"),
    ],
)
def test_several_threads_at_once_get_what_each_gets_alone(net, method):
    predictor = StandIn(net.eval(), InputSpec(12, 1, 12))
    rng = np.random.default_rng(0)
    faces = [rng.integers(0, 256, (12, 12), dtype=np.uint8) for _ in range(3)]
    expected = [(predictor.predict_proba([f]), explain(predictor, f, method, 1)) for f in faces]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(4):
            if not np.array_equal(explain(predictor, faces[i], method, 1), expected[i][1]):
                wrong.append(i)
            if not np.array_equal(predictor.predict_proba([faces[i]]), expected[i][0]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert any(heat.any() for _, heat in expected)


def test_the_table_has_every_method_of_the_project():
    cams = {"grad_cam", "grad_cam_pp", "layer_cam"}
    attention = {"cbam", "channel", "spatial", "self_attention", "rollout", "gradient_rollout"}
    assert set(METHODS) == cams | attention | {"integrated_gradients", "occlusion", "hog"}
