"""One file over HTTP: resumed where it stopped, retried while that may help, hashed as it arrives."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import json
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from harness import __version__
from harness.errors import DataError

#: Called with (file name, bytes so far, bytes in all or None where that is not known).
Progress = Callable[[str, int, int | None], None]

CHUNK = 1 << 18
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How long to go on trying.

    Args:
        attempts: tries in a row that bring nothing new before giving up; one that got further starts the count anew.
        wait: seconds before the second try; doubled for each further one, 30 at most.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    attempts: int = 4
    wait: float = 1.0
    timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A complete file: its SHA-256 in hex, its size in bytes, and whether it was begun by an earlier call."""

    sha256: str
    size: int
    resumed: bool


class DownloadError(DataError):
    """One place does not give what is wanted; another may."""


class UnreachableError(DownloadError):
    """A place did not answer, or broke off, as often as it was tried; later it may."""


class OtherFileError(DownloadError):
    """A place has another file than the published one: asking again brings the same.

    Args:
        acceptable: whether it is right in format, as far as is known, so that a user may take it all the same.
    """

    def __init__(self, what: str, *, acceptable: bool = True) -> None:
        super().__init__(what)
        self.acceptable = acceptable


class _Lost(Exception):
    """A failure that may pass: a dropped connection, a timeout, a busy server."""


def fetch(
    url: str,
    part: Path,
    *,
    size: int = 0,
    any_origin: bool = False,
    progress: Progress | None = None,
    name: str | None = None,
    retry_policy: RetryPolicy | None = None,
) -> Fetched:
    """Fetch a URL into `part`, going on where an earlier call stopped; on return the file is complete and synced.

    Args:
        url: http or https.
        part: where the bytes go; beside it stands a small `.json` that says where they come from.
        size: bytes expected; 0 when not known.
        any_origin: whether bytes from another place may be continued (a checksum is at hand to tell a mixture).
        progress: called as bytes arrive.
        name: what `progress` calls the file; the name of `part` when None.
        patience: how long to go on trying.

    Raises:
        OtherFileError: the server offers another size.
        UnreachableError: the connection is lost too often; what has arrived stays for the next call.
        DownloadError: the server refuses.
        DataError: the disk is full or not writable.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"{url} cannot be fetched: only http and https can")
    retry_policy = retry_policy or RetryPolicy()
    label = name or part.name
    transfer = _Transfer(url, part, size, any_origin, lambda done, total: progress and progress(label, done, total))
    resumed = transfer.done > 0
    with transfer:
        failures = 0
        while True:
            before = transfer.done
            try:
                transfer.attempt(retry_policy.timeout)
                return Fetched(sha256=transfer.digest(), size=transfer.done, resumed=resumed)
            except _Lost as lost:
                failures = 1 if transfer.done > before else failures + 1
                if failures >= retry_policy.attempts:
                    raise UnreachableError(f"{url}: {lost}, after {retry_policy.attempts} tries") from None
            time.sleep(min(retry_policy.wait * 2 ** (failures - 1), 30.0))


class _Transfer:
    """A partial file with the running hash of what is in it."""

    def __init__(self, url: str, part: Path, size: int, any_origin: bool, report: Callable[[int, int | None], object]):
        self._url = url
        self._part = part
        self._size = size
        self._report = report
        self._origin = part.with_name(f"{part.name}.json")
        noted = _read_origin(self._origin)
        self._etag = str(noted.get("etag", "")) if noted.get("url") == url else ""
        try:
            self._file = open(part, "r+b" if part.exists() else "w+b")  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise write_error(part, error) from None
        self._hash = hashlib.sha256()
        self.done = 0
        if noted.get("url") == url or any_origin:
            while chunk := self._file.read(CHUNK):
                self._hash.update(chunk)
                self.done += len(chunk)
        else:
            self._restart()

    def __enter__(self) -> _Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        # A close that fails has lost buffered bytes; the next call reads what is really there.
        with contextlib.suppress(OSError):
            self._file.close()

    def digest(self) -> str:
        """Bring the file to disk and return its SHA-256."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self._part, error) from None
        return self._hash.hexdigest()

    def attempt(self, timeout: float) -> None:
        """One request for what is missing.

        Raises:
            _Lost: trying again may help.
            DownloadError: it will not.
        """
        if self._size and self.done > self._size:
            self._restart()
        if self._size and self.done == self._size:
            self._report(self.done, self._size)
            return
        try:
            with urllib.request.urlopen(self._request(), timeout=timeout) as response:
                self._receive(response)
        except urllib.error.HTTPError as error:
            with error:
                self._raise_if_refused(error)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise _Lost(f"{type(reason).__name__}: {reason}" if str(reason) else type(reason).__name__) from None

    def _request(self) -> urllib.request.Request:
        # Compressed in transit, the bytes would be other ones than those with the checksum.
        headers = {"User-Agent": f"algorace/{__version__}", "Accept-Encoding": "identity"}
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
            if self._etag:
                headers["If-Range"] = self._etag
        return urllib.request.Request(self._url, headers=headers)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        total = self._confirm_total(response.status, response.headers)
        self._require_room(total)
        self._report(self.done, total)
        while chunk := response.read(CHUNK):
            self._write(chunk)
            self._report(self.done, total)
        if total is not None and self.done < total:
            raise _Lost(f"the connection closed after {self.done:,} of {total:,} bytes")
        if self._size and self.done != self._size:
            # It never said how many there would be: this may be all it has, or a connection that was lost.
            raise UnreachableError(f"{self._url} sent {self.done:,} bytes, expected {self._size:,}")

    def _confirm_total(self, status: int, headers: Message) -> int | None:
        """The size of the whole file, with our position set to what the server is about to send."""
        total: int | None
        if status == 206:
            found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
            if not found or int(found[1]) != self.done:
                self._restart()
                raise _Lost(f"the server sent another range than asked for ({headers.get('Content-Range')})")
            total = None if found[2] == "*" else int(found[2])
        else:
            # The server ignores ranges, or the file has changed since: it sends everything.
            self._restart()
            length = headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            self._note_origin(headers)
        if self._size and total is not None and total != self._size:
            raise OtherFileError(f"{self._url} has {total:,} bytes, expected {self._size:,}")
        return total

    def _raise_if_refused(self, error: urllib.error.HTTPError) -> None:
        if error.code == 416:
            found = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", "").strip())
            if found and int(found[1]) == self.done:
                return
            self._restart()
            raise _Lost("the server has less than was fetched before")
        reason = f"HTTP {error.code} {error.reason}".strip()
        if error.code in _PASSING:
            raise _Lost(reason)
        raise DownloadError(f"{self._url}: {reason}")

    def _write(self, chunk: bytes) -> None:
        try:
            self._file.write(chunk)
            # Unbuffered progress: what counts as done is in the file even if this process is killed.
            self._file.flush()
        except OSError as error:
            raise write_error(self._part, error) from None
        self._hash.update(chunk)
        self.done += len(chunk)

    def _restart(self) -> None:
        try:
            self._file.seek(0)
            self._file.truncate()
        except OSError as error:
            raise write_error(self._part, error) from None
        self._hash = hashlib.sha256()
        self.done = 0

    def _require_room(self, total: int | None) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if total is not None and total - self.done > free:
            raise DataError(
                f"{self._part.name} needs {total - self.done:,} more bytes, and {self._part.parent} has {free:,} free",
                fix="free some space, or name another folder in BENCH_DATA",
            )

    def _note_origin(self, headers: Message) -> None:
        # A weak tag promises equal meaning, not equal bytes.
        etag = headers.get("ETag", "")
        self._etag = "" if etag.startswith("W/") else etag
        try:
            self._origin.write_text(json.dumps({"url": self._url, "etag": self._etag}))
        except OSError as error:
            raise write_error(self._origin, error) from None


def remove_partial_metadata(part: Path) -> None:
    """Remove the note beside a partial file, which is moved or gone."""
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> DataError:
    """The error for a failed write in the data folder, with what to do about it."""
    fixes = {
        errno.ENOSPC: "free some space and give the command again; it goes on where it was",
        errno.EDQUOT: "free some of your quota and give the command again; it goes on where it was",
        errno.EROFS: "name a writable folder in BENCH_DATA",
        errno.EACCES: "name a writable folder in BENCH_DATA",
        errno.EPERM: "name a writable folder in BENCH_DATA",
    }
    return DataError(f"cannot write {path}: {error.strerror or error}", fix=fixes.get(error.errno or 0))


def _read_origin(path: Path) -> dict[str, object]:
    try:
        noted = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return noted if isinstance(noted, dict) else {}
