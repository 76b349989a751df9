"""The nets one by one: their shapes, blocks, heads, and that every recipe names parts that they have."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fer.errors import ConfigError
from fer.models import RECIPES, get_model, get_preset, list_models
from fer.models.layers import RowNorm, SelfAttention, SpatialGate
from fer.models.resnet18_transfer import timm_weights
from fer.settings import from_dict, to_dict
from fer.specs import InputSpec, Preset
from fer.torchvision_repair import import_repaired
from fer.transforms import normalise, prepare

TORCH = [name for name in list_models() if get_model(name).SPEC.backend == "torch"]
PRESETS = [(n, r) for n in TORCH for r in RECIPES if r == "best" or hasattr(get_model(n), "REFERENCE")]
NEW = ["custom_cnn", "resnet18_transfer", "resnet34_attention", "emotionnet", "vgg8", "tiny_cnn"]


def output_sides(net: nn.Module, part: nn.Module, size: int, channels: int = 1) -> tuple[int, int]:
    kept = []
    handle = part.register_forward_hook(lambda _m, _i, out: kept.append(tuple(out.shape[-2:])))
    with torch.no_grad():
        net.eval()(torch.zeros(1, channels, size, size))
    handle.remove()
    return kept[-1]


@pytest.mark.parametrize("name", NEW)
@pytest.mark.parametrize(("size", "channels"), [(32, 3), (45, 1), (49, 1), (64, 3)])
def test_new_nets_take_sizes_and_colours(name, size, channels):
    net = get_model(name).build(5, InputSpec(size, channels, size)).eval()
    x = torch.randn(2, channels, size, size)
    before = x.clone()
    with torch.no_grad():
        out = net(x)
    assert out.shape == (2, 5) and torch.isfinite(out).all() and torch.equal(x, before)


@pytest.mark.parametrize("name", TORCH)
def test_the_head_is_exactly_what_depends_on_the_classes(name):
    entry = get_model(name)
    seven, eight = ({k: tuple(v.shape) for k, v in entry.build(n).state_dict().items()} for n in (7, 8))
    assert seven.keys() == eight.keys()
    differing = {k for k in seven if seven[k] != eight[k]}
    named = {k for k in seven if any(k == p or k.startswith(p + ".") for p in entry.SPEC.head)}
    assert differing == named != set()


@pytest.mark.parametrize(("name", "recipe"), PRESETS)
def test_recipes_build_and_name_parts_that_the_net_has(name, recipe):
    entry = get_model(name)
    preset = get_preset(name, recipe)
    assert preset.recipe.name == recipe
    spec = preset.input or entry.SPEC.input
    # the same preset after a journey through JSON, as in a checkpoint
    preset = from_dict(Preset, to_dict(preset))
    net = entry.build(7, spec, **{k: v for k, v in preset.model_args.items() if k != "pretrained"}).eval()
    with torch.no_grad():
        assert net(torch.zeros(1, spec.channels, spec.size_px, spec.size_px)).shape == (1, 7)
    parts = {n for n, _ in net.named_modules()} | {n for n, _ in net.named_parameters()}
    for phase in preset.recipe.phases:
        assert {*phase.freeze, *phase.lr_factors} <= parts


def test_only_vgg8_and_tiny_cnn_come_from_no_project():
    assert [n for n in TORCH if not hasattr(get_model(n), "REFERENCE")] == ["vgg8", "tiny_cnn"]
    with pytest.raises(ConfigError, match="vgg8 has no reference recipe"):
        get_preset("vgg8", "reference")


def test_reference_recipes_are_those_of_the_projects():
    """The values of the table in the projects' own words."""
    ref = {n: get_preset(n, "reference") for n in TORCH if n not in ("vgg8", "tiny_cnn")}
    for name in ("baseline_cnn4", "cbam_cnn4"):
        r, p = ref[name].recipe, ref[name].recipe.phases[0]
        assert (p.optimizer, p.lr, p.weight_decay, p.schedule, p.epochs) == ("adam", 1e-3, 1e-4, "plateau", 50)
        assert (r.batch_size, r.augment.rotate_deg, r.augment.flip, r.augment.erase) == (64, 10, 0.5, 0)
        assert (ref[name].input.mean, ref[name].input.std) == (0.5, 0.5)
    for name, lr, stop in [("baseline_cnn", 1e-3, 10), ("attention_cnn", 1e-3, 10), ("vit_tiny", 5e-5, 20)]:
        r, p = ref[name].recipe, ref[name].recipe.phases[0]
        assert (p.optimizer, p.lr, p.schedule, p.early_stopping, p.watch) == ("adamw", lr, "plateau", stop, "accuracy")
        assert (r.batch_size, r.class_weights) == (64, "balanced") and p.patience < stop
    assert ref["vit_tiny"].recipe.phases[0].warmup_epochs == 5
    r = ref["resnet34_attention"].recipe
    assert [(p.name, p.epochs, p.optimizer, p.schedule, p.data) for p in r.phases] == [
        ("affectnet", 15, "adam", "plateau", "affectnet"),
        ("fer2013", 12, "adam", "plateau", ""),
    ]
    assert r.phases[1].lr_factors["backbone"] < 1 and r.class_weights == "balanced" and r.label_smoothing > 0
    assert r.augment.erase > 0 and r.augment.saturation > 0 and r.augment.shift > 0
    r, p = ref["emotionnet"].recipe, ref["emotionnet"].recipe.phases[0]
    assert (p.optimizer, p.lr, p.weight_decay, p.schedule, p.epochs) == ("adamw", 1e-4, 1e-5, "warm_restarts", 30)
    assert r.batch_size == 8
    head, whole = ref["resnet18_transfer"].recipe.phases
    assert head.freeze == ("backbone",) and whole.freeze == () and whole.lr < head.lr
    assert {p.watch for p in (head, whole)} == {"loss"}
    for name in ("vit_tiny", "resnet18_transfer", "resnet34_attention", "emotionnet"):
        assert ref[name].model_args["pretrained"] is True
        assert (ref[name].input.size_px, ref[name].input.channels) == (224, 3)


def test_best_recipes_have_the_two_phases():
    head, whole = get_model("resnet18_transfer").RECIPE.phases
    assert (head.name, head.epochs, head.freeze) == ("head", 1, ("backbone",)) and whole.lr < head.lr
    first, second = get_model("resnet34_attention").RECIPE.phases
    assert (first.data, second.data) == ("affectnet", "") and second.lr_factors["backbone"] < 1


@pytest.mark.parametrize("name", TORCH)
def test_every_net_learns_a_few_faces_by_heart(name, blob_data):
    """Gradients reach every parameter, and the loss of seven faces falls far below that of guessing."""
    spec = InputSpec(16, 1, 16)
    torch.manual_seed(0)
    entry = get_model(name)
    off = {"resnet34_attention": {"dropout": 0.0}, "emotionnet": {"dropout": 0.0, "drop_path": 0.0}}
    net = entry.build(7, spec, **off.get(name, {})).train()
    x = normalise(torch.from_numpy(prepare(blob_data["train"].faces[:7], spec)), spec)
    y = torch.from_numpy(blob_data["train"].targets[:7])
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(net(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if losses[-1] < 0.3:
            break
    assert losses[-1] < 0.6 < losses[0], losses
    still = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == []


# --- ResNets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["resnet18_transfer", "resnet34_attention"])
def test_native_stem_keeps_the_resolution(name):
    build = get_model(name).build
    net = build(7)
    conv1 = net.backbone.conv1
    assert (conv1.kernel_size, conv1.stride, conv1.padding, conv1.bias) == ((3, 3), (1, 1), (1, 1), None)
    assert isinstance(net.backbone.maxpool, nn.Identity)
    for size, sides in [(44, (44, 22, 11, 6)), (32, (32, 16, 8, 4)), (45, (45, 23, 12, 6))]:
        for i, side in enumerate(sides, start=1):
            assert output_sides(net, net.backbone.get_submodule(f"layer{i}"), size) == (side, side)
        assert output_sides(net, net.cam_layer, size) == (sides[-1], sides[-1])
    published = build(7, InputSpec(224, 3, 224), stem="imagenet")
    assert published.backbone.conv1.kernel_size == (7, 7)
    assert output_sides(published, published.backbone.layer1, 224, 3) == (56, 56)
    assert output_sides(published, published.cam_layer, 224, 3) == (7, 7)


@pytest.mark.parametrize("stem", ["native", "imagenet"])
def test_timm_takes_the_resnet_by_its_own_names(stem):
    ours = get_model("resnet18_transfer").build(7, InputSpec(48, 1, 48), stem=stem).eval()
    theirs = import_repaired("timm").create_model("resnet18", num_classes=7, in_chans=1).eval()
    if stem == "native":
        theirs.conv1, theirs.maxpool = nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.Identity()
    theirs.load_state_dict(timm_weights(ours.state_dict()), strict=True)
    x = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x))


def test_backbones_of_the_other_two_have_timms_names():
    timm = import_repaired("timm")
    for name, architecture in [("resnet34_attention", "resnet34"), ("emotionnet", "efficientnet_b0")]:
        spec = InputSpec(64, 3, 64)
        args = {"stem": "imagenet"} if name == "resnet34_attention" else {"early_strides": [2, 2]}
        net = get_model(name).build(7, spec, **args).eval()
        theirs = timm.create_model(architecture, num_classes=0, global_pool="").eval()
        theirs.load_state_dict(net.backbone.state_dict(), strict=True)
        x = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(theirs(x), net.backbone(x))


def test_spatial_gate_against_its_equation():
    torch.manual_seed(0)
    gate = SpatialGate(5).eval()
    x = torch.randn(2, 6, 7, 7)
    stats = torch.stack([x.mean(1), x.amax(1)], dim=1)
    mask = torch.sigmoid(gate.spatial.bn(F.conv2d(stats, gate.spatial.conv.weight, padding=2)))
    torch.testing.assert_close(gate(x), x * mask)
    assert gate.last_spatial is None
    gate.record = True
    gate(x)
    torch.testing.assert_close(gate.last_spatial, mask)
    assert not gate.last_spatial.requires_grad


def test_resnet34_applies_its_mask_to_the_last_map():
    net = get_model("resnet34_attention").build(7, InputSpec(32, 1, 32)).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        maps = net.backbone(x)
        pooled = (maps * net.attention.spatial(maps)).mean((2, 3))
        torch.testing.assert_close(net(x), pooled @ net.classifier.weight.T + net.classifier.bias)


# --- EmotionNet -------------------------------------------------------------------------------------------------------


def test_self_attention_equals_torchs():
    torch.manual_seed(0)
    ours = SelfAttention(16, 4).eval()
    theirs = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, torch.randn(48)
    ours.qkv.bias.data = theirs.in_proj_bias.data
    theirs.out_proj.weight.data, theirs.out_proj.bias.data = ours.proj.weight.data, ours.proj.bias.data
    x = torch.randn(3, 9, 16)
    n = ours.norm(x)
    expected, weights = theirs(n, n, n, average_attn_weights=False)
    torch.testing.assert_close(ours(x), x + expected)
    assert ours.last_attention is None
    ours.record = True
    ours(x)
    torch.testing.assert_close(ours.last_attention, weights)
    with pytest.raises(ConfigError, match="heads"):
        SelfAttention(10, 4)


def test_row_norm_survives_a_batch_of_one_and_is_batch_norm_otherwise():
    torch.manual_seed(0)
    ours, theirs = RowNorm(5), nn.BatchNorm1d(5)
    x = torch.randn(8, 5) * 3 + 1
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    before = ours.running_mean.clone()
    torch.testing.assert_close(ours.train()(x[:1]), theirs.eval()(x[:1]))
    assert torch.equal(ours.running_mean, before)


@pytest.mark.parametrize(
    ("size", "strides", "side"), [(44, (1, 1), 6), (44, (1, 2), 3), (45, (2, 1), 3), (224, (2, 2), 7), (33, (2, 2), 2)]
)
def test_emotionnet_has_one_token_per_position(size, strides, side):
    net = get_model("emotionnet").build(7, InputSpec(size, 1, size), early_strides=strides)
    assert output_sides(net, net.cam_layer, size) == (side, side)
    assert net.positions.shape == (side * side, 256)
    net.attention.record = True
    with torch.no_grad():
        net(torch.zeros(2, 1, size, size))
    attention = net.attention.last_attention
    assert attention.shape == (2, 8, side**2, side**2)
    torch.testing.assert_close(attention.sum(-1), torch.ones(2, 8, side**2))


def test_emotionnet_in_its_own_words():
    net = get_model("emotionnet").build(7, InputSpec(32, 1, 32)).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        maps = net.backbone(x)
        maps = net.project(maps * net.channel(maps))
        tokens = torch.stack([maps[:, :, i // 4, i % 4] for i in range(16)], dim=1) + net.positions
        pooled = net.norm(net.encoder(net.attention(tokens))).mean(1)
        torch.testing.assert_close(net(x), net.classifier(net.hidden(pooled)))
    assert any(isinstance(m, nn.Dropout) for m in net.hidden) and any(isinstance(m, RowNorm) for m in net.hidden)
    assert "positions" not in net.state_dict(), "made anew for each size"
    rates = [m.drop_prob for m in net.backbone.modules() if type(m).__name__ == "DropPath"]
    assert 0.1 <= max(rates) <= 0.2
    net.train()(x[:1])  # one face left over for the last batch


# --- the two plain nets -----------------------------------------------------------------------------------------------


def test_custom_cnn_vgg8_and_tiny_cnn_have_the_layers_they_name():
    kinds = lambda net, kind: [m for m in net.modules() if isinstance(m, kind)]  # noqa: E731
    custom = get_model("custom_cnn").build(7)
    assert [len(kinds(custom, k)) for k in (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d, nn.Linear)] == [4, 4, 4, 2]
    assert output_sides(custom, custom.features, 48) == (3, 3) and output_sides(custom, custom.cam_layer, 48) == (6, 6)
    vgg = get_model("vgg8").build(7)
    assert [c.out_channels for c in kinds(vgg, nn.Conv2d)] == [32, 32, 64, 64, 128, 128, 256, 256]
    assert {c.kernel_size for c in kinds(vgg, nn.Conv2d)} == {(3, 3)} and len(kinds(vgg, nn.BatchNorm2d)) == 8
    assert output_sides(vgg, vgg.cam_layer, 44) == (6, 6)
    wide = get_model("vgg8").build(7, widths=(64, 128, 256, 512))
    assert sum(p.numel() for p in wide.parameters()) == 4_689_735
    tiny = get_model("tiny_cnn").build(7)
    assert [c.out_channels for c in kinds(tiny, nn.Conv2d)] == [24, 24, 48, 48, 96, 96, 128, 128]
    assert sum(p.numel() for p in tiny.parameters()) < 500_000 and output_sides(tiny, tiny.cam_layer, 44) == (6, 6)


def test_pooling_before_the_relu_changes_nothing():
    vgg = get_model("vgg8").build(7, InputSpec(32, 1, 32)).eval()
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        maps = x
        for i, stage in enumerate(vgg.stages):
            maps = torch.relu(stage[2](stage[1](stage[0](maps))))
            maps = F.max_pool2d(maps, 2, ceil_mode=True) if i < 3 else maps
        torch.testing.assert_close(vgg.stages(x), maps)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spec", "args", "message"),
    [
        ("custom_cnn", InputSpec(12, 1, 12), {}, "at least 16, got 12"),
        ("vgg8", InputSpec(12, 1, 12), {}, "at least 16, got 12"),
        ("tiny_cnn", InputSpec(12, 1, 12), {}, "at least 16, got 12"),
        ("resnet18_transfer", InputSpec(28, 1, 28), {"stem": "imagenet"}, "at least 32, got 28"),
        ("resnet34_attention", InputSpec(12, 1, 12), {}, "at least 16, got 12"),
        ("resnet18_transfer", InputSpec(), {"stem": "natve"}, "did you mean 'native'"),
        ("resnet34_attention", InputSpec(), {"pretrained": True}, "stem=imagenet"),
        ("emotionnet", InputSpec(32, 1, 32), {"early_strides": [2, 2]}, "leaves one position"),
        ("emotionnet", InputSpec(), {"early_strides": [1, 3]}, "two of 1 or 2"),
        ("emotionnet", InputSpec(), {"width": 250}, "multiple of 4"),
    ],
)
def test_what_cannot_be_built_says_so(name, spec, args, message):
    with pytest.raises(ConfigError, match=message):
        get_model(name).build(7, spec, **args)


@pytest.mark.parametrize("name", NEW)
def test_new_nets_answer_a_face_alone_as_among_others(name):
    entry = get_model(name)
    net = entry.build(7, dataclasses.replace(entry.SPEC.input, size_px=32)).eval()
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 1, 32, 32)).astype(np.float32))
    with torch.no_grad():
        torch.testing.assert_close(net(x)[1:2], net(x[1:2]), atol=1e-5, rtol=1e-5)
