"""Validation faces that a net learnt from, in another form or copy of the data, are not what anything is chosen on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fer import checkpoint
from fer.ancestry import learnt_val, same_published_data
from fer.data import Dataset
from fer.errors import DataError
from fer.scoring.card import is_unrelated
from fer.scoring.score import Options, Scorer
from tests.small_checkpoints import bundle, dataset, setup

CSV = {"name": "fer2013", "fingerprint": "c", "n_train": 28_709, "n_val": 3_589}
FOLDERS = {"name": "fer2013-folders", "fingerprint": "f", "n_train": 24_403, "n_val": 4_306}


def folders(name: str = "fer2013-folders", **notes: object) -> Dataset:
    return replace(dataset(name), notes=notes)


@pytest.fixture
def net(tmp_path, monkeypatch):
    """Function: record of the data it learnt from -> checkpoint."""
    setup(monkeypatch, tmp_path)

    def make(data: dict[str, object], name: str = "tiny_cnn", temperature: float = 1.0, **training: object) -> str:
        folder = bundle(tmp_path / "runs", name, temperature=temperature, **training)
        checkpoint.write_manifest(folder, replace(checkpoint.read_manifest(folder), data=data))
        return str(folder)

    return make


@pytest.mark.parametrize(
    ("data", "on", "learnt"),
    [
        (CSV, folders(val_seed=42), "fer2013"),
        (CSV | {"name": "ferplus"}, folders(val_seed=42), "ferplus"),
        (CSV, folders("fer2013-folders-fer7+contempt", val_seed=42), "fer2013"),
        (CSV | {"n_train": 9}, folders(val_seed=42), "fer2013"),  # some of its rows
        (CSV, folders(), "fer2013"),  # a val folder, which scripts/create_val_split.py may have made
        (FOLDERS, folders(val_seed=7), "another copy of fer2013-folders"),
        (FOLDERS | {"name": "muxspace"}, folders("muxspace", split_seed=7), "another copy of muxspace"),
        (FOLDERS | {"name": "faces"}, folders("faces", split_seed=7), ""),  # other folders of that name
        (FOLDERS, dataset(), ""),  # PublicTest is in nobody's training split
        (CSV, dataset(), ""),
        (CSV, folders("muxspace", split_seed=7), ""),
        (FOLDERS | {"name": "fer2013-folders-ferplus8"}, folders(val_seed=42), ""),  # other labels alone
        ({"name": "fer2013-folders"}, folders(val_seed=42), ""),
    ],
)
def test_a_validation_split_that_was_cut_from_what_a_net_learnt_is_known(data, on, learnt, net):
    assert learnt_val(checkpoint.read_manifest(net(data)), on) == learnt


def test_nor_is_one_that_a_teacher_learnt(net):
    on = folders(val_seed=42)
    own = FOLDERS | {"fingerprint": on.fingerprint}
    taught = [{"role": "teacher", "model": "vgg8", "data": ["fer2013"], "direct": True}]
    manifest = checkpoint.read_manifest(net(own))
    assert learnt_val(manifest, on) == ""
    assert learnt_val(replace(manifest, training=manifest.training | {"ancestors": taught}), on) == "fer2013"


def test_such_faces_are_not_scored_and_the_test_faces_are_searched_for_all_that_was_learnt(net, tmp_path):
    said: list[str] = []
    on = folders(val_seed=42)
    on["test"].faces[3] = on["val"].faces[0]
    options, target = Options(device="cpu", latency="none"), net(CSV)
    scored = Scorer(on, tmp_path / "out", None, said.append, said.append).score(target, "x", options)
    assert list(scored.metrics["splits"]) == ["test"] and scored.metrics["temperature"]["source"] == "none"
    assert scored.metrics["splits"]["test"]["leakage"]["exact"] == 4, "three of train, one of val"
    assert any("learnt from fer2013" in line and "not scored" in line for line in said)
    again = Scorer(on, tmp_path / "out", None, said.append, said.append)
    again._ask = None  # type: ignore[assignment, method-assign]
    assert again.score(target, "x", options).metrics == scored.metrics, "what is stored still holds"
    with pytest.raises(DataError, match=r"learnt from fer2013.*--split all"):
        Scorer(on, tmp_path / "out", None, said.append, said.append, "val").score_in_passing(target, "x", options)


def test_scores_of_such_faces_that_are_stored_are_made_anew(net, tmp_path, monkeypatch):
    on, options, target = folders(val_seed=42), Options(device="cpu", latency="none"), net(CSV)
    with monkeypatch.context() as patch:
        patch.setattr("fer.scoring.score.learnt_val", lambda *a: "")
        scored = Scorer(on, tmp_path, None, print, print).score(target, "x", options)
    assert list(scored.metrics["splits"]) == ["val", "test"]
    assert list(Scorer(on, tmp_path, None, print, print).score(target, "x", options).metrics["splits"]) == ["test"]


def test_pictures_are_the_same_under_other_labels_and_in_another_form(net):
    manifest = checkpoint.read_manifest(net(CSV))
    assert is_unrelated(manifest, "muxspace")
    assert not is_unrelated(manifest, "fer2013-folders") and not is_unrelated(manifest, "ferplus")


def test_nets_of_two_cuts_are_not_judged_on_the_faces_of_one(net):
    a, b = (replace(checkpoint.read_manifest(net(CSV)), data=FOLDERS | {"fingerprint": f}) for f in "ab")
    assert not same_published_data(a, b)
    whole = {"n_train": 28_709, "n_val": 3_589}  # PublicTest as val/
    a, b = (replace(m, data=m.data | whole) for m in (a, b))
    assert same_published_data(a, b)
