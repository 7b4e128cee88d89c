"""The messages between this process and a child process that reads a plugin: the request and the answer."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.entries import DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry


class ReadRequest(Data, frozen=True, kw_only=True):
    """A request to a child process to read a plugin, file or class.

    Args:
        action: kind of `target`: an entry point's value, a file with a submission or a workload, or a class.
        target: the entry point's value, the file's path, or the import path of the class.
        title: the name under which pluggy registers the plugin; empty for a file or class.
        name: name of the submission or workload in the file; None if the file must define exactly one.
        path: `sys.path` of the requesting process.
        limit: seconds after which the child process ends itself.
    """

    action: Literal["plugin", "submission", "workload", "class"]
    target: str
    title: str = ""
    name: str | None = None
    path: tuple[str, ...] = ()
    limit: float = 0.0


class PluginContents(Data, frozen=True, kw_only=True):
    """The validated entries of a plugin, file or class, or the error that occurred while it was read.

    Args:
        hooks: names of the hooks that the plugin implements.
        workloads, submissions, parts, executors, datasets: the entries that the hooks yield.
        error: the error in one line; None if there was no error.
        fix: what to do about the error; None if unknown.
        passing: whether the error is transient: the child process was killed, took too long or could not be started, or
            the system lacked memory or space. Such an error is not cached.
    """

    hooks: tuple[str, ...] = ()
    workloads: tuple[WorkloadEntry, ...] = ()
    submissions: tuple[SubmissionEntry, ...] = ()
    parts: tuple[PartEntry, ...] = ()
    executors: tuple[ExecutorEntry, ...] = ()
    datasets: tuple[DatasetEntry, ...] = ()
    error: str | None = None
    fix: str | None = None
    passing: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """`kind:name` of every entry. The cache stores these names, so that errors can name the plugin of an entry."""
        return (
            *(f"workload:{entry.name}" for entry in self.workloads),
            *(f"submission:{entry.name}" for entry in self.submissions),
            *(f"part:{entry.id}" for entry in self.parts),
            *(f"executor:{entry.name}" for entry in self.executors),
            *(f"dataset:{entry.name}" for entry in self.datasets),
        )

    @property
    def problem(self) -> str | None:
        """The error and its fix in one line."""
        return f"{self.error} ({self.fix})" if self.error and self.fix else self.error
