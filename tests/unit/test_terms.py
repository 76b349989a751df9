"""What a net was made from, and what that means for its weights."""

import json
import re
import subprocess
from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from fer import checkpoint
from fer.ancestry import KEY, VOTES, Ancestor, ancestors, own_data, record, scored_data
from fer.errors import CheckpointError
from fer.evaluation import read_result
from fer.evaluation.results import folder_of
from fer.labels import FER7
from fer.model_card import repo_name, write_card
from fer.models import get_model
from fer.paths import ROOT
from fer.publish import NOTES, notes_of
from fer.specs import Phase
from fer.terms import WHY_MIT, data_note, license_text, terms_of
from tests.hub_routes import card_errors
from tests.small_checkpoints import bundle as bundle_of

LICENSE = "affectnet-non-commercial-research"
COUNTS = {"fer2013": {"n_train": 28_709, "n_val": 3_589}}
NOT_KNOWN = {"license": "other", "license_name": "terms-not-fully-known", "license_link": "LICENSE"}


def bundle(*args, **options):
    """A small checkpoint; one of FER2013 tells its counts."""
    folder = bundle_of(*args, **options)
    made = checkpoint.read_manifest(folder)
    checkpoint.write_manifest(folder, replace(made, data=made.data | COUNTS.get(made.data["name"], {})))
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty folder of bundled checkpoints, and one of results."""
    monkeypatch.setenv("FER_CHECKPOINTS", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("FER_RESULTS", str(tmp_path / "results"))
    return tmp_path / "checkpoints"


def manifest(name="attention_cnn", init="", teacher="", data="fer2013", phases=None, other=(), **training):
    entry = get_model(name)
    recipe = replace(entry.RECIPE, init=init, teacher=teacher)
    return checkpoint.Manifest(
        model=name,
        labels=FER7.names,
        label_set=FER7.name,
        input=entry.SPEC.input,
        recipe=replace(recipe, phases=phases) if phases else recipe,
        data={"name": data} | COUNTS.get(data, {}) | ({"other_phases": list(other)} if other else {}),
        weights={"file": "model.safetensors", "sha256": "1" * 64},
        training=training,
    )


def card_of(made):
    card = write_card(made, "somebody/net")
    assert list(card_errors(card, "model")) == []
    return ModelCard(card).data.license, card[card.index("## Data and licence") :]


class TestTerms:
    def test_free_data_alone(self):
        license, text = card_of(manifest())
        assert license == "mit" and "AffectNet (" not in text
        assert text.endswith(
            "The weights: MIT, as far as it is for their makers to say. The pictures that it learnt from keep terms of "
            f"their own. The code: MIT.\n\n{WHY_MIT}\n"
        )
        assert "speak of the pictures alone" in WHY_MIT and "Why MIT" not in card_of(manifest(data="muxspace"))[1]

    @pytest.mark.parametrize(
        "made",
        [
            manifest(data="affectnet@fer7"),
            manifest(data="folder of AffectNet faces"),
            manifest(other=[{"phase": "first", "name": "affectnet", "fingerprint": "f", "n_train": 1}]),
            manifest(phases=(Phase(data="affectnet"), Phase())),
            manifest(**{KEY: [{"role": "teacher", "model": "vgg8", "sha256": "2" * 64, "data": ["affectnet"]}]}),
            manifest(
                **{KEY: [{"role": "init", "model": "vgg8", "sha256": "2" * 64, "data": ["fer2013", "affectnet"]}]}
            ),
        ],
    )
    def test_the_strictest_counts(self, made):
        license, text = card_of(made)
        assert license == "other" and terms_of(made).name == LICENSE
        assert f"The weights: {LICENSE} (http://mohammadmahoor.com/affectnet/), not MIT: the reason is" in text
        assert "for non-commercial research only" in text and "The weights: MIT" not in text

    def test_the_card_says_why(self):
        _, text = card_of(manifest(phases=(Phase(data="affectnet"), Phase())))
        assert "the reason is AffectNet, which it saw in an earlier phase of its training." in text
        learnt = {"role": "teacher", "model": "resnet34_attention", "sha256": "2" * 64, "data": ["affectnet"]}
        learnt["direct"] = True
        _, text = card_of(manifest(teacher="x", **{KEY: [learnt]}))
        assert "which it saw through its teacher, `resnet34_attention`." in text and "FER2013 (Goodfellow" in text

    def test_data_that_nobody_here_knows_is_not_given_away(self):
        made = manifest(data="my faces")
        license, text = card_of(made)
        assert license == "other" and "ask them for its source and terms" in text
        assert terms_of(made).strictest.metadata() == NOT_KNOWN
        both = manifest(data="my faces", phases=(Phase(data="affectnet"), Phase()))
        assert terms_of(both).name == LICENSE
        assert "the reason is my faces, which it saw in training; and AffectNet, which it saw in" in card_of(both)[1]

    def test_a_repository_without_a_licence_gives_none(self):
        license, text = card_of(manifest(data="muxspace"))
        assert license == "other" and "states no licence" in text and "The weights: MIT" not in text

    @pytest.mark.parametrize(
        ("name", "title"),
        [("fer2013-folders", "FER2013"), ("ferplus-folders", "FER+"), ("ferplus-majority@fer7", "FER+"), ("x", "x")],
    )
    def test_forms_of_a_data_set(self, name, title):
        assert data_note(name).title == title

    @pytest.mark.parametrize(
        ("name", "counts", "known"),
        [
            ("fer2013", (28_709, 3_589), True),
            ("fer2013", (42, 7), False),
            ("fer2013", (12_271, 3_068), False),  # RAF-DB's training and test faces, written as a CSV
            ("fer2013-folders", (24_403, 4_306), True),  # 15 % of the training faces
            ("fer2013-folders", (28_709, 3_589), True),
            ("fer2013-folders", (10_430, 1_841), False),  # the same of RAF-DB
            ("fer2013-folders", (None, None), False),
            ("ferplus", (28_389, 3_553), True),
            ("ferplus-fer7", (28_347, 3_550), True),
            ("ferplus-majority", (25_060, 3_199), True),
            ("ferplus-majority", (28_389, 3_553), False),
        ],
    )
    def test_the_form_of_fer2013_does_not_make_it_fer2013(self, name, counts, known):
        made = replace(manifest(), data={"name": name, "n_train": counts[0], "n_val": counts[1]})
        license, text = card_of(made)
        assert (license == "mit") == known and ("35,887" in text) == known
        assert (name == "fer2013-folders" or known) or repo_name(made) == "fer-attention-cnn-other-data"
        if not known:
            assert terms_of(made).strictest.metadata() == NOT_KNOWN
            assert f"data in the form of {name}" in text and "known here, but not its numbers of faces" in text
            assert "| data | FER" not in write_card(made, "somebody/net")

    def test_folders_of_other_pictures_are_not_published_as_fer2013(self, tmp_path):
        """As read: train/ and test/ with the seven classes, 48 px."""
        from PIL import Image

        from fer.data import open_dataset

        for place in (tmp_path / "RAF-DB" / split / name for split in ("train", "test") for name in FER7.names):
            place.mkdir(parents=True)
            for i in range(4):
                Image.new("L", (48, 48), i).save(place / f"{i}.png")
        data = open_dataset(tmp_path / "RAF-DB")
        counts = {"n_train": len(data["train"]), "n_val": len(data["val"])}
        made = replace(manifest(), data={"name": data.name} | counts)
        assert card_of(made)[0] == "other" and terms_of(made).name == "terms-not-fully-known"
        assert repo_name(made) == "fer-attention-cnn-other-data"
        pupil = manifest(teacher="x", **{KEY: [{"role": "teacher", "data": list(own_data(made)), "direct": True}]})
        assert terms_of(pupil).name == "terms-not-fully-known", "it is passed on"

    def test_a_phase_before_the_last_is_asked_too(self):
        for n_train, name in ((28_709, "mit"), (5_000, "terms-not-fully-known"), (None, "terms-not-fully-known")):
            earlier = {"phase": "first", "name": "fer2013-folders", "n_train": n_train}
            assert terms_of(manifest(other=[earlier])).name == name

    @pytest.mark.parametrize(
        ("name", "split", "n", "known"),
        [
            ("fer2013", "test", 3_589, True),
            ("fer2013", "test", 3_068, False),
            ("fer2013-folders", "test", 7_178, True),
            ("fer2013-folders", "test", 3_068, False),
            ("ferplus", "test", 3_546, True),
            ("ferplus", "test", 3_068, False),
            ("muxspace", "test", 7, True),
        ],
    )
    def test_what_was_scored_is_named_by_its_counts(self, name, split, n, known):
        assert scored_data(name, split, n) == (name if known else f"data in the form of {name}")

    def test_votes_of_ferplus_are_data_too(self):
        made = manifest(extra_annotation=True)
        license, text = card_of(made)
        assert license == "mit" and "FER+ votes, seen as a second target of its training: FER+ (Barsoum" in text
        assert {note.title for note, _ in terms_of(made).seen} == {"FER2013", "FER+ votes"}

    def test_weights_of_others_have_terms_of_their_own(self):
        license, text = card_of(manifest(pretrained=True))
        assert license == "other" and terms_of(manifest(pretrained=True)).name == "imagenet-terms"
        assert "the reason is ImageNet, which it saw through the weights that it began with." in text
        assert "others trained on ImageNet" not in card_of(manifest())[1]
        strict = manifest(pretrained=True, data="affectnet")
        assert terms_of(strict).name == LICENSE and "; and ImageNet, which it saw" in card_of(strict)[1]

    def test_they_are_passed_on_to_a_pupil(self, tmp_path):
        folder = bundle(tmp_path / "runs", "baseline_cnn", pretrained=True)
        made = manifest(teacher="x", **{KEY: record(replace(manifest().recipe, teacher=str(folder)))})
        assert terms_of(made).name == "imagenet-terms"
        assert "which it saw through its teacher, `baseline_cnn`" in card_of(made)[1]

    @pytest.mark.parametrize("made", [manifest(data="my faces"), manifest(init="gone"), manifest(data="affectnet")])
    def test_the_license_file_says_what_the_card_says(self, made):
        terms = terms_of(made)
        text = license_text(terms)
        assert text.startswith(f"The weights: {terms.title}\n") and "under the MIT licence. The weights are not" in text
        assert all(reason.replace("`", "") in text for reason in terms.reasons) and "`" not in text


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
                (taught,) = [a for a in ancestors(made) if a.role == "teacher"]
                assert taught.model == teacher and taught.sure
                assert f"distilled from `{teacher}` (trained on FER2013; SHA-256 `{taught.sha256[:12]}`)" in card


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
            assert [any(a.role == r for a in ancestors(made)) for r in ("init", "teacher")] == named

    def test_what_has_no_digest_is_said_to_be_an_inference(self):
        found = 0
        for name in checkpoint.trained_models():
            made = checkpoint.read_manifest(name)
            guessed = [a for a in ancestors(made) if a.inferred]
            assert write_card(made, "a/b").count("That is an inference, from the first") == len(guessed)
            assert all("28,672" in a.shown_by and "the weights were not kept" in a.shown_by for a in guessed)
            found += len(guessed)
        assert found == 3

    def test_the_earlier_runs_are_told(self):
        for name in checkpoint.trained_models():
            made = checkpoint.read_manifest(name)
            if made.recipe.init:
                runs = {"attention_cnn": "in two runs, of 16 and of 8 epochs", "vit_tiny": "in two runs"}
                note = notes_of(made)[0]
                assert f"trained {runs.get(name, 'in three runs')}" in note
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
                assert not other.sha256
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
        assert asked == 4
