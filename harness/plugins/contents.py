"""The request to a child process to read a plugin, and the answer of the child process."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.entries import (
    DatasetEntry,
    ExecutorEntry,
    ObserverEntry,
    PartEntry,
    SubmissionEntry,
    WorkloadEntry,
)

#: What a child process reads:
#: `plugin`: a plugin with all its entries.
#: `submission`, `workload`: the submission or workload in a file.
#: `class`: a torch optimizer class without an entry.
#: `loaded submission`, `loaded workload`: the object that an entry loads.
TargetKind = Literal["plugin", "submission", "workload", "class", "loaded submission", "loaded workload"]


class ReadRequest(Data, frozen=True, kw_only=True):
    """A request to a child process to read a plugin, file or class.

    Args:
        target_kind: what the target is.
        target: value of a plugin's entry point, path of a file, or import path of an object.
        title: the name under which pluggy registers the plugin; empty for a file or class.
        name: name of the submission or workload in the file. If it is None, the file must define exactly one.
        path: `sys.path` of the requesting process.
        limit: time limit of the child process in seconds. The requesting process enforces it.
    """

    target_kind: TargetKind
    target: str
    title: str = ""
    name: str | None = None
    path: tuple[str, ...] = ()
    limit: float = 0.0


class Signature(Data, frozen=True, kw_only=True):
    """The arguments of a function that is a part of a recipe.

    Args:
        kind: kind of the part.
        function: name of the function.
        positional: names of the arguments that the harness passes by position.
        accepted: names of the arguments that may be hyperparameters.
        required: names in `accepted` that have no default. Only hyperparameters can supply their values.
        open: whether the function accepts any hyperparameter (`**kwargs`).
    """

    kind: str
    function: str
    positional: tuple[str, ...]
    accepted: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    open: bool = False


class PluginContents(Data, frozen=True, kw_only=True):
    """The validated entries of a plugin, file or class, or the error that occurred while it was read.

    Args:
        hooks: names of the hooks that the plugin implements.
        workloads, submissions, parts, executors, observers, datasets: the entries that the plugin's hooks yield. A
            file or class gives at most one submission or workload.
        signatures: if the target is a recipe, the signatures of its functions.
        is_derived: whether the search space of a submission was derived from the signature of an optimizer class.
        error: the error in one line; None if there was no error.
        fix: what to do about the error; None if unknown.
        is_transient: whether a later call may succeed. Examples: the child process was killed or took too long, or the
            system lacked memory.
        limit_s: the time limit in seconds that was exceeded; 0 if none was exceeded.
    """

    hooks: tuple[str, ...] = ()
    workloads: tuple[WorkloadEntry, ...] = ()
    submissions: tuple[SubmissionEntry, ...] = ()
    parts: tuple[PartEntry, ...] = ()
    executors: tuple[ExecutorEntry, ...] = ()
    observers: tuple[ObserverEntry, ...] = ()
    datasets: tuple[DatasetEntry, ...] = ()
    signatures: tuple[Signature, ...] = ()
    is_derived: bool = False
    error: str | None = None
    fix: str | None = None
    is_transient: bool = False
    limit_s: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """`kind:name` of every entry. The cache keeps these names, so that errors can name a broken plugin."""
        return (
            *(f"workload:{entry.name}" for entry in self.workloads),
            *(f"submission:{entry.name}" for entry in self.submissions),
            *(f"part:{entry.id}" for entry in self.parts),
            *(f"executor:{entry.name}" for entry in self.executors),
            *(f"observer:{entry.name}" for entry in self.observers),
            *(f"dataset:{entry.name}" for entry in self.datasets),
        )

    @property
    def problem(self) -> str | None:
        """The error and its fix in one line."""
        return f"{self.error} ({self.fix})" if self.error and self.fix else self.error
