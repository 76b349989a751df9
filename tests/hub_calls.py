"""What the tests of the Hub let the real client do, and what they compare."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from tests.hub_look_alike import USER, WRITER

ROOT = Path(__file__).resolve().parents[1]
RUN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("push_to_hub", script)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
value = module.main(argv)
"""
COMPARE = """
import fer, numpy as np
rng = np.random.default_rng(5)
faces = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((48, 48), (61, 50), (200, 180, 3))]
# the published one first: what one makes in a cache must not decide how the other answers
there, here = fer.load(name, backend=backend), fer.load(place, backend=backend)
value = [
    here.predict_proba(faces).tobytes().hex() == there.predict_proba(faces).tobytes().hex(),
    there.manifest == here.manifest,
    fer.analyze(faces[2], model=name, detector="whole")[0].label,
]
"""
TIMM = """
import torch
from fer.checkpoint import load_module
from fer.torchvision_repair import import_repaired
import_repaired("timm")
made = {}
exec(lines, made)
module, manifest = load_module(place)
spec = manifest.input
x = torch.randn(3, spec.channels, spec.size_px, spec.size_px)
with torch.inference_mode():
    value = [torch.equal(module(x), made["net"](x)), made["net"].pretrained_cfg["label_names"], list(manifest.labels)]
"""
SEND = """
from fer.hub import send_folder
sent = send_folder(folder, repo, **options)
value = [sent.repo, sent.url, sent.commit, vars(sent.plan)]
"""
FETCH = """
from fer.hub import fetch_checkpoint
value = str(fetch_checkpoint(name, "config.json", ("model.safetensors", "model.skops")))
"""
REPO = f"{USER}/fer-net"
WEIGHTS = b"\0 not a net, but bytes all the same " * 2000


def manifest(data: bytes, file: str = "model.safetensors", **other: object) -> str:
    return json.dumps({"weights": {"file": file, "sha256": hashlib.sha256(data).hexdigest()}} | other)


def send(client, folder, repo=REPO, token=WRITER, **options):
    return client(SEND, folder=str(folder), repo=repo, options=options, token=token)


def fetch(client, name, token=None):
    return client(FETCH, name=name, token=token)


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def without_attributes(files):
    return {k: v for k, v in files.items() if k not in (".gitattributes", ".fer-sent.json")}
