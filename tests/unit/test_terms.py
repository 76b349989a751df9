"""What data sets allow, and what that means for the weights of a net that has seen them."""

from dataclasses import replace

import pytest

from fer.ancestry import BEGAN_WITH, KEY, TAUGHT_BY, ancestors, own_data, record, scored_data
from fer.labels import FER7
from fer.model_card import repo_name, write_card
from fer.specs import Phase
from fer.terms import WHY_MIT, data_note, license_text, taught, terms_of
from tests.hub_manifests import LICENSE, NOT_KNOWN, bundle, card_of, manifest

pytest_plugins = ("tests.hub_fixtures",)
pytestmark = pytest.mark.usefixtures("place")


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


class TestSeveralTeachers:
    def test_two_of_one_model_are_two(self):
        made = manifest(teacher="gone/a,gone/b")
        made = replace(made, training=made.training | {"teacher": "vgg8, vgg8"})
        assert [(a.role, a.model) for a in ancestors(made)] == [(TAUGHT_BY, "vgg8")]
        assert taught(made) == "distilled from `vgg8` and `vgg8`"

    def test_those_of_the_net_that_it_began_with_are_all_named(self):
        kept = [
            {"role": role, "model": model, "sha256": letter * 64, "data": ["fer2013"], "direct": role == BEGAN_WITH}
            for role, model, letter in (
                (BEGAN_WITH, "vgg8", "a"),
                (TAUGHT_BY, "cbam_cnn4", "b"),
                (TAUGHT_BY, "vgg8", "c"),
                (TAUGHT_BY, "attention_cnn", "d"),  # of the teacher's teacher
            )
        ]
        made = manifest(init="gone", **{KEY: kept})
        made = replace(made, training=made.training | {"teacher": "cbam_cnn4, vgg8"})
        assert taught(made) == (
            "not in the last run; before it, distilled from `cbam_cnn4` (trained on FER2013; SHA-256 `bbbbbbbbbbbb`) "
            "and `vgg8` (trained on FER2013; SHA-256 `cccccccccccc`)"
        )
