"""scripts/push_to_hub.py and fer.load("hf:...") as a user runs them, against a Hub on 127.0.0.1."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from fer.checkpoint import read_manifest, trained_models
from fer.evaluation.results import METRICS
from tests.hub_look_alike import READER, REVOKED, USER, WRITER, Client, HubLookAlike

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("push_to_hub", script)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
value = module.main(argv)
"""
COMPARE = """
import fer, numpy as np
rng = np.random.default_rng(5)
faces = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((48, 48), (61, 50), (200, 180, 3))]
# the published one first: what one makes in a cache must not decide how the other answers
there, here = fer.load(name, backend=backend), fer.load(place, backend=backend)
value = [
    here.predict_proba(faces).tobytes().hex() == there.predict_proba(faces).tobytes().hex(),
    there.manifest == here.manifest,
    fer.analyze(faces[2], model=name, detector="whole")[0].label,
]
"""
TIMM = """
import torch
from fer.checkpoint import load_module
from fer.torchvision_repair import import_repaired
import_repaired("timm")
made = {}
exec(lines, made)
module, manifest = load_module(place)
spec = manifest.input
x = torch.randn(3, spec.channels, spec.size_px, spec.size_px)
with torch.inference_mode():
    value = [torch.equal(module(x), made["net"](x)), made["net"].pretrained_cfg["label_names"], list(manifest.labels)]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with HubLookAlike() as hub, Client(hub, tmp_path_factory.mktemp("home")) as client:
        yield hub, client


@pytest.fixture
def client(server):
    """Calls of the client, none of whose words may hold a token."""

    def call(code, **options):
        answer = server[1](code, **options)
        told = f"{answer.value} {answer.message} {answer.traceback} {answer.said}"
        assert not [t for t in (WRITER, READER, REVOKED) if t in told], told
        return answer

    return call


@pytest.fixture
def push(client):
    """scripts/push_to_hub.py: exit status, and all it said."""

    def run(*argv, **options):
        script = str(ROOT / "scripts" / "push_to_hub.py")
        answer = client(RUN, script=script, argv=["--namespace", USER, *map(str, argv)], **options)
        assert not answer.error, answer.traceback
        return answer.value, answer.said

    return run


OTHERS_TOKEN = "hf_" + 17 * "aB"


@pytest.fixture(scope="module")
def bundled(server):
    """Every bundled model, pushed with one command."""
    hub, client = server
    argv = ["--namespace", USER, "--model", "all", "--collection", "The nets"]
    answer = client(RUN, script=str(ROOT / "scripts" / "push_to_hub.py"), argv=argv)
    assert answer.value == 0, answer.said + answer.traceback
    return {name: hub.repo(f"{USER}/fer-{name.replace('_', '-')}") for name in trained_models()}


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("name", trained_models())
def test_round_trip_to_the_bit(name, backend, bundled, client):
    answer = client(COMPARE, place=name, name=f"hf:{bundled[name].name}", backend=backend, token=None)
    assert not answer.error, answer.traceback
    assert answer.value[:2] == [True, True] and answer.value[2] in read_manifest(name).labels


@pytest.mark.parametrize("name", trained_models())
def test_the_repository_holds_what_it_should(name, bundled):
    files, manifest = bundled[name].files(), read_manifest(name)
    weights = files[manifest.weights["file"]]
    assert hashlib.sha256(weights).hexdigest() == manifest.weights["sha256"]
    assert {"README.md", "config.json", "LICENSE", "results/history.png", "results/history.jsonl"} <= set(files)
    assert not [p for p in files if p.endswith((".parquet", ".bin", ".pt", ".pth", ".pkl"))]
    assert bundled[name].messages == ["initial commit", f"{name}, weights {manifest.weights['sha256'][:12]}"]


@pytest.mark.parametrize("name", trained_models())
def test_the_card_passes_the_checks_of_huggingface_hub(name, bundled, client):
    code = """
from huggingface_hub import ModelCard
card = ModelCard.load(repo)
card.validate()
value = [card.data.to_dict(), card.text]
"""
    answer = client(code, repo=bundled[name].name)
    assert not answer.error, answer.traceback
    data, text = answer.value
    assert data["license"] == "mit" and data["pipeline_tag"] == "image-classification"
    files = bundled[name].files()
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text):
        assert files[path].startswith(b"\x89PNG"), path
    for heading in ("Load it", "What it is for", "What it is not for", "Scores", "Data and licence"):
        assert f"\n## {heading}\n" in text
    scored = [json.loads(files[p]) for p in files if p.endswith(METRICS)]
    assert ("model-index" in data) == bool(scored)
    for metrics in scored:
        assert metrics["checkpoint"]["sha256"] == read_manifest(name).weights["sha256"]
        test = metrics["splits"]["test"]["single"]
        (result,) = [r for r in data["model-index"][0]["results"] if r["dataset"]["type"] == metrics["data"]["name"]]
        shown = {m["type"]: m["value"] for m in result["metrics"]}
        assert shown == {"accuracy": round(test["accuracy"], 4), "f1": round(test["macro_f1"], 4)}
        assert f"{test['accuracy']:.1%}" in text


def test_the_collection_holds_them_all(bundled, server):
    (collection,) = [c for c in server[0].collections.values() if c["title"] == "The nets"]
    assert [i["id"] for i in collection["items"]] == [repo.name for repo in bundled.values()]


def test_a_second_run_sends_nothing(bundled, server, push):
    hub, name = server[0], trained_models()[0]
    hub.requests.clear()
    status, said = push("--model", name, "--no-collection")
    assert status == 0 and "is up to date" in said and hub.uploads() == []


def test_one_changed_byte_is_refused(bundled, server, client):
    hub, name = server[0], trained_models()[0]
    files = bundled[name].files()
    weights = read_manifest(name).weights["file"]
    files[weights] = files[weights][:-1] + bytes([files[weights][-1] ^ 1])
    hub.put(f"{USER}/tampered", files)
    answer = client("import fer; fer.load(name)", name=f"hf:{USER}/tampered")
    assert answer.error == "HubError" and "damaged or was changed" in answer.message


def test_timm_loads_the_vit_as_the_card_says(bundled, client):
    card = bundled["vit_tiny"].files()["README.md"].decode()
    code = re.search(r"### With timm alone\n+```python\n(.*?)```", card, re.DOTALL)[1]
    assert f"hf-hub:{USER}/fer-vit-tiny" in code and "import fer" not in code
    answer = client(TIMM, lines=code, place="vit_tiny")
    assert not answer.error, answer.traceback
    same, theirs, ours = answer.value
    assert same and theirs == ours


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Function: (model, arguments, ...) -> folder of an untrained checkpoint."""
    import torch

    from fer import checkpoint
    from fer.labels import FER7
    from fer.models import get_model
    from fer.specs import InputSpec

    def make(name, spec=None, data="blobs", training=None, seed=1, **args):
        entry = get_model(name)
        spec = spec or entry.SPEC.input
        torch.manual_seed(seed)
        module = entry.build(7, spec, **args)
        for m in module.modules():  # statistics that are not those of an untouched net
            if isinstance(m, torch.nn.modules.batchnorm._BatchNorm):
                m.running_mean.normal_(0, 0.1), m.running_var.uniform_(0.5, 1.5)
        manifest = checkpoint.Manifest(
            model=name,
            labels=FER7.names,
            label_set=FER7.name,
            input=spec,
            recipe=entry.RECIPE,
            model_args=args,
            data={"name": data},
            weights={"parameters": sum(p.numel() for p in module.parameters())},
            training=training or {},
        )
        return checkpoint.save(tmp_path_factory.mktemp("made") / name, module.state_dict(), manifest)

    def small(channels):
        return InputSpec(size_px=64, channels=channels, resize_px=64)

    make.small = small
    return make


@pytest.mark.parametrize(
    ("model", "channels", "args", "own_file"),
    [
        ("resnet18_transfer", 3, {"stem": "imagenet"}, False),
        ("resnet18_transfer", 1, {"stem": "imagenet"}, False),
        ("vit_tiny", 3, {"stem": False, "patch_px": 16}, True),
        ("vit_tiny", 1, {"patch_px": 8}, True),
    ],
)
def test_timm_loads_what_is_its_own_by_name(model, channels, args, own_file, made, push, server, client):
    folder = made(model, made.small(channels), **args)
    repo = f"timm-{model}-{channels}"
    assert push("--checkpoint", folder, "--name", repo, "--no-collection")[0] == 0
    files = server[0].repo(f"{USER}/{repo}").files()
    assert ("timm.safetensors" in files) != own_file
    card = files["README.md"].decode()
    code = re.search(r"### With timm alone\n+```python\n(.*?)```", card, re.DOTALL)[1]
    answer = client(TIMM, lines=code, place=str(folder))
    assert not answer.error, answer.traceback
    assert answer.value[0] is True
    assert client(COMPARE, place=str(folder), name=f"hf:{USER}/{repo}", backend="torch").value[:2] == [True, True]


@pytest.mark.parametrize(("model", "args"), [("resnet18_transfer", {}), ("resnet34_attention", {"stem": "imagenet"})])
def test_what_is_not_timms_does_not_claim_to_be(model, args, made, push, server):
    repo = f"own-{model}"
    assert push("--checkpoint", made(model, made.small(1), **args), "--name", repo, "--no-collection")[0] == 0
    files = server[0].repo(f"{USER}/{repo}").files()
    assert "architecture" not in json.loads(files["config.json"]) and b"timm alone" not in files["README.md"]


def test_only_exports_of_these_weights_go_with_it(made, push, tmp_path):
    folder = made("baseline_cnn")
    ours = read_manifest(folder).weights["sha256"]
    for name, made_from, data in (("fp32", ours, b"fp32"), ("int8", "0" * 64, b"int8"), ("other", ours, b"changed")):
        (folder / f"model.{name}.onnx").write_bytes(data)
        sha256 = hashlib.sha256(b"other" if name == "other" else data).hexdigest()
        text = json.dumps({"checkpoint_sha256": made_from, "sha256": sha256})
        (folder / f"model.{name}.json").write_text(text)
    (folder / "model.bare.onnx").write_bytes(b"of nobody")
    assert push("--checkpoint", folder, "--dry-run", "--out", tmp_path / "out")[0] == 0
    sent = {p.name for p in (tmp_path / "out" / "fer-baseline-cnn-blobs").glob("model.*")}
    assert sent == {"model.safetensors", "model.fp32.onnx", "model.fp32.json"}
    assert "`model.fp32.onnx`" in (tmp_path / "out" / "fer-baseline-cnn-blobs" / "README.md").read_text()


def test_a_dry_run_writes_the_folder_and_asks_nobody(push, server, tmp_path):
    hub = server[0]
    hub.requests.clear()
    for _ in range(2):
        status, said = push("--model", "baseline_cnn", "--dry-run", "--out", tmp_path, token=None)
        assert status == 0 and f"{USER}/fer-baseline-cnn <- {tmp_path}" in said and "model.safetensors" in said
    assert hub.requests == []
    kept = tmp_path / "fer-baseline-cnn"
    assert (kept / "README.md").is_file()
    shutil.copytree(kept, tmp_path / "elsewhere")
    (tmp_path / ".fer-baseline-cnn.generated").unlink()  # now it is somebody's folder that has a README
    status, said = push("--model", "baseline_cnn", "--dry-run", "--out", tmp_path)
    assert status == 2 and "holds other things" in said and (kept / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("argv", "options", "words"),
    [
        ([], {}, "name what to publish"),
        (["--model", "baseline_cnn"], {"token": None}, "no token; make one"),
        (["--model", "baseline_cnn"], {"token": REVOKED}, "token was refused"),
        (["--model", "baseline_cnn"], {"token": READER}, "only reads"),
        (["--model", "baseline_cnn", "--namespace", "nobody"], {}, "may write to somebody"),
        (["--model", "baseline_cn"], {}, "did you mean 'baseline_cnn'"),
        (["--model", "vgg8"], {}, "has no checkpoint"),
        (["--model", "baseline_cnn,vit_tiny", "--name", "x"], {}, "--name is for a single model"),
        (["--model", "baseline_cnn,baseline_cnn"], {}, "several of these"),
        (["--model", "baseline_cnn", "--name", "a b"], {}, "not a name on the Hub"),
        (["--model", "baseline_cnn", "--out", "x"], {}, "--out is for --dry-run"),
    ],
)
def test_mistakes_are_told_in_one_line(argv, options, words, push, server):
    hub = server[0]
    hub.requests.clear()
    hub.echo_tokens = True
    status, said = push(*argv, **options)
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(errors) == 1 and words in errors[0] and "Traceback" not in said
    assert hub.uploads() == []


def test_drawn_faces_are_not_published(made, push, server):
    server[0].requests.clear()
    status, said = push("--checkpoint", made("baseline_cnn", data="synthetic"))
    assert status == 2 and "synthetic faces" in said and server[0].uploads() == []


def test_a_damaged_checkpoint_stops_before_anything_is_sent(made, push, server):
    server[0].requests.clear()
    folder = made("baseline_cnn")
    (folder / "model.safetensors").write_bytes(b"damaged")
    status, said = push("--model", "baseline_cnn", "--checkpoint", folder)
    assert status == 2 and "damaged or changed" in said and server[0].uploads() == []


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


PUBLISHED = f"{USER}/fer-baseline-cnn-blobs"


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
    assert f"which it saw {how}, `baseline_cnn`." in card and not (tmp_path / "out" / "LICENSE").exists()


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
    assert "2 of 2 models trained, but not published: baseline_cnn, custom_cnn" in answer.said
    assert "failed" not in answer.said and len(list((tmp_path / "runs").glob("*/*/model.safetensors"))) == 2
    assert ("model", PUBLISHED) not in hub.repos


def test_drawn_faces_are_trained_on_and_not_published(train, server):
    server[0].requests.clear()
    status, said, runs = train("--push-to-hub", USER, data="synthetic:n=30")
    assert status == 0 and "not published" in said and next(runs.iterdir(), None) and server[0].uploads() == []


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


def test_it_says_what_it_is_at(made, push, tmp_path):
    """Minutes of work for many models are not silent."""
    folders = [made("baseline_cnn"), made("custom_cnn")]
    argv = [a for f in folders for a in ("--checkpoint", f)]
    _, said = push(*argv, "--dry-run", "--out", tmp_path)
    lines = [line for line in said.splitlines() if line.startswith("preparing ")]
    assert lines == [
        f"preparing {folders[0]} as {USER}/fer-baseline-cnn-blobs (1 of 2)",
        f"preparing {folders[1]} as {USER}/fer-custom-cnn-blobs (2 of 2)",
    ]
    first, second = (tmp_path / f"fer-{name}-blobs" / "README.md" for name in ("baseline-cnn", "custom-cnn"))
    assert said.index(lines[1]) < said.index(str(first.parent)) and second.is_file()


def test_a_token_on_the_command_line_is_refused_and_not_repeated(client):
    for script, argv in (("push_to_hub", ["--model", "all"]), ("deploy_space", ["--app", "demo"])):
        path = str(ROOT / "scripts" / f"{script}.py")
        for given in ([f"--token={WRITER}"], ["--token", WRITER]):
            answer = client(RUN, script=path, argv=["--namespace", USER, *argv, *given])
            assert answer.error == "SystemExit" and "no token is taken on the command line" in answer.said


@pytest.mark.parametrize("script", ["push_to_hub", "deploy_space", "train"])
@pytest.mark.parametrize("option", ["--hf-token", "--token", "--model", "--app"])
def test_no_error_of_a_command_line_repeats_a_token(script, option, client):
    answer = client(RUN, script=str(ROOT / "scripts" / f"{script}.py"), argv=[option, OTHERS_TOKEN])
    assert (answer.value == 2 or answer.message == "2") and "error:" in answer.said
    assert OTHERS_TOKEN not in answer.said


def test_offline_mode_is_said_before_the_work(made, server, tmp_path):
    argv = ["--namespace", USER, "--checkpoint", str(made("baseline_cnn"))]
    with Client(server[0], tmp_path, HF_HUB_OFFLINE="1") as offline:
        for token in (WRITER, None):
            answer = offline(RUN, script=str(ROOT / "scripts" / "push_to_hub.py"), argv=argv, token=token)
            assert answer.value == 2 and "offline mode is on" in answer.said and "preparing" not in answer.said


@pytest.mark.parametrize("data", ["affectnet", "blobs"])
def test_a_net_that_may_not_be_used_freely_is_not_published_as_mit(data, made, push, server):
    """The card, the LICENSE file and what timm reads say the same."""
    folder, name = made("vit_tiny", made.small(1), data="fer2013", patch_px=8), f"terms-{data}"
    free = push("--checkpoint", folder, "--name", name, "--no-collection")
    files = server[0].repo(f"{USER}/{name}").files()
    assert free[0] == 0 and "LICENSE" in files and b"license: mit\n" in files["README.md"]
    assert json.loads(files["config.json"])["pretrained_cfg"]["license"] == "mit"
    strict = made("vit_tiny", made.small(1), data=data, patch_px=8)
    assert push("--checkpoint", strict, "--name", name, "--no-collection", "--force-push")[0] == 0
    files = server[0].repo(f"{USER}/{name}").files()
    license = {"affectnet": ("other", "affectnet-non-commercial-research"), "blobs": ("unknown", "unknown")}[data]
    assert "LICENSE" not in files and f"license: {license[0]}\n".encode() in files["README.md"]
    assert json.loads(files["config.json"])["pretrained_cfg"]["license"] == license[1]


def test_another_net_gets_another_name(made):
    from fer.publish import repository_of

    names = [
        repository_of(made("attention_cnn", attention=False), USER),
        repository_of(made("attention_cnn", data="fer2013"), USER),
        repository_of(made("vit_tiny", data="fer2013", drop_path=0.2), USER),
    ]
    assert names == [
        f"{USER}/fer-attention-cnn-blobs-attention-false",
        f"{USER}/fer-attention-cnn",
        f"{USER}/fer-vit-tiny",
    ]
