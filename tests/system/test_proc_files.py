"""Files below /proc that stay open."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from harness.system.proc_files import ProcFiles, read_proc

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")


def test_every_reading_is_new() -> None:
    files = ProcFiles()
    with subprocess.Popen(["sleep", "60"]) as process:
        name = f"{process.pid}/stat"
        assert files.read(name).split()[3] == str(os.getpid())
        first = files.read("loadavg").split()[4]
        with subprocess.Popen(["true"]) as other:
            pass
        assert int(files.read("loadavg").split()[4]) >= other.pid > int(first)
        process.kill()
    files.close()


def test_the_file_of_an_ended_process_is_closed() -> None:
    files = ProcFiles()
    with subprocess.Popen(["sleep", "60"]) as process:
        files.read(f"{process.pid}/stat")
        process.kill()
    with pytest.raises(ProcessLookupError):
        files.read(f"{process.pid}/stat")
    assert not files._descriptors
    with pytest.raises(FileNotFoundError):
        files.read(f"{process.pid}/stat")


def test_few_files_stay_open() -> None:
    files = ProcFiles(most=2)
    before = len(os.listdir("/proc/self/fd"))
    names = ["loadavg", "uptime", "self/stat", "self/schedstat"]
    for name in names:
        assert len(files.read(name).split()) == len(read_proc(name).split())
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    files.close()
    assert len(os.listdir("/proc/self/fd")) == before
