"""A folder as a repository on the Hugging Face Hub: one commit with what changed, or nothing at all."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fer.errors import ConfigError, HubError
from fer.hub.failures import LOG_IN, TOKEN_PAGE, holds_token, reaching_the_hub, require_online, scrub
from fer.hub.pull import library

KINDS = ("model", "space")
# in every repository that was sent from here: path -> digests of what was sent
SENT_LIST = ".fer-sent.json"
_KEPT = (".gitattributes", SENT_LIST)
# people write these as well; the others are told apart by what they are (see `known_by`)
_WRITTEN_BY_HAND = ("README.md", "LICENSE")
_FRESH = {*_KEPT, *_WRITTEN_BY_HAND}  # what a repository made on the web page may hold
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a folder would change in a repository.

    Attributes:
        new, changed, unchanged, deleted: Paths in the repository, sorted.
        size: Bytes of the new and the changed files.
    """

    new: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]
    deleted: tuple[str, ...]
    size: int

    @property
    def empty(self) -> bool:
        """Whether the repository holds the folder already."""
        return not (self.new or self.changed or self.deleted)


@dataclass(frozen=True)
class Sent:
    """What was done.

    Attributes:
        repo: "owner/name".
        url: Page of the repository.
        commit: Its commit that holds the folder.
        plan: What that commit changed; an empty one where nothing had to be sent.
    """

    repo: str
    url: str
    commit: str
    plan: Plan


def require_no_tokens(*names: str | None) -> None:
    """Refuse names that hold a token, before one of them is printed, written or sent.

    Raises:
        ConfigError: without the token.
    """
    for name in names:
        if name and scrub(name) != name:
            raise ConfigError(f"{scrub(name)!r} holds an access token where a name was expected; revoke that token")


def files_of(folder: str | Path) -> dict[str, Path]:
    """Path in the repository -> file, of everything in a folder.

    Raises:
        HubError: an empty folder, or a file that holds a token: nothing is sent then.
    """
    folder = Path(folder)
    found = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    if not found:
        raise HubError(f"{folder}: there is nothing to send")
    for name, path in found.items():
        if holds_token(path.read_bytes()):
            raise HubError(f"{name} holds an access token; nothing was sent. Take the token out and revoke it")
    return found


def check_access(namespace: str) -> str:
    """The name of the account that the token belongs to; asked before hours of work, not after.

    Raises:
        HubError: offline mode, no token, a refused one, one that only reads, or somebody else's namespace.
    """
    what = scrub(f"cannot push to {namespace}")
    require_online(what)
    with reaching_the_hub(what) as hub:
        if not hub.get_token():
            raise HubError(f"{what}: no token; make one with write access at {TOKEN_PAGE} and {LOG_IN}")
        account = hub.HfApi(**library()).whoami()
    names = [account["name"], *(o["name"] for o in account.get("orgs", []))]
    if namespace not in names:
        raise HubError(f"{what}: the token is {account['name']}'s, who may write to {', '.join(names)}")
    if account.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise HubError(f"{what}: the token only reads; make one with write access at {TOKEN_PAGE} and {LOG_IN}")
    return str(account["name"])


def send_folder(
    folder: str | Path,
    repo: str,
    kind: str = "model",
    message: str = "Update",
    private: bool = False,
    revision: str | None = None,
    stale: Sequence[str] = (),
    space: Mapping[str, Any] | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    known_by: Sequence[str] = (),
) -> Sent:
    """Make a repository hold a folder; only what differs is sent, in one commit.

    The commit is the last step: an upload that breaks off leaves the repository as it was. What was sent is listed in
    the repository (`SENT_LIST`): with `known_by`, only what an earlier commit from here wrote is deleted.

    Args:
        folder: All its files are sent.
        repo: "owner/name"; made where it is not there.
        kind: "model" or "space".
        message: Of the commit.
        private: Make it a private repository; one that is public already is refused, and nothing in it is changed.
        revision: Branch; None = main. Made from main where it is not there, just before the commit.
        stale: Patterns of files in the repository that are deleted where the folder lacks them; "*" stays within a
            folder, "**" at the end reaches into those below.
        space: `space_sdk` and `space_hardware` of a new Space.
        on_plan: Told what will be sent, before it is.
        known_by: Files that a repository of this kind has. One that holds other files and lacks any of these is
            somebody's other work and left alone, and so is a README.md or LICENSE that was not sent from here or was
            edited since. Empty = nothing of this is asked.

    Raises:
        HubError: somebody's other work, or text of theirs; see `files_of` and `check_access`; or the Hub could not be
            reached or refused.
    """
    files = files_of(folder)
    what = f"{repo} could not be pushed"
    require_online(what)
    with reaching_the_hub(what) as hub:
        if not hub.get_token():
            raise HubError(f"{what}: no token; make one with write access at {TOKEN_PAGE} and {LOG_IN}")
        api = hub.HfApi(**library())
        url = str(api.create_repo(repo, repo_type=kind, private=private, exist_ok=True, **(space or {})))
        fresh = revision is not None and revision not in {
            b.name for b in api.list_repo_refs(repo, repo_type=kind).branches
        }
        info = api.repo_info(repo, repo_type=kind, revision=None if fresh else revision)
    there = _tree(api, repo, kind, str(info.sha))
    if private and not info.private:
        raise HubError(f"{what}: {url} is public; make it private in its settings, or push without --private")
    if known_by and not set(known_by) <= set(there) and (others := sorted(set(there) - _FRESH)):
        some = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        place = "it" if fresh or revision is None else f"its branch {revision}"
        raise HubError(
            f"{what}: {place} holds something else ({some}) and was left as it is. Choose another --name, or say "
            "--force-push, which replaces and deletes what is there"
        )
    listed = _sent_before(repo, kind, info.sha, SENT_LIST in there) if known_by else {}
    plan = compare(files, there, stale, set(listed) if known_by else None)
    own = [p for p in plan.changed if p in _WRITTEN_BY_HAND and there[p][0] not in listed.get(p, ())]
    if known_by and not fresh and (own := [p for p in own if not _is_empty_card(repo, kind, info.sha, p)]):
        raise HubError(f"{what}: {_edited(own)}")
    if on_plan:
        on_plan(plan)
    if fresh:
        with reaching_the_hub(what):
            api.create_branch(repo, branch=str(revision), revision=info.sha, repo_type=kind, exist_ok=True)
    if plan.empty:
        return Sent(repo, url, info.sha, plan)
    try:
        with reaching_the_hub(what) as hub:
            operations = [hub.CommitOperationAdd(p, files[p]) for p in (*plan.new, *plan.changed)]
            operations += [hub.CommitOperationDelete(p, is_folder=False) for p in plan.deleted]
            operations.append(hub.CommitOperationAdd(SENT_LIST, _listing(files)))
            done = api.create_commit(
                repo, operations, commit_message=message, repo_type=kind, revision=revision, parent_commit=info.sha
            )
    except HubError as e:
        branch = f"; its new branch {revision} stays, and holds what the main branch holds" if fresh else ""
        commit = _came_through(api, repo, kind, revision, info.sha, files, plan)
        if commit in (None, "", info.sha):
            said = {
                None: "whether the commit arrived is not known: it holds the earlier version or all of the new one",
                "": "another commit was made meanwhile; see its page for what it holds now",
            }.get(commit, "it is as it was before")
            raise HubError(f"{e} ({said}{branch})") from e
        _log.warning("%s: the answer of the Hub was lost, but the commit arrived", repo)
        return Sent(repo, url, commit, plan)
    return Sent(repo, url, done.oid, plan)


def _tree(api: Any, repo: str, kind: str, commit: str) -> dict[str, tuple[str, bool]]:
    """Path in a repository -> (digest, whether it lies in the large file storage)."""
    with reaching_the_hub(f"{repo} could not be read") as hub:
        return {
            f.path: (f.lfs.sha256 if f.lfs else f.blob_id, f.lfs is not None)
            for f in api.list_repo_tree(repo, recursive=True, revision=commit, repo_type=kind)
            if isinstance(f, hub.RepoFile)
        }


def _came_through(
    api: Any, repo: str, kind: str, revision: str | None, before: str, files: Mapping[str, Path], sent: Plan
) -> str | None:
    """After a commit without an answer: the commit that holds the files now, or `before` where none was made.

    "" = another one was made meanwhile; None = the Hub does not say.
    """
    try:
        with reaching_the_hub(f"{repo} could not be asked"):
            now = str(api.repo_info(repo, repo_type=kind, revision=revision).sha)
        if now == before:
            return before
        there = _tree(api, repo, kind, now)
        left = compare(files, there)
        return "" if left.new or left.changed or set(sent.deleted) & set(there) else now
    except HubError as e:
        _log.debug("%s", e)
        return None


def _listing(files: Mapping[str, Path]) -> bytes:
    """Content of `SENT_LIST`."""
    digests = {name: [_digest(path, large=False), _digest(path, large=True)] for name, path in sorted(files.items())}
    return (json.dumps({"format": "fer-sent", "files": digests}, indent=1, ensure_ascii=False) + "\n").encode()


def _sent_before(repo: str, kind: str, commit: str, there: bool) -> dict[str, list[str]]:
    """What an earlier commit from here has written; nothing where that is not known."""
    if not there:
        return {}
    try:
        found = json.loads(_text(repo, kind, commit, SENT_LIST))["files"]
        return {str(path): [str(d) for d in digests] for path, digests in found.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def edited_texts(repo: str, revision: str | None = None) -> str:
    """What to say of a README.md or LICENSE that was edited in a model repository since it was sent; "" = neither was.

    Raises:
        HubError: the Hub could not be reached or refused.
    """
    with reaching_the_hub(f"{repo} could not be read", reading=True) as hub:
        api = hub.HfApi(**library())
        if not api.file_exists(repo, SENT_LIST, revision=revision):
            return ""
        commit = str(api.repo_info(repo, revision=revision).sha)
    there, listed = _tree(api, repo, "model", commit), _sent_before(repo, "model", commit, there=True)
    return _edited([p for p in _WRITTEN_BY_HAND if p in there and p in listed and there[p][0] not in listed[p]])


def _edited(names: Sequence[str]) -> str:
    if not names:
        return ""
    were = "was" if len(names) == 1 else "were"
    return (
        f"its {' and '.join(names)} {were} not written from here, or edited since, and nothing was changed. Say "
        "--force-push to replace what is there, or choose another --name"
    )


def _is_empty_card(repo: str, kind: str, commit: str, path: str) -> bool:
    """Whether a file is the README.md of a repository made on the web page: metadata and no word."""
    if path != "README.md":
        return False
    return not re.sub(r"\A\s*---\n.*?\n---\s*", "", _text(repo, kind, commit, path), count=1, flags=re.DOTALL).strip()


def _text(repo: str, kind: str, commit: str, path: str) -> str:
    with reaching_the_hub(f"{path} of {repo} could not be read", reading=True) as hub:
        file = Path(hub.hf_hub_download(repo, path, revision=commit, repo_type=kind, **library()))
    return file.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")


def compare(
    files: Mapping[str, Path],
    there: Mapping[str, tuple[str, bool]],
    stale: Sequence[str] = (),
    ours: Set[str] | None = None,
) -> Plan:
    """What has to be sent.

    Args:
        files: Path in the repository -> local file.
        there: Path in the repository -> (digest, whether it lies in the large file storage).
        stale: See `send_folder`.
        ours: Paths in the repository that may be deleted; None = all.
    """
    new = [p for p in files if p not in there]
    changed = [p for p in files if p in there and _digest(files[p], large=there[p][1]) != there[p][0]]
    gone = [p for p in there if p not in files and p not in _KEPT and (ours is None or p in ours)]
    deleted = [p for p in gone if any(_matches(p, s) for s in stale)]
    return Plan(
        new=tuple(sorted(new)),
        changed=tuple(sorted(changed)),
        unchanged=tuple(sorted(set(files) - set(new) - set(changed))),
        deleted=tuple(sorted(deleted)),
        size=sum(files[p].stat().st_size for p in (*new, *changed)),
    )


def _matches(path: str, pattern: str) -> bool:
    if pattern.endswith("**"):
        return path.startswith(pattern[:-2])
    return path.count("/") == pattern.count("/") and fnmatch(path, pattern)


def _digest(path: Path, large: bool) -> str:
    """SHA-256 of a file in the large file storage, git's own digest of another one."""
    data = path.read_bytes()
    return hashlib.sha256(data).hexdigest() if large else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def collect(namespace: str, title: str, repos: Sequence[str], description: str = "", private: bool = False) -> str:
    """Put model repositories into a collection, which is made where it is not there.

    Returns:
        Address of the collection.

    Raises:
        HubError: the Hub could not be reached or refused.
    """
    what = f"the collection {title!r} could not be made"
    require_online(what)
    with reaching_the_hub(what) as hub:
        api = hub.HfApi(**library())
        made = api.create_collection(
            title, namespace=namespace, description=description or None, private=private, exists_ok=True
        )
        for repo in repos:
            api.add_collection_item(made.slug, repo, "model", exists_ok=True)
        return str(made.url)
