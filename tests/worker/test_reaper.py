"""The process between a supervisor and a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is a reaper on Linux alone")
_CODE = """
import os, signal, time
from harness.worker.reaper import enter_worker
signal.signal(signal.SIGINT, signal.SIG_DFL)
enter_worker(close=[])
print(os.getpid(), flush=True)
time.sleep(3600)
"""


@pytest.mark.parametrize("victim", ["reaper", "worker"])
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_to_either_process_ends_both_by_this_signal(victim: str, sent: signal.Signals) -> None:
    """So that the supervisor resumes the trial. With another exit code it would have crashed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, "-c", _CODE], stdout=subprocess.PIPE, env=environment) as reaper:
        assert reaper.stdout is not None
        worker = int(reaper.stdout.readline())
        os.kill(reaper.pid if victim == "reaper" else worker, sent)
        # The worker holds the pipe open as long as it lives.
        assert reaper.stdout.read() == b""
        assert reaper.wait() == -sent


_REPORTS = """
import os, signal, subprocess, sys, time
from harness.worker.reaper import enter_worker
reports, left = os.pipe(), None
def report(code):
    alive = [pid for pid in map(int, os.read(reports[0], 100).split()) if os.path.exists(f"/proc/{pid}")]
    print(code, alive, flush=True)
    time.sleep(3600)  # as if the kernel needed an hour to release the memory
enter_worker(close=[], report=report)
if not (left := os.fork()):
    os.setsid()
    time.sleep(3600)
os.write(reports[1], f"{os.getpid()} {left}".encode())
os._exit(7) if sys.argv[1] == "exits" else os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("end", "code"), [("exits", 7), ("is killed", -signal.SIGKILL)])
def test_it_reports_the_end_before_its_own_when_no_process_is_left(end: str, code: int) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen([sys.executable, "-c", _REPORTS, end], stdout=subprocess.PIPE, env=environment) as reaper:
        assert reaper.stdout is not None
        assert reaper.stdout.readline().decode().split() == [str(int(code)), "[]"]
        assert reaper.poll() is None
        reaper.kill()
