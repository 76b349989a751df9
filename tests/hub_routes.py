"""What the Hub look-alike answers: one handler, one table of routes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from tests.hub_look_alike import LARGE, READER, USER, WRITER, Blob, HubLookAlike, Repo, Request

KINDS = {"models": "model", "spaces": "space", "datasets": "dataset"}
LICENSES = ("mit", "apache-2.0", "cc-by-4.0", "cc-by-nc-4.0", "other", "unknown")
SPACE_SDKS = ("gradio", "docker", "static")
COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")


class _Answer(Exception):
    """Ends the handling of a request with an error."""

    def __init__(self, status: int, message: str, code: str = "", headers: dict[str, str] | None = None):
        super().__init__(message)
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}


class Handler(BaseHTTPRequestHandler):
    hub: HubLookAlike
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_POST = do_PUT = do_GET

    def _handle(self) -> None:
        url = urlsplit(self.path)
        self.url, self.query = unquote(url.path), parse_qs(url.query)
        header = self.headers.get("Authorization", "")
        self.token = header.removeprefix("Bearer ") if header.startswith("Bearer ") else None
        with self.hub.lock:
            agent = self.headers.get("User-Agent", "")
            self.hub.requests.append(Request(self.command, self.url, self.token, agent))
            fault = next(
                (f for f in self.hub.faults if f.method == self.command and re.search(f.pattern, self.url)), None
            )
            if fault:
                fault.times -= 1
                if fault.times <= 0:
                    self.hub.faults.remove(fault)
        length = int(self.headers.get("Content-Length") or 0)
        if fault and fault.cut and not fault.late and self.command in ("POST", "PUT"):
            self.rfile.read(length // 2)
            return self._hang_up()
        self.body = self._read_body(length)
        self.cut, self.late = bool(fault and fault.cut), fault.status if fault and fault.late else 0
        try:
            if fault and fault.status and not fault.late:
                raise _Answer(fault.status, f"a made-up failure {fault.status}", headers=fault.headers)
            with self.hub.lock:
                self._route()
        except _Answer as e:
            self._error(e)

    def _read_body(self, length: int) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(length)
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.close()

    def _error(self, e: _Answer) -> None:
        message = f"{e.message} (token {self.token})" if self.hub.echo_tokens and self.token else e.message
        headers = {"X-Error-Message": message, "X-Request-Id": "look-alike"} | e.headers
        if e.code:
            headers["X-Error-Code"] = e.code
        self._send(json.dumps({"error": message}).encode(), e.status, headers)

    def _send(self, data: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(self.late or status)
        for key, value in ({"Content-Type": "application/json"} | (headers or {})).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.cut:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            return self._hang_up()
        self.wfile.write(data)

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(json.dumps(value).encode(), status)

    def _route(self) -> None:
        for method, pattern, action in ROUTES:
            if method in (self.command, "GET" if self.command == "HEAD" else "") and (
                match := re.fullmatch(pattern, self.url)
            ):
                return getattr(self, action)(**match.groupdict())
        raise _Answer(404, f"the look-alike has no {self.command} {self.url}")

    # --- who may do what

    def _check_token(self) -> None:
        if self.token is not None and self.token not in (WRITER, READER):
            raise _Answer(401, "Invalid credentials in Authorization header")

    def _require_writer(self, namespace: str) -> None:
        self._check_token()
        if self.token is None:
            raise _Answer(401, "Invalid username or password.")
        if self.token != WRITER or namespace != USER:
            raise _Answer(403, f"You don't have the rights to write to the namespace {namespace!r}")

    def _readable(self, kind: str, name: str) -> Repo:
        self._check_token()
        repo = self.hub.repos.get((kind, name))
        hidden = repo is not None and repo.private and self.token != WRITER
        if repo is None or hidden:
            raise _Answer(401 if self.token is None else 404, "Repository not found", "RepoNotFound")
        if repo.gated and self.token != WRITER:
            raise _Answer(401 if self.token is None else 403, f"Access to model {name} is restricted", code="GatedRepo")
        return repo

    def _writable(self, kind: str, name: str) -> Repo:
        self._require_writer(name.split("/")[0])
        return self._readable(kind, name)

    def _commit(self, repo: Repo, revision: str) -> str:
        sha = repo.resolve(revision)
        if sha is None:
            raise _Answer(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return sha

    # --- accounts and repositories

    def whoami(self) -> None:
        self._check_token()
        if self.token is None:
            raise _Answer(401, "Invalid username or password.")
        role = "write" if self.token == WRITER else "read"
        access = {"accessToken": {"displayName": "t", "role": role}}
        self._json({"type": "user", "name": USER, "orgs": [], "auth": {"type": "access_token"} | access})

    def create(self) -> None:
        asked = json.loads(self.body)
        owner = asked.get("organization") or USER
        self._require_writer(owner)
        kind, name = asked.get("type") or "model", f"{owner}/{asked['name']}"
        if kind == "space" and asked.get("sdk") not in SPACE_SDKS:
            raise _Answer(400, f"sdk must be one of {', '.join(SPACE_SDKS)}")
        fresh = (kind, name) not in self.hub.repos
        if fresh:
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            repo = Repo(kind, name, private, sdk=asked.get("sdk"), hardware=asked.get("hardware"))
            repo.commit("main", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", False)}, "initial commit")
            self.hub.repos[kind, name] = repo
        repo = self.hub.repos[kind, name]
        answer = {"url": f"{self.hub.address}/{repo.address}", "name": name}
        self._json(answer if fresh else answer | {"error": "You already created this repo"}, 200 if fresh else 409)

    def info(self, kind: str, name: str, revision: str = "main") -> None:
        repo = self._readable(KINDS[kind], name)
        sha = self._commit(repo, revision)
        siblings = [{"rfilename": p} for p in sorted(repo.commits[sha])]
        facts = {"id": name, "sha": sha, "private": repo.private, "gated": repo.gated, "siblings": siblings}
        self._json(facts | {"tags": [], "downloads": 0, "likes": 0, "sdk": repo.sdk})

    def tree(self, kind: str, name: str, revision: str) -> None:
        repo = self._readable(KINDS[kind], name)
        entries = []
        for path, blob in sorted(repo.commits[self._commit(repo, revision)].items()):
            entry: dict[str, Any] = {"type": "file", "path": path, "size": len(blob.data), "oid": blob.git_oid}
            if blob.large:
                entry["lfs"] = {"oid": blob.sha256, "size": len(blob.data), "pointerSize": 134}
            entries.append(entry)
        self._json(entries)

    def branch(self, kind: str, name: str, revision: str) -> None:
        repo = self._writable(KINDS[kind], name)
        if revision in repo.branches:
            raise _Answer(409, "Reference already exists")
        start = json.loads(self.body or b"{}").get("startingPoint", "main")
        repo.branches[revision] = self._commit(repo, start)
        self._json({})

    def refs(self, kind: str, name: str) -> None:
        branches = self._readable(KINDS[kind], name).branches.items()
        named = [{"name": b, "ref": f"refs/heads/{b}", "targetCommit": sha} for b, sha in branches]
        self._json({"branches": named, "converts": [], "tags": []})

    # --- upload

    def validate(self) -> None:
        asked = json.loads(self.body)
        errors = [{"message": m} for m in card_errors(asked["content"], asked.get("repoType", "model"))]
        self._json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def preupload(self, kind: str, name: str, revision: str) -> None:
        repo = self._writable(KINDS[kind], name)
        there = repo.commits[self._commit(repo, revision)]
        files = []
        for f in json.loads(self.body)["files"]:
            large = f["path"].endswith(LARGE) or b"\0" in base64.b64decode(f["sample"])
            files.append({"path": f["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False})
            if f["path"] in there:
                files[-1]["oid"] = there[f["path"]].oid
        self._json({"files": files})

    def lfs_batch(self, address: str) -> None:
        kind = next((k for k in KINDS if address.startswith(f"{k}/")), "models")
        self._writable(KINDS[kind], address.removeprefix(f"{kind}/"))
        objects = []
        for o in json.loads(self.body)["objects"]:
            if o["oid"] not in self.hub.large:
                steps = {"upload": f"lfs/{o['oid']}", "verify": "lfs-verify"}
                o = o | {"actions": {k: {"href": f"{self.hub.address}/{v}"} for k, v in steps.items()}}
            objects.append(o)
        self._json({"transfer": "basic", "objects": objects})

    def lfs_put(self, oid: str) -> None:
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise _Answer(400, "the bytes are not those that were announced")
        self.hub.large[oid] = self.body
        self._send(b"")

    def lfs_get(self, oid: str) -> None:
        self._file(self.hub.large[oid], {})

    def lfs_verify(self) -> None:
        asked = json.loads(self.body)
        if len(self.hub.large.get(asked["oid"], b"")) != asked["size"]:
            raise _Answer(404, "no such object")
        self._json({})

    def commit(self, kind: str, name: str, revision: str) -> None:
        repo = self._writable(KINDS[kind], name)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header = lines[0]["value"]
        head = self._commit(repo, revision)
        if revision not in repo.branches:
            raise _Answer(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        if header.get("parentCommit") not in (None, head):
            raise _Answer(412, "A commit has happened since. Please refresh and try again.")
        tree = dict(repo.commits[head])
        for line in lines[1:]:
            path, value = line["value"]["path"], line["value"]
            if line["key"] == "file":
                tree[path] = Blob(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    raise _Answer(400, f"the object of {path} was not uploaded")
                tree[path] = Blob(self.hub.large[value["oid"]], True)
            elif line["key"] == "deletedFile":
                del tree[path]
            else:
                raise _Answer(400, f"the look-alike knows no {line['key']}")
        sha = repo.commit(revision, tree, header["summary"])
        address = f"{self.hub.address}/{repo.address}/commit/{sha}"
        self._json({"success": True, "commitOid": sha, "commitUrl": address, "pullRequestUrl": None})

    # --- download

    def resolve(self, kind: str | None, name: str, revision: str, path: str) -> None:
        repo = self._readable(KINDS[kind] if kind else "model", name)
        sha = self._commit(repo, revision)
        commit = {"X-Repo-Commit": sha}
        blob = repo.commits[sha].get(path)
        if blob is None:
            raise _Answer(404, f"{path} does not exist", "EntryNotFound", commit)
        if not blob.large:
            return self._file(blob.data, commit | {"ETag": f'"{blob.git_oid}"'})
        self.hub.large[blob.sha256] = blob.data
        linked = {"X-Linked-ETag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.data))}
        self._send(b"", 302, commit | linked | {"Location": f"{self.hub.storage}/lfs/{blob.sha256}"})

    def _file(self, data: bytes, headers: dict[str, str]) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        kind = headers | {"Content-Type": "application/octet-stream"}
        if not wanted:
            return self._send(data, 200, kind)
        start = int(wanted[1])
        self._send(data[start:], 206, kind | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})

    # --- collections

    def collect(self) -> None:
        asked = json.loads(self.body)
        self._require_writer(asked["namespace"])
        slug = f"{asked['namespace']}/{re.sub('[^a-z0-9]+', '-', asked['title'].lower())}-0001"
        fresh = slug not in self.hub.collections
        if fresh:
            self.hub.collections[slug] = {
                "slug": slug,
                "title": asked["title"],
                "description": asked.get("description"),
                "owner": {"name": asked["namespace"]},
                "items": [],
                "lastUpdated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
                "position": 0,
                "private": bool(asked.get("private")),
                "theme": "blue",
                "upvotes": 0,
            }
        self._json(self.hub.collections[slug], 200 if fresh else 409)

    def collection(self, slug: str) -> None:
        if slug not in self.hub.collections:
            raise _Answer(404, "no such collection")
        self._json(self.hub.collections[slug])

    def collect_item(self, slug: str) -> None:
        self._require_writer(slug.split("/")[0])
        items, asked = self.hub.collections[slug]["items"], json.loads(self.body)["item"]
        there = any(i["id"] == asked["id"] for i in items)
        if not there:
            items.append(asked | {"_id": f"{len(items):024x}", "position": len(items)})
        self._json(self.hub.collections[slug], 409 if there else 200)


_ID = r"(?P<name>[^/]+/[^/]+)"
_API = rf"/api/(?P<kind>models|spaces|datasets)/{_ID}"
_SLUG = r"(?P<slug>[^/]+/[^/]+)"
ROUTES: list[tuple[str, str, str]] = [
    ("GET", "/api/whoami-v2", "whoami"),
    ("POST", "/api/repos/create", "create"),
    ("POST", "/api/validate-yaml", "validate"),
    ("GET", _API, "info"),
    ("GET", rf"{_API}/revision/(?P<revision>.+)", "info"),
    ("GET", rf"{_API}/tree/(?P<revision>.+)", "tree"),
    ("GET", rf"{_API}/refs", "refs"),
    ("POST", rf"{_API}/branch/(?P<revision>.+)", "branch"),
    ("POST", rf"{_API}/preupload/(?P<revision>.+)", "preupload"),
    ("POST", rf"{_API}/commit/(?P<revision>.+)", "commit"),
    ("POST", r"/(?P<address>.+)\.git/info/lfs/objects/batch", "lfs_batch"),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_put"),
    ("GET", r"/lfs/(?P<oid>[0-9a-f]{64})", "lfs_get"),
    ("POST", "/lfs-verify", "lfs_verify"),
    ("GET", rf"(?:/(?P<kind>spaces|datasets))?/{_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", "resolve"),
    ("POST", "/api/collections", "collect"),
    ("GET", rf"/api/collections/{_SLUG}", "collection"),
    ("POST", rf"/api/collections/{_SLUG}/items", "collect_item"),
]


def card_errors(content: str, kind: str) -> Iterator[str]:
    """What the Hub would say against the metadata of a README.md, as far as its documentation tells."""
    block = re.match(r"\s*---\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", content, re.DOTALL)
    try:
        data = yaml.safe_load(block[1]) if block else None
    except yaml.YAMLError as e:
        yield f"not YAML: {e}"
        return
    if not isinstance(data, dict):
        yield "no metadata block"
        return
    if data.get("license") not in LICENSES:
        yield f'"license" must be one of [{", ".join(LICENSES)}]'
    if data.get("license") == "other" and not (data.get("license_name") and data.get("license_link")):
        yield '"license_name" and "license_link" are required with license "other"'
    if not all(isinstance(t, str) for t in data.get("tags", [])):
        yield '"tags" must be a list of strings'
    if kind == "space":
        if data.get("sdk") not in SPACE_SDKS:
            yield f'"sdk" must be one of [{", ".join(SPACE_SDKS)}]'
        if not {data.get("colorFrom"), data.get("colorTo")} <= {*COLORS, None}:
            yield '"colorFrom" and "colorTo" must be colours of the Hub'
        if len(data.get("short_description", "")) > 60:
            yield '"short_description" length must be less than or equal to 60 characters long'
    for model in data.get("model-index", []):
        if not model.get("name"):
            yield '"model-index[0].name" is required'
        for i, result in enumerate(model.get("results", [])):
            where = f'"model-index[0].results[{i}]'
            if not result.get("task", {}).get("type"):
                yield f'{where}.task.type" is required'
            if not (result.get("dataset", {}).get("type") and result["dataset"].get("name")):
                yield f'{where}.dataset.type" and ".name" are required'
            for metric in result.get("metrics", [{}]):
                if not metric.get("type") or not isinstance(metric.get("value"), (int, float, str)):
                    yield f'{where}.metrics" need type and value'
