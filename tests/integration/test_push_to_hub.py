"""scripts/push_to_hub.py as a user runs it: folders, mistakes and tokens, against a Hub on 127.0.0.1."""

import hashlib
import json
import shutil

import pytest

from fer.checkpoint import read_manifest
from tests.hub_calls import ROOT, RUN
from tests.hub_look_alike import READER, REVOKED, USER, WRITER, Client

pytest_plugins = ("tests.hub_fixtures",)

OTHERS_TOKEN = "hf_" + 17 * "aB"


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
        (["--model", "emotionnet"], {}, "has no checkpoint"),
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


@pytest.mark.parametrize("option", ["--namespace", "--name", "--revision", "--collection", "--project-url"])
def test_a_token_in_place_of_a_name_is_neither_told_nor_written(option, push, tmp_path):
    argv = ["--model", "baseline_cnn", "--dry-run", "--out", tmp_path / "out", option, OTHERS_TOKEN]
    status, said = push(*argv)
    assert status == 2 and "holds an access token where a name was expected" in said
    assert OTHERS_TOKEN not in said and not (tmp_path / "out").exists() and "preparing" not in said


def test_a_dry_run_tells_what_would_become_of_the_folders(push, tmp_path):
    argv = ["--model", "baseline_cnn", "--dry-run", "--out", tmp_path]
    _, said = push(*argv)
    assert "sent to the main branch of public repositories, and put into the collection 'Facial-expression lab'" in said
    _, said = push(*argv, "--private", "--revision", "try", "--collection", "Mine")
    assert "to the branch try of private repositories, and put into the private collection 'Mine' of somebody" in said
    _, said = push(*argv, "--no-collection", "--project-url", "https://example.org/lab")
    assert "of public repositories, and put into no collection" in said
    assert "[The project](https://example.org/lab)" in (tmp_path / "fer-baseline-cnn" / "README.md").read_text()


def test_offline_mode_is_said_before_the_work(made, server, tmp_path):
    argv = ["--namespace", USER, "--checkpoint", str(made("baseline_cnn"))]
    with Client(server[0], tmp_path, HF_HUB_OFFLINE="1") as offline:
        for token in (WRITER, None):
            answer = offline(RUN, script=str(ROOT / "scripts" / "push_to_hub.py"), argv=argv, token=token)
            assert answer.value == 2 and "offline mode is on" in answer.said and "preparing" not in answer.said


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
