"""What the tests of the Hub share: a Hub on 127.0.0.1, the real client in its own process, small checkpoints."""

from __future__ import annotations

import shutil

import pytest

from tests.hub_calls import ROOT, RUN, WEIGHTS, manifest
from tests.hub_look_alike import READER, REVOKED, USER, WRITER, Client, HubLookAlike


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with HubLookAlike() as hub, Client(hub, tmp_path_factory.mktemp("home")) as client:
        yield hub, client


@pytest.fixture
def client(server):
    """Calls of the client, none of whose words may hold a token."""

    def call(code, **options):
        answer = server[1](code, **options)
        told = f"{answer.value} {answer.message} {answer.traceback} {answer.said}"
        assert not [t for t in (WRITER, READER, REVOKED) if t in told], told
        return answer

    return call


@pytest.fixture
def push(client):
    """scripts/push_to_hub.py: exit status, and all it said."""

    def run(*argv, **options):
        script = str(ROOT / "scripts" / "push_to_hub.py")
        answer = client(RUN, script=script, argv=["--namespace", USER, *map(str, argv)], **options)
        assert not answer.error, answer.traceback
        return answer.value, answer.said

    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Function: (model, arguments, ...) -> folder of an untrained checkpoint."""
    import torch

    from fer import checkpoint
    from fer.labels import FER7
    from fer.models import get_model
    from fer.specs import InputSpec

    def make(name, spec=None, data="blobs", training=None, seed=1, **args):
        entry = get_model(name)
        spec = spec or entry.SPEC.input
        torch.manual_seed(seed)
        module = entry.build(7, spec, **args)
        for m in module.modules():  # statistics that are not those of an untouched net
            if isinstance(m, torch.nn.modules.batchnorm._BatchNorm):
                m.running_mean.normal_(0, 0.1), m.running_var.uniform_(0.5, 1.5)
        manifest = checkpoint.Manifest(
            model=name,
            labels=FER7.names,
            label_set=FER7.name,
            input=spec,
            recipe=entry.RECIPE,
            model_args=args,
            data={"name": data} | ({"n_train": 28709, "n_val": 3589} if data == "fer2013" else {}),
            weights={"parameters": sum(p.numel() for p in module.parameters())},
            training=training or {},
        )
        return checkpoint.save(tmp_path_factory.mktemp("made") / name, module.state_dict(), manifest)

    def small(channels):
        return InputSpec(size_px=64, channels=channels, resize_px=64)

    make.small = small
    return make


@pytest.fixture
def hub(server):
    hub, client = server
    hub.forget()
    shutil.rmtree(client.home / "hub", ignore_errors=True)
    return hub


@pytest.fixture
def careful_client(server, hub):
    """Calls of the client, none of whose words or files may hold a token, not even one that the server sends back."""

    def call(code, **options):
        hub.echo_tokens = True
        answer = server[1](code, **options)
        told = f"{answer.value} {answer.message} {answer.traceback} {answer.said}"
        assert not [t for t in (WRITER, READER, REVOKED) if t in told], told
        return answer

    yield call
    for repo in hub.repos.values():
        for tree in repo.commits.values():
            assert not [p for p, blob in tree.items() if WRITER.encode() in blob.data]
    for path in server[1].home.rglob("*"):
        assert not path.is_file() or WRITER.encode() not in path.read_bytes(), path


@pytest.fixture(scope="module")
def offline_server(server, tmp_path_factory):
    with Client(server[0], tmp_path_factory.mktemp("offline"), HF_HUB_OFFLINE="1") as client:
        yield client


@pytest.fixture
def offline(offline_server, hub):
    """A client in offline mode, with nothing in its cache."""
    return offline_server


@pytest.fixture
def folder(tmp_path):
    """A folder as a model repository has it: small text, large bytes, a folder in it."""
    root = tmp_path / "repository"
    (root / "results").mkdir(parents=True)
    (root / "README.md").write_text("---\nlicense: mit\n---\n# A net\n")
    (root / "config.json").write_text(manifest(WEIGHTS))
    (root / "model.safetensors").write_bytes(WEIGHTS)
    (root / "results" / "metrics.json").write_text("{}")
    return root


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder of bundled checkpoints, and one of results."""
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    return tmp_path / "checkpoints"
