"""The executors of this repository."""

from __future__ import annotations

from collections.abc import Iterable

from harness.api import ExecutorEntry, hookimpl


@hookimpl
def bench_executors() -> Iterable[ExecutorEntry]:
    """This machine."""
    yield ExecutorEntry(
        name="local", load="harness.executors.local:execute", summary="worker processes on this machine, one at a time"
    )
