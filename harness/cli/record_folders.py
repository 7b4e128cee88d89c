"""The folders of records that commands read, and the records of a submission, group or run among them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.output import note
from harness.cli.resolve import open_registry
from harness.contract.record import Record
from harness.errors import StoreError, UsageError, unknown_name_error
from harness.planning.roles import REFERENCE_TAG
from harness.planning.stopping_rules import stopping_rule
from harness.storage import layout
from harness.storage.records import iter_records, read_record
from harness.storage.shards import find_packed

F = TypeVar("F", bound=Callable[..., Any])
#: The fix where there are no results.
MAKES_SOME = "bench run … makes some"


def folder_options(command: F) -> F:
    """`--runs` and `--results`."""
    runs = click.option(
        "--runs", type=click.Path(path_type=Path), default=Path("runs"), envvar="BENCH_RUNS", show_default=True,
        help="Folder of local runs.",
    )  # fmt: skip
    results = click.option(
        "--results", type=click.Path(path_type=Path), default=Path("results"), envvar="BENCH_RESULTS",
        show_default=True, help="Folder of published records.",
    )  # fmt: skip
    return runs(results(command))


def existing_folders(runs: Path, results: Path) -> list[Path]:
    """The folders that exist.

    Raises:
        StoreError: neither exists.
    """
    folders = [folder for folder in (runs, results) if folder.is_dir()]
    if not folders:
        raise StoreError(f"no results: neither {runs} nor {results} is a folder", fix=MAKES_SOME)
    return folders


def records(runs: Path, results: Path, problems: list[str], staged: list[Record] | None = None) -> Iterator[Record]:
    """Records of runs to a target, one at a time; at the end a note for each file that cannot be read.

    Trials for tuning or calibration are not results and are skipped.

    Args:
        problems: receives one line for each file that cannot be read.
        staged: receives the records of rulesets that choose or draw a stop, which have tables of their own.
    """
    for record in iter_records(existing_folders(runs, results), problems):
        spec = record.spec
        if stopping_rule(spec.ruleset.stopping).has_own_tables:
            if staged is not None:
                staged.append(record)
        elif spec.purpose == "score" and spec.stop is None:
            yield record
    for problem in problems:
        note(f"left out: {problem}")


def check_workloads(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names of workloads that no record has.

    Raises:
        UsageError: the first unknown name.
    """
    for name in sorted(names):
        if name not in known:
            raise unknown_name_error("workload among the results", name, known)


def references(blocked: Sequence[str] | None, named: str | None) -> tuple[str, ...]:
    """Names of the submissions that may anchor the scores: the named one, or those tagged as references."""
    if named:
        return (named,)
    return tuple(entry.name for entry in open_registry(blocked).submissions() if REFERENCE_TAG in entry.tags)


def one_group(group: Sequence[Record], hardware: str | None, ruleset: str | None) -> list[Record]:
    """Records of one hardware class and ruleset.

    Raises:
        UsageError: there are several and none was chosen, or the chosen one has no records.
    """
    choices = (
        ("hardware class", "hardware classes", "--hardware", hardware, {r.spec.hardware for r in group}),
        ("ruleset", "rulesets", "--ruleset", ruleset, {r.spec.ruleset.name for r in group}),
    )
    for kind, kinds, flag, chosen, names in choices:
        if chosen is None and len(names) > 1:
            raise UsageError(f"records of several {kinds}", fix=f"{flag} one of {', '.join(sorted(names))}")
        if chosen is not None and chosen not in names:
            raise unknown_name_error(kind, chosen, names)
    return [r for r in group if hardware in (None, r.spec.hardware) and ruleset in (None, r.spec.ruleset.name)]


def of_submission(candidates: Sequence[Record], name: str) -> list[Record]:
    """Records of a submission by `name` or `name@version`, each also with `#` and the beginning of its source hash.

    Raises:
        UsageError: there are no records, or records of several versions or sources.
    """
    plain, _, source = name.partition("#")
    chosen = [
        r
        for r in candidates
        if plain in (r.spec.submission.id, r.spec.submission.name) and r.spec.submission.source_hash.startswith(source)
    ]
    versions = sorted({r.spec.submission.id for r in chosen})
    if not chosen:
        raise unknown_name_error("submission among the results", name, {r.spec.submission.name for r in candidates})
    if len(versions) > 1:
        raise UsageError(f"{name} has records of several versions", fix=f"one of {', '.join(versions)}")
    sources = sorted({f"{plain}#{r.spec.submission.source_hash[:6]}" for r in chosen})
    if len(sources) > 1:
        raise UsageError(f"{name} was edited between its runs", fix=f"name one source: {', '.join(sources)}")
    return chosen


def find_run(name: str, runs: Path, results: Path) -> Record:
    """A run by the path of its folder or record, packed or not, or by its run_id or a unique beginning of that.

    Raises:
        UsageError: no run or several runs begin so.
        StoreError: its record cannot be read.
    """
    path = Path(name)
    if path.is_dir() and (path / layout.RECORD).exists():
        return read_record(path / layout.RECORD)
    if path.is_file() or find_packed(path) is not None:
        return read_record(path)
    matches: dict[str, Record] = {}
    problems: list[str] = []
    count = 0
    for record in iter_records(existing_folders(runs, results), problems):
        count += 1
        if record.run_id.startswith((name, f"{layout.RUN_ID_PREFIX}{name}")):
            matches[record.run_id] = record
    if len(matches) == 1:
        return next(iter(matches.values()))
    if matches:
        raise UsageError(f"{len(matches)} runs begin with {name!r}", fix=f"one of {', '.join(sorted(matches)[:5])}")
    for problem in problems:
        note(f"left out: {problem}")
    raise UsageError(f"no run {name!r} among {count}", fix="give a path, a run_id or its beginning")
