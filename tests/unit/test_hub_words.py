"""Names on the Hub, what differs between a folder and a repository, and words without tokens."""

import hashlib
import sys
import traceback
import types

import pytest

from fer import hub
from fer.errors import ConfigError, HubError
from fer.hub.failures import client_errors, holds_token, reaching_the_hub, scrub
from fer.hub.pull import HubName, parse
from fer.hub.push import compare, files_of

TOKEN = "hf_" + "Ab1" * 11


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:somebody/fer-vit-tiny", HubName("somebody/fer-vit-tiny", None)),
        ("hf:some-body/net.v2@v1.0", HubName("some-body/net.v2", "v1.0")),
        ("hf:a/b@refs/pr/3", HubName("a/b", "refs/pr/3")),
        ("hf:a\\b", HubName("a/b", None)),
    ],
)
def test_names(name, expected):
    assert parse(name) == expected and hub.is_hub_name(name)
    assert parse(str(expected)) == expected


@pytest.mark.parametrize("name", ["hf:x", "hf:/x", "hf:x/", "hf:x/y/z", "hf:x/y@", "hf:x/../y", "hf:-x/y", "hf:x/y z"])
def test_no_names(name):
    with pytest.raises(ConfigError, match="hf:OWNER/REPOSITORY"):
        parse(name)


def test_paths_and_models_are_no_hub_names(tmp_path):
    assert not any(map(hub.is_hub_name, ("vit_tiny", tmp_path, "runs/hf:x", "HF:a/b")))


def digest(data: bytes, large: bool) -> tuple[str, bool]:
    if large:
        return hashlib.sha256(data).hexdigest(), True
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(), False


def test_what_differs(tmp_path):
    for name, data in {"same": b"1", "same_large": b"2", "other": b"33", "other_large": b"444", "new": b"5"}.items():
        (tmp_path / name).write_bytes(data)
    there = {
        "same": digest(b"1", False),
        "same_large": digest(b"2", True),
        "other": digest(b"x", False),
        "other_large": digest(b"x", True),
        "old.onnx": digest(b"6", True),
        "kept.md": digest(b"7", False),
        ".gitattributes": digest(b"8", False),
    }
    plan = compare(files_of(tmp_path), there, ("*.onnx", ".git*"))
    assert plan.new == ("new",) and plan.changed == ("other", "other_large")
    assert plan.unchanged == ("same", "same_large") and plan.deleted == ("old.onnx",)
    assert plan.size == 2 + 3 + 1 and not plan.empty
    assert compare({"same": tmp_path / "same"}, there).empty


@pytest.mark.parametrize("text", [TOKEN, f"Bearer {TOKEN}.", f"x={TOKEN}\n{TOKEN}", f"hf_oauth_{TOKEN[3:]}.eyJ-a.b"])
def test_tokens_are_hidden(text):
    assert TOKEN not in scrub(text) and "hf_***" in scrub(text)
    assert holds_token(text.encode())


def test_what_only_looks_a_little_like_a_token_stays(monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for text in ("hf_hub_download", "the hf_ prefix", "hf_hub_download_to_a_place_of_ones_own", "a short hf_abc"):
        assert scrub(text) == text and not holds_token(text.encode())


def test_this_machines_own_token_is_known_in_any_form(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "an-unusual-token-of-a-company")
    assert scrub("refused: an-unusual-token-of-a-company") == "refused: hf_***"
    assert holds_token(b"\0\1an-unusual-token-of-a-company\0")


def test_kaggles_key_is_a_token_too(monkeypatch, tmp_path):
    key = "0123456789abcdef0123456789abcdef"
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    assert key in scrub(f"refused: {key}")
    (tmp_path / "kaggle.json").write_text(f'{{"username": "somebody", "key": "{key}"}}')
    assert scrub(f"refused: {key}") == "refused: hf_***" and holds_token(f"x {key}".encode())
    for damaged in ("[]", "{", '{"key": null}'):
        (tmp_path / "kaggle.json").write_text(damaged)
        assert key in scrub(f"refused: {key}")
    monkeypatch.setenv("KAGGLE_KEY", key)
    assert key not in scrub(f"refused: {key}")


def test_a_refusal_of_kaggle_is_told_without_its_key(monkeypatch):
    """Its client is not installed here; a stand-in raises what carries the key."""
    key = "0123456789abcdef0123456789abcdef"

    def refuse(handle):
        raise RuntimeError(f"403 for {handle} with {key}")

    client = types.ModuleType("kagglehub")
    client.dataset_download = refuse
    monkeypatch.setitem(sys.modules, "kagglehub", client)
    monkeypatch.setenv("KAGGLE_KEY", key)
    with pytest.raises(HubError, match="403 for a/b") as caught:
        hub.kaggle_dataset("a/b")
    assert key not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("name", [f"hf:{TOKEN}", f"hf:x:{TOKEN}@host/net", f"hf:a/b@{TOKEN}/../c"])
def test_a_token_in_place_of_a_name_is_not_repeated(name):
    with pytest.raises(ConfigError, match="hf:OWNER/REPOSITORY") as caught:
        parse(name)
    assert TOKEN not in str(caught.value)


def test_an_empty_folder_is_not_sent(tmp_path):
    with pytest.raises(HubError, match="nothing to send"):
        files_of(tmp_path)


class TestReaching:
    def test_a_cause_with_a_token_is_not_shown(self, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        with pytest.raises(HubError) as caught, reaching_the_hub("x could not be fetched"):
            raise ValueError(f"bad header Bearer {TOKEN}")
        assert str(caught.value) == "x could not be fetched: bad header Bearer hf_***"
        assert caught.value.__cause__ is None and caught.value.__suppress_context__

    def test_another_cause_is_kept(self):
        with pytest.raises(HubError) as caught, reaching_the_hub("x"):
            raise OSError("disk full")
        assert str(caught.value) == "x: disk full" and isinstance(caught.value.__cause__, OSError)

    @pytest.mark.parametrize("error", [KeyError("a"), TypeError("b"), KeyboardInterrupt(), ConfigError("c")])
    def test_mistakes_of_ours_are_not_the_hubs(self, error):
        with pytest.raises(type(error)), reaching_the_hub("x"):
            raise error

    def test_every_error_of_the_client_is_caught(self):
        import huggingface_hub
        from huggingface_hub import errors

        caught = client_errors(huggingface_hub)
        known = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]
        assert len(known) > 10 and all(issubclass(e, caught) for e in known)
