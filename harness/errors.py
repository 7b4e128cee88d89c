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
    """A failure that is explained in one line, with the next thing to do. Base class of all errors of the benchmark.

    Every error names what was asked for, says what is wrong with it, and says what to do. The command line prints it
    as `what (fix)` and exits with `exit_code`.

    Args:
        what: the thing that was asked for and what is wrong with it; one line without a full stop.
        fix: what to do next, a command where there is one; one line without a full stop.

    >>> print(BenchError("curve.svg cannot be written: the disk is full", fix="name another folder"))
    curve.svg cannot be written: the disk is full (name another folder)
    """

    exit_code = EXIT_FAILED

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.what} ({self.fix})" if self.fix else self.what


class UsageError(BenchError):
    """The request is wrong: an unknown name, a value that is not allowed, two options that exclude each other.

    >>> print(UsageError("lr=-1 is out of range", fix="allowed: above 0"))
    lr=-1 is out of range (allowed: above 0)
    """

    exit_code = EXIT_USAGE


class PluginError(BenchError):
    """A plugin is broken: it cannot be imported, hangs, or yields an invalid entry.

    >>> print(PluginError("bench_parts is not marked with @hookimpl", fix="from harness.api import hookimpl"))
    bench_parts is not marked with @hookimpl (from harness.api import hookimpl)
    """

    exit_code = EXIT_BROKEN


class StoreError(BenchError):
    """A file that the harness wrote or is to write cannot be used: no permission, disk full, locked, corrupt, edited.

    >>> print(StoreError("runs/run-1f is locked by process 4711", fix="wait for it to end, or name another --runs"))
    runs/run-1f is locked by process 4711 (wait for it to end, or name another --runs)
    """


class DamagedError(StoreError):
    """A file that the harness wrote has other content now: it was cut off, garbled or edited.

    >>> print(DamagedError("record.json was edited: its hash differs", fix="--force runs the trial again"))
    record.json was edited: its hash differs (--force runs the trial again)
    """


class RejectedError(BenchError):
    """The submission broke a rule of the benchmark; its trial ends with the status `rejected`.

    >>> print(RejectedError("step() drew no data", fix="call work.draw() in every step"))
    step() drew no data (call work.draw() in every step)
    """


class DataError(BenchError):
    """A dataset, or a file with data to import, is missing, damaged or in another format than expected.

    >>> print(DataError("the dataset mnist is missing", fix="bench data get mnist"))
    the dataset mnist is missing (bench data get mnist)
    """


def suggest_nearest(name: str, known: Iterable[str]) -> str:
    """The hint `; did you mean 'x'?` with the names that contain this one as a word, or else the nearest one.

    Returns:
        The hint, or an empty string where no name is close.

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
    """The error for a name that does not exist, with the nearest name and all known ones.

    >>> print(unknown_name_error("ruleset", "quik", ["quick", "external"]))
    unknown ruleset 'quik'; did you mean 'quick'? (known: external, quick)
    """
    names = sorted(known)
    listed = ", ".join(names) if names else "none"
    return UsageError(f"unknown {kind} {name!r}{suggest_nearest(name, names)}", fix=f"known: {listed}")
