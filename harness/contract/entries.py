"""Entries: the data with which plugins declare workloads, parts, submissions, executors, observers and datasets."""

from __future__ import annotations

from harness.contract.base import Data
from harness.contract.domains import HParams, Scalar, Space
from harness.contract.part_kinds import PART_KINDS, PartKindName
from harness.contract.workload import WorkloadFacts

#: The names of the needs that a submission may declare. If the workload or the ruleset does not provide a declared
#: need, the submission is ineligible and is not run.
NEEDS = frozenset(
    {"horizon", "boundaries", "feedback", "holdout", "raw-grad", "pool", "stream", "replay", "scores", "tokens"}
)


class Source(Data, frozen=True, kw_only=True):
    """A paper that defines a method.

    Args:
        title: the title of the paper.
        arxiv: the arXiv number, such as `1412.6980`; None if the paper is not on arXiv.
        equation: the equation, algorithm or section of the paper; None for the whole paper.
    """

    title: str
    arxiv: str | None = None
    equation: str | None = None


class WorkloadEntry(Data, frozen=True, kw_only=True):
    """The declaration of a workload, which the hook `bench_workloads` yields.

    Args:
        facts: the workload as data.
        load: import path of the class, `package.module:Class`. Commands that only list or score do not import it.
        arguments: keyword arguments of the class. Variants of a workload have the same class and different arguments.
        aliases: further names that users may write; records contain only `facts.name`.
        summary: description in one line.
        sources: papers that define the workload.
        sibling: name of a smaller workload for the same kind of task, on the same or the next smaller tier; None if
            there is none.
        needs_data: the required datasets. `name` stands for a whole dataset, `name/pattern` for the files that match a
            pattern, and `name:4.1B` for the first files that together have 4.1 billion training tokens.
        redraws_held_out: whether each run with a nonce draws new held-out data. If so, the class has a method
            `draw_held_out(seeds)` (see `harness.worker.redrawing.Redrawable`).
        distribution: name of the Python distribution that yields the entry; filled in by the harness.
    """

    facts: WorkloadFacts
    load: str
    arguments: dict[str, Scalar] = {}
    aliases: tuple[str, ...] = ()
    summary: str
    sources: tuple[Source, ...] = ()
    sibling: str | None = None
    needs_data: tuple[str, ...] = ()
    redraws_held_out: bool = False
    distribution: str = ""

    @property
    def name(self) -> str:
        return self.facts.name


class PartEntry(Data, frozen=True, kw_only=True):
    """The declaration of a part of recipes (optimizer, schedule, averager …), which the hook `bench_parts` yields.

    Args:
        kind: kind of the part (see `harness.contract.part_kinds`).
        name: name of the part, unique within its kind; `kind:name` identifies the part.
        load: import path of the callable, `package.module:callable`.
        summary: description in one line.
        space: domains of the hyperparameters by name. The callable has keyword arguments with these names.
        checks: relations that the hyperparameters must satisfy, such as `"beta1 < 1"` or
            `"warmup + decay <= horizon"`.
        needs: names of the needs of the part (see `NEEDS`), in addition to the needs that the kind implies.
        excludes: kinds of parts with which this part cannot be combined.
        aliases: further names that users may write; compositions and records contain only `name`.
        sources: papers that define the method.
        takes_over: names of hyperparameters of other parts that this part sets during the run, such as `beta1` for a
            schedule that cycles the momentum. Neither a search nor an override can change them.
        distribution: name of the Python distribution that yields the entry; filled in by the harness.
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
    takes_over: frozenset[str] = frozenset()
    distribution: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def all_needs(self) -> frozenset[str]:
        """The declared needs, and the needs that the kind of the part implies."""
        return self.needs | PART_KINDS[self.kind].implied_needs


class SubmissionEntry(Data, frozen=True, kw_only=True):
    """The declaration of a submission, which the hook `bench_submissions` yields.

    Args:
        name: name of the submission.
        version: version of the submission. It must increase when a change alters results.
        summary: description in one line.
        load: import path `package.module:Name` of a `Recipe` or of a class that implements `Submission`. None if the
            submission consists only of `parts`.
        parts: the parts of the submission, in the form `kind:name`.
        needs: names of the needs of the submission (see `NEEDS`), in addition to the needs of its parts.
        space: domains of the hyperparameters by name. A domain in `space` replaces the domain that a part declares for
            the same hyperparameter.
        points: hyperparameter settings that are tried in this order, instead of settings drawn from `space`.
        checks: relations that the hyperparameters must satisfy, in addition to the checks of its parts.
        model_options: model options that the submission requests; the workload must offer them.
        sources: papers that define the method.
        tags: words with which users can filter submissions.
        distribution: name of the Python distribution that yields the entry; filled in by the harness.
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
    """The declaration of an executor (the component that runs trials), which the hook `bench_executors` yields.

    Args:
        name: name of the executor, for `--executor`.
        load: import path of the function that executes trials, `package.module:function`.
        summary: description in one line.
        distribution: name of the Python distribution that yields the entry; filled in by the harness.
    """

    name: str
    load: str
    summary: str
    distribution: str = ""


class ObserverEntry(Data, frozen=True, kw_only=True):
    """The declaration of an observer that runs only on request, which the hook `bench_observers` yields.

    Args:
        name: name of the observer, for `--observe`.
        load: import path of a class, `package.module:Class`. The methods of the class are hooks of observers. The
            process of the observer creates an object of the class. The argument of the constructor is the path of the
            folder for the observer's files.
        summary: description in one line.
        imports: names of modules that the class imports, but that may be missing on the machine.
        install: the command that installs these modules; empty if there is none.
        distribution: name of the Python distribution that yields the entry; filled in by the harness.
    """

    name: str
    load: str
    summary: str
    imports: tuple[str, ...] = ()
    install: str = ""
    distribution: str = ""


class DatasetFile(Data, frozen=True, kw_only=True):
    """One file of a dataset.

    Args:
        name: name of the file in the dataset's folder.
        sha256: SHA-256 of the published file, in hex; empty if no trustworthy value is known.
        content_sha256: SHA-256 of the decompressed content of a published gzip file; empty for other files. A gzip file
            with this content is accepted, even if its compression and size differ from those of the published file.
        size: size of the published file in bytes; 0 if unknown.
        urls: addresses from which the file can be downloaded. The first address is preferred.
        member: path of the file inside the tar archive at `urls`; empty if the file itself is at `urls`.
        tokens: number of training tokens in the file; 0 for a file that is always downloaded. If a user requests 4.1
            billion tokens, files are downloaded in the order of the entry until they contain at least this number.
    """

    name: str
    sha256: str = ""
    content_sha256: str = ""
    size: int = 0
    urls: tuple[str, ...] = ()
    member: str = ""
    tokens: int = 0


class DatasetEntry(Data, frozen=True, kw_only=True):
    """The declaration of a dataset, which the hook `bench_datasets` yields.

    A dataset consists of files that are downloaded, and of folders that a user provides.

    Args:
        name: name of the dataset.
        title: description in one line.
        licence: licence of the dataset.
        files: the files that `bench data get` downloads.
        folders: names of folders that must not be redistributed. `bench data import` links the user's copy.
        check: import path `package.module:function` of a function that checks the format. The function is called with
            the path of each file or folder, and raises `DataError` if the format is wrong. It is the only check of a
            file without a known checksum. Empty if there is no such function.
        homepage: address of the dataset's web page.
        note: further information for users, or empty.
        distribution: name of the Python distribution that yields the entry; filled in by the harness.
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
