"""The contents of plugins, cached for as long as the files that they were read from stay the same."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from harness import __version__
from harness.contract.base import Data
from harness.plugins.contents import PluginContents, ReadRequest
from harness.plugins.reading import read_in_children, time_limit

CACHE_VARIABLE = "BENCH_CACHE"
_SCHEMA = 2
#: Plugins that the cache holds, the oldest leave first: enough for several environments and a day's files.
_CAPACITY = 256
#: Folders of this package whose code decides what is read from a plugin; a new file in them voids the cache, too.
_READER_FOLDERS = ("contract", "plugins")


class StampedRequest(Data, frozen=True, kw_only=True):
    """A request, with the state of the files that its answer depends on."""

    request: ReadRequest
    stamp: str


class CachedPlugin(Data, frozen=True, kw_only=True):
    """The contents of one plugin as they are cached.

    Args:
        stamp: state of the files that it was read from.
        installed: state of the installation; when that has changed, a plugin that failed is read again.
        contents: what was read.
        known: `kind:name` of what the plugin offered when it was last read without an error.
    """

    stamp: str
    installed: str
    contents: PluginContents
    known: tuple[str, ...] = ()


class _Cache(Data, frozen=True, kw_only=True):
    schema: int
    plugins: dict[str, CachedPlugin]


def read_plugins(requests: Mapping[str, StampedRequest], *, refresh: bool = False) -> dict[str, CachedPlugin]:
    """Read what is requested: from the cache where that is still valid, else in child processes.

    Args:
        requests: requests by the key under which the cache holds their answers.
        refresh: read everything in child processes.

    Raises:
        UsageError: the time limit in the environment is not a positive number of seconds.
    """
    limit = time_limit()
    installed = _installation_stamp()
    cached = _load_cache()
    stale = [
        key
        for key, stamped in requests.items()
        if refresh or (plugin := cached.get(key)) is None or not _is_valid(plugin, stamped.stamp, installed)
    ]
    if not stale:
        return {key: cached[key] for key in requests}
    answers = read_in_children([requests[key].request for key in stale], limit)
    fresh: dict[str, CachedPlugin] = {}
    for key, contents in zip(stale, answers, strict=True):
        previous = cached.pop(key, None)
        known = contents.names if contents.error is None else previous.known if previous else ()
        stamp = requests[key].stamp
        fresh[key] = CachedPlugin(stamp=stamp, installed=installed, contents=contents, known=known)
        # A file with an error is read again each time: its author is working on it.
        if requests[key].request.action == "plugin" or contents.error is None:
            cached[key] = fresh[key]
    _save_cache(cached)
    return {key: fresh[key] if key in fresh else cached[key] for key in requests}


def cache_folder() -> Path:
    """The folder of the cache: `BENCH_CACHE`, or the platform's cache folder."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("algorace"))


# --- stamps ---------------------------------------------------------------------------------------------------------


def stamp(items: Iterable[object]) -> str:
    """A hash of what an answer depends on; the Python version and the code that reads plugins are always included."""
    return hashlib.sha256("\n".join(map(str, [*items, sys.version, _reader_hash()])).encode()).hexdigest()


@functools.cache
def _reader_hash() -> str:
    """A hash of the code that reads plugins: this package's version, and the state of every file in its folders."""
    package = Path(__file__).parents[1]
    files = [path for folder in _READER_FOLDERS for path in sorted((package / folder).rglob("*.py"))]
    return hashlib.sha256("\n".join([__version__, *map(file_state, files)]).encode()).hexdigest()


def file_state(path: Path) -> str:
    """Path, modification time and size of a file, in one line."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} missing"
    return f"{path} {status.st_mtime_ns} {status.st_size}"


def _installation_stamp() -> str:
    """A hash that changes when a distribution is installed or removed."""
    return stamp(file_state(Path(entry)) for entry in sys.path if entry.endswith("-packages"))


def _is_valid(cached: CachedPlugin, stamp: str, installed: str) -> bool:
    """Whether cached contents may be used. An error may be due to a missing library, so a new installation voids it."""
    return cached.stamp == stamp and (cached.contents.error is None or cached.installed == installed)


# --- the file -------------------------------------------------------------------------------------------------------


def _load_cache() -> dict[str, CachedPlugin]:
    # A cache that cannot be read is not an error: everything is read again, and the file is replaced.
    with contextlib.suppress(OSError, RuntimeError, msgspec.MsgspecError, UnicodeDecodeError):
        cache = msgspec.json.decode((cache_folder() / "plugins.json").read_bytes(), type=_Cache)
        if cache.schema == _SCHEMA:
            return cache.plugins
    return {}


def _save_cache(plugins: dict[str, CachedPlugin]) -> None:
    newest = dict(list(plugins.items())[-_CAPACITY:])
    content = msgspec.json.encode(_Cache(schema=_SCHEMA, plugins=newest))
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
