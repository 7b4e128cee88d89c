"""`bench verify`: check records without running their submissions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text
from harness.cli.record_folders import (
    folder_options,
    locate_run,
    note_stale_tables,
    usable_workloads,
    workload_file_option,
)
from harness.cli.resolve import NameType, open_registry
from harness.errors import EXIT_FAILED, EXIT_OK
from harness.execution.judging import judge_weights
from harness.planning.nonces import public_beacon
from harness.report.verification import findings_json, findings_text
from harness.storage.attestations import write_attestation
from harness.storage.records import StoredRecord, iter_records, iter_stored
from harness.verification.attesting import attest_weights
from harness.verification.checks import VerificationOptions, verify_records
from harness.verification.findings import RecordFindings


@click.command(
    epilog=examples("bench verify results calibration", "bench verify run-1f2e3d4c", "bench verify runs --attest")
)
@click.argument("names", nargs=-1, required=True, type=NameType("run"), metavar="RECORD...")
@folder_options
@workload_file_option
@click.option("--no-weights", is_flag=True, help="Compare only the hashes of saved weights; do not evaluate them.")
@click.option("--attest", is_flag=True, help="Write an attestation beside each record whose weights were evaluated.")
@click.option(
    "--against", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER",
    help="Also compare the records with all records below FOLDER to find copies.",
)  # fmt: skip
@click.option("--online", is_flag=True, help="Read the round of each nonce from the beacon again and compare it.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def verify(
    blocked_plugins: list[str],
    names: tuple[str, ...],
    workload_files: tuple[str, ...],
    runs: Path,
    results: Path,
    no_weights: bool,
    attest: bool,
    against: Path | None,
    online: bool,
    as_json: bool,
) -> int:
    """Check records without running their submissions.

    RECORD is a path or a run ID. The path leads to a record (packed or not), to a run's folder, or to a folder with
    records below it. The first characters of a run ID are enough. The exit code is 1 if a check failed.
    docs/verification.md describes the checks.
    """
    problems: list[str] = []
    registry = open_registry(blocked_plugins)
    options = VerificationOptions(
        judge=None if no_weights else judge_weights,
        weights_in=(runs,),
        beacon=public_beacon() if online else None,
        redrawing=registry.redrawing,
        workloads=usable_workloads(registry, workload_files),
        registry=registry,
    )
    compared_records = iter_records([against], problems) if against is not None else ()
    findings = verify_records(_stored_records(names, runs, results, problems), options, compared_records)
    if attest:
        note_stale_tables(results, _attest(findings))
    if as_json:
        print_json({**findings_json(findings), "problems": problems})
    else:
        print_text(findings_text(findings))
    for problem in problems:
        note(problem)
    if names and not findings:
        note(f"no record was found in {', '.join(names)}")
        return EXIT_FAILED
    return EXIT_FAILED if problems or any(record.failed for record in findings) else EXIT_OK


def _stored_records(names: Sequence[str], runs: Path, results: Path, problems: list[str]) -> Iterator[StoredRecord]:
    """Yield the records that the arguments name. A file that is named several times is yielded once."""
    seen: set[Path] = set()
    for name in names:
        path = Path(name)
        is_folder = path.is_dir()
        for stored in iter_stored([path], problems) if is_folder else [locate_run(name, runs, results)]:
            if stored.path.absolute() not in seen:
                seen.add(stored.path.absolute())
                yield stored


def _attest(findings: Sequence[RecordFindings]) -> list[Path]:
    """Write an attestation for each record whose weights were evaluated, and return the paths of the attestations."""
    written = []
    for record in findings:
        attestation = attest_weights(record)
        if attestation is not None:
            written.append(write_attestation(Path(record.path).parent, attestation))
            note(f"wrote {written[-1]}")
    return written
