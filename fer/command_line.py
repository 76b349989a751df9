"""The outer edge of every script: what goes wrong ends in one line and an exit status, not in a traceback."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from fer.errors import FerError, hide_tokens


def run_script(body: Callable[[], int | None], interrupted: str = "") -> int:
    """Run a script's work and return its exit status.

    Args:
        body: Returns the exit status, or None for 0.
        interrupted: Said on Ctrl-C.

    Returns:
        What `body` returned; 2 for bad input or a file that cannot be read or written; 130 for Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that cannot show an emoji gets a question mark
            stream.reconfigure(errors="replace")
    try:
        return body() or 0
    except FerError as e:
        print(f"error: {hide_tokens(str(e))}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # "| head" has seen enough
        sys.stderr.close()
        return 0
    except OSError as e:
        print(f"error: {e.filename or 'a file'}: {e.strerror or e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if interrupted:
            print(f"\n{interrupted}", file=sys.stderr)
        return 130


def add_amp(parser: argparse.ArgumentParser) -> None:
    """--amp and --no-amp; `amp` is None where neither is given."""
    parser.add_argument(
        "--amp",
        action=argparse.BooleanOptionalAction,
        help="mixed precision (default: bfloat16 on CUDA where it computes in it; --amp: else float16, also on MPS)",
    )


def refuse_tokens(parser: argparse.ArgumentParser) -> None:
    """Let a command line answer --token with what to do instead; none of its errors repeats a token.

    On a command line it would stay in the shell's history and in the list of processes.
    """
    tell = parser.error
    parser.error = lambda message: tell(hide_tokens(message))  # type: ignore[method-assign]
    parser.add_argument("--token", action=_NoToken, help=argparse.SUPPRESS)


class _NoToken(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        parser.error("no token is taken on the command line; run: hf auth login (or set HF_TOKEN), and revoke this one")
