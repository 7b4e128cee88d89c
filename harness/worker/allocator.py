"""Sets how the C library manages the memory of this process."""

from __future__ import annotations

import contextlib
import ctypes

#: Parameters of glibc's `mallopt` (malloc.h).
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
#: The largest value that glibc accepts for the threshold above which an allocation gets pages of its own.
_LARGEST_MMAP_THRESHOLD = 32 << 20


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for later allocations. Without glibc, do nothing.

    By default, glibc returns large freed blocks to the kernel, which clears the pages of the next ones. Every forward
    pass of an evaluation would pay for this, because its activations are allocated and freed again. The values that are
    computed do not change.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
