"""Make a package or a single file for a new submission or workload. The code comes from templates or a user's file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Literal, TypeAlias

from harness import __version__
from harness.errors import StoreError, UsageError
from harness.plugins.code_reading import submission_from_path
from harness.plugins.loading import split_load
from harness.system.files import read_file

Kind: TypeAlias = Literal["submission", "workload"]

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Prefix of the names of distributions that offer plugins.
PREFIX = "bench-"
_COMMON = {"pyproject.toml": "package/pyproject.toml", ".gitignore": "package/gitignore"}
_CI = {".github/workflows/test.yml": "package/test.yml"}
#: Path of the file with the algorithm in the package of a submission.
_METHOD = "$package/method.py"
#: Template of the tests of a submission whose code comes from a file.
_TEST_OF_FILE = "submission/test_contract.py"
#: Path of a file in the package -> its templates, joined by `+`.
_PACKAGES: Mapping[Kind, Mapping[str, str]] = MappingProxyType(
    {
        "submission": {
            **_COMMON,
            "README.md": "submission/README.md",
            "$package/__init__.py": "submission/plugin.py",
            _METHOD: "submission/method.py",
            "tests/test_$module.py": "submission/test.py",
            **_CI,
        },
        "workload": {
            **_COMMON,
            "README.md": "workload/README.md",
            "$package/__init__.py": "workload/plugin.py",
            "$package/facts.py": "workload/facts_head.py+workload/facts.py",
            "$package/task.py": "workload/task_head.py+workload/task.py",
            "tests/test_$module.py": "workload/test.py",
            **_CI,
        },
    }
)
#: Templates of a single file.
_FILES: Mapping[Kind, str] = MappingProxyType(
    {
        "submission": "submission/method.py",
        "workload": "workload/file_head.py+workload/facts.py+workload/task.py",
    }
)


@dataclass(frozen=True, kw_only=True)
class Scaffold:
    """A package or file that was written.

    Args:
        path: the folder of the package, or the file.
        files: paths of the files, relative to the package's folder; for a single file, its name.
    """

    path: Path
    files: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file with a submission, from which a package is made.

    Args:
        text: the content of the file.
        name: name of the recipe or class in the file.
    """

    text: str
    name: str


def read_source_file(location: str) -> SourceFile:
    """Return the submission in a file.

    Args:
        location: `path/to/file.py`, or `path/to/file.py:Name` if the file defines several submissions.

    Raises:
        UsageError: the file cannot be imported, or `location` does not select exactly one submission with code.
    """
    load = submission_from_path(location).entry.load
    if load is None:
        raise UsageError(f"{location} has no code of its own", fix="name a file that defines a Recipe or a class")
    path, name = split_load(load)
    return SourceFile(text=read_file(Path(path)).decode(), name=name)


def write_scaffold(
    kind: Kind, name: str, folder: Path, single_file: bool = False, source: SourceFile | None = None
) -> Scaffold:
    """Write a new package or file. Nothing is overwritten, and a failure leaves nothing behind.

    Args:
        kind: whether to write a submission or a workload.
        name: name of the submission or workload, such as `my-method`. A prefix `bench-` is removed.
        folder: folder in which the package or file is written.
        single_file: whether to write one file instead of a package.
        source: the submission that the package contains instead of the submission in the template.

    Raises:
        UsageError: the name is not allowed, or the path exists.
        StoreError: the folder cannot be written.
    """
    words = _words(kind, name)
    if single_file:
        contents = {f"{words['module']}.py": render(_FILES[kind], words)}
        path = folder / f"{words['module']}.py"
    else:
        path = folder / words["distribution"]
        contents = _package_contents(kind, words, source)
    if path.exists() or path.is_symlink():
        raise UsageError(
            f"{path} exists already, and nothing is overwritten", fix="choose another name, or another folder with --to"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if single_file:
            with open(path, "x", encoding="utf-8") as file:
                file.write(next(iter(contents.values())))
        else:
            _write_package(path, contents)
    except OSError as error:
        problem = f"{path} cannot be written: {error.strerror or error}"
        raise StoreError(problem, fix="choose another folder with --to") from None
    return Scaffold(path=path, files=tuple(contents))


def _package_contents(kind: Kind, words: Mapping[str, str], source: SourceFile | None) -> dict[str, str]:
    """Return the texts of the files of a package by path."""
    if source is None:
        return {_fill(file, words): render(template, words) for file, template in _PACKAGES[kind].items()}
    words = {**words, "class_name": source.name}
    templates = {file: template for file, template in _PACKAGES[kind].items() if file != _METHOD}
    templates["tests/test_$module.py"] = _TEST_OF_FILE
    contents = {_fill(file, words): render(template, words) for file, template in templates.items()}
    return contents | {_fill(_METHOD, words): source.text}


def _write_package(path: Path, contents: Mapping[str, str]) -> None:
    """Write the files of a package into a temporary folder, and rename the folder."""
    with tempfile.TemporaryDirectory(prefix=".bench-new-", dir=path.parent, ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / path.name
        for name, text in contents.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        folder.rename(path)


def _words(kind: Kind, name: str) -> dict[str, str]:
    """Return the values of the placeholders in templates.

    Raises:
        UsageError: the name is not allowed.
    """
    name = name.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a package", fix="write lower-case letters, digits and hyphens: my-method"
        )
    module = name.replace("-", "_")
    return {
        "kind": kind,
        "name": name,
        "module": module,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "package": f"bench_{module}",
        "distribution": f"{PREFIX}{name}",
        "requirement": _requirement(__version__),
    }


def _requirement(version: str) -> str:
    """Return the versions of the harness for which a package is written (docs/versioning.md).

    >>> _requirement("0.1.0")
    'algorace>=0.1,<0.2'
    """
    major, minor = (int(piece) for piece in version.split(".")[:2])
    return f"algorace>={major}.{minor},<{major}.{minor + 1}"


def render(templates: str, words: Mapping[str, str]) -> str:
    """Return the joined text of templates, with two empty lines before a class and one before any other text.

    Args:
        templates: names of templates, joined by `+`.
        words: values of the placeholders.
    """
    texts = [read_file(_TEMPLATES / f"{name}.txt").decode() for name in templates.split("+")]
    joined = texts[0]
    for text in texts[1:]:
        joined += ("\n\n" if text.startswith("class ") else "\n") + text
    return _fill(joined, words)


def _fill(text: str, words: Mapping[str, str]) -> str:
    return Template(text).substitute(words)
