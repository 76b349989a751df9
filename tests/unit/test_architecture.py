"""The house rules that a reader could break without noticing."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "fer"

# who may import whom: only the same or a lower floor
FLOORS = [
    {"errors", "paths", "files", "machine", "provenance"},
    {"labels", "command_line", "history", "data_names"},
    {"specs", "settings", "images", "device", "torchvision_repair", "hub"},
    {"transforms", "corruptions", "emoji", "judge", "packing"},
    {"data", "models", "faces"},
    {"checkpoint"},
    {"export", "ancestry", "terms"},
    {"training", "inference"},
    {"evaluation", "explain"},
    {"scoring"},
    {"viz", "overlay", "mirror"},
    {"timm_form"},
    {"model_card"},
    {"publish", "promotion"},
    {"card_text"},
]
FLOOR = {name: i for i, names in enumerate(FLOORS) for name in names}
NEVER = {
    ("data", "models"),
    ("models", "data"),
    ("evaluation", "inference"),
    ("evaluation", "training"),
    ("evaluation", "explain"),
}


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path):
    """(line, module, whether it is at the top level of the module) of every import, also inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in top
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            yield node.lineno, node.module, id(node) in top
            assert not any(a.name == "*" for a in node.names), f"{path}:{node.lineno}: star import"
            if node.module == "fer":
                for alias in node.names:
                    yield node.lineno, f"fer.{alias.name}", id(node) in top


SOURCES = sorted(p for p in PACKAGE.rglob("*.py"))


def broken_rules(path: Path, me: str) -> list[str]:
    """What is wrong with the imports of a file of the part `me`."""
    wrong = []
    for line, module, _ in imports(path):
        top, _, rest = module.partition(".")
        if top in ("demo", "streamlit_app", "scripts", "gradio", "streamlit"):
            wrong.append(f"{line}: the package may not import {top}")
        other = rest.split(".")[0]
        if top == "fer" and other in FLOOR and (FLOOR[other] > FLOOR[me] or (me, other) in NEVER):
            wrong.append(f"{line}: {me} may not import {other}")
        if me == "evaluation" and top in ("torch", "timm", "torchvision"):
            wrong.append(f"{line}: evaluation never sees torch")
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path):
    if path == PACKAGE / "__init__.py":
        return
    me = part(path)
    assert me in FLOOR, f"{me} has no floor: add it to FLOORS"
    assert broken_rules(path, me) == []


@pytest.mark.parametrize(
    ("me", "code"),
    [
        ("transforms", "def f():\n    from fer.viz import anything\n"),
        ("data", "from fer import models\n"),
        ("models", "import fer.data.dataset\n"),
        ("evaluation", "def f():\n    import torch.nn\n"),
        ("inference", "import gradio as gr\n"),
    ],
)
def test_the_rules_catch_what_they_forbid(me, code, tmp_path):
    bad = tmp_path / "x.py"
    bad.write_text(code)
    assert len(broken_rules(bad, me)) == 1
    bad.write_text("from fer.errors import FerError\nimport numpy\n")
    assert broken_rules(bad, me) == []


def test_no_prints_no_broad_excepts_no_pickle_in_the_package():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None and getattr(node.type, "id", "") not in ("Exception", "BaseException"), (
                    where
                )
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                assert path.name in ("listeners.py", "command_line.py"), where
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                call = ast.unparse(node.func)
                assert call not in ("pickle.load", "pickle.loads", "joblib.load"), where
                if call == "torch.load":
                    assert any(k.arg == "weights_only" and k.value.value is True for k in node.keywords), where
        assert path.stem not in ("utils", "util", "helpers", "common", "misc"), path


def in_fresh_python(code: str) -> str:
    r = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert r.returncode == 0, r.stderr
    return r.stdout


def test_import_fer_is_light():
    out = in_fresh_python(
        "import sys, json, time; t = time.perf_counter(); import fer; d = time.perf_counter() - t\n"
        "heavy = [m for m in ('torch', 'cv2', 'pandas', 'plotly', 'numpy', 'timm', 'sklearn') if m in sys.modules]\n"
        "print(json.dumps([d, heavy, fer.__all__, dir(fer)]))"
    )
    seconds, heavy, public, names = json.loads(out)
    assert heavy == [] and seconds < 0.2
    assert set(public) <= set(names)


@pytest.mark.parametrize(
    "module",
    ["fer.data", "fer.models", "fer.checkpoint", "fer.inference.pipeline", "fer.viz", "fer.explain", "fer.evaluation"],
)
def test_heavy_libraries_wait_until_they_are_used(module):
    out = in_fresh_python(
        f"import sys, {module}\n"
        "print([m for m in ('torch', 'timm', 'torchvision', 'plotly', 'matplotlib') if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_distribution_and_requirements_never_name_the_other_fer():
    assert 'name = "facial-expression-lab"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for path in [*ROOT.glob("requirements*.txt"), ROOT / "demo" / "requirements.txt"]:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not re.match(r"fer\b(?![_-])", line.strip()), f"{path}: {line}"


def test_requirements_are_pinned():
    lines = [
        line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    ]
    assert all(re.fullmatch(r"[A-Za-z0-9_.\[\]-]+==[0-9][\w.]*", line) for line in lines if line)


def test_every_third_party_import_is_in_the_requirements():
    known = {
        "cv2": "opencv-python",
        "PIL": "pillow",
        "sklearn": "scikit-learn",
        "skimage": "scikit-image",
        "httpx": "huggingface_hub",
        "starlette": "gradio",
    }
    optional = {"kagglehub", "spaces", "google", "streamlit_webrtc"}
    pinned = {
        re.split(r"[=\[]", line)[0].lower()
        for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    local = {
        "fer",
        *(p.stem for d in ("scripts", "streamlit_app", "demo") for p in (ROOT / d).rglob("*.py")),
        "views",
        "streamlit_app",
    }
    for path in [*SOURCES, *(p for d in ("scripts", "demo", "streamlit_app") for p in (ROOT / d).rglob("*.py"))]:
        for line, module, _ in imports(path):
            top = module.split(".")[0]
            if top in sys.stdlib_module_names or top in local or top in optional:
                continue
            assert known.get(top, top).lower() in pinned, (
                f"{path.relative_to(ROOT)}:{line}: {top} is not in requirements.txt"
            )
