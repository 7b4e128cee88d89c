"""Cache the contents of plugins. Usually, a cached plugin is valid until one of its files changes."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from harness import __version__
from harness.contract.base import Data
from harness.errors import StoreError
from harness.plugins.contents import PluginContents, ReadRequest
from harness.plugins.reading import read_in_children, time_limit
from harness.system.files import cache_folder, read_struct

#: Version of the cache file's format.
_SCHEMA = 2
#: Maximum number of plugins, files and classes in the cache. If there are more, the oldest ones are removed.
_MAX_CACHED = 256
#: Seconds for which a plugin that took too long is not read again.
_TIMEOUT_EXPIRES_S = 3600.0
#: Folders of this package with the code that reads plugins. A change in these folders invalidates the cache.
_READER_FOLDERS = ("contract", "plugins")


class StampedRequest(Data, frozen=True, kw_only=True):
    """A request, and a hash (`stamp`) of the state of the files on which the answer depends."""

    request: ReadRequest
    stamp: str


class CachedPlugin(Data, frozen=True, kw_only=True):
    """The cached contents of one plugin.

    Args:
        stamp: hash of the state of the files from which the plugin was read.
        installed: hash of the state of the installed distributions. If this hash changes, a plugin with an error is
            read again.
        contents: the entries of the plugin, or the error.
        known: `kind:name` of the entries that the plugin offered when it was last read without an error.
        read_at: time of the reading, in seconds since 1970; 0 for contents that do not expire.
    """

    stamp: str
    installed: str
    contents: PluginContents
    known: tuple[str, ...] = ()
    read_at: float = 0.0


class _Cache(Data, frozen=True, kw_only=True):
    schema: int
    plugins: dict[str, CachedPlugin]


def read_plugins(requests: Mapping[str, StampedRequest], *, refresh: bool = False) -> dict[str, CachedPlugin]:
    """Return the contents of plugins: valid contents from the cache, all others from child processes.

    Args:
        requests: key in the cache -> request.
        refresh: whether to read all plugins in child processes, even if the cache is valid.

    Returns:
        A mapping from the keys in `requests` to the contents.

    Raises:
        UsageError: `BENCH_PLUGIN_TIMEOUT` is not a positive number of seconds.
    """
    limit = time_limit()
    installed = _installation_stamp()
    cached = _load_cache()
    stale = [
        key
        for key, stamped in requests.items()
        if refresh or (plugin := cached.get(key)) is None or not _is_valid(plugin, stamped.stamp, installed, limit)
    ]
    if not stale:
        return {key: cached[key] for key in requests}
    answers = read_in_children([requests[key].request for key in stale], limit)
    new_plugins: dict[str, CachedPlugin] = {}
    for key, contents in zip(stale, answers, strict=True):
        previous_plugin = cached.pop(key, None)
        known = contents.names if contents.error is None else previous_plugin.known if previous_plugin else ()
        stamp = requests[key].stamp
        # `limit_s` is the time limit that was exceeded, or 0.
        timed_out = requests[key].request.target_kind == "plugin" and contents.limit_s > 0
        new_plugins[key] = CachedPlugin(
            stamp=stamp,
            installed=installed,
            contents=contents,
            known=known,
            read_at=time.time() if timed_out else 0.0,
        )
        was_good = previous_plugin is not None and previous_plugin.stamp == stamp and not previous_plugin.contents.error
        # The kind of an error decides whether it is cached:
        # - A lasting error of a plugin is cached.
        # - An error of a file or class is not cached, because the author is probably still editing the file.
        # - A transient error is not cached, because it must not outlive its cause. Earlier contents stay in the cache.
        # - If a plugin took too long, its error is cached for an hour. Otherwise every command would wait.
        #   If the same files of the plugin were read without an error before, these contents stay instead.
        if (
            contents.error is None
            or (requests[key].request.target_kind == "plugin" and not contents.is_transient)
            or (timed_out and not was_good)
        ):
            cached[key] = new_plugins[key]
        elif contents.is_transient and previous_plugin is not None:
            cached[key] = previous_plugin
    _save_cache(cached)
    return {key: new_plugins[key] if key in new_plugins else cached[key] for key in requests}


# --- stamps ---------------------------------------------------------------------------------------------------------


def stamp(items: Iterable[object]) -> str:
    """Return a hash of these items, the Python version, and the state of the code that reads plugins."""
    return hashlib.sha256("\n".join(map(str, [*items, sys.version, _reader_hash()])).encode()).hexdigest()


@functools.cache
def _reader_hash() -> str:
    """Return a hash of this package's version and of the state of every file in `_READER_FOLDERS`."""
    package = Path(__file__).parents[1]
    files = [path for folder in _READER_FOLDERS for path in sorted((package / folder).rglob("*.py"))]
    return hashlib.sha256("\n".join([__version__, *map(file_state, files)]).encode()).hexdigest()


def file_state(path: Path) -> str:
    """Return the path, modification time and size of a file in one line."""
    try:
        status = path.stat()
    except OSError:
        return f"{path} missing"
    return f"{path} {status.st_mtime_ns} {status.st_size}"


def _installation_stamp() -> str:
    """Return a hash that changes when a distribution is installed or removed."""
    return stamp(file_state(Path(entry)) for entry in sys.path if entry.endswith("-packages"))


def _is_valid(cached: CachedPlugin, stamp: str, installed: str, limit: float) -> bool:
    """Return whether cached contents are valid.

    A cached error becomes invalid when a distribution is installed or removed, because a missing library may have
    caused the error. A plugin that took too long is read again if the time limit is longer now, or after an hour.
    """
    contents = cached.contents
    if contents.limit_s and (limit > contents.limit_s or not 0 <= time.time() - cached.read_at < _TIMEOUT_EXPIRES_S):
        return False
    return cached.stamp == stamp and (contents.error is None or cached.installed == installed)


# --- the file -------------------------------------------------------------------------------------------------------


def _load_cache() -> dict[str, CachedPlugin]:
    # If the cache cannot be read, all plugins are read again, and the file is replaced.
    with contextlib.suppress(OSError, RuntimeError, StoreError):
        cache = read_struct(cache_folder() / "plugins.json", _Cache)
        if cache.schema == _SCHEMA:
            return cache.plugins
    return {}


def _save_cache(plugins: dict[str, CachedPlugin]) -> None:
    newest = dict(list(plugins.items())[-_MAX_CACHED:])
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
