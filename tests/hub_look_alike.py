"""A small Hub on 127.0.0.1 for the real huggingface_hub client: repositories, commits, LFS, collections and failures.

    with HubLookAlike() as hub, Client(hub, tmp_path) as client:
        hub.fail("PUT", "/lfs/", cut=True)
        answer = client("import fer; value = fer.load(name).name", name="hf:somebody/fer-vit-tiny")

What it answers follows what the client of huggingface_hub 2.4 asks and reads. A commit is applied as a whole or not at
all; every request is recorded.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

# made up; long enough to be taken for real ones by whatever looks for tokens
WRITER = "hf_lookalikewriterXXXXXXXXXXXXXXXXXXXX"
READER = "hf_lookalikereaderXXXXXXXXXXXXXXXXXXXX"
REVOKED = "hf_lookalikerevokedXXXXXXXXXXXXXXXXXXX"
USER = "somebody"

LARGE = (".safetensors", ".onnx", ".parquet", ".npz", ".zip", ".skops", ".bin", ".pt")


@dataclass(frozen=True)
class Blob:
    """A file's bytes and whether they lie in the large file storage."""

    data: bytes
    large: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def git_oid(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.data) + self.data).hexdigest()

    @property
    def oid(self) -> str:
        """What the client compares its own file with."""
        return self.sha256 if self.large else self.git_oid


@dataclass
class Repo:
    """One repository: branches point to commits, commits are whole trees."""

    kind: str
    name: str
    private: bool = False
    gated: bool = False
    sdk: str | None = None
    hardware: str | None = None
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def commit(self, branch: str, tree: dict[str, Blob], message: str) -> str:
        seed = f"{self.kind} {self.name} {len(self.commits)} {message} " + " ".join(sorted(tree))
        sha = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[sha] = tree
        self.branches[branch] = sha
        self.messages.append(message)
        return sha

    def resolve(self, revision: str) -> str | None:
        """The commit that a branch or a commit's own name means."""
        return self.branches.get(revision) or (revision if revision in self.commits else None)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Path -> bytes at a revision."""
        return {path: blob.data for path, blob in self.commits[self.branches.get(revision, revision)].items()}

    @property
    def address(self) -> str:
        return self.name if self.kind == "model" else f"{self.kind}s/{self.name}"


@dataclass
class Fault:
    """What happens to the next requests that fit, instead of an answer."""

    method: str
    pattern: str
    status: int = 0
    cut: bool = False
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    late: bool = False


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    token: str | None
    agent: str


class HubLookAlike:
    """The server and everything it keeps.

    Attributes:
        repos: (kind, "owner/name") -> Repo.
        collections: Slug -> {"title", "items", ...}.
        requests: Everything that was asked, in order.
        echo_tokens: Repeat the caller's token in every error, as a careless proxy would.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.large: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.echo_tokens = False
        self.lock = threading.RLock()
        from tests.hub_routes import Handler

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("OfThisHub", (Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> HubLookAlike:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """http://127.0.0.1:PORT"""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def storage(self) -> str:
        """The same server under another name: large files come from another host, which must not see the token."""
        return self.address.replace("127.0.0.1", "localhost")

    def environment(self, home: Path, token: str | None = WRITER, **more: str) -> dict[str, str]:
        """The environment of a client that knows this Hub and nothing of the user's own account or cache."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING_FACE", "HUGGINGFACE"))}
        root = str(Path(__file__).resolve().parent.parent)
        return (
            clean
            | {
                "HF_ENDPOINT": self.address,
                "HF_HOME": str(home),
                "FER_CACHE": str(home / "fer"),
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "HF_HUB_ETAG_TIMEOUT": "5",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "NO_PROXY": "127.0.0.1,localhost",
                "no_proxy": "127.0.0.1,localhost",
                "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            | ({"HF_TOKEN": token} if token else {})
            | more
        )

    def fail(
        self,
        method: str,
        pattern: str,
        status: int = 0,
        *,
        cut: bool = False,
        times: int = 1,
        late: bool = False,
        **headers: str,
    ) -> None:
        """Let the next `times` requests whose path has `pattern` (a regular expression) fail.

        Args:
            status: The HTTP status to answer with.
            cut: Close the connection instead: in the middle of what is sent or received.
            late: Do what was asked first: only its answer is lost.
            headers: Of the answer; "_" stands for "-".
        """
        named = {k.replace("_", "-"): v for k, v in headers.items()}
        self.faults.append(Fault(method, pattern, status, cut, times, named, late))

    def repo(self, name: str, kind: str = "model") -> Repo:
        """A repository that is there."""
        return self.repos[kind, name]

    def put(self, name: str, files: dict[str, bytes], kind: str = "model", **attributes: Any) -> Repo:
        """A repository with these files, made without the client."""
        repo = Repo(kind, name, **attributes)
        repo.commit("main", {p: Blob(d, p.endswith(LARGE)) for p, d in files.items()}, "by hand")
        self.repos[kind, name] = repo
        return repo

    def forget(self) -> None:
        """Everything that was made, asked and ordered."""
        for kept in (self.repos, self.collections, self.large, self.requests, self.faults):
            kept.clear()
        self.echo_tokens = False

    def uploads(self) -> list[str]:
        """Paths of the requests that carried a file's bytes or a commit."""
        return [r.path for r in self.requests if r.method == "PUT" or "/commit/" in r.path]


class Client:
    """A fresh interpreter that knows this Hub only; it stays for many calls, so that torch is imported once.

    Attributes:
        home: Its HF_HOME.
    """

    def __init__(self, hub: HubLookAlike, home: Path, **env: str) -> None:
        self.home, self._said = home, 0
        home.mkdir(parents=True, exist_ok=True)
        self._log = home / "said.txt"
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _SERVE],
                env=hub.environment(home, None, **env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def __call__(self, code: str, token: str | None = WRITER, **names: Any) -> Answer:
        """Run Python there.

        Args:
            code: What it assigns to `value` (JSON) is the answer's.
            token: Value of HF_TOKEN.
            names: Variables of the code (JSON).
        """
        print(json.dumps({"code": code, "token": token, "names": names}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        with open(self._log, encoding="utf-8", errors="replace") as log:
            log.seek(self._said)
            said = log.read()
            self._said = log.tell()
        assert line, f"the client died:\n{said}"
        return Answer(**json.loads(line), said=said)


@dataclass(frozen=True)
class Answer:
    """What came of a call.

    Attributes:
        value: What the code assigned to `value`.
        error, message, traceback: Name and text of what it raised, and all of it as Python prints it.
        said: Everything that was written to stdout and stderr, logs too.
    """

    value: Any = None
    error: str = ""
    message: str = ""
    traceback: str = ""
    said: str = ""


_SERVE = """
import json, os, sys, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
sys.stdout.reconfigure(line_buffering=True)
for line in sys.stdin:
    asked = json.loads(line)
    os.environ.pop("HF_TOKEN", None)
    if asked["token"]:
        os.environ["HF_TOKEN"] = asked["token"]
    scope = dict(asked["names"])
    try:
        exec(asked["code"], scope)
        answer = {"value": scope.get("value")}
    except BaseException as e:
        answer = {"error": type(e).__name__, "message": str(e), "traceback": traceback.format_exc()}
    sys.stdout.flush()
    print(json.dumps(answer), file=answers, flush=True)
"""
