"""Sets how the C library manages the memory of this process."""

from __future__ import annotations

import contextlib
import ctypes

#: Parameters of glibc's `mallopt` (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
#: glibc gives each allocation above a threshold pages of its own. This is the largest threshold that glibc accepts.
_LARGEST_MMAP_THRESHOLD = 32 << 20


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for later allocations. Without glibc, do nothing.

    By default, glibc returns large freed blocks to the kernel, and the kernel fills every new block with zeros. This
    takes time in every forward pass of an evaluation, because the pass allocates and frees its activations. The results
    of computations do not change.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
