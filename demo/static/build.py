#!/usr/bin/env python3
"""Put the page together: its own files, ONNX Runtime Web from npm, the net as ONNX, the emoji. Served from anywhere."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Any

from fer import export
from fer.checkpoint import find, read_manifest
from fer.command_line import run_script
from fer.errors import ConfigError
from fer.evaluation.results import METRICS, folder_of
from fer.faces.crop import MARGIN
from fer.hub import downloads
from fer.models import LIVE_MODEL, get_model

PAGE = ("index.html", "style.css", "app.js", "faces.js", "net.js", "worker.js", "pixels.js", "yunet.js", "README.md")
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
DATA = "fer2013"
MOST_PARAMETERS = 1_200_000


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    p = argparse.ArgumentParser(description="Build the page that runs in the visitor's browser.")
    p.add_argument("--model", default=LIVE_MODEL, help=f"grey, at most 1.2 million parameters (default {LIVE_MODEL})")
    p.add_argument("--out", type=Path, default=HERE / "dist", help="folder to make (default: demo/static/dist)")
    args = p.parse_args(argv)
    return run_script(lambda: build(args.model, args.out))


def build(model: str, out: Path) -> None:
    """Make the folder anew; it is put in place when it is complete."""
    out = out.resolve()
    if out.exists() and not (out / "about.json").is_file():
        raise ConfigError(f"{out} exists and is not a page built before; name another folder or remove it")
    runtime = install_runtime()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".building-") as work:
        new = Path(work) / "page"
        (new / "vendor").mkdir(parents=True)
        for name in PAGE:
            shutil.copyfile(HERE / name, new / name)
        for name in RUNTIME:
            shutil.copyfile(runtime / name, new / "vendor" / name)
        about = add_net(model, new)
        emoji = ROOT / "fer" / "emoji"
        (new / "emoji").mkdir()
        for name in (*(f"{label}.png" for label in about["labels"]), "OFL.txt"):
            shutil.copyfile(emoji / name, new / "emoji" / name)
        (new / "about.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        new.replace(out)
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{out}: {size / 2**20:.1f} MiB. Look at it: python -m http.server --directory {out} 8000")


def install_runtime() -> Path:
    """The folder of ONNX Runtime Web's files, installed as package-lock.json says.

    Raises:
        ConfigError: no npm, or it failed.
    """
    package = HERE / "node_modules" / "onnxruntime-web"
    wanted = json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]["onnxruntime-web"]
    card = package / "package.json"
    if not card.is_file() or json.loads(card.read_text(encoding="utf-8"))["version"] != wanted:
        npm = shutil.which("npm")
        if npm is None:
            raise ConfigError("npm is needed to fetch onnxruntime-web: install Node.js 20 or newer")
        command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr or done.stdout).strip().splitlines()
            raise ConfigError(f"npm ci in {HERE} failed ({reason[-1] if reason else done.returncode})")
    return package / "dist"


def add_net(model: str, page: Path) -> dict[str, Any]:
    """Write the net and return what the page has to know about it.

    Raises:
        ConfigError: too large for a page, or one that sees colours.
    """
    folder = find(model)
    manifest = read_manifest(folder)
    spec = get_model(manifest.model).SPEC
    parameters = int(manifest.weights.get("parameters", 0))
    if manifest.classical or manifest.input.channels != 1 or parameters > MOST_PARAMETERS:
        raise ConfigError(
            f"{manifest.model} ({parameters:,} parameters) does not fit the page: a net with grey input and at most "
            f"{MOST_PARAMETERS:,} parameters is needed, for example {LIVE_MODEL}"
        )
    data, info = export.export_fp32(folder)
    (page / "net.onnx").write_bytes(data)
    labels = manifest.classes
    return info.to_json() | {
        "file": "net.onnx",
        "title": spec.title,
        "parameters": parameters,
        "colors": labels.colors,
        "margin": MARGIN,
        "val_accuracy": manifest.training.get("val_accuracy"),
        "test_accuracy": _test_accuracy(manifest.model, info.checkpoint_sha256),
        "yunet": {
            "url": f"https://huggingface.co/{downloads.YUNET_REPO}/resolve/main/{downloads.YUNET_FILE}",
            "sha256": downloads.YUNET_SHA256,
        },
    }


def _test_accuracy(model: str, sha256: str) -> float | None:
    """Committed PrivateTest accuracy, if it was measured on exactly these weights."""
    try:
        metrics = json.loads((folder_of(DATA, model) / METRICS).read_text(encoding="utf-8"))
        if metrics["checkpoint"]["sha256"] != sha256:
            return None
        return float(metrics["splits"]["test"]["single"]["accuracy"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


if __name__ == "__main__":
    sys.exit(main())
