"""Plan and run the comparison of schedules and optimizers, and write its page docs/comparison.md.

Each trial has one thread. The figures of a run are its results. A run is not repeated if its figures are stored in
measured.json, or if its record is in --runs. If the command is stopped, the same command resumes it.

    python -m studies.methods --plan
    python -m studies.methods                            (hours; may be stopped at any time)
    python -m studies.methods --table > docs/comparison.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.contract.run import ExecutionOptions
from harness.errors import EXIT_FAILED, EXIT_OK, BenchError
from harness.plugins.registry import load_registry
from studies.methods.costs import RunCosts, plan_lines
from studies.methods.design import read_design
from studies.methods.figures import MEASURED, read_finished, read_stored
from studies.methods.page import page
from studies.methods.plan import StudyPlan
from studies.methods.results import Results
from studies.methods.run import StudyRunner

RUNS = Path(__file__).resolve().parents[2] / "runs" / "methods"


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
        prog="python -m studies.methods", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--plan", action="store_true", help="print the trials and their estimated time, and run nothing"
    )
    parser.add_argument("--table", action="store_true", help="print the page with its tables, and run nothing")
    parser.add_argument("--arms", type=_names, default=(), help="comma-separated submissions (default: all)")
    parser.add_argument("--workloads", type=_names, default=(), help="comma-separated workloads (default: all)")
    parser.add_argument(
        "--seeds", type=int, help="number of seeds on which the best settings run (default: as in the design)"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="run only a few steps of each trial; such runs are not in the tables"
    )
    parser.add_argument("--runs", type=Path, default=RUNS, help=f"folder of the runs and their records ({RUNS})")
    parser.add_argument("--new", action="store_true", help="ignore the stored figures")
    parser.add_argument("--jobs", type=int, default=2, help="number of trials at once (default: 2)")
    parser.add_argument("--retry-failed", action="store_true", help="run failed trials again")
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _plan_or_run(options: argparse.Namespace) -> int:
    design, registry = read_design(), load_registry()
    problems: list[str] = []
    # All stored figures are from whole runs, so they cannot replace smoke runs.
    stored = None if options.new or options.smoke else MEASURED
    finished = read_finished(stored, options.runs, design, problems)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    if options.table:
        sys.stdout.write(page(Results(design, finished.figures(), registry)))
        return EXIT_OK
    # A stage of the study is one workload at one budget (see `studies.methods.design`).
    stages = design.select_stages(options.arms, options.workloads, options.seeds)
    plan = StudyPlan(design, registry, smoke=options.smoke)
    if options.plan:
        for line in plan_lines(stages, plan, finished, RunCosts(read_stored(MEASURED)), options.jobs):
            print(line)
        return EXIT_OK
    settings = ExecutionOptions(jobs=options.jobs, retry_failed=options.retry_failed)
    runner = StudyRunner(plan, finished.stored, options.runs, settings, registry)
    broken = [run for run in runner.run(stages) if not run.is_complete]
    for run in broken:  # `run.run` is the run_id, which is also the name of the run's folder
        print(f"{run.status}: {run.arm} on {run.workload}, {options.runs / run.run}", file=sys.stderr)
    return EXIT_FAILED if broken else EXIT_OK


if __name__ == "__main__":
    raise SystemExit(main())
