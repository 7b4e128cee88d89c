"""`bench show RUN`: show one run and its learning curve."""

from __future__ import annotations

import re
from pathlib import Path

from harness.cli.output import note as print_note
from harness.cli.output import print_json, print_text
from harness.cli.record_folders import locate_run
from harness.report.run_page import run_json, run_text
from harness.storage import layout
from harness.storage.attestations import read_attestations
from harness.storage.marks import read_marks
from harness.storage.notes import read_note
from harness.storage.records import decode_stored

#: First characters of a run_id without its prefix: 4 to 16 hexadecimal digits, at least one of them from 0 to 9.
_BARE_ID = re.compile(r"(?=[a-f]*[0-9])[0-9a-f]{4,16}")


def names_run(name: str) -> bool:
    """Return whether a name can refer to a run.

    A run is named by its run_id, by the first characters of its run_id, or by the path of its folder or record.

    >>> names_run("run-1f2e"), names_run("1f2e"), names_run("wsd"), names_run("d2z")
    (True, True, False, False)
    """
    path = Path(name)
    is_record = layout.is_record(path.name) or (path.is_dir() and (path / layout.RECORD).exists())
    return name.startswith(layout.RUN_ID_PREFIX) or is_record or _BARE_ID.fullmatch(name) is not None


def show_run(name: str, runs: Path, results: Path, as_json: bool) -> None:
    """Print a run.

    Args:
        name: name of the run (see `names_run`).
        runs: folder of local runs.
        results: folder of published records.
        as_json: whether to print JSON.

    Raises:
        UsageError: no run or several runs match the name.
    """
    stored = locate_run(name, runs, results)
    record = decode_stored(stored)
    attestations, problems = read_attestations(stored.path.parent)
    folders = [folder for folder in (stored.path.parent, runs, results) if folder.is_dir()]
    history = [mark for mark in read_marks(folders, problems) if mark.key == (record.run_id, record.content_hash)]
    for problem in problems:
        print_note(problem)
    note = read_note(runs / record.run_id)
    if as_json:
        print_json(run_json(record, note, attestations, history))
    else:
        print_text(run_text(record, note, attestations, history))
