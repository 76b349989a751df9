"""The licence of what is published: the card, the LICENSE file and what timm reads say the same."""

import json

import pytest

from tests.hub_calls import ROOT
from tests.hub_look_alike import USER
from tests.hub_routes import card_errors

pytest_plugins = ("tests.hub_fixtures",)


NAMES = ("affectnet-non-commercial-research", "terms-not-fully-known", "imagenet-terms")


@pytest.mark.parametrize(
    ("changes", "name"),
    list(zip(({"data": "affectnet"}, {"data": "blobs"}, {"training": {"pretrained": True}}), NAMES, strict=True)),
    ids=NAMES,
)
def test_a_net_that_may_not_be_used_freely_is_not_published_as_mit(changes, name, made, push, server):
    """The card, the LICENSE file and what timm reads say the same, before and after."""
    repo = f"terms-{name}"
    folder = made("vit_tiny", made.small(1), data="fer2013", patch_px=8)
    assert push("--checkpoint", folder, "--name", repo, "--no-collection")[0] == 0
    files = server[0].repo(f"{USER}/{repo}").files()
    assert files["LICENSE"].startswith((ROOT / "LICENSE").read_bytes()) and b"\nlicense: mit\n" in files["README.md"]
    assert b"does not hold for the\npictures that the net learnt from" in files["LICENSE"]
    assert b"FER2013 (Goodfellow" in files["LICENSE"] and b"speak of the pictures alone" in files["README.md"]
    assert json.loads(files["config.json"])["pretrained_cfg"]["license"] == "mit"
    strict = made("vit_tiny", made.small(1), **{"data": "fer2013", **changes}, patch_px=8)
    assert push("--checkpoint", strict, "--name", repo, "--no-collection", "--force-push")[0] == 0
    files = server[0].repo(f"{USER}/{repo}").files()
    card = files["README.md"].decode()
    assert f"\nlicense: other\nlicense_name: {name}\nlicense_link: " in card and f"The weights: {name} (" in card
    assert list(card_errors(card, "model")) == []
    assert files["LICENSE"].decode().startswith(f"The weights: {name} (") and b"Permission" not in files["LICENSE"]
    assert json.loads(files["config.json"])["pretrained_cfg"]["license"] == name
