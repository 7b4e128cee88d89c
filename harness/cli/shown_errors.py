"""Show the error of a command on stderr as one line of text or of JSON."""

from __future__ import annotations

import errno
import itertools
import json
import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.cli.output import SCHEMA
from harness.cli.streams import output_failure
from harness.errors import EXIT_BROKEN, EXIT_FAILED, EXIT_USAGE, MAX_MESSAGE, BenchError, limit_message

#: Errors are printed as JSON if `bench` gets this option or the environment variable below is set.
JSON_ERRORS_OPTION = "--json-errors"
JSON_ERRORS_VARIABLE = "BENCH_JSON_ERRORS"
#: Maximum number of problems that a message lists.
MAX_PROBLEMS = 8


@dataclass(frozen=True, kw_only=True)
class ShownError:
    """An error as the command line shows it.

    Args:
        kind: `Interrupted`, `InternalError`, or the name of a subclass of `BenchError`.
        exit_code: the exit code of the command.
        what: description of the request and of the problem.
        fix: the remedy; None if no remedy is known.
        problems: the problems with their remedies if there are several; otherwise empty.
    """

    kind: str
    exit_code: int
    what: str
    fix: str | None = None
    problems: tuple[BenchError, ...] = ()


#: A function that shows an error to the user.
ShowError: TypeAlias = Callable[[ShownError], None]


def choose_printer(arguments: Sequence[str], commands: Collection[str]) -> ShowError:
    """Return the function that prints errors, as JSON if the user asks for it.

    The user sets `JSON_ERRORS_VARIABLE`, or gives `JSON_ERRORS_OPTION` before the name of the command.

    Args:
        arguments: the arguments of `bench`.
        commands: the names of the commands.
    """
    before_command = itertools.takewhile(lambda argument: argument not in commands, arguments)
    as_json = os.environ.get(JSON_ERRORS_VARIABLE, "0") not in ("", "0") or JSON_ERRORS_OPTION in before_command
    return _print_json if as_json else _print_line


def describe_unexpected(error: Exception) -> ShownError | None:
    """Return the description of an error that is not a BenchError, or None if `harness.cli.invoke` reports it.

    With the environment variable `BENCH_DEBUG`, raise the error again, so that its traceback is shown.
    """
    if isinstance(error, OSError) and output_failure() is not None:
        return None
    if os.environ.get("BENCH_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        return ShownError(
            kind="StoreError",
            exit_code=EXIT_FAILED,
            what=f"cannot access {error.filename}: {error.strerror}",
            fix="check the path, its permissions and the free space",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOMEM):
        return ShownError(
            kind="StoreError",
            exit_code=EXIT_FAILED,
            what=f"the system has reached a limit: {error.strerror}",
            fix="free space, memory or open files, then repeat the command",
        )
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        # The text is an argument or comes from the file system. Their encodings may differ from that of the harness.
        return ShownError(
            kind="UsageError",
            exit_code=EXIT_USAGE,
            what=f"{error.object!r} is not text in UTF-8",
            fix="rename the file or folder, or set PYTHONUTF8=1",
        )
    return ShownError(
        kind="InternalError",
        exit_code=EXIT_BROKEN,
        what=f"internal error: {type(error).__name__}: {error}",
        fix="set BENCH_DEBUG=1 to see the traceback",
    )


def _print_line(error: ShownError) -> None:
    if error.problems:
        print(_format_problems(error.problems), file=sys.stderr)
        return
    # A message from click quotes the command line, which can contain any character.
    text = f"{error.what} ({error.fix})" if error.fix else error.what
    print(f"bench: {limit_message(text, MAX_MESSAGE - len('bench: '))}", file=sys.stderr)


def _format_problems(problems: Sequence[BenchError]) -> str:
    """Return several problems as text, one per line. The whole text is not longer than `MAX_MESSAGE`."""
    shown = problems[:MAX_PROBLEMS]
    limit = (MAX_MESSAGE - 100) // len(shown) - len("\n  ")
    lines = [f"bench: {len(problems)} problems", *(f"  {limit_message(str(problem), limit)}" for problem in shown)]
    if len(shown) < len(problems):
        lines.append(f"  and {len(problems) - len(shown)} more; --json-errors lists all")
    return "\n".join(lines)


def _print_json(error: ShownError) -> None:
    """Print an error as one line of JSON. Characters outside ASCII are escaped."""
    fields = {
        "kind": error.kind,
        "exit_code": error.exit_code,
        "what": limit_message(error.what),
        "fix": error.fix,
        "problems": [{"what": problem.what, "fix": problem.fix} for problem in error.problems],
    }
    print(json.dumps({"schema": SCHEMA, "error": fields}), file=sys.stderr)
