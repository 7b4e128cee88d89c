"""What plugins offer, read in child processes with a time limit, and cached."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

import msgspec

from harness import __version__
from harness.contract.base import Data
from harness.contract.entries import DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry
from harness.errors import UsageError
from harness.system import python_process

TIMEOUT_VARIABLE = "BENCH_PLUGIN_TIMEOUT"
CACHE_VARIABLE = "BENCH_CACHE"
_DEFAULT_TIMEOUT = 20.0
_SCHEMA = 1
#: Readings kept: enough for several environments and a day's files; the oldest go first.
_KEPT = 256
_POLL_SECONDS = 0.005
#: Folders of this package whose code decides what a reading says; a new file in one of them counts by itself.
_READERS = ("contract", "plugins")


class CacheRequest(Data, frozen=True, kw_only=True):
    """What a child is to read.

    Args:
        action: an entry point's value, a file for one kind of entry, or a class.
        target: that value, path or class.
        title: what the plugin is registered as.
        wanted: the name in the file, when one was given.
        path: `sys.path` of the asking process.
        limit: seconds after which the child ends itself, should nobody else do so.
    """

    action: Literal["plugin", "submission", "workload", "class"]
    target: str
    title: str = ""
    wanted: str | None = None
    path: tuple[str, ...] = ()
    limit: float = _DEFAULT_TIMEOUT


class PluginContents(Data, frozen=True, kw_only=True):
    """What a child has read, all of it validated; or the error, one line."""

    hooks: tuple[str, ...] = ()
    workloads: tuple[WorkloadEntry, ...] = ()
    submissions: tuple[SubmissionEntry, ...] = ()
    parts: tuple[PartEntry, ...] = ()
    executors: tuple[ExecutorEntry, ...] = ()
    datasets: tuple[DatasetEntry, ...] = ()
    error: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """`kind:name` of everything offered, as it is remembered of a plugin that breaks later."""
        return (
            *(f"workload:{entry.name}" for entry in self.workloads),
            *(f"submission:{entry.name}" for entry in self.submissions),
            *(f"part:{entry.id}" for entry in self.parts),
            *(f"executor:{entry.name}" for entry in self.executors),
            *(f"dataset:{entry.name}" for entry in self.datasets),
        )


class PluginRequest(Data, frozen=True, kw_only=True):
    """A request, and the state of the files that its answer depends on."""

    request: CacheRequest
    stamp: str


class CachedPlugin(Data, frozen=True, kw_only=True):
    """One answer as it is cached.

    Args:
        stamp: state of the files it was read from.
        installed: state of the installation, which decides whether a failure is worth another try.
        known: what the last reading without an error offered.
    """

    stamp: str
    installed: str
    offer: PluginContents
    known: tuple[str, ...] = ()


class _Cache(Data, frozen=True, kw_only=True):
    schema: int
    read_plugins: dict[str, CachedPlugin]


def read_plugins(wanted: Mapping[str, PluginRequest], *, refresh: bool = False) -> dict[str, CachedPlugin]:
    """The reading of everything wanted: from the cache where that still holds, otherwise from child processes.

    Raises:
        UsageError: the time limit in the environment is not a number of seconds.
    """
    limit = time_limit()
    installed = _installed()
    cached = _load()
    stale = [
        key
        for key, want in wanted.items()
        if refresh or (old := cached.get(key)) is None or not _holds(old, want.stamp, installed)
    ]
    if not stale:
        return {key: cached[key] for key in wanted}
    offers = read_in_children([wanted[key].request for key in stale], limit)
    fresh: dict[str, CachedPlugin] = {}
    for key, offer in zip(stale, offers, strict=True):
        old = cached.pop(key, None)
        known = offer.names if offer.error is None else old.known if old else ()
        fresh[key] = CachedPlugin(stamp=wanted[key].stamp, installed=installed, offer=offer, known=known)
        # A file that does not run is read again each time: its author is working on it.
        if wanted[key].request.action == "plugin" or offer.error is None:
            cached[key] = fresh[key]
    _save(cached)
    return {key: fresh[key] if key in fresh else cached[key] for key in wanted}


def time_limit() -> float:
    """Seconds that a child may take.

    Raises:
        UsageError: the environment says something else than a positive number.
    """
    text = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        limit = float(text or _DEFAULT_TIMEOUT)
    except ValueError:
        limit = 0.0
    if not 0 < limit < 1e6:
        raise UsageError(f"{TIMEOUT_VARIABLE}={text} must be a positive number of seconds")
    return limit


# --- cache ----------------------------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where readings are cached."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("algorace"))


def stamp(items: Iterable[object]) -> str:
    """A digest of what a reading depends on; the Python version and this package's readers are always among it."""
    return hashlib.sha256("\n".join(map(str, [*items, sys.version, _readers()])).encode()).hexdigest()


@functools.cache
def _readers() -> str:
    """A digest of the code that reads plugins: the package's version, and the state of every file of `_READERS`."""
    own = Path(__file__).parents[1]
    parts = [__version__, *(file_state(path) for name in _READERS for path in sorted((own / name).rglob("*.py")))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def file_state(path: Path) -> str:
    """Path, modification time and size of a file."""
    try:
        state = path.stat()
    except OSError:
        return f"{path} missing"
    return f"{path} {state.st_mtime_ns} {state.st_size}"


def _holds(old: CachedPlugin, stamp: str, installed: str) -> bool:
    return old.stamp == stamp and (old.offer.error is None or old.installed == installed)


def _installed() -> str:
    """Changes when anything is installed: what was missing may be there now."""
    folders = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
    return stamp(file_state(folder) for folder in folders)


def _load() -> dict[str, CachedPlugin]:
    # A cache that cannot be read is no error: everything is read anew, and the file is written over.
    with contextlib.suppress(OSError, RuntimeError, msgspec.MsgspecError, UnicodeDecodeError):
        cache = msgspec.json.decode((cache_folder() / "plugins.json").read_bytes(), type=_Cache)
        if cache.schema == _SCHEMA:
            return cache.read_plugins
    return {}


def _save(cached: dict[str, CachedPlugin]) -> None:
    kept = dict(list(cached.items())[-_KEPT:])
    content = msgspec.json.encode(_Cache(schema=_SCHEMA, read_plugins=kept))
    with contextlib.suppress(OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=".plugins-", suffix=".tmp", dir=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, folder / "plugins.json")
        except BaseException:
            os.unlink(temporary)
            raise


# --- children -------------------------------------------------------------------------------------------------------


def read_in_children(requests: Sequence[CacheRequest], limit: float) -> list[PluginContents]:
    """Read each request in a process of its own, several at once; what goes wrong there becomes an error here."""
    offers: dict[int, PluginContents] = {}
    waiting = list(enumerate(requests))
    running: dict[int, _Child] = {}
    at_once = max(4, os.cpu_count() or 1)
    with tempfile.TemporaryDirectory(prefix="algorace-", ignore_cleanup_errors=True) as folder:
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    index, request = waiting.pop(0)
                    running[index] = _Child(request, limit, Path(folder, str(index)))
                ended = [index for index, child in running.items() if child.ended()]
                for index in ended:
                    offers[index] = running.pop(index).offer()
                if not ended:
                    time.sleep(_POLL_SECONDS)
        finally:
            for child in running.values():
                child.kill()
    return [offers[index] for index in range(len(requests))]


class _Child:
    """One process that reads one plugin. Answers come as a file, since a plugin may print."""

    def __init__(self, request: CacheRequest, limit: float, folder: Path) -> None:
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
            start_new_session=True,  # so that it ends with whatever it started
        )

    def ended(self) -> bool:
        if self._process.poll() is not None:
            return True
        if time.monotonic() < self._deadline:
            return False
        self._timed_out = True
        self.kill()
        return True

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def offer(self) -> PluginContents:
        if self._answer.exists():
            try:
                return msgspec.json.decode(self._answer.read_bytes(), type=PluginContents)
            except msgspec.MsgspecError as error:
                return PluginContents(error=f"it cannot be read: {error}")
        code = self._process.returncode
        if self._timed_out:
            return PluginContents(
                error=f"it took longer than {self._limit:g} s to import ({TIMEOUT_VARIABLE} sets the limit)"
            )
        if code < 0:
            return PluginContents(error=f"importing it ended the process with {_signal_name(-code)}")
        return PluginContents(error=f"importing it ended the process with exit code {code}{self._last_words()}")

    def _last_words(self) -> str:
        lines = self._errors.read_text(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last[:200]}" if last else ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
