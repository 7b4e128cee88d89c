"""Exchange two folders atomically: if the process is killed, either both folders were moved or none."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import Final

#: Value of a descriptor that stands for the current folder (`AT_FDCWD` in linux/fcntl.h).
_CURRENT_FOLDER: Final = -100
#: The flag of `renameat2` (Linux, `RENAME_EXCHANGE`) and of `renamex_np` (macOS, `RENAME_SWAP`).
_EXCHANGE: Final = 2


def exchange_folders(first: Path, second: Path) -> None:
    """Give each of two folders the path of the other, in one step.

    Source: renameat2(2) of Linux, renamex_np(2) of macOS.

    Raises:
        OSError: a folder does not exist, or the file system cannot exchange folders (NFS, for example).
    """
    library = ctypes.CDLL(None, use_errno=True)
    a, b = os.fsencode(first), os.fsencode(second)
    try:
        if sys.platform == "darwin":
            outcome = library.renamex_np(a, b, _EXCHANGE)
        else:
            outcome = library.renameat2(_CURRENT_FOLDER, a, _CURRENT_FOLDER, b, _EXCHANGE)
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(first)) from None
    if outcome:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(first))
