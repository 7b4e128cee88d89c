"""The command line `bench`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `bench` and exit. An error that the user can correct is printed as one line without a traceback."""
    sys.exit(invoke(list(sys.argv[1:] if arguments is None else arguments)))


def invoke(arguments: list[str]) -> int:
    """Run `bench` and return its exit code.

    The code is 0 for success, 1 for a failure, 2 for wrong usage, 3 for a broken plugin or an internal error, 4 for an
    undecided gate, and 130 for an interruption.
    """
    import os

    import click

    from harness.cli.app import app
    from harness.errors import EXIT_BROKEN, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, BenchError

    try:
        _require_usable(arguments)
        code = app.main(arguments, prog_name="bench", standalone_mode=False)
    except BenchError as error:
        _print_error(str(error))
        return error.exit_code
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        _print_error(error.format_message())
        return EXIT_USAGE
    except KeyboardInterrupt:
        _print_error("stopped")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The program that reads stdout has closed the pipe, so the rest of the output is discarded.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception as error:
        if os.environ.get("BENCH_DEBUG"):
            raise
        if isinstance(error, OSError) and error.filename:
            # The file system refused a name or path that a user gave, or that follows from it.
            _print_error(f"cannot access {os.fsdecode(error.filename)}: {error.strerror} (give another path)")
            return EXIT_FAILED
        _print_error(f"internal error: {type(error).__name__}: {error} (set BENCH_DEBUG=1 to see the traceback)")
        return EXIT_BROKEN
    return code if isinstance(code, int) else EXIT_OK


def _require_usable(arguments: list[str]) -> None:
    """Raise UsageError if an argument contains a character that no name of a file or plugin can contain."""
    from harness.errors import UsageError
    from harness.system.files import find_unusable_character

    for argument in arguments:
        if problem := find_unusable_character(argument):
            raise UsageError(f"the argument {argument!r} contains {problem}", fix="correct the argument")


def _print_error(message: str) -> None:
    from harness.errors import MAX_MESSAGE, limit_message

    # The message of click quotes the command line, which can contain any character.
    print(f"bench: {limit_message(message, MAX_MESSAGE - len('bench: '))}", file=sys.stderr)
