"""One contract for every model in the table."""

import numpy as np
import pytest
import torch

import fer
from fer import checkpoint
from fer.errors import ConfigError
from fer.models import MODELS, get_model, list_models
from fer.models.layers import CBAM
from fer.specs import InputSpec, ModelSpec, Recipe

PARAMETERS = {
    "baseline_cnn": 361_127,
    "attention_cnn": 1_185_847,
    "vit_tiny": 5_667_343,
    "baseline_cnn4": 3_915_143,
    "cbam_cnn4": 3_948_011,
    "custom_cnn": 422_119,
    "resnet18_transfer": 11_171_271,
    "resnet34_attention": 21_279_531,
    "emotionnet": 5_926_211,
    "vgg8": 1_174_439,
    "tiny_cnn": 421_055,
}


NETS = [name for name in list_models() if get_model(name).SPEC.backend == "torch"]


@pytest.mark.parametrize("name", NETS)
def test_spec_recipe_and_exact_parameter_count(name):
    entry = get_model(name)
    assert isinstance(entry.SPEC, ModelSpec) and isinstance(entry.RECIPE, Recipe)
    assert entry.SPEC.name == name == MODELS[name].rsplit(".", 1)[1]
    assert name in PARAMETERS, "a new model: write its exact parameter count into PARAMETERS"
    assert sum(p.numel() for p in entry.build(7).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", list_models())
def test_a_predictor_keeps_the_contract(name, untrained):
    predictor = fer.load(untrained(name))
    faces = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    before = faces.copy()
    p = predictor.predict_proba(faces)
    assert p.shape == (5, 7) and p.dtype == np.float32
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(predictor.predict_proba(faces[2:3])[0], p[2], atol=1e-5)
    np.testing.assert_array_equal(faces, before)
    assert np.ptp(p, axis=0).max() > 0, "different faces, different answers"
    assert predictor.predict_proba([]).shape == (0, 7)
    rgb = np.repeat(faces[..., None], 3, axis=3)
    np.testing.assert_allclose(predictor.predict_proba(rgb), p, atol=0.02)


@pytest.mark.parametrize("name", NETS)
def test_half_precision_on_disk_changes_little(name, tmp_path):
    entry = get_model(name)
    torch.manual_seed(1)
    module = entry.build(7)
    manifest = checkpoint.Manifest(
        name,
        ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"),
        "fer7",
        entry.SPEC.input,
        entry.RECIPE,
    )
    loaded, _ = checkpoint.load_module(checkpoint.save(tmp_path / name, module.state_dict(), manifest))
    s = entry.SPEC.input.size_px
    x = torch.randn(4, entry.SPEC.input.channels, s, s)
    with torch.no_grad():
        a, b = module.eval()(x).softmax(1), loaded(x).softmax(1)
    torch.testing.assert_close(a, b, atol=1e-3, rtol=0)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())


def test_attention_can_be_switched_off_and_nothing_else_changes():
    build = get_model("attention_cnn").build
    on, off = build(7), build(7, attention=False)
    extra = {k for k in on.state_dict() if k not in off.state_dict()}
    assert set(off.state_dict()) < set(on.state_dict())
    assert sum(isinstance(m, CBAM) for m in on.modules()) == 4
    assert not any(isinstance(m, CBAM) for m in off.modules())
    cbam = sum(p.numel() for m in on.modules() if isinstance(m, CBAM) for p in m.parameters())
    assert sum(p.numel() for p in on.parameters()) - sum(p.numel() for p in off.parameters()) == cbam
    assert all(".3." in k or ".2." in k for k in extra)


def test_cbam_against_its_equations():
    torch.manual_seed(0)
    block = CBAM(8, reduction=2).eval()
    x = torch.randn(2, 8, 5, 5)
    w0, w1 = block.channel.mlp[0].weight, block.channel.mlp[2].weight
    mlp = lambda v: torch.relu(v @ w0.T) @ w1.T  # noqa: E731
    mc = torch.sigmoid(mlp(x.mean((2, 3))) + mlp(x.amax((2, 3))))
    y = x * mc[:, :, None, None]
    stats = torch.stack([y.mean(1), y.amax(1)], dim=1)
    ms = torch.sigmoid(block.spatial.bn(torch.nn.functional.conv2d(stats, block.spatial.conv.weight, padding=3)))
    block.record = True
    torch.testing.assert_close(block(x), y * ms)
    torch.testing.assert_close(block.last_channel, mc)
    torch.testing.assert_close(block.last_spatial, ms)
    block.record, block.last_spatial = False, None
    block(x)
    assert block.last_spatial is None


@pytest.mark.parametrize(
    ("spec", "args", "tokens"),
    [
        (InputSpec(40, 1, 44), {}, 25),
        (InputSpec(48, 1, 48), {"patch_px": 4}, 144),
        (InputSpec(64, 3, 64), {"patch_px": 16}, 16),
        (InputSpec(48, 3, 48), {"stem": False}, 36),
    ],
)
def test_vit_takes_size_patch_stem_and_colour(spec, args, tokens):
    net = get_model("vit_tiny").build(7, spec, **args)
    assert net.patch_embed.num_patches == tokens
    assert net(torch.zeros(2, spec.channels, spec.size_px, spec.size_px)).shape == (2, 7)


def test_timm_alone_makes_the_plain_vit_and_takes_its_weights():
    from fer.models.vit_tiny import build
    from fer.torchvision_repair import import_repaired

    timm = import_repaired("timm")
    spec = InputSpec(48, 1, 48)
    ours = build(7, spec, stem=False).eval()
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=48, patch_size=8, in_chans=1, num_classes=7).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x))


def test_timm_with_its_own_stem_classes_takes_our_weights():
    """Spelled out with timm's classes only, as the docstring of timm_arguments promises."""
    from functools import partial

    from fer.models.vit_tiny import build
    from fer.torchvision_repair import import_repaired

    timm = import_repaired("timm")
    from timm.layers import HybridEmbed
    from timm.models.vision_transformer_hybrid import ConvStem

    ours = build(7, InputSpec(48, 1, 48)).eval()
    stem = ConvStem(in_chans=1, depth=6, channels=(24, 48, 48, 96, 96, 192), stride=(1, 2, 1, 2, 1, 2))
    theirs = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=7,
        img_size=48,
        patch_size=1,
        in_chans=1,
        class_token=False,
        global_pool="avg",
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False),
    ).eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 1, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(theirs(x), ours(x))


def test_wrong_names_and_sizes_say_so():
    with pytest.raises(ConfigError, match="did you mean 'vit_tiny'"):
        get_model("vit")
    with pytest.raises(ConfigError, match="multiple"):
        get_model("vit_tiny").build(7, InputSpec(44, 1, 44))
    with pytest.raises(ConfigError, match="stem"):
        get_model("vit_tiny").build(7, pretrained=True)
    with pytest.raises(ConfigError, match="patch_px"):
        get_model("vit_tiny").build(7, InputSpec(50, 1, 50), patch_px=5)


def test_list_models_does_not_hand_out_the_table():
    list_models().clear()
    assert list_models()
