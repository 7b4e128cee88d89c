"""Check a submission or workload in a separate process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from harness.contract.checking import CheckRequest, CheckResult
from harness.contract.entries import PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.errors import BenchError, PluginError, StoreError, UsageError
from harness.planning.resolve import reference_submissions, resolve_submission, resolve_workload
from harness.plugins.locating import is_existing_file
from harness.plugins.registry import Registry
from harness.system import python_process

#: Time limit of all checks together, in seconds.
TIME_LIMIT_S = 900.0
#: Name of the check that reads the declarations of a submission or workload, without running it.
DECLARATION = "declaration"


def resolve_entry(name: str, registry: Registry) -> SubmissionEntry | WorkloadEntry:
    """Return the submission or workload with a name, or the one in a file.

    For a part, return the reference submission with this part, because a part alone cannot run.

    Raises:
        UsageError: no submission, workload or part has this name.
        BenchError: the submission or workload is broken.
    """
    if is_existing_file(name):
        return _read_file(name, registry)
    if any(name in (entry.name, f"{entry.distribution}:{entry.name}") for entry in registry.workloads()):
        return resolve_workload(name, registry)
    kind = name.partition(":")[0]
    if kind in PART_KINDS:
        return _insert_part(registry.part(kind, name.partition(":")[2]), registry)
    return resolve_submission(name, registry)


def _read_file(name: str, registry: Registry) -> SubmissionEntry | WorkloadEntry:
    """Return the submission in a file or, if the file has no submission, its workload."""
    try:
        return resolve_submission(name, registry)
    except BenchError as no_submission:
        try:
            return resolve_workload(name, registry)
        except BenchError as no_workload:
            raise (no_submission if "not define a workload" in no_workload.what else no_workload) from None


def _insert_part(part: PartEntry, registry: Registry) -> SubmissionEntry:
    """Return a copy of the reference submission with `part`, without its parts of this kind or of excluded kinds."""
    references = reference_submissions(registry)
    if not references:
        raise UsageError(f"{part.id} cannot be checked alone", fix="write OPTIMIZER+PART, the parts of a submission")
    replaced = {part.kind, *part.excludes}
    remaining = [name for name in references[0].parts if name.partition(":")[0] not in replaced]
    inserted = part.id
    if part.distribution and part.distribution != references[0].distribution:
        inserted = f"{part.distribution}:{part.id}"
    return SubmissionEntry(name=f"{references[0].name}+{part.name}", summary=part.summary, parts=(*remaining, inserted))


def is_broken(name: str, error: BenchError) -> bool:
    """Return whether `resolve_entry` raised an error because `name` is broken. If False, `name` is unknown."""
    return isinstance(error, PluginError) or is_existing_file(name)


def run_checks_in_process(request: CheckRequest, limit: float = TIME_LIMIT_S) -> list[CheckResult]:
    """Run the checks of a request in a new process, and return their results.

    If the process dies or exceeds its time limit, the check that was running has failed. If no check was running, the
    failure has the name `start` before the first check, and the name `process` after a check.

    Args:
        request: the request.
        limit: time limit in seconds.

    Raises:
        StoreError: no folder for temporary files can be written.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="algorace-check-", ignore_cleanup_errors=True)
    except OSError as error:
        problem = f"nothing can be checked: no temporary folder can be created ({error.strerror or error})"
        raise StoreError(problem, fix="free some space, or set TMPDIR to a folder that is writable") from None
    with folder as name:
        path = Path(name)
        (path / "request.json").write_bytes(msgspec.json.encode(request))
        ending = _run_process(path, limit)
        return list(_join_results(_read_results(path / "results.jsonl"), ending))


def _run_process(folder: Path, limit: float) -> str:
    """Run the process of the checks. Return the reason why the process ended early; empty if it did not."""
    # The plugin may print. Its output must not mix with the output of the command.
    output = sys.stderr if os.environ.get("BENCH_DEBUG") else subprocess.DEVNULL
    process = subprocess.Popen(
        python_process.command("harness.testing", str(folder)),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=python_process.environment(),
        start_new_session=True,  # so that the processes that the plugin starts can be killed, too
    )
    try:
        code = process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        return f"all checks together took longer than {limit:g} s"
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"the process ended with {_describe_code(code)}" if code else ""


def _describe_code(code: int) -> str:
    try:
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"
    except ValueError:
        return f"signal {-code}"


def _read_results(path: Path) -> list[CheckResult]:
    """Return the results in a file. A last line that the process did not write completely is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [msgspec.json.decode(line, type=CheckResult) for line in lines]


def _join_results(results: Sequence[CheckResult], ending: str) -> Iterator[CheckResult]:
    """Yield the results of checks that ended, and a failure for the check during which the process ended.

    If the process ended between two checks, the failure is named `process`, and the message names the check before it.
    """
    yield from (result for result in results if result.status != "started")
    if not ending:
        return
    failed = CheckResult(name="start")
    if results and results[-1].status == "started":
        failed = results[-1]
    elif results:
        failed = CheckResult(name="process", workload=results[-1].workload)
        ending = f"{ending}, after the check {results[-1].name}"
    fix = "BENCH_DEBUG=1 bench check … prints the output of the process"
    yield msgspec.structs.replace(failed, status="failed", problem=ending, fix=fix)
