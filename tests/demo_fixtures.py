"""What several tests of the demo share: its modules, requests at its gate, and a running demo."""

from __future__ import annotations

import asyncio
import importlib
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = (
    *("about", "analysis", "app", "bodies", "camera", "cards", "chart", "compare", "film", "gate", "limits", "live"),
    *("marks", "mirror", "photo", "room", "stream", "sweep", "uploads", "video"),
)


@pytest.fixture(scope="module")
def demo():
    """The modules of the demo, as `python demo/app.py` imports them."""
    sys.path.insert(0, str(ROOT / "demo"))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(str(ROOT / "demo"))


@pytest.fixture(scope="module")
def trained(untrained, tmp_path_factory):
    """A folder of checkpoints, and one of results that were measured on the first of them only."""
    root = tmp_path_factory.mktemp("home")
    for name in ("baseline_cnn", "attention_cnn"):
        shutil.copytree(untrained(name), root / "checkpoints" / name)
        config = root / "checkpoints" / name / "config.json"
        about = json.loads(config.read_text())
        sha = about["weights"]["sha256"]
        if name == "baseline_cnn":
            config.write_text(json.dumps(about | {"conformal": {"thresholds": {"0.9": 0.01}}}))
        folder = root / "results" / "fer2013" / name
        folder.mkdir(parents=True)
        metrics = {
            "checkpoint": {"sha256": sha if name == "baseline_cnn" else "0" * 64},
            "splits": {
                "test": {
                    "title": "PrivateTest",
                    "single": {"accuracy": 0.6125},
                    "conformal": {"0.9": {"coverage": 0.915}},
                }
            },
        }
        (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CHECKPOINTS", str(root / "checkpoints"))
        patch.setenv("FER_RESULTS", str(root / "results"))
        patch.setenv("GRADIO_TEMP_DIR", str(root / "uploads"))
        yield root


@pytest.fixture
def knock():
    """Function: a request at a gate, its headers a dict or pairs; returns (status, headers, text)."""

    def ask(gate, path, body=None, address="1.2.3.4", method="POST", headers=None, parts=1, query=b"", **more):
        blocks = SimpleNamespace(fns={})
        if body is None:
            body = b"{}" if method in ("POST", "PUT", "PATCH") else b""
        given = {b"content-length": str(len(body)).encode()} if headers is None else headers
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "client": (address, 5),
            "headers": list(given.items()) if isinstance(given, dict) else given,
            "app": SimpleNamespace(get_blocks=lambda: blocks),
        } | more
        size = -(-len(body) // parts) or 1
        pieces = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
        messages = [{"type": "http.request", "body": p, "more_body": i < len(pieces) - 1} for i, p in enumerate(pieces)]
        sent = []

        async def receive():
            return messages.pop(0)

        async def send(message):
            sent.append(message)

        asyncio.run(gate(scope, receive, send))
        if not sent:
            return None
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:])

    return ask


@pytest.fixture(scope="module")
def running(demo, untrained, tmp_path_factory):
    """Function: a running demo with the limits given; returns (address, folder of uploads). Its `apps` are those."""
    pytest.importorskip("gradio_client")
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(untrained("baseline_cnn"), home / "checkpoints" / "baseline_cnn")
    apps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_CHECKPOINTS", str(home / "checkpoints"))
        patch.setenv("FER_RESULTS", str(home / "results"))
        patch.setenv("GRADIO_TEMP_DIR", str(home / "uploads"))

        def launch(**given):
            limits = demo.limits.Limits(**given)
            app = demo.app.build_app(limits=limits)
            _, address, _ = app.launch(prevent_thread_lock=True, quiet=True, **demo.app.launch_options(limits))
            apps.append(app)
            return address, home / "uploads"

        launch.apps = apps
        yield launch
        for app in apps:
            app.close(verbose=False)
