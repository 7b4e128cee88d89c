"""Choose files of a dataset by pattern or by number of tokens, and make the command that fetches them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from harness.contract.entries import DatasetEntry
from harness.errors import UsageError, unknown_name_error


def select_names(entry: DatasetEntry, only: Sequence[str] = ()) -> list[str]:
    """Return the names of the files and folders that match a pattern. Without patterns, return all names.

    Raises:
        UsageError: a pattern matches nothing.
    """
    names = [file.name for file in entry.files] + list(entry.folders)
    for pattern in only:
        if not any(fnmatchcase(name, pattern) for name in names):
            error = unknown_name_error("file", pattern, names)
            raise UsageError(f"{entry.name}: {error.what}", fix=error.fix)
    return [name for name in names if not only or any(fnmatchcase(name, pattern) for pattern in only)]


def parse_tokens(text: str) -> int:
    """Parse a number of tokens. It may end with the unit k (10³), M (10⁶) or B (10⁹), in upper or lower case.

    Raises:
        UsageError: the text is not a number of tokens.

    >>> parse_tokens("1B"), parse_tokens("4.1b"), parse_tokens("500M"), parse_tokens("2_048")
    (1000000000, 4100000000, 500000000, 2048)
    """
    match = re.fullmatch(r"([\d_]+(?:\.\d+)?) ?([kmbKMB]?)", text.strip())
    number = round(float(match[1]) * {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}[match[2].lower()]) if match else 0
    if number < 1:
        raise UsageError(f"{text!r} is not a number of tokens", fix="write 1B, 4.1B or 500M, for example")
    return number


def select_by_tokens(entry: DatasetEntry, tokens: int) -> list[str]:
    """Return the names of the first training files that together have at least this many tokens.

    Files without training tokens, such as validation data, are always included.

    Raises:
        UsageError: the entry of the dataset gives no numbers of tokens, or the dataset has fewer tokens.
    """
    total = sum(file.tokens for file in entry.files)
    if not total:
        raise UsageError(f"{entry.name} has no numbers of tokens", fix="choose files by name with --only PATTERN")
    if tokens > total:
        problem = f"{entry.name} has {total:,} training tokens, fewer than {tokens:,}"
        raise UsageError(problem, fix=f"choose at most {total:,}")
    names, selected = [], 0
    for file in entry.files:
        if not file.tokens or selected < tokens:
            names.append(file.name)
            selected += file.tokens
    return names


class DataRequirement(NamedTuple):
    """The data that a workload needs: all files of a dataset, or some of them.

    Args:
        dataset: name of the dataset.
        pattern: pattern of the names of the files; empty for all files.
        tokens: number of training tokens, in the notation of `parse_tokens`; empty for all files.
    """

    dataset: str
    pattern: str = ""
    tokens: str = ""

    @classmethod
    def parse(cls, text: str) -> DataRequirement:
        """Parse a requirement of the form `name`, `name/pattern` or `name:4.1B`."""
        name, slash, pattern = text.partition("/")
        if not slash:
            name, _, tokens = text.partition(":")
            return cls(name, tokens=tokens)
        return cls(name, pattern)

    def only(self, entry: DatasetEntry) -> tuple[str, ...]:
        """Return patterns of the required files; empty for all files."""
        if self.tokens:
            return tuple(select_by_tokens(entry, parse_tokens(self.tokens)))
        return (self.pattern,) if self.pattern else ()

    @property
    def fetch_command(self) -> str:
        """The command that fetches the required files."""
        flag = f" --tokens {self.tokens}" if self.tokens else f" --only '{self.pattern}'" if self.pattern else ""
        return f"bench data get {self.dataset}{flag}"


def fetch_command(entry: DatasetEntry) -> str:
    """Return the command that downloads a dataset, or that imports a dataset without URLs."""
    if any(file.urls for file in entry.files):
        return f"bench data get {entry.name}"
    return f"bench data import {entry.name} FOLDER"
