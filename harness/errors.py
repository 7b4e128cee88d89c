"""Errors that a user reads: what was asked, what is wrong, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BROKEN = 3
EXIT_INTERRUPTED = 130


class BenchError(Exception):
    """A failure with a one-line explanation and, where there is one, a fix.

    Args:
        what: what was asked and what is wrong with it, one sentence.
        fix: the next thing to do, one sentence or one command.
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} ({self.fix})" if self.fix else self.what


class UsageError(BenchError):
    """The request itself is wrong: unknown name, bad value, unknown key."""

    exit_code = EXIT_USAGE


class PluginError(BenchError):
    """A plugin is broken: it does not import, hangs, or yields something invalid."""

    exit_code = EXIT_BROKEN


class StoreError(BenchError):
    """A file of ours cannot be read or written: unwritable, full, corrupt, edited, locked."""


class DamagedError(StoreError):
    """A file of ours is not what was written: cut off, garbled or edited."""


class RejectedError(BenchError):
    """The submission broke a rule of the benchmark; the trial ends as `rejected`."""


class DataError(BenchError):
    """A dataset is missing, damaged or not in the format that was expected."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The hint `; did you mean 'x'?`: names that this is a word of, or else the nearest; nothing when none is close.

    >>> nearest("wsdd", ["wsd", "adamw-cosine"])
    "; did you mean 'wsd'?"
    >>> nearest("cosine", ["adamw-cosine", "cosine-power", "wsd"])
    "; did you mean 'adamw-cosine' or 'cosine-power'?"
    """
    known = sorted(known)
    close = [one for one in known if name in one.split("-")][:3]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that nobody offers: what exists and the nearest one."""
    names = sorted(known)
    listed = ", ".join(names) if names else "none"
    return UsageError(f"unknown {kind} {name!r}{nearest(name, names)}", fix=f"known: {listed}")
