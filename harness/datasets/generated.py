"""A cache of generated arrays. Trials that need equal data do not generate the data again.

The arrays of one call of `cached_arrays` are stored in one file in the folder `generated` of the data folder. The name
of the file is the SHA-256 of everything that determines the arrays. The first line of the file contains the SHA-256 of
all bytes after this line. This hash is checked whenever the file is read. Readers map the file into memory, so the
workers of a machine share the memory pages.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.contract.base import Data
from harness.datasets.paths import data_folder
from harness.errors import StoreError
from harness.hardware import detect
from harness.plugins.source_hash import source_hash
from harness.system.files import open_atomically, open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDER = "generated"
#: Maximum total size of all cached files in bytes. If it is exceeded, the least recently read files are removed.
MAX_BYTES = 2 << 30
_SUFFIX = ".arrays"
#: Beginning of every cached file.
_MAGIC = b"algorace-arrays-1 "
#: Length of the first line in bytes: the magic word, 64 hexadecimal digits, and the newline character.
_LINE_BYTES = len(_MAGIC) + 65
#: Arrays begin at multiples of this number of bytes.
_ALIGNMENT = 64
#: A temporary file older than this number of seconds was left behind by a killed process.
_STALE_S = 3600.0
#: Arrays whose keys contain one of these texts are not stored by this process.
_excluded_texts: set[str] = set()


class StoredArray(Data, frozen=True, kw_only=True):
    """The description of an array in a cached file.

    Args:
        name: name of the array.
        dtype: type of the elements, as `numpy.dtype.str`.
        shape: shape of the array.
        offset: number of bytes from the beginning of the first array to the beginning of this array.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


class CacheUse(Data, frozen=True, kw_only=True):
    """The space that the cache occupies.

    Args:
        folder: path of the folder of the cache.
        entries: number of cached files.
        size: size of all cached files in bytes.
    """

    folder: str
    entries: int
    size: int


def cached_arrays(key: str, make: Callable[[], Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return generated arrays, from the cache if it contains them.

    The name of a cached file is a hash of four things:

    * the key
    * the processor's architecture and model
    * the version of numpy
    * the source of the module that defines `make`, and of the modules that it imports from its own package

    If one of these has changed, or if the file is damaged, the arrays are generated again. If the cache cannot be
    written, every call generates the arrays. Held-out data that are drawn from a run's nonce (its random number) are
    never stored, because a submission could read the cache.

    Args:
        key: text with all values that determine the arrays, such as seeds, counts and lengths.
        make: function that generates the arrays and returns them by name. The arrays may depend only on the key and the
            source code of this function.

    Returns:
        The arrays by name. They are read-only: copy an array before you pass it to `torch.from_numpy`.
    """
    path = data_folder() / FOLDER / f"{_file_name(key, make)}{_SUFFIX}"
    arrays = _read(path)
    if arrays is None:
        arrays = {name: _read_only(array) for name, array in make().items()}
        if not any(text in key for text in _excluded_texts):
            _store(path, arrays)
    return arrays


def exclude_from_cache(texts: Iterable[str]) -> None:
    """Stop this process from storing arrays whose keys contain one of these texts, such as seeds of secret data."""
    _excluded_texts.update(texts)


def _file_name(key: str, make: Callable[..., object]) -> str:
    """Return the name of a cached file without its suffix."""
    import numpy

    environment = (numpy.__version__, platform.machine(), detect.cpu_name())
    pieces = (key, _module_hash(make.__module__), *environment)
    return hashlib.sha256(msgspec.json.encode(pieces)).hexdigest()


@cache
def _module_hash(module: str) -> str:
    """Return the hash of the source of a module. If the module was loaded from a path, only its own file is hashed."""
    file = getattr(sys.modules.get(module), "__file__", None)
    spec = getattr(sys.modules.get(module), "__spec__", None)
    # A module that `harness.plugins.loading` loads from a path has a name that begins with `bench_file_`. It cannot be
    # imported by this name.
    is_importable = spec is not None and spec.name == module and not module.startswith(("bench_file_", "__"))
    # `source_hash` requires a name after the colon, but hashes the whole module. `make` is a placeholder.
    return source_hash([f"{module if is_importable or file is None else file}:make"])


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous, read-only view of an array. An array that is not contiguous is copied first."""
    import numpy

    view = numpy.ascontiguousarray(array).reshape(numpy.shape(array)).view()
    view.flags.writeable = False
    return view


# --- reading and writing ----------------------------------------------------------------------------


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a cached file; None if the file is missing or damaged."""
    import numpy

    try:
        with open_regular(path) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (StoreError, ValueError):  # ValueError: an empty file
        return None
    content = memoryview(mapped)
    digest = hashlib.sha256(content[_LINE_BYTES:]).hexdigest()
    if content[:_LINE_BYTES] != _MAGIC + digest.encode() + b"\n":
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # records the time of the read, for `_evict`
    length = int.from_bytes(content[_LINE_BYTES : _LINE_BYTES + 8], "little")
    header_end = _LINE_BYTES + 8 + length
    stored = msgspec.json.decode(content[_LINE_BYTES + 8 : header_end], type=list[StoredArray])
    arrays_begin = _aligned(header_end)
    arrays = {}
    for array in stored:
        dtype = numpy.dtype(array.dtype)
        count = int(numpy.prod(array.shape, dtype=numpy.int64))
        flat = numpy.frombuffer(mapped, dtype, count, arrays_begin + array.offset) if count else numpy.empty(0, dtype)
        arrays[array.name] = _read_only(flat.reshape(array.shape))
    return arrays


def _store(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a cached file, and remove other files if the cache is then too large. Errors in writing are ignored.

    Arrays that would fill more than a quarter of the cache are not stored.
    """
    body = _encode(arrays)
    size = sum(map(len, body))
    if size > MAX_BYTES // 4:
        return
    digest = hashlib.sha256()
    for chunk in body:
        digest.update(chunk)
    with contextlib.suppress(StoreError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open_atomically(path, sync=False) as file:  # no sync: readers detect an incomplete file by its hash
            file.write(_MAGIC + digest.hexdigest().encode() + b"\n")
            file.writelines(body)
        _evict(path.parent, MAX_BYTES)


def _encode(arrays: Mapping[str, NDArray[Any]]) -> list[bytes]:
    """Return the pieces of a cached file after its first line: length of the header, header, arrays."""
    stored, blobs, offset = [], [], 0
    for name, array in arrays.items():
        stored.append(StoredArray(name=name, dtype=array.dtype.str, shape=array.shape, offset=offset))
        blob = array.tobytes()
        blobs += [blob, bytes(-len(blob) % _ALIGNMENT)]
        offset = _aligned(offset + len(blob))
    header = msgspec.json.encode(stored)
    end = _LINE_BYTES + 8 + len(header)
    return [len(header).to_bytes(8, "little"), header, bytes(_aligned(end) - end), *blobs]


def _aligned(position: int) -> int:
    """Round a position up to a multiple of `_ALIGNMENT`."""
    return -(-position // _ALIGNMENT) * _ALIGNMENT


# --- size -------------------------------------------------------------------------------------------


def cache_use() -> CacheUse:
    """Return the number and the total size of the cached files."""
    folder = data_folder() / FOLDER
    sizes = [size for _, size, _ in _cached_files(folder)]
    return CacheUse(folder=str(folder), entries=len(sizes), size=sum(sizes))


def clear_cache() -> CacheUse:
    """Remove all cached files. Arrays that a worker has read remain valid.

    Returns:
        The space that the removed files occupied.
    """
    use = cache_use()
    _evict(data_folder() / FOLDER, 0)
    return use


def _cached_files(folder: Path) -> list[tuple[float, int, Path]]:
    """Return the time of the last read, the size in bytes and the path of every cached file."""
    files = []
    for path in folder.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))
    return files


def _evict(folder: Path, limit: int) -> None:
    """Remove the least recently read files, until the remaining files have at most `limit` bytes in total.

    Temporary files that killed processes left behind are also removed.
    """
    total = 0
    for _, size, path in sorted(_cached_files(folder), reverse=True):
        total += size
        if total > limit:
            path.unlink(missing_ok=True)
    for temporary in folder.glob(f".*{_SUFFIX}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - temporary.stat().st_mtime > _STALE_S:
                temporary.unlink()
