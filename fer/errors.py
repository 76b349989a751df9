"""Every error that `fer` raises on purpose. Each message says what was got, what was expected and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# of the Hub: of a user, an organisation, a log-in through the browser
TOKEN = re.compile(r"(?:hf|api_org|hf_oauth)_[A-Za-z0-9]{20,}[\w.-]*|hf_jwt_[\w.-]{20,}")
HIDDEN = "hf_***"


def hide_tokens(text: str) -> str:
    """The text with whatever looks like an access token made unreadable.

    >>> hide_tokens("unknown model: hf_" + 17 * "aB")
    'unknown model: hf_***'
    """
    return TOKEN.sub(HIDDEN, text)


class FerError(Exception):
    """Base class: catch it to show one clear line instead of a traceback."""


class ConfigError(FerError):
    """An unknown name, key or value in a spec, a recipe or on the command line."""


class ImageError(FerError):
    """A picture that cannot be read or used."""


class DataError(FerError):
    """A data set that is absent, broken or not what it claims to be. Names file and row."""


class CheckpointError(FerError):
    """A checkpoint that is absent, damaged, foreign or from a newer version."""


class ExportError(FerError):
    """An ONNX file that cannot be made, cannot be used, or answers otherwise than the net it was made from."""


class HubError(FerError):
    """A download or upload that failed, or that was asked for where it is not allowed."""


def unknown_name(kind: str, got: str, known: Iterable[str], hint: str = "") -> ConfigError:
    """A ConfigError for a misspelt name that proposes the nearest known one.

    >>> str(unknown_name("model", "vit", ["baseline_cnn", "vit_tiny"], "See scripts/train.py --list."))
    "unknown model 'vit'; did you mean 'vit_tiny'? Known: baseline_cnn, vit_tiny. See scripts/train.py --list."
    """
    known = list(known)
    near = difflib.get_close_matches(got, known, n=1, cutoff=0.3)
    did_you_mean = f"; did you mean {near[0]!r}?" if near else "."
    tail = f" {hint}" if hint else ""
    return ConfigError(f"unknown {kind} {got!r}{did_you_mean} Known: {', '.join(known)}.{tail}")
