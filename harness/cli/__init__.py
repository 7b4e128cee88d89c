"""The command line `bench`."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `bench` and exit. An error that the user can correct is printed as one line without a traceback."""
    from harness.cli.streams import prepare_streams

    prepare_streams()
    sys.exit(invoke(list(sys.argv[1:] if arguments is None else arguments)))


def invoke(arguments: list[str]) -> int:
    """Run `bench` and return its exit code.

    The code is 0 for success, 1 for a failure, 2 for wrong usage, 3 for a broken plugin or an internal error, 4 for an
    undecided gate, and 130 for an interruption. It is 1 if standard output cannot be written, unless the reader of a
    pipe has closed the pipe.
    """
    from harness.cli.streams import flush_output
    from harness.errors import EXIT_FAILED

    code = _run_app(arguments)
    error = flush_output()
    if error is None or isinstance(error, BrokenPipeError):
        return code
    _print_error(
        f"cannot write to standard output: {error.strerror or error} (redirect it to a file on a disk with free space)"
    )
    return code or EXIT_FAILED


def _run_app(arguments: list[str]) -> int:
    """Run the application and return its exit code. Errors in writing to standard output are left to the caller."""
    import errno

    import click

    from harness.cli.app import app
    from harness.errors import EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, BenchError

    streams = sys.stdout, sys.stderr
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
    except SystemExit:
        # If stdout or stderr is a closed pipe, click replaces the streams and exits.
        if sys.stdout is streams[0]:
            raise
        sys.stdout, sys.stderr = streams
        return _report_unexpected(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    except Exception as error:
        return _report_unexpected(error)
    return code if isinstance(code, int) else EXIT_OK


def _report_unexpected(error: Exception) -> int:
    """Print an error that is not a BenchError, in one line, and return the exit code."""
    import errno
    import os

    from harness.cli.streams import output_failure
    from harness.errors import EXIT_BROKEN, EXIT_FAILED, EXIT_OK, EXIT_USAGE

    if isinstance(error, OSError) and output_failure() is not None:
        return EXIT_OK  # `invoke` reports the failure
    if os.environ.get("BENCH_DEBUG"):
        raise error
    if isinstance(error, OSError) and error.filename is not None:
        problem = f"cannot access {error.filename}: {error.strerror}"
        _print_error(f"{problem} (check the path, its permissions and the free space)")
        return EXIT_FAILED
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOMEM):
        _print_error(f"the system has reached a limit: {error.strerror} (free some of it and repeat the command)")
        return EXIT_FAILED
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        # The text is from an argument or the file system, which have other encodings than files of the harness.
        _print_error(f"{error.object!r} is not text in UTF-8 (rename the file or folder, or set PYTHONUTF8=1)")
        return EXIT_USAGE
    _print_error(f"internal error: {type(error).__name__}: {error} (set BENCH_DEBUG=1 to see the traceback)")
    return EXIT_BROKEN


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
