"""Checkpoints from the Hugging Face Hub: "hf:NAME/repo" or "hf:NAME/repo@revision"."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer.errors import ConfigError, HubError
from fer.hub.failures import reaching_the_hub, scrub

PREFIX = "hf:"
# a config.json that timm reads as well (see `fer.timm_form`) keeps the manifest under this key
NESTED = "fer"
# folder of a repository in the cache: commit -> file -> the Hub's digest of it
_DIGESTS = "fer-digests"
_NAME = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubName:
    """What a "hf:" name means.

    Attributes:
        repo: "owner/name".
        revision: Branch, tag or commit; None = the newest of the main branch.
    """

    repo: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{PREFIX}{self.repo}" + (f"@{self.revision}" if self.revision else "")


def is_hub_name(name: object) -> bool:
    """Whether a name means a repository on the Hub."""
    return str(name).startswith(PREFIX)


def is_cached(folder: Path) -> bool:
    """Whether a folder is one that `fetch_checkpoint` gave, in the Hub's cache."""
    return folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--")


def parse(name: str) -> HubName:
    """The parts of a "hf:" name.

    Raises:
        ConfigError: not of this form.

    >>> parse("hf:somebody/fer-vit-tiny@v1")
    HubName(repo='somebody/fer-vit-tiny', revision='v1')
    """
    text = name.removeprefix(PREFIX).replace("\\", "/")
    match = _NAME.fullmatch(text)
    if not match or ".." in text or "--" in match["repo"]:
        raise ConfigError(
            f"{scrub(name)[:120]!r} is not a name on the Hub; hf:OWNER/REPOSITORY was expected, with @REVISION behind "
            "it to pin a branch, tag or commit: hf:somebody/fer-vit-tiny@v1"
        )
    return HubName(match["repo"], match["revision"])


def fetch_checkpoint(name: str, manifest: str, weights: Sequence[str], cache_dir: str | Path | None = None) -> Path:
    """The folder of a checkpoint in the Hub's local cache, downloaded if it is not there.

    Two files are fetched, both of one commit, and nothing else of the repository: the manifest, and the weights that it
    names. Their bytes are checked; a damaged copy is fetched once more. Without a network the cached copy is taken.

    Args:
        name: "hf:owner/name" or "hf:owner/name@revision".
        manifest: File name of the manifest.
        weights: File names of weights that are accepted: such as cannot hold code.
        cache_dir: Place of the cache; None = huggingface_hub's own (HF_HOME).

    Returns:
        Folder with both files.

    Raises:
        ConfigError: not a "hf:" name.
        HubError: no network, no such repository, revision or permission, no checkpoint of this project, or bytes that
            are not those that the manifest means.
    """
    wanted = parse(name)
    config = _get(wanted, manifest, wanted.revision, cache_dir)
    if _changed_since_download(wanted, config):
        try:
            config = _get(wanted, manifest, wanted.revision, cache_dir, damaged=config)
        except HubError as e:
            raise HubError(f"{wanted}: the cached {manifest} is damaged; fetching it again failed: {e}") from None
        if _changed_since_download(wanted, config):
            raise HubError(
                f"{wanted}: {manifest} is damaged or was changed on its way, its digest is not that of the Hub; it "
                "was not used. Try again later or from another network"
            )
    commit = config.parent.name
    file, expected = _named_weights(wanted, config, weights)
    path = _get(wanted, file, commit, cache_dir)
    if _sha256(path) != expected:
        _log.warning("%s: the cached %s is damaged; fetching it again", wanted, file)
        try:
            path = _get(wanted, file, commit, cache_dir, damaged=path)
        except HubError as e:
            raise HubError(f"{wanted}: the cached {file} is damaged; fetching it again failed: {e}") from None
        if (got := _sha256(path)) != expected:
            raise HubError(
                f"{wanted}: {file} is damaged or was changed, its SHA-256 {got[:12]}... is not {expected[:12]}... of "
                "the manifest; it was not used. Try another revision, or tell the owner"
            )
    _log.info("%s is in %s", wanted, path.parent)
    return path.parent


def present_file(repo: str, file: str, revision: str | None = None) -> Path | None:
    """A file of a repository's branch as it is now; None where there is no such file, branch or repository.

    Args:
        repo: "owner/name".
        file: Path in it.
        revision: Branch; None = main.

    Raises:
        HubError: the Hub could not be reached or refused.
    """
    with reaching_the_hub(f"{file} of {repo} could not be read", reading=True) as hub:
        api = hub.HfApi(**library())
        if not api.file_exists(repo, file, revision=revision):
            return None
        commit = api.repo_info(repo, revision=revision).sha
        return Path(hub.hf_hub_download(repo, file, revision=commit, **library()))


def _get(
    wanted: HubName, file: str, revision: str | None, cache_dir: str | Path | None, damaged: Path | None = None
) -> Path:
    """A file of the repository in the cache.

    Args:
        damaged: A copy that is not to be used: it is fetched anew.
    """
    with reaching_the_hub(f"{wanted}: {file} could not be fetched", reading=True) as hub:
        again = damaged is not None
        path = hub.hf_hub_download(
            wanted.repo, file, revision=revision, cache_dir=cache_dir, force_download=again, **library()
        )
        if damaged is not None and damaged.is_file() and not damaged.is_symlink() and Path(path) == damaged:
            # without symbolic links the client keeps a copy that is there already, and the new bytes beside it
            damaged.unlink()
            path = hub.hf_hub_download(
                wanted.repo, file, revision=damaged.parent.name, cache_dir=cache_dir, **library()
            )
        return Path(path)


def _named_weights(wanted: HubName, config: Path, accepted: Sequence[str]) -> tuple[str, str]:
    """(file, SHA-256) of the weights according to the manifest."""
    try:
        raw = json.loads(config.read_text(encoding="utf-8"))
        entry = raw.get(NESTED, raw)["weights"]
        file, sha256 = str(entry["file"]), str(entry["sha256"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise HubError(
            f"{wanted}: its {config.name} is not that of a checkpoint of this project; is it the right repository?"
        ) from e
    if file not in accepted:
        raise HubError(
            f"{wanted}: its weights are in {file[:80]!r}; only {' and '.join(accepted)} are loaded: they hold no code"
        )
    return file, sha256


def _changed_since_download(wanted: HubName, path: Path) -> bool:
    """Whether a cached copy is not what the Hub has at that commit.

    The cache names a file's bytes after their git or SHA-256 digest and links to them. Where it has plain copies
    instead (Windows, some file systems), the digest is the one that was written down when the file was fetched, or else
    the one that the Hub tells now. Without both the copy is taken as it is.
    """
    record = path.parents[2] / _DIGESTS / path.parent.name / path.name
    linked = os.readlink(path) if path.is_symlink() else ""  # one step: what that is may be a link into a store
    expected = _digest_in(Path(linked).name) or _recorded(record)
    if expected is None:
        expected = _told_by_the_hub(wanted, path)
        if expected is None:
            _log.warning("%s: nothing tells whether the cached %s is as it was downloaded", wanted, path.name)
            return False
    data = path.read_bytes()
    found = hashlib.sha1(b"blob %d\0" % len(data) + data) if len(expected) == 40 else hashlib.sha256(data)
    if found.hexdigest() != expected:
        return True
    if _recorded(record) != expected:
        with suppress(OSError):  # a cache that is only read
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(expected, encoding="utf-8")
    return False


def _digest_in(text: str) -> str | None:
    """A git digest (40 hexadecimal digits) or a SHA-256 (64), where a text is one."""
    return text if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) else None


def _recorded(record: Path) -> str | None:
    try:
        return _digest_in(record.read_text(encoding="utf-8").strip())
    except (OSError, ValueError):
        return None


def _told_by_the_hub(wanted: HubName, path: Path) -> str | None:
    """The digest of a file at the commit of its copy; None where the Hub cannot be asked."""
    try:
        with reaching_the_hub(f"{wanted}: {path.name} could not be checked", reading=True) as hub:
            url = hub.hf_hub_url(wanted.repo, path.name, revision=path.parent.name)
            return _digest_in(hub.get_hf_file_metadata(url, **library()).etag or "")
    except HubError as e:
        _log.debug("%s", e)
        return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def library() -> dict[str, Any]:
    """How requests introduce themselves."""
    from fer import __version__

    return {"library_name": "facial-expression-lab", "library_version": __version__}
