"""`bench check`: check a submission or workload before it is run."""

from __future__ import annotations

import click

from harness.authoring import checking
from harness.cli import resolve
from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text
from harness.contract.checking import CheckRequest, CheckResult
from harness.contract.entries import SubmissionEntry
from harness.errors import EXIT_FAILED, EXIT_OK, BenchError, UsageError
from harness.planning.resolve import resolve_workload, split_names
from harness.report.checks import results_text


@click.command("check", epilog=examples("bench check wsd", "bench check ./my_optimizer.py --json"))
@click.argument("target", metavar="NAME|PATH")
@click.option(
    "-w",
    "--workload",
    "workloads",
    multiple=True,
    metavar="NAME,…",
    help="Check a submission on these workloads instead of the micro-workloads.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(blocked_plugins: list[str], target: str, workloads: tuple[str, ...], as_json: bool) -> int:
    """Check a submission or workload: declarations, signatures and short runs.

    Give the name of an installed submission, workload or part, or the path of a file. A submission runs for a few steps
    on three micro-workloads: small images, sequences of tokens, and a stream. Each failure is printed with its fix. The
    exit code is 1 if a check failed. docs/authors.md describes the checks.
    """
    registry = resolve.open_registry(blocked_plugins)
    results: list[CheckResult] = []
    kind = ""
    try:
        entry = checking.resolve_entry(target, registry)
    except BenchError as error:
        if not checking.is_broken(target, error):
            raise
        results.append(CheckResult(name=checking.DECLARATION, status="failed", problem=error.what, fix=error.fix or ""))
    else:
        results.append(CheckResult(name=checking.DECLARATION))
        is_submission = isinstance(entry, SubmissionEntry)
        kind = "submission" if is_submission else "workload"
        if workloads and not is_submission:
            raise UsageError(
                f"{target} is a workload, so it is not checked on other workloads", fix="leave out --workload"
            )
        chosen = tuple(resolve_workload(name, registry) for name in split_names(workloads))
        note(f"checking the {kind} {entry.name}")
        request = (
            CheckRequest(submission=entry, workloads=chosen, blocked=tuple(blocked_plugins))
            if isinstance(entry, SubmissionEntry)
            else CheckRequest(workloads=(entry,), blocked=tuple(blocked_plugins))
        )
        results += checking.run_checks_in_process(request)
    failed = any(result.status == "failed" for result in results)
    if as_json:
        print_json({"target": target, "kind": kind, "passed": not failed, "checks": results})
    else:
        print_text(results_text(target, results))
    return EXIT_FAILED if failed else EXIT_OK
