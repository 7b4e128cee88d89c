"""The options of all commands that run gates: the size of the runs, and where and how the runs are executed."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.trial_options import (
    allow_slow_option,
    device_option,
    executor_option,
    jobs_option,
    retry_failed_option,
    runs_option,
    seed_option,
    threads_option,
)
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
    seed_option,
    device_option,
    threads_option,
    runs_option,
    executor_option,
    jobs_option,
    retry_failed_option,
    allow_slow_option,
)


def gate_run_options(command: F) -> F:
    """Add the options of the runs to a command that runs gates."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
