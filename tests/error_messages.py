"""What an error message must look like, where errors are constructed, and a record of those of a test session."""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from harness import errors
from harness.errors import BenchError

ROOT = Path(__file__).resolve().parent.parent
MAX_LENGTH = 300
#: Turns of phrase that one has to read twice, and what to write instead.
PRIVATE_WORDS = {
    r"(?<!there )\bis no\b": "is not a",
    r"(?<!there )\bare no\b": "are not",
    r"\bis none\b": "is not a",
    r"\bnone of ours\b": "not written by the harness",
    r"\bsaid\b": "the term for the value",
    r"\bwhoever\b": "the term for who",
    r"\bsay\b": "write",
    r"\bput there\b": "written",
    r"\bstands? there\b": "exists",
    r"\bgoes with no\b": "cannot be combined with",
    r"\bone that never\b": "uninterrupted",
    r"\bas many as\b": "the number",
}
#: Folders whose messages stay as they are: their bytes are part of the source hashes of published records.
PUBLISHED = ("workloads", "submissions")


@dataclass(frozen=True, kw_only=True)
class RecordedError:
    """An error that was constructed, and where.

    Args:
        place: `file:line` of the code that constructed it, relative to the repository.
    """

    kind: str
    what: str
    fix: str | None
    place: str

    @property
    def folder(self) -> str:
        return self.place.partition("/")[0]


def find_problems(what: str, fix: str | None) -> list[str]:
    """What is wrong with the form of an error's message; empty where nothing is.

    >>> find_problems("lr=-1 is out of range", "allowed: above 0")
    []
    >>> find_problems("lr=-1 is no rate.", None)
    ['what ends in a full stop', "what has 'is no': write 'is not a'", 'fix is missing']
    """
    problems = []
    for part, text in (("what", what), ("fix", fix)):
        if text is None:
            continue
        if not text.strip() or text != text.strip():
            problems.append(f"{part} is empty or has spaces at an end")
        if "\n" in text:
            problems.append(f"{part} has several lines")
        if text.endswith(".") and not text.endswith("…."):
            problems.append(f"{part} ends in a full stop")
        for pattern, better in PRIVATE_WORDS.items():
            if match := re.search(pattern, text):
                problems.append(f"{part} has {match[0]!r}: write {better!r}")
    # Without the folders of paths, whose length is not the message's.
    length = len(re.sub(r"(?<![\w/.])/?([\w.+-]+/)+", "/", what))
    if length > MAX_LENGTH:
        problems.append(f"what has {length} characters, more than {MAX_LENGTH}")
    if len(what.split()) < 3:
        problems.append("what must name the thing that was asked for, and say what is wrong with it")
    if not fix:
        problems.append("fix is missing")
    return problems


# --- at run time ----------------------------------------------------------------------------------------------------


class ErrorRecorder:
    """Records the errors that the code of the repository constructs after `install`, except those of tests."""

    def __init__(self) -> None:
        self.errors: list[RecordedError] = []

    def install(self) -> None:
        """Wrap the constructor of `BenchError`."""
        construct = BenchError.__init__

        @functools.wraps(construct)
        def __init__(error: BenchError, *arguments: Any, **keywords: Any) -> None:
            construct(error, *arguments, **keywords)
            if (place := _find_place()) is not None:
                self.errors.append(
                    RecordedError(kind=type(error).__name__, what=error.what, fix=error.fix, place=place)
                )

        BenchError.__init__ = __init__  # type: ignore[method-assign, assignment]


def write_errors(folder: Path, recorded: list[RecordedError]) -> None:
    """Write the errors of this process to a file of a folder, which is created where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{os.getpid()}.json").write_bytes(msgspec.json.encode(recorded))


def read_errors(folder: Path) -> list[RecordedError]:
    """The errors that `write_errors` has written to a folder."""
    files = sorted(folder.glob("*.json"))
    return [error for file in files for error in msgspec.json.decode(file.read_bytes(), type=list[RecordedError])]


def _find_place() -> str | None:
    """Where the error under construction is raised; None outside the folders of the product."""
    frame: FrameType | None = sys._getframe(2)
    # Constructors of derived classes and the helpers beside the classes are passed over.
    while frame and (frame.f_code.co_name == "__init__" or frame.f_code.co_filename == errors.__file__):
        frame = frame.f_back
    if frame is None:
        return None
    path = Path(frame.f_code.co_filename)
    if not path.is_relative_to(ROOT):
        return None
    relative = path.relative_to(ROOT)
    return f"{relative.as_posix()}:{frame.f_lineno}" if relative.parts[0] in ("harness", *PUBLISHED) else None


# --- in the source --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RaiseSite:
    """A place in the source that constructs an error.

    Args:
        kind: name of its class.
        place: `file:line`, relative to the repository.
        last_line: the last line of the call.
        text: the literal text of the message, with `…` for every value; empty where there is none.
        has_fix: whether `fix` is passed.
    """

    kind: str
    place: str
    last_line: int
    text: str
    has_fix: bool


def error_classes() -> list[str]:
    """The names of the classes in `harness.errors`."""
    return [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, BenchError)]


def find_raise_sites(folder: Path) -> Iterator[RaiseSite]:
    """Every call in a folder that constructs an error of the benchmark."""
    classes = set(error_classes())
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}
    for tree in trees.values():  # classes derived elsewhere
        classes |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and _derives(node, classes)}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes:
                yield RaiseSite(
                    kind=node.func.id,
                    place=f"{path.relative_to(ROOT).as_posix()}:{node.lineno}",
                    last_line=node.end_lineno or node.lineno,
                    text=_literal_text(node.args[0]) if node.args else "",
                    has_fix=any(keyword.arg == "fix" for keyword in node.keywords),
                )


def _derives(node: ast.ClassDef, classes: set[str]) -> bool:
    return any(isinstance(base, ast.Name) and base.id in classes for base in node.bases)


def _literal_text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""
