"""fer.hub with the real huggingface_hub client, which runs in a process of its own against a Hub on 127.0.0.1."""

import hashlib
import json
import shutil

import pytest

from tests.hub_look_alike import READER, REVOKED, USER, WRITER, Client, HubLookAlike

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


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with HubLookAlike() as hub, Client(hub, tmp_path_factory.mktemp("home")) as client:
        yield hub, client


@pytest.fixture
def hub(server):
    hub, client = server
    hub.forget()
    shutil.rmtree(client.home / "hub", ignore_errors=True)
    return hub


@pytest.fixture
def client(server, hub):
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


def manifest(data: bytes, file: str = "model.safetensors", **other: object) -> str:
    return json.dumps({"weights": {"file": file, "sha256": hashlib.sha256(data).hexdigest()}} | other)


def send(client, folder, repo=REPO, token=WRITER, **options):
    return client(SEND, folder=str(folder), repo=repo, options=options, token=token)


def fetch(client, name, token=None):
    return client(FETCH, name=name, token=token)


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def without_attributes(files):
    return {k: v for k, v in files.items() if k != ".gitattributes"}


class TestPush:
    def test_one_commit_holds_the_folder(self, hub, client, folder):
        repo, url, commit, plan = send(client, folder, message="First").value
        made = hub.repo(REPO)
        assert without_attributes(made.files()) == content(folder)
        assert (repo, url, commit) == (REPO, f"{hub.address}/{REPO}", made.branches["main"])
        assert made.messages == ["initial commit", "First"] and not made.private
        assert plan["new"] == sorted(content(folder)) and plan["size"] == sum(map(len, content(folder).values()))
        assert made.commits[commit]["model.safetensors"].large and not made.commits[commit]["config.json"].large

    def test_the_second_time_nothing_is_sent(self, hub, client, folder):
        first = send(client, folder).value
        hub.requests.clear()
        second = send(client, folder).value
        assert hub.uploads() == [] and second[2] == first[2]
        assert second[3]["unchanged"] == sorted(content(folder)) and second[3]["size"] == 0

    def test_only_what_changed_is_sent(self, hub, client, folder):
        send(client, folder)
        (folder / "results" / "metrics.json").write_text('{"better": 1}')
        (folder / "model.onnx").write_bytes(b"a new one")
        hub.requests.clear()
        plan = send(client, folder).value[3]
        assert (plan["new"], plan["changed"]) == (["model.onnx"], ["results/metrics.json"])
        puts = [p for p in hub.uploads() if "/commit/" not in p]
        assert puts == [f"/lfs/{hashlib.sha256(b'a new one').hexdigest()}"]
        assert without_attributes(hub.repo(REPO).files()) == content(folder)

    def test_stale_files_go_and_foreign_ones_stay(self, hub, client, folder):
        hub.put(
            REPO,
            {
                "model.onnx": b"of older weights",
                "results/old/x.json": b"{}",
                "thoughts.md": b"the owner's",
                "unet/own.onnx": b"not ours",
            },
        )
        plan = send(client, folder, stale=["*.onnx", "results/**"]).value[3]
        assert plan["deleted"] == ["model.onnx", "results/old/x.json"]
        assert hub.repo(REPO).files() == content(folder) | {"thoughts.md": b"the owner's", "unet/own.onnx": b"not ours"}

    def test_a_branch_leaves_main_alone(self, hub, client, folder):
        hub.put(REPO, {"README.md": b"---\nlicense: mit\n---\nold"})
        send(client, folder, revision="next")
        assert hub.repo(REPO).files() == {"README.md": b"---\nlicense: mit\n---\nold"}
        assert without_attributes(hub.repo(REPO).files("next")) == content(folder)

    def test_private(self, hub, client, folder):
        assert not send(client, folder, private=True).error
        assert hub.repo(REPO).private
        hub.put(f"{USER}/open", {"a": b"a"})
        answer = send(client, folder, repo=f"{USER}/open", private=True)
        assert answer.error == "HubError" and "is public" in answer.message and hub.uploads()[-1:] != ["a"]
        assert hub.repo(f"{USER}/open").files() == {"a": b"a"}

    @pytest.mark.parametrize(
        ("method", "pattern", "fault", "words"),
        [
            ("GET", "/api/models/", {"status": 404}, "404"),
            ("POST", "/validate-yaml", {"status": 400}, "README.md"),
            ("POST", "/preupload/", {"status": 403}, "write access"),
            ("POST", "objects/batch", {"status": 403}, "write access"),
            ("PUT", "/lfs/", {"status": 403}, "write access"),
            ("POST", "/lfs-verify", {"status": 404}, "404"),
            ("POST", "/commit/", {"status": 412}, "changed meanwhile"),
            ("POST", "/commit/", {"status": 500}, "problem of its own (500)"),
            ("POST", "/commit/", {"cut": True}, "no connection"),
        ],
    )
    def test_a_failure_says_why_and_leaves_the_earlier_version_whole(
        self, hub, client, folder, method, pattern, fault, words
    ):
        send(client, folder)
        before = dict(hub.repo(REPO).branches), hub.repo(REPO).files()
        (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# Another net\n")
        hub.fail(method, pattern, times=9, **fault)
        answer = send(client, folder)
        assert answer.error == "HubError" and answer.message.startswith(f"{REPO} could not be pushed")
        assert words in answer.message and "\n" not in answer.message
        assert (dict(hub.repo(REPO).branches), hub.repo(REPO).files()) == before
        hub.faults.clear()
        assert send(client, folder).value[3]["changed"] == ["README.md", "model.safetensors"]
        assert without_attributes(hub.repo(REPO).files()) == content(folder)

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ({"status": 401}, "token was refused (401)"),
            ({"status": 402}, "paid plan"),
            ({"status": 403}, "write access"),
            ({"status": 429, "Retry_After": "7"}, "try again in 7 s"),
            ({"status": 500}, "problem of its own (500)"),
            ({"cut": True}, "no connection to 127.0.0.1"),
        ],
    )
    def test_a_repository_that_cannot_be_made(self, hub, client, folder, fault, words):
        hub.fail("POST", "/repos/create", **fault)
        answer = send(client, folder)
        assert answer.error == "HubError" and words in answer.message and "\n" not in answer.message
        assert hub.repos == {}

    @pytest.mark.parametrize("fault", [{"cut": True}, {"status": 500}, {"status": 429, "Retry_After": "0"}])
    def test_a_passing_failure_of_the_upload_is_overcome(self, hub, client, folder, fault):
        hub.fail("PUT", "/lfs/", **fault)
        assert send(client, folder).error == ""
        assert without_attributes(hub.repo(REPO).files()) == content(folder)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fault", "words"), [({"cut": True}, "no connection"), ({"status": 500}, "(500)"), ({"status": 429}, "(429)")]
    )
    def test_a_lasting_failure_of_the_upload_leaves_the_earlier_version_whole(self, hub, client, folder, fault, words):
        send(client, folder)
        before = hub.repo(REPO).files()
        (folder / "model.safetensors").write_bytes(WEIGHTS[::-1])
        hub.fail("PUT", "/lfs/", times=99, **fault)
        answer = send(client, folder)
        assert answer.error == "HubError" and words in answer.message and "as it was before" in answer.message
        assert hub.repo(REPO).files() == before

    def test_what_an_upload_that_broke_off_has_sent_is_not_sent_again(self, hub, client, folder):
        (folder / "model.onnx").write_bytes(WEIGHTS[::-1])
        sent, missing = (hashlib.sha256(b).hexdigest() for b in (WEIGHTS, WEIGHTS[::-1]))
        hub.fail("PUT", f"/lfs/{missing}", status=403, times=9)
        assert send(client, folder).error == "HubError" and hub.repo(REPO).messages == ["initial commit"]
        assert sent in hub.large and missing not in hub.large
        hub.faults.clear()
        hub.requests.clear()
        assert send(client, folder).error == ""
        assert [p for p in hub.uploads() if "/commit/" not in p] == [f"/lfs/{missing}"]
        assert without_attributes(hub.repo(REPO).files()) == content(folder)

    def test_a_file_with_a_token_is_not_sent(self, hub, client, folder):
        (folder / "results" / "notes.txt").write_text(f"export HF_TOKEN={READER}")
        answer = send(client, folder)
        assert "results/notes.txt holds an access token" in answer.message and hub.requests == []
        (folder / "results" / "notes.txt").unlink()
        (folder / "model.safetensors").write_bytes(WEIGHTS + WRITER.encode())
        assert "model.safetensors holds" in send(client, folder).message and hub.requests == []

    def test_a_card_that_the_hub_refuses(self, hub, client, folder):
        (folder / "README.md").write_text("---\nlicense: none of your business\n---\n")
        answer = send(client, folder)
        assert answer.error == "HubError" and "Invalid metadata in README.md" in answer.message
        assert '"license" must be one of' in answer.message and "\n" not in answer.message
        assert hub.repo(REPO).messages == ["initial commit"]


@pytest.mark.parametrize(
    ("token", "namespace", "words"),
    [
        (None, USER, "no token; make one with write access"),
        (REVOKED, USER, "token was refused (401)"),
        (READER, USER, "only reads"),
        (WRITER, "nobody", f"may write to {USER}"),
    ],
)
def test_who_may_not_push_is_told_before_the_work(hub, client, token, namespace, words):
    answer = client("from fer.hub import check_access; check_access(namespace)", namespace=namespace, token=token)
    assert answer.error == "HubError" and words in answer.message


def test_who_may_push(hub, client):
    assert client("from fer.hub import check_access; value = check_access(n)", n=USER).value == USER


@pytest.mark.parametrize(
    "code",
    [
        "from fer.hub import check_access; check_access('somebody')",
        "from fer.hub import collect; collect('somebody', 'My nets', ['somebody/a'])",
        "from fer.hub import send_folder; send_folder(folder, 'somebody/fer-net')",
    ],
)
def test_nothing_can_be_sent_in_offline_mode_and_that_is_said(hub, offline, folder, code):
    answer = offline(code, folder=str(folder))
    assert answer.error == "HubError" and "offline mode is on (HF_HUB_OFFLINE" in answer.message
    assert "cache" not in answer.message and hub.requests == []


def test_collection(hub, client):
    code = "from fer.hub import collect; value = collect(n, 'My nets', repos, 'about them', private=True)"
    for _ in range(2):
        answer = client(code, n=USER, repos=[f"{USER}/a", f"{USER}/b"])
        assert answer.value == f"{hub.address}/collections/{USER}/my-nets-0001"
    (made,) = hub.collections.values()
    assert [i["id"] for i in made["items"]] == [f"{USER}/a", f"{USER}/b"]
    assert made["private"] and made["description"] == "about them"


class TestFilesOfOthers:
    """What the project fetches beside checkpoints: no token of the caller may come back in words."""

    YUNET = "opencv/face_detection_yunet"
    CALLS = (
        (YUNET, "from fer.hub import fetch_yunet; value = str(fetch_yunet())"),
        ("timm/resnet18.tv_in1k", "from fer.hub import pretrained_net; pretrained_net('resnet18.tv_in1k')"),
        ("somebody/faces", "from fer.hub import hub_dataset; hub_dataset('somebody/faces')"),
    )

    @pytest.mark.parametrize(("repo", "code"), CALLS)
    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            ({"status": 401}, "the token was refused (401)"),
            ({"status": 418}, "the Hub answered 418"),
        ],
    )
    def test_a_refusal_is_told_without_the_token(self, hub, client, repo, code, fault, words):
        for method in ("GET", "HEAD"):
            hub.fail(method, repo, times=99, **fault)
        answer = client(code, token=READER)
        assert answer.error == "HubError" and words in answer.message and "\n" not in answer.message
        assert {r.token for r in hub.requests} == {READER}  # it was sent, and the server sent it back

    def test_offline_mode(self, hub, offline):
        for repo, code in self.CALLS:
            answer = offline(code)
            assert answer.error == "HubError" and "offline mode is set" in answer.message, repo
        assert hub.requests == []

    def test_another_file_than_the_expected_is_not_used(self, hub, client):
        hub.put(self.YUNET, {"face_detection_yunet_2023mar.onnx": b"another net"})
        answer = client(self.CALLS[0][1])
        assert answer.error == "HubError" and "it was not used" in answer.message


class TestPull:
    @pytest.fixture
    def repo(self, hub):
        """A repository with a checkpoint and things that nobody asked for."""
        others = {"README.md": b"a card", "pytorch_model.bin": b"a pickle", "results/x.png": b"a picture"}
        return hub.put(REPO, others | {"config.json": manifest(WEIGHTS).encode(), "model.safetensors": WEIGHTS})

    def change(self, repo, **files):
        """A commit by the owner."""
        tree = dict(repo.commits[repo.branches["main"]])
        other = {k.replace("_", ".", 1): v for k, v in files.items()}
        blobs = {k: type(tree["config.json"])(v, k.endswith("safetensors")) for k, v in other.items()}
        return repo.commit("main", tree | blobs, "changed")

    def read(self, answer):
        from pathlib import Path

        assert not answer.error, answer.traceback
        return content(Path(answer.value))

    def test_two_files_and_no_others(self, hub, client, repo):
        got = self.read(fetch(client, f"hf:{REPO}"))
        assert got == {"config.json": manifest(WEIGHTS).encode(), "model.safetensors": WEIGHTS}
        asked = {r.path.rsplit("/", 1)[1] for r in hub.requests if "/resolve/" in r.path}
        assert asked == {"config.json", "model.safetensors"}
        assert all("facial-expression-lab" in r.agent for r in hub.requests)

    def test_the_token_stays_with_the_hub(self, hub, client, repo):
        repo.private = True
        assert fetch(client, f"hf:{REPO}", token=WRITER).error == ""
        assert {r.token for r in hub.requests if "/resolve/" in r.path} == {WRITER}
        assert [r.token for r in hub.requests if r.path.startswith("/lfs/")] == [None]

    def test_the_second_time_no_bytes_are_fetched(self, hub, client, repo):
        fetch(client, f"hf:{REPO}")
        hub.requests.clear()
        assert self.read(fetch(client, f"hf:{REPO}"))["model.safetensors"] == WEIGHTS
        assert [r.method for r in hub.requests] == ["HEAD"]

    def test_a_pinned_commit_needs_no_network_later(self, hub, client, repo):
        old = repo.branches["main"]
        other = WEIGHTS[::-1]
        self.change(repo, config_json=manifest(other).encode(), model_safetensors=other)
        assert self.read(fetch(client, f"hf:{REPO}@{old}"))["model.safetensors"] == WEIGHTS
        assert self.read(fetch(client, f"hf:{REPO}"))["model.safetensors"] == other
        hub.requests.clear()
        assert self.read(fetch(client, f"hf:{REPO}@{old}"))["model.safetensors"] == WEIGHTS
        assert hub.requests == []

    def test_a_branch(self, hub, client, repo):
        repo.branches["v1"] = repo.branches["main"]
        self.change(repo, config_json=b"{}")
        assert self.read(fetch(client, f"hf:{REPO}@v1"))["config.json"] == manifest(WEIGHTS).encode()

    def test_without_a_network_the_cached_copy_is_taken(self, hub, client, repo):
        fetch(client, f"hf:{REPO}")
        hub.fail("HEAD", "/resolve/", status=503, times=99)
        assert self.read(fetch(client, f"hf:{REPO}"))["model.safetensors"] == WEIGHTS

    def test_offline_mode(self, hub, client, repo, server):
        fetch(client, f"hf:{REPO}")
        hub.requests.clear()
        with Client(hub, server[1].home, HF_HUB_OFFLINE="1") as offline:
            assert self.read(fetch(offline, f"hf:{REPO}"))["model.safetensors"] == WEIGHTS
            answer = fetch(offline, f"hf:{USER}/another")
        assert answer.error == "HubError" and "offline mode is set" in answer.message and "\n" not in answer.message
        assert hub.requests == []

    @pytest.mark.slow  # the client tries again for half a minute
    def test_no_server(self, hub, client, repo, tmp_path):
        with Client(hub, tmp_path, HF_ENDPOINT="http://127.0.0.1:9") as stranded:
            answer = fetch(stranded, f"hf:{REPO}")
        assert answer.error == "HubError" and "no connection to 127.0.0.1" in answer.message

    @pytest.mark.parametrize(
        ("name", "token", "words"),
        [
            (f"{USER}/nothing", None, "no such repository"),
            (f"{USER}/nothing", READER, "no such repository"),
            (f"{USER}/secret", None, "no such repository, or one that your token may not read"),
            (f"{USER}/secret", READER, "no such repository, or one that your token may not read"),
            (f"{USER}/gated", None, "access must be granted first"),
            (f"{USER}/gated", READER, "access must be granted first"),
            (REPO, REVOKED, "token was refused (401)"),
            (f"{REPO}@v9", None, "no such revision"),
            (f"{USER}/empty", None, "is it a model of this project?"),
            (f"{USER}/foreign", None, "not that of a checkpoint of this project"),
            (f"{USER}/broken", None, "not that of a checkpoint of this project"),
        ],
    )
    def test_what_cannot_be_had_is_named(self, hub, client, repo, name, token, words):
        hub.put(f"{USER}/secret", {"config.json": b"{}"}, private=True)
        hub.put(f"{USER}/gated", {"config.json": b"{}"}, gated=True)
        hub.put(f"{USER}/empty", {"README.md": b""})
        hub.put(f"{USER}/foreign", {"config.json": b'{"architectures": ["ViT"]}'})
        hub.put(f"{USER}/broken", {"config.json": b'["weights"]'})
        answer = fetch(client, f"hf:{name}", token=token)
        assert answer.error == "HubError" and words in answer.message
        assert answer.message.startswith(f"hf:{name}: ") and "\n" not in answer.message

    def test_weights_that_could_hold_code_are_never_fetched(self, hub, client, repo):
        self.change(repo, config_json=manifest(b"a pickle", "pytorch_model.bin").encode())
        answer = fetch(client, f"hf:{REPO}")
        assert answer.error == "HubError" and "hold no code" in answer.message
        assert not any("pytorch_model" in r.path for r in hub.requests)

    def test_changed_bytes_are_refused(self, hub, client, repo):
        self.change(repo, model_safetensors=WEIGHTS[:-1] + b"!")
        for _ in range(2):
            answer = fetch(client, f"hf:{REPO}")
            assert answer.error == "HubError" and "damaged or was changed" in answer.message

    def test_a_damaged_copy_is_fetched_again(self, hub, client, repo):
        from pathlib import Path

        place = Path(fetch(client, f"hf:{REPO}").value)
        for name in ("model.safetensors", "config.json"):
            (place / name).resolve().write_bytes(b"x" * 40)
            assert self.read(fetch(client, f"hf:{REPO}"))["model.safetensors"] == WEIGHTS
            assert (place / name).read_bytes() != b"x" * 40

    def test_a_damaged_copy_is_said_to_be_one_in_offline_mode(self, hub, client, repo, server):
        from pathlib import Path

        place = Path(fetch(client, f"hf:{REPO}").value)
        (place / "model.safetensors").resolve().write_bytes(b"x" * 40)
        with Client(hub, server[1].home, HF_HUB_OFFLINE="1") as offline:
            answer = fetch(offline, f"hf:{REPO}")
        assert answer.error == "HubError" and "the cached model.safetensors is damaged" in answer.message

    def test_a_manifest_that_is_changed_on_its_way_is_refused(self, hub, client, repo):
        """The Hub's digest is the true one, the bytes are others: twice, so that no second download helps."""
        tree = repo.commits[repo.branches["main"]]
        true = tree["config.json"].git_oid
        other = json.loads(tree["config.json"].data) | {"temperature": 9}

        class Changed(type(tree["config.json"])):
            git_oid = true

        repo.commit("main", tree | {"config.json": Changed(json.dumps(other).encode(), False)}, "on its way")
        answer = fetch(client, f"hf:{REPO}")
        assert answer.error == "HubError" and "config.json is damaged or was changed on its way" in answer.message

    def test_a_download_that_breaks_off_once_goes_on(self, hub, client, repo):
        hub.fail("GET", "/lfs/", cut=True)
        assert self.read(fetch(client, f"hf:{REPO}"))["model.safetensors"] == WEIGHTS

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("fault", "words"), [({"cut": True}, "no connection"), ({"status": 500}, "(500)"), ({"status": 429}, "(429)")]
    )
    def test_a_download_that_fails_for_good_is_named(self, hub, client, repo, fault, words):
        hub.fail("HEAD" if fault.get("status") else "GET", "/(resolve|lfs)/", times=99, **fault)
        answer = fetch(client, f"hf:{REPO}")
        assert answer.error == "HubError" and words in answer.message

    @pytest.mark.parametrize("name", ["hf:", "hf:net", "hf:a/b/c", "hf:a/../b", "hf:a/b@", "hf:a/b c", "hf:a--b/c--d"])
    def test_names_that_are_none(self, hub, client, name):
        answer = fetch(client, name)
        assert answer.error == "ConfigError" and "hf:OWNER/REPOSITORY" in answer.message and hub.requests == []
