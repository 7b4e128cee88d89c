"""The memory that the evaluator keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

#: Prints the page faults of allocating and freeing 120 MB, after the same was done before.
_PROGRAM = """
import resource
from harness.worker.allocator import keep_freed_memory
{call}
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [bytearray(20 << 20) for _ in range(6)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    default, kept = (
        int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)
        for program in (_PROGRAM.format(call=""), _PROGRAM.format(call="keep_freed_memory()"))
    )
    assert default > 10_000
    assert kept < 100
