"""The errors that users read. Each message says what was requested, what is wrong and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: Exit codes of `bench`.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BROKEN = 3
EXIT_INTERRUPTED = 130


class BenchError(Exception):
    """Base class of all errors of the benchmark. An error has a one-line problem, and a remedy for the user.

    The command line prints the error as `what (fix)` and exits with `exit_code`.

    Args:
        what: description of the request and of the problem; one line without a full stop.
        fix: the remedy, as a command if there is one; one line without a full stop. None if no remedy is known.

    >>> print(BenchError("curve.svg cannot be written: the disk is full", fix="choose another folder"))
    curve.svg cannot be written: the disk is full (choose another folder)
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} ({self.fix})" if self.fix else self.what


class UsageError(BenchError):
    """The request is invalid: an unknown name, a value that is not allowed, or two options that exclude each other.

    >>> print(UsageError("lr=-1 is out of range", fix="allowed: above 0"))
    lr=-1 is out of range (allowed: above 0)
    """

    exit_code = EXIT_USAGE


class PluginError(BenchError):
    """A plugin is broken: its module cannot be imported or does not return, or an entry is invalid.

    >>> print(PluginError("bench_parts is not marked with @hookimpl", fix="from harness.api import hookimpl"))
    bench_parts is not marked with @hookimpl (from harness.api import hookimpl)
    """

    exit_code = EXIT_BROKEN


class StoreError(BenchError):
    """A file of the harness cannot be read or written.

    Possible reasons are a missing permission, a full disk, a lock, a corrupt file or an edited file.

    >>> print(StoreError("runs/run-1f is locked by process 4711", fix="wait until it ends, or choose another --runs"))
    runs/run-1f is locked by process 4711 (wait until it ends, or choose another --runs)
    """


class DamagedError(StoreError):
    """The content of a file changed after the harness wrote it: the file was truncated, corrupted or edited.

    >>> print(DamagedError("record.json was edited: its hash differs", fix="--force runs the trial again"))
    record.json was edited: its hash differs (--force runs the trial again)
    """


class RejectedError(BenchError):
    """A submission broke a rule of the benchmark. Its trial ends with the status `rejected`.

    >>> print(RejectedError("step() drew no data", fix="call work.draw() in every step"))
    step() drew no data (call work.draw() in every step)
    """


class DataError(BenchError):
    """A dataset or an imported file is missing, damaged, or not in the expected format.

    >>> print(DataError("the dataset mnist is missing", fix="bench data get mnist"))
    the dataset mnist is missing (bench data get mnist)
    """


def suggest_nearest(name: str, known: Iterable[str]) -> str:
    """Return the hint `; did you mean 'x'?` for an unknown name.

    The hint suggests known names of which `name` is one of the words between hyphens, at most three. If there is no
    such name, it suggests the most similar known name.

    Args:
        name: the unknown name.
        known: the names that exist.

    Returns:
        The hint, or an empty string if no known name is similar.

    >>> suggest_nearest("wsdd", ["wsd", "adamw-cosine"])
    "; did you mean 'wsd'?"
    >>> suggest_nearest("cosine", ["adamw-cosine", "cosine-power", "wsd"])
    "; did you mean 'adamw-cosine' or 'cosine-power'?"
    """
    known = sorted(known)
    close = [candidate for candidate in known if name in candidate.split("-")][:3]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def unknown_name_error(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that does not exist. The message suggests similar names and lists all known names.

    Args:
        kind: the kind of thing that the name denotes, such as `ruleset`.
        name: the unknown name.
        known: the names that exist.

    >>> print(unknown_name_error("ruleset", "quik", ["quick", "external"]))
    unknown ruleset 'quik'; did you mean 'quick'? (choose one of: external, quick)
    """
    names = sorted(known)
    fix = f"choose one of: {', '.join(names)}" if names else f"no {kind} exists"
    return UsageError(f"unknown {kind} {name!r}{suggest_nearest(name, names)}", fix=fix)
