"""Published nets whose architecture is timm's, as timm alone loads them."""

import json
import re

import pytest

from tests.hub_calls import COMPARE, TIMM
from tests.hub_look_alike import USER

pytest_plugins = ("tests.hub_fixtures",)


@pytest.mark.parametrize(
    ("model", "channels", "args", "own_file"),
    [
        pytest.param("resnet18_transfer", 3, {"stem": "imagenet"}, False, marks=pytest.mark.slow),
        pytest.param("resnet18_transfer", 1, {"stem": "imagenet"}, False, marks=pytest.mark.slow),
        ("vit_tiny", 3, {"stem": False, "patch_px": 16}, True),
        ("vit_tiny", 1, {"patch_px": 8}, True),
    ],
)
def test_timm_loads_what_is_its_own_by_name(model, channels, args, own_file, made, push, server, client):
    folder = made(model, made.small(channels), **args)
    repo = f"timm-{model}-{channels}"
    assert push("--checkpoint", folder, "--name", repo, "--no-collection")[0] == 0
    files = server[0].repo(f"{USER}/{repo}").files()
    assert ("timm.safetensors" in files) != own_file
    card = files["README.md"].decode()
    code = re.search(r"### With timm alone\n+```python\n(.*?)```", card, re.DOTALL)[1]
    answer = client(TIMM, lines=code, place=str(folder))
    assert not answer.error, answer.traceback
    assert answer.value[0] is True
    assert client(COMPARE, place=str(folder), name=f"hf:{USER}/{repo}", backend="torch").value[:2] == [True, True]


@pytest.mark.parametrize(("model", "args"), [("resnet18_transfer", {}), ("resnet34_attention", {"stem": "imagenet"})])
def test_what_is_not_timms_does_not_claim_to_be(model, args, made, push, server):
    repo = f"own-{model}"
    assert push("--checkpoint", made(model, made.small(1), **args), "--name", repo, "--no-collection")[0] == 0
    files = server[0].repo(f"{USER}/{repo}").files()
    assert "architecture" not in json.loads(files["config.json"]) and b"timm alone" not in files["README.md"]
