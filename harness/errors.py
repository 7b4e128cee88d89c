"""The errors that users read. Each message tells what was requested, what is wrong and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from itertools import accumulate

#: Exit codes of `bench`.
EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BROKEN = 3
EXIT_INTERRUPTED = 130

#: Maximum number of characters of a message.
MAX_MESSAGE = 1500
#: Maximum numbers of characters of an error's `what` and `fix`. A message has both, and the program's name.
_MAX_WHAT, _MAX_FIX = 800, 650
#: Maximum number of characters of the problems that a combined error lists. The first problem is always listed.
_MAX_COMBINED = 270
#: Maximum number of characters of a list of known names.
_MAX_NAMES = 500
#: Maximum number of characters of an unknown name in a message. A longer name is not compared with the known names.
_MAX_UNKNOWN = 200
#: Characters that move the cursor, change colours or the writing direction, end a line, or cannot be encoded.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def escape_controls(text: str, keep: str = "") -> str:
    r"""Return a text in which every control character is written as a Python escape.

    Args:
        text: any text.
        keep: control characters that are kept, such as line breaks.

    >>> print(escape_controls("loss\x1b[31m\n"))
    loss\x1b[31m\n
    """
    return _CONTROLS.sub(lambda match: match[0] if match[0] in keep else ascii(match[0])[1:-1], text)


def limit_message(text: str, limit: int = MAX_MESSAGE) -> str:
    r"""Return a text that is safe to print as a message: of limited length and without control characters.

    Line breaks are kept. If the text is too long, its middle is left out. A message usually names the input at the
    beginning and the problem at the end.

    Args:
        text: any text. It may quote a file or name a path.
        limit: maximum number of characters.

    >>> print(limit_message("a\x1b[2J" + "b" * 100, 20))
    a\x1b[2Jbb…bbbbbbbbb
    """
    # Escaping takes time and makes a text longer, so a very long text is cut first.
    shown = escape_controls(text if len(text) <= 2 * limit else f"{text[:limit]}…{text[-limit:]}", keep="\n")
    return shown if len(shown) <= limit else f"{shown[: limit // 2]}…{shown[len(shown) - (limit - 1) // 2 :]}"


class BenchError(Exception):
    """Base class of all errors of the benchmark. An error has a problem and a fix, one line each.

    The command line prints the error as `what (fix)` and exits with `exit_code`. `what` and `fix` often quote a user's
    input. Their control characters are therefore escaped, and their length is limited.

    Args:
        what: description of the request and of the problem. One line without a full stop.
        fix: what the user can do, as a command if possible. One line without a full stop. None if no fix is known.

    >>> print(BenchError("curve.svg cannot be written: the disk is full", fix="choose another folder"))
    curve.svg cannot be written: the disk is full (choose another folder)
    """

    exit_code = EXIT_FAILED
    #: The errors that this error combines (see `combine_errors`); empty for a single error.
    problems: tuple[BenchError, ...] = ()

    def __init__(self, what: str, *, fix: str | None = None) -> None:
        self.what = _one_line(what, _MAX_WHAT)
        self.fix = None if fix is None else _one_line(fix, _MAX_FIX)
        super().__init__(self.what)

    def __str__(self) -> str:
        return f"{self.what} ({self.fix})" if self.fix else self.what


def _one_line(text: str, limit: int) -> str:
    return limit_message(text, limit).replace("\n", "\\n")


class UsageError(BenchError):
    """The user's request is invalid, for example because of an unknown name or a value that is not allowed.

    >>> print(UsageError("lr=-1 is out of range", fix="allowed: above 0"))
    lr=-1 is out of range (allowed: above 0)
    """

    exit_code = EXIT_USAGE


class PluginError(BenchError):
    """A plugin is broken: the import of its module fails or hangs, or one of its entries is invalid.

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


class TrialLockedError(StoreError):
    """Another process is running the trial.

    >>> print(TrialLockedError("process 4711 is already running this trial", fix="wait until it ends"))
    process 4711 is already running this trial (wait until it ends)
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


def combine_errors(errors: Sequence[BenchError]) -> BenchError:
    """Return one error that lists several errors. The user can then correct all of them at once.

    Args:
        errors: at least one error. A single error is returned as it is.

    Returns:
        An error of the class with the largest exit code. Its attribute `problems` contains all errors. Its text has one
        line and lists as many errors as fit.

    >>> errors = UsageError("lr=-1 is out of range", fix="use lr > 0"), DataError("no mnist", fix="get it")
    >>> error = combine_errors(errors)
    >>> print(error)
    2 problems: lr=-1 is out of range; no mnist (use lr > 0; get it)
    >>> [problem.what for problem in error.problems]
    ['lr=-1 is out of range', 'no mnist']
    """
    problems = list({error.what: error for error in errors}.values())
    if len(problems) == 1:
        return problems[0]
    shown = 1
    while shown < len(problems) and sum(len(problem.what) + 2 for problem in problems[: shown + 1]) <= _MAX_COMBINED:
        shown += 1
    more = f"; and {len(problems) - shown} more" if shown < len(problems) else ""
    fixes = list(dict.fromkeys(problem.fix for problem in problems[:shown] if problem.fix))
    # A long list of known names must leave room for the other fixes.
    fixes = [limit_message(fix, (_MAX_FIX - 2 * len(fixes)) // len(fixes)) for fix in fixes]
    worst = max(problems, key=lambda problem: problem.exit_code)
    combined = type(worst)(
        f"{len(problems)} problems: {'; '.join(problem.what for problem in problems[:shown])}{more}",
        fix="; ".join(fixes) or None,
    )
    combined.problems = tuple(problems)
    return combined


def suggest_nearest(name: str, known: Iterable[str]) -> str:
    """Return the hint `; did you mean 'x'?` for an unknown name.

    The hint suggests at most three known names that contain `name` as one of the words that hyphens separate. If there
    are none, the hint suggests known names with the same letters, or else the most similar known name.

    Args:
        name: the unknown name.
        known: the names that exist.

    Returns:
        The hint; "" if no known name is similar.

    >>> suggest_nearest("wsdd", ["wsd", "adamw-cosine"])
    "; did you mean 'wsd'?"
    >>> suggest_nearest("wds", ["wsd", "wdm"])
    "; did you mean 'wsd'?"
    >>> suggest_nearest("cosine", ["adamw-cosine", "cosine-power", "wsd"])
    "; did you mean 'adamw-cosine' or 'cosine-power'?"
    """
    known = sorted(known) if len(name) <= _MAX_UNKNOWN else []
    close = [candidate for candidate in known if name in candidate.split("-")][:3]
    # Two neighbouring letters may be swapped.
    close = close or [candidate for candidate in known if sorted(candidate) == sorted(name)][:3]
    close = close or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def unknown_name_error(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown name. The message suggests similar names and lists all known names.

    Args:
        kind: what the name should denote, such as `ruleset`.
        name: the unknown name.
        known: the names that exist.

    >>> print(unknown_name_error("ruleset", "quik", ["quick", "external"]))
    unknown ruleset 'quik'; did you mean 'quick'? (choose one of: external, quick)
    """
    names = sorted(known)
    fix = f"choose one of: {_join_names(names)}" if names else f"no {kind} exists"
    shown = name if len(name) <= _MAX_UNKNOWN else f"{name[: _MAX_UNKNOWN // 2]}…{name[-_MAX_UNKNOWN // 2 :]}"
    return UsageError(f"unknown {kind} {shown!r}{suggest_nearest(name, names)}", fix=fix)


def _join_names(names: list[str]) -> str:
    """Return a list of names as one line. A list that is too long ends with, for example, `and 7 more`."""
    lengths = accumulate(len(name) + len(", ") for name in names)
    shown = [name for name, length in zip(names, lengths, strict=True) if length <= _MAX_NAMES]
    return ", ".join(shown) + (f" and {len(names) - len(shown)} more" if len(shown) < len(names) else "")
