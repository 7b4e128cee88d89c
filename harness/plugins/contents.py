"""The request to the process that reads a plugin, and its answer, as plain data."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.entries import DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry


class ReadRequest(Data, frozen=True, kw_only=True):
    """What a child process is to read.

    Args:
        action: what `target` is: an entry point's value, a file with a submission or a workload, or a class.
        target: that value, path or class.
        title: the name under which pluggy registers the plugin.
        name: the name in the file to read; None where the file must define only one.
        path: `sys.path` of the asking process.
        limit: seconds after which the child ends itself.
    """

    action: Literal["plugin", "submission", "workload", "class"]
    target: str
    title: str = ""
    name: str | None = None
    path: tuple[str, ...] = ()
    limit: float = 0.0


class PluginContents(Data, frozen=True, kw_only=True):
    """What a plugin, file or class offers, validated; or the error that reading it raised.

    Args:
        hooks: names of the hooks that it implements.
        workloads, submissions, parts, executors, datasets: the entries that they yield.
        error: what is wrong with it, one line; None where it could be read.
        fix: what to do about the error; None where that is not known.
    """

    hooks: tuple[str, ...] = ()
    workloads: tuple[WorkloadEntry, ...] = ()
    submissions: tuple[SubmissionEntry, ...] = ()
    parts: tuple[PartEntry, ...] = ()
    executors: tuple[ExecutorEntry, ...] = ()
    datasets: tuple[DatasetEntry, ...] = ()
    error: str | None = None
    fix: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """`kind:name` of every entry; remembered, so that a later error can say which plugin offered a name."""
        return (
            *(f"workload:{entry.name}" for entry in self.workloads),
            *(f"submission:{entry.name}" for entry in self.submissions),
            *(f"part:{entry.id}" for entry in self.parts),
            *(f"executor:{entry.name}" for entry in self.executors),
            *(f"dataset:{entry.name}" for entry in self.datasets),
        )

    @property
    def problem(self) -> str | None:
        """The error with what to do about it, in one line."""
        return f"{self.error} ({self.fix})" if self.error and self.fix else self.error
