"""Published weights come from the Hub's cache, or a clear error comes: never random numbers in their place."""

import struct
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from fer import hub
from fer.errors import HubError
from fer.models import get_model
from fer.specs import InputSpec
from fer.torchvision_repair import import_repaired

NETS = {
    "resnet18_transfer": ("resnet18", "resnet18.tv_in1k", {"stem": "imagenet"}),
    "emotionnet": ("efficientnet_b0", "efficientnet_b0.ra_in1k", {"early_strides": (1, 1)}),
    "vit_tiny": (
        "vit_tiny_patch16_224",
        "vit_tiny_patch16_224.augreg_in21k_ft_in1k",
        {"stem": False, "patch_px": 16},
    ),
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of the Hub's client, which itself is offline."""
    folder = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


def put(cache: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    """A file where the Hub's client keeps it."""
    repo, commit = cache / f"models--timm--{name}", "0" * 40
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    file = repo / "snapshots" / commit / hub.TIMM_FILE
    file.parent.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in state.items()}, file)
    return file


def published(architecture: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return import_repaired("timm").create_model(architecture, num_classes=1000).state_dict()


@pytest.mark.parametrize("name", NETS)
def test_weights_in_the_cache_are_used_without_a_network(name, cache):
    architecture, tag, args = NETS[name]
    state = published(architecture)
    put(cache, tag, state)
    colour = get_model(name).build(7, InputSpec(224, 3, 224), pretrained=True, **args)
    there = colour.state_dict() if name == "vit_tiny" else colour.backbone.state_dict()
    head = ("head", "classifier", "fc")
    for key, value in state.items():
        if not key.startswith(head):
            torch.testing.assert_close(there[key], value)
    # one channel: the filters of three summed up, so a grey face gives what it gives as RGB
    grey = get_model(name).build(7, InputSpec(224, 1, 224), pretrained=True, **args)
    grey.load_state_dict({k: v for k, v in colour.state_dict().items() if k.startswith(head)}, strict=False)
    if name != "vit_tiny":
        colour, grey = colour.backbone, grey.backbone
    x = torch.randn(1, 1, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(colour.eval()(x.repeat(1, 3, 1, 1)), grey.eval()(x), atol=1e-4, rtol=1e-3)


def test_another_input_size_moves_the_positions_of_the_vit(cache):
    state = published("vit_tiny_patch16_224")
    put(cache, NETS["vit_tiny"][1], state)
    net = get_model("vit_tiny").build(7, InputSpec(96, 1, 96), stem=False, patch_px=16, pretrained=True)
    assert net.pos_embed.shape == (1, 37, 192)
    torch.testing.assert_close(net.blocks[3].attn.qkv.weight, state["blocks.3.attn.qkv.weight"])


def test_what_is_not_in_the_cache_is_fetched_once(cache, monkeypatch):
    asked = []

    def download(repo, file, cache_dir=None):
        asked.append((repo, file))
        return str(put(cache, "resnet18.tv_in1k", published("resnet18")))

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for _ in range(2):
        hub.pretrained_net("resnet18.tv_in1k", num_classes=7)
    assert asked == [("timm/resnet18.tv_in1k", "model.safetensors")]


@pytest.mark.parametrize("name", NETS)
def test_no_network_and_an_empty_cache(name, cache):
    """The real client, offline: it must not hang, and the run must not go on with random weights."""
    _, tag, args = NETS[name]
    began = time.perf_counter()
    with pytest.raises(
        HubError, match=rf"timm/{tag}: download failed: offline mode .*--no-pretrained or --recipe best"
    ):
        get_model(name).build(7, InputSpec(224, 3, 224), pretrained=True, **args)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    "error", [ConnectionError("refused"), LocalEntryNotFoundError("nowhere"), TimeoutError("slow")]
)
def test_a_download_that_fails(cache, monkeypatch, error):
    def refuse(*_args, **_options):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(HubError, match="needed once"):
        get_model("resnet34_attention").build(8, InputSpec(224, 3, 224), stem="imagenet", pretrained=True)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100_000])


def page(file: Path) -> None:
    file.write_text("<html>sign in</html>")


def huge_header(file: Path) -> None:
    file.write_bytes(struct.pack("<Q", 2**40) + b"{}")


@pytest.mark.parametrize("damage", [cut, page, huge_header])
def test_a_damaged_file(damage, cache):
    file = put(cache, "resnet18.tv_in1k", published("resnet18"))
    damage(file)
    with pytest.raises(HubError, match=r"damaged or do not fit .*delete the file"):
        hub.pretrained_net("resnet18.tv_in1k", num_classes=0)


def test_weights_of_another_net_or_with_holes(cache):
    state = published("resnet18")
    file = put(cache, "resnet18.tv_in1k", {k: v for k, v in state.items() if not k.startswith("layer4.1")})
    with pytest.raises(HubError, match=r"lack 10 of .* tensors, layer4\.1\.conv1\.weight first"):
        hub.pretrained_net("resnet18.tv_in1k", num_classes=0)
    save_file({k: v[..., :1].contiguous() if "layer4.0.conv1" in k else v for k, v in state.items()}, file)
    with pytest.raises(HubError, match="do not fit"):
        hub.pretrained_net("resnet18.tv_in1k", num_classes=0)


def test_a_name_without_weights():
    with pytest.raises(HubError, match=r"knows no published weights 'resnet18\.nobody'"):
        hub.pretrained_net("resnet18.nobody")
