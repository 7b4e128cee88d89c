"""Download a file over HTTP: resume a partial file, retry after transient failures, and hash during the download."""

from __future__ import annotations

import contextlib
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
from harness.datasets.paths import write_error
from harness.errors import DataError, StoreError
from harness.system.files import MAX_CONFIGURATION_BYTES, read_struct

#: Function that reports progress: file name, bytes so far, total bytes (None if unknown).
Progress = Callable[[str, int, int | None], None]

#: Number of bytes that are read at once.
CHUNK = 1 << 18
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how long a download is retried.

    Args:
        attempts: number of failed attempts in a row after which the download fails. An attempt that receives a byte
            starts the count again.
        wait: seconds to wait after a failed attempt. Each further failure in a row doubles them, up to 30 s.
        timeout: seconds without a byte after which a connection counts as lost.
    """

    attempts: int = 4
    wait: float = 1.0
    timeout: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A file that was downloaded completely.

    Args:
        sha256: SHA-256 of the file, in hex.
        size: size in bytes.
        resumed: whether a usable part of the file from an earlier call was there when the download began.
    """

    sha256: str
    size: int
    resumed: bool


class DownloadError(DataError):
    """A source cannot deliver the file, but another source may."""


class UnreachableError(DownloadError):
    """The server did not answer, or the connection was lost. A later call may succeed."""


class WrongFileError(DownloadError):
    """The file of a source differs from the published file. Another attempt would also fail.

    Args:
        problem: the difference, in one sentence.
        acceptable: whether the user may accept the file. True if its format is right or unknown.
    """

    def __init__(self, problem: str, *, acceptable: bool = True) -> None:
        super().__init__(problem)
        self.acceptable = acceptable


class _TransientError(Exception):
    """A failure after which another attempt may succeed, such as a lost connection, a timeout or a busy server."""


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
    """Download a URL into the file `part`. A partial file of an earlier call is resumed.

    When the function returns, the file is complete and synced to disk.

    Args:
        url: an http or https URL.
        part: path of the file to write. A second file beside it, `NAME.json`, records the URL of the received bytes.
        size: expected size in bytes; 0 when unknown.
        any_origin: whether a partial file from another URL may be resumed. This is safe only if the caller compares the
            checksum.
        progress: function that is called when bytes arrive.
        name: the file's name for `progress`; the name of `part` when None.
        retry_policy: how often and how long to retry; the defaults of `RetryPolicy` when None.

    Raises:
        WrongFileError: the file on the server has another size.
        UnreachableError: the connection was lost too often; the next call resumes from the received bytes.
        DownloadError: the server refused the request.
        DataError: the disk is full or not writable.
    """
    if not url.startswith(("http://", "https://")):
        raise DownloadError(f"cannot fetch {url}: only http and https are supported")
    retry_policy = retry_policy or RetryPolicy()
    label = name or part.name
    transfer = _Transfer(url, part, size, any_origin, lambda done, total: progress and progress(label, done, total))
    resumed = transfer.done > 0
    with transfer:
        failures = 0
        while True:
            bytes_before = transfer.done
            try:
                transfer.attempt(retry_policy.timeout)
                return Fetched(sha256=transfer.sync_and_hash(), size=transfer.done, resumed=resumed)
            except _TransientError as error:
                failures = 1 if transfer.done > bytes_before else failures + 1
                if failures >= retry_policy.attempts:
                    raise UnreachableError(f"{url}: {error}, after {retry_policy.attempts} attempts") from None
            time.sleep(min(retry_policy.wait * 2 ** (failures - 1), 30.0))


class _Transfer:
    """A partial file and the running hash of its content. `done` is the number of bytes in the file."""

    def __init__(self, url: str, part: Path, size: int, any_origin: bool, report: Callable[[int, int | None], object]):
        self._url = url
        self._part = part
        self._size = size
        self._report = report
        self._origin_path = part.with_name(f"{part.name}.json")
        origin = _read_origin(self._origin_path)
        self._etag = str(origin.get("etag", "")) if origin.get("url") == url else ""
        try:
            self._file = open(part, "r+b" if part.exists() else "w+b")  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise write_error(part, error) from None
        self._hash = hashlib.sha256()
        self.done = 0
        if origin.get("url") == url or any_origin:
            while chunk := self._file.read(CHUNK):
                self._hash.update(chunk)
                self.done += len(chunk)
        else:
            self._restart()

    def __enter__(self) -> _Transfer:
        return self

    def __exit__(self, *_: object) -> None:
        # If closing fails, buffered bytes are lost. This is harmless, since the next call reads the file's content.
        with contextlib.suppress(OSError):
            self._file.close()

    def sync_and_hash(self) -> str:
        """Sync the file to disk and return its SHA-256 in hex."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise write_error(self._part, error) from None
        return self._hash.hexdigest()

    def attempt(self, timeout: float) -> None:
        """Request the missing bytes once.

        Raises:
            _TransientError: another attempt may succeed.
            DownloadError: another attempt would also fail.
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
            kind = type(reason).__name__
            raise _TransientError(f"{kind}: {reason}" if str(reason) else kind) from None

    def _request(self) -> urllib.request.Request:
        # Compression in transit is turned off, since the checksum is that of the uncompressed bytes.
        headers = {"User-Agent": f"algorace/{__version__}", "Accept-Encoding": "identity"}
        if self.done:
            headers["Range"] = f"bytes={self.done}-"
            if self._etag:
                headers["If-Range"] = self._etag
        return urllib.request.Request(self._url, headers=headers)

    def _receive(self, response: http.client.HTTPResponse) -> None:
        """Append the bytes of a response to the file."""
        total = self._confirm_total(response.status, response.headers)
        self._require_room(total)
        self._report(self.done, total)
        while chunk := response.read(CHUNK):
            self._write(chunk)
            self._report(self.done, total)
            if self._size and self.done > self._size:
                raise WrongFileError(f"{self._url} has more bytes than the expected {self._size:,}")
        if total is not None and self.done < total:
            raise _TransientError(f"the connection closed after {self.done:,} of {total:,} bytes")
        if self._size and self.done != self._size:
            # The server sent no length. Either its file is shorter than expected, or the connection was lost. A request
            # for the missing bytes decides this if the server supports ranges (see `_raise_if_refused`).
            raise _TransientError(f"the server sent {self.done:,} bytes and no length, expected {self._size:,}")

    def _confirm_total(self, status: int, headers: Message) -> int | None:
        """Return the size of the whole file, or None if unknown. Discard received bytes that cannot be used."""
        total: int | None
        if status == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
            if not match or int(match[1]) != self.done:
                self._restart()
                sent = headers.get("Content-Range")
                raise _TransientError(f"the server sent a byte range that was not requested ({sent})")
            total = None if match[2] == "*" else int(match[2])
        else:
            # The server sends the whole file: this is the first request, or the server does not support ranges, or its
            # file has changed.
            self._restart()
            length = headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            self._note_origin(headers)
        if self._size and total is not None and total != self._size:
            raise WrongFileError(f"{self._url} has {total:,} bytes, expected {self._size:,}")
        return total

    def _raise_if_refused(self, error: urllib.error.HTTPError) -> None:
        """Raise the error for an HTTP status. Return if the status means that all bytes were already received."""
        if error.code == 416:
            match = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", "").strip())
            if match and int(match[1]) == self.done:
                if self._size and self.done != self._size:
                    raise WrongFileError(f"{self._url} has {self.done:,} bytes, expected {self._size:,}")
                return
            self._restart()
            raise _TransientError("the server has no bytes after the part that was already fetched")
        reason = f"HTTP {error.code} {error.reason}".strip()
        if error.code in _TRANSIENT_STATUS:
            raise _TransientError(reason)
        raise DownloadError(f"{self._url}: {reason}")

    def _write(self, chunk: bytes) -> None:
        try:
            self._file.write(chunk)
            # The flush ensures that all counted bytes are in the file even if this process is killed.
            self._file.flush()
        except OSError as error:
            raise write_error(self._part, error) from None
        self._hash.update(chunk)
        self.done += len(chunk)

    def _restart(self) -> None:
        """Discard all received bytes."""
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
                f"{self._part.name} needs {total - self.done:,} more bytes; {self._part.parent} has {free:,} free",
                fix="free some space, or set BENCH_DATA to another folder",
            )

    def _note_origin(self, headers: Message) -> None:
        # A weak ETag does not guarantee equal bytes.
        etag = headers.get("ETag", "")
        self._etag = "" if etag.startswith("W/") else etag
        try:
            self._origin_path.write_text(json.dumps({"url": self._url, "etag": self._etag}))
        except OSError as error:
            raise write_error(self._origin_path, error) from None


def remove_partial_metadata(part: Path) -> None:
    """Remove the `.json` file of a partial file that was moved or removed."""
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def _read_origin(path: Path) -> dict[str, object]:
    try:
        return read_struct(path, dict[str, object], limit=MAX_CONFIGURATION_BYTES)
    except StoreError:
        return {}
