"""What plugins yield: entries for workloads, parts, submissions, executors and datasets."""

from __future__ import annotations

from harness.contract.base import Data
from harness.contract.domains import HParams, Scalar, Space
from harness.contract.part_kinds import PART_KINDS, PartKindName
from harness.contract.workload import WorkloadFacts

#: What a submission may declare that it needs; a workload or ruleset that does not give it makes it ineligible.
NEEDS = frozenset(
    {"horizon", "boundaries", "feedback", "holdout", "raw-grad", "pool", "stream", "replay", "scores", "tokens"}
)


class Source(Data, frozen=True, kw_only=True):
    """Where a method comes from: a paper, and the equation or section in it."""

    title: str
    arxiv: str | None = None
    equation: str | None = None


class WorkloadEntry(Data, frozen=True, kw_only=True):
    """What `bench_workloads` yields.

    Args:
        facts: the workload as data.
        load: `package.module:Class`, imported only in the worker.
        arguments: keyword arguments for the class (variants of one class).
        aliases: other names it may be asked for by; records have `facts.name`.
        summary: one line.
        sources: papers.
        sibling: the workload on the tier below.
        needs_data: the datasets that must be present: `name`, files of one as `name/pattern`, or so many training
            tokens of one as `name:4.1B`.
        distribution: filled in by the loader.
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
        kind, name: identity; `kind:name` names the part.
        load: `package.module:callable`.
        summary: one line.
        space: its hyperparameters; the names are the callable's keyword arguments.
        checks: relations that must hold, such as `"beta1 < 1"` or `"warmup + decay <= horizon"`.
        needs: what it needs of workload and ruleset (see `NEEDS`), beside what its kind implies.
        excludes: kinds of parts that it does not go with.
        aliases: other names it may be asked for by; compositions and records have `name`.
        sources: papers.
        distribution: filled in by the loader.
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
        """What it declares to need, and what every part of its kind needs."""
        return self.needs | PART_KINDS[self.kind].implied_needs


class SubmissionEntry(Data, frozen=True, kw_only=True):
    """What `bench_submissions` yields.

    Args:
        name, version: identity; the version is bumped when a change alters results.
        summary: one line.
        load: `package.module:Name` of a `Recipe` or of a class with the level-2 protocol; None when
            the submission is just its `parts`.
        parts: `kind:name` of the parts it is composed of.
        needs: what it needs of workload and ruleset, beside what its parts need.
        space: its hyperparameters, over those of its parts (same names override).
        points: settings that are tried, in this order, in place of points drawn from its space.
        checks: relations that must hold, beside those of its parts.
        model_options: options it requests of the model where a workload offers them.
        sources, tags: papers and free words for filtering.
        distribution: filled in by the loader.
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
    """What `bench_executors` yields: a place where trials run."""

    name: str
    load: str
    summary: str
    distribution: str = ""


class DatasetFile(Data, frozen=True, kw_only=True):
    """One file of a dataset.

    Args:
        name: its name in the dataset's folder.
        sha256: of the published file, in hex; empty where no trustworthy value is known.
        content_sha256: of what a published gzip file unpacks to. A copy with this content is as good as the published
            file whoever packed it, whatever its size.
        size: of the published file in bytes; 0 where it is not known.
        urls: where it can be had, the preferred place first.
        member: when the urls name a tar archive, the path of the file inside it.
        tokens: training tokens in it, for those who want so many of them; 0 for what is needed whatever their number.
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
        name, title: identity, and what it is in one line.
        licence: the terms it is published under.
        files: everything that `bench data get` fetches.
        folders: trees that nobody may redistribute; `bench data import` links them.
        check: `package.module:function`, called with the path of each file or folder; raises `DataError` when
            the format is wrong. It decides alone where no checksum is known.
        homepage, note: where it comes from, and what one should know.
        distribution: filled in by the loader.
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
