"""A gate's verdict from records: envelope, breaks, identical and constant runs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from harness.contract.record import Ledger, Record, Spent
from harness.errors import BenchError, UsageError
from harness.planning import seeds
from harness.scoring.gate import EDITED, GateLook, GatePair, judge_pairs, judge_run, median_cost_ratio
from harness.scoring.gate_envelope import fit_envelope
from tests.gating.builders import ENVELOPE, finish, pair
from tests.scoring import builders

MARGIN = math.log(1.03)


def look(pairs: list[GatePair], envelope: bool = True) -> GateLook:
    return judge_pairs(pairs, {"w": ENVELOPE} if envelope else {}, alpha=0.05, min_effect=MARGIN)


def pairs(ratio: float, n: int = 8) -> list[GatePair]:
    """The loss of A is `ratio` times that of B, which differs by seed."""
    return [pair(ratio * (1.9 + 0.01 * k), 1.9 + 0.01 * k, k) for k in range(n)]


def test_a_difference_is_in_units_of_the_references_compute() -> None:
    result = look(pairs(0.98))
    overall = result.verdict.overall
    assert overall.outcome == "better"
    assert overall.estimate == pytest.approx(10 * -math.log(0.98), rel=1e-6)
    raw = look(pairs(0.98), envelope=False).verdict.overall
    assert raw.estimate == pytest.approx(-math.log(0.98), rel=1e-6)
    # 2 % of the loss is 22 % of compute and below 3 % of the loss.
    assert raw.outcome == "equivalent"
    assert look(pairs(1.02)).verdict.overall.outcome == "worse"
    assert result.pairs_needed == 0
    assert result.is_over


def with_costs(pairs: list[GatePair], a: float, b: float) -> list[GatePair]:
    """Return the pairs with these seconds per example."""
    return [
        {name: (replace(left, cost=a), replace(right, cost=b)) for name, (left, right) in one.items()} for one in pairs
    ]


def test_time_multipliers_include_the_cost_per_example() -> None:
    faster = with_costs(pairs(0.98), 0.003, 0.002)
    by_time = judge_pairs(faster, {"w": ENVELOPE}, alpha=0.05, min_effect=MARGIN, by="time").verdict.overall
    assert by_time.estimate == pytest.approx(10 * -math.log(0.98) - math.log(1.5), rel=1e-6)
    assert by_time.outcome == "worse"
    assert look(faster).verdict.overall.outcome == "better"
    assert median_cost_ratio(faster) == pytest.approx(1.5)
    assert median_cost_ratio(pairs(0.98)) is None


def test_a_broken_run_counts_alike_by_time() -> None:
    broken = with_costs([pair(None, 1.9, k) for k in range(6)], 0.003, 0.002)
    broken = [{"w": (replace(one["w"][0], cost=None), one["w"][1])} for one in broken]
    verdict = judge_pairs(broken, {"w": ENVELOPE}, alpha=0.05, min_effect=MARGIN, by="time").verdict.overall
    assert verdict.outcome == "worse"
    with pytest.raises(UsageError, match="has no cost per example"):
        judge_pairs(pairs(0.98), {"w": ENVELOPE}, alpha=0.05, min_effect=MARGIN, by="time")


def test_few_pairs_are_undecided_with_a_forecast() -> None:
    result = look(pairs(0.98, 3))
    assert result.verdict.overall.outcome == "undecided"
    assert result.pairs_needed is not None
    assert result.pairs_needed >= 3
    assert not result.is_over


def test_a_run_that_breaks_counts_against_its_owner_and_is_named() -> None:
    broken = [pair(None, 1.9, k) for k in range(6)]
    result = look(broken)
    assert result.verdict.overall.outcome == "worse"
    assert [(run.side, run.reason) for run in result.broken] == [("A", "the loss is NaN")] * 6
    assert look([pair(1.9, None, k) for k in range(6)]).verdict.overall.outcome == "better"


def test_both_broken_is_a_tie_and_always_both_an_error() -> None:
    tied = look([pair(None, None, 0), pair(1.8, 1.9, 1)])
    assert tied.differences["w"][0] == 0.0
    with pytest.raises(UsageError, match=r"both broke down on w in all 2 pairs .*run-"):
        look([pair(None, None, k) for k in range(2)])


def test_equal_weights_in_every_pair_are_identical_after_two() -> None:
    same = [pair(1.9, 1.9, k, final_weights="x") for k in range(2)]
    assert look(same[:1]).verdict.overall.outcome == "undecided"
    assert look(same).verdict.overall.outcome == "identical"
    other = pair(1.8, 1.9, 2, final_weights="x")
    assert look([*same, other]).verdict.overall.outcome == "undecided"


def test_an_edit_that_changes_only_the_speed_has_a_verdict_by_time() -> None:
    same = [pair(1.9, 1.9, k, final_weights="x") for k in range(8)]
    faster = judge_pairs(with_costs(same, 0.002, 0.003), {"w": ENVELOPE}, alpha=0.05, min_effect=MARGIN, by="time")
    assert faster.verdict.overall.outcome == "better"
    assert look(with_costs(same, 0.002, 0.003)).verdict.overall.outcome == "identical"


def test_a_constant_metric_is_an_error_unless_one_side_moves() -> None:
    spec = builders.spec("A", builders.facts("w"), stop=100)
    still = finish(spec, 1.0)
    still = msgspec.structs.replace(still, points=(still.points[1],) * 2)
    a = judge_run(still, "A")
    assert a.constant
    # Pairs have different seeds, so that the constants of two pairs may differ.
    other = replace(a, metric=2.0, study=1)
    with pytest.raises(UsageError, match=r"on w is constant in every run and equal .* so A and B do not differ"):
        look([{"w": (a, a)}, {"w": (other, other)}])
    look([{"w": (a, judge_run(finish(spec, 1.5), "B"))}])


def test_metrics_without_a_logarithm() -> None:
    with pytest.raises(UsageError, match=r"loss on w is -0\.5; a gate compares logarithms"):
        pair(-0.5, 1.0)
    accuracy = builders.facts(
        "w", targets=(msgspec.structs.replace(builders.TARGET, metric="acc", goal="max", value=0.5),)
    )
    assert judge_run(finish(builders.spec("A", accuracy), 0.0), "A").broke


def test_an_interrupted_run_stops_the_gate() -> None:
    with pytest.raises(BenchError, match="was interrupted"):
        judge_run(finish(builders.spec(), 1.0, status="interrupted"), "A")


def test_a_run_that_broke_by_an_edit_counts_against_nobody() -> None:
    from harness.worker import loading

    source = Path(str(loading.__file__)).read_text()
    assert EDITED in source, "the worker's words"
    with pytest.raises(UsageError, match="repeat the command with --retry-failed"):
        judge_run(finish(builders.spec(), None, status="crashed", reason=f"PluginError: a@1 {EDITED}"), "A")


def test_a_stream_that_ends_before_its_last_stage_broke() -> None:
    record = finish(builders.spec("A", builders.stream()), 1.0)
    early = msgspec.structs.replace(record.points[-1], stage=0)
    run = judge_run(msgspec.structs.replace(record, points=(record.points[0], early)), "A")
    assert run.broke
    assert "ended in stage 1 of 2" in run.reason


def test_the_time_between_two_sessions_is_no_wall_time_of_the_run() -> None:
    resumed_later = finish(
        builders.spec(),
        1.0,
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-02T00:00:00+00:00",
        ledger=Ledger(phases={"start": Spent(seconds=4.0), "training": Spent(seconds=20.0)}),
    )
    assert judge_run(resumed_later, "A").seconds == 24.0


# --- the envelope -----------------------------------------------------------------------------------


def horizon_runs(values: dict[int, list[float | None]]) -> list[Record]:
    records = []
    for horizon, losses in values.items():
        facts = builders.facts("w", budget=msgspec.structs.replace(builders.facts().budget, horizon=horizon))
        records += [finish(builders.spec("ref", facts, k), loss) for k, loss in enumerate(losses)]
    return records


def test_an_envelope_is_fitted_monotone_and_says_what_it_rests_on() -> None:
    envelope = fit_envelope(horizon_runs({50: [2.0, 2.0], 100: [1.5, None], 200: [1.6, 1.6], 400: [1.0, 1.0]}), 100)
    assert envelope.horizons == (50, 100, 200, 400)
    assert envelope.provisional
    assert len(envelope.runs) == 8
    assert len(envelope.knots()) == 3, "100 and 200 are out of order and pooled"
    budgets = [envelope.log_budget(loss) for loss in (4.0, 2.0, 1.7, 1.2, 1.0, 0.5)]
    assert budgets == sorted(budgets)
    assert math.exp(envelope.log_budget(1.0)) == pytest.approx(400)
    assert not envelope.covers(0.5)
    # The metric 2 is measured at 50 examples, but the first knot is the mean of 2.2 and 2.
    worse_later = fit_envelope(horizon_runs({50: [2.0], 100: [2.2], 200: [1.0]}), 100)
    assert [worse_later.covers(loss) for loss in (2.15, 2.05, 1.0 + 1e-9)] == [False, True, True]
    assert math.exp(worse_later.log_budget(2.15)) < math.exp(worse_later.knots()[0][1])


def test_an_envelope_that_says_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="does not improve with a larger budget"):
        fit_envelope(horizon_runs({50: [1.0], 100: [1.0], 200: [1.1]}), 100)
    with pytest.raises(UsageError, match="finished at 1 horizons"):
        fit_envelope(horizon_runs({50: [1.0], 100: [None]}), 100)


def test_without_an_envelope_on_one_workload_none_is_used() -> None:
    both = [{**pair(1.8, 1.9, k), **pair(1.8, 1.9, k, "v")} for k in range(2)]
    result = judge_pairs(both, {"w": ENVELOPE}, alpha=0.05, min_effect=MARGIN)
    assert result.differences["w"] == result.differences["v"]


def test_seeds_of_gates_meet_no_others() -> None:
    drawn = {
        purpose: {seeds.derive_seeds(0, "w", k, 0, purpose).data for k in range(50)}
        for purpose in ("score", "tuning", "target", "envelope", "gate", "gate-envelope", "confirm")
    }
    assert len(set().union(*drawn.values())) == 7 * 50
