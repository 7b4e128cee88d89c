"""`bench results`: pack record files into shards, unpack shards, and verify, mark and export records."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.export import export
from harness.cli.marks import doubt, restore, withdraw
from harness.cli.output import note, print_json, print_text
from harness.errors import EXIT_FAILED, EXIT_OK
from harness.storage import packing, verification
from harness.storage.shards import FolderReport

_folder = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(epilog=examples("bench results verify results"))
def results() -> None:
    """Pack, unpack, verify, mark and export records.

    A shard is a compressed file with the records of one folder. Every command that takes a folder of records reads both
    shards and plain files.
    """


@results.command(epilog=examples("bench results pack results"))
@_folder
@_json
def pack(folder: Path, as_json: bool) -> int:
    """Pack the records below FOLDER into shards.

    Each subfolder with new records gets one new shard. Existing shards do not change. A plain file is removed after its
    shard has been written to disk and read back. Run folders and damaged records are not changed.
    """
    return _print_reports(folder, packing.pack(folder), "packed", as_json)


@results.command(epilog=examples("bench results unpack results"))
@_folder
@_json
def unpack(folder: Path, as_json: bool) -> int:
    """Write the record files of the shards below FOLDER, byte for byte.

    A shard is removed after all its files have been written. If a file already exists with different content, no file
    of its shard is written and the shard is not removed.
    """
    return _print_reports(folder, packing.unpack(folder), "unpacked", as_json)


@results.command(epilog=examples("bench results verify results --json"))
@_folder
@_json
def verify(folder: Path, as_json: bool) -> int:
    """Check every record below FOLDER, packed or not.

    The command checks the SHA-256 of shards and packed files, and the content hash and run ID of each record. The exit
    code is 1 if there is a problem.
    """
    return _print_reports(folder, verification.verify(folder), "verified", as_json)


for _command in (doubt, withdraw, restore, export):
    results.add_command(_command)


def _print_reports(folder: Path, reports: Iterable[FolderReport], verb: str, as_json: bool) -> int:
    """Print the result for each folder as soon as it is known, then the totals, and return the exit code."""
    finished_reports: list[FolderReport] = []
    for report in reports:
        finished_reports.append(report)
        if report.records and not as_json:
            print_text(f"{verb} {_count(report.records, 'record')} of {report.folder}")
        for problem in report.problems:
            note(problem)
    total = sum(report.records for report in finished_reports)
    if as_json:
        print_json({"folder": str(folder), "records": total, "folders": finished_reports})
    else:
        shards = sum(len(report.shards) for report in finished_reports)
        print_text(f"{verb} {_count(total, 'record')}, {_count(shards, 'shard')}")
    return EXIT_FAILED if any(report.problems for report in finished_reports) else EXIT_OK


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
