"""`bench results`: pack record files into shards, unpack and verify them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from harness.cli.output import SCHEMA, note, print_json
from harness.errors import EXIT_FAILED, EXIT_OK
from harness.storage import packing, verification
from harness.storage.shards import FolderReport

_folder = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def results() -> None:
    """Record files: pack, unpack, verify.

    A shard holds the records of one folder, compressed and byte for byte. Every command that takes a folder of records
    reads shards and plain files alike.
    """


@results.command()
@_folder
@_json
def pack(folder: Path, as_json: bool) -> int:
    """Pack the records below FOLDER into shards.

    Each subfolder with new records gets one new shard; shards that exist do not change. A plain file is removed once
    its shard is on disk and was read back. Run folders and damaged records stay as they are.
    """
    return _show(folder, packing.pack(folder), "packed", as_json)


@results.command()
@_folder
@_json
def unpack(folder: Path, as_json: bool) -> int:
    """Write the record files of the shards below FOLDER, byte for byte.

    A shard is removed once all its files are on disk. It stays, and nothing of it is written, where a file exists
    with other content.
    """
    return _show(folder, packing.unpack(folder), "unpacked", as_json)


@results.command()
@_folder
@_json
def verify(folder: Path, as_json: bool) -> int:
    """Check every record below FOLDER, packed or not.

    Checked are the SHA-256 of shards and packed files, each record's content hash and its run id. The exit code is 1
    if anything is wrong.
    """
    return _show(folder, verification.verify(folder), "verified", as_json)


def _show(folder: Path, reports: Iterable[FolderReport], verb: str, as_json: bool) -> int:
    """Print what was done, a line per folder as it is done, and the problems."""
    done: list[FolderReport] = []
    for report in reports:
        done.append(report)
        if report.records and not as_json:
            click.echo(f"{verb} {_count(report.records, 'record')} of {report.folder}")
        for problem in report.problems:
            note(problem)
    total = sum(report.records for report in done)
    if as_json:
        print_json({"schema": SCHEMA, "folder": str(folder), "records": total, "folders": done})
    else:
        shards = sum(len(report.shards) for report in done)
        click.echo(f"{verb} {_count(total, 'record')}, {_count(shards, 'shard')}")
    return EXIT_FAILED if any(report.problems for report in done) else EXIT_OK


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
