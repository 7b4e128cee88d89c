"""Entries for submissions and workloads that no installed plugin offers: files, and bare optimizer classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, overload

from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.errors import UsageError
from harness.plugins import cache
from harness.plugins.cache import StampedRequest
from harness.plugins.contents import PluginContents, ReadRequest
from harness.plugins.loading import split_load
from harness.plugins.locating import locate


@overload
def entry_from_path(text: str, kind: Literal["submission"]) -> SubmissionEntry: ...
@overload
def entry_from_path(text: str, kind: Literal["workload"]) -> WorkloadEntry: ...
def entry_from_path(text: str, kind: Literal["submission", "workload"]) -> SubmissionEntry | WorkloadEntry:
    """The entry of a submission or workload in a file.

    Args:
        text: `path/to/file.py`, or `path/to/file.py:Name` where the file defines several.

    Raises:
        UsageError: the file does not exist, raises, takes too long, or defines none or several; the message names the
            file and, where there is one, the line.
    """
    before, colon, after = text.rpartition(":")
    has_name = bool(colon) and before.endswith(".py")
    shown, name = (before, after) if has_name else (text, None)
    path = Path(shown).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"{shown}: there is no such file", fix="give the path of a Python file")
    if path.suffix != ".py":
        raise UsageError(f"{shown}: not a Python file", fix="its name must end in .py")
    contents = _read(ReadRequest(action=kind, target=str(path), name=name), [path])
    if contents.error is not None:
        fix = contents.fix or _explain_sibling(contents.error, path) or f"`python {shown}` runs it alone"
        raise UsageError(f"{shown}: {contents.error}", fix=fix)
    return contents.submissions[0] if kind == "submission" else contents.workloads[0]


def entry_from_class(load: str) -> SubmissionEntry:
    """The entry of a torch optimizer class, such as `torch.optim:Adam`, at a constant learning rate.

    Raises:
        UsageError: the class cannot be imported, or is not a torch optimizer class.
    """
    module, _ = split_load(load)
    located = map(locate, {module.partition(".")[0], module})
    contents = _read(ReadRequest(action="class", target=load), sorted(path for path in located if path is not None))
    if contents.error is not None:
        raise UsageError(f"{load}: {contents.error}", fix=contents.fix or "`bench list` shows what there is")
    return contents.submissions[0]


def _read(request: ReadRequest, files: Sequence[Path]) -> PluginContents:
    """The answer to a request that depends on these files."""
    key = "\n".join((request.action, request.target, request.name or ""))
    stamp = cache.stamp(map(cache.file_state, files))
    return cache.read_plugins({key: StampedRequest(request=request, stamp=stamp)})[key].contents


def _explain_sibling(error: str, path: Path) -> str | None:
    """Why `import helper` fails although helper.py is in the same folder: a record covers only the file itself."""
    _, missing, text = error.partition("ModuleNotFoundError: No module named '")
    module = text.partition("'")[0]
    if missing and path.with_name(f"{module}.py").exists():
        return f"{module}.py in the same folder is not imported: put all into one file, or package them"
    return None
