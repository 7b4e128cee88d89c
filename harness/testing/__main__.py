"""The process of `bench check`: it runs the checks of a request, and appends each result to a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from harness.contract.checking import CheckRequest, CheckResult
from harness.plugins.registry import load_registry
from harness.system.files import read_struct
from harness.system.python_process import provide_builtins


def main(folder: Path) -> None:
    """Run the checks of the request in a folder. `results.jsonl` gets a line when a check starts and when it ends."""
    provide_builtins()
    request = read_struct(folder / "request.json", CheckRequest)
    with open(folder / "results.jsonl", "ab", buffering=0) as file:

        def report(result: CheckResult) -> None:
            file.write(msgspec.json.encode(result) + b"\n")

        for result in iter_results(request, folder / "runs", report):
            report(result)
    # sys.exit would wait for threads that the plugin started.
    os._exit(0)


def iter_results(request: CheckRequest, folder: Path, report: Callable[[CheckResult], None]) -> Iterator[CheckResult]:
    """Yield the results of the checks of a request.

    Args:
        request: the request.
        folder: folder for runs.
        report: function that is called when a check starts.
    """
    from harness.testing.checks import run_checks
    from harness.testing.micro import MICRO_WORKLOADS
    from harness.testing.submissions import SUBMISSION_CHECKS, SubmissionCase
    from harness.testing.workloads import WORKLOAD_CHECKS, WorkloadCase

    registry = load_registry(block=request.blocked)
    if request.submission is None:
        (workload,) = request.workloads
        yield from run_checks(WORKLOAD_CHECKS, WorkloadCase(workload, registry, folder), workload.name, report)
        return
    for workload in request.workloads or MICRO_WORKLOADS.values():
        case = SubmissionCase(request.submission, workload, registry, folder)
        yield from run_checks(SUBMISSION_CHECKS, case, workload.name, report)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
