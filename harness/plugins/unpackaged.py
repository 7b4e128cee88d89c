"""Make entries for submissions and workloads that no plugin declares: Python files and torch optimizer classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

import msgspec

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.workload import SOURCE_MARK
from harness.errors import UsageError
from harness.plugins import cache
from harness.plugins.cache import StampedRequest
from harness.plugins.contents import PluginContents, ReadRequest
from harness.plugins.loading import split_load
from harness.plugins.locating import FileName, locate, split_file_name
from harness.plugins.source_hash import source_hash


@overload
def entry_from_path(text: str, kind: Literal["submission"]) -> SubmissionEntry: ...
@overload
def entry_from_path(text: str, kind: Literal["workload"]) -> WorkloadEntry: ...
def entry_from_path(text: str, kind: Literal["submission", "workload"]) -> SubmissionEntry | WorkloadEntry:
    """Return the entry of a submission or workload in a file.

    Args:
        text: `path/to/file.py`, or `path/to/file.py:Name` if the file defines several submissions or workloads.
        kind: whether the file defines a submission or a workload.

    Raises:
        UsageError: the file does not exist, raises an exception, takes too long to import, or does not define exactly
            one submission or workload. The message has the file and, if known, the line.
    """
    given_path, name = split_file_name(text) or FileName(text, None)
    # `os.path` answers for every text; pathlib raises for a text that no file system can store.
    if not os.path.isfile(os.path.expanduser(given_path)):
        shown = given_path if len(given_path) <= _MAX_SHOWN else f"{given_path[:_MAX_SHOWN]}…"
        raise UsageError(f"{shown}: there is no such file", fix="give the path of a Python file")
    path = Path(os.path.expanduser(given_path)).resolve()
    if path.suffix != ".py":
        raise UsageError(f"{given_path}: not a Python file", fix="give a file whose name ends in .py")
    contents = _read(ReadRequest(action=kind, target=str(path), name=name), [path])
    if contents.error is not None:
        fix = contents.fix or _explain_sibling(contents.error, path) or f"run `python {given_path}` to see the error"
        raise UsageError(f"{given_path}: {contents.error}", fix=fix)
    return contents.submissions[0] if kind == "submission" else _with_source(contents.workloads[0])


def _with_source(entry: WorkloadEntry) -> WorkloadEntry:
    """Return the workload with a part of its source hash appended to its version.

    Nobody raises the version at every edit of a file. With the hash in the version, results of an earlier source are
    never kept as results of the present one, and never share a table with them.
    """
    version = f"{entry.facts.version}{SOURCE_MARK}{source_hash([entry.load])[:_SOURCE_DIGITS]}"
    return msgspec.structs.replace(entry, facts=msgspec.structs.replace(entry.facts, version=version))


#: Number of digits of the source hash in the version of a workload.
_SOURCE_DIGITS = 8


#: Largest number of characters of a path in a message.
_MAX_SHOWN = 200


def entry_from_class(load: str) -> SubmissionEntry:
    """Return the entry of a torch optimizer class, such as `torch.optim:Adam`, with a constant learning rate.

    Raises:
        UsageError: the class cannot be imported, or is not a torch optimizer class.
    """
    module, _ = split_load(load)
    located = map(locate, {module.partition(".")[0], module})
    contents = _read(ReadRequest(action="class", target=load), sorted(path for path in located if path is not None))
    if contents.error is not None:
        raise UsageError(f"{load}: {contents.error}", fix=contents.fix or "run `bench list` to see all names")
    return contents.submissions[0]


def _read(request: ReadRequest, files: Sequence[Path]) -> PluginContents:
    """Return the answer to a request, from the cache unless one of these files has changed."""
    key = "\n".join((request.action, request.target, request.name or ""))
    stamp = cache.stamp(map(cache.file_state, files))
    return cache.read_plugins({key: StampedRequest(request=request, stamp=stamp)})[key].contents


def _explain_sibling(error: str, path: Path) -> str | None:
    """Return a fix if the error is a failed import of a module in the file's own folder; None for other errors.

    Modules in the file's folder cannot be imported, because the record contains only the hash of the file itself.
    """
    _, missing, text = error.partition("ModuleNotFoundError: No module named '")
    module = text.partition("'")[0]
    if missing and path.with_name(f"{module}.py").exists():
        return f"put {module}.py and this file into one file or a package; a file's folder is not importable"
    return None
