"""Cases of the fuzzer as plain data: the files of a case, its command, and the outcome that is expected.

A case can be written to a JSON file and read back, so that a failure can be replayed.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

#: Types of the items in a case's folder. A sparse file has the size `CaseFile.size` and occupies no space.
FileType = Literal["file", "folder", "fifo", "link", "sparse"]
#: The expected outcome of a case:
#:
#: - `any`: no expectation, except that nothing fails (no traceback, no hang …)
#: - `accepted`: the command uses the input
#: - `refused`: the command does not use the input
#: - `usage`: the command refuses the input with exit code 2
#: - `trial`: the command tries to run a trial, which the fuzzer then prevents
Expected = Literal["any", "accepted", "refused", "usage", "trial"]


@dataclass(frozen=True, kw_only=True)
class CaseFile:
    """A file, folder, pipe or link in the folder in which a case runs.

    Args:
        path: path relative to the folder.
        type: type of the item.
        content: content of a file.
        target: target of a symbolic link.
        size: size in bytes of a sparse file.
    """

    path: str
    type: FileType = "file"
    content: bytes = b""
    target: str = ""
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class FuzzCase:
    """A command with its input, and the expected outcome.

    Args:
        kind: kind of input.
        number: index of the case among the cases of its kind.
        files: files, folders, pipes and links in the folder in which the command runs.
        arguments: arguments of `bench`.
        function: name of a function of the package `harness` that is called instead of `bench`; empty for `bench`.
        keywords: keyword arguments of the function.
        environment: environment variables.
        expected: the expected outcome.
        absent: text that must not appear on stdout, such as the run_id of a damaged record; empty for no check.
        present: text that must appear in the output, such as the name of a damaged log; empty for no check.
        ignored: path of a damaged file that `bench` must ignore; empty for no check. Exit code, stdout and report must
            be the same as without this file.
        change: how the valid input was changed, for the report.
    """

    kind: str
    number: int
    files: tuple[CaseFile, ...] = ()
    arguments: tuple[str, ...] = ()
    function: str = ""
    keywords: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    expected: Expected = "any"
    absent: str = ""
    present: str = ""
    ignored: str = ""
    change: str = ""


def without_ignored(case: FuzzCase) -> FuzzCase:
    """Return a case without the file that `bench` must ignore."""
    return replace(case, files=tuple(file for file in case.files if file.path != case.ignored), ignored="")


def write_files(files: Sequence[CaseFile], folder: Path) -> None:
    """Write the files of a case, except those whose name the file system refuses."""
    for file in files:
        try:
            path = os.fsencode(str(folder / file.path))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write_file(file, path)
        except (OSError, ValueError):
            continue


def _write_file(file: CaseFile, path: bytes) -> None:
    match file.type:
        case "folder":
            os.makedirs(path, exist_ok=True)
        case "fifo":
            os.mkfifo(path)
        case "link":
            os.symlink(os.fsencode(file.target), path)
        case "file" | "sparse":
            with open(path, "wb") as out:
                out.write(file.content)
                if file.type == "sparse":
                    out.truncate(file.size)


def save_case(case: FuzzCase, path: Path, problem: str) -> None:
    """Write a case and the problem that it shows to a JSON file."""
    fields = asdict(case)
    fields["problem"] = problem
    for file in fields["files"]:
        file["content"] = base64.b64encode(file["content"]).decode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, indent=1) + "\n")


def load_case(path: Path) -> FuzzCase:
    """Read a case that `save_case` wrote."""
    fields = json.loads(path.read_text())
    fields.pop("problem", None)
    files = tuple(CaseFile(**{**f, "content": base64.b64decode(f["content"])}) for f in fields.pop("files"))
    return FuzzCase(**{**fields, "files": files, "arguments": tuple(fields["arguments"])})
