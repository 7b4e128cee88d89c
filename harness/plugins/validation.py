"""Validate entries when they are registered, so that other code can rely on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from harness.contract import hyperparameters
from harness.contract.base import MAX_VERSION
from harness.contract.domains import Choice, Domain, Fixed, LogUniform
from harness.contract.entries import (
    NEEDS,
    DatasetEntry,
    ExecutorEntry,
    ObserverEntry,
    PartEntry,
    SubmissionEntry,
    WorkloadEntry,
)
from harness.contract.part_kinds import PART_KINDS
from harness.contract.workload import WorkloadFacts
from harness.errors import BenchError
from harness.system.files import is_file_name

Entry: TypeAlias = WorkloadEntry | SubmissionEntry | PartEntry | ExecutorEntry | ObserverEntry | DatasetEntry

#: Maximum number of characters of a version in an entry. The version of a workload in a file also gets a hash.
_MAX_VERSION = MAX_VERSION - 20
NAME = re.compile(r"[a-z0-9][a-z0-9._+:-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NAME_RULE = "must begin with a lower-case letter or digit and contain only these and . _ + : -"
_LOAD = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*|.+\.py:[A-Za-z_][\w.]*")


def validate_entry(entry: Entry) -> list[str]:
    """Return the problems of an entry as clauses. The list is empty if the entry is valid.

    The types of fields are checked when the entry is decoded, not here.
    """
    if isinstance(entry, DatasetEntry):
        return list(_check_dataset(entry))
    problems = list(_check_identity(entry))
    if isinstance(entry, WorkloadEntry | PartEntry):
        problems += [f"the alias {name!r} {_NAME_RULE}" for name in entry.aliases if not NAME.fullmatch(name)]
    if isinstance(entry, WorkloadEntry):
        problems += _check_facts(entry.facts)
    elif isinstance(entry, PartEntry):
        problems += _check_method(entry)
    elif isinstance(entry, SubmissionEntry):
        problems += _check_method(entry)
        problems += _check_parts(entry)
    return problems


def _check_identity(
    entry: WorkloadEntry | SubmissionEntry | PartEntry | ExecutorEntry | ObserverEntry,
) -> Iterator[str]:
    if not NAME.fullmatch(entry.name):
        yield f"the name {entry.name!r} {_NAME_RULE}"
    version = entry.facts.version if isinstance(entry, WorkloadEntry) else getattr(entry, "version", "1")
    if not version or "@" in version or version != version.strip():
        yield f"the version {version!r} must not be empty, contain @, or begin or end with a space"
    elif len(version) > _MAX_VERSION or not version.isprintable():
        yield f"the version {version[:_MAX_VERSION]!r} must have at most {_MAX_VERSION} printable characters"
    if not entry.summary.strip() or "\n" in entry.summary:
        yield "the summary must be one line"
    if entry.load is not None and not _LOAD.fullmatch(entry.load):
        yield f"load={entry.load!r} must be of the form package.module:Name or file.py:Name"


def _check_dataset(entry: DatasetEntry) -> Iterator[str]:
    names = [file.name for file in entry.files] + list(entry.folders)
    if not NAME.fullmatch(entry.name):
        yield f"the name {entry.name!r} {_NAME_RULE}"
    for name in (entry.name, *names):
        if not is_file_name(name):
            yield f"{name!r} must be a file name that begins with a letter or digit and contains only these and . _ + -"
    if (duplicate := find_duplicate(names)) is not None:
        yield f"it has {duplicate!r} twice"
    if not names:
        yield "it must have a file or a folder"
    for field, line in (("title", entry.title), ("licence", entry.licence)):
        if not line.strip() or "\n" in line:
            yield f"the {field} must be one line"
    if entry.check and not _LOAD.fullmatch(entry.check):
        yield f"check={entry.check!r} must be of the form package.module:function or file.py:function"
    for file in entry.files:
        for field, digest in (("sha256", file.sha256), ("content_sha256", file.content_sha256)):
            if digest and not _SHA256.fullmatch(digest):
                yield f"the {field} of {file.name} must be 64 hexadecimal digits in lower case"
        if file.content_sha256 and not file.sha256:
            yield f"{file.name} has a content_sha256 and must have a sha256, too"
        if file.size < 0:
            yield f"the size of {file.name} must not be negative"
        if file.tokens < 0:
            yield f"the tokens of {file.name} must not be negative"
        for url in file.urls:
            if not url.startswith(("http://", "https://")):
                yield f"the URL {url!r} must begin with http:// or https://"


def _check_method(entry: PartEntry | SubmissionEntry) -> Iterator[str]:
    """Yield the problems of hyperparameters, checks and needs."""
    yield from _check_space(entry.space)
    for check in entry.checks:
        try:
            hyperparameters.parse_check(check)
        except ValueError as error:
            yield str(error)
    if unknown := sorted(entry.needs - NEEDS):
        yield f"unknown needs {', '.join(map(repr, unknown))}; choose from {', '.join(sorted(NEEDS))}"


def _check_parts(entry: SubmissionEntry) -> Iterator[str]:
    for part in entry.parts:
        kind, _, name = part.partition(":")
        if not name or kind not in PART_KINDS:
            yield f"the part {part!r} must be of the form kind:name, with a kind of {', '.join(PART_KINDS)}"
    kinds = {part.partition(":")[0] for part in entry.parts}
    for part_kind in PART_KINDS.values():
        if entry.load is None and part_kind.required and part_kind.name not in kinds:
            yield f"it must have `load`, or a part of kind {part_kind.name} among its `parts`"


def _check_facts(facts: WorkloadFacts) -> Iterator[str]:
    every, horizon = facts.eval_every, facts.budget.horizon
    if every < 1 or horizon < 1:
        yield f"eval_every={every} and the horizon {horizon} must be positive"
        return
    if horizon % every:
        yield f"the horizon {horizon} must be a multiple of eval_every={every}"
    if not facts.batch_sizes:
        yield "batch_sizes must not be empty"
    for size in facts.batch_sizes:
        if size < 1 or every % size:
            yield f"the batch size {size} must divide eval_every={every}"
    if facts.budget.gradient_examples < horizon:
        yield f"gradient_examples={facts.budget.gradient_examples} must be at least the horizon {horizon}"
    if facts.budget.seconds.get("default", 0.0) <= 0 or min(facts.budget.seconds.values()) <= 0:
        yield "the budget's seconds must be positive for 'default' and for every listed hardware class"
    if facts.tokens_per_example < 1 or facts.replay_capacity < 0:
        yield "tokens_per_example must be positive and replay_capacity not negative"
    if not facts.targets:
        yield "it must have a target"
    for level, targets in facts.levels.items():
        if level not in ("easy", "hard"):
            yield f"levels are 'easy' and 'hard', not {level!r}"
        elif facts.stages:
            yield "a stream cannot have easy or hard targets, because its stages end at the main targets"
        elif [(t.metric, t.goal) for t in targets] != [(t.metric, t.goal) for t in facts.targets]:
            yield f"the {level} targets must have the same metrics and goals as the targets"
    yield from _check_stages(facts)
    yield from _check_space(facts.model_options)


def _check_stages(facts: WorkloadFacts) -> Iterator[str]:
    if facts.access == "pool":
        if facts.stages:
            yield "a pool cannot have stages"
        return
    if not facts.stages:
        yield "a stream needs at least one stage"
    names = [stage.name for stage in facts.stages]
    if (duplicate := find_duplicate(names)) is not None:
        yield f"it has the stage {duplicate!r} twice"
    for stage in facts.stages:
        if not stage.targets:
            yield f"the stage {stage.name!r} must have a target"
        if stage.max_examples < 1:
            yield f"the stage {stage.name!r} must allow at least one example"
    caps = sum(stage.max_examples for stage in facts.stages)
    if facts.stages and caps != facts.budget.horizon:
        yield f"the horizon {facts.budget.horizon} must be the sum of the stages' max_examples, {caps}"


def _check_space(space: Mapping[str, Domain]) -> Iterator[str]:
    for name, domain in space.items():
        if not name.isidentifier():
            yield f"the hyperparameter {name!r} must be a Python name"
        elif problem := _find_domain_problem(domain):
            yield f"the hyperparameter {name}: {problem}"


def _find_domain_problem(domain: Domain) -> str:
    if isinstance(domain, Choice):
        if not domain.values:
            return "a choice must have values"
    elif not isinstance(domain, Fixed):
        if domain.low > domain.high:
            return f"low={domain.low:g} is above high={domain.high:g}"
        if isinstance(domain, LogUniform) and domain.low <= 0:
            return f"low={domain.low:g} must be positive on a logarithmic scale"
    try:
        hyperparameters.validate("default", hyperparameters.default(domain), domain)
    except BenchError as error:
        return str(error)
    return ""


def find_duplicate(names: Iterable[str]) -> str | None:
    """Return the first name that occurs a second time, or None.

    >>> find_duplicate(["a", "b", "a"])
    'a'
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
