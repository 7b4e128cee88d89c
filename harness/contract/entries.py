"""Entries: what plugins yield for their workloads, parts, submissions, executors and datasets."""

from __future__ import annotations

from harness.contract.base import Data
from harness.contract.domains import HParams, Scalar, Space
from harness.contract.part_kinds import PART_KINDS, PartKindName
from harness.contract.workload import WorkloadFacts

#: What a submission may declare to need. It is ineligible where the workload or the ruleset does not give it.
NEEDS = frozenset(
    {"horizon", "boundaries", "feedback", "holdout", "raw-grad", "pool", "stream", "replay", "scores", "tokens"}
)


class Source(Data, frozen=True, kw_only=True):
    """Where a method comes from: a paper and the equation or section in it."""

    title: str
    arxiv: str | None = None
    equation: str | None = None


class WorkloadEntry(Data, frozen=True, kw_only=True):
    """What `bench_workloads` yields.

    Args:
        facts: the workload as data.
        load: import path of the class, `package.module:Class`; imported only in the worker.
        arguments: keyword arguments of the class, which tell variants of one class apart.
        aliases: other names that a user may give; records have `facts.name`.
        summary: one line.
        sources: papers.
        sibling: the workload on the tier below.
        needs_data: the datasets it needs: `name` for a whole one, `name/pattern` for some of its files, `name:4.1B` for
            a number of training tokens of it.
        distribution: the distribution that yields it; filled in by the loader.
    """

    facts: WorkloadFacts
    load: str
    arguments: dict[str, Scalar] = {}
    aliases: tuple[str, ...] = ()
    summary: str
    sources: tuple[Source, ...] = ()
    sibling: str | None = None
    needs_data: tuple[str, ...] = ()
    distribution: str = ""

    @property
    def name(self) -> str:
        return self.facts.name


class PartEntry(Data, frozen=True, kw_only=True):
    """What `bench_parts` yields: one optimizer, schedule, averager … that a recipe is composed of.

    Args:
        kind, name: identity; `kind:name` names the part (for kinds see `harness.contract.part_kinds`).
        load: import path of the callable, `package.module:callable`.
        summary: one line.
        space: its hyperparameters; the names are the callable's keyword arguments.
        checks: relations that must hold, such as `"beta1 < 1"` or `"warmup + decay <= horizon"`.
        needs: what it needs of workload and ruleset (see `NEEDS`), in addition to what its kind implies.
        excludes: kinds of parts that it cannot be combined with.
        aliases: other names that a user may give; compositions and records have `name`.
        sources: papers.
        distribution: the distribution that yields it; filled in by the loader.
    """

    kind: PartKindName
    name: str
    load: str
    summary: str
    aliases: tuple[str, ...] = ()
    space: Space = {}
    checks: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    excludes: frozenset[PartKindName] = frozenset()
    sources: tuple[Source, ...] = ()
    distribution: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def all_needs(self) -> frozenset[str]:
        """The needs that it declares, and those that its kind implies."""
        return self.needs | PART_KINDS[self.kind].implied_needs


class SubmissionEntry(Data, frozen=True, kw_only=True):
    """What `bench_submissions` yields.

    Args:
        name, version: identity; the version is bumped when a change alters results.
        summary: one line.
        load: import path of a `Recipe` or of a class that implements `Submission`, `package.module:Name`; None when the
            submission consists of its `parts`.
        parts: `kind:name` of the parts it is composed of.
        needs: what it needs of workload and ruleset, in addition to what its parts need.
        space: its hyperparameters; a domain here replaces one of the same name in its parts.
        points: settings to try, in this order, instead of points drawn from its space.
        checks: relations that must hold, in addition to those of its parts.
        model_options: options of the model that it requests; the workload must offer them.
        sources: papers.
        tags: words to filter by.
        distribution: the distribution that yields it; filled in by the loader.
    """

    name: str
    version: str = "1"
    summary: str
    load: str | None = None
    parts: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    space: Space = {}
    points: tuple[HParams, ...] = ()
    checks: tuple[str, ...] = ()
    model_options: HParams = {}
    sources: tuple[Source, ...] = ()
    tags: tuple[str, ...] = ()
    distribution: str = ""


class ExecutorEntry(Data, frozen=True, kw_only=True):
    """What `bench_executors` yields: a place where trials run, and the import path of its function."""

    name: str
    load: str
    summary: str
    distribution: str = ""


class DatasetFile(Data, frozen=True, kw_only=True):
    """One file of a dataset.

    Args:
        name: its name in the dataset's folder.
        sha256: SHA-256 of the published file, in hex; empty where no trustworthy value is known.
        content_sha256: SHA-256 of the content of a published gzip file. A copy with this content is accepted however it
            was compressed and whatever its size.
        size: bytes of the published file; 0 where unknown.
        urls: where to download it, the preferred place first.
        member: the path of the file inside the tar archive that `urls` name; empty where they name the file itself.
        tokens: training tokens in it, for requests of a number of tokens; 0 for a file that every request needs.
    """

    name: str
    sha256: str = ""
    content_sha256: str = ""
    size: int = 0
    urls: tuple[str, ...] = ()
    member: str = ""
    tokens: int = 0


class DatasetEntry(Data, frozen=True, kw_only=True):
    """What `bench_datasets` yields: files that are fetched, folders that a user provides, and how to check them.

    Args:
        name: identity.
        title: what it is, one line.
        licence: the terms it is published under.
        files: the files that `bench data get` downloads.
        folders: folders that may not be redistributed; `bench data import` links a user's copy.
        check: import path of a function, `package.module:function`. It is called with the path of each file or folder
            and raises `DataError` when the format is wrong. Where no checksum is known it is the only check.
        homepage: where the dataset is published.
        note: what a user should know about it.
        distribution: the distribution that yields it; filled in by the loader.
    """

    name: str
    title: str
    licence: str
    files: tuple[DatasetFile, ...] = ()
    folders: tuple[str, ...] = ()
    check: str = ""
    homepage: str = ""
    note: str = ""
    distribution: str = ""
