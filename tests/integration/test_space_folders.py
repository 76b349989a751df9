"""What deploy_space.py writes, as the Hub's machines will use it: in a clean environment, with a Dockerfile."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "scripts" / "deploy_space.py"
# enough of each kind of instruction for our own file; Docker's reference describes them
KNOWN = {"FROM", "RUN", "USER", "ENV", "WORKDIR", "COPY", "EXPOSE", "HEALTHCHECK", "CMD"}


def clean_environment():
    """Nothing that names this checkout, its results or its settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("FER_", "PYTHON", "HF_", "STREAMLIT", "GRADIO"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Function: app -> folder of its dry run with one small net."""
    place = tmp_path_factory.mktemp("spaces")

    def write(app):
        if not (place / app).exists():
            argv = ["--app", app, "--dry-run", "--models", "baseline_cnn", "--out", str(place / app)]
            subprocess.run([sys.executable, str(DEPLOY), *argv], check=True, capture_output=True, text=True)
        return place / app

    return write


def stop(process):
    """Not by Ctrl-C, which a process that was started in the background may be deaf to."""
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def instructions(text):
    """(name, rest) of every instruction of a Dockerfile, with its lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def steps(folder):
    return instructions((folder("lab") / "Dockerfile").read_text(encoding="utf-8"))


class TestDockerfile:
    """Nothing here can build it; what it says is held against the folder that it lies in."""

    def of(self, steps, name):
        return [rest for kind, rest in steps if kind == name]

    def test_it_is_a_dockerfile(self, steps):
        assert steps[0][0] == "FROM" and re.fullmatch(r"python:3\.1[1-4]-slim", steps[0][1])
        assert {kind for kind, _ in steps} <= KNOWN
        for name in ("CMD", "EXPOSE", "HEALTHCHECK", "WORKDIR"):
            assert len(self.of(steps, name)) == 1, name

    def test_everything_that_it_copies_is_there(self, steps, folder):
        copied = [[p for p in shlex.split(rest) if not p.startswith("--")] for rest in self.of(steps, "COPY")]
        assert copied[-1] == [".", "."]
        for *sources, target in copied:
            assert target == "." and all((folder("lab") / source).exists() for source in sources)
        # a folder may be left out of an image by a .dockerignore, and nothing else may keep parts back
        assert not (folder("lab") / ".dockerignore").exists()

    def test_everything_is_the_users_and_nothing_runs_as_root(self, steps):
        kinds = [kind for kind, _ in steps]
        assert self.of(steps, "USER") == ["user"]
        before = [rest for kind, rest in steps[: kinds.index("USER")] if kind == "RUN"]
        assert any(re.search(r"useradd .*--uid 1000 user", rest) for rest in before)
        assert all("--chown=user" in rest for rest in self.of(steps, "COPY"))
        # WORKDIR makes a folder as root on some builders: the user has made it before
        place = self.of(steps, "WORKDIR")[0]
        made = [i for i, (kind, rest) in enumerate(steps) if kind == "RUN" and rest == f"mkdir {place}"]
        assert made and kinds.index("USER") < made[0] < kinds.index("WORKDIR") and place.startswith("/home/user/")

    def test_the_cpu_build_of_torch_comes_first(self, steps, folder, tmp_path):
        """The command that picks the lines is run here, on the folder's own requirements."""
        (install,) = [rest for rest in self.of(steps, "RUN") if "pip install" in rest]
        pick, first, second = (part.strip() for part in install.split("&&"))
        command, _, target = pick.partition(" > ")
        assert f"-r {target}" in first and "whl/cpu" in first and second.endswith("-r requirements.txt")
        picked = subprocess.run(
            shlex.split(command), cwd=folder("lab"), capture_output=True, text=True, check=True
        ).stdout
        pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        assert picked.splitlines() == [line for line in pins if re.match(r"torch(vision)?==", line)]
        assert len(picked.splitlines()) == 2

    def test_one_port_everywhere(self, steps, folder):
        readme = (folder("lab") / "README.md").read_text(encoding="utf-8")
        command = json.loads(self.of(steps, "CMD")[0])
        health = json.loads(self.of(steps, "HEALTHCHECK")[0].partition("CMD ")[2])
        assert self.of(steps, "EXPOSE") == ["8501"] and "\napp_port: 8501\n" in readme and "\nsdk: docker\n" in readme
        assert "--server.port=8501" in command and "--server.address=0.0.0.0" in command
        assert any("http://127.0.0.1:8501/_stcore/health" in word for word in health)

    @pytest.mark.slow
    def test_its_command_starts_the_lab_and_its_healthcheck_passes(self, steps, folder, tmp_path):
        """With this interpreter in the place of the image's, and another port."""
        port = str(free_port())
        command = [w.replace("8501", port) for w in json.loads(self.of(steps, "CMD")[0])]
        health = [w.replace("8501", port) for w in json.loads(self.of(steps, "HEALTHCHECK")[0].partition("CMD ")[2])]
        command[command.index("--server.address=0.0.0.0")] = "--server.address=127.0.0.1"
        assert command[0] == health[0] == "python"
        log, env = tmp_path / "log", clean_environment()

        def healthy():
            done = subprocess.run([sys.executable, *health[1:]], cwd=folder("lab"), env=env, capture_output=True)
            return done.returncode == 0

        assert not healthy()
        with open(log, "wb") as out:
            lab = subprocess.Popen([sys.executable, *command[1:]], cwd=folder("lab"), env=env, stdout=out, stderr=out)
        try:
            deadline = time.monotonic() + 240
            while not healthy() and time.monotonic() < deadline and lab.poll() is None:
                time.sleep(1)
            assert healthy(), log.read_text()
            page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30).read().decode()
            assert "<title>Streamlit</title>" in page
        finally:
            stop(lab)
        assert "Traceback" not in log.read_text()


def pip(python, *argv):
    return subprocess.run(
        [str(python), "-m", "pip", *argv], env=clean_environment(), capture_output=True, text=True, timeout=3600
    )


def last_line(done):
    return (done.stderr.strip() or done.stdout.strip() or f"exit status {done.returncode}").splitlines()[-1]


@pytest.fixture(scope="module")
def clean_python(folder, tmp_path_factory):
    """Function: app -> interpreter of a virtual environment that has what the app's folder asks for and nothing else.

    Packages come from the index that pip is configured with: gigabytes where torch is not a CPU build.
    """
    made = {}

    def make(app):
        if app in made:
            return made[app]
        place = tmp_path_factory.mktemp("clean") / "venv"
        venv.create(place, system_site_packages=False, with_pip=True)
        python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
        probe = pip(python, "install", "--dry-run", "--no-deps", "--quiet", "--retries", "0", "safetensors")
        if probe.returncode:
            pytest.skip(f"the package index cannot be reached: {last_line(probe)}")
        pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
        torch = [line for line in pins if re.match(r"torch(vision)?==", line)]
        readme = (folder(app) / "README.md").read_text(encoding="utf-8")
        brought = [f"gradio=={v}" for v in re.findall(r"^sdk_version: (\S+)$", readme, re.MULTILINE)]
        for what in (torch, [*brought, "-r", str(folder(app) / "requirements.txt")]):
            done = pip(python, "install", "--quiet", "--no-warn-script-location", *what)
            assert done.returncode == 0, done.stderr[-3000:]
        made[app] = python
        return python

    return make


def require_own_packages(python, place, env):
    """`fer` is the folder's and torch the environment's."""
    where = "import fer, torch, sys; print(fer.__file__); print(torch.__file__); print(sys.prefix)"
    found = subprocess.run([str(python), "-c", where], cwd=place, env=env, capture_output=True, text=True)
    fer_file, torch_file, prefix = found.stdout.split()
    assert Path(fer_file).is_relative_to(place.resolve()) and Path(torch_file).is_relative_to(Path(prefix))


PAGES = """
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("streamlit_app/app.py", default_timeout=900).run()
assert not page.exception and not page.error, (page.exception, page.error)
print("rendered:", page.title[0].value)
"""


@pytest.mark.slow
def test_the_lab_starts_in_a_clean_environment_and_shows_a_page(clean_python, folder, steps, tmp_path):
    """By the Dockerfile's own command, with the environment's interpreter in the place of the image's."""
    python, place, log, env = clean_python("lab"), folder("lab"), tmp_path / "log", clean_environment()
    require_own_packages(python, place, env)
    port = str(free_port())
    command = next(json.loads(rest) for kind, rest in steps if kind == "CMD")
    argv = [w.replace("8501", port).replace("0.0.0.0", "127.0.0.1") for w in command[1:]]
    with open(log, "wb") as out:
        lab = subprocess.Popen([str(python), *argv], cwd=place, env=env, stdout=out, stderr=out)
    try:
        deadline, answer = time.monotonic() + 600, b""
        while answer != b"ok" and time.monotonic() < deadline and lab.poll() is None:
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=10).read()
            except OSError:
                time.sleep(1)
        assert answer == b"ok", log.read_text()
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read().decode()
        assert "<title>Streamlit</title>" in page
    finally:
        stop(lab)
    assert "Traceback" not in log.read_text()
    # what a browser would be shown: the app's own code, run to its end
    shown = subprocess.run([str(python), "-c", PAGES], cwd=place, env=env, capture_output=True, text=True, timeout=1200)
    assert shown.returncode == 0 and "rendered: " in shown.stdout, shown.stderr[-3000:]


@pytest.mark.slow
def test_the_demo_starts_in_a_clean_environment_and_answers(clean_python, folder, tmp_path):
    from gradio_client import Client, handle_file

    place, log, env = folder("demo"), tmp_path / "log", clean_environment() | {"GRADIO_ANALYTICS_ENABLED": "False"}
    python = clean_python("demo")
    require_own_packages(python, place, env)
    with open(log, "wb") as out:
        app = subprocess.Popen(
            [str(python), "-u", "app.py", "--port", str(free_port())], cwd=place, env=env, stdout=out, stderr=out
        )
    try:
        deadline = time.monotonic() + 600
        while "http://" not in log.read_text() and time.monotonic() < deadline and app.poll() is None:
            time.sleep(1)
        address = re.search(r"http://\S+", log.read_text())
        assert address, log.read_text()
        page = Client(address[0], verbose=False)
        picture = handle_file(str(place / "examples" / "1-happy.jpg"))
        answer = page.predict(picture, "baseline_cnn", False, api_name="/analyze")
        assert [f["label"] for f in answer["faces"]] == ["happy"]
    finally:
        stop(app)
