"""Every bundled model on a Hub on 127.0.0.1 and back, as a user publishes and loads it."""

import hashlib
import json
import re

import pytest

from fer.checkpoint import read_manifest, trained_models
from fer.evaluation.results import METRICS
from tests.hub_calls import COMPARE, ROOT, RUN, TIMM
from tests.hub_look_alike import USER

pytest_plugins = ("tests.hub_fixtures",)


@pytest.fixture(scope="module")
def bundled(server):
    """Every bundled model, pushed with one command."""
    hub, client = server
    argv = ["--namespace", USER, "--model", "all", "--collection", "The nets"]
    answer = client(RUN, script=str(ROOT / "scripts" / "push_to_hub.py"), argv=argv)
    assert answer.value == 0, answer.said + answer.traceback
    return {name: hub.repo(f"{USER}/fer-{name.replace('_', '-')}") for name in trained_models()}


@pytest.mark.parametrize("backend", ["auto", pytest.param("torch", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", trained_models())
def test_round_trip_to_the_bit(name, backend, bundled, client):
    answer = client(COMPARE, place=name, name=f"hf:{bundled[name].name}", backend=backend, token=None)
    assert not answer.error, answer.traceback
    assert answer.value[:2] == [True, True] and answer.value[2] in read_manifest(name).labels


@pytest.mark.parametrize("name", trained_models())
def test_the_repository_holds_what_it_should(name, bundled):
    files, manifest = bundled[name].files(), read_manifest(name)
    weights = files[manifest.weights["file"]]
    assert hashlib.sha256(weights).hexdigest() == manifest.weights["sha256"]
    assert {"README.md", "config.json", "LICENSE", "results/history.png", "results/history.jsonl"} <= set(files)
    assert not [p for p in files if p.endswith((".parquet", ".bin", ".pt", ".pth", ".pkl"))]
    assert bundled[name].messages == ["initial commit", f"{name}, weights {manifest.weights['sha256'][:12]}"]


@pytest.mark.parametrize("name", trained_models())
def test_the_card_passes_the_checks_of_huggingface_hub(name, bundled, client):
    code = """
from huggingface_hub import ModelCard
card = ModelCard.load(repo)
card.validate()
value = [card.data.to_dict(), card.text]
"""
    answer = client(code, repo=bundled[name].name)
    assert not answer.error, answer.traceback
    data, text = answer.value
    assert data["license"] == "mit" and data["pipeline_tag"] == "image-classification"
    files = bundled[name].files()
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert files[path].startswith(b"\x89PNG"), path
    for heading in ("Load it", "What it is for", "What it is not for", "Scores", "Data and licence"):
        assert f"\n## {heading}\n" in text
    scored = [json.loads(files[p]) for p in files if p.endswith(METRICS)]
    assert ("model-index" in data) == bool(scored)
    for metrics in scored:
        assert metrics["checkpoint"]["sha256"] == read_manifest(name).weights["sha256"]
        test = metrics["splits"]["test"]["single"]
        (result,) = [r for r in data["model-index"][0]["results"] if r["dataset"]["type"] == metrics["data"]["name"]]
        shown = {m["type"]: m["value"] for m in result["metrics"]}
        assert shown == {"accuracy": round(test["accuracy"], 4), "f1": round(test["macro_f1"], 4)}
        assert f"{test['accuracy']:.1%}" in text


def test_the_collection_holds_them_all(bundled, server):
    (collection,) = [c for c in server[0].collections.values() if c["title"] == "The nets"]
    assert [i["id"] for i in collection["items"]] == [repo.name for repo in bundled.values()]


def test_a_second_run_sends_nothing(bundled, server, push):
    hub, name = server[0], trained_models()[0]
    hub.requests.clear()
    status, said = push("--model", name, "--no-collection")
    assert status == 0 and "is up to date" in said and hub.uploads() == []


def test_one_changed_byte_is_refused(bundled, server, client):
    hub, name = server[0], trained_models()[0]
    files = bundled[name].files()
    weights = read_manifest(name).weights["file"]
    files[weights] = files[weights][:-1] + bytes([files[weights][-1] ^ 1])
    hub.put(f"{USER}/tampered", files)
    answer = client("import fer; fer.load(name)", name=f"hf:{USER}/tampered")
    assert answer.error == "HubError" and "damaged or was changed" in answer.message


def test_timm_loads_the_vit_as_the_card_says(bundled, client):
    card = bundled["vit_tiny"].files()["README.md"].decode()
    code = re.search(r"### With timm alone\n+```python\n(.*?)```", card, re.DOTALL)[1]
    assert f"hf-hub:{USER}/fer-vit-tiny" in code and "import fer" not in code
    answer = client(TIMM, lines=code, place="vit_tiny")
    assert not answer.error, answer.traceback
    same, theirs, ours = answer.value
    assert same and theirs == ours
