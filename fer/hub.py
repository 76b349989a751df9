"""The only code that touches the network, always on an explicit call. The clients are imported when they are called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from fer.errors import HubError

KAGGLE_TOKEN_HELP = (
    "get a token at https://www.kaggle.com/settings (API, Create New Token) and put kaggle.json into ~/.kaggle/, "
    "or set KAGGLE_USERNAME and KAGGLE_KEY"
)


def kaggle_competition(name: str) -> Path:
    """Folder with the files of a Kaggle competition (needs a token and its rules accepted).

    Raises:
        HubError: kagglehub is not installed, no network, no token, or access refused.
    """
    advice = f"{KAGGLE_TOKEN_HELP}; and accept the rules at https://www.kaggle.com/competitions/{name}/rules"
    kagglehub = _client("kagglehub")
    return Path(_call(kagglehub, kagglehub.competition_download, f"Kaggle competition {name}", advice, name))


def kaggle_dataset(handle: str) -> Path:
    """Folder with the files of a Kaggle data set "owner/name".

    Raises:
        HubError: kagglehub is not installed, no network, or access refused.
    """
    kagglehub = _client("kagglehub")
    return Path(_call(kagglehub, kagglehub.dataset_download, f"Kaggle data set {handle}", KAGGLE_TOKEN_HELP, handle))


def hub_dataset(repo_id: str, patterns: Sequence[str] | None = None, revision: str | None = None) -> Path:
    """Folder with the files of a data set on the Hugging Face Hub.

    Args:
        repo_id: "owner/name".
        patterns: Only files that match one of these.
        revision: Branch, tag or commit; None = the newest.

    Raises:
        HubError: huggingface_hub is not installed, no network, or no such repository.
    """
    hub = _client("huggingface_hub")
    what = f"Hub data set {repo_id}"
    advice = "check the connection; for a private or gated repository run: hf auth login"
    options: dict[str, Any] = {"repo_type": "dataset", "allow_patterns": patterns, "revision": revision}
    return Path(_call(hub, hub.snapshot_download, what, advice, repo_id, **options))


def _client(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError:
        raise HubError(f"the download needs the package {name}: python -m pip install {name}") from None


def _call(client: ModuleType, function: Callable[..., Any], what: str, advice: str, *args: Any, **options: Any) -> Any:
    # The clients raise errors of their own beside OSError; their base classes change from version to version.
    own: list[type[BaseException]] = []
    for name in ("exceptions", "errors"):
        try:
            module = import_module(f"{client.__name__}.{name}")
        except ImportError:
            continue
        own += [e for _, e in inspect.getmembers(module, inspect.isclass) if issubclass(e, Exception)]
    for transport in ("httpx", "requests"):
        try:
            own.append(getattr(import_module(transport), "HTTPError" if transport == "httpx" else "RequestException"))
        except ImportError:
            continue
    try:
        return function(*args, **options)
    except (OSError, ValueError, RuntimeError, *own) as e:
        first = (str(e).strip() or type(e).__name__).splitlines()[0]
        raise HubError(f"{what}: download failed ({first[:200]}); {advice}") from e
