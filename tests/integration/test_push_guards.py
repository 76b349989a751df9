"""What a repository or a branch holds already is not replaced by something worse or something else."""

from dataclasses import replace

import pytest

from fer import checkpoint
from tests.hub_look_alike import USER

pytest_plugins = ("tests.hub_fixtures",)


class TestWhatIsThereAlready:
    """A worse net, or another one, does not silently take the place of a published one."""

    @pytest.fixture
    def good(self, made, push, server):
        """A repository with a net of 65 % on the validation split."""
        server[0].repos.pop(("model", f"{USER}/guarded"), None)
        folder = made("baseline_cnn", training={"val_accuracy": 0.65}, seed=2)
        assert push("--checkpoint", folder, "--name", "guarded", "--no-collection")[0] == 0
        return server[0].repo(f"{USER}/guarded")

    def send(self, push, folder, *more):
        return push("--checkpoint", folder, "--name", "guarded", "--no-collection", *more)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"training": {"val_accuracy": 0.6499}}, "better on the validation split (65.00%, this one: 64.99%)"),
            ({"training": {}}, "better on the validation split (65.00%, this one: not known)"),
            ({"training": {"val_accuracy": 0.9}, "data": "muxspace"}, "another net (fer-baseline-cnn-blobs with 7"),
            ({"training": {"val_accuracy": 0.9}, "name": "custom_cnn"}, "another net (fer-baseline-cnn-blobs with 7"),
            (
                {"training": {"val_accuracy": 0.9}, "name": "attention_cnn", "attention": False},
                "another net (fer-baseline-cnn-blobs with 7",
            ),
        ],
    )
    def test_it_stays(self, changes, words, good, made, push, server):
        before = good.files()
        folder = made(changes.pop("name", "baseline_cnn"), **changes)
        server[0].requests.clear()
        status, said = self.send(push, folder)
        assert status == 2 and words in said and "--force-push" in said and "--revision BRANCH" in said
        assert good.files() == before and server[0].uploads() == []

    def test_other_pictures_under_the_same_name_are_another_net(self, made, push, server):
        """Two folders of one name: the validation split of one says nothing about a net for the other."""
        server[0].repos.pop(("model", f"{USER}/guarded"), None)
        folders = (
            made("baseline_cnn", training={"val_accuracy": 0.6}),
            made("baseline_cnn", training={"val_accuracy": 0.99}, seed=3),
        )
        for folder, mark in zip(folders, "ab", strict=True):
            manifest = checkpoint.read_manifest(folder)
            checkpoint.write_manifest(folder, replace(manifest, data=manifest.data | {"fingerprint": mark}))
        assert self.send(push, folders[0])[0] == 0
        status, said = self.send(push, folders[1])
        assert status == 2 and "another net, trained on other pictures of blobs" in said and "--force-push" in said

    def test_something_else_altogether_stays(self, made, push, server):
        """The layout of a diffuser: no config.json at the top."""
        files = {"README.md": b"", "model_index.json": b"{}", "unet/config.json": b"{}", "unet/a.safetensors": b"x"}
        repo = server[0].put(f"{USER}/diffuser", files | {"results/notes.txt": b"mine"})
        before, folder = repo.files(), made("baseline_cnn", training={"val_accuracy": 0.9})
        argv = ("--checkpoint", folder, "--name", "diffuser", "--no-collection")
        status, said = push(*argv)
        assert status == 2, said
        assert "holds something else (model_index.json" in said and "--force-push" in said
        assert repo.files() == before
        assert push(*argv, "--force-push")[0] == 0
        assert {"unet/config.json", "unet/a.safetensors"} <= set(repo.files()), "only what could be ours is deleted"

    def test_what_was_written_by_hand_stays(self, made, push, server):
        server[0].repos.pop(("model", f"{USER}/guarded"), None)
        folder = made("baseline_cnn", training={"val_accuracy": 0.5}, seed=6)
        assert self.send(push, folder)[0] == 0
        repo = server[0].repo(f"{USER}/guarded")
        tree = repo.commits[repo.branches["main"]]
        blob = type(tree["README.md"])
        mine = {"model.fp16.onnx": b"x", "tokenizer.json": b"{}", "results/my_plot.png": b"mine"}
        repo.commit("main", tree | {n: blob(d, False) for n, d in mine.items()}, "by hand")
        assert self.send(push, made("baseline_cnn", training={"val_accuracy": 0.6}, seed=7))[0] == 0
        assert mine.items() <= repo.files().items()
        tree = repo.commits[repo.branches["main"]]
        repo.commit("main", tree | {"README.md": blob(b"---\nlicense: mit\n---\nmy words", False)}, "by hand")
        before, better = repo.files(), made("baseline_cnn", training={"val_accuracy": 0.7}, seed=8)
        status, said = self.send(push, better)
        assert status == 2 and "its README.md was not written from here, or edited since" in said, said
        assert repo.files() == before
        server[0].requests.clear()
        status, said = push("--checkpoint", made("custom_cnn"), "--checkpoint", better, "--no-collection")
        assert status == 0, "another repository"
        repos = server[0].repos
        repos["model", f"{USER}/fer-baseline-cnn-blobs"] = repos.pop(("model", f"{USER}/guarded"))
        server[0].requests.clear()
        status, said = push("--checkpoint", made("custom_cnn", seed=9), "--checkpoint", better, "--no-collection")
        assert status == 2 and "its README.md was not" in said and "preparing" not in said, "nothing of several is sent"
        assert server[0].uploads() == []
        repos["model", f"{USER}/guarded"] = repos.pop(("model", f"{USER}/fer-baseline-cnn-blobs"))
        assert self.send(push, better, "--force-push")[0] == 0 and b"my words" not in repo.files()["README.md"]

    def test_an_ablation_does_not_replace_the_net(self, made, push, server):
        server[0].repos.pop(("model", f"{USER}/guarded"), None)
        assert self.send(push, made("attention_cnn", training={"val_accuracy": 0.5}))[0] == 0
        status, said = self.send(push, made("attention_cnn", training={"val_accuracy": 0.9}, attention=False))
        assert status == 2 and "another net (fer-attention-cnn-blobs with 7 classes)" in said

    @pytest.mark.parametrize("more", [("--force-push",), ("--revision", "try"), ("--revision", "main", "--force-push")])
    def test_unless_that_is_wanted(self, more, good, made, push):
        before = good.files()
        folder = made("baseline_cnn", training={"val_accuracy": 0.1})
        assert self.send(push, folder, *more)[0] == 0
        branch = "try" if "try" in more else "main"
        assert good.files(branch)["model.safetensors"] == (folder / "model.safetensors").read_bytes()
        assert (good.files() == before) == (branch == "try")

    def test_a_branch_is_asked_as_the_main_branch_is(self, good, made, push, server):
        main = good.files()
        steps = ((0.3, (), 0), (0.2, (), 2), (0.4, (), 0), (0.1, ("--force-push",), 0))
        for seed, (val_accuracy, more, status) in enumerate(steps, 10):
            before = good.files("try") if "try" in good.branches else None
            server[0].requests.clear()
            folder = made("baseline_cnn", training={"val_accuracy": val_accuracy}, seed=seed)
            found, said = self.send(push, folder, "--revision", "try", *more)
            assert found == status, said
            if status:
                assert "guarded, branch try, holds a net that is better on the validation split (30.00%" in said
                assert good.files("try") == before and server[0].uploads() == [] and "preparing" not in said
            else:
                assert good.files("try")["model.safetensors"] == (folder / "model.safetensors").read_bytes()
        other = made("custom_cnn", training={"val_accuracy": 0.9})
        status, said = self.send(push, other, "--revision", "try")
        assert status == 2 and "branch try, holds another net (fer-baseline-cnn-blobs" in said
        assert good.files() == main

    def test_a_stranger_on_a_branch_stays(self, good, made, push):
        blob = type(next(iter(good.commits[good.branches["main"]].values())))
        good.commit("theirs", {"config.json": blob(b'{"architectures": ["ViT"]}', False)}, "theirs")
        status, said = self.send(push, made("baseline_cnn", training={"val_accuracy": 0.9}), "--revision", "theirs")
        assert status == 2 and "branch theirs, holds something else than a published net" in said
        assert list(good.files("theirs")) == ["config.json"]

    def test_the_main_branch_is_the_main_branch_by_any_name(self, good, made, push):
        status, said = self.send(push, made("baseline_cnn", training={"val_accuracy": 0.1}), "--revision", "main")
        assert status == 2 and "better on the validation split" in said

    def test_a_better_one_and_the_same_again_go_there(self, good, made, push, server):
        better = made("baseline_cnn", training={"val_accuracy": 0.66})
        assert self.send(push, better)[0] == 0
        assert good.files()["model.safetensors"] == (better / "model.safetensors").read_bytes()
        server[0].requests.clear()
        status, said = self.send(push, better)
        assert status == 0 and "is up to date" in said and server[0].uploads() == []

    @pytest.mark.parametrize("config", [b'{"architectures": ["ViT"]}', b"["])
    def test_a_stranger_stays(self, config, made, push, server):
        theirs = server[0].put(f"{USER}/guarded", {"config.json": config, "model.safetensors": b"theirs"})
        before = theirs.files()
        status, said = self.send(push, made("baseline_cnn", training={"val_accuracy": 0.9}))
        assert status == 2 and "something else than a published net" in said and theirs.files() == before

    def test_nothing_of_several_is_sent_when_one_must_stay(self, made, push, server):
        hub, worse = server[0], made("baseline_cnn", training={"val_accuracy": 0.1})
        assert (
            push("--checkpoint", made("baseline_cnn", training={"val_accuracy": 0.2}, seed=3), "--no-collection")[0]
            == 0
        )
        hub.requests.clear()
        status, said = push("--checkpoint", made("custom_cnn"), "--checkpoint", worse, "--no-collection")
        assert status == 2 and "fer-baseline-cnn-blobs holds" in said and hub.uploads() == []
        hub.repos.pop(("model", f"{USER}/fer-baseline-cnn-blobs"))

    def test_a_private_one_is_looked_at_with_the_token(self, made, push, server):
        server[0].repos.pop(("model", f"{USER}/guarded"), None)
        assert self.send(push, made("baseline_cnn", training={"val_accuracy": 0.5}, seed=4), "--private")[0] == 0
        status, said = self.send(push, made("baseline_cnn", training={"val_accuracy": 0.4}), "--private")
        assert status == 2 and "better on the validation split" in said

    def test_where_it_cannot_be_seen_nothing_is_sent(self, good, made, push, server):
        server[0].fail("HEAD", "config.json", status=403, times=9)
        status, said = self.send(push, made("baseline_cnn", training={"val_accuracy": 0.9}))
        server[0].faults.clear()
        assert status == 2 and "config.json of somebody/guarded could not be read" in said
