"""fer.hub sends with the real huggingface_hub client in a process of its own, to a Hub on 127.0.0.1."""

import hashlib

import pytest

from tests.hub_calls import REPO, SEND, WEIGHTS, content, manifest, send, without_attributes
from tests.hub_look_alike import READER, REVOKED, USER, WRITER

pytest_plugins = ("tests.hub_fixtures",)


@pytest.fixture
def client(careful_client):
    return careful_client


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
        kept = without_attributes(hub.repo(REPO).files())
        assert kept == content(folder) | {"thoughts.md": b"the owner's", "unet/own.onnx": b"not ours"}

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

    def test_what_is_refused_leaves_no_branch_behind(self, hub, client, folder):
        hub.put(f"{USER}/open", {"a": b"a"})
        private = send(client, folder, repo=f"{USER}/open", private=True, revision="next")
        foreign = send(client, folder, repo=f"{USER}/open", known_by=["config.json"], revision="next")
        assert "is public" in private.message and "it holds something else (a)" in foreign.message
        assert list(hub.repo(f"{USER}/open").branches) == ["main"] and hub.uploads() == []

    def test_a_branch_is_made_even_where_nothing_differs(self, hub, client, folder):
        send(client, folder)
        plan = send(client, folder, revision="next").value[3]
        assert not plan["new"] and hub.repo(REPO).branches["next"] == hub.repo(REPO).branches["main"]

    def test_somebodys_other_work_on_a_branch_is_left_alone(self, hub, client, folder):
        send(client, folder)
        repo = hub.repo(REPO)
        repo.commit("theirs", {"model_index.json": next(iter(repo.commits[repo.branches["main"]].values()))}, "x")
        before = dict(repo.branches)
        answer = send(client, folder, known_by=["config.json"], revision="theirs")
        assert "its branch theirs holds something else (model_index.json)" in answer.message
        assert repo.branches == before
        assert not send(client, folder, revision="theirs").error and repo.branches["main"] == before["main"]

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

    @pytest.mark.parametrize("fault", [{"cut": True}, {"status": 504}])
    @pytest.mark.parametrize("revision", [None, "next"])
    def test_a_commit_whose_answer_was_lost_has_arrived(self, hub, client, folder, fault, revision):
        send(client, folder)
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# Another net\n")
        hub.fail("POST", "/commit/", late=True, **fault)
        answer = send(client, folder, revision=revision)
        assert not answer.error, answer.message
        repo = hub.repo(REPO)
        assert answer.value[2] == repo.branches[revision or "main"] and len(repo.messages) == 3
        assert without_attributes(repo.files(revision or "main")) == content(folder)

    def test_where_the_hub_does_not_say_what_became_of_a_commit_both_are_named(self, hub, client, folder):
        send(client, folder)
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# Another net\n")
        code = SEND.replace("sent =", "import fer.hub.push as p; p._came_through = lambda *a: None\nsent =")
        hub.fail("POST", "/commit/", status=504, late=True)
        answer = client(code, folder=str(folder), repo=REPO, options={})
        client("import importlib, fer.hub.push as p; importlib.reload(p)")
        assert "it holds the earlier version or all of the new one" in answer.message
        assert "as it was before" not in answer.message

    def test_a_branch_that_a_failed_push_leaves_is_named(self, hub, client, folder):
        send(client, folder)
        (folder / "config.json").write_text("{}")
        hub.fail("POST", "/commit/", status=500, times=9)
        answer = send(client, folder, revision="next")
        assert "(it is as it was before; its new branch next stays, and holds what the main" in answer.message
        assert hub.repo(REPO).branches["next"] == hub.repo(REPO).branches["main"]

    def test_somebody_elses_commit_in_between_is_not_taken_for_this_one(self, hub, client, folder):
        send(client, folder)
        (folder / "config.json").write_text("{}")
        code = SEND.replace(
            "sent =", "options['on_plan'] = lambda plan: HfApi().upload_file(**theirs, repo_id=repo)\nsent ="
        )
        theirs = {"path_or_fileobj": str(folder / "model.safetensors"), "path_in_repo": "theirs.txt"}
        code = f"from huggingface_hub import HfApi\n{code}"
        answer = client(code, folder=str(folder), repo=REPO, options={}, theirs=theirs)
        assert "(412)" in answer.message and "another commit was made meanwhile" in answer.message

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


class TestWhatPeopleWrote:
    """What an earlier push did not write stays, and is not written over, unless that is asked for."""

    STALE = ("*.onnx", "*.json", "results/**", "LICENSE")

    def ours(self, client, folder, **options):
        return send(client, folder, stale=self.STALE, known_by=["config.json"], **options)

    def add(self, hub, **files):
        """A commit by hand on the main branch."""
        repo = hub.repo(REPO)
        blob = type(next(iter(repo.commits[repo.branches["main"]].values())))
        tree = dict(repo.commits[repo.branches["main"]])
        repo.commit("main", tree | {n: blob(d, n.endswith(".onnx")) for n, d in files.items()}, "by hand")

    def test_only_what_an_earlier_push_wrote_is_deleted(self, hub, client, folder):
        (folder / "model.int8.onnx").write_bytes(b"int8")
        (folder / "results" / "old.json").write_text("{}")
        assert not self.ours(client, folder).error
        mine = {"model.fp16.onnx": b"by hand", "tokenizer.json": b"{}", "results/my_plot.png": b"mine"}
        self.add(hub, **mine)
        for name in ("model.int8.onnx", "results/old.json"):
            (folder / name).unlink()
        assert self.ours(client, folder).value[3]["deleted"] == ["model.int8.onnx", "results/old.json"]
        assert without_attributes(hub.repo(REPO).files()) == content(folder) | mine

    @pytest.mark.parametrize("name", ["README.md", "LICENSE"])
    def test_what_was_edited_by_hand_is_not_written_over(self, name, hub, client, folder):
        (folder / "LICENSE").write_text("MIT")
        assert not self.ours(client, folder).error
        text = b"---\nlicense: mit\n---\nmy own words"
        self.add(hub, **{name: text})
        (folder / "config.json").write_text(manifest(WEIGHTS, more=1))
        hub.requests.clear()
        answer = self.ours(client, folder)
        assert f"its {name} was not written from here, or edited since" in answer.message, answer.message
        assert "--force-push" in answer.message and hub.uploads() == [] and hub.repo(REPO).files()[name] == text
        assert not self.ours(client, folder, revision="next").error, "a branch beside it loses nothing"
        assert not send(client, folder, stale=self.STALE).error
        assert without_attributes(hub.repo(REPO).files()) == content(folder)

    def test_a_repository_that_was_not_sent_from_here(self, hub, client, folder):
        mine = {"README.md": b"---\nlicense: mit\n---\nmy words", "config.json": b"{}", "results/a.png": b"mine"}
        hub.put(REPO, mine)
        assert "its README.md was not written from here" in self.ours(client, folder).message
        hub.put(REPO, mine | {"README.md": (folder / "README.md").read_bytes()})
        assert self.ours(client, folder).value[3]["deleted"] == []

    @pytest.mark.parametrize(("text", "taken"), [(b"---\nlicense: mit\n---\n", True), (b"my words", False)])
    def test_a_repository_made_on_the_web_page(self, text, taken, hub, client, folder):
        hub.put(REPO, {"README.md": text})
        assert self.ours(client, folder).error == ("" if taken else "HubError")

    @pytest.mark.parametrize("damaged", [b"{", b"[]", b'{"files": [1]}'])
    def test_a_damaged_list_stops_nothing_and_deletes_nothing(self, damaged, hub, client, folder):
        assert not self.ours(client, folder).error
        self.add(hub, **{".fer-sent.json": damaged})
        (folder / "results" / "metrics.json").unlink()
        (folder / "config.json").write_text(manifest(WEIGHTS, more=2))
        assert self.ours(client, folder).value[3]["deleted"] == []


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
