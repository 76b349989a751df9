"""What a net was made from, and what that means for its weights."""

import json
import re
import subprocess
from dataclasses import replace

import pytest

from fer import checkpoint
from fer.ancestry import KEY, VOTES, Ancestor, ancestors, own_data, record
from fer.errors import CheckpointError
from fer.evaluation import read_result
from fer.evaluation.results import folder_of
from fer.model_card import write_card
from fer.paths import ROOT
from fer.publish import NOTES, notes_of
from fer.specs import Phase
from fer.terms import terms_of
from tests.hub_manifests import LICENSE, NOT_KNOWN, bundle, card_of, manifest

pytest_plugins = ("tests.hub_fixtures",)
pytestmark = pytest.mark.usefixtures("place")


class TestAncestors:
    def test_a_run_records_what_it_was_made_from(self, place, tmp_path):
        far = bundle(tmp_path / "runs", "baseline_cnn", seed=1, data="affectnet@fer7")
        near = bundle(
            tmp_path / "runs", "attention_cnn", seed=2, **{KEY: record(replace(manifest().recipe, init=str(far)))}
        )
        kept = record(replace(manifest().recipe, teacher=str(near)))
        shas = [checkpoint.read_manifest(f).weights["sha256"] for f in (near, far)]
        made = manifest(teacher="gone", **{KEY: json.loads(json.dumps(kept))})
        assert ancestors(made) == [
            Ancestor("teacher", "attention_cnn", shas[0], ("fer2013",), direct=True),
            Ancestor("init", "baseline_cnn", shas[1], ("affectnet@fer7",)),
        ]
        assert terms_of(made).name == LICENSE

    def test_its_own_teacher_comes_before_that_of_the_net_it_began_with(self, place):
        bundle(place, "vgg8", seed=1)
        bundle(place, "custom_cnn", seed=2)
        taught = replace(manifest().recipe, teacher="vgg8")
        folder = bundle(place, "attention_cnn", seed=3, **{KEY: record(taught)})
        kept = record(replace(manifest().recipe, init=str(folder), teacher="custom_cnn"))
        found = ancestors(manifest(teacher="custom_cnn", **{KEY: kept}))
        assert [(a.role, a.model) for a in found] == [
            ("init", "attention_cnn"),
            ("teacher", "custom_cnn"),
            ("teacher", "vgg8"),
        ]

    def test_a_net_from_scratch_records_nothing(self):
        assert record(manifest().recipe) == [] and ancestors(manifest()) == []

    def test_one_that_is_not_there_is_not_passed_over(self):
        with pytest.raises(CheckpointError):
            record(replace(manifest().recipe, teacher="runs/nowhere"))

    def test_before_there_were_records_the_names_are_looked_up(self, place):
        bundle(place, "resnet34_attention", data="affectnet")
        made = replace(manifest(teacher="resnet34_attention"), training={"teacher": "resnet34_attention"})
        (found,) = ancestors(made)
        assert (found.role, found.data, found.sure) == ("teacher", ("affectnet",), False)
        license, text = card_of(made)
        assert license == "other" and "through its teacher, `resnet34_attention`" in text

    def test_one_that_is_gone_is_said_to_be_unknown(self):
        made = manifest(init="runs/attention_cnn/20990101-000000")
        assert ancestors(made) == [Ancestor("init", "attention_cnn", direct=True)]
        license, text = card_of(made)
        assert license == "other" and terms_of(made).strictest.metadata() == NOT_KNOWN
        assert "What it saw through the net that it began with is not recorded for certain" in text

    def test_one_that_is_only_found_under_its_name_proves_nothing(self, place):
        """The weights of that name may have been others when the net was trained."""
        bundle(place, "custom_cnn")
        made = manifest("vit_tiny", teacher="custom_cnn")
        made = replace(made, training={"teacher": "custom_cnn"})
        assert [(a.data, a.sure) for a in ancestors(made)] == [(("fer2013",), False)]
        assert card_of(made)[0] == "other" and terms_of(made).unknown == ("through its teacher",)

    def test_the_teacher_of_the_net_it_began_with_does_not_stand_for_its_own(self):
        kept = [
            {"role": "init", "model": "vit_tiny", "data": ["fer2013"], "direct": True},
            {"role": "teacher", "model": "vgg8", "data": ["fer2013"]},
        ]
        made = manifest("vit_tiny", init="runs/x", teacher="hf:x/affectnet-teacher", **{KEY: kept})
        for teacher in ("", "vgg8", "attention_cnn"):
            made = replace(made, training=made.training | {"teacher": teacher})
            assert ancestors(made)[0] == Ancestor("teacher", teacher, direct=True)
            assert terms_of(made).name == "terms-not-fully-known" and card_of(made)[0] == "other"
        own = {"role": "teacher", "model": "attention_cnn", "data": ["fer2013"], "direct": True}
        made = replace(made, training=made.training | {KEY: [kept[0], own, kept[1]]})
        assert terms_of(made).name == "mit" and len(ancestors(made)) == 3
        made = replace(made, training=made.training | {"teacher": "custom_cnn"})
        assert ancestors(made)[0].model == "custom_cnn" and terms_of(made).unknown == ("through its teacher",)

    def test_a_teacher_from_before_is_not_missed(self, place):
        """--init alone, of a net that was taught: the manifest keeps the name of that teacher."""
        bundle(place, "vgg8", seed=1)
        taught = {"teacher": "vgg8", KEY: record(replace(manifest().recipe, teacher="vgg8"))}
        folder = bundle(place, "attention_cnn", seed=2, **taught)
        kept = record(replace(manifest().recipe, init=str(folder)))
        made = manifest(init=str(folder), teacher="", **{KEY: kept})
        made = replace(made, training=made.training | {"teacher": "vgg8"})
        assert [(a.role, a.model, a.direct) for a in ancestors(made)] == [
            ("init", "attention_cnn", True),
            ("teacher", "vgg8", False),
        ]
        assert terms_of(made).name == "mit"
        row = "| learnt from another net | not in the last run; before it, distilled from `vgg8` (trained on FER2013"
        assert row in write_card(made, "somebody/net")

    def test_the_table_does_not_contradict_the_record(self):
        kept = [
            {"role": "init", "model": "attention_cnn", "data": ["fer2013", "imagenet", VOTES], "direct": True},
            {"role": "teacher", "model": "vgg8", "data": ["fer2013"]},
        ]
        card = write_card(manifest(init="x", **{KEY: kept}), "somebody/net")
        which = "`attention_cnn`, which it began with |"
        for row in (
            f"| weights of others | none of its own; ImageNet weights at the start: {which}",
            f"| labels of others | none of its own; FER+ votes as an auxiliary target: {which}",
            "| learnt from another net | not in the last run; before it, distilled from `vgg8` (trained on FER2013) |",
        ):
            assert row in card, card
        card = write_card(manifest(init="gone"), "somebody/net")
        assert "from scratch" not in card and "| weights of others | none of its own; of the nets before it" in card
        assert "| learnt from another net | no; of the net it began with it is not known |" in card

    def test_the_settings_of_the_last_run_are_not_said_to_be_all(self):
        kept = {"role": "init", "model": "attention_cnn", "data": ["fer2013"], "direct": True}
        card = " ".join(write_card(manifest(init="x", **{KEY: [kept]}), "somebody/net").split())
        assert "holds every setting of the last run, and of the nets before it what is known" in card
        assert "| recipe of the last run |" in card and "| seed of the last run |" in card
        alone = write_card(manifest(), "somebody/net")
        assert "holds every setting." in alone and "last run" not in alone

    @pytest.mark.parametrize("kept", [[], [{"role": "teacher", "model": "vgg8", "data": ["fer2013"]}]])
    def test_one_that_the_record_lacks_is_unknown(self, kept):
        made = manifest(init="somewhere", **{KEY: kept})
        assert ancestors(made)[0] == Ancestor("init", "attention_cnn", direct=True) and card_of(made)[0] == "other"

    def test_what_shows_it_stands_on_the_card(self):
        kept = {"role": "init", "model": "attention_cnn", "data": ["fer2013"], "direct": True}
        kept |= {"shown_by": "rows 1 to 3 of the history"}
        license, text = card_of(manifest(init="gone", **{KEY: [kept]}))
        assert license == "mit" and "SHA-256" not in text, "no digest is made up"
        inferred = (
            "- It began with weights of `attention_cnn`, which had seen FER2013. That is an inference, from rows 1"
        )
        assert inferred in text
        _, text = card_of(manifest(init="gone", **{KEY: [kept | {"sha256": "2" * 64}]}))
        assert "which had seen FER2013. This shows it: rows 1 to 3 of the history." in text

    def test_a_name_that_means_the_net_itself_by_now_says_nothing(self, place):
        """--init attention_cnn --promote: the name then stands for the result."""
        folder = bundle(place, "attention_cnn")
        own = checkpoint.read_manifest(folder)
        made = replace(own, recipe=replace(own.recipe, init="attention_cnn"))
        checkpoint.write_manifest(folder, made)
        assert ancestors(made) == [Ancestor("init", "attention_cnn", direct=True)]

    def test_two_that_name_each_other_come_to_an_end(self, place):
        for name, teacher in (("baseline_cnn", "custom_cnn"), ("custom_cnn", "baseline_cnn")):
            folder = bundle(place, name, seed=len(name), teacher=teacher)
            made = checkpoint.read_manifest(folder)
            checkpoint.write_manifest(folder, replace(made, recipe=replace(made.recipe, teacher=teacher)))
        found = ancestors(checkpoint.read_manifest("baseline_cnn"))
        assert [(a.model, a.data) for a in found] == [("custom_cnn", ("fer2013",)), ("baseline_cnn", ())]

    def test_a_name_on_the_hub_is_not_asked_for(self, monkeypatch):
        monkeypatch.setattr("fer.hub.fetch_checkpoint", lambda *a, **k: pytest.fail("it went to the network"))
        made = manifest(init="hf:somebody/net")
        assert ancestors(made) == [Ancestor("init", "attention_cnn", direct=True)]

    @pytest.mark.parametrize("kept", [[], "x", [3], [{"data": "affectnet"}], [{"role": "teacher", "data": None}]])
    def test_damaged_records_do_not_stop_the_card(self, kept):
        assert "## Data and licence" in write_card(manifest(**{KEY: kept}), "somebody/net")

    def test_own_data(self):
        other = [{"name": "affectnet@fer7"}, {"name": "ferplus", "n_train": 28_389}, "x"]
        made = manifest(other=other, phases=(Phase(data="affectnet"), Phase(data="muxspace"), Phase()))
        assert own_data(made) == ("fer2013", "affectnet@fer7", "ferplus", "muxspace")


class TestNotes:
    """What a reader should know of a teacher's scores stands on the card of its pupil."""

    def write(self, tmp_path, **notes):
        folder = tmp_path / "results" / "fer2013"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NOTES).write_text(json.dumps({sha: text for sha, text in notes.items()}))

    def test_of_a_recorded_teacher(self, tmp_path):
        sha256 = "a" * 64
        self.write(tmp_path, **{sha256: "Scored twice.", "b" * 64: "Of another."})
        kept = {"role": "teacher", "model": "attention_cnn", "sha256": sha256, "data": ["fer2013"], "direct": True}
        made = replace(manifest("vit_tiny"), training={"teacher": "attention_cnn", KEY: [kept]})
        (note,) = notes_of(made)
        assert note == "Its teacher was `attention_cnn`, whose weights have a note of their own: Scored twice."
        card = write_card(made, "somebody/net", notes=[note])
        assert f"distilled from `attention_cnn` (trained on FER2013; SHA-256 `{sha256[:12]}`)" in card and note in card

    def test_of_a_teacher_that_is_looked_up_no_more_is_said_than_is_known(self, place, tmp_path):
        sha256 = checkpoint.read_manifest(bundle(place, "attention_cnn")).weights["sha256"]
        self.write(tmp_path, **{sha256: "Scored twice.", "1" * 64: "Its own."})
        made = replace(manifest("vit_tiny", teacher="attention_cnn"), training={"teacher": "attention_cnn"})
        own, note = notes_of(made)
        assert own == "Its own." and "the weights that have this name now have a note of their own: Scored" in note
        assert sha256[:12] not in write_card(made, "somebody/net")

    def test_the_bundled_pupil_names_its_teacher(self, monkeypatch):
        for variable in ("FER_CHECKPOINTS", "FER_RESULTS"):
            monkeypatch.delenv(variable)
        for name in checkpoint.trained_models():
            made = checkpoint.read_manifest(name)
            if teacher := made.training.get("teacher"):
                card = write_card(made, "somebody/net", notes=notes_of(made))
                above = [a for a in ancestors(made) if a.role == "teacher"]
                parents = [a for a in above if a.direct] or above
                assert ", ".join(a.model for a in parents) == teacher and all(a.sure for a in above)
                named = " and ".join(f"`{a.model}` (trained on FER2013; SHA-256 `{a.sha256[:12]}`)" for a in parents)
                assert f"distilled from {named}" in card


class TestBundled:
    """The licence of the nets that come with the project, and what their ancestry rests on."""

    @pytest.fixture(autouse=True)
    def own_places(self, place, monkeypatch):
        for variable in ("FER_CHECKPOINTS", "FER_RESULTS"):
            monkeypatch.delenv(variable)

    def test_nothing_is_unknown(self):
        for name in checkpoint.trained_models():
            made = checkpoint.read_manifest(name)
            terms = terms_of(made)
            assert terms.name == "mit" and not terms.unknown, name
            assert {note.title for note, _ in terms.seen} == {"FER2013"}
            named = [bool(made.recipe.init), bool(made.recipe.teacher)]
            assert [any(a.role == r and a.direct for a in ancestors(made)) for r in ("init", "teacher")] == named

    def test_what_has_no_digest_is_said_to_be_an_inference(self):
        found = 0
        for name in checkpoint.trained_models():
            made = checkpoint.read_manifest(name)
            guessed = [a for a in ancestors(made) if a.inferred]
            assert write_card(made, "a/b").count("That is an inference, from the first") == len(guessed)
            assert all("28,672" in a.shown_by and "the weights were not kept" in a.shown_by for a in guessed)
            found += len(guessed)
        assert found >= 3

    def test_the_earlier_runs_are_told(self):
        for name in checkpoint.trained_models():
            made = checkpoint.read_manifest(name)
            if made.recipe.init:
                note = notes_of(made)[0]
                runs = {"tiny_cnn": "two"}.get(name, "three")
                assert f"trained in {runs} runs" in note
                assert "seed" in note and note in write_card(made, "a/b", notes=[note])

    def test_every_epoch_has_the_shares_of_fer2013(self):
        """Of 28,709 faces in whole batches, and of 3,589: the history goes back to the first epoch of the first run."""
        for name in checkpoint.trained_models():
            made = checkpoint.read_manifest(name)
            if not made.recipe.init:
                continue
            rows = read_result(folder_of("fer2013", name)).history
            assert [r["epoch"] for r in rows] == list(range(1, made.training["epochs"] + 1)), name
            for row in rows:
                for share, n in ((row["train_accuracy"], 28_709 // 128 * 128), (row["val_accuracy"], 3_589)):
                    assert abs(share * n - round(share * n)) < 1e-6, (name, row["epoch"])

    def test_the_commits_say_what_the_records_say(self):
        shown = [(n, a) for n in checkpoint.trained_models() for a in ancestors(checkpoint.read_manifest(n))]
        asked = 0
        for name, other in shown:
            if not (commit := re.search(r"commit ([0-9a-f]{12})", other.shown_by)):
                assert bool(other.sha256) == (not other.shown_by), (
                    "either recorded by the training, or by inference alone"
                )
                continue
            git = ["git", "-C", str(ROOT), "show", f"{commit[1]}:checkpoints/{other.model}/config.json"]
            there = subprocess.run(git, capture_output=True, text=True)
            if there.returncode:
                pytest.skip("the history of the project is not here")
            told = json.loads(there.stdout)
            assert told["weights"]["sha256"] == other.sha256, name
            assert (told["model"], told["data"]["name"]) == (other.model, *other.data)
            assert told["data"]["fingerprint"] == checkpoint.read_manifest(name).data["fingerprint"]
            assert not told["training"]["pretrained"] and not told["training"]["teacher"]
            asked += 1
        assert asked >= 4
