"""scripts/train.py --push-to-hub, against a Hub on 127.0.0.1."""

import shutil

import pytest

from fer.checkpoint import read_manifest
from tests.hub_calls import COMPARE, ROOT, RUN
from tests.hub_look_alike import READER, USER, Client

pytest_plugins = ("tests.hub_fixtures",)
PUBLISHED = f"{USER}/fer-baseline-cnn-blobs"


@pytest.fixture
def train(client, blob_data, tmp_path):
    """scripts/train.py on the blobs, one epoch: exit status, all it said, folder of the runs."""
    from fer.data import save

    save(blob_data, tmp_path / "blobs.npz")

    def run(*argv, data=None, **options):
        fixed = ["--model", "baseline_cnn", "--epochs", "1", "--data", data or str(tmp_path / "blobs.npz")]
        argv = [*fixed, "--out", str(tmp_path / "runs"), *argv]
        answer = client(RUN, script=str(ROOT / "scripts" / "train.py"), argv=argv, **options)
        assert not answer.error, answer.traceback
        return answer.value, answer.said, tmp_path / "runs" / "baseline_cnn"

    return run


@pytest.fixture
def hub(server):
    """The Hub, without what an earlier test has published from training."""
    server[0].repos.pop(("model", PUBLISHED), None)
    return server[0]


def test_straight_from_training(train, hub, client):
    status, said, runs = train("--push-to-hub", USER)
    assert status == 0 and "published: " in said, said
    repo = hub.repo(PUBLISHED)
    files, (run,) = repo.files(), runs.iterdir()
    assert files["model.safetensors"] == (run / "model.safetensors").read_bytes()
    assert files["config.json"] == (run / "config.json").read_bytes()
    assert "have not been scored" in files["README.md"].decode() and "results/history.png" in files
    assert client(COMPARE, place=str(run), name=f"hf:{repo.name}", backend="torch").value[:2] == [True, True]


def test_a_short_run_does_not_replace_a_good_net(train, hub, made):
    from fer.publish import MAIN

    good = made("baseline_cnn", training={"val_accuracy": 1.0})
    files = {p.name: p.read_bytes() for p in good.iterdir()}
    repo = hub.put(PUBLISHED, files)
    status, said, runs = train("--push-to-hub", USER)
    (run,) = runs.iterdir()
    assert status == 3 and "better on the validation split (100.00%" in said and "--force-push" in said
    assert f"publish it later with: python scripts/push_to_hub.py --namespace {USER} --checkpoint {run}" in said
    assert repo.files() == files and read_manifest(run).training["epochs"] == 1
    status, said, _ = train("--push-to-hub", USER, "--resume", "--revision", "short")
    assert status == 0 and "nothing to train" in said and "published: " in said
    assert (
        repo.files() == files and repo.files("short")["model.safetensors"] == (run / "model.safetensors").read_bytes()
    )
    assert train("--push-to-hub", USER, "--resume", "--force-push")[0] == 0
    assert repo.files(MAIN)["model.safetensors"] == (run / "model.safetensors").read_bytes()


def test_options_of_a_push_without_one(train):
    for option in (("--revision", "x"), ("--force-push",)):
        status, said, runs = train(*option)
        assert status == 2 and "go with --push-to-hub" in said and not runs.exists()


def test_training_without_access_does_not_begin(train):
    status, said, runs = train("--push-to-hub", USER, token=READER)
    assert status == 2 and "only reads" in said and not runs.exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (("POST", "/repos/create", {"status": 500}), "problem of its own"),
        (("POST", "/repos/create", {"cut": True}), "no connection"),
        (("HEAD", "config.json", {"status": 403}), "not allowed with this token"),
    ],
)
def test_a_failed_push_after_training_keeps_the_checkpoint_and_says_how(fault, words, train, hub):
    method, pattern, how = fault
    hub.fail(method, pattern, **how)
    status, said, runs = train("--push-to-hub", USER, "--seed", "7")
    hub.faults.clear()
    (run,) = runs.iterdir()
    assert status == 3 and words in said and read_manifest(run).seed == 7 and str(run) in said
    assert f"push_to_hub.py --namespace {USER} --checkpoint {run}" in said


@pytest.mark.slow
def test_what_else_fails_while_publishing_does_not_fail_the_training(train, hub, tmp_path, monkeypatch):
    """A card that cannot be written is no reason to lose the others: both are trained, one is published."""
    notes = tmp_path / "results" / "blobs"
    notes.mkdir(parents=True)
    (notes / "notes.json").write_text("[]")
    env = {"FER_RESULTS": str(tmp_path / "results"), "FER_CHECKPOINTS": str(tmp_path / "checkpoints")}
    with Client(hub, tmp_path / "home", **env) as client:
        script, data = str(ROOT / "scripts" / "train.py"), str(tmp_path / "blobs.npz")
        argv = ["--model", "baseline_cnn,custom_cnn", "--epochs", "1", "--data", data, "--push-to-hub", USER]
        answer = client(RUN, script=script, argv=[*argv, "--out", str(tmp_path / "runs")])
    assert answer.value == 3 and "notes.json" in answer.said, answer.traceback
    assert "2 of 2 models trained, but not promoted or published: baseline_cnn, custom_cnn" in answer.said
    assert "failed" not in answer.said and len(list((tmp_path / "runs").glob("*/*/model.safetensors"))) == 2
    assert ("model", PUBLISHED) not in hub.repos


def test_drawn_faces_are_trained_on_and_not_published(train, server):
    server[0].requests.clear()
    status, said, runs = train("--push-to-hub", USER, data="synthetic:n=30")
    assert status == 0 and "not published" in said and next(runs.iterdir(), None) and server[0].uploads() == []


@pytest.mark.parametrize("option", ["--teacher", "--init"])
def test_what_a_net_was_made_from_decides_its_licence(option, train, hub, made, tmp_path):
    """The other net is gone when the result is published: the run has recorded what it was."""
    other = made("baseline_cnn", data="affectnet@fer7")
    sha256 = read_manifest(other).weights["sha256"]
    status, said, runs = train(option, str(other))
    assert status == 0, said
    (run,) = runs.iterdir()
    shutil.rmtree(other)
    status, said, _ = train(option, str(other), "--resume", str(run))
    assert status == 2  # training would need it; publishing does not
    from fer.publish import prepare

    card = (prepare(run, PUBLISHED, tmp_path / "out").folder / "README.md").read_text(encoding="utf-8")
    assert "license: other\nlicense_name: affectnet-non-commercial-research\n" in card and sha256[:12] in card
    how = "through its teacher" if option == "--teacher" else "through the net that it began with"
    assert f"which it saw {how}, `baseline_cnn`." in card
    assert "The weights: affectnet-non-commercial-research" in (tmp_path / "out" / "LICENSE").read_text(
        encoding="utf-8"
    )
