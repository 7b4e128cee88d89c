"""The command line `bench`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.cli.shown_errors import ShowError

#: The garbage collector runs after this number of new objects.
_GC_THRESHOLD = 100_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `bench` and exit. An error that the user can correct is printed as one line without a traceback."""
    import atexit
    import gc

    from harness.cli.streams import prepare_streams

    # Commands that read thousands of records create many objects and hardly any cycles. With the default threshold,
    # the collector takes a twentieth of the time of such a command.
    gc.set_threshold(_GC_THRESHOLD)
    # At exit, the collector would visit all objects several times, although the process frees its memory anyway.
    atexit.register(gc.freeze)
    prepare_streams()
    # `import harness.cli.list` binds the name `list` of this package to the module, so the built-in `list` is not used.
    sys.exit(invoke([*(sys.argv[1:] if arguments is None else arguments)]))


def invoke(arguments: list[str]) -> int:
    """Run `bench` and return its exit code.

    - 0: success
    - 1: a failure
    - 2: wrong usage
    - 3: a broken plugin or an internal error
    - 4: an undecided gate
    - 130: an interruption

    If standard output cannot be written, a code of 0 becomes 1. If the reader of a pipe has closed the pipe, the code
    does not change.
    """
    from harness.cli.app import COMMANDS
    from harness.cli.shown_errors import ShownError, choose_printer
    from harness.cli.streams import flush_output
    from harness.errors import EXIT_FAILED

    show = choose_printer(arguments, COMMANDS)
    code = _run_app(arguments, show)
    error = flush_output()
    if error is None or isinstance(error, BrokenPipeError):
        return code
    show(
        ShownError(
            kind="StoreError",
            exit_code=code or EXIT_FAILED,
            what=f"cannot write to standard output: {error.strerror or error}",
            fix="redirect the output to a file on a disk with free space",
        )
    )
    return code or EXIT_FAILED


def _run_app(arguments: list[str], show: ShowError) -> int:
    """Run the application and return its exit code. Errors in writing to standard output are left to the caller."""
    import errno

    import click

    from harness.cli.app import app
    from harness.cli.shown_errors import ShownError, describe_unexpected
    from harness.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, BenchError

    streams = sys.stdout, sys.stderr
    shown: ShownError | None
    try:
        _require_usable(arguments)
        code = app.main(arguments, prog_name="bench", standalone_mode=False)
    except BenchError as error:
        shown = ShownError(
            kind=type(error).__name__,
            exit_code=error.exit_code,
            what=error.what,
            fix=error.fix,
            problems=error.problems,
        )
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        return EXIT_INTERRUPTED
    except click.ClickException as error:
        shown = ShownError(kind="UsageError", exit_code=EXIT_USAGE, what=" ".join(error.format_message().split()))
    except KeyboardInterrupt:
        shown = ShownError(kind="Interrupted", exit_code=EXIT_INTERRUPTED, what="stopped")
    except SystemExit:
        # If stdout or stderr is a closed pipe, click replaces the streams and exits.
        if sys.stdout is streams[0]:
            raise
        sys.stdout, sys.stderr = streams
        shown = describe_unexpected(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    except Exception as error:
        shown = describe_unexpected(error)
    else:
        return code if isinstance(code, int) else EXIT_OK
    if shown is None:
        return EXIT_OK
    show(shown)
    return shown.exit_code


def _require_usable(arguments: list[str]) -> None:
    """Raise a UsageError if an argument contains a character that cannot occur in the name of a file or plugin."""
    from harness.errors import UsageError
    from harness.system.files import find_unusable_character

    for argument in arguments:
        if problem := find_unusable_character(argument):
            raise UsageError(f"the argument {argument!r} contains {problem}", fix="correct the argument")
