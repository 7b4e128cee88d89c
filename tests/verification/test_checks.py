"""Forged records are caught where the page on verification promises it, and published ones pass."""

from __future__ import annotations

import hashlib
from dataclasses import replace as change_options
from pathlib import Path

import msgspec
import pytest
import safetensors.torch
import torch

from harness.contract.judging import JudgeAnswer, Judgement, JudgeRequest
from harness.contract.record import Record
from harness.contract.run import Nonce, Seeds, WorkloadRef
from harness.planning.seeds import with_seeds
from harness.storage.layout import run_id
from harness.storage.records import StoredRecord, encode, iter_stored
from harness.system.beacon import QUICKNET
from harness.verification.checks import VerificationOptions, verify_records
from harness.verification.workloads import index_workloads
from tests import micro
from tests.cheats.pipeline import set_import_path
from tests.verification.forging import (
    NO_JUDGE,
    REPOSITORY,
    change,
    change_point,
    failure,
    findings_of,
    honest,
    stored,
    with_points,
    with_spec,
)


def test_every_published_record_passes() -> None:
    problems: list[str] = []
    folders = [REPOSITORY / "results", REPOSITORY / "calibration"]
    findings = verify_records(iter_stored(folders, problems), NO_JUDGE)
    assert len(findings) > 600
    assert not problems
    assert [record for record in findings if record.failed] == []
    unchecked = {
        (finding.check, finding.detail)
        for record in findings
        for finding in record.findings
        if finding.outcome == "unchecked"
    }
    assert {check for check, _ in unchecked} == {"workload", "settings", "weights", "ledger"}


def test_an_edit_without_a_new_hash_is_caught() -> None:
    item = stored(honest())
    [finding] = verify_records([item._replace(content=item.content.replace(b'"reached"', b'"crashed"'))], NO_JUDGE)
    assert finding.failed
    assert "edited" in finding.findings[0].detail


def test_an_unknown_field_is_caught() -> None:
    item = stored(honest())
    [finding] = verify_records([item._replace(content=item.content.replace(b'"hit"', b'"hits"'))], NO_JUDGE)
    assert "unknown field `hits`" in finding.findings[0].detail


def test_another_run_id_than_that_of_the_spec_is_caught() -> None:
    forged = change(honest(), run_id="run-0123456789abcdef")
    [finding] = verify_records([StoredRecord(Path("run-0123456789abcdef.json"), encode(forged))], NO_JUDGE)
    identity = finding.finding("identity")
    assert identity is not None
    assert "gives the run ID" in identity.detail


def test_the_file_of_another_trial_is_caught() -> None:
    item = stored(honest())
    [finding] = verify_records([item._replace(path=Path("run-0123456789abcdef.json"))], NO_JUDGE)
    identity = finding.finding("identity")
    assert identity is not None
    assert identity.outcome == "failed"


def test_chosen_seeds_are_caught() -> None:
    lucky = with_spec(honest(), seeds=Seeds(model=1, data=2, submission=3, replay=4))
    assert "do not follow from the root seed" in failure(lucky, "seeds")


def test_an_invented_round_of_a_beacon_is_caught() -> None:
    nonce = Nonce(value="ab" * 32, source="beacon", chain=QUICKNET.hash, round=1000, signature="cd" * 48)
    forged = change(honest(), spec=with_seeds(change(honest().spec, nonce=nonce), redraws_held_out=False))
    assert "not the SHA-256 of its signature" in failure(forged, "seeds")
    broken = with_spec(honest(), nonce=Nonce(value="no number", source="local"))
    assert "64 hexadecimal digits" in failure(broken, "seeds")


def test_a_metric_outside_its_range_is_caught() -> None:
    name = "accuracy/0"
    stream = honest("stream", "exhausted", metric=name)
    assert "not a fraction" in failure(
        change_point(stream, 3, metrics={**stream.points[3].metrics, name: 1.2}), "points"
    )
    negative = change_point(honest(), 3, metrics={"cross_entropy": -0.1, "loss": -0.1})
    assert "cannot be negative" in failure(negative, "points")


@pytest.mark.parametrize("name", ["examples", "steps", "seconds", "process_seconds", "gradient_examples"])
def test_counters_that_fall_are_caught(name: str) -> None:
    record = honest()
    falling = change_point(record, 4, **{name: getattr(record.points[3], name) - 1})
    assert f"{name} falls" in failure(falling, "points") or "point 4" in failure(falling, "points")


def test_steps_that_take_no_time_are_caught() -> None:
    record = honest()
    assert "took no time" in failure(change_point(record, 4, seconds=record.points[3].seconds), "points")


def test_points_beyond_the_budget_are_caught() -> None:
    record = honest(status="exhausted")
    interval = record.spec.workload.facts.eval_every
    last = record.points[-1]
    later = change(
        last, examples=last.examples + interval, steps=last.steps + interval, seconds=last.seconds + 1,
        gradient_examples=last.gradient_examples + interval,
    )  # fmt: skip
    assert "is over at point" in failure(with_points(record, [*record.points, later]), "ending")


def test_a_run_that_ends_before_its_budget_is_caught() -> None:
    record = honest(status="exhausted")
    assert "the run goes on at its last point" in failure(with_points(record, list(record.points[:-5])), "ending")


@pytest.mark.parametrize("access", ["pool", "stream"])
def test_a_hit_without_a_crossing_is_caught(access: str) -> None:
    record = honest(access)
    hit = len(record.points) - 4
    stage_hits = tuple(min(index, hit) for index in record.stage_hits)
    early = change(with_points(record, list(record.points[: hit + 1])), hit=hit, stage_hits=stage_hits)
    problem = failure(early, "ending")
    assert "at the hit, the target is" in problem or "goes on at its last point" in problem


def test_a_miss_that_is_declared_a_hit_is_caught() -> None:
    record = honest(status="exhausted")
    forged = change(record, status="reached", hit=len(record.points) - 1, crossing_weights=record.final_weights)
    assert "the status is reached, but the run is exhausted" in failure(forged, "ending")


def test_an_earlier_hit_that_is_hidden_is_caught() -> None:
    """The run went on past its hit to better weights."""
    record = honest()
    target = record.spec.workload.facts.targets[0]
    better = change_point(record, -2, metrics=record.points[-1].metrics, evaluated_examples=None, se=None)
    assert target.met(better.points[-2].metrics)
    assert f"is over at point {len(record.points) - 2}" in failure(better, "ending")


def test_a_screened_hit_is_caught() -> None:
    forged = change_point(honest(), -1, evaluated_examples=64, se=0.01)
    assert "is screened, but it is the hit" in failure(forged, "points")


def test_missing_stages_are_caught() -> None:
    record = honest("stream")
    assert "stages ended at the points" in failure(change(record, stage_hits=record.stage_hits[1:]), "ending")


def test_a_spec_that_contradicts_itself_is_a_failure_and_not_an_error() -> None:
    record = honest()
    facts = record.spec.workload.facts
    budget = change(facts.budget, seconds={})
    forged = with_spec(record, workload=change(record.spec.workload, facts=change(facts, budget=budget, eval_every=0)))
    [finding] = findings_of(forged)
    assert finding.failed


def under_another_name(record: Record) -> Record:
    return with_spec(record, submission=change(record.spec.submission, name="mine", source_hash="0" * 64))


def test_a_copy_under_another_name_is_caught_in_both_records() -> None:
    record = honest()
    findings = findings_of(record, under_another_name(record))
    details = [finding.detail for item in findings if (finding := item.finding("copies"))]
    assert "(mine@" in details[0]
    assert f"({record.spec.submission.id}" in details[1]


@pytest.mark.parametrize("kept_part", ["weights", "curve", "times"])
def test_a_copy_with_other_values_elsewhere_is_caught(kept_part: str) -> None:
    record = honest()
    copy = under_another_name(record)
    if kept_part != "weights":
        copy = change(copy, final_weights="1" * 64, crossing_weights="1" * 64)
    if kept_part != "curve":
        for index in range(1, len(copy.points) - 1):
            metrics = {name: value * 1.0001 for name, value in copy.points[index].metrics.items()}
            copy = change_point(copy, index, metrics=metrics)
    if kept_part != "times":
        copy = with_points(copy, [change(point, seconds=point.seconds * 1.01) for point in copy.points])
    copies = findings_of(record, copy)[1].finding("copies")
    assert copies is not None
    assert f"it has the {kept_part} of" in copies.detail


def test_the_curve_of_another_seed_is_caught() -> None:
    record = honest()
    other = change(record, spec=with_seeds(change(record.spec, study=record.spec.study + 50), redraws_held_out=False))
    copies = findings_of(record, other)[1].finding("copies")
    assert copies is not None
    assert copies.outcome == "failed"


def copy_details(*records: Record) -> list[str]:
    """What the check for copies says about each of the records in which it finds a copy."""
    return [found.detail for item in findings_of(*records) if (found := item.finding("copies"))]


def test_equal_weights_and_metrics_after_a_divergence_are_no_copy() -> None:
    """If all weights are NaN, both are equal in runs with other seeds. Equal times still show a copy."""
    first = honest()
    spec = with_seeds(change(first.spec, study=first.spec.study + 50), redraws_held_out=False)
    other = change(first, spec=spec, run_id=run_id(spec))
    for status, is_copy in (("diverged", False), (first.status, True)):
        details = copy_details(change(first, status=status), change(other, status=status))
        for part in ("weights", "curve"):
            assert any(f"it has the {part} of" in text for text in details) == is_copy
        assert any("it has the times of" in text for text in details)


def test_one_run_under_two_rulesets_is_no_copy() -> None:
    record = honest()
    other = with_spec(record, ruleset=change(record.spec.ruleset, name="another"))
    assert not any(item.failed for item in findings_of(record, other))


# --- weights --------------------------------------------------------------------------------------


@pytest.fixture
def with_weights(tmp_path: Path) -> tuple[Record, StoredRecord]:
    """A record with a file of weights beside it; the judge of these tests does not read the file."""
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    record = change(honest(), final_weights=digest, crossing_weights=digest)
    item = stored(record)
    folder = tmp_path / item.path.stem
    folder.mkdir()
    (folder / "final.safetensors").write_bytes(content)
    return record, item._replace(path=folder / "record.json")


def judge_with(record: Record, shift: float = 0.0) -> VerificationOptions:
    def judge(request: JudgeRequest) -> JudgeAnswer:
        point = request.weights[0].point
        score = {name: value + shift for name, value in record.points[point].metrics.items()}
        return JudgeAnswer(judgements=(Judgement(point=point, score=score),))

    return change_options(NO_JUDGE, judge=judge)


@pytest.mark.parametrize(("shift", "outcome"), [(0.0, "passed"), (5e-5, "passed"), (1e-3, "failed")])
def test_an_edited_metric_is_caught_where_the_weights_are(
    with_weights: tuple[Record, StoredRecord], shift: float, outcome: str
) -> None:
    record, item = with_weights
    weights = verify_records([item], judge_with(record, shift))[0].finding("weights")
    assert weights is not None
    assert weights.outcome == outcome, weights


def test_the_weights_of_another_run_are_caught(with_weights: tuple[Record, StoredRecord]) -> None:
    record, item = with_weights
    (item.path.parent / "final.safetensors").write_bytes(b"others")
    weights = verify_records([item], judge_with(record))[0].finding("weights")
    assert weights is not None
    assert "not the file whose hash" in weights.detail


def test_weights_of_any_size_are_refused_before_they_are_hashed(with_weights: tuple[Record, StoredRecord]) -> None:
    record, item = with_weights
    with open(item.path.parent / "final.safetensors", "ab") as file:
        file.truncate(1 << 40)
    weights = verify_records([item], judge_with(record))[0].finding("weights")
    assert weights is not None
    assert (weights.outcome, "the limit for weights" in weights.detail) == ("failed", True)


def test_what_cannot_be_judged_is_not_checked(with_weights: tuple[Record, StoredRecord]) -> None:
    _, item = with_weights
    options = change_options(NO_JUDGE, judge=lambda request: JudgeAnswer(error="no such workload"))
    weights = verify_records([item], options)[0].finding("weights")
    assert weights is not None
    assert (weights.outcome, "no such workload" in weights.detail) == ("unchecked", True)


@pytest.mark.parametrize("content", ["garbage", "another model"])
def test_a_file_that_has_the_hash_but_no_weights_is_caught(content: str, tmp_path: Path) -> None:
    """The judge is the real one. Nothing is missing on this machine, so the check must not be left open."""
    entry = change(micro.ENTRY, distribution="")
    weights = b"garbage" if content == "garbage" else safetensors.torch.save({"0.weight": torch.zeros(1)})
    digest = hashlib.sha256(weights).hexdigest()
    workload = WorkloadRef(facts=entry.facts, load=entry.load)
    record = change(with_spec(honest(), workload=workload), final_weights=digest, crossing_weights=digest)
    item = stored(record)
    (tmp_path / "final.safetensors").write_bytes(weights)
    options = VerificationOptions(workloads=index_workloads([entry]))
    set_import_path()
    finding = verify_records([item._replace(path=tmp_path / "record.json")], options)[0].finding("weights")
    assert finding is not None
    words = "is not a file of weights" if content == "garbage" else "belongs to another model"
    assert (finding.outcome, words in finding.detail) == ("failed", True), finding


def test_findings_can_be_printed() -> None:
    from harness.report.verification import findings_json, findings_text

    findings = findings_of(honest(), change(honest("stream"), hit=None))
    text = findings_text(findings)
    assert "FAILED" in text
    assert "2 records, 1 failed" in text
    assert "not checked: weights of" in text
    assert msgspec.json.decode(msgspec.json.encode(findings_json(findings)))["failed"] == 1
