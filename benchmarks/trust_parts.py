"""Measure single parts of what the protections add to a run (see `trust_cost.py` for the sum), in milliseconds.

- fork, end: a process that has imported what a fork server imports forks a process, which ends at once.
- write, read: the worker copies the weights to the shared memory, and the evaluator copies them from there. Before each
  copy, the caches are filled with other data, as in a run.
- times: the supervisor reads the processor times of a process tree with a root, one process and two threads from /proc.

The script prints medians. On a busy machine, use the smallest of several results.

    python benchmarks/trust_parts.py [--workload continual-digits] [--repeats 30]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from cost_of_a_run import reference_trials

from harness.system.process_tree import ProcessTree
from harness.worker import fork_server
from harness.worker.loading import build_evaluation
from harness.worker.shared_weights import SharedWeights
from harness.worker.weights import stored_tensors

#: A process with a child that has two threads.
TREE = """
import os, threading, time
if not os.fork():
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    print(flush=True)
    time.sleep(600)
os.wait()
"""


def main() -> None:
    """Measure the parts and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", default="continual-digits")
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args()
    fork_server.preload_worker()
    forks = [time_fork() for _ in range(options.repeats)]
    for name, seconds in zip(("fork", "end"), zip(*forks, strict=True), strict=True):
        print(f"{name}: {1e3 * statistics.median(seconds):.2f}")
    (spec,) = reference_trials(options.workload, 1, smoke=True)
    _, model = build_evaluation(spec, torch.device("cpu"))
    weights = SharedWeights(model)
    other = torch.ones(6 << 20)
    size = sum(tensor.nbytes for tensor in stored_tensors(model).values()) / 1e6
    for name, copy in (("write", weights.write), ("read", weights.read)):
        copies = [measure(partial(copy, model), before=partial(other.mul_, 1.0)) for _ in range(options.repeats)]
        print(f"{name}: {1e3 * statistics.median(copies):.2f} ({size:.1f} MB)")
    print(f"times: {1e3 * time_tree(options.repeats):.3f}")


def measure(action: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Return the wall seconds of an action. `before` is called first and is not measured."""
    before()
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def time_fork() -> tuple[float, float]:
    """Return the seconds until a forked process runs, and the seconds that it takes to end."""
    reader, writer = os.pipe()
    began = time.perf_counter()
    pid = os.fork()
    if not pid:
        os.write(writer, b"x")
        os._exit(0)
    os.read(reader, 1)
    runs = time.perf_counter()
    os.waitpid(pid, 0)
    ended = time.perf_counter()
    os.close(reader)
    os.close(writer)
    return runs - began, ended - runs


def time_tree(repeats: int) -> float:
    """Return the median seconds of a reading of a process tree."""
    with subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        tree = ProcessTree(process.pid)
        seconds = [measure(tree.read) for _ in range(10 * repeats)]
        tree.kill()
        tree.close()
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
