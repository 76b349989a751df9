"""The files beside metrics.json: what is written is read again; what is broken is named."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fer.errors import DataError
from fer.evaluation import stored
from tests.stand_in_results import MODELS, TWINS, write_stand_in

DATA, MODEL = "fer2013", "attention_cnn"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_stand_in(tmp_path_factory.mktemp("results"), n=300, models=MODELS | dict([*TWINS.items()][:1]))


@pytest.fixture
def root(written, tmp_path):
    import shutil

    return shutil.copytree(written, tmp_path / "results")


READERS = {
    stored.ROBUSTNESS: lambda root: stored.read_robustness(root / DATA / MODEL),
    stored.EXPLANATION: lambda root: stored.read_explanation(root / DATA / MODEL),
    stored.MAPS: lambda root: stored.read_maps(root / DATA / MODEL),
    stored.COMPARISON: lambda root: stored.read_comparison(root, DATA),
    stored.ENSEMBLES: lambda root: stored.read_ensembles(root, DATA),
    stored.DATA: lambda root: stored.read_data(root, DATA),
    stored.SEEDS: lambda root: stored.read_seeds(root, DATA),
}


def path_of(root, name):
    of_a_model = name in (stored.ROBUSTNESS, stored.EXPLANATION, stored.MAPS)
    return root / DATA / MODEL / name if of_a_model else root / DATA / name


def test_what_was_written_is_read_again(root):
    robust = stored.read_robustness(root / DATA / MODEL)
    assert robust["format"] == "fer-robustness" and len(robust["accuracy"]) == 9
    explained = stored.read_explanation(root / DATA / MODEL)
    maps = stored.read_maps(root / DATA / MODEL)
    assert set(maps) >= set(explained["methods"]) and maps["grad_cam"].shape == (7, 48, 48)
    assert not maps["grad_cam"][1].any() and maps["grad_cam"][0].any()
    pairs = stored.read_comparison(root, DATA)["pairs"]
    assert len(pairs) == 6 and all(p["chi2"]["dof"] > 0 and -1 <= p["agreement"]["kappa"] <= 1 for p in pairs)
    assert stored.read_ensembles(root, DATA)[0]["members"] == [*MODELS, "attention_cnn@no_attention"]
    facts = stored.read_data(root, DATA)
    assert sum(facts["counts"]["test"].values()) == 300 and facts["crowd"]["test"]["agreement_per_class"]["happy"] > 0.9
    seeds = stored.read_seeds(root, DATA)
    assert len(seeds) == 12 and {type(s["seed"]) for s in seeds} == {int}
    assert {s["twin_of"] for s in seeds if s["model"] == "attention_cnn@no_attention"} == {"attention_cnn"}


@pytest.mark.parametrize("name", READERS)
def test_an_absent_file_is_no_error(name, root):
    path_of(root, name).unlink()
    assert READERS[name](root) in (None, [])


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00\x01", b"[1, 2]", b"a,b\n1,2\n", b"PK\x03\x04 no zip"])
def test_a_damaged_file_is_named_with_what_to_do(name, content, root):
    path_of(root, name).write_bytes(content)
    with pytest.raises(DataError, match=name) as e:
        READERS[name](root)
    assert "scripts/" in str(e.value)


@pytest.mark.parametrize("name", [stored.ROBUSTNESS, stored.EXPLANATION, stored.ENSEMBLES, stored.DATA])
def test_a_newer_schema_asks_for_an_update(name, root):
    path = path_of(root, name)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 2}))
    with pytest.raises(DataError, match="schema 2 is newer than 1; update"):
        READERS[name](root)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": "fer-results", "schema": 1}))
    with pytest.raises(DataError, match="not a file of this project"):
        READERS[name](root)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        (stored.ROBUSTNESS, lambda c: c.pop("mean")),
        (stored.ROBUSTNESS, lambda c: c.update(clean="high")),
        (stored.ROBUSTNESS, lambda c: c["accuracy"]["noise"].pop()),
        (stored.ROBUSTNESS, lambda c: c["accuracy"].clear()),
        (stored.ROBUSTNESS, lambda c: c.update(checkpoint_sha256=None)),
        (stored.EXPLANATION, lambda c: c.pop("methods")),
        (stored.EXPLANATION, lambda c: c["methods"]["grad_cam"].pop("insertion")),
        (stored.EXPLANATION, lambda c: c["methods"]["grad_cam"]["deletion_curve"].pop()),
        (stored.EXPLANATION, lambda c: c["methods"]["grad_cam"].update(per_class="yes")),
        (stored.COMPARISON, lambda c: c["pairs"][0].pop("p_holm")),
        (stored.COMPARISON, lambda c: c["pairs"][0]["chi2"].pop("dof")),
        (stored.COMPARISON, lambda c: c["pairs"][0].update(interval=[0.1])),
        (stored.ENSEMBLES, lambda c: c["ensembles"][0]["weights"].pop()),
        (stored.ENSEMBLES, lambda c: c["ensembles"][0].update(test_nll=None)),
        (stored.DATA, lambda c: c["counts"]["test"].pop("happy")),
        (stored.DATA, lambda c: c["copies"]["val"].pop("near")),
        (stored.DATA, lambda c: c["crowd"]["test"].pop("agreement")),
    ],
)
def test_an_incomplete_file_is_named(name, change, root):
    path = path_of(root, name)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=f"{name}: incomplete"):
        READERS[name](root)


def test_what_an_older_comparison_lacks_is_simply_absent(root):
    path = path_of(root, stored.COMPARISON)
    content = json.loads(path.read_text())
    for pair in content["pairs"]:
        del pair["chi2"], pair["agreement"]
    path.write_text(json.dumps(content))
    assert "chi2" not in stored.read_comparison(root, DATA)["pairs"][0]


def test_sanity_may_be_unknown_and_the_crowd_absent(root):
    explained = stored.read_explanation(root / DATA / MODEL)
    assert explained["methods"]["occlusion"]["sanity"] is None
    facts = stored.read_data(root, DATA)
    stored.write_data(facts | {"crowd": None}, root, DATA)
    assert stored.read_data(root, DATA)["crowd"] is None


def test_nothing_incomplete_is_written(root):
    old = path_of(root, stored.ROBUSTNESS).read_bytes()
    with pytest.raises(DataError, match="incomplete"):
        stored.write_robustness({"model": "a"}, root / DATA / MODEL)
    assert path_of(root, stored.ROBUSTNESS).read_bytes() == old
    for wrong in (np.zeros((7, 48, 48)), np.zeros((48, 48), np.uint8), np.zeros((7, 44, 44), np.uint8)):
        with pytest.raises(DataError, match="expected uint8"):
            stored.write_maps({"grad_cam": wrong}, root / DATA / MODEL)


def test_maps_never_unpickle(root):
    np.savez(path_of(root, stored.MAPS), grad_cam=np.array([{}], dtype=object))
    with pytest.raises(DataError, match=r"maps\.npz: damaged"):
        stored.read_maps(root / DATA / MODEL)


def test_seeds_keep_their_types_and_what_is_unknown(tmp_path):
    row = dict.fromkeys(stored.SEED_COLUMNS, "") | {"model": "b", "seed": 2, "epochs": 3, "val_accuracy": 0.5}
    stored.write_seeds([row, row | {"seed": 1}, row | {"model": "a"}], tmp_path, DATA)
    rows = stored.read_seeds(tmp_path, DATA)
    assert [(r["model"], r["seed"]) for r in rows] == [("a", 2), ("b", 1), ("b", 2)]
    assert rows[0]["test_accuracy"] is None and rows[0]["val_accuracy"] == 0.5 and rows[0]["twin_of"] == ""
    path = tmp_path / DATA / stored.SEEDS
    lines = [line.split(",") for line in path.read_text().splitlines()]  # as it once was
    for since in (("data",), ("recipe", "best_epoch", "data")):
        at = [i for i, name in enumerate(lines[0]) if name not in since]
        path.write_text("".join(",".join(line[i] for i in at) + "\n" for line in lines))
        assert stored.read_seeds(tmp_path, DATA) == rows
    path.write_text(path.read_text().replace("0.5", "half"))
    with pytest.raises(DataError, match=r"seeds\.csv: damaged"):
        stored.read_seeds(tmp_path, DATA)
