"""The options of all commands that run gates: the size of the runs, and where and how the runs are executed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.resolve import LimitedInteger, NameType
from harness.contract.limits import parse_number

F = TypeVar("F", bound=Callable[..., Any])


class Percent(click.ParamType[float]):
    """A percentage of at least 0, such as `3` or `3%`."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = parse_number(str(value).strip().removesuffix("%"))
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            self.fail(f"{value!r} must be a percentage of at least 0, such as 3", param, ctx)
        return number


_OPTIONS = (
    click.option(
        "--budget",
        type=int,
        metavar="EXAMPLES",
        help="Number of examples per run (default: a quarter of the horizon, or more if this is too short for 16 "
        "evaluations).",
    ),
    click.option(
        "--min-effect",
        type=Percent(),
        default=3.0,
        show_default="3 %",
        help="Smallest relevant effect in percent. Submissions with a smaller difference count as equivalent.",
    ),
    click.option(
        "--no-envelope",
        is_flag=True,
        help="Compare the metrics directly, without converting them into budgets of the reference.",
    ),
    click.option(
        "--envelopes",
        type=click.Path(path_type=Path),
        default=Path("calibration/gate"),
        show_default=True,
        help="Folder of the provisional envelopes (the reference's metric as a function of its budget).",
    ),
    click.option(
        "--seed",
        type=LimitedInteger("seed"),
        default=0,
        envvar="BENCH_SEED",
        show_default=True,
        help="Root seed, from which all other seeds are derived.",
    ),
    click.option("--device", envvar="BENCH_DEVICE", help="cpu, cuda or mps (default: by the workload's tier)."),
    click.option(
        "--threads",
        type=LimitedInteger("threads"),
        default=1,
        envvar="BENCH_THREADS",
        show_default=True,
        help="Number of processor threads per run. It is part of the hardware class.",
    ),
    click.option(
        "--runs",
        type=click.Path(path_type=Path),
        default=Path("runs"),
        envvar="BENCH_RUNS",
        show_default=True,
        help="Folder of local runs. Finished runs in it are not repeated.",
    ),
    click.option(
        "--executor",
        type=NameType("executor"),
        default="local",
        envvar="BENCH_EXECUTOR",
        show_default=True,
        help="Executor of the runs.",
    ),
    click.option(
        "--jobs",
        type=LimitedInteger("jobs"),
        envvar="BENCH_JOBS",
        help="Number of runs at once (default: all that fit).",
    ),
    click.option(
        "--retry-failed", is_flag=True, help="Rerun runs that crashed, were rejected, timed out or ran out of memory."
    ),
    click.option("--allow-slow", is_flag=True, help="Allow GPU workloads to run on the CPU."),
)


def gate_run_options(command: F) -> F:
    """Add the options of the runs to a command that runs gates."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
