"""Plan and run the study of power, and write its published rows.

Each trial has one thread. A run is not repeated if its figures are stored, or if its record is in --runs. If the
command is stopped, the same command resumes it.

    python -m studies.power --plan
    python -m studies.power --workloads curriculum-mnist --budgets gate
    python -m studies.power --publish                     (then: python -m tools.make_power)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.contract.run import ExecutionOptions
from harness.errors import EXIT_OK, BenchError, UsageError, unknown_name_error
from harness.plugins.registry import load_registry
from harness.system.files import write_atomically
from studies.power.design import BUDGETS, read_design
from studies.power.figures import MEASURED, encode_figures, read_finished
from studies.power.plan import PowerPlan
from studies.power.ranking import read_rankings
from studies.power.rows import PUBLISHED, PowerRows, encode_rows, renew_rows
from studies.power.run import PowerRunner

RUNS = Path(__file__).resolve().parents[2] / "runs" / "power"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return _plan_or_run(options)
    except BenchError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.power", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", action="store_true", help="print the numbers of missing runs, and run nothing")
    parser.add_argument(
        "--publish",
        action="store_true",
        help=f"write the figures of all runs to {MEASURED.name} and the rows to workloads/{PUBLISHED.name}",
    )
    parser.add_argument("--workloads", type=_names, default=(), help="comma-separated workloads (default: all)")
    parser.add_argument("--budgets", type=_names, default=BUDGETS, help="gate, full or gate,full (default: both)")
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"folder of the runs and their records ({RUNS})")
    parser.add_argument("--new", action="store_true", help="ignore the stored figures")
    parser.add_argument("--jobs", type=int, default=1, help="number of trials at once (default: 1)")
    parser.add_argument("--retry-failed", action="store_true", help="run failed trials again")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _check_publish(options: argparse.Namespace) -> None:
    """Raise an error if `--publish` is combined with an option that it would not obey."""
    if not options.publish:
        return
    if options.new:
        raise UsageError(
            f"--publish --new would remove the figures in {MEASURED.name}",
            fix="leave out --new",
        )
    if options.workloads or options.budgets != BUDGETS or options.plan:
        raise UsageError(
            "--publish writes the rows of all workloads and budgets",
            fix="leave out --plan, --workloads and --budgets, or leave out --publish",
        )


def _plan_or_run(options: argparse.Namespace) -> int:
    design, registry = read_design(), load_registry()
    for kind, names, known in (
        ("workload of the study", options.workloads, design.workloads),
        ("budget of the study", options.budgets, BUDGETS),
    ):
        for name in names:
            if name not in known:
                raise unknown_name_error(kind, name, known)
    _check_publish(options)
    problems: list[str] = []
    figures = read_finished(None if options.new else MEASURED, options.runs, design, problems)
    plan = PowerPlan(design, registry)
    workloads = options.workloads or design.workloads
    settings = ExecutionOptions(jobs=options.jobs, retry_failed=options.retry_failed)
    runner = PowerRunner(plan, figures, options.runs, settings, registry)
    if options.publish:
        rankings = read_rankings(registry, problems)
        own_rows = PowerRows(design, plan, figures, registry, rankings)
        published = renew_rows(own_rows.all_rows(problems), rankings, registry)
        write_atomically(MEASURED, encode_figures(figures.values()))
        write_atomically(PUBLISHED, encode_rows(published))
    elif options.plan:
        for workload in workloads:
            for line in runner.missing_lines(workload, options.budgets):
                print(line)
    else:
        runner.run(workloads, options.budgets)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    return EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
