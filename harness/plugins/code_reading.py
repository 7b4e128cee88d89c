"""Read submissions and workloads from their code: from a Python file, a class, or the object that an entry loads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.workload import SOURCE_MARK, WorkloadFacts
from harness.errors import PluginError, UsageError
from harness.plugins import cache
from harness.plugins.cache import StampedRequest
from harness.plugins.code_hash import code_hash
from harness.plugins.contents import PluginContents, ReadRequest, Signature, TargetKind
from harness.plugins.loading import is_file, split_load
from harness.plugins.locating import FileName, locate, split_file_name
from harness.plugins.source_hash import import_closure


class DeclaredSubmission(NamedTuple):
    """What the code of a submission declares. `signatures` and `is_derived` are explained in `PluginContents`."""

    entry: SubmissionEntry
    signatures: tuple[Signature, ...] = ()
    is_derived: bool = False

    @classmethod
    def from_contents(cls, contents: PluginContents) -> DeclaredSubmission:
        return cls(contents.submissions[0], contents.signatures, contents.is_derived)


# --- files ----------------------------------------------------------------------------------------------------------


def submission_from_path(text: str) -> DeclaredSubmission:
    """Return the submission in a file.

    Args:
        text: `path/to/file.py`, or `path/to/file.py:Name` if the file defines several submissions.

    Raises:
        UsageError: the file does not exist, raises an exception, takes too long to import, or does not define exactly
            one submission. The message contains the file and, if known, the line.
    """
    return DeclaredSubmission.from_contents(_read_path(text, "submission"))


def workload_from_path(text: str) -> WorkloadEntry:
    """Return the entry of the workload in a file. The argument and the errors are as in `submission_from_path`."""
    return _with_code_hash(_read_path(text, "workload").workloads[0])


def _read_path(text: str, target_kind: Literal["submission", "workload"]) -> PluginContents:
    given_path, name = split_file_name(text) or FileName(text, None)
    # `os.path.isfile` returns False for a text that no file system can store; pathlib raises an error for such a text.
    if not os.path.isfile(os.path.expanduser(given_path)):
        shown = given_path if len(given_path) <= _MAX_PATH_LENGTH else f"{given_path[:_MAX_PATH_LENGTH]}…"
        raise UsageError(f"{shown}: there is no such file", fix="give the path of a Python file")
    path = Path(os.path.expanduser(given_path)).resolve()
    if path.suffix != ".py":
        raise UsageError(f"{given_path}: not a Python file", fix="give a file whose name ends in .py")
    contents = _read(ReadRequest(target_kind=target_kind, target=str(path), name=name), [path])
    if contents.error is not None:
        fix = (
            _explain_local_import(contents.error, path) or contents.fix or f"run `python {given_path}` to see the error"
        )
        raise UsageError(f"{given_path}: {contents.error}", fix=fix)
    return contents


def _with_code_hash(entry: WorkloadEntry) -> WorkloadEntry:
    """Return the workload's entry, with the first digits of its code hash appended to the version.

    Users do not raise the version at every edit of a file. With the hash, every edit of the code gives another version.
    Results of earlier code therefore never count as results of the current code, and never share a table with these.
    """
    version = f"{entry.facts.version}{SOURCE_MARK}{code_hash([entry.load])[:_HASH_DIGITS]}"
    return msgspec.structs.replace(entry, facts=msgspec.structs.replace(entry.facts, version=version))


#: Number of digits of the code's hash in the version of a workload.
_HASH_DIGITS = 8


#: Fix for an entry whose code raises an error. The placeholder is the entry's import path.
_IMPORT_FIX = "correct {}, then run bench check"
#: Maximum number of characters of a path in a message.
_MAX_PATH_LENGTH = 200


# --- classes and the entries of plugins -----------------------------------------------------------------------------


def entry_from_class(load: str) -> SubmissionEntry:
    """Return the entry of a torch optimizer class, such as `torch.optim:Adam`, with a constant learning rate.

    Raises:
        UsageError: the class cannot be imported, or is not a torch optimizer class.
    """
    module, _ = split_load(load)
    located = map(locate, {module.partition(".")[0], module})
    contents = _read(
        ReadRequest(target_kind="class", target=load), sorted(path for path in located if path is not None)
    )
    if contents.error is not None:
        raise UsageError(f"{load}: {contents.error}", fix=contents.fix or "run `bench list` to see all names")
    return contents.submissions[0]


def read_loaded_submission(entry: SubmissionEntry) -> DeclaredSubmission:
    """Return the declarations of the object that a submission's entry loads.

    Raises:
        PluginError: the object cannot be loaded, is not a submission, or has a method or part with wrong arguments.
    """
    assert entry.load is not None, f"{entry.name} loads nothing"
    contents = _read_loaded("loaded submission", entry.load)
    if contents.error is not None:
        raise PluginError(
            f"the submission {entry.name!r} is broken: {contents.error}",
            fix=contents.fix or _IMPORT_FIX.format(entry.load),
        )
    return DeclaredSubmission.from_contents(contents)


def read_loaded_facts(entry: WorkloadEntry) -> WorkloadFacts | None:
    """Return the facts of the class that a workload's entry loads.

    Returns:
        The facts; None if the class has no attribute `facts`, or if the import fails with a transient error, such as an
        exceeded time limit. If the result is None, nothing is compared here. The worker then compares the facts of the
        object that it loads with the facts in the entry.

    Raises:
        PluginError: the class cannot be loaded, or has a method with wrong arguments.
    """
    contents = _read_loaded("loaded workload", entry.load)
    if contents.error is not None and not contents.is_transient:
        raise PluginError(
            f"the workload {entry.name!r} is broken: {contents.error}",
            fix=contents.fix or _IMPORT_FIX.format(entry.load),
        )
    return contents.workloads[0].facts if contents.workloads else None


def _read_loaded(target_kind: TargetKind, load: str) -> PluginContents:
    module, _ = split_load(load)
    files = [Path(module)] if is_file(module) else sorted(import_closure(module).values())
    # Two checkouts may contain modules of the same name. The path in the key keeps their cached answers separate.
    return _read(ReadRequest(target_kind=target_kind, target=load), files, key_path=str(files[-1]) if files else "")


def _read(request: ReadRequest, files: Sequence[Path], key_path: str = "") -> PluginContents:
    """Return the answer to a request. The answer comes from the cache unless one of the files has changed.

    Args:
        request: the request.
        files: the files on which the answer depends.
        key_path: part of the cache's key, for targets of the same name in different files; "" if not needed.
    """
    key = "\n".join((request.target_kind, request.target, request.name or key_path))
    stamp = cache.stamp(map(cache.file_state, files))
    return cache.read_plugins({key: StampedRequest(request=request, stamp=stamp)})[key].contents


def _explain_local_import(error: str, path: Path) -> str | None:
    """Return a fix if the file could not import a module from its own folder; None for other errors.

    The folder of the file is not on `sys.path`, because the record contains only the hash of the file itself.
    """
    _, missing, text = error.partition("ModuleNotFoundError: No module named '")
    module = text.partition("'")[0]
    if missing and path.with_name(f"{module}.py").exists():
        return f"put {module}.py and this file into one file or a package; a file cannot import from its folder"
    return None
