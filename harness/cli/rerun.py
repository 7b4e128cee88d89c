"""`bench rerun`: repeat the run of a record, or test the records of a submission on fresh seeds."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from harness.cli.commands import examples
from harness.cli.output import note, print_json, print_text
from harness.cli.record_folders import (
    existing_folders,
    folder_options,
    locate_run,
    note_stale_tables,
    runs_of_submission,
    usable_workloads,
    workload_file_option,
)
from harness.cli.resolve import LimitedInteger, NameType, open_registry
from harness.cli.show_run import names_run
from harness.contract.attestation import Attestation
from harness.contract.record import Record
from harness.contract.run import ExecutionOptions, Nonce, RunSpec
from harness.errors import EXIT_FAILED, EXIT_OK, UsageError
from harness.execution.run_trials import run_trials
from harness.planning.nonces import draw_nonce, public_beacon
from harness.plugins.registry import Registry
from harness.report.attestations import attestation_lines, rerun_json
from harness.storage.attestations import read_attestations, write_attestation
from harness.storage.records import decode_stored, iter_located
from harness.verification.fresh_seeds import draw_results, group_results
from harness.verification.rerun import Rerun, RerunMethod


@click.command(
    epilog=examples(
        "bench rerun run-1f2e3d4c",
        "bench rerun results/HARDWARE/lm-tiny/wsd/run-1f2e3d4c.json --method fresh-seeds",
        "bench rerun wsd --workloads 3",
    )
)
@click.argument("name", type=NameType("run"), metavar="RECORD|SUBMISSION")
@folder_options
@workload_file_option
@click.option(
    "--workloads", type=LimitedInteger("workloads"), metavar="N",
    help="Test a submission on N workloads that are drawn at random from the workloads of its records.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["auto", "exact", "fresh-seeds"]), default="auto", show_default=True,
    help="exact: repeat the run with the same seeds; fresh-seeds: run with new seeds; auto: exact if this machine "
    "can repeat the run exactly; then fresh-seeds, unless exact refuted the record, or accepted it and its seeds come "
    "from a public beacon.",
)  # fmt: skip
@click.option(
    "--nonce", default="beacon", show_default=True, metavar="beacon|local|HEX",
    help="Origin of the fresh seeds, as for bench run.",
)  # fmt: skip
@click.option(
    "--max-minutes", type=click.FloatRange(min=0, min_open=True), default=10.0, show_default=True,
    help="Maximum wall time in minutes. The exact repetition and the first runs with fresh seeds always start. Later "
    "runs start only if they will probably end within this time.",
)  # fmt: skip
@click.option("--jobs", type=LimitedInteger("jobs"), default=2, show_default=True, help="Number of runs at once.")
@click.option(
    "--source", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="New path of the submission's file, if the file was moved after the run.",
)  # fmt: skip
@click.option("--no-attestation", is_flag=True, help="Do not write an attestation beside the record.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def rerun(
    blocked_plugins: list[str],
    name: str,
    workload_files: tuple[str, ...],
    runs: Path,
    results: Path,
    workloads: int | None,
    method: RerunMethod,
    nonce: str,
    max_minutes: float,
    jobs: int,
    source: Path | None,
    no_attestation: bool,
    as_json: bool,
) -> int:
    """Repeat the run of a record, or test a submission on fresh seeds.

    With the same seeds, processor and torch, a run must have the same weights and the same metrics as the record. Runs
    with fresh seeds are compared with the record by a sequential test. The test accepts the record if it shows that
    fresh runs typically need less than 10 % more examples than the record.

    The outcome is written beside the record as an attestation, and the record does not change. The exit code is 0 if
    all records are accepted, otherwise 1.
    """
    if math.isnan(max_minutes):
        raise UsageError("--max-minutes nan is not a number", fix="give a number of minutes above 0")
    registry = open_registry(blocked_plugins)
    with tempfile.TemporaryDirectory(prefix="bench-rerun-") as folder:
        repeat = Rerun(
            run=lambda specs: _run(specs, Path(folder), registry, jobs),
            request_nonce=lambda: _draw_nonce(nonce),
            report=note,
            method=method,
            minutes=max_minutes,
            at_once=jobs,
            redrawing=registry.redrawing,
            usable=usable_workloads(registry, workload_files),
            part_loads=frozenset(part.load for part in registry.parts()),
        )
        if workloads is not None:
            located = _read_scored_records(name, runs, results)
            stated_results = draw_results(
                group_results([record for record, _ in located]), drawn := _draw_nonce(nonce), workloads
            )
            note(f"drawn: {', '.join(stated.workload for stated in stated_results)}")
            attestations = list(repeat.test_results(stated_results, drawn))
        elif names_run(name) or Path(name).exists():
            stored = locate_run(name, runs, results)
            record = decode_stored(stored)
            located = [(record, stored.path.parent)]
            attestations = list(repeat.repeat_record(_with_source(record, source)))
        else:
            raise UsageError(
                f"{name} is not a record", fix=f"to test a submission, write bench rerun {name} --workloads 3"
            )
    return _finish(located, attestations, results, not no_attestation, as_json)


def _finish(
    located: Sequence[tuple[Record, Path]],
    attestations: Sequence[Attestation],
    results: Path,
    write: bool,
    as_json: bool,
) -> int:
    """Write the attestations, print them with the resulting trust levels, and return the exit code."""
    by_hash = {record.content_hash: (record, folder) for record, folder in located}
    entries = []
    for attestation in attestations:
        record, folder = by_hash[attestation.record]
        path = write_attestation(folder, attestation) if write else None
        earlier, problems = read_attestations(folder)
        for problem in problems:
            note(f"skipped: {problem}")
        entries.append((record, attestation, [*earlier, attestation], path))
    if as_json:
        print_json({"attestations": [rerun_json(*entry) for entry in entries]})
    else:
        for record, attestation, all_attestations, path in entries:
            for line in attestation_lines(record, attestation, all_attestations):
                print_text(line)
            if path is not None:
                note(f"wrote {path}")
    note_stale_tables(results, [path for _, _, _, path in entries if path is not None])
    return EXIT_OK if all(attestation.outcome == "accepted" for attestation in attestations) else EXIT_FAILED


def _run(specs: Sequence[RunSpec], folder: Path, registry: Registry, jobs: int) -> list[Record]:
    """Run specifications in a new folder and return the records in the same order."""
    runs = Path(tempfile.mkdtemp(dir=folder))
    records = {
        msgspec.json.encode(record.spec, order="deterministic"): record
        for record in run_trials(specs, runs, options=ExecutionOptions(jobs=jobs), registry=registry)
    }
    return [records[msgspec.json.encode(spec, order="deterministic")] for spec in specs]


def _draw_nonce(kind: str) -> Nonce:
    drawn = draw_nonce(kind, public_beacon())
    if drawn.message:
        note(f"warning: {drawn.message}")
    return drawn.nonce


def _with_source(record: Record, source: Path | None) -> Record:
    """Return the record with a new path of the submission's file. `Rerun` checks the hash of the file."""
    if source is None:
        return record
    submission = record.spec.submission
    file, colon, name = (submission.load or "").rpartition(":")
    if not file.endswith(".py"):
        raise UsageError(f"{submission.id} is not a submission in a file", fix="leave out --source")
    load = f"{source.absolute()}{colon}{name}"
    spec = msgspec.structs.replace(record.spec, submission=msgspec.structs.replace(submission, load=load))
    return msgspec.structs.replace(record, spec=spec)


def _read_scored_records(name: str, runs: Path, results: Path) -> list[tuple[Record, Path]]:
    """Return the records of one version and one source of a submission, each with its folder.

    Only records with the purpose `score` are returned, without smoke runs.
    """
    located: dict[str, tuple[Record, Path]] = {}
    problems: list[str] = []
    for stored, record in iter_located(existing_folders(runs, results), problems):
        if record.spec.purpose == "score" and not record.spec.smoke:
            located.setdefault(record.content_hash, (record, stored.path.parent))
    for problem in problems:
        note(f"skipped: {problem}")
    chosen = runs_of_submission([record for record, _ in located.values()], name)
    return [located[record.content_hash] for record in chosen]
