"""What the commands that read results share: their folders, the reference, and names of submissions and runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from harness.cli.output import note
from harness.cli.resolve import open_registry
from harness.contract.record import Record
from harness.errors import StoreError, UsageError, unknown
from harness.planning.roles import REFERENCE_TAG
from harness.storage import layout
from harness.storage.records import iter_records, read_record

F = TypeVar("F", bound=Callable[..., Any])
#: What to do where there are no results.
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


def folders(runs: Path, results: Path) -> list[Path]:
    """Those that exist.

    Raises:
        StoreError: neither does.
    """
    found = [folder for folder in (runs, results) if folder.is_dir()]
    if not found:
        raise StoreError(f"no results: neither {runs} nor {results} is a folder", fix=MAKES_SOME)
    return found


def records(runs: Path, results: Path, problems: list[str], staged: list[Record] | None = None) -> Iterator[Record]:
    """Records of runs to a target, one at a time; files that are none are said once they have all been read.

    Trials on which something was tuned or calibrated are no results, and are passed over.

    Args:
        problems: gets one line for each file that is no record.
        staged: gets the records of rulesets that choose or draw a stop, which have tables of their own.
    """
    for record in iter_records(folders(runs, results), problems):
        spec = record.spec
        if spec.ruleset.stopping in ("chosen", "drawn"):
            if staged is not None:
                staged.append(record)
        elif spec.purpose == "score" and spec.stop is None:
            yield record
    for problem in problems:
        note(f"left out: {problem}")


def references(blocked: Sequence[str] | None, named: str | None) -> tuple[str, ...]:
    """Submissions that may anchor the scores: the one that was named, or those tagged so."""
    if named:
        return (named,)
    return tuple(entry.name for entry in open_registry(blocked).submissions() if REFERENCE_TAG in entry.tags)


def one_group(found: Sequence[Record], hardware: str | None, ruleset: str | None) -> list[Record]:
    """Records of one hardware class and ruleset.

    Raises:
        UsageError: there are several and none was chosen, or the one chosen has no records.
    """
    keys = {(r.spec.hardware, r.spec.ruleset.name) for r in found}
    for kind, index, wanted in (("hardware class", 0, hardware), ("ruleset", 1, ruleset)):
        names = sorted({key[index] for key in keys})
        if wanted is None and len(names) > 1:
            flag = "--hardware" if index == 0 else "--ruleset"
            raise UsageError(
                f"records of several {kind}es".replace("setes", "sets"), fix=f"{flag} one of {', '.join(names)}"
            )
        if wanted is not None and wanted not in names:
            raise unknown(kind, wanted, names)
    return [r for r in found if hardware in (None, r.spec.hardware) and ruleset in (None, r.spec.ruleset.name)]


def of_submission(found: Sequence[Record], name: str) -> list[Record]:
    """Records of a submission by `name` or `name@version`, with `#` and the beginning of its source's hash or without.

    Raises:
        UsageError: there are none, or they are of several versions or sources.
    """
    plain, _, source = name.partition("#")
    chosen = [
        r
        for r in found
        if plain in (r.spec.submission.id, r.spec.submission.name) and r.spec.submission.source_hash.startswith(source)
    ]
    versions = sorted({r.spec.submission.id for r in chosen})
    if not chosen:
        raise unknown("submission among the results", name, {r.spec.submission.name for r in found})
    if len(versions) > 1:
        raise UsageError(f"{name} has records of several versions", fix=f"one of {', '.join(versions)}")
    sources = sorted({f"{plain}#{r.spec.submission.source_hash[:6]}" for r in chosen})
    if len(sources) > 1:
        raise UsageError(f"{name} was edited between its runs", fix=f"name one source: {', '.join(sources)}")
    return chosen


def find_run(name: str, runs: Path, results: Path) -> Record:
    """A run by path, run_id or a unique beginning of it (with or without `run-`).

    Raises:
        UsageError: none or several begin so.
        StoreError: its record cannot be read.
    """
    path = Path(name)
    if path.is_dir() and (path / layout.RECORD).exists():
        return read_record(path / layout.RECORD)
    if path.is_file():
        return read_record(path)
    problems: list[str] = []
    found: dict[str, Record] = {}
    known = []
    for record in iter_records(folders(runs, results), problems):
        known.append(record.run_id)
        if record.run_id.startswith((name, f"{layout.RUN_ID_PREFIX}{name}")):
            found[record.run_id] = record
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise UsageError(f"{name!r} begins {len(found)} runs", fix=f"one of {', '.join(sorted(found)[:5])}")
    raise UsageError(f"no run {name!r} among {len(known)}", fix="give a path, a run_id or its beginning")
