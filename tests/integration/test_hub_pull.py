"""fer.hub fetches with the real huggingface_hub client in a process of its own, from a Hub on 127.0.0.1."""

import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest

from tests.hub_calls import REPO, WEIGHTS, content, fetch, manifest
from tests.hub_look_alike import READER, REVOKED, USER, WRITER, Client

pytest_plugins = ("tests.hub_fixtures",)


@pytest.fixture
def client(careful_client):
    return careful_client


@pytest.fixture
def repo(hub):
    """A repository with a checkpoint and things that nobody asked for."""
    others = {"README.md": b"a card", "pytorch_model.bin": b"a pickle", "results/x.png": b"a picture"}
    return hub.put(REPO, others | {"config.json": manifest(WEIGHTS).encode(), "model.safetensors": WEIGHTS})


def change_on_its_way(repo):
    """The Hub's digest of the manifest is the true one, its bytes are others."""
    tree = repo.commits[repo.branches["main"]]
    true = tree["config.json"].git_oid
    other = json.loads(tree["config.json"].data) | {"temperature": 9}

    class Changed(type(tree["config.json"])):
        git_oid = true

    repo.commit("main", tree | {"config.json": Changed(json.dumps(other).encode(), False)}, "on its way")


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
            ({"status": 403}, "not allowed with this token (403), which may not read it"),
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
    def change(self, repo, **files):
        """A commit by the owner."""
        tree = dict(repo.commits[repo.branches["main"]])
        other = {k.replace("_", ".", 1): v for k, v in files.items()}
        blobs = {k: type(tree["config.json"])(v, k.endswith("safetensors")) for k, v in other.items()}
        return repo.commit("main", tree | blobs, "changed")

    def read(self, answer):
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
        place = Path(fetch(client, f"hf:{REPO}").value)
        for name in ("model.safetensors", "config.json"):
            (place / name).resolve().write_bytes(b"x" * 40)
            assert self.read(fetch(client, f"hf:{REPO}"))["model.safetensors"] == WEIGHTS
            assert (place / name).read_bytes() != b"x" * 40

    def test_a_damaged_copy_is_said_to_be_one_in_offline_mode(self, hub, client, repo, server):
        place = Path(fetch(client, f"hf:{REPO}").value)
        (place / "model.safetensors").resolve().write_bytes(b"x" * 40)
        with Client(hub, server[1].home, HF_HUB_OFFLINE="1") as offline:
            answer = fetch(offline, f"hf:{REPO}")
        assert answer.error == "HubError" and "the cached model.safetensors is damaged" in answer.message

    def test_a_manifest_that_is_changed_on_its_way_is_refused(self, hub, client, repo):
        """The Hub's digest is the true one, the bytes are others: twice, so that no second download helps."""
        change_on_its_way(repo)
        answer = fetch(client, f"hf:{REPO}")
        assert answer.error == "HubError" and "config.json is damaged or was changed on its way" in answer.message

    def test_a_download_that_breaks_off_once_goes_on(self, hub, client, repo):
        hub.fail("GET", "/lfs/", cut=True)
        assert self.read(fetch(client, f"hf:{REPO}"))["model.safetensors"] == WEIGHTS

    def test_one_that_may_not_read_is_not_told_to_get_write_access(self, hub, client, repo):
        hub.fail("HEAD", "/resolve/", status=403, times=9)
        answer = fetch(client, f"hf:{REPO}", token=READER)
        assert answer.error == "HubError" and "which may not read it" in answer.message
        assert "write access" not in answer.message

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


@pytest.fixture(scope="module")
def plain_server(server, tmp_path_factory):
    with Client(server[0], tmp_path_factory.mktemp("plain"), HF_HUB_DISABLE_SYMLINKS="1") as client:
        yield client


class TestPlainCopies:
    """A cache without symbolic links (Windows, some file systems), whose file names tell no digest."""

    TRUE: ClassVar = {"config.json": manifest(WEIGHTS).encode(), "model.safetensors": WEIGHTS}
    FALSE: ClassVar = {"config.json": manifest(WEIGHTS[::-1]).encode(), "model.safetensors": WEIGHTS[::-1]}

    @pytest.fixture
    def plain(self, plain_server, hub):
        """A client whose cache has plain files, with nothing in it."""
        shutil.rmtree(plain_server.home / "hub", ignore_errors=True)
        return plain_server

    @pytest.fixture
    def place(self, plain, repo):
        """The folder of a first download."""
        answer = fetch(plain, f"hf:{REPO}")
        assert not answer.error, answer.traceback
        place = Path(answer.value)
        assert content(place) == self.TRUE and not [p for p in place.iterdir() if p.is_symlink()]
        return place

    def put(self, place, *names):
        for name in names:
            (place / name).write_bytes(self.FALSE[name])

    @pytest.mark.parametrize("names", [["config.json"], ["model.safetensors"], list(FALSE)], ids=len)
    @pytest.mark.parametrize("recorded", [True, False])
    def test_what_was_changed_is_fetched_again(self, names, recorded, plain, place):
        self.put(place, *names)
        if not recorded:
            shutil.rmtree(place.parents[1] / "fer-digests")
        assert content(Path(fetch(plain, f"hf:{REPO}").value)) == self.TRUE
        assert content(place) == self.TRUE

    def test_without_a_change_nothing_more_is_asked(self, hub, plain, place):
        hub.requests.clear()
        assert content(Path(fetch(plain, f"hf:{REPO}").value)) == self.TRUE
        assert [r.method for r in hub.requests] == ["HEAD"]

    @pytest.mark.parametrize("linked", [False, True])
    def test_offline_it_is_refused(self, linked, hub, plain, place, client, tmp_path):
        """Also in a cache that had links and was copied."""
        home = plain.home
        if linked:
            home = tmp_path / "home"
            there = Path(fetch(client, f"hf:{REPO}").value)
            cache = there.parents[2]
            shutil.copytree(cache, home / "hub")
            place = home / "hub" / there.relative_to(cache)
        assert not (place / "config.json").is_symlink()
        with Client(hub, home, HF_HUB_DISABLE_SYMLINKS="1", HF_HUB_OFFLINE="1") as offline:
            assert content(Path(fetch(offline, f"hf:{REPO}").value)) == self.TRUE
            self.put(place, *self.FALSE)
            answer = fetch(offline, f"hf:{REPO}")
        assert answer.error == "HubError" and "the cached config.json is damaged" in answer.message

    def test_what_nothing_tells_of_is_used_with_a_warning(self, hub, plain, place):
        """Without a record and without the Hub there is only the manifest itself."""
        shutil.rmtree(place.parents[1] / "fer-digests")
        hub.fail("HEAD", "/resolve/", status=503, times=99)
        answer = fetch(plain, f"hf:{REPO}")
        assert answer.error == "" and "nothing tells whether the cached config.json" in answer.said

    def test_a_manifest_that_is_changed_on_its_way_is_refused(self, plain, repo):
        change_on_its_way(repo)
        answer = fetch(plain, f"hf:{REPO}")
        assert answer.error == "HubError" and "config.json is damaged or was changed on its way" in answer.message
