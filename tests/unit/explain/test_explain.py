"""Heat maps on nets that are so small that the right answer is known."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fer.errors import ConfigError, ImageError
from fer.explain import METHODS, cbam, explain, grad_cam, methods_for, resolve, rollout
from fer.explain.frame import normalise, over_input, to_face
from fer.explain.method import private_copy
from fer.models.layers import CBAM
from fer.specs import InputSpec
from fer.torchvision_repair import import_repaired
from tests.stand_in_predictor import StandIn


class QuadrantNet(torch.nn.Module):
    """Class 0 is scored by the top left quarter of the input, class 1 by the bottom right one, the rest by nothing."""

    def __init__(self, size_px: int, pool: int = 4):
        super().__init__()
        self.features = torch.nn.Conv2d(1, 2, 1, bias=False)
        torch.nn.init.ones_(self.features.weight)
        self.relu = torch.nn.ReLU(inplace=True)
        self.pool = torch.nn.AvgPool2d(pool)
        half = size_px // pool // 2
        read = torch.zeros(7, 2, 2 * half, 2 * half)
        read[0, 0, :half, :half] = 1
        read[1, 1, half:, half:] = 1
        self.register_buffer("read", read)

    @property
    def cam_layer(self):
        return self.features

    def forward(self, x):
        maps = self.pool(self.relu(self.features(x)))
        # each channel only counts inside its own quarter, also for the map itself
        return torch.einsum("nkhw,ckhw->nc", maps, self.read)


def bright(size: int, rows: slice, columns: slice) -> np.ndarray:
    face = np.zeros((size, size), np.uint8)
    face[rows, columns] = 255
    return face


@pytest.fixture
def quadrant() -> StandIn:
    return StandIn(QuadrantNet(32), InputSpec(32, 1, 32, mean=0.0, std=1.0))


# --- Grad-CAM ---------------------------------------------------------------------------------------------------------


def test_grad_cam_points_at_what_raises_the_class(quadrant):
    face = bright(64, slice(8, 24), slice(8, 24))
    heat = explain(quadrant, face, "grad_cam", target=0)
    assert heat.shape == face.shape and heat.dtype == np.float32
    assert heat.max() == 1 and heat.min() == 0
    assert heat[8:24, 8:24].min() > 0.5 and heat[32:].max() == 0 and heat[:, 32:].max() == 0


def test_grad_cam_equals_the_paper_on_a_two_channel_map():
    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.cam_layer = torch.nn.Identity()

        def forward(self, x):
            maps = self.cam_layer(torch.cat([x, x.flip(-1)], dim=1))
            weights = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)
            return (maps * weights).mean(dim=(2, 3)).sum(dim=1, keepdim=True).repeat(1, 2) * torch.tensor([1.0, -1.0])

    x = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]])
    area = 4  # the mean over 4 positions puts 1/4 on every gradient
    by_hand = np.maximum(0, (3 * x[0, 0].numpy() - x[0, 0].flip(-1).numpy()) / area) / area * area
    assert np.allclose(grad_cam.compute(Head(), x, 0), by_hand, atol=1e-6)
    opposite = np.maximum(0, (-3 * x[0, 0].numpy() + x[0, 0].flip(-1).numpy()) / area)
    assert np.allclose(grad_cam.compute(Head(), x, 1), opposite, atol=1e-6)


def test_grad_cam_asks_about_the_class_that_is_given(quadrant):
    face = np.full((32, 32), 255, np.uint8)
    quadrant.module.read[0] *= 0
    quadrant.module.read[0, 0, :4, :4] = -1  # now brightness speaks against class 0
    assert explain(quadrant, face, "grad_cam", target="angry").max() == 0, "nothing raises the class: no map"
    assert np.array_equal(
        explain(quadrant, bright(32, slice(0, 8), slice(0, 8)), "grad_cam", target="disgust"),
        explain(quadrant, bright(32, slice(0, 8), slice(0, 8)), "grad_cam", target=1),
    )


def test_the_default_target_is_the_predicted_class():
    spec = InputSpec(16, 1, 16, mean=0.0, std=1.0)
    torch.manual_seed(0)

    class Plain(torch.nn.Sequential):
        @property
        def cam_layer(self):
            return self[1]

    net = Plain(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(4, 7),
    )
    predictor = StandIn(net, spec)
    face = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    top = int(predictor.predict_proba([face])[0].argmax())
    maps = [explain(predictor, face, "grad_cam", target=c) for c in range(7)]
    assert np.array_equal(explain(predictor, face, "grad_cam"), maps[top])
    assert any(not np.array_equal(maps[top], m) for m in maps)


def test_a_net_without_convolutions_says_so():
    predictor = StandIn(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 7)), InputSpec(16, 1, 16))
    assert methods_for(predictor) == ["occlusion", "integrated_gradients"]
    with pytest.raises(ConfigError, match=r"grad_cam needs a convolutional net .* 'stand_in' has none"):
        explain(predictor, np.zeros((16, 16), np.uint8), "grad_cam")


# --- CBAM -------------------------------------------------------------------------------------------------------------


class GatedNet(torch.nn.Module):
    """Two stages, at full and at half resolution, with CBAM in each."""

    def __init__(self):
        super().__init__()
        self.stages = torch.nn.ModuleList(
            [
                torch.nn.Sequential(CBAM(2), CBAM(2)),
                torch.nn.Sequential(torch.nn.MaxPool2d(2), CBAM(2)),
                torch.nn.Identity(),
            ]
        )

    def forward(self, x):
        x = x.repeat(1, 2, 1, 1)
        for stage in self.stages:
            x = stage(x)
        return x.mean(dim=(2, 3)).repeat(1, 4)[:, :7]


def test_cbam_multiplies_the_last_mask_of_every_stage():
    torch.manual_seed(1)
    net = GatedNet().eval()
    batch = torch.rand(1, 1, 16, 16)
    blocks = [net.stages[0][1], net.stages[1][1]]
    for block in blocks:
        block.record = True
    net(batch)
    fine, coarse = (b.last_spatial[0, 0].numpy().astype(np.float64) for b in blocks)
    expected = fine * over_input(coarse, 16)
    assert np.allclose(cbam.compute(net, batch), expected, atol=1e-6)
    # torch agrees about what "upsampled" means
    up = torch.nn.functional.interpolate(torch.from_numpy(coarse)[None, None], size=(16, 16), mode="bilinear")
    assert np.allclose(up[0, 0].numpy(), over_input(coarse, 16))


def test_cbam_leaves_the_net_as_it_was():
    predictor = StandIn(GatedNet().eval(), InputSpec(16, 1, 16))
    face = np.random.default_rng(0).integers(0, 256, (20, 20), dtype=np.uint8)
    before = predictor.predict_proba([face])
    heat = explain(predictor, face, "cbam")
    assert heat.shape == (20, 20) and heat.max() == 1 and heat.min() == 0
    assert np.array_equal(explain(predictor, face, "cbam", target="sad"), heat)
    assert np.array_equal(predictor.predict_proba([face]), before)
    for module in predictor.module.modules():
        assert not module._forward_hooks
        assert not getattr(module, "record", False) and getattr(module, "last_spatial", None) is None


# --- rollout ----------------------------------------------------------------------------------------------------------


def test_rollout_against_a_hand_computation():
    first = np.array([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.2, 0.2, 0.6]])
    second = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    # A1 = .5 W1 + .5 I, A2 = .5 W2 + .5 I, flow = A2 A1, written out
    a1 = [[0.75, 0.25, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]]
    expected = [a1[0], [0.05, 0.55, 0.4], [0.05, 0.55, 0.4]]
    assert np.allclose(rollout.roll_out([first, second]), expected)
    assert not np.allclose(rollout.roll_out([second, first]), expected), "the order of the layers matters"


def timm_vit(**changes):
    options = {
        "img_size": 24,
        "patch_size": 8,
        "in_chans": 1,
        "num_classes": 7,
        "embed_dim": 24,
        "depth": 2,
        "num_heads": 3,
    }
    torch.manual_seed(0)
    net = import_repaired("timm.models.vision_transformer").VisionTransformer(**options | changes).eval()
    for block in net.blocks:  # fresh weights attend almost evenly: sharpen them
        block.attn.qkv.weight.data *= 40
    return net


def attention_by_hand(net, batch):
    """Mean attention of every block from the block's own weights, without hooks."""
    layers = []
    x = net.norm_pre(net.patch_drop(net._pos_embed(net.patch_embed(batch))))
    for block in net.blocks:
        a, y = block.attn, block.norm1(x)
        q, k, _ = a.qkv(y).reshape(1, y.shape[1], 3, a.num_heads, a.head_dim).permute(2, 0, 3, 1, 4)
        layers.append(((q @ k.transpose(-2, -1)) * a.head_dim**-0.5).softmax(-1)[0].mean(0).detach().double().numpy())
        x = block(x)
    return layers


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({"class_token": True, "global_pool": "token"}, [0]),
        ({"class_token": True, "global_pool": "token", "reg_tokens": 2}, [0]),
        ({"class_token": True, "global_pool": "avg"}, range(1, 10)),
        ({"class_token": False, "global_pool": "avg"}, range(9)),
    ],
)
def test_rollout_of_a_timm_net_reads_the_tokens_that_are_classified(changes, rows):
    net = timm_vit(**changes)
    batch = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(3))
    flow = np.eye(net.pos_embed.shape[1])
    for attention in attention_by_hand(net, batch):
        flow = (0.5 * attention + 0.5 * np.eye(len(flow))) @ flow
    expected = flow[list(rows)].mean(axis=0)[-9:].reshape(3, 3)
    assert np.allclose(rollout.compute(net, batch), expected, atol=1e-6)
    assert all(b.attn.fused_attn for b in net.blocks) == timm_vit().blocks[0].attn.fused_attn
    assert not any(b.attn.attn_drop._forward_hooks for b in net.blocks)


def test_grad_cam_on_a_transformer_names_the_method_that_works():
    predictor = StandIn(timm_vit(), InputSpec(24, 1, 24))
    assert set(methods_for(predictor)) == {"rollout", "gradient_rollout", "occlusion", "integrated_gradients"}
    assert resolve(predictor) == "rollout"
    with pytest.raises(ConfigError, match="can be explained by: rollout, occlusion, gradient_rollout"):
        explain(predictor, np.zeros((24, 24), np.uint8), "grad_cam")


# --- the frame of the face --------------------------------------------------------------------------------------------


def test_a_centre_crop_is_mapped_back_to_its_place():
    grid = np.ones((11, 11))
    grid[0, 0] = 0
    heat = to_face(grid, InputSpec(44, 1, 48), 96, 96)
    assert heat.shape == (96, 96)
    assert (heat[:4] == 0).all() and (heat[92:] == 0).all() and (heat[:, :4] == 0).all(), "2 px of 48 = 4 of 96, unseen"
    assert (heat[20:92, 20:92] == 1).all()
    # centre of the cold cell: 2 px of input from the crop's edge = 4 + 4 px in the face
    assert heat[7:9, 7:9].max() < 0.13 and heat[4, 4] == 0
    assert heat[16:18, 7].min() > 0.9


def test_a_spike_lands_on_its_pixels_in_a_face_that_is_not_square():
    grid = np.zeros((6, 6))
    grid[1, 4] = 1
    heat = to_face(grid, InputSpec(48, 1, 48), 120, 60)
    assert heat.shape == (120, 60)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(row + 0.5 - 1.5 * 20) <= 1 and abs(column + 0.5 - 4.5 * 10) <= 1


def test_cells_that_do_not_divide_the_input_keep_the_stride_of_the_net():
    """Six cells over 44 px (three poolings with ceil_mode) are 8 px apart: the spike of cell 4 is at 36, not 33."""
    pooled = torch.nn.functional.max_pool2d(
        torch.zeros(1, 1, 44, 44).index_fill_(2, torch.tensor([36]), 1.0), 8, ceil_mode=True
    )
    assert pooled.shape[-2:] == (6, 6) and pooled[0, 0, 4, 0] == 1
    column = over_input(pooled[0, 0].numpy(), 44)[:, 0]
    assert column.argmax() in (35, 36)


def test_a_map_without_contrast_is_empty():
    assert normalise(np.full((3, 3), 0.7, np.float32) + np.float32(1e-8)).max() == 0
    assert normalise(np.array([[np.nan, 1.0]])).max() == 0
    assert to_face(np.full((6, 6), 0.3), InputSpec(48, 1, 48), 10, 10).max() == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 200), (48, 48, 3)])
def test_any_size_of_face(quadrant, shape):
    face = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    heat = explain(quadrant, face, "grad_cam", target=0)
    assert heat.shape == shape[:2] and np.isfinite(heat).all() and heat.min() >= 0 and heat.max() <= 1


@pytest.mark.parametrize(
    "face", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8), np.zeros(5, np.uint8)]
)
def test_what_is_no_face_is_refused(quadrant, face):
    with pytest.raises(ImageError, match="expected a uint8 face"):
        explain(quadrant, face)


def test_unknown_names_are_refused(quadrant):
    face = np.zeros((8, 8), np.uint8)
    with pytest.raises(ConfigError, match="did you mean 'grad_cam'"):
        explain(quadrant, face, "gradcam")
    with pytest.raises(ConfigError, match="class"):
        explain(quadrant, face, "grad_cam", target="hapy")
    with pytest.raises(ConfigError, match=r"0\.\.6"):
        explain(quadrant, face, "grad_cam", target=7)


# --- the project's own models -----------------------------------------------------------------------------------------

CNN = ["grad_cam", "occlusion", "grad_cam_pp", "layer_cam", "integrated_gradients"]


@pytest.mark.parametrize(
    ("name", "args", "methods"),
    [
        ("baseline_cnn", {}, CNN),
        ("attention_cnn", {}, ["cbam", "grad_cam", "occlusion", "channel", *CNN[2:]]),
        ("attention_cnn", {"attention": False}, CNN),
        ("vit_tiny", {}, ["gradient_rollout", "rollout", "occlusion", "integrated_gradients"]),
    ],
)
def test_every_model_has_its_methods_and_repeats_itself(name, args, methods):
    from fer.models import get_model

    torch.manual_seed(0)
    entry = get_model(name)
    module = entry.build(7, **args).eval().requires_grad_(False)
    predictor = StandIn(module, entry.SPEC.input, name, manifest=SimpleNamespace(model=name))
    assert methods_for(predictor) == methods
    face = np.random.default_rng(1).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    for method in ["auto", *methods]:
        heat = explain(predictor, face, method, target="happy")
        assert heat.shape == (60, 60)
        # an untrained net may have no place that speaks for the class
        assert heat.max() == 1 or (method == "occlusion" and heat.max() == 0)
        assert np.array_equal(heat, explain(predictor, face, method, target="happy"))
    assert np.array_equal(explain(predictor, face, target=3), explain(predictor, face, methods[0], target=3))


def test_a_private_copy_shares_weights_and_nothing_else():
    net = GatedNet().eval()
    twin = private_copy(net)
    assert all(a is b for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    assert all(a is b for a, b in zip(net.buffers(), twin.buffers(), strict=True))
    twin.stages[0][0].record = True
    assert net.stages[0][0].record is False


def test_explaining_in_one_thread_does_not_disturb_others(quadrant):
    faces = [
        bright(32, slice(0, 8), slice(0, 8)),
        bright(32, slice(20, 32), slice(20, 32)),
        np.full((32, 32), 99, np.uint8),
    ]
    expected = [(quadrant.predict_proba([f]), explain(quadrant, f, "grad_cam", 0)) for f in faces]
    wrong: list[int] = []

    def work(i: int) -> None:
        for _ in range(15):
            if not np.array_equal(explain(quadrant, faces[i], "grad_cam", 0), expected[i][1]):
                wrong.append(i)
            if not np.array_equal(quadrant.predict_proba([faces[i]]), expected[i][0]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_every_method_is_described():
    for name, method in METHODS.items():
        assert name == method.name and method.title and method.summary and method.source


def test_the_public_function_survives_the_import_of_its_package(untrained):
    """`fer.explain` is looked up in the package fer, where importing fer.explain puts the module."""
    import importlib

    import fer

    importlib.import_module("fer.explain")
    predictor = fer.load(untrained("baseline_cnn"))
    face = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    first, second = fer.explain(predictor, face), fer.explain(predictor, face=face, method="auto")
    np.testing.assert_array_equal(first, second)
