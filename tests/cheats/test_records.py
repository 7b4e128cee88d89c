"""Forged, copied, edited or selected records."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.contract.record import Record
from harness.planning.rulesets import rulesets
from harness.planning.seeds import expected_seeds
from harness.scoring.trust import trust_level
from harness.storage.run_folder import RunFolder
from harness.verification.checks import VerificationOptions, verify_records
from tests.cheats.threats import threat
from tests.verification.forging import (
    NO_JUDGE,
    change,
    change_point,
    failure,
    findings_of,
    honest,
    stored,
    with_points,
    with_spec,
    workloads,
)
from tests.verification.test_attempts import attempt, ledger_finding
from tests.verification.test_settings import planned_record
from tests.verification.test_workloads import runs_command, with_weights, with_workload


@threat(
    way="edits the metrics of a record so that it reaches its target earlier, and computes the hash again",
    verdict="caught",
    by="check *ending* of `bench verify`: the end of the run is decided again at every point",
)
def test_better_metrics() -> None:
    record = honest()
    target = record.spec.workload.facts.targets[0]
    forged = change_point(record, 2, metrics={**record.points[2].metrics, target.metric: target.value})
    assert failure(forged, "ending")


@threat(
    way="leaves out the later points of a run that missed, and claims a hit",
    verdict="caught",
    by="check *ending*",
)
def test_shortened_run() -> None:
    record = honest(status="exhausted")
    forged = with_points(record, list(record.points[: len(record.points) // 2]))
    assert failure(change(forged, status="reached", hit=len(forged.points) - 1, reason=""), "ending")


@threat(
    way="publishes the record of another submission under a name of its own",
    verdict="caught",
    by="check *copies*, if the original is at hand",
)
def test_copied_record() -> None:
    record = honest()
    ref = change(record.spec.submission, name="mine", source_hash="e" * 64)
    copied = change(record, spec=change(record.spec, submission=ref))
    finding = findings_of(record, copied)[1].finding("copies")
    assert finding is not None
    assert finding.outcome == "failed"


@threat(
    way="deletes the records of worse seeds",
    verdict="caught",
    by="check *ledger*: `ledger.jsonl` lists every attempt",
)
def test_hand_picked_records(tmp_path: Path) -> None:
    kept = attempt(honest(), tmp_path)
    spec = with_seeds_of(honest(), 1)
    hidden = attempt(spec, tmp_path)
    RunFolder(tmp_path, hidden.path.parent.name).record_path.unlink()
    assert ledger_finding(kept)[0] == "failed"


@threat(
    way="names a function of the operating system, or a file of its own, as the workload of a record",
    verdict="caught",
    by="check *workload*: the workload is looked up among the installed ones, and nothing that a record names is "
    "imported",
)
def test_code_in_a_record(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    item = with_weights(runs_command(honest(), marker), tmp_path)
    finding = verify_records([item], VerificationOptions(workloads=workloads()))[0].finding("workload")
    assert finding is not None
    assert (finding.outcome, marker.exists()) == ("failed", False)


@threat(
    way="writes an easier target, or a larger budget, into the facts of a record",
    verdict="caught",
    by="check *workload*, which compares the facts with those of the installed workload",
)
def test_easier_target() -> None:
    facts = honest().spec.workload.facts
    (target, *others) = facts.targets
    easier = msgspec.structs.replace(target, value=target.value + (1 if target.goal == "min" else -1))
    assert failure(with_workload(honest(), facts=change(facts, targets=(easier, *others))), "workload")


@threat(
    way="writes fewer trials or studies into the ruleset of a record, so that one run is a complete study",
    verdict="caught",
    by="check *ruleset*, which compares the ruleset with that of the benchmark",
)
def test_other_ruleset() -> None:
    own = change(rulesets()["external"], trials=1, studies=1)
    assert failure(with_spec(honest(), ruleset=own), "ruleset")


@threat(
    way="calls its record *evaluated* without the results of an evaluator",
    verdict="caught",
    by="check *judgements*. If the forger also invents these results, only the weights or a rerun refute them",
)
def test_level_without_evidence() -> None:
    assert failure(change(honest(), trust="evaluated", judgements=()), "judgements")
    assert failure(change(honest(), trust="verified"), "judgements")


@threat(
    way="sets a hyperparameter by hand, and removes it from the overrides in the record",
    verdict="caught",
    by="check *settings*, which plans the hyperparameters again, if the submission is installed",
)
def test_hidden_override() -> None:
    record = planned_record()
    tuned = {**record.spec.hparams, "lr": float(record.spec.hparams["lr"]) * 1.3}
    assert failure(with_spec(record, hparams=tuned), "settings")
    assert not failure(with_spec(record, hparams=tuned, overridden=("lr",)), "settings")


def with_seeds_of(record: Record, study: int) -> Record:
    """The record of another study."""
    spec = change(record.spec, study=record.spec.study + study)
    return change(record, spec=change(spec, seeds=expected_seeds(spec)))  # type: ignore[no-any-return]


@threat(
    way="removes the ledger together with the worse records",
    verdict="made useless",
    by="the check *ledger* says that nothing can be checked, and the level stays below *verified*; `bench rerun` "
    "tests the remaining records on fresh seeds",
)
def test_missing_ledger() -> None:
    record = honest()
    finding = verify_records([stored(record)], NO_JUDGE)[0].finding("ledger")
    assert finding is not None
    assert finding.outcome == "unchecked"
    assert trust_level(record, ()) != "verified"


@threat(
    way="invents a consistent record: faster times for a real curve",
    verdict="out of reach",
    by="no check finds this without running the submission. The level stays below *verified*, but the record "
    "itself may state that it was *evaluated*. `bench rerun` repeats the run, but compares examples and not seconds",
)
def test_invented_times() -> None:
    record = honest()
    points = [change(p, seconds=p.seconds / 2, process_seconds=p.process_seconds / 2) for p in record.points]
    counters = change(
        record.counters,
        seconds=record.counters.seconds / 2,
        process_seconds=record.counters.process_seconds / 2,
    )
    assert record.ledger is not None
    phases = {
        name: change(spent, seconds=spent.seconds / 2, process_seconds=spent.process_seconds / 2)
        for name, spent in record.ledger.phases.items()
    }
    ledger = change(record.ledger, phases=phases)
    forged = change(with_points(record, points), counters=counters, ledger=ledger)
    assert not findings_of(forged)[0].failed
    assert trust_level(change(forged, trust="evaluated"), ()) == "evaluated"
