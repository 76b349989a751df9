"""Where a result comes from: commit, library versions, time."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from fer.paths import ROOT


def git_commit() -> str:
    """Commit of the code, "+changes" when the tree differs from it, "" outside git."""
    try:
        run = lambda *a: subprocess.run(  # noqa: E731
            ["git", "-C", str(ROOT), *a], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        run("ls-files", "--error-unmatch", "fer/provenance.py")  # not a repository that merely holds an environment
        return run("rev-parse", "HEAD") + ("+changes" if run("status", "--porcelain", "--", "fer", "scripts") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def versions(libraries: Sequence[str] = ("torch", "timm", "numpy")) -> dict[str, str]:
    """Versions of Python and of the libraries that matter to a result."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    out = {"python": platform.python_version()}
    for name in libraries:
        with suppress(PackageNotFoundError):
            out[name] = version(name)
    return out


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
