"""A folder as a repository on the Hugging Face Hub: one commit with what changed, or nothing at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fer.errors import HubError
from fer.hub.failures import LOG_IN, TOKEN_PAGE, holds_token, reaching_the_hub, require_online, scrub
from fer.hub.pull import library

KINDS = ("model", "space")
_KEPT = (".gitattributes",)
_FRESH = {".gitattributes", "README.md", "LICENSE"}  # what a repository made on the web page may hold


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

    The commit is the last step: an upload that breaks off leaves the repository as it was.

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
            somebody's other work and left alone; empty = not asked.

    Raises:
        HubError: somebody's other work; see `files_of` and `check_access`; or the Hub could not be reached or refused.
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
        there = {
            f.path: (f.lfs.sha256 if f.lfs else f.blob_id, f.lfs is not None)
            for f in api.list_repo_tree(repo, recursive=True, revision=info.sha, repo_type=kind)
            if isinstance(f, hub.RepoFile)
        }
    if private and not info.private:
        raise HubError(f"{what}: {url} is public; make it private in its settings, or push without --private")
    if known_by and not set(known_by) <= set(there) and (others := sorted(set(there) - _FRESH)):
        some = ", ".join(others[:3]) + (" ..." if len(others) > 3 else "")
        place = "it" if fresh or revision is None else f"its branch {revision}"
        raise HubError(
            f"{what}: {place} holds something else ({some}) and was left as it is. Choose another --name, or say "
            "--force-push, which replaces and deletes what is there"
        )
    plan = compare(files, there, stale)
    if on_plan:
        on_plan(plan)
    if fresh:
        with reaching_the_hub(what):
            api.create_branch(repo, branch=str(revision), revision=info.sha, repo_type=kind, exist_ok=True)
    if plan.empty:
        return Sent(repo, url, info.sha, plan)
    with reaching_the_hub(f"{what} (it is as it was before)") as hub:
        operations = [hub.CommitOperationAdd(p, files[p]) for p in (*plan.new, *plan.changed)]
        operations += [hub.CommitOperationDelete(p, is_folder=False) for p in plan.deleted]
        done = api.create_commit(
            repo, operations, commit_message=message, repo_type=kind, revision=revision, parent_commit=info.sha
        )
    return Sent(repo, url, done.oid, plan)


def compare(files: Mapping[str, Path], there: Mapping[str, tuple[str, bool]], stale: Sequence[str] = ()) -> Plan:
    """What has to be sent.

    Args:
        files: Path in the repository -> local file.
        there: Path in the repository -> (digest, whether it lies in the large file storage).
        stale: See `send_folder`.
    """
    new = [p for p in files if p not in there]
    changed = [p for p in files if p in there and _digest(files[p], large=there[p][1]) != there[p][0]]
    deleted = [p for p in there if p not in files and p not in _KEPT and any(_matches(p, s) for s in stale)]
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
