"""Check records without running their submissions."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from harness.contract.record import Record
from harness.errors import BenchError, StoreError
from harness.execution.judging import judge_weights
from harness.plugins.registry import Registry
from harness.storage import layout
from harness.storage.records import StoredRecord, decode
from harness.system.beacon import Beacon
from harness.verification.attempts import AttemptChecker
from harness.verification.copies import CopyFinder
from harness.verification.curve import list_curve_problems
from harness.verification.ending import list_ending_problems
from harness.verification.fields import list_field_problems
from harness.verification.findings import CHECKS, CheckName, Finding, RecordFindings, make_finding
from harness.verification.judgements import list_judgement_problems
from harness.verification.rulesets import check_ruleset
from harness.verification.seeds import check_seeds
from harness.verification.settings import SettingsChecker
from harness.verification.weights import Judge, check_weights
from harness.verification.workloads import Workloads, check_workload


@dataclass(frozen=True, kw_only=True)
class VerificationOptions:
    """The functions, folders and clients that the checks may use.

    Args:
        judge: function that evaluates saved weights; None to compare only their hashes.
        weights_in: runs folders that may contain the weights of published records.
        beacon: client that reads the random numbers of a beacon's rounds again; None to check offline.
        redrawing: `name@version` of the workloads that draw their held-out data afresh in runs with a nonce.
        workloads: the workloads whose code may run to evaluate weights.
        registry: the installed plugins, with whose submissions the hyperparameters are checked; None to skip this.
        clock: function that returns the present time in seconds since 1970.
    """

    judge: Judge | None = judge_weights
    weights_in: Sequence[Path] = ()
    beacon: Beacon | None = None
    redrawing: Collection[str] = ()
    workloads: Workloads = field(default_factory=dict)
    registry: Registry | None = None
    clock: Callable[[], float] = time.time


def verify_records(
    stored: Iterable[StoredRecord], options: VerificationOptions, others: Iterable[Record] = ()
) -> list[RecordFindings]:
    """Return the findings about each record, in the given order.

    All given records are compared with each other, so a copy is reported in the findings of both records. Only one
    record is in memory at a time.

    Args:
        stored: the records as they are stored.
        options: the options of the checks.
        others: further records with which the given records are compared. They are not checked.
    """
    copies, attempts, settings = CopyFinder(), AttemptChecker(), SettingsChecker(options.registry)
    for record in others:
        copies.add(record)
    alone = [_verify_alone(item, options, attempts, settings, copies) for item in stored]
    return [_add_copies(findings, copies) for findings in alone]


def _verify_alone(
    stored: StoredRecord,
    options: VerificationOptions,
    attempts: AttemptChecker,
    settings: SettingsChecker,
    copies: CopyFinder,
) -> RecordFindings:
    """Return the findings of all checks except `copies`, and add the record to `copies`."""
    path = stored.path
    try:
        record = decode(stored.content, str(path))
    except StoreError as error:
        finding = Finding(check="content", outcome="failed", detail=error.what)
        return RecordFindings(path=str(path), findings=(finding,))
    copies.add(record)
    checks: dict[CheckName, Callable[[], Finding]] = {
        "content": lambda: make_finding("content", _list_content_problems(record, stored, options.clock())),
        "identity": lambda: make_finding("identity", _list_identity_problems(record, stored)),
        "workload": lambda: check_workload(record.spec, options.workloads),
        "ruleset": lambda: check_ruleset(record.spec.ruleset),
        "settings": lambda: settings.check(record.spec),
        "seeds": lambda: check_seeds(record, options.beacon, options.redrawing),
        "points": lambda: make_finding("points", list_curve_problems(record)),
        "ending": lambda: make_finding("ending", list_ending_problems(record)),
        "judgements": lambda: make_finding("judgements", list_judgement_problems(record)),
        "weights": lambda: check_weights(record, path, options.weights_in, options.judge, options.workloads),
        "ledger": lambda: attempts.check(record, path),
    }
    return RecordFindings(
        path=str(path),
        run_id=record.run_id,
        title=f"{record.spec.submission.id} on {record.spec.workload.facts.id}",
        content_hash=record.content_hash,
        findings=tuple(_run_check(name, check) for name, check in checks.items()),
    )


def _run_check(name: CheckName, check: Callable[[], Finding]) -> Finding:
    """Return the finding of a check. A check that cannot compute with the values of the record has failed."""
    try:
        return check()
    except (ArithmeticError, LookupError, ValueError) as error:
        return make_finding(name, [f"its values contradict each other ({type(error).__name__}: {error})"])
    except BenchError as error:  # for example, an unknown kind of stopping
        return make_finding(name, [error.what])


def _list_content_problems(record: Record, stored: StoredRecord, now: float) -> list[str]:
    if stored.known_hash not in (None, record.content_hash):
        return ["its content hash differs from the hash in the index of its shard"]
    return list_field_problems(record, now)


def _list_identity_problems(record: Record, stored: StoredRecord) -> list[str]:
    problems = []
    if record.run_id != (identity := layout.run_id_of_json(stored.content)):
        problems.append(f"its specification gives the run ID {identity}")
    path = stored.path
    name = path.parent.name if path.name == layout.RECORD else path.stem
    if layout.is_run_id(name) and name != record.run_id:
        problems.append(f"its file has the name of another trial, {name}")
    return problems


def _add_copies(findings: RecordFindings, copies: CopyFinder) -> RecordFindings:
    """Return the findings of a record with the finding about copies, in the order of `CHECKS`."""
    if not findings.run_id:
        return findings
    complete = (*findings.findings, make_finding("copies", copies.problems(findings.content_hash)))
    return msgspec.structs.replace(findings, findings=tuple(sorted(complete, key=lambda f: CHECKS.index(f.check))))
