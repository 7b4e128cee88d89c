"""Read plugins in child processes with a time limit. A plugin that hangs or crashes then causes only a message."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import msgspec

from harness.errors import StoreError, UsageError
from harness.plugins.contents import PluginContents, ReadRequest
from harness.system import python_process
from harness.system.files import read_struct
from harness.system.process_tree import read_processor_wait

#: Number of bytes at the end of a child's stderr that are searched for the last line.
_ERROR_BYTES = 4096

#: Name of the environment variable that sets the time limit of a child process in seconds.
TIMEOUT_VARIABLE = "BENCH_PLUGIN_TIMEOUT"
_DEFAULT_TIMEOUT_S = 20.0
_POLL_INTERVAL_S = 0.005


def time_limit() -> float:
    """Return the time limit of a child process in seconds.

    Raises:
        UsageError: the environment variable `BENCH_PLUGIN_TIMEOUT` is not a positive number.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        limit = float(text or _DEFAULT_TIMEOUT_S)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e6:
        problem = f"{TIMEOUT_VARIABLE}={text} must be a positive number of seconds"
        raise UsageError(problem, fix=f"set {TIMEOUT_VARIABLE}={_DEFAULT_TIMEOUT_S:g}, or unset it")
    return limit


def read_in_children(requests: Sequence[ReadRequest], limit: float) -> list[PluginContents]:
    """Read the target of each request in a separate process. Several of these processes run at once.

    If a process fails, the failure is returned as `PluginContents.error`.

    Args:
        requests: the requests.
        limit: time limit of each process in seconds.

    Returns:
        The contents, in the order of the requests.
    """
    answers: dict[int, PluginContents] = {}
    waiting = list(enumerate(requests))
    running: dict[int, _Child] = {}
    capacity = max(4, os.cpu_count() or 1)
    with _temporary_folder() as folder:
        try:
            while waiting or running:
                while waiting and len(running) < capacity:
                    index, request = waiting.pop(0)
                    try:
                        running[index] = _Child(request, limit, folder / str(index))
                    except OSError as error:
                        answers[index] = _transient_error(f"the process that reads it cannot be started: {error}")
                ended = [index for index, child in running.items() if child.has_ended()]
                for index in ended:
                    answers[index] = running.pop(index).read_answer()
                if running and not ended:
                    time.sleep(_POLL_INTERVAL_S)
        finally:
            for child in running.values():
                child.kill()
    return [answers[index] for index in range(len(requests))]


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Create a temporary folder, and remove it at the end of the context.

    Raises:
        StoreError: no folder for temporary files can be written.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="algorace-", ignore_cleanup_errors=True)
    except OSError as error:
        problem = f"plugins cannot be read: no temporary folder can be created ({error.strerror or error})"
        raise StoreError(problem, fix="free some space, or set TMPDIR to a folder that is writable") from None
    with folder as name:
        yield Path(name)


def _transient_error(error: str) -> PluginContents:
    """Return the contents of a plugin whose process gave no valid answer. The error counts as transient."""
    return PluginContents(error=error, is_transient=True)


class _Child:
    """A process that reads one plugin. The process answers in a file, because the plugin may print to stdout."""

    def __init__(self, request: ReadRequest, limit: float, folder: Path) -> None:
        folder.mkdir()
        self._limit = limit
        self._answer, self._errors = folder / "answer.json", folder / "stderr"
        job = msgspec.structs.replace(request, path=python_process.import_path(), limit=limit)
        (folder / "request.json").write_bytes(msgspec.json.encode(job))
        with open(self._errors, "wb") as errors:
            self._process = self._start(folder, errors)
        self._deadline = time.monotonic() + limit
        self._timed_out = False

    @staticmethod
    def _start(folder: Path, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            python_process.command("harness.plugins.child", str(folder)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=python_process.environment(),
            start_new_session=True,  # so that the processes that the plugin starts can be killed, too
        )

    def has_ended(self) -> bool:
        """Return whether the process has ended. A process that exceeds its time limit is killed."""
        if self._process.poll() is not None:
            return True
        # The time for which the process waited for a processor does not count. It may be long on a busy machine.
        if time.monotonic() < self._deadline + read_processor_wait(self._process.pid):
            return False
        self._timed_out = True
        self.kill()
        return True

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def read_answer(self) -> PluginContents:
        """Return the answer of a process that has ended. Without an answer, return an error."""
        if self._answer.exists():
            try:
                return read_struct(self._answer, PluginContents)
            except StoreError as error:
                return _transient_error(f"its entries cannot be decoded: {error.what}")
        code = self._process.returncode
        if self._timed_out:
            return PluginContents(
                error=f"it took longer than {self._limit:g} s to import",
                fix=f"set {TIMEOUT_VARIABLE} to a larger number of seconds; then run bench plugins --refresh",
                is_transient=True,
                limit_s=self._limit,
            )
        if code < 0:
            return _transient_error(f"importing it ended the process with {_signal_name(-code)}")
        return _transient_error(f"importing it ended the process with exit code {code}{self._last_error_line()}")

    def _last_error_line(self) -> str:
        """Return `: ` and the last line that the process wrote to stderr, or an empty string."""
        with open(self._errors, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _ERROR_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:200]}" if last else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
