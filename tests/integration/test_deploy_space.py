"""scripts/deploy_space.py: the folders of the three Spaces, and what reaches a Hub on 127.0.0.1."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest

from fer.checkpoint import read_manifest, trained_models, write_manifest
from fer.models import LIVE_MODEL
from tests.hub_calls import without_attributes
from tests.hub_look_alike import READER, USER, WRITER, Client, HubLookAlike
from tests.hub_routes import card_errors

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "deploy_space.py"
RUN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("deploy_space", script)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
for name, value in patched.items():
    setattr(module, name, type(getattr(module, name))(value))
value = module.main(argv)
"""


@pytest.fixture(scope="module")
def script():
    spec = util.spec_from_file_location("deploy_space_script", SCRIPT)
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """What `make static` leaves, as far as the deployment looks at it."""
    built = tmp_path_factory.mktemp("static") / "dist"
    (built / "vendor").mkdir(parents=True)
    (built / "README.md").write_text("---\ntitle: A page\nlicense: mit\nsdk: static\n---\n")
    for name in ("index.html", "net.onnx", "vendor/ort.wasm"):
        (built / name).write_text(name)
    manifest = read_manifest(LIVE_MODEL)
    about = {"checkpoint_sha256": manifest.weights["sha256"], "temperature": manifest.temperature}
    (built / "about.json").write_text(json.dumps({"model": LIVE_MODEL} | about))
    return built


@pytest.fixture(scope="module")
def spaces(script, page, tmp_path_factory):
    """App -> folder of its Space."""
    out, kept = tmp_path_factory.mktemp("spaces"), script.BUILT
    script.BUILT = page
    for app in script.APPS:
        assert script.main(["--app", app, "--dry-run", "--out", str(out / app)]) == 0
    script.BUILT = kept
    return {app: out / app for app in script.APPS}


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("app", ["demo", "lab", "static"])
def test_the_readme_is_what_a_space_needs(app, spaces):
    assert list(card_errors((spaces[app] / "README.md").read_text(encoding="utf-8"), "space")) == []


@pytest.mark.parametrize(
    ("app", "some"),
    [
        ("demo", {"app.py", "style.css", "requirements.txt", "examples/1-happy.jpg", "fer/hub/pull.py"}),
        ("lab", {"Dockerfile", "requirements.txt", "streamlit_app/app.py", "streamlit_app/.streamlit/config.toml"}),
        ("static", {"index.html", "net.onnx", "vendor/ort.wasm", "LICENSE"}),
    ],
)
def test_the_folder_holds_what_the_app_needs(app, some, spaces):
    have = names(spaces[app])
    assert some <= have
    assert not [n for n in have if "__pycache__" in n or n.endswith(".pyc") or "secrets" in n or n.startswith("data/")]
    if app != "static":
        assert {n.split("/")[1] for n in have if n.startswith("checkpoints/")} == set(trained_models())
        package = {"fer/" + p.relative_to(ROOT / "fer").as_posix() for p in (ROOT / "fer").rglob("*.py")}
        assert package <= have
        assert any(n.endswith("metrics.json") for n in have)
        notes = {f"results/{p.parent.name}/notes.json" for p in (ROOT / "results").glob("*/notes.json")}
        assert notes and notes <= have, "the cards of the apps quote them"
    assert any(n.endswith(".parquet") for n in have) == (app == "lab")
    assert not [n for n in have if n.startswith("static/")]


def test_the_readme_of_the_demo_names_nothing_that_is_not_there(script, spaces):
    text = (spaces["demo"] / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"`?\b((?:[a-z_]+/)*[a-z_0-9]+\.py)\b", text) + re.findall(r"`([a-z_]+/)`", text):
        assert (spaces["demo"] / path).exists(), path
    assert "python app.py --port" in text and "runs/" not in text and "scripts/" not in text
    assert "## For programs" in text and "examples/" in text, "the rest stays"
    assert list(card_errors(text, "space")) == []


def test_it_says_where_the_project_lives(script, tmp_path):
    argv = ["--app", "demo", "--dry-run", "--models", "baseline_cnn", "--project-url", "https://example.org/lab"]
    assert script.main([*argv, "--out", str(tmp_path / "s")]) == 0
    assert "The project behind this Space: https://example.org/lab\n" in (tmp_path / "s" / "README.md").read_text()


@pytest.mark.parametrize("option", ["--namespace", "--name", "--project-url"])
def test_a_token_in_place_of_a_name_is_neither_told_nor_written(option, script, tmp_path, capsys):
    token = "hf_" + 17 * "aB"
    argv = ["--app", "demo", "--dry-run", "--models", "baseline_cnn", "--out", str(tmp_path / "s"), option, token]
    assert script.main(argv) == 2
    told = capsys.readouterr()
    assert token not in told.out + told.err and "holds an access token" in told.err
    assert not (tmp_path / "s").exists()


def imported(files):
    """Top-level names of everything that these files import, also inside functions."""
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (a.name.split(".")[0] for a in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module.split(".")[0]


@pytest.mark.parametrize("app", ["demo", "lab"])
def test_the_requirements_name_what_the_app_imports(app, spaces):
    text = (spaces[app] / "requirements.txt").read_text(encoding="utf-8")
    listed = {re.split(r"[=<>\[~ ]", line)[0].lower() for line in text.splitlines() if line and line[0] != "#"}
    # sdk_version brings these; the lab says what it does without the last one
    listed |= {"gradio", "spaces", "huggingface_hub", "starlette"} if app == "demo" else {"streamlit_webrtc"}
    pages = [*(spaces[app].glob("*.py") if app == "demo" else (spaces[app] / "streamlit_app").rglob("*.py"))]
    known = {"cv2": "opencv-python-headless", "PIL": "pillow", "skimage": "scikit-image", "sklearn": "scikit-learn"}
    own = {p.stem for p in pages} | {"fer", "streamlit_app", "views"}
    found = set(imported(pages))
    needed = {known.get(m, m).lower() for m in found if m not in sys.stdlib_module_names and m not in own}
    assert needed and needed <= listed, needed - listed
    assert "opencv-python" not in listed and not any(name == "fer" for name in listed)


def test_it_says_how_to_start_the_folder(script, tmp_path, capsys):
    assert script.main(["--app", "demo", "--dry-run", "--models", "baseline_cnn", "--out", str(tmp_path / "s")]) == 0
    version = re.search(r"sdk_version: (\S+)", (ROOT / "demo" / "README.md").read_text())[1]
    assert f"pip install gradio=={version} -r requirements.txt; python app.py" in capsys.readouterr().out


def test_zero_gpu_gets_its_own_torch(script, tmp_path):
    argv = ["--app", "demo", "--dry-run", "--hardware", "zero-a10g", "--models", "baseline_cnn"]
    assert script.main([*argv, "--out", str(tmp_path / "s")]) == 0
    lines = (tmp_path / "s" / "requirements.txt").read_text().splitlines()
    assert {"torch==2.11.0", "torchvision==0.26.0"} <= set(lines) and sum(s.startswith("torch") for s in lines) == 2
    assert "suggested_hardware: zero-a10g" in (tmp_path / "s" / "README.md").read_text()
    assert {n.split("/")[1] for n in names(tmp_path / "s") if n.startswith("checkpoints/")} == {"baseline_cnn"}


def test_secrets_and_leftovers_stay_at_home(script, tmp_path):
    source = tmp_path / "app"
    kept = {"app.py", ".streamlit/config.toml", "a/b.css"}
    for name in {*kept, ".env", ".streamlit/secrets.toml", "__pycache__/x.pyc", "a/.git/config", "x.log", "y.py~"}:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("x")
    script.copy(source, tmp_path / "out")
    assert names(tmp_path / "out") == kept


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--app", "demo"], "--namespace is needed"),
        (["--app", "lab", "--dry-run", "--hardware", "zero-a10g"], "Gradio Spaces only"),
        (["--app", "demo", "--dry-run", "--models", "vit_tin"], "did you mean 'vit_tiny'"),
        (["--app", "demo", "--namespace", USER, "--out", "x"], "--out is for --dry-run"),
    ],
)
def test_mistakes_are_told_in_one_line(script, argv, words, capsys):
    assert script.main(argv) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and words in err


def test_a_page_that_was_not_built(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(script, "BUILT", tmp_path / "dist")
    assert script.main(["--app", "static", "--dry-run", "--out", str(tmp_path / "out")]) == 2
    assert "make static" in capsys.readouterr().err


class TestStatic:
    """A page is built from one net and the files beside it; one that no longer fits them is not published."""

    @pytest.fixture
    def deploy(self, script, page, tmp_path, monkeypatch, capsys):
        """Function: (changes of about.json, more arguments) -> exit status, what it said."""
        built = tmp_path / "static" / "dist"
        shutil.copytree(page, built)
        monkeypatch.setattr(script, "BUILT", built)

        def run(*argv, **changes):
            about = json.loads((page / "about.json").read_text())
            (built / "about.json").write_text(json.dumps(about | changes))
            status = script.main(["--app", "static", "--dry-run", "--out", str(tmp_path / "out"), *argv])
            return status, capsys.readouterr().err

        run.built = built
        return run

    @pytest.mark.parametrize("models", [(), ("--models", "all"), ("--models", LIVE_MODEL)])
    def test_what_fits_is_published(self, models, deploy, tmp_path):
        assert deploy(*models)[0] == 0 and (tmp_path / "out" / "net.onnx").is_file()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"checkpoint_sha256": "0" * 64}, f"built with other weights of {LIVE_MODEL} than these; run: make static"),
            ({"temperature": 9.0}, f"built with other weights of {LIVE_MODEL} than these; run: make static"),
            (
                {"model": "baseline_cnn"},
                "other weights of baseline_cnn than these; run: python demo/static/build.py --model baseline_cnn",
            ),
            ({"model": "emotionnet"}, "built with emotionnet, which is not here any more"),
        ],
    )
    def test_a_stale_page_is_not(self, changes, words, deploy, tmp_path):
        status, said = deploy(**changes)
        assert status == 2 and words in said and said.count("\n") == 1 and not (tmp_path / "out").exists()

    @pytest.mark.parametrize("asked", ["vit_tiny", f"{LIVE_MODEL},vit_tiny"])
    def test_another_net_than_the_page_holds_is_an_error(self, asked, deploy, tmp_path):
        status, said = deploy("--models", asked)
        assert status == 2 and f"holds one net, {LIVE_MODEL}, and --models asks for {asked}" in said
        assert "demo/static/build.py --model" in said and not (tmp_path / "out").exists()

    def test_a_page_from_older_files_is_not(self, deploy):
        (deploy.built.parent / "index.html").write_text("a newer one")
        status, said = deploy()
        assert status == 2 and "index.html changed since the page" in said and "make static" in said

    @pytest.mark.parametrize("text", ["{", "[]", '{"model": "tiny_cnn"}'])
    def test_a_damaged_page_is_not(self, text, deploy, script, tmp_path, capsys):
        (deploy.built / "about.json").write_text(text)
        assert script.main(["--app", "static", "--dry-run", "--out", str(tmp_path / "out")]) == 2
        assert "about.json is damaged" in capsys.readouterr().err


def test_a_space_with_a_net_of_strict_terms_says_so(script, tmp_path, monkeypatch):
    from tests.small_checkpoints import bundle

    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path))
    free = bundle(tmp_path, "baseline_cnn")
    made = read_manifest(free)
    write_manifest(free, replace(made, data=made.data | {"n_train": 28_709, "n_val": 3_589}))
    bundle(tmp_path, "custom_cnn", data="affectnet@fer7")
    for app in ("demo", "lab"):
        for models, license in (("baseline_cnn", "mit"), ("all", "other")):
            out = tmp_path / f"{app}-{license}"
            assert script.main(["--app", app, "--dry-run", "--models", models, "--out", str(out)]) == 0
            text = (out / "README.md").read_text(encoding="utf-8")
            assert f"\nlicense: {license}\n" in text and list(card_errors(text, "space")) == []
            assert ("- custom_cnn: affectnet-non-commercial-research" in text) == (license == "other")
            assert "- baseline_cnn" not in text
            terms = (out / "LICENSE").read_text(encoding="utf-8")
            assert terms.startswith("MIT License") and "baseline_cnn" not in terms
            assert ("\ncustom_cnn\n\nThe weights: affectnet-non-commercial-research" in terms) == (license == "other")


def test_a_folder_with_other_things_is_left_alone(script, tmp_path, capsys):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("---\nsdk: docker\n---\n")  # a Space's, but not one that this script wrote
    assert script.main(["--app", "lab", "--dry-run", "--out", str(mine)]) == 2
    assert "holds other things" in capsys.readouterr().err and names(mine) == {"README.md"}
    for app in ("demo", "lab", "static"):
        assert script.main(["--app", app, "--dry-run", "--out", str(ROOT / "demo")]) == 2
    assert (ROOT / "demo" / "app.py").is_file()


def test_a_token_in_a_file_stops_it(script, page, tmp_path, monkeypatch, capsys):
    (page / "config.js").write_text(f"const token = '{READER}'")
    monkeypatch.setattr(script, "BUILT", page)
    try:
        assert script.main(["--app", "static", "--dry-run", "--out", str(tmp_path / "out")]) == 2
    finally:
        (page / "config.js").unlink()
    err = capsys.readouterr().err
    assert "config.js holds an access token" in err and READER not in err


def test_to_the_hub_and_once_more(spaces, page, tmp_path):
    with HubLookAlike() as hub, Client(hub, tmp_path / "home") as client:
        hub.echo_tokens = True

        def deploy(*argv, **options):
            argv = ["--namespace", USER, *argv]
            answer = client(RUN, script=str(SCRIPT), argv=argv, patched={"BUILT": str(page)}, **options)
            assert WRITER not in answer.said + answer.traceback and not answer.error, answer.traceback
            return answer.value, answer.said

        for app, sdk in (("demo", "gradio"), ("lab", "docker"), ("static", "static")):
            status, said = deploy("--app", app, "--name", app, "--private")
            assert status == 0 and f"{hub.address}/spaces/{USER}/{app}" in said, said
            repo = hub.repo(f"{USER}/{app}", "space")
            assert (repo.sdk, repo.private, len(repo.messages)) == (sdk, True, 2)
            sent = without_attributes(repo.files())
            assert sent == {n: (spaces[app] / n).read_bytes() for n in names(spaces[app])}
            hub.requests.clear()
            status, said = deploy("--app", app, "--name", app, "--private")
            assert status == 0 and "is up to date" in said and hub.uploads() == []
        space = hub.repo(f"{USER}/demo", "space")
        blob = type(space.commits[space.branches["main"]]["README.md"])
        mine = space.commits[space.branches["main"]] | {"mine.txt": blob(b"by hand", False)}
        sent = json.loads(space.files()[".fer-sent.json"])
        sent["files"]["old.py"] = ["", ""]
        old = mine | {"old.py": blob(b"", False), ".fer-sent.json": blob(json.dumps(sent).encode(), False)}
        space.commit("main", {n: b for n, b in old.items() if n != "limits.py"}, "an older version")
        before = space.files()
        hub.fail("POST", "/commit/", cut=True)
        status, said = deploy("--app", "demo", "--name", "demo")
        assert status == 2 and "as it was before" in said
        assert space.files() == before
        assert deploy("--app", "demo", "--name", "demo")[0] == 0
        assert "old.py" not in space.files() and space.files()["mine.txt"] == b"by hand"
        space.commit("main", mine | {"README.md": blob(b"---\nsdk: gradio\n---\nmine", False)}, "by hand")
        status, said = deploy("--app", "demo", "--name", "demo")
        assert status == 2 and "its README.md was not written from here, or edited since" in said
        other = {"app.py": b"mine", "data/precious.csv": b"1", "README.md": b""}
        hub.put(f"{USER}/other", other, kind="space", sdk="gradio")
        status, said = deploy("--app", "demo", "--name", "other")
        assert status == 2 and "holds something else (app.py, data/precious.csv)" in said and "--force-push" in said
        assert hub.repo(f"{USER}/other", "space").files() == other
        assert deploy("--app", "demo", "--name", "other", "--force-push")[0] == 0
        assert "data/precious.csv" not in hub.repo(f"{USER}/other", "space").files()
        status, said = deploy("--app", "lab", "--name", "lab", token=READER)
        assert status == 2 and "only reads" in said
        hub.fail("POST", "/repos/create", status=402)
        assert "paid plan" in deploy("--app", "lab", "--name", "new")[1]


@pytest.mark.slow
def test_the_demo_space_starts_as_it_is_and_answers(spaces, tmp_path):
    """In this environment; in a clean one, the README of the project says how it was tried."""
    from gradio_client import Client as Gradio
    from gradio_client import handle_file

    env = {k: v for k, v in os.environ.items() if not k.startswith(("FER_", "PYTHON", "HF_"))}
    log = tmp_path / "log"
    with open(log, "wb") as out:
        app = subprocess.Popen(
            [sys.executable, "-u", "app.py", "--port", "7917"],
            cwd=spaces["demo"],
            env=env,
            stdout=out,
            stderr=out,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )
    try:
        deadline = time.monotonic() + 240
        while "http://" not in log.read_text() and time.monotonic() < deadline and app.poll() is None:
            time.sleep(0.5)
        page = Gradio(re.search(r"http://\S+", log.read_text())[0], verbose=False)
        picture = handle_file(str(spaces["demo"] / "examples" / "1-happy.jpg"))
        answer = page.predict(picture, "baseline_cnn", False, api_name="/analyze")
        assert [f["label"] for f in answer["faces"]] == ["happy"]
    finally:
        app.send_signal(signal.SIGINT)
        try:
            app.wait(timeout=30)
        finally:
            app.kill()  # nothing is left behind if it did not stop


@pytest.mark.slow
def test_the_lab_space_starts_as_it_is(spaces):
    code = """
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("streamlit_app/app.py", default_timeout=240).run()
assert not page.exception and not page.error, (page.exception, page.error)
import fer
assert fer.__file__.startswith(__import__("os").getcwd()), fer.__file__
"""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FER_", "PYTHON", "HF_"))}
    done = subprocess.run([sys.executable, "-c", code], cwd=spaces["lab"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
