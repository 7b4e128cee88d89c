"""`bench results doubt|withdraw|restore`: mark a record as doubted or withdrawn, or take the mark back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from harness.cli.commands import examples
from harness.cli.output import note, print_json
from harness.cli.record_folders import folder_options, locate_run
from harness.contract.marks import MAX_WHY, Mark, MarkEvent
from harness.errors import UsageError
from harness.storage.marks import append_mark, index_marks
from harness.storage.records import decode_stored


def mark_command(name: str, event: MarkEvent, summary: str) -> click.Command:
    """Return the command that appends a mark to the file of marks beside the records.

    Args:
        name: name of the command.
        event: the event that the mark states.
        summary: help text of the command.
    """

    reason = "repeated with the same result" if event == "restored" else "the machine was throttled"

    @click.command(name, help=summary, epilog=examples(f'bench results {name} run-1f2e3d4c --why "{reason}"'))
    @click.argument("record")
    @click.option("--why", required=True, metavar="TEXT", help="The reason. Tables show it.")
    @folder_options
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    def command(record: str, why: str, runs: Path, results: Path, as_json: bool) -> None:
        _mark(record, event, " ".join(why.split()), runs, results, as_json)

    return command


def _mark(name: str, event: MarkEvent, why: str, runs: Path, results: Path, as_json: bool) -> None:
    if not why or len(why) > MAX_WHY:
        problem = f"--why has {len(why)} characters; a reason has 1 to {MAX_WHY}"
        raise UsageError(problem, fix='write --why "REASON", in one sentence')
    stored = locate_run(name, runs, results)
    record = decode_stored(stored)
    folder = _containing_folder(stored.path, runs, results)
    if event == "restored" and (record.run_id, record.content_hash) not in index_marks([folder], []):
        raise UsageError(f"{record.run_id} is neither doubted nor withdrawn", fix="bench show RUN prints its marks")
    mark = Mark(
        time=datetime.now(UTC).isoformat(),
        event=event,
        run_id=record.run_id,
        record=record.content_hash,
        why=why,
    )
    path = append_mark(folder, mark)
    if as_json:
        print_json({"file": str(path), "mark": mark})
    else:
        title = f"{record.run_id} ({record.spec.submission.id} on {record.spec.workload.facts.id})"
        note(f"{title} is {event}: {path}")


def _containing_folder(path: Path, runs: Path, results: Path) -> Path:
    """Return the folder of records that contains a record.

    Raises:
        UsageError: neither folder contains the record.
    """
    for folder in (results, runs):
        if path.absolute().resolve().is_relative_to(folder.absolute().resolve()):
            return folder
    problem = f"{path} is neither in {results} nor in {runs}, and marks are stored in these folders"
    raise UsageError(problem, fix="name the folder of the published records with --results")


doubt = mark_command(
    "doubt",
    "doubted",
    "State that RECORD is in doubt. Tables show it with a mark and the reason. RECORD is a path, a run ID or the first "
    "characters of a run ID.",
)
withdraw = mark_command(
    "withdraw",
    "withdrawn",
    "Withdraw RECORD. Tables leave it out and report this. The file of the record does not change.",
)
restore = mark_command("restore", "restored", "Take back the doubt about RECORD or the withdrawal of RECORD.")
