"""The ledger beside the records: written by every run, and no attempt may be missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.contract.record import Record
from harness.contract.run import Nonce
from harness.execution.attempts import AttemptWatcher, note_damaged_record
from harness.planning.seeds import with_seeds
from harness.report.verification import findings_text
from harness.storage.layout import run_id
from harness.storage.ledger import LEDGER, ORIGIN, AttemptLedger, LedgerEntry, read_ledger
from harness.storage.records import StoredRecord, encode
from harness.storage.run_folder import RunFolder
from harness.verification.checks import verify_records
from tests.helpers import Remember
from tests.verification.forging import NO_JUDGE, change, honest, stored


def attempt(record: Record, runs: Path) -> StoredRecord:
    """Write what a run leaves: its record, and two entries of the ledger."""
    identity = stored(record).path.stem
    watcher = AttemptWatcher(runs, Remember())
    watcher.started(record.spec, ())
    folder = RunFolder(runs, identity)
    folder.path.mkdir(parents=True, exist_ok=True)
    written = folder.write(change(record, run_id=identity))
    watcher.finished(written)
    return StoredRecord(folder.record_path, encode(written))


def ledger_finding(item: StoredRecord) -> tuple[str, str]:
    finding = verify_records([item], NO_JUDGE)[0].finding("ledger")
    assert finding is not None
    return finding.outcome, finding.detail


def test_a_recorded_attempt_passes(tmp_path: Path) -> None:
    item = attempt(honest(), tmp_path)
    assert ledger_finding(item) == ("passed", "")
    assert [entry.event for entry in read_ledger(tmp_path / LEDGER)] == ["started", "finished"]


def test_a_record_that_no_attempt_made_is_caught(tmp_path: Path) -> None:
    attempt(honest(), tmp_path)
    other = honest("stream")
    folder = tmp_path / stored(other).path.stem
    assert "does not contain this run" in ledger_finding(stored(other)._replace(path=folder / "record.json"))[1]


def test_an_edited_record_is_not_that_of_the_attempt(tmp_path: Path) -> None:
    item = attempt(honest(), tmp_path)
    forged = encode(change(honest(), run_id=item.path.parent.name, reason="better"))
    assert "with other records" in ledger_finding(item._replace(content=forged))[1]


def test_a_hidden_attempt_is_caught(tmp_path: Path) -> None:
    """Two seeds ran; the worse one was deleted."""
    item = attempt(honest(), tmp_path)
    worse = change(honest(), spec=with_seeds(change(honest().spec, study=50), redraws_held_out=False))
    shutil.rmtree(attempt(worse, tmp_path).path.parent)
    assert ledger_finding(item) == ("failed", "the records of 1 further attempt(s) on this workload are missing")


def test_a_hidden_attempt_that_did_not_finish_is_caught(tmp_path: Path) -> None:
    item = attempt(honest(), tmp_path)
    worse = with_seeds(change(honest().spec, study=50), redraws_held_out=False)
    AttemptWatcher(tmp_path, Remember()).started(worse, ())
    assert "1 further attempt(s)" in ledger_finding(item)[1]


def interrupted(runs: Path, study: int) -> StoredRecord:
    """Write what a run leaves that the user stopped while its curve was shown."""
    spec = with_seeds(change(honest().spec, study=study), redraws_held_out=False)
    return attempt(change(honest(), spec=spec, status="interrupted", hit=None, crossing_weights=""), runs)


def test_a_deleted_attempt_that_was_interrupted_is_caught(tmp_path: Path) -> None:
    """Two seeds were stopped after a look at their curves, and deleted; the third one was published."""
    stopped = [interrupted(tmp_path, study) for study in (50, 51)]
    item = attempt(honest(), tmp_path)
    assert ledger_finding(item) == ("passed", "")
    for other in stopped:
        shutil.rmtree(other.path.parent)
    assert ledger_finding(item) == ("failed", "the records of 2 further attempt(s) on this workload are missing")


def test_an_interrupted_attempt_whose_trial_ended_later_is_not_missing(tmp_path: Path) -> None:
    interrupted(tmp_path, 50)
    interrupted(tmp_path, 50)
    spec = with_seeds(change(honest().spec, study=50), redraws_held_out=False)
    assert ledger_finding(attempt(change(honest(), spec=spec), tmp_path)) == ("passed", "")


def test_a_damaged_record_that_was_replaced_is_reported_and_no_failure(tmp_path: Path) -> None:
    item = attempt(honest(), tmp_path)
    note_damaged_record(honest().spec, tmp_path)
    item.path.unlink()
    again = attempt(change(honest(), reason="again"), tmp_path)
    detail = "1 damaged record(s) on this workload were replaced by running the trials again"
    assert ledger_finding(again) == ("passed", detail)
    assert f"ledger of 1 record: {detail}" in findings_text(verify_records([again], NO_JUDGE))
    assert [entry.attempt for entry in read_ledger(tmp_path / LEDGER)] == [1, 1, 1, 2, 2]
    # A record that is deleted afterwards is missing, whatever was damaged before.
    other = with_seeds(change(honest().spec, study=50), redraws_held_out=False)
    item = attempt(change(honest(), spec=other), tmp_path)
    again.path.unlink()
    assert "2 further attempt(s)" in ledger_finding(item)[1]


def test_a_record_that_is_deleted_before_a_damaged_one_is_missing(tmp_path: Path) -> None:
    for reason in ("first", "second"):
        attempt(change(honest(), reason=reason), tmp_path).path.unlink()
    note_damaged_record(honest().spec, tmp_path)
    assert "1 further attempt(s)" in ledger_finding(attempt(honest(), tmp_path))[1]


def test_without_a_ledger_a_damaged_record_is_not_noted(tmp_path: Path) -> None:
    note_damaged_record(honest().spec, tmp_path)
    assert not (tmp_path / LEDGER).exists()


def test_an_attempt_that_is_running_is_not_missing(tmp_path: Path) -> None:
    item = attempt(honest(), tmp_path)
    other = with_seeds(change(honest().spec, study=50), redraws_held_out=False)
    AttemptWatcher(tmp_path, Remember()).started(other, ())
    with RunFolder(tmp_path, run_id(other)).lock():
        assert ledger_finding(item) == ("passed", "")
    assert "1 further attempt(s)" in ledger_finding(item)[1]


def test_a_replaced_attempt_is_not_missing(tmp_path: Path) -> None:
    first = attempt(honest(), tmp_path)
    RunFolder(tmp_path, first.path.parent.name).supersede()
    second = attempt(change(honest(), reason="again"), tmp_path)
    assert ledger_finding(second)[0] == "passed"
    assert [entry.attempt for entry in read_ledger(tmp_path / LEDGER)] == [1, 1, 2, 2]


def test_a_changed_ledger_is_caught(tmp_path: Path) -> None:
    item = attempt(honest(), tmp_path)
    path = tmp_path / LEDGER
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert ledger_finding(item)[0] == "failed"


@pytest.mark.parametrize(("committed", "problem"), [(True, ""), (False, "before the source was committed")])
def test_the_nonce_is_requested_after_the_commitment(tmp_path: Path, committed: bool, problem: str) -> None:
    nonce = Nonce(value="ab" * 32, source="local")
    record = change(honest(), spec=with_seeds(change(honest().spec, nonce=nonce), redraws_held_out=False))
    sources = {record.spec.submission.id: record.spec.submission.source_hash}
    ledger = AttemptLedger(tmp_path)
    if committed:
        ledger.append(LedgerEntry(previous=ORIGIN, time="", event="committed", sources=sources))
    ledger.append(LedgerEntry(previous=ORIGIN, time="", event="nonce", sources=sources, nonce=nonce))
    outcome, detail = ledger_finding(attempt(record, tmp_path))
    assert problem in detail
    assert outcome == ("passed" if committed else "failed")


def test_a_run_goes_on_without_its_ledger(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text("damaged\n")
    remember = Remember()
    watcher = AttemptWatcher(tmp_path, remember)
    watcher.started(honest().spec, ())
    watcher.finished(honest())
    assert len(remember.warnings) == 1
    assert remember.records == [honest()]
