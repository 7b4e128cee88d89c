"""Write files atomically, read and validate them, and create the errors for failed reads and writes.

The harness reads records, configuration files and other files that may be damaged with the functions of this module. A
function returns the content, or raises StoreError with one line that names the file. Only regular files are read: a
named pipe would block, and a device may have no end.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from harness.errors import BenchError, DamagedError, StoreError

T = TypeVar("T")
#: Name of the environment variable that sets the folder of caches.
CACHE_VARIABLE = "BENCH_CACHE"
#: Default limit on the size of a file in bytes.
MAX_BYTES = 256 << 20
#: Limit on the size of a file that a user writes, in bytes.
MAX_CONFIGURATION_BYTES = 1 << 20
#: All errors of JSON decoding. Text that is not UTF-8 raises a ValueError. Values that are nested too deep raise a
#: RecursionError.
JSON_ERRORS = (ValueError, RecursionError, msgspec.MsgspecError)
_RESTORE = "restore it, or remove it"
#: Number of bytes per read from a file that is longer than the system reports.
_PIECE = 1 << 16
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def is_file_name(name: str) -> bool:
    """Return whether a name is a valid file name on every system.

    Valid names begin with a letter or digit, and contain only letters, digits and the characters . _ + -

    >>> is_file_name("train-0001.bin"), is_file_name("../train.bin"), is_file_name(".hidden"), is_file_name("a:b")
    (True, False, False, False)
    """
    return _FILE_NAME.fullmatch(name) is not None


#: Function that returns the error for a failed write. Its arguments are the path and the cause.
ErrorFor = Callable[[Path, OSError], BenchError]


def write_atomically(path: Path, *chunks: bytes, error_for: ErrorFor | None = None, sync: bool = True) -> None:
    """Write a file so that a reader sees either the old content or the complete new content.

    Args:
        path: the file to write.
        chunks: the new content, in pieces.
        error_for: function that returns the error for a failed write; `write_error` if None.
        sync: whether the content also survives a power failure. Syncing takes some milliseconds.

    Raises:
        StoreError: the disk is full or read-only, or writing is not permitted; the old content is unchanged.
    """
    with open_atomically(path, error_for=error_for, sync=sync) as file:
        for chunk in chunks:
            file.write(chunk)


@contextmanager
def open_atomically(path: Path, *, error_for: ErrorFor | None = None, sync: bool = True) -> Iterator[BinaryIO]:
    """Yield a temporary file for writing and reading. At the end of the block, rename it to `path`.

    The temporary file is in the folder of `path`. If the block raises an error, the temporary file is removed, and the
    file at `path` is unchanged.

    Args:
        path: the file to write.
        error_for: function that returns the error for a failed write; `write_error` if None.
        sync: whether the content also survives a power failure.

    Raises:
        StoreError: the disk is full or read-only, or writing is not permitted.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w+b") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if sync:
            sync_folder(path.parent)
    except BaseException as error:
        # On a read-only file system, removing a file that does not exist is an error, too.
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise (error_for or write_error)(path, error) from error
        raise


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading.

    Raises:
        StoreError: the file does not exist or cannot be read. The message contains the path.
        DamagedError: the path is a folder, a named pipe, a socket or a device.
    """
    descriptor, _ = _open_regular(path)
    try:
        with open(descriptor, "rb") as file:
            yield file
    except OSError as error:
        raise read_error(path, error) from None


def _open_regular(path: Path) -> tuple[int, int]:
    """Open a regular file for reading, with the errors of `open_regular`. Return its descriptor and its size."""
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise read_error(path, error) from None
    except ValueError:
        problem = find_unusable_character(str(path))
        if problem is None:
            raise
        raise StoreError(f"cannot read {path}: the name contains {problem}", fix="correct the name") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise DamagedError(f"{path} is not a regular file", fix=_RESTORE)
    return descriptor, status.st_size


def read_file(path: Path, *, limit: int | None = MAX_BYTES) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        limit: maximum size in bytes; None for no limit.

    Raises:
        StoreError: the file does not exist or cannot be read. The message contains the path.
        DamagedError: the path is not a regular file, or the file is larger than the limit.
    """
    descriptor, size = _open_regular(path)
    try:
        # The size is checked before reading, so that a huge sparse file takes no time. Python's file objects would take
        # 1.5 times as long as `os.read`. A command may read thousands of records.
        content = None if limit is not None and size > limit else _read_all(descriptor, size, limit)
    except OSError as error:
        raise read_error(path, error) from None
    finally:
        os.close(descriptor)
    if content is None or (limit is not None and len(content) > limit):
        raise DamagedError(f"{path} has more than {limit:,} bytes, the limit for this kind of file", fix=_RESTORE)
    return content


def _read_all(descriptor: int, size: int, limit: int | None) -> bytes:
    """Return the content of an open file. If it exceeds `limit`, the rest of the file may be missing.

    The reported `size` may be too small: a file may grow, and many files in /proc report the size 0.
    """
    pieces = [os.read(descriptor, size + 1)]
    total = len(pieces[0])
    # A read may return fewer bytes than requested. The file ends at its reported size, or else at the first empty read.
    while pieces[-1] and total != size and (limit is None or total <= limit):
        pieces.append(os.read(descriptor, max(size - total, _PIECE)))
        total += len(pieces[-1])
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def read_text(path: Path, *, limit: int | None = MAX_BYTES) -> str:
    """Return the content of a text file in UTF-8.

    Args:
        path: the file.
        limit: maximum size in bytes; None for no limit.

    Raises:
        StoreError: see `read_file`.
        DamagedError: the content is not UTF-8, or see `read_file`.
    """
    try:
        return read_file(path, limit=limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DamagedError(f"cannot read {path}: {describe_json_error(error)}", fix=_RESTORE) from None


def read_struct(path: Path, expected: type[T], *, limit: int | None = MAX_BYTES) -> T:
    """Decode a JSON file as a struct and validate it.

    Args:
        path: the file.
        expected: type of the struct.
        limit: maximum size in bytes; None for no limit.

    Raises:
        StoreError: the file cannot be read.
        DamagedError: the file is not valid JSON, or a field is missing, unknown or of another type.
    """
    return decode_json(read_file(path, limit=limit), str(path), expected)


def decode_json(payload: bytes, label: str, expected: type[T], *, fix: str = _RESTORE) -> T:
    """Decode JSON and validate it.

    Args:
        payload: the JSON.
        label: name of the content in error messages.
        expected: type of the result.
        fix: the remedy in the error message.

    Raises:
        DamagedError: the payload is not valid JSON in UTF-8, is nested too deep, or does not have the expected type.
    """
    try:
        return msgspec.json.decode(payload, type=expected)
    except JSON_ERRORS as error:
        raise DamagedError(f"{label} is damaged: {describe_json_error(error)}", fix=fix) from None


def parse_json(text: str) -> Any:
    """Parse JSON that another program wrote, and return dicts, lists and scalars.

    Unlike `msgspec`, this function accepts `NaN` and `Infinity`, which many programs write.

    Raises:
        ValueError: the text is not JSON, an object has two equal keys, or a string cannot be encoded in UTF-8.
        RecursionError: the values are nested too deep.

    >>> parse_json('{"loss": NaN}')
    {'loss': nan}
    """
    value = json.loads(text, object_pairs_hook=_unique_keys)
    # Only an escape sequence such as \ud800 (half of a surrogate pair) gives a string that cannot be encoded.
    if "\\ud" in text.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a text contains half of a surrogate pair") from None
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {repeated!r} is given twice")
    return table


def find_unusable_character(text: str) -> str | None:
    r"""Describe a character in a text that no file name can contain; None if the text has no such character.

    A command line cannot contain these characters, either. The content of a file can.

    >>> find_unusable_character("a\0b"), find_unusable_character("\ud800"), find_unusable_character("a\nb")
    ('a zero byte', 'half of a surrogate pair', None)
    """
    if "\0" in text:
        return "a zero byte"
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return "half of a surrogate pair"
    return None


def describe_json_error(error: Exception) -> str:
    """Return the reason why text cannot be decoded, in one line."""
    match error:
        case UnicodeDecodeError():
            return f"byte {error.start} is not UTF-8"
        case RecursionError():
            return "its values are nested too deep"
    return " ".join(str(error).split())


def walk_folders(
    folder: Path, on_error: Callable[[Path, OSError], None]
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield (folder, names of its subfolders, names of its files) for a folder and all folders below it, sorted.

    Links to folders are not followed. The caller may remove names from the list of subfolders, which are then skipped.
    Trees of any depth are possible. (Before Python 3.12, `os.walk` is recursive, and fails on deep trees.)

    Args:
        folder: the folder.
        on_error: function that is called with the path of a folder that cannot be listed, and the cause.
    """
    stack = [folder]
    while stack:
        path = stack.pop()
        links: set[str] = set()
        subfolders: list[str] = []
        names: list[str] = []
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    try:
                        is_folder = entry.is_dir()
                    except OSError:
                        is_folder = False  # for example, a link to itself
                    if not is_folder:
                        names.append(entry.name)
                        continue
                    subfolders.append(entry.name)
                    if entry.is_symlink():
                        links.add(entry.name)
        except OSError as error:
            on_error(path, error)
            continue
        subfolders.sort()
        names.sort()
        yield path, subfolders, names
        stack += [path / name for name in reversed(subfolders) if name not in links]


def unused_path(path: Path) -> Path:
    """Return the first of `path`, `path.2`, `path.3`, … that does not exist."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{number}")
    return candidate


def cache_folder() -> Path:
    """Return the folder of caches: `BENCH_CACHE`, or a folder in the platform's cache folder.

    Raises:
        RuntimeError: the user has no home folder.
    """
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("algorace"))


def sync_folder(folder: Path) -> None:
    """Sync a folder's entries to disk, since `fsync` of a file syncs only the file's content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shorten_path(path: Path, limit: int = 300) -> str:
    """Return a path as text for messages. The middle of a very long path is left out.

    >>> shorten_path(Path("runs/" + "deep/" * 1000 + "record.json"), limit=30)
    'runs/deep/deep/…ep/record.json'
    """
    text = str(path)
    return text if len(text) <= limit else f"{text[: limit // 2]}…{text[1 - limit // 2 :]}"


def read_error(path: Path, error: OSError) -> StoreError:
    """Return the error for a failed read. The message contains the path of the file."""
    problem = f"cannot read {shorten_path(path)}: {error.strerror or error}"
    return StoreError(problem, fix="check that it exists and that you may read it")


def write_error(path: Path, error: OSError) -> StoreError:
    """Return the error for a failed write of a run's file or a record."""
    return StoreError(f"cannot write {path}: {error.strerror or error}", fix=write_fix(path, error, "--runs"))


def write_fix(path: Path, error: OSError, setting: str) -> str:
    """Return the remedy for a failed write.

    Args:
        path: the file that could not be written.
        error: the cause.
        setting: name of the option or environment variable that sets the folder.
    """
    permission = f"make {path.parent} writable, or choose another folder with {setting}"
    fixes = {
        errno.ENOSPC: "free some space and repeat the command, which resumes where it stopped",
        errno.EDQUOT: "free some of your quota and repeat the command, which resumes where it stopped",
        errno.EROFS: permission,
        errno.EACCES: permission,
        errno.EPERM: permission,
    }
    return fixes.get(error.errno or 0, f"check that {path.parent} is a folder, or choose another folder with {setting}")
