"""Remember which record files were verified, so that their content hashes are not computed again.

A record file is identified by the SHA-256 of its bytes, which takes a tenth of the time of the content hash. A changed
byte changes the SHA-256, so a damaged file is never taken for a verified one. A file in the cache folder contains the
SHA-256 digests of all verified files. Without a readable file of digests, all records are verified in full.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from pathlib import Path

from harness.errors import StoreError
from harness.system.files import CACHE_VARIABLE, cache_folder, read_file

#: Name of the file with the digests, one after the other.
_NAME = "verified-records"
_DIGEST_BYTES = hashlib.sha256().digest_size
#: Maximum number of digests that are read. If the file has more, only the newest half of this number is kept.
CAPACITY = 100_000


class VerifiedRecords:
    """The digests of verified record files.

    Args:
        path: the file with the digests.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._new: list[bytes] = []
        try:
            content = read_file(path)
        except StoreError:
            content = b""
        if len(content) % _DIGEST_BYTES or len(content) > CAPACITY * _DIGEST_BYTES:
            content = content[-(CAPACITY // 2) * _DIGEST_BYTES :] if len(content) % _DIGEST_BYTES == 0 else b""
            self._replace(content)
        self._digests = {content[i : i + _DIGEST_BYTES] for i in range(0, len(content), _DIGEST_BYTES)}

    def __contains__(self, digest: bytes) -> bool:
        """Return whether the record file with this SHA-256 was verified."""
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        """Remember the SHA-256 of a file that was verified in full."""
        if digest not in self._digests:
            self._digests.add(digest)
            self._new.append(digest)

    @property
    def new(self) -> list[bytes]:
        """The digests that were added but not saved yet."""
        return self._new

    def save(self) -> None:
        """Append the new digests to the file. Processes may append at the same time."""
        content, self._new = b"".join(self._new), []
        if content:
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                # A single write in append mode does not mix with the writes of other processes.
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o644)
                try:
                    os.write(descriptor, content)
                finally:
                    os.close(descriptor)

    def _replace(self, content: bytes) -> None:
        temporary = self._path.with_name(f".{_NAME}.{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            temporary.write_bytes(content)
            os.replace(temporary, self._path)


def digest_of(payload: bytes) -> bytes:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(payload).digest()


def verified_records() -> VerifiedRecords:
    """Return the digests of the cache folder, which are read once per process."""
    return _verified_records(*(os.environ.get(name) for name in (CACHE_VARIABLE, "XDG_CACHE_HOME", "HOME")))


@functools.lru_cache(maxsize=4)
def _verified_records(*_: str | None) -> VerifiedRecords:
    """Read the digests. The arguments, on which the cache folder depends, are the key of the `lru_cache`."""
    try:
        return VerifiedRecords(cache_folder() / _NAME)
    except RuntimeError:  # There is no home folder.
        return VerifiedRecords(Path(os.devnull))
