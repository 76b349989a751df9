"""What goes wrong between here and a server, in words that say what to do. Tokens are never among them."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from fer.errors import HIDDEN, TOKEN, HubError, hide_tokens

TOKEN_PAGE = "https://huggingface.co/settings/tokens"
LOG_IN = "run: hf auth login (or set HF_TOKEN)"
_NO_CONNECTION = {
    "ConnectError",
    "ConnectionError",
    "NetworkError",
    "ProxyError",
    "RemoteProtocolError",
    "TimeoutException",
}


def client(name: str, why: str = "the download needs") -> ModuleType:
    """A client's package, imported now.

    Raises:
        HubError: not installed; says how to.
    """
    try:
        return import_module(name)
    except ImportError:
        raise HubError(f"{why} the package {name}: python -m pip install {name}") from None


def client_errors(package: ModuleType) -> tuple[type[Exception], ...]:
    """What a client raises when something is wrong outside of this program; its base classes change by version."""
    own: list[type[Exception]] = [OSError, ValueError, RuntimeError]
    for name in ("exceptions", "errors"):
        try:
            module = import_module(f"{package.__name__}.{name}")
        except ImportError:
            continue
        own += [e for _, e in inspect.getmembers(module, inspect.isclass) if issubclass(e, Exception)]
    for transport in ("httpx", "httpx2", "requests"):
        try:
            module = import_module(transport)
        except ImportError:
            continue
        own.append(module.RequestException if transport == "requests" else module.HTTPError)
    return tuple(own)


@contextmanager
def reaching_the_hub(what: str, advice: str = "", reading: bool = False) -> Iterator[ModuleType]:
    """Gives huggingface_hub; what its calls raise in the block becomes a HubError that begins with `what`.

    Args:
        advice: Ends the message.
        reading: Whether the calls in the block only read.

    Raises:
        HubError: the cause and what to do, in one line without any token.
    """
    package = client("huggingface_hub", "the Hugging Face Hub needs")
    try:
        yield package
    except client_errors(package) as e:
        raise_without_token(f"{what}: {reason(e, reading)}" + (f"; {advice}" if advice else ""), e)


def raise_without_token(said: str, e: BaseException) -> NoReturn:
    """Raise HubError with an error of a client as its cause, unless that error's own words hold a token.

    Raises:
        HubError: always; what is said, every token in it made unreadable.
    """
    told = "".join(str(part) for part in _chain(e))
    # a traceback would show the cause's own words
    raise HubError(scrub(said)) from (e if scrub(told) == told else None)


def require_online(what: str) -> None:
    """Refuse to send anything in offline mode, where every request of huggingface_hub fails.

    Raises:
        HubError: offline mode is on.
    """
    if import_module("huggingface_hub.constants").HF_HUB_OFFLINE:
        raise HubError(f"{what}: offline mode is on (HF_HUB_OFFLINE is set), so nothing can be sent; unset it first")


def first_line(e: BaseException) -> str:
    """The first line of what an error says, or its name."""
    return (str(e).strip() or type(e).__name__).splitlines()[0][:200]


def scrub(text: str) -> str:
    """The text with every token in it made unreadable: this machine's own, and whatever looks like one.

    >>> scrub("refused: hf_" + 17 * "aB")
    'refused: hf_***'
    """
    for token in own_tokens():
        text = text.replace(token, HIDDEN)
    return hide_tokens(text)


def holds_token(data: bytes) -> bool:
    """Whether a file's bytes hold a token: this machine's own, or in a text whatever looks like one."""
    if any(token.encode() in data for token in own_tokens()):
        return True
    return b"\0" not in data and TOKEN.search(data.decode("utf-8", errors="replace")) is not None


def own_tokens() -> list[str]:
    """The tokens that this machine would send: of the Hub from the environment and from `hf auth login`, of Kaggle."""
    named = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "KAGGLE_KEY", "KAGGLE_API_TOKEN")
    found = [os.environ.get(name, "").strip() for name in named]
    with suppress(ImportError, AttributeError, OSError):
        found.append(import_module("huggingface_hub").get_token() or "")
    kaggle = Path(os.environ.get("KAGGLE_CONFIG_DIR") or Path.home() / ".kaggle")
    with suppress(OSError, ValueError, TypeError, KeyError):
        found.append(str(json.loads((kaggle / "kaggle.json").read_text(encoding="utf-8"))["key"]))
    with suppress(OSError, ValueError):
        found.append((kaggle / "access_token").read_text(encoding="utf-8").strip())
    return sorted({t for t in found if len(t) >= 8}, key=len, reverse=True)


def reason(e: BaseException, reading: bool = False) -> str:
    """Why a call of huggingface_hub failed, and what to do about it."""
    chain = list(_chain(e))
    kinds = {c.__name__ for part in chain for c in type(part).__mro__}
    if "OfflineModeIsEnabled" in kinds:
        return "offline mode is set and it is not in the local cache; unset HF_HUB_OFFLINE to fetch it once"
    response = next((r for part in chain if (r := getattr(part, "response", None)) is not None), None)
    if (known := _of_kind(kinds)) is not None:
        return known
    if response is not None and response.status_code == 400:  # the client's own words hold what the Hub objects to
        return " ".join(str(e).split())[:300]
    if response is not None:
        return _of_status(int(response.status_code), response, reading)
    if "LocalTokenNotFoundError" in kinds:
        return f"no token; make one at {TOKEN_PAGE} and {LOG_IN}"
    if kinds & _NO_CONNECTION:
        return f"no connection to {_host()} ({first_line(chain[-1])}); check the network and try again"
    if any("Consistency check failed" in str(part) for part in chain):
        return "the download broke off; try again"
    return first_line(chain[-1] if isinstance(e, RuntimeError) else e)


def _of_kind(kinds: set[str]) -> str | None:
    if "GatedRepoError" in kinds:
        return f"access must be granted first; accept its conditions on its page at {_host()}, then {LOG_IN}"
    if "RevisionNotFoundError" in kinds:
        return "there is no such revision; see its branches, tags and commits on its page"
    if "RemoteEntryNotFoundError" in kinds:
        return "the repository lacks the file; is it a model of this project?"
    if "RepositoryNotFoundError" in kinds:
        return f"no such repository, or one that your token may not read; check the name; for a private one, {LOG_IN}"
    if "HFValidationError" in kinds:
        return 'not a name on the Hub; "owner/name" was expected'
    return None


def _of_status(status: int, response: Any, reading: bool = False) -> str:
    if status == 401:
        return f"the token was refused (401); make a new one at {TOKEN_PAGE} and {LOG_IN}"
    if status == 402:
        return "this needs a paid plan (402); static Spaces are free, Gradio and Docker Spaces are not"
    if status == 403 and reading:
        return f"not allowed with this token (403), which may not read it; take one that may, see {TOKEN_PAGE}"
    if status == 403:
        return f"not allowed with this token (403); it needs write access to the namespace, see {TOKEN_PAGE}"
    if status == 412:
        return "the repository was changed meanwhile (412); run it again"
    if status == 429:
        wait = response.headers.get("Retry-After", "")
        return f"too many requests (429); try again in {f'{wait} s' if wait.isdecimal() else 'a few minutes'}"
    if status >= 500:
        return f"the Hub has a problem of its own ({status}); try again later"
    said = response.headers.get("X-Error-Message") or response.reason_phrase
    return f"the Hub answered {status} ({first_line(ValueError(said))})"


def _host() -> str:
    from urllib.parse import urlsplit

    return urlsplit(import_module("huggingface_hub.constants").ENDPOINT).hostname or "the Hub"


def _chain(e: BaseException | None) -> Iterator[BaseException]:
    while e is not None:
        yield e
        e = e.__cause__ or (None if e.__suppress_context__ else e.__context__)
