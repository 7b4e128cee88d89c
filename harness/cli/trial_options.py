"""Options of the commands that run trials. Every command describes them with the same words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.resolve import LimitedInteger, NameType

F = TypeVar("F", bound=Callable[..., Any])


def seed_option(command: F) -> F:
    """Add the option `--seed` to a command."""
    return click.option(
        "--seed", type=LimitedInteger("seed"), default=0, envvar="BENCH_SEED", show_default=True,
        help="Root seed, from which all other seeds are derived.",
    )(command)  # fmt: skip


def device_option(command: F) -> F:
    """Add the option `--device` to a command."""
    return click.option("--device", envvar="BENCH_DEVICE", help="cpu, cuda or mps (default: by the workload's tier).")(
        command
    )


def allow_slow_option(command: F) -> F:
    """Add the option `--allow-slow` to a command."""
    return click.option("--allow-slow", is_flag=True, help="Allow GPU workloads to run on the CPU.")(command)


def threads_option(command: F) -> F:
    """Add the option `--threads` to a command."""
    return click.option(
        "--threads", type=LimitedInteger("threads"), default=1, envvar="BENCH_THREADS", show_default=True,
        help="Number of processor threads per trial. It is part of the hardware class.",
    )(command)  # fmt: skip


def runs_option(command: F) -> F:
    """Add the option `--runs` to a command."""
    return click.option(
        "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="BENCH_RUNS", show_default=True,
        help="Folder of local runs.",
    )(command)  # fmt: skip


def executor_option(command: F) -> F:
    """Add the option `--executor` to a command."""
    return click.option(
        "--executor", type=NameType("executor"), default="local", envvar="BENCH_EXECUTOR", show_default=True,
        help="Executor of the trials.",
    )(command)  # fmt: skip


def jobs_option(command: F) -> F:
    """Add the option `--jobs` to a command."""
    return click.option(
        "--jobs", type=LimitedInteger("jobs"), envvar="BENCH_JOBS",
        help="Number of trials at once (default: all that fit).",
    )(command)  # fmt: skip


def retry_failed_option(command: F) -> F:
    """Add the option `--retry-failed` to a command."""
    return click.option(
        "--retry-failed", is_flag=True,
        help="Rerun trials that crashed, were rejected, timed out or ran out of memory.",
    )(command)  # fmt: skip
