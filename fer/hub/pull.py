"""Checkpoints from the Hugging Face Hub: "hf:NAME/repo" or "hf:NAME/repo@revision"."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer.errors import ConfigError, HubError
from fer.hub.failures import reaching_the_hub, scrub

PREFIX = "hf:"
# a config.json that timm reads as well (see `fer.timm_form`) keeps the manifest under this key
NESTED = "fer"
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
    if _changed_since_download(config):
        config = _get(wanted, manifest, wanted.revision, cache_dir, again=True)
        if _changed_since_download(config):
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
            path = _get(wanted, file, commit, cache_dir, again=True)
        except HubError as e:
            raise HubError(f"{wanted}: the cached {file} is damaged; fetching it again failed: {e}") from None
        if (got := _sha256(path)) != expected:
            raise HubError(
                f"{wanted}: {file} is damaged or was changed, its SHA-256 {got[:12]}... is not {expected[:12]}... of "
                "the manifest; it was not used. Try another revision, or tell the owner"
            )
    _log.info("%s is in %s", wanted, path.parent)
    return path.parent


def present_file(repo: str, file: str) -> Path | None:
    """A file of a repository's main branch as it is now; None where there is no such file, or no such repository.

    Raises:
        HubError: the Hub could not be reached or refused.
    """
    with reaching_the_hub(f"{file} of {repo} could not be read") as hub:
        api = hub.HfApi(**library())
        if not api.file_exists(repo, file):
            return None
        commit = api.repo_info(repo).sha
        return Path(hub.hf_hub_download(repo, file, revision=commit, **library()))


def _get(wanted: HubName, file: str, revision: str | None, cache_dir: str | Path | None, again: bool = False) -> Path:
    with reaching_the_hub(f"{wanted}: {file} could not be fetched") as hub:
        return Path(
            hub.hf_hub_download(
                wanted.repo, file, revision=revision, cache_dir=cache_dir, force_download=again, **library()
            )
        )


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


def _changed_since_download(path: Path) -> bool:
    """Whether the cached copy is not what was downloaded: the cache names it after its git or SHA-256 digest."""
    name, data = path.resolve().name, path.read_bytes()
    if re.fullmatch(r"[0-9a-f]{40}", name):
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest() != name
    return re.fullmatch(r"[0-9a-f]{64}", name) is not None and hashlib.sha256(data).hexdigest() != name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def library() -> dict[str, Any]:
    """How requests introduce themselves."""
    from fer import __version__

    return {"library_name": "facial-expression-lab", "library_version": __version__}
