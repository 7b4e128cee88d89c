"""Read the folders of records for commands, and select the records of a submission, group or run.

A group consists of the records of one hardware class and one ruleset.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.output import note
from harness.cli.resolve import NameType
from harness.cli.trial_options import runs_option
from harness.contract.record import Record
from harness.contract.run import RunSpec
from harness.contract.workload import WorkloadFacts
from harness.errors import StoreError, UsageError, unknown_name_error
from harness.planning.roles import REFERENCE_TAG
from harness.plugins.code_reading import workload_from_path
from harness.plugins.registry import Registry
from harness.report.marks import mark_lines
from harness.report.table_records import S, TableRecords
from harness.scoring.marked import MarkFilter
from harness.scoring.selection import R
from harness.scoring.summary import LeaderboardQuery
from harness.storage import layout
from harness.storage.derived import DerivedValues
from harness.storage.envelopes import ENVELOPES_FOLDER, default_envelopes
from harness.storage.marks import index_marks
from harness.storage.records import StoredRecord, decode_stored, iter_listed_records, iter_located, read_stored
from harness.storage.shards import find_packed
from harness.verification.workloads import Workloads, index_workloads

F = TypeVar("F", bound=Callable[..., Any])
#: The remedy in messages that say that there are no results.
RUN_FIRST = "run trials with bench run"


def folder_options(command: F) -> F:
    """Add the options `--runs` and `--results` to a command."""
    results = click.option(
        "--results", type=click.Path(path_type=Path), default=Path("results"), envvar="BENCH_RESULTS",
        show_default=True, help="Folder of published records.",
    )  # fmt: skip
    return runs_option(results(command))


def envelopes_option(command: F) -> F:
    """Add the option `--envelopes` to a command."""
    return click.option(
        "--envelopes", type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the envelopes of the reference, for results of the ruleset fixed-budget (default: "
        f"{ENVELOPES_FOLDER} in the current folder, or beside the folder of published records).",
    )(command)  # fmt: skip


def workloads_option(command: F) -> F:
    """Add the option `--workload` to a command that reads records."""
    return click.option(
        "-w", "--workload", "workloads", multiple=True, type=NameType("workload"),
        help="Only these workloads (comma-separated).",
    )(command)  # fmt: skip


def workload_file_option(command: F) -> F:
    """Add the option `--workload-file` to a command that checks records."""
    return click.option(
        "--workload-file", "workload_files", multiple=True, metavar="FILE",
        help="File of a workload, whose code the command may run. No record can choose a file.",
    )(command)  # fmt: skip


def usable_workloads(registry: Registry, files: Iterable[str]) -> Workloads:
    """Return the workloads whose code may run, by `name@version`: the installed ones, and those in the named files.

    Raises:
        UsageError: a file does not exist, or contains no workload.
    """
    return index_workloads([*registry.workloads(), *map(workload_from_path, files)])


def find_envelopes(chosen: Path | None, results: Path) -> Path:
    """Return the folder of envelopes. It need not exist unless the user chose it.

    Args:
        chosen: the value of `--envelopes`; None for the default.
        results: folder of published records.

    Raises:
        UsageError: the chosen folder does not exist.
    """
    if chosen is not None:
        if not chosen.is_dir():
            raise UsageError(f"--envelopes {chosen} is not a folder", fix=f"the default is {ENVELOPES_FOLDER}")
        return chosen
    return default_envelopes(results)


def existing_folders(runs: Path, results: Path) -> list[Path]:
    """Return the folders that exist.

    Raises:
        StoreError: neither folder exists.
    """
    # Below a folder without search permission, `os.path.isdir` returns False, but `Path.is_dir` raises an error.
    folders = [folder for folder in (runs, results) if os.path.isdir(folder)]
    if not folders:
        raise StoreError(f"no results: neither {runs} nor {results} is a folder", fix=RUN_FIRST)
    return folders


def list_folders(runs: Path, results: Path, problems: list[str]) -> list[layout.ListedFolder]:
    """Return the folders of runs and results and all folders below them, each with the names of its files.

    Listing many folders takes long. Commands that search for several kinds of files therefore list the folders once.

    Args:
        runs: folder of local runs.
        results: folder of published records.
        problems: list to which a one-line message is appended for each folder that cannot be listed.

    Raises:
        StoreError: neither folder exists.
    """
    folders = existing_folders(runs, results)
    for folder, default in ((runs, "runs"), (results, "results")):
        # `--runs none` is the usual way to leave out local runs.
        if not os.path.isdir(folder) and str(folder) not in (default, "none"):
            note(f"warning: {folder} is not a folder, so nothing is read from it")
    return list(layout.walk_all(folders, problems))


def records(
    listed: Iterable[layout.ListedFolder],
    problems: list[str],
    table_records: TableRecords,
    note_marks: bool = False,
) -> Iterator[Record]:
    """Yield the records for leaderboards, then print a note for each file that cannot be read.

    Args:
        listed: the folders of records with the names of their files.
        problems: list to which a one-line message is appended for each file that cannot be read.
        table_records: the object that selects the records. It also collects marked records, and records for tables
            other than leaderboards.
        note_marks: whether to print a note for each marked record. If False, the caller shows the marked records.
    """
    yield from table_records.scored(iter_listed_records(listed, problems))
    _note_problems(problems)
    for line in mark_lines(table_records.mark_filter.marked) if note_marks else ():
        note(line)


def summaries(
    listed: Iterable[layout.ListedFolder],
    problems: list[str],
    table_records: TableRecords,
    query: LeaderboardQuery,
    values: DerivedValues[S],
) -> Iterator[S]:
    """Yield the summaries of the records for leaderboards, then print a note for each file that cannot be read.

    Args:
        listed, problems, table_records: see `records`.
        query: the query, with the attestations and marks.
        values: the stored summaries (`stored_summaries`), so that few records must be read.
    """
    yield from table_records.summaries(listed, problems, query, values)
    _note_problems(problems)


def _note_problems(problems: Iterable[str]) -> None:
    for problem in problems:
        note(f"skipped: {problem}")


def make_table_records(
    runs: Path, results: Path, problems: list[str], listed: Iterable[layout.ListedFolder]
) -> TableRecords:
    """Return an object that selects the records of tables and knows the marks in both folders.

    Args:
        runs, results, problems: see `list_folders`.
        listed: the result of `list_folders` for these two folders.
    """
    marks = index_marks(existing_folders(runs, results), problems, listed)
    return TableRecords(mark_filter=MarkFilter(marks))


def is_named(identity: str, names: Sequence[str]) -> bool:
    """Return whether one of the names selects an identifier `name@version`. A name may or may not contain a version.

    If there are no names, every identifier is selected.

    >>> is_named("wsd@1", ["wsd"]), is_named("wsd@1", ["wsd@2"]), is_named("wsd@1", [])
    (True, False, True)
    """
    return not names or identity in names or identity.rpartition("@")[0] in names


def check_workloads(names: Iterable[str], known: Collection[str]) -> None:
    """Check that every named workload has a record.

    Args:
        names: names of workloads.
        known: names of the workloads that have a record.

    Raises:
        UsageError: a name is not in `known`.
    """
    for name in sorted(names):
        if name not in known:
            raise unknown_name_error("workload among the results", name, known)


def references(registry: Registry, name: str | None) -> tuple[str, ...]:
    """Return the names of the submissions that may be the reference for scores.

    Args:
        registry: the installed plugins.
        name: the value of `--reference`; None for all submissions with the tag `reference`.
    """
    if name:
        return (name,)
    return tuple(entry.name for entry in registry.submissions() if REFERENCE_TAG in entry.tags)


def check_reference(name: str | None, specs: Iterable[RunSpec]) -> None:
    """Check that the submission named with `--reference` has a record.

    Raises:
        UsageError: it has none.
    """
    known = {identity for spec in specs for identity in (spec.submission.name, spec.submission.id)}
    if name is not None and known and name not in known:
        names = {identity for identity in known if "@" not in identity}
        raise unknown_name_error("submission among the results", name, names)


def installed_workloads(registry: Registry) -> tuple[WorkloadFacts, ...]:
    """Return the facts of the installed workloads, by which a table finds the workloads that it lacks."""
    return tuple(entry.facts for entry in registry.workloads())


def one_group(candidates: Sequence[R], hardware: str | None, ruleset: str | None) -> list[R]:
    """Return the runs that have one hardware class and one ruleset.

    Args:
        candidates: records, or runs without their points.
        hardware: the chosen hardware class; None if all records have the same class.
        ruleset: name of the chosen ruleset; None if all records have the same ruleset.

    Raises:
        UsageError: the user must choose one of several hardware classes or rulesets, or the chosen one has no records.
    """
    choices = (
        ("hardware class", "hardware classes", "--hardware", hardware, {r.spec.hardware for r in candidates}),
        ("ruleset", "rulesets", "--ruleset", ruleset, {r.spec.ruleset.name for r in candidates}),
    )
    for kind, kinds, flag, chosen, names in choices:
        if chosen is None and len(names) > 1:
            raise UsageError(
                f"the records are of several {kinds}", fix=f"add {flag} with one of {', '.join(sorted(names))}"
            )
        if chosen is not None and chosen not in names:
            raise unknown_name_error(kind, chosen, names)
    return [r for r in candidates if hardware in (None, r.spec.hardware) and ruleset in (None, r.spec.ruleset.name)]


def is_submission(spec: RunSpec, name: str) -> bool:
    """Return whether a run is one of a submission (see `runs_of_submission`)."""
    name_and_version, _, source = name.partition("#")
    ref = spec.submission
    return name_and_version in (ref.id, ref.name) and ref.code_identity.startswith(source)


def runs_of_submission(candidates: Sequence[R], name: str) -> list[R]:
    """Return the runs of a submission. They must all have the same version and the same source.

    Args:
        candidates: records, or runs without their points.
        name: `name` or `name@version`, optionally followed by `#` and the beginning of the code hash.

    Raises:
        UsageError: the submission has no records, or has records of several versions or sources.
    """
    name_and_version = name.partition("#")[0]
    matching_records = [r for r in candidates if is_submission(r.spec, name)]
    versions = sorted({r.spec.submission.id for r in matching_records})
    if not matching_records:
        raise unknown_name_error("submission among the results", name, {r.spec.submission.name for r in candidates})
    if len(versions) > 1:
        raise UsageError(f"{name} has records of several versions", fix=f"choose one of {', '.join(versions)}")
    sources = sorted({f"{name_and_version}#{r.spec.submission.code_identity[:6]}" for r in matching_records})
    if len(sources) > 1:
        raise UsageError(f"the source of {name} changed between its runs", fix=f"choose one of {', '.join(sources)}")
    return matching_records


def find_run(name: str, runs: Path, results: Path) -> Record:
    """Return the record of one run. The arguments and errors are as in `locate_run`."""
    return decode_stored(locate_run(name, runs, results))


def locate_run(name: str, runs: Path, results: Path) -> StoredRecord:
    """Return the stored record of one run, with its path.

    Args:
        name: path of the run's folder, path of its record (packed or not), or first characters of its run_id.
        runs: folder of local runs.
        results: folder of published records.

    Raises:
        UsageError: no run matches the name, or several runs match.
        StoreError: the record cannot be read.
    """
    path = Path(name)
    # `name` may be a text that cannot be a path. `os.path.exists` then returns False, but pathlib raises an error.
    if os.path.exists(path / layout.RECORD):
        return read_stored(path / layout.RECORD)
    if os.path.isfile(path) or find_packed(path) is not None:
        return read_stored(path)
    matches: dict[str, StoredRecord] = {}
    problems: list[str] = []
    record_count = 0
    for stored, record in iter_located(existing_folders(runs, results), problems):
        record_count += 1
        if record.run_id.startswith((name, f"{layout.RUN_ID_PREFIX}{name}")):
            matches.setdefault(record.run_id, stored)
    if len(matches) == 1:
        return next(iter(matches.values()))
    if matches:
        fix = f"choose one of {', '.join(sorted(matches)[:5])}"
        raise UsageError(f"{len(matches)} runs begin with {name!r}", fix=fix)
    for problem in problems:
        note(f"skipped: {problem}")
    raise UsageError(
        f"no run {name!r} among {record_count} records", fix="give a path, a run_id or the first characters of a run_id"
    )


def note_stale_tables(results: Path, written: Iterable[Path]) -> None:
    """Print how to update the page of the published records, if attestations of these records were written."""
    page = results / layout.LEADERBOARD
    if page.is_file() and any(path.resolve().is_relative_to(results.resolve()) for path in written):
        command = f"bench leaderboard --runs none --results {results} --format md > {page}"
        note(f"trust levels may have changed; write the tables again: {command}")
