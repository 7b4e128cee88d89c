"""Reruns: exact comparison, the sequential test on fresh seeds, and the trust level that follows."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import pytest

from harness.contract.attestation import Attestation
from harness.contract.held_out import HeldOutSeeds
from harness.contract.record import Record, Session
from harness.contract.run import Nonce, PartRef, Point, RunSpec
from harness.contract.workload import Target
from harness.errors import UsageError
from harness.planning.seeds import expected_held_out
from harness.report.attestations import attestation_lines, describe_trust
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.scoring.trust import lowest_level, trust_level
from harness.storage.layout import run_id
from harness.verification import repetition
from harness.verification.fresh_seeds import StatedResult, draw_results, group_results, judge_differences
from harness.verification.rerun import MAX_SEEDS, Rerun
from tests.verification.forging import archived, change, change_point, honest, published, registry, with_spec, workloads

NONCE = Nonce(value="ab" * 32, source="local")


@pytest.fixture(autouse=True)
def equal_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published records were made with other sources and on another machine."""
    monkeypatch.setattr(repetition, "source_hash", lambda loads: "f" * 64)
    monkeypatch.setattr("harness.verification.rerun.find_environment_difference", lambda record: "")


def at_hand(record: Record) -> Record:
    """The record of a run of the source at hand."""
    return with_spec(record, submission=change(record.spec.submission, source_hash="f" * 64))


def runner(record: Record, factors: Callable[[int], float]) -> Callable[[Sequence[RunSpec]], list[Record]]:
    """Runs whose hit costs a factor times that of a record, by study; a repetition of the record equals it."""

    def run(specs: Sequence[RunSpec]) -> list[Record]:
        records = []
        for spec in specs:
            fresh = change(record, spec=spec, run_id=run_id(spec))
            if spec.purpose == "rerun":
                factor = factors(spec.study)
                hit = fresh.points[-1]
                cost = 0 if math.isinf(factor) else round(hit.cost * factor)
                fresh = change_point(fresh, -1, examples=cost, gradient_examples=cost)
                fresh = change(fresh, hit=None, status="exhausted") if math.isinf(factor) else fresh
            records.append(fresh)
        return records

    return run


def rerun(record: Record, factors: Callable[[int], float] = lambda study: 1.0, **options: object) -> Rerun:
    lines: list[str] = []
    base = Rerun(
        run=runner(record, factors),
        request_nonce=lambda: NONCE,
        report=lines.append,
        usable=workloads(),
        part_loads={part.load for part in registry().parts()},
    )
    return replace(base, **options)  # type: ignore[arg-type]


def summary(made: Sequence[Attestation]) -> list[tuple[str, str]]:
    return [(attestation.method, attestation.outcome) for attestation in made]


def noisy(study: int) -> float:
    return (0.97, 1.02, 1.0, 0.99, 1.04, 0.98)[study % 6]


def test_an_honest_record_becomes_verified() -> None:
    record = at_hand(honest())
    made = list(rerun(record, noisy).repeat_record(record))
    assert summary(made) == [("exact", "accepted"), ("fresh-seeds", "accepted")]
    assert made[1].runs == 6
    assert trust_level(record, made[:1]) == "evaluated"
    made = [change(attestation, machine="another machine") for attestation in made]
    assert trust_level(record, made) == "verified"
    other = honest("stream")
    assert trust_level(other, made) == trust_level(other, []) != "verified"


@pytest.mark.parametrize(
    ("machine", "source", "reason"),
    [
        ("elsewhere", "local", ""),
        ("elsewhere", "beacon", ""),
        ("elsewhere", "given", "the fresh seeds were given by the user"),
        ("own", "beacon", "the check was made on the machine of the record"),
        ("own", "local", "the check was made on the machine of the record"),
        ("", "local", "the machine of the record or of the check is unknown"),
    ],
)
def test_fresh_seeds_verify_a_record_only_if_its_author_could_not_choose_them(
    machine: str, source: Literal["beacon", "local", "given"], reason: str
) -> None:
    record = change(honest(), sessions=(Session(invocation="i", machine="own"),))
    nonce = Nonce(value="ab" * 32, source=source)
    attestation = Attestation(
        record=record.content_hash,
        run_id=record.run_id,
        method="fresh-seeds",
        outcome="accepted",
        machine=machine,
        nonce=nonce,
    )
    level = "evaluated" if reason else "verified"
    assert trust_level(record, [attestation]) == level
    assert trust_level(summarize(record, LeaderboardQuery()), [attestation]) == level
    clause = f"(not enough for verified: {reason})"
    shown = [describe_trust(record, [attestation]), *attestation_lines(record, attestation, [attestation])[1:]]
    assert all((clause in line) is bool(reason) and "not enough" not in line.replace(clause, "") for line in shown)
    for sessions in ((), (Session(invocation="i", machine=""),)):
        unknown = change(record, sessions=sessions)
        assert trust_level(unknown, [attestation]) == "evaluated"
    verifying = change(attestation, machine="elsewhere", nonce=Nonce(value="ab" * 32, source="local"))
    assert attestation_lines(record, attestation, [verifying, attestation])[1].endswith(": verified")


def test_seeds_of_a_beacon_need_no_fresh_seeds() -> None:
    record = with_spec(at_hand(honest()), nonce=Nonce(value="ab" * 32, source="beacon"))
    made = list(rerun(record).repeat_record(record))
    assert summary(made) == [("exact", "accepted")]
    assert trust_level(record, made) == "evaluated", "on the machine of the record"
    assert trust_level(record, [change(made[0], machine="another machine")]) == "verified"


@pytest.mark.parametrize("changed", [{"lr": 0.5}, {"train_loss": 1.0}, {"examples": 3}])
def test_another_curve_is_refuted_and_nothing_else_runs(changed: dict[str, float]) -> None:
    record = at_hand(honest())
    forged = change_point(record, 4, **changed)
    made = list(rerun(record).repeat_record(forged))
    assert summary(made) == [("exact", "refuted")]
    assert f"point 4: {next(iter(changed))}" in made[0].detail
    assert trust_level(forged, made) == "self-reported"


def test_other_weights_are_refuted() -> None:
    record = at_hand(honest())
    made = list(rerun(record).repeat_record(change(record, final_weights="0" * 64)))
    assert "final_weights" in made[0].detail


def test_seconds_are_not_compared() -> None:
    record = at_hand(honest())
    assert not repetition.list_repetition_differences(record, change_point(record, 4, seconds=1e6, process_seconds=1e6))


@pytest.mark.parametrize(("factor", "outcome"), [(1.5, "refuted"), (math.inf, "refuted"), (0.8, "accepted")])
def test_a_lucky_record_is_refuted_on_fresh_seeds(factor: float, outcome: str) -> None:
    record = at_hand(honest())
    made = list(rerun(record, lambda study: factor * noisy(study), method="fresh-seeds").repeat_record(record))
    assert summary(made) == [("fresh-seeds", outcome)]


def test_at_the_limit_the_test_stays_undecided() -> None:
    record = at_hand(honest())
    around = (1.0, 1.2, 1.05, 1.15)
    made = list(rerun(record, lambda study: around[study % 4], method="fresh-seeds").repeat_record(record))
    assert summary(made) == [("fresh-seeds", "undecided")]
    assert made[0].runs == MAX_SEEDS


def test_no_run_starts_after_the_time_limit() -> None:
    record = at_hand(honest())
    minutes = itertools.count()
    made = list(
        rerun(record, method="fresh-seeds", minutes=5.0, clock=lambda: 60.0 * next(minutes)).repeat_record(record)
    )
    assert summary(made) == [("fresh-seeds", "undecided")]
    assert made[0].runs < 6


def test_the_exact_repetition_and_the_first_seeds_always_run() -> None:
    record = at_hand(honest())
    hours = itertools.count()
    made = list(rerun(record, minutes=1.0, clock=lambda: 3600.0 * next(hours)).repeat_record(record))
    assert summary(made) == [("exact", "accepted"), ("fresh-seeds", "undecided")]
    assert made[1].runs == 2


def test_a_miss_states_nothing_that_fresh_seeds_could_verify() -> None:
    record = at_hand(honest(status="exhausted"))
    assert summary(list(rerun(record).repeat_record(record))) == [("exact", "accepted")]
    with pytest.raises(UsageError, match="no result to verify"):
        list(rerun(record, method="fresh-seeds").repeat_record(record))


def test_the_source_at_hand_must_be_that_of_the_record() -> None:
    with pytest.raises(UsageError, match=r"the source of .* at hand has the hash ffffffffffff"):
        list(rerun(honest()).repeat_record(honest()))


def test_a_record_does_not_choose_the_code_that_runs() -> None:
    """Neither its workload, nor its parts, nor a source that nobody can compare."""
    record = at_hand(honest())
    evil = with_spec(record, workload=change(record.spec.workload, load="os:system"))
    with pytest.raises(UsageError, match="is not the installed one: its workload has the import path 'os:system'"):
        list(rerun(evil).repeat_record(evil))
    no_hash = with_spec(record, submission=change(record.spec.submission, source_hash=""))
    with pytest.raises(UsageError, match="has no hash of the source"):
        list(rerun(no_hash).repeat_record(no_hash))
    part = PartRef(kind="optimizer", name="adamw", load="subprocess:Popen")
    parts = with_spec(record, submission=change(record.spec.submission, parts=(part,)))
    with pytest.raises(UsageError, match="parts that are not installed: subprocess:Popen"):
        list(rerun(parts).repeat_record(parts))
    stated = StatedResult(records=(evil,))
    with pytest.raises(UsageError, match="is not the installed one"):
        list(rerun(evil).test_results([stated], NONCE))


def test_a_submission_is_tested_on_workloads_drawn_by_the_nonce() -> None:
    scored = [at_hand(record) for record in (*published(), *archived()) if record.spec.purpose == "score"]
    names = {record.spec.submission.name for record in scored}
    name = max(names, key=lambda n: len({r.spec.workload.facts.id for r in scored if r.spec.submission.name == n}))
    stated_results = group_results([record for record in scored if record.spec.submission.name == name])
    assert len(stated_results) > 3
    drawn = {
        tuple(
            stated.workload for stated in draw_results(stated_results, Nonce(value=f"{index:064x}", source="local"), 3)
        )
        for index in range(20)
    }
    assert all(len(set(workloads)) == 3 for workloads in drawn)
    assert len(drawn) > 5
    assert draw_results(stated_results, NONCE, 3) == draw_results(stated_results[::-1], NONCE, 3)


def test_one_slow_workload_is_not_hidden_by_the_mean() -> None:
    fast, slow = [0.5, 0.4, 0.6] * 4, [-0.3, -0.2, -0.25] * 4
    assert judge_differences({"fast": fast, "slow": slow}).outcome == "undecided"
    assert judge_differences({"fast": fast, "equal": [0.0] * 12}).outcome == "accepted"


def test_a_metric_at_a_stop_is_converted_by_the_curve_of_the_record() -> None:
    record = next(r for r in archived() if r.spec.ruleset.name == "fixed-stop" and r.status == "reached")
    stated = StatedResult(records=(record,))
    target = record.spec.workload.facts.targets[0]
    assert isinstance(target, Target)
    whole: list[Point] = [point for point in record.points if not point.screened and point.cost]
    assert stated.difference(record) == 0.0
    middle = whole[len(whole) // 2]
    first = change_point(record, -1, metrics=whole[0].metrics)
    perfect = change_point(record, -1, metrics={**middle.metrics, target.metric: 0.0 if target.goal == "min" else 1.0})
    assert stated.difference(first) < 0.0 < stated.difference(perfect)
    assert stated.difference(first) < stated.difference(change_point(record, -1, metrics=middle.metrics))


def test_a_curve_with_one_whole_evaluation_cannot_be_compared() -> None:
    record = next(
        r for r in archived() if r.spec.stop is not None and not r.spec.workload.facts.stages and r.status == "reached"
    )
    assert not StatedResult(records=(record,)).problem
    short = change(record, points=(record.points[0], record.points[-1]))
    assert StatedResult(records=(short,)).problem.startswith(
        "1 of its evaluations after the start used the whole split"
    )
    assert StatedResult(records=(change(record, status="diverged"),)).problem == "the run is diverged"


def with_nonce(record: Record, held_out: HeldOutSeeds | None) -> Record:
    return with_spec(at_hand(record), nonce=NONCE, held_out=held_out)


def test_fresh_seeds_bring_fresh_held_out_data() -> None:
    """Whether the workload can draw them says its entry: a record may have been made without, or say nothing."""
    record = at_hand(honest())
    specs: list[RunSpec] = []

    def note(batch: Sequence[RunSpec]) -> list[Record]:
        specs.extend(batch)
        return runner(record, noisy)(batch)

    workload = record.spec.workload.facts.id
    list(rerun(record, method="fresh-seeds", run=note, redrawing={workload}).repeat_record(record))
    assert {spec.held_out for spec in specs} == {expected_held_out(spec) for spec in specs}
    assert len({spec.held_out for spec in specs}) == len(specs) >= 6
    specs.clear()
    list(rerun(record, method="fresh-seeds", run=note).repeat_record(record))
    assert {spec.held_out for spec in specs} == {None}


def test_a_record_with_other_held_out_data_is_not_repeated() -> None:
    record = with_nonce(honest(), None)
    workload = record.spec.workload.facts.id
    own = with_nonce(record, expected_held_out(record.spec))
    assert summary(list(rerun(own, method="exact", redrawing={workload}).repeat_record(own))) == [("exact", "accepted")]
    for forged in (record, with_nonce(record, HeldOutSeeds(feedback="1", score="2", audit="3"))):
        with pytest.raises(UsageError, match="is not repeated"):
            list(rerun(forged, redrawing={workload}).repeat_record(forged))


def test_levels_are_ordered() -> None:
    assert lowest_level(["verified", "self-reported"]) == "self-reported"
    assert lowest_level([]) == "self-reported"
