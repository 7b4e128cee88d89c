"""Measure what the sandbox adds to the start of a worker, in milliseconds.

    python benchmarks/sandbox_start.py [--repeats N]

The sandbox has two steps. `request`: the supervisor decides which files and operations the sandbox permits. `enter`:
the worker, here a fork of this process, enters the sandbox. The script prints the median wall and processor time of
each step. On a busy machine, only the processor times are meaningful.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.contract.sandbox import SandboxRequest
from harness.execution.confinement import sandbox_request
from harness.planning.plan import plan
from harness.system import sandbox


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50)
    repeats = parser.parse_args().repeats
    (spec, *_) = plan("adamw-cosine", "resnet-digits", smoke=True)
    with tempfile.TemporaryDirectory() as runs:
        folder = Path(runs) / "run"
        folder.mkdir()
        request = sandbox_request(spec, folder, folder.parent)
        times = {"request": [_time(lambda: sandbox_request(spec, folder, folder.parent)) for _ in range(repeats)]}
        times["enter"] = [_time_enter(request) for _ in range(repeats)]
    print(f"sandbox {request.name}, {len(request.readable)} readable paths")
    for name, seconds in times.items():
        wall, processor = (1e3 * statistics.median(column) for column in zip(*seconds, strict=True))
        print(f"{name:8} wall {wall:.1f} ms, processor {processor:.1f} ms")


def _time(action: Callable[[], object]) -> tuple[float, float]:
    """Return the wall seconds and the processor seconds of an action."""
    began, used = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - used


def _time_enter(request: SandboxRequest) -> tuple[float, float]:
    """Return the wall seconds and the processor seconds in which a forked process enters a sandbox."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.write(writer, json.dumps(_time(lambda: sandbox.enter(request))).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader) as pipe:
        wall, processor = json.load(pipe)
    return wall, processor


if __name__ == "__main__":
    main()
