"""What an entry must be to enter the tables, checked when it is registered and never later."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from harness.contract import hyperparameters
from harness.contract.domains import Choice, Domain, Fixed, LogUniform
from harness.contract.entries import NEEDS, DatasetEntry, ExecutorEntry, PartEntry, SubmissionEntry, WorkloadEntry
from harness.contract.part_kinds import PART_KINDS
from harness.contract.workload import WorkloadFacts
from harness.errors import BenchError

Entry: TypeAlias = WorkloadEntry | SubmissionEntry | PartEntry | ExecutorEntry | DatasetEntry

NAME = re.compile(r"[a-z0-9][a-z0-9._+:-]*")
#: A dataset and its files are named as they lie on disk, so they must be plain file names.
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOAD = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*|.+\.py:[A-Za-z_][\w.]*")


def validate_entry(entry: Entry) -> list[str]:
    """What is wrong with an entry, one sentence each; empty when nothing is.

    Field types are not checked here: they are when the entry is normalised.
    """
    if isinstance(entry, DatasetEntry):
        return list(_dataset(entry))
    problems = list(_identity(entry))
    if isinstance(entry, WorkloadEntry | PartEntry):
        problems += [f"the alias {name!r} is no plain name" for name in entry.aliases if not NAME.fullmatch(name)]
    if isinstance(entry, WorkloadEntry):
        problems += _facts(entry.facts)
    elif isinstance(entry, PartEntry):
        problems += _method(entry)
    elif isinstance(entry, SubmissionEntry):
        problems += _method(entry)
        problems += _submission(entry)
    return problems


def _identity(entry: WorkloadEntry | SubmissionEntry | PartEntry | ExecutorEntry) -> Iterator[str]:
    if not NAME.fullmatch(entry.name):
        yield f"the name {entry.name!r} must be lower-case letters, digits and any of . _ + : -"
    version = entry.facts.version if isinstance(entry, WorkloadEntry) else getattr(entry, "version", "1")
    if not version or "@" in version or version != version.strip():
        yield f"the version {version!r} must be a word without @"
    if not entry.summary.strip() or "\n" in entry.summary:
        yield "the summary must be one line"
    if entry.load is not None and not _LOAD.fullmatch(entry.load):
        yield f"load={entry.load!r} must be of the form package.module:Name"


def _dataset(entry: DatasetEntry) -> Iterator[str]:
    names = [file.name for file in entry.files] + list(entry.folders)
    if not NAME.fullmatch(entry.name):
        yield f"the name {entry.name!r} must be lower-case letters, digits and any of . _ + -"
    for name in (entry.name, *names):
        if not _FILE_NAME.fullmatch(name):
            yield f"{name!r} is no plain file name"
    if (twice := find_duplicates(names)) is not None:
        yield f"it has {twice!r} twice"
    if not names:
        yield "it has no files and no folders"
    for what, line in (("title", entry.title), ("licence", entry.licence)):
        if not line.strip() or "\n" in line:
            yield f"the {what} must be one line"
    if entry.check and not _LOAD.fullmatch(entry.check):
        yield f"check={entry.check!r} must be of the form package.module:function"
    for file in entry.files:
        for field, digest in (("sha256", file.sha256), ("content_sha256", file.content_sha256)):
            if digest and not _SHA256.fullmatch(digest):
                yield f"the {field} of {file.name} must be 64 hexadecimal digits in lower case"
        if file.content_sha256 and not file.sha256:
            yield f"{file.name} has a content_sha256 and no sha256"
        if file.size < 0:
            yield f"the size of {file.name} must not be negative"
        if file.tokens < 0:
            yield f"the tokens of {file.name} must not be negative"
        for url in file.urls:
            if not url.startswith(("http://", "https://")):
                yield f"the URL {url!r} must begin with http:// or https://"


def _method(entry: PartEntry | SubmissionEntry) -> Iterator[str]:
    """Problems of hyperparameters, checks and needs."""
    yield from _space(entry.space)
    for check in entry.checks:
        try:
            hyperparameters.parse_check(check)
        except ValueError as error:
            yield str(error)
    if unknown := sorted(entry.needs - NEEDS):
        yield f"needs {', '.join(map(repr, unknown))}: known needs are {', '.join(sorted(NEEDS))}"


def _submission(entry: SubmissionEntry) -> Iterator[str]:
    for part in entry.parts:
        kind, colon, rest = part.partition(":")
        if not colon or not rest or kind not in PART_KINDS:
            yield f"the part {part!r} must be of the form kind:name, with a kind of {', '.join(PART_KINDS)}"
    kinds = {part.partition(":")[0] for part in entry.parts}
    for row in PART_KINDS.values():
        if entry.load is None and row.required and row.name not in kinds:
            yield f"it has neither `load` nor a part of kind {row.name} among its `parts`"


def _facts(facts: WorkloadFacts) -> Iterator[str]:
    every, horizon = facts.eval_every, facts.budget.horizon
    if every < 1 or horizon < 1:
        yield f"eval_every={every} and the horizon {horizon} must be positive"
        return
    if horizon % every:
        yield f"the horizon {horizon} must be a multiple of eval_every={every}"
    if not facts.batch_sizes:
        yield "batch_sizes must name at least one"
    for size in facts.batch_sizes:
        if size < 1 or every % size:
            yield f"the batch size {size} must divide eval_every={every}"
    if facts.budget.gradient_examples < horizon:
        yield f"gradient_examples={facts.budget.gradient_examples} must be at least the horizon {horizon}"
    if facts.budget.seconds.get("default", 0.0) <= 0 or min(facts.budget.seconds.values()) <= 0:
        yield "the budget must give positive seconds for 'default' and every class it lists"
    if facts.tokens_per_example < 1 or facts.replay_capacity < 0:
        yield "tokens_per_example must be positive and replay_capacity not negative"
    if not facts.targets:
        yield "it has no target"
    for level, targets in facts.levels.items():
        if level not in ("easy", "hard"):
            yield f"levels are 'easy' and 'hard', not {level!r}"
        elif facts.stages:
            yield "a stream's targets steer its stages, so it has no other levels"
        elif [(t.metric, t.goal) for t in targets] != [(t.metric, t.goal) for t in facts.targets]:
            yield f"the {level} targets must have the metrics and goals of its targets"
    yield from _stages(facts)
    yield from _space(facts.model_options)


def _stages(facts: WorkloadFacts) -> Iterator[str]:
    if facts.access == "pool":
        if facts.stages:
            yield "a pool has no stages"
        return
    if not facts.stages:
        yield "a stream needs at least one stage"
    names = [stage.name for stage in facts.stages]
    if twice := find_duplicates(names):
        yield f"the stage {twice!r} stands there twice"
    for stage in facts.stages:
        if not stage.targets:
            yield f"the stage {stage.name!r} has no target"
        if stage.max_examples < 1:
            yield f"the stage {stage.name!r} must allow at least one example"
    caps = sum(stage.max_examples for stage in facts.stages)
    if facts.stages and caps != facts.budget.horizon:
        yield f"the horizon {facts.budget.horizon} must be the sum of the stages' max_examples, {caps}"


def _space(space: Mapping[str, Domain]) -> Iterator[str]:
    for name, domain in space.items():
        if not name.isidentifier():
            yield f"the hyperparameter {name!r} must be a Python name"
        elif problem := _domain(domain):
            yield f"the hyperparameter {name}: {problem}"


def _domain(domain: Domain) -> str:
    if isinstance(domain, Choice):
        if not domain.values:
            return "a choice needs values"
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


def find_duplicates(names: Iterable[str]) -> str | None:
    """The first name that occurs twice.

    >>> find_duplicates(["a", "b", "a"])
    'a'
    """
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
