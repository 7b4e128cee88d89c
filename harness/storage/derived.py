"""Keep values that were computed from record files, so that a table decodes only the records that are new.

A value is stored under the SHA-256 of the bytes of its record file. A file of values, in a subfolder of the cache
folder, belongs to some folders of records and to one computation. The file contains the values that the
latest table used, and is replaced as a whole. If the file is missing, damaged or of another computation, the values are
computed from the records.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import time
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

import harness
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.errors import StoreError
from harness.system.files import cache_folder, read_file, walk_folders, write_atomically

#: Name of the subfolder with the files of values.
FOLDER: Final = "tables"
#: Smallest number of values that are stored. Fewer records are decoded in less time than a user notices.
MIN_VALUES = 200
#: Maximum number of files. The files that were not used for the longest time are removed.
MAX_FILES = 8
#: Maximum size in bytes of the values in a file. Further values are not stored.
MAX_FILE_BYTES = 128 << 20
#: If less than this fraction of the stored values is still used, the file is replaced by a smaller one.
_MIN_USED = 0.75
#: A temporary file that is older than this number of seconds was left by a process that was killed.
_TEMPORARY_S = 3600
#: If the harness's source was changed within this number of seconds, no values are stored. This process may have
#: imported the earlier source.
_SETTLED_S = 10
_DIGEST_BYTES = hashlib.sha256().digest_size
#: Maximum number of bytes that the key and the length of a value take.
_ENTRY_BYTES = _DIGEST_BYTES + 8


class DerivedValue(Protocol):
    """A value that was computed from a record. Its type is a msgspec struct."""

    @property
    def run_id(self) -> str: ...
    @property
    def content_hash(self) -> str: ...
    @property
    def spec(self) -> RunSpec: ...


V = TypeVar("V", bound=DerivedValue)


class DerivedValues(Generic[V]):
    """Values of records, from a file or computed.

    Args:
        kind: type of the values.
        compute: function that returns the value of a record, or None if the record has no value. The result must depend
            on nothing but the record, the harness's source and `parameters`.
        parameters: the parameters of the computation, as text.
        folders: the folders of the records.
    """

    def __init__(
        self, kind: type[V], compute: Callable[[Record], V | None], parameters: str, folders: Iterable[Path]
    ) -> None:
        self.compute = compute
        self._decoder = msgspec.msgpack.Decoder(kind, dec_hook=_decode_array)
        self._encoder = msgspec.msgpack.Encoder(enc_hook=_encode_array)
        self._key = _hash_texts(
            source_hash(), sys.version, sys.byteorder, msgspec.__version__, kind.__qualname__, parameters
        )
        self._path = _find_path(_hash_texts(kind.__qualname__, parameters, *map(_absolute, folders)).hex()[:32])
        self._stored = self._read()
        #: The values that were used or computed, encoded, by the digest of the record file.
        self._used: dict[bytes, msgspec.Raw] = {}
        self._has_new = False
        self._size = 0

    def find(self, digest: bytes) -> V | None:
        """Return the stored value of the record file with this SHA-256; None if there is none."""
        encoded = self._stored.get(digest)
        if encoded is None:
            return None
        try:
            value = self._decoder.decode(encoded)
        except (ValueError, RecursionError, msgspec.MsgspecError):
            return None
        self._keep(digest, encoded)
        return value

    def add(self, digest: bytes, value: V) -> None:
        """Remember the value of the record file with this SHA-256. A value that cannot be stored is ignored."""
        # MessagePack has no integers of more than 64 bits.
        with contextlib.suppress(OverflowError, ValueError):
            encoded = msgspec.Raw(self._encoder.encode(value))
            self._has_new = self._keep(digest, encoded) or self._has_new

    def __len__(self) -> int:
        """Return the number of stored values."""
        return len(self._stored)

    def take_used(self, digest: bytes) -> bytes | None:
        """Return the encoded value of the record file with this SHA-256, and forget that it was used.

        The result is None if the value was not used or is not kept.
        """
        encoded = self._used.pop(digest, None)
        if encoded is None:
            return None
        self._size -= memoryview(encoded).nbytes + _ENTRY_BYTES
        return bytes(encoded)

    def offer(self, digest: bytes, encoded: bytes) -> None:
        """Add the value of the record file with this SHA-256, which another process computed and encoded."""
        self._stored[digest] = msgspec.Raw(encoded)
        self._has_new = True

    def _keep(self, digest: bytes, encoded: msgspec.Raw) -> bool:
        """Keep a value for the file, unless the file would become too large. Return whether the value is kept."""
        size = memoryview(encoded).nbytes + _ENTRY_BYTES
        if self._size + size > MAX_FILE_BYTES:
            return False
        self._size += size
        self._used[digest] = encoded
        return True

    def save(self) -> None:
        """Replace the file by a file with the values that were used or computed.

        The file is not replaced if there is no new value and most of its values are still used. It is also not replaced
        if there are fewer than `MIN_VALUES` values, or if the harness's source has just been changed.
        """
        if self._path is None or not (self._has_new or len(self._used) < _MIN_USED * len(self._stored)):
            return
        if len(self._used) < MIN_VALUES or not _is_settled():
            return
        content = self._encoder.encode((self._key, self._used))
        with contextlib.suppress(OSError, StoreError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, hashlib.sha256(content).digest(), content, sync=False)
            _remove_old(self._path.parent)

    def _read(self) -> dict[bytes, msgspec.Raw]:
        """Return the encoded values in the file; empty if the file is missing, damaged or of another computation."""
        if self._path is None:
            return {}
        try:
            content = memoryview(read_file(self._path))
            if hashlib.sha256(content[_DIGEST_BYTES:]).digest() != content[:_DIGEST_BYTES]:
                return {}
            key, values = _FILE_DECODER.decode(content[_DIGEST_BYTES:])
        except (StoreError, ValueError, RecursionError, msgspec.MsgspecError):
            return {}
        with contextlib.suppress(OSError):
            os.utime(self._path)
        return values if key == self._key else {}


_FILE_DECODER = msgspec.msgpack.Decoder(tuple[bytes, dict[bytes, msgspec.Raw]])


def _encode_array(value: Any) -> bytes:
    if isinstance(value, array) and value.typecode == "d":
        return value.tobytes()
    raise TypeError(f"values of type {type(value)} cannot be stored")


def _decode_array(kind: type, content: Any) -> Any:
    return kind("d", content)


def _find_path(name: str) -> Path | None:
    """Return the path of a file of values; None if there is no cache folder, or no source whose hash is known."""
    if not source_hash():
        return None
    try:
        return cache_folder() / FOLDER / name
    except RuntimeError:  # There is no home folder.
        return None


def _remove_old(folder: Path) -> None:
    """Remove the files that were not used for the longest time, and temporary files that killed processes left."""
    with os.scandir(folder) as entries:
        files = [(entry.stat(follow_symlinks=False).st_mtime, entry.path) for entry in entries if entry.is_file()]
    complete = sorted((file for file in files if not file[1].endswith(".tmp")), reverse=True)
    abandoned = [file for file in files if file[1].endswith(".tmp") and file[0] < time.time() - _TEMPORARY_S]
    for _, path in (*complete[MAX_FILES:], *abandoned):
        with contextlib.suppress(OSError):
            os.unlink(path)


def _absolute(folder: Path) -> str:
    try:
        return os.path.abspath(folder)
    except OSError:  # The working folder was removed.
        return str(folder)


def _hash_texts(*texts: str) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode(texts)).digest()


def source_hash() -> str:
    """Return the SHA-256 of all source files of the harness; empty if there are none, as in an archive."""
    return _read_source()[0]


def _is_settled() -> bool:
    """Return whether the last change of the harness's source is old enough (`_SETTLED_S`)."""
    return abs(time.time() - _read_source()[1]) > _SETTLED_S


@functools.cache
def _read_source() -> tuple[str, float]:
    """Return the SHA-256 of all source files of the harness, and the time of the last change.

    All files are hashed, not only the files on which a value depends. This takes a hundredth of a second, and needs no
    list of these files.
    """
    root = Path(harness.__file__).parent
    digest, changed = hashlib.sha256(), 0.0
    unreadable: list[Path] = []
    for folder, _, names in walk_folders(root, lambda path, _: unreadable.append(path)):
        for path in (folder / name for name in names if name.endswith(".py")):
            try:
                content = read_file(path)
                changed = max(changed, path.stat().st_mtime)
            except (OSError, StoreError):
                unreadable.append(path)
                continue
            digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
            digest.update(content)
    return digest.hexdigest() if changed and not unreadable else "", changed
