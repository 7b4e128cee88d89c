"""Reads files below /proc (Linux), whose content the kernel computes at every reading."""

from __future__ import annotations

import os

_PROC = "/proc"
#: Maximum number of bytes of a file that `ProcFiles.read` returns. The files with the times of a process are shorter.
_READ_BYTES = 4096


def read_proc(name: str) -> str:
    """Return the text of a file below /proc.

    Raises:
        OSError: there is no such file, for example because the process has ended.
    """
    with open(f"{_PROC}/{name}", "rb", buffering=0) as file:
        return (file.read() or b"").decode(errors="replace")


def list_proc(name: str = "") -> list[str]:
    """Return the names in a folder below /proc.

    Raises:
        OSError: there is no such folder.
    """
    return os.listdir(f"{_PROC}/{name}")


class ProcFiles:
    """Files below /proc that are read again and again, and therefore stay open.

    To read an open file takes about a third of the time that it takes to open, read and close it. The open file of a
    process that has ended cannot be read, even if a new process has the same id.

    Args:
        most: largest number of open files.
    """

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._descriptors: dict[str, int] = {}

    def read(self, name: str) -> str:
        """Return the text of a short file below /proc.

        Raises:
            OSError: there is no such file, or the process for which the file was opened has ended.
        """
        descriptor = self._descriptors.get(name)
        if descriptor is None:
            if len(self._descriptors) >= self._most:
                self.close()
            descriptor = self._descriptors[name] = os.open(f"{_PROC}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, _READ_BYTES, 0).decode(errors="replace")
        except OSError:
            os.close(self._descriptors.pop(name))
            raise

    def close(self) -> None:
        """Close all files. A file that is read later is opened again."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])
