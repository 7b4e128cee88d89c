"""Multipliers of fixed-budget: known envelopes, bounds, breaks, costs, ranks and tables."""

from __future__ import annotations

import math
import random
import statistics
from statistics import fmean, pstdev
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.contract.attestation import Attestation
from harness.contract.envelope import EnvelopeHorizon, ReferenceEnvelope
from harness.contract.record import Record, Session, Status
from harness.contract.ruleset import Ruleset
from harness.contract.workload import Target, WorkloadFacts
from harness.errors import UsageError
from harness.report.stopping_tables import StoppingResults
from harness.scoring.compute_multiplier import MultiplierCurve
from harness.scoring.mean_ties import significant_ratio
from harness.scoring.multiplier_board import MultiplierCell, RankWithout
from harness.scoring.multiplier_estimate import ErrorSource, MultiplierEstimate, error_of_mean, mean_estimate
from harness.scoring.multipliers import choose_setting, score_boards
from harness.scoring.ties import PairVerdict
from harness.scoring.tuning_cost import tuning_studies
from tests.scoring import builders

RULESET = Ruleset(
    name="fixed-budget", version="1", summary="", trials=5, studies=5, tuning_studies=1, tuning="rates",
    stopping="budget", ranked=True,
)  # fmt: skip
#: The loss falls as budget^-1/2 from a quarter of the budget to twice the budget.
HORIZONS = (25, 50, 100, 200)


def envelope(noise: tuple[float, ...] = (0.0, 0.0), workload: str = "w@1", **changes: Any) -> ReferenceEnvelope:
    """An envelope whose seeds lie above the true curve by a factor exp(noise)."""
    base = ReferenceEnvelope(
        workload=workload,
        metric="loss",
        goal="min",
        budget=100,
        reference="ref@1",
        hardware="cpu-x",
        horizons=tuple(
            EnvelopeHorizon(examples=n, hparams={}, metrics=tuple(loss(n / 100) * math.exp(e) for e in noise))
            for n in HORIZONS
        ),
    )
    return msgspec.structs.replace(base, **changes)


def loss(multiplier: float) -> float:
    """The loss of a run with this compute multiplier."""
    return float(multiplier**-0.5)


def run(
    multiplier: float, submission: str = "a", study: int = 0, *, seconds: float = 1.0, workload: str = "w", **spec: Any
) -> Record:
    """A run of ten intervals that ends with this compute multiplier."""
    made = builders.spec(submission, builders.facts(workload), study, ruleset=RULESET, stop=100, root_seed=1, **spec)
    losses = [9.0] * 9 + [loss(multiplier)]
    status = "reached" if losses[-1] <= 1.0 else "exhausted"
    return builders.record(made, losses, seconds=seconds, status=status)


def as_stream(record: Record) -> Record:
    """The record with a workload that is a stream."""
    facts = msgspec.structs.replace(record.spec.workload.facts, access="stream")
    workload = msgspec.structs.replace(record.spec.workload, facts=facts)
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, workload=workload))


def runs(multipliers: list[float], submission: str = "a", **more: Any) -> list[Record]:
    return [run(value, submission, study, **more) for study, value in enumerate(multipliers)]


def cells(records: list[Record], *envelopes: ReferenceEnvelope) -> dict[str, MultiplierCell]:
    (board,) = score_boards(records, {one.workload: one for one in envelopes or (envelope(),)})
    return {cell.submission.partition("@")[0]: cell for cell in board.cells}


# --- the curve --------------------------------------------------------------------------------------


def test_the_curve_gives_the_budget_of_the_reference_and_bounds_beyond_its_ends() -> None:
    curve = MultiplierCurve(envelope())
    for value in (0.25, 0.3, 0.5, 0.9, 1.0, 1.7, 2.0):
        multiplier = curve.multiplier(loss(value))
        assert math.exp(multiplier.log) == pytest.approx(value)
        assert multiplier.bound == ""
    below, above = curve.multiplier(loss(0.2)), curve.multiplier(loss(3.0))
    assert [math.exp(end.log) for end in (below, above)] == pytest.approx([0.25, 2.0])
    assert [end.bound for end in (below, above)] == ["<", ">"]
    assert curve.multiplier(0.0).bound == ">", "a loss of 0 is better than all others"


def test_noisy_runs_of_the_reference_have_the_multiplier_one_although_the_envelope_bends() -> None:
    bent = zip(HORIZONS, (4.0, 2.0, 1.0, 0.9), strict=True)
    horizons = tuple(EnvelopeHorizon(examples=n, hparams={}, metrics=(m, m)) for n, m in bent)
    curve = MultiplierCurve(envelope(horizons=horizons))
    metrics = [math.exp(noise) for noise in (-0.1, 0.1, -0.05, 0.05, 0.0)]
    logs = [run.log for run in curve.multipliers(metrics)]
    assert statistics.fmean(logs) == pytest.approx(0.0, abs=1e-12)
    assert sorted(logs) == [logs[i] for i in (1, 3, 4, 2, 0)], "a better metric has a larger multiplier"
    assert statistics.fmean(curve.multiplier(metric).log for metric in metrics) > 0.05, (
        "the mean of single runs is biased"
    )


def test_a_single_run_outside_the_envelope_makes_no_bound() -> None:
    curve = MultiplierCurve(envelope())
    runs = curve.multipliers([loss(1.5), loss(1.5), loss(2.5)])
    assert {run.bound for run in runs} == {""}
    assert math.exp(statistics.fmean(run.log for run in runs)) == pytest.approx((1.5**2 * 2.5) ** (1 / 3))
    assert {run.bound for run in curve.multipliers([loss(1.5), loss(4.0)])} == {">"}
    assert {run.bound for run in curve.multipliers([0.0, loss(1.0)])} == {">"}
    assert [run.log for run in curve.multipliers([loss(0.5)] * 2)] == pytest.approx([math.log(0.5)] * 2)


def test_a_metric_to_be_maximised_without_a_logarithm_is_a_bound() -> None:
    horizons = tuple(
        EnvelopeHorizon(examples=n, hparams={}, metrics=(a, a))
        for n, a in zip(HORIZONS, (0.1, 0.2, 0.4, 0.8), strict=True)
    )
    curve = MultiplierCurve(envelope(goal="max", metric="accuracy", horizons=horizons))
    assert curve.multiplier(0.0).bound == "<"
    assert math.exp(curve.multiplier(0.4).log) == pytest.approx(1.0)
    assert curve.multiplier(0.9).bound == ">"


@given(st.lists(st.floats(0.01, 100.0), min_size=8, max_size=8), st.floats(0.001, 200.0), st.floats(0.001, 200.0))
def test_a_better_metric_never_has_a_smaller_multiplier(values: list[float], one: float, other: float) -> None:
    horizons = tuple(
        EnvelopeHorizon(examples=n, hparams={}, metrics=(values[2 * i], values[2 * i + 1]))
        for i, n in enumerate(HORIZONS)
    )
    try:
        curve = MultiplierCurve(envelope(horizons=horizons))
    except UsageError:
        return
    better, worse = sorted((one, other))
    assert curve.multiplier(better).log >= curve.multiplier(worse).log - 1e-9


def test_a_flat_envelope_is_refused_with_the_command() -> None:
    flat = tuple(EnvelopeHorizon(examples=n, hparams={}, metrics=(1.0, 1.0)) for n in HORIZONS)
    with pytest.raises(UsageError, match="flat") as error:
        MultiplierCurve(envelope(horizons=flat))
    assert "bench calibrate w --envelope" in str(error.value.fix)


def test_the_error_of_an_envelope_is_that_of_the_seeds_of_each_horizon() -> None:
    """At a horizon with many seeds, the standard error is smaller by the root of the ratio of the seeds."""
    few, many = (1.0, 1.1, 1.2, 1.3), tuple(0.5 + 0.01 * k for k in range(16))
    horizons = tuple(
        EnvelopeHorizon(examples=n, hparams={}, metrics=metrics)
        for n, metrics in ((500, few), (1000, many), (2000, tuple(metric / 5 for metric in few)))
    )
    curve = MultiplierCurve(
        ReferenceEnvelope(
            workload="w@1", metric="loss", goal="min", budget=1000, reference="r@1", hardware="h", horizons=horizons
        )
    )
    # Between the first two horizons, very near to one of them.
    for metrics, nudge in ((few, -1e-9), (many, 1e-9)):
        logs = [math.log(metric) for metric in metrics]
        found = error_of_mean(curve.multiplier(math.exp(fmean(logs) + nudge)).deviations)
        assert found is not None
        slope = math.log(2) / (fmean(map(math.log, few)) - fmean(map(math.log, many)))
        expected = slope * pstdev(logs) / math.sqrt(len(logs))
        assert math.sqrt(found.variance) == pytest.approx(expected, rel=0.1)


def test_the_deviations_are_those_of_the_envelopes_seeds() -> None:
    # A seed that is worse by 1 % of the loss needs 2 % more budget for the same loss.
    noise = (0.01, -0.01)
    multiplier = MultiplierCurve(envelope(noise)).multiplier(loss(0.7))
    moved = [MultiplierCurve(envelope((e, e))).multiplier(loss(0.7)).log - multiplier.log for e in noise]
    assert multiplier.deviations == pytest.approx(moved, rel=1e-2)
    assert multiplier.deviations == pytest.approx((0.02, -0.02), rel=1e-2)


@pytest.mark.parametrize(
    "changes",
    [
        {"horizons": ()},
        {"horizons": (EnvelopeHorizon(examples=1, hparams={}, metrics=(1.0,)),) * 2},
        {"horizons": tuple(EnvelopeHorizon(examples=n, hparams={}, metrics=(1.0, 0.0)) for n in (1, 2))},
        {"horizons": tuple(EnvelopeHorizon(examples=n, hparams={}, metrics=(1.0, 0.9)) for n in (2, 1))},
    ],
)
def test_damaged_envelopes_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"envelope|positive|increase"):
        envelope(**changes)


# --- cells ------------------------------------------------------------------------------------------


def test_a_cell_is_the_geometric_mean_with_the_error_of_seeds_and_envelope() -> None:
    values = [1.2, 1.3, 1.1, 1.25, 1.15]
    quiet = cells([*runs(values), *runs([1.0] * 5, "ref")])["a"]
    assert quiet.compute is not None
    assert quiet.compute.value == pytest.approx(statistics.geometric_mean(values))
    low, high = quiet.compute.interval() or (0.0, 0.0)
    half = 2.7764451 * statistics.stdev(map(math.log, values)) / math.sqrt(5)
    assert (low, high) == pytest.approx(
        (quiet.compute.value * math.exp(-half), quiet.compute.value * math.exp(half)), rel=1e-4
    )
    noise = (0.04, -0.04, 0.02, -0.02, 0.0)
    noisy = cells([*runs(values), *runs([1.0] * 5, "ref")], envelope(noise))["a"]
    assert noisy.compute is not None
    assert noisy.compute.errors is not None
    assert noisy.compute.errors[1].variance == pytest.approx(statistics.variance(2 * e for e in noise) / 5, rel=0.02)
    wider = noisy.compute.interval() or (0.0, 0.0)
    assert wider[1] - wider[0] > high - low


def test_the_time_multiplier_is_divided_by_the_cost_relative_to_the_reference() -> None:
    found = cells([*runs([1.2] * 5, seconds=3.0), *runs([1.0] * 5, "ref", seconds=2.0)])
    a, ref = found["a"], found["ref"]
    assert a.cost == pytest.approx(1.5)
    assert a.time is not None
    assert a.time.value == pytest.approx(0.8)
    assert ref.cost == 1.0
    assert ref.time is not None
    assert ref.time.value == pytest.approx(1.0)
    assert list(a.studies.values()) == pytest.approx([1 / 0.8] * 5)


def test_a_slow_session_does_not_change_the_cost() -> None:
    def in_session(name: str, records: list[Record]) -> list[Record]:
        session = Session(invocation=name, machine="m")
        return [msgspec.structs.replace(record, sessions=(session,)) for record in records]

    quick = in_session("one", [*runs([1.2, 1.2], seconds=3.0), *runs([1.0, 1.0], "ref", seconds=2.0)])
    slow = [run(1.2, "a", 2, seconds=9.0), *(run(1.0, "ref", k, seconds=6.0) for k in (2, 3))]
    assert cells([*quick, *in_session("two", slow)])["a"].cost == pytest.approx(1.5)


def test_without_the_reference_or_an_envelope_the_reason_is_said() -> None:
    alone = cells(runs([1.2] * 5))["a"]
    assert (alone.time, alone.cost) == (None, None)
    assert alone.compute is not None
    assert alone.remark == "no run of ref@1, so the cost is unknown"
    (board,) = score_boards(runs([1.2] * 5), {})
    assert board.cells[0].compute is None
    assert "bench calibrate w --envelope" in board.cells[0].remark
    other = cells(runs([1.2] * 5), envelope(budget=200))["a"]
    assert "another metric or budget" in other.remark


def test_outside_the_envelope_a_cell_is_a_bound_without_interval() -> None:
    found = cells([*runs([1.9, 2.5, 1.9, 1.9, 1.9]), *runs([1.0] * 5, "ref"), *runs([0.1] * 5, "low")])
    assert found["a"].compute is not None
    assert found["a"].compute.bound == ">"
    assert found["a"].compute.interval() is None
    low = found["low"].time
    assert low is not None
    assert low.bound == "<"
    assert low.value == pytest.approx(0.25)


def test_a_run_that_broke_has_no_multiplier_and_ranks_last_by_name() -> None:
    broken = [msgspec.structs.replace(one, status="diverged", hit=None) for one in runs([1.5] * 5, "z")]
    records = [*runs([1.5] * 5, "b")[:4], broken[0], *runs([1.5] * 5, "z")[1:], *runs([1.0] * 5, "ref")]
    one_of_b = msgspec.structs.replace(run(1.5, "b", 4), status="crashed", reason="out of luck", hit=None)
    (board,) = score_boards([*records, one_of_b], {"w@1": envelope()})
    assert [(row.submission, row.time is None) for row in board.rows] == [
        ("ref@1", False), ("b@1", True), ("z@1", True),
    ]  # fmt: skip
    assert board.rows[1].ranks == board.rows[2].ranks == (2, 3)
    assert board.rows[1].remark == "w: 1 of 5 runs broke down (crashed: out of luck)"
    waiting = msgspec.structs.replace(run(1.5, "c"), status="interrupted", hit=None)
    assert "1 of 1 runs are not finished" in cells([waiting, *runs([1.0] * 5, "ref")])["c"].remark


def test_overrides_smoke_runs_and_other_rulesets_do_not_count() -> None:
    assert score_boards([run(1.0, overridden=("lr",)), run(1.0, smoke=True), builders.record()]) == []


def test_a_seed_counts_once() -> None:
    again = msgspec.structs.replace(run(2.0), run_id="again", started="2")
    assert cells([msgspec.structs.replace(run(1.0), started="1"), again])["a"].n == 1


# --- ranks ------------------------------------------------------------------------------------------


def test_clear_differences_over_workloads_are_ranked_and_copies_are_tied() -> None:
    rng = random.Random(0)
    names = [f"w{i}" for i in range(6)]
    records = []
    for name in names:
        for study in range(5):
            luck = rng.gauss(0, 0.05)
            for submission, multiplier in (("ref", 1.0), ("copy", 1.0), ("good", 1.4)):
                value = multiplier * math.exp(luck + rng.gauss(0, 0.05))
                records.append(run(value, submission, study, workload=name))
    (board,) = score_boards(records, {f"{name}@1": envelope(workload=f"{name}@1") for name in names})
    ranks = {row.submission: row.ranks for row in board.rows}
    assert ranks["good@1"] == (1, 1)
    assert ranks["ref@1"] == ranks["copy@1"] == (2, 3)
    assert board.rows[0].time is not None
    assert board.rows[0].time.value == pytest.approx(1.4, rel=0.05)


@pytest.mark.parametrize(
    ("multiplier", "seconds", "shown", "ranks"),
    [
        (1.5, 8.0, "", {"ref@1": (1, 1), "a@1": (2, 2)}),
        # The multiplier is 2 or larger, so that of the time is 0.25 or larger. It may be larger than that of `ref`.
        (4.0, 8.0, ">", {"ref@1": (1, 2), "a@1": (1, 2)}),
        # The multiplier is at most 0.25, so that of the time is at most 2.5.
        (0.1, 0.1, "<", {"ref@1": (1, 2), "a@1": (1, 2)}),
        (0.5, 0.1, "", {"ref@1": (2, 2), "a@1": (1, 1)}),
        # The bounds do not matter where they are on the other side.
        (4.0, 1.0, ">", {"ref@1": (2, 2), "a@1": (1, 1)}),
        (0.1, 1.0, "<", {"ref@1": (1, 1), "a@1": (2, 2)}),
    ],
)
def test_a_bound_never_decides_against_the_side_that_is_unknown(
    multiplier: float, seconds: float, shown: str, ranks: dict[str, tuple[int, int]]
) -> None:
    names = ["v", "w"]
    records = [
        record
        for name in names
        for record in (
            *runs([1.0] * 5, "ref", workload=name), *runs([multiplier] * 5, seconds=seconds, workload=name),
        )
    ]  # fmt: skip
    (board,) = score_boards(records, {f"{name}@1": envelope(workload=f"{name}@1") for name in names})
    rows = {row.submission: row for row in board.rows}
    time = rows["a@1"].time
    assert time is not None
    assert time.bound == shown
    assert {name: row.ranks for name, row in rows.items()} == ranks


def test_a_submission_that_did_not_run_somewhere_ranks_last() -> None:
    records = [*runs([1.0] * 5, "ref"), *runs([1.0] * 5, "ref", workload="v"), *runs([1.9] * 5)]
    (board,) = score_boards(records, {"w@1": envelope(), "v@1": envelope(workload="v@1")})
    assert [row.submission for row in board.rows] == ["ref@1", "a@1"]
    assert board.rows[1].remark == "v: no run"


def test_pools_and_streams_have_separate_rankings() -> None:
    streams = [as_stream(one) for one in [*runs([1.0] * 5, "replay", workload="s"), *runs([1.5] * 5, workload="s")]]
    records = [*runs([1.0] * 5, "ref"), *runs([1.4] * 5), *streams]
    envelopes = {"w@1": envelope(), "s@1": envelope(workload="s@1", reference="replay@1")}
    pools, streamed = score_boards(records, envelopes)
    assert [board.access for board in (pools, streamed)] == ["pool", "stream"]
    assert [board.workloads for board in (pools, streamed)] == [("w@1",), ("s@1",)]
    assert [row.submission for row in pools.rows] == ["a@1", "ref@1"]
    assert [row.submission for row in streamed.rows] == ["a@1", "replay@1"]
    assert all(row.time is not None for board in (pools, streamed) for row in board.rows)


def test_a_ranking_names_the_workloads_of_its_tier_without_runs() -> None:
    def other(name: str, **fields: Any) -> WorkloadFacts:
        return msgspec.structs.replace(builders.facts(name), **fields)

    installed = [
        other("w"),
        other("v"),
        other("v+wide"),
        other("s", access="stream"),
        other("g", tier="gpu"),
    ]
    (board,) = score_boards(runs([1.0] * 5, "ref"), {"w@1": envelope()}, installed)
    assert board.missing == ("v",)
    (ranking, _) = StoppingResults(runs([1.0] * 5, "ref"), {"w@1": envelope()}, installed).grids()
    assert ranking.title.endswith("1 pool; partial: no runs on v")
    (complete, _) = StoppingResults(runs([1.0] * 5, "ref"), {"w@1": envelope()}, installed[:1]).grids()
    assert "partial" not in complete.title


def test_the_error_of_a_mean_over_workloads() -> None:
    one = MultiplierEstimate(log=0.2, errors=(ErrorSource(0.04, 4),))
    mean = mean_estimate([one, MultiplierEstimate(log=0.0, errors=(ErrorSource(0.04, 4),))])
    assert mean.log == pytest.approx(0.1)
    assert mean.errors == (ErrorSource(0.01, 4), ErrorSource(0.01, 4))
    low, high = mean.interval() or (0.0, 0.0)
    # Two sources of equal size have eight degrees of freedom: t = 2.306.
    assert math.log(high / low) / 2 == pytest.approx(2.306 * math.sqrt(0.02), rel=1e-3)
    assert mean_estimate([one, MultiplierEstimate(log=0.0, bound=">")]).errors is None


# --- tuning -----------------------------------------------------------------------------------------


def tuned(multipliers: list[float], submission: str = "a") -> list[Record]:
    """Tuning trials whose learning rates differ by a factor of 3."""
    return [
        run(value, submission, 0, trial=trial, purpose="tuning", hparams={"lr": 0.01 * 3**trial})
        for trial, value in enumerate(multipliers)
    ]


def test_the_best_final_metric_chooses_the_setting() -> None:
    tuning = tuned([0.5, 1.2, 1.4, 0.9, 0.3])
    assert choose_setting(tuning) == {"lr": 0.01 * 9}
    broken = [msgspec.structs.replace(one, status="diverged", hit=None) for one in tuning]
    assert choose_setting([*tuning[:2], *broken[2:]]) == {"lr": 0.01 * 3}
    assert choose_setting(broken) == {"lr": 0.01 * 9}, "the default"
    facts = msgspec.structs.replace(builders.facts(), targets=(Target(metric="loss", goal="max", value=9.0),))
    upward = [
        msgspec.structs.replace(
            one,
            spec=msgspec.structs.replace(one.spec, workload=msgspec.structs.replace(one.spec.workload, facts=facts)),
        )
        for one in tuning
    ]
    assert choose_setting(upward) == {"lr": 0.01 * 81}


def test_the_cost_of_tuning_and_of_a_wrong_learning_rate() -> None:
    tuning = tuned([0.3, 0.8, 1.6, 0.4, 0.3])
    scored = runs([1.6] * 5, hparams={"lr": 0.01 * 9})
    cost = cells([*tuning, *scored, *runs([1.0] * 5, "ref")])["a"].tuning
    assert cost is not None
    assert (cost.trials, cost.broken, cost.seconds) == (5, 0, 50.0)
    assert (cost.rate, cost.edge) == (0.01 * 9, "")
    assert cost.factor == pytest.approx(3.0)
    assert cost.rate_ratio == pytest.approx(math.sqrt(0.8 * 0.4) / 1.6)
    assert (cost.bound, cost.breaks) == ("", False)
    tuning[3] = msgspec.structs.replace(tuning[3], status="diverged", hit=None)
    cost = cells([*tuning, *scored, *runs([1.0] * 5, "ref")])["a"].tuning
    assert cost is not None
    assert (cost.rate_ratio, cost.breaks, cost.broken) == (None, True, 1)
    cost = cells([*tuned([0.1, 0.8, 3.0, 0.1, 0.3]), *scored, *runs([1.0] * 5, "ref")])["a"].tuning
    assert cost is not None
    assert cost.bound == "<"


def test_a_table_names_a_learning_rate_at_the_edge_of_the_grid_and_broken_trials() -> None:
    scored = [*runs([1.0] * 5, "ref"), *runs([1.6] * 5, hparams={"lr": 0.09})]
    tuning = tuned([0.5, 0.7, 1.6])
    tuning[0] = msgspec.structs.replace(tuning[0], status="diverged", hit=None)
    table = StoppingResults([*tuning, *scored], {"w@1": envelope()}).tables["fixed_budget"][1]
    columns = dict(zip(table.heading, zip(*table.rows, strict=True), strict=True))
    assert columns["submission"] == ("a@1", "ref@1 (reference)")
    assert columns["tuning trials"] == ("3, 1 broke", None)
    assert columns["learning rate"] == ("0.09 (largest)", None)
    assert [row["tuning"] and row["tuning"]["rate_edge"] for row in table.data] == ["largest", None]
    smallest = cells([*tuned([1.6, 0.7, 0.5]), *runs([1.6] * 5, hparams={"lr": 0.01}), *runs([1.0] * 5, "ref")])["a"]
    assert smallest.tuning is not None
    assert smallest.tuning.edge == "smallest"


def test_a_table_names_a_submission_that_was_tuned_otherwise_than_the_reference() -> None:
    scored = [*runs([1.6] * 5, hparams={"lr": 0.01}), *runs([1.0] * 5, "ref"), *runs([0.9] * 5, "c")]
    tuning = [one for name in ("a", "ref", "c") for one in tuned([0.5, 1.2], name)]
    (board,) = score_boards([*tuning, *scored], {"w@1": envelope()})
    assert [row.remark for row in board.rows] == ["", "", ""]
    again = [
        msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, study=1)) for one in tuned([0.5, 1.2], "a")
    ]
    again = [msgspec.structs.replace(one, run_id=f"{one.run_id}-again") for one in again]
    (board,) = score_boards([*tuning, *again, *scored], {"w@1": envelope()})
    remarks = {row.submission: row.remark for row in board.rows}
    assert remarks == {"a@1": "w: tuned on 2 seeds, the reference on 1", "ref@1": "", "c@1": ""}
    tunings = {cell.submission: cell.tuning for cell in board.cells}
    assert tunings["a@1"] is not None
    assert (tunings["a@1"].trials, tunings["a@1"].studies) == (4, 2)
    assert {cell.submission: cell.remark for cell in board.cells}["a@1"] == "tuned on 2 seeds, the reference on 1"


def test_a_table_names_a_mixture_of_settings_and_missing_tuning() -> None:
    """If the tuning is repeated on more seeds and chooses another setting, the earlier runs still count."""
    first = runs([0.6] * 3, hparams={"lr": 0.01})
    second = [run(1.4, study=study, hparams={"lr": 0.03}) for study in (3, 4)]
    reference = [*tuned([0.5, 1.0], "ref"), *runs([1.0] * 5, "ref")]
    mixed = cells([*tuned([0.5, 1.2]), *first, *second, *reference])["a"]
    assert mixed.remark == mixed.unequal_tuning == "runs with 2 settings"
    assert cells([*first, *reference])["a"].unequal_tuning == "not tuned, unlike the reference"
    assert cells([*first, *runs([1.0] * 5, "ref")])["a"].unequal_tuning == ""


def test_studies_of_different_root_seeds_are_different_tuning_studies() -> None:
    other = [
        msgspec.structs.replace(one, run_id=f"{one.run_id}-2", spec=msgspec.structs.replace(one.spec, root_seed=2))
        for one in tuned([0.5, 1.2])
    ]
    assert tuning_studies([*tuned([0.5, 1.2]), *other]) == 2


def test_a_learning_rate_without_runs_has_no_stand_in() -> None:
    """The learning rates are 0.01 · 3^i. If the runs at 0.03 are missing, 0.01 is no neighbour of 0.09."""
    tuning = tuned([0.3, 0.8, 1.6, 0.4, 0.3])
    del tuning[1]
    cost = cells([*tuning, *runs([1.6] * 5, hparams={"lr": 0.01 * 9}), *runs([1.0] * 5, "ref")])["a"].tuning
    assert cost is not None
    assert cost.factor == pytest.approx(3.0)
    assert cost.rate_ratio == pytest.approx(0.4 / 1.6)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("status", ["interrupted", "diverged", "timeout"])
def test_runs_of_the_reference_that_ended_early_do_not_count_in_costs(status: Status, device: str) -> None:
    """Their seconds are those of fewer examples."""
    reference = [one if one.spec.study < 2 else cut(one, status) for one in runs([1.0] * 5, "ref")]
    records = [
        msgspec.structs.replace(one, spec=msgspec.structs.replace(one.spec, device=device))
        for one in (*runs([1.2] * 5), *reference)
    ]
    cell = cells(records)["a"]
    assert cell.cost == pytest.approx(1.0)
    assert cell.time is not None
    assert cell.time.value == pytest.approx(1.2)


def cut(record: Record, status: Status) -> Record:
    """The record of the run if it had ended after a fifth of its budget."""
    return msgspec.structs.replace(record, points=record.points[:3], status=status, hit=None)


def test_a_run_that_spends_its_gradient_examples_early_is_named() -> None:
    """Its multiplier refers to the whole budget, and its cost is that of the run."""
    early = [
        msgspec.structs.replace(
            one, points=(*one.points[:5], msgspec.structs.replace(one.points[5], metrics=one.points[-1].metrics))
        )
        for one in runs([0.9] * 5)
    ]
    cell = cells([*early, *runs([1.0] * 5, "ref")])["a"]
    assert cell.remark == "5 of 5 runs ended early, at 60 of 100 examples"
    assert cell.compute is not None
    assert cell.compute.value == pytest.approx(0.9)
    assert cell.cost == pytest.approx(0.6)


# --- tables -----------------------------------------------------------------------------------------


def test_tables_and_json_say_the_same() -> None:
    records = [*tuned([0.3, 0.8, 1.6, 0.4, 0.3]), *runs([1.6] * 5, hparams={"lr": 0.01 * 9}), *runs([1.0] * 5, "ref")]
    results = StoppingResults(records, {"w@1": envelope()})
    ranking, workload = results.grids()
    assert ranking.heading[:3] == ["rank", "submission", "time multiplier"]
    assert [row[:3] for row in ranking.rows] == [["1–2", "a@1", "1.60×"], ["1–2", "ref@1 (reference)", "1.00×"]]
    assert ranking.title == "cpu-x, fixed-budget@1: ranking by time multiplier, 1 pool"
    row = dict(zip(workload.heading, workload.rows[0], strict=True))
    assert (row["submission"], row["n"], row["cost"], row["tuning trials"]) == ("a@1", "5", "1.00", "5")
    assert row["wrong learning rate"] == "0.35× at a factor of 3"
    plain = results.as_json()["fixed_budget"]
    assert [item["table"] for item in plain] == ["headline", "ranking", "ranking", "workload", "workload"]
    assert plain[0]["access"] == "pool"
    assert plain[0]["leaders"] == ["a@1", "ref@1"]
    assert plain[0]["text"].startswith("No verdict: rank 1 is undecided between a@1 (1.60×) and ref@1 (1.00×), because")
    assert [(pair["a"], pair["b"], pair["pairs"]) for pair in plain[0]["verdicts"]] == [("a@1", "ref@1", 5)]
    assert plain[1]["time_multiplier"]["value"] == pytest.approx(1.6)
    assert plain[3]["tuning"]["trials"] == 5
    assert plain[3]["tuning"]["studies"] == 1
    untuned = StoppingResults(runs([1.0] * 5, "ref"), {"w@1": envelope()}).grids()[1]
    assert "tuning trials" not in untuned.heading


# --- the ranking and its remarks --------------------------------------------------------------------


@given(st.lists(st.floats(0.3, 1.9), min_size=2, max_size=5), st.lists(st.floats(0.5, 2.0), min_size=5, max_size=5))
def test_estimates_and_tests_use_the_same_seconds(values: list[float], seconds: list[float]) -> None:
    """Otherwise, the order of the table could contradict the differences that are tested."""
    records = [run(value, study=study, seconds=seconds[study]) for study, value in enumerate(values)]
    for cell in cells([*records, *runs([1.0] * 5, "ref")]).values():
        assert cell.time is not None
        assert cell.time.log == pytest.approx(-statistics.fmean(map(math.log, cell.studies.values())))


def ranked_on(workloads: dict[str, float]) -> list[Record]:
    """Runs of `a` with a multiplier for each workload, and of `b` and `ref` with the multiplier 1 on all of them."""
    noise = [0.98, 1.0, 1.01, 0.99, 1.02]
    return [
        record
        for workload, multiplier in workloads.items()
        for name, value in (("a", multiplier), ("b", 1.0), ("ref", 1.0))
        for record in runs([value * factor for factor in noise], name, workload=workload)
    ]


def test_a_ranking_says_which_ranks_depend_on_one_workload() -> None:
    multipliers = {"u": 1.5, "v": 1.4, "w": 0.26}
    envelopes = {f"{name}@1": envelope(workload=f"{name}@1") for name in multipliers}
    (board,) = score_boards(ranked_on(multipliers), envelopes)
    assert {row.submission: row.ranks for row in board.rows} == {"a@1": (3, 3), "b@1": (1, 2), "ref@1": (1, 2)}
    # The ranges of the other two, 1 to 2 and 2 to 3, overlap.
    assert board.without == (RankWithout(submission="a@1", workload="w@1", ranks=(1, 1)),)
    notes = StoppingResults(ranked_on(multipliers), envelopes).tables["fixed_budget"][0].notes
    assert "without w@1, a@1 would have rank 1 instead of 3" in notes
    (even,) = score_boards(ranked_on(dict.fromkeys(multipliers, 1.5)), envelopes)
    assert even.without == ()


def test_a_workload_without_an_envelope_takes_away_no_rank() -> None:
    records = [*ranked_on({"u": 1.5, "v": 1.4}), *runs([1.0] * 5, workload="bare")]
    envelopes = {f"{name}@1": envelope(workload=f"{name}@1") for name in ("u", "v")}
    (board,) = score_boards(records, envelopes)
    assert board.workloads == ("u@1", "v@1")
    assert {row.submission: row.ranks for row in board.rows} == {"a@1": (1, 1), "b@1": (2, 3), "ref@1": (2, 3)}
    tables = StoppingResults(records, envelopes).tables["fixed_budget"]
    assert any(note.startswith("bare@1 is not part of the ranking: no envelope of bare@1") for note in tables[0].notes)
    assert any(table.title.startswith("bare@1") for table in tables), "its table is shown"


def test_a_ranking_says_how_large_a_significant_difference_is() -> None:
    """The standard normal quantile for three pairs at 5 % is 2.394."""
    pairs = [
        PairVerdict(a="a", b=name, verdict="tied", log_ratios=(0.0,), p=1.0, mean=0.0, error=error)
        for name, error in (("b", 0.01), ("c", 0.05), ("d", 0.2))
    ]
    assert significant_ratio(pairs) == pytest.approx(math.exp(2.394 * 0.05), rel=1e-4)
    assert significant_ratio([]) is None


def test_a_ranking_counts_trust_levels_with_attestations() -> None:
    records = [*runs([1.2] * 5), *runs([1.0] * 5, "ref")]
    records = [msgspec.structs.replace(one, content_hash=f"hash {index}") for index, one in enumerate(records)]
    envelopes = {"w@1": envelope()}
    (board,) = score_boards(records, envelopes)
    assert board.trust == {"self-reported": 10}
    assert board.public_seeds == 0
    accepted = Attestation(record=records[0].content_hash, run_id=records[0].run_id, method="exact", outcome="accepted")
    (board,) = score_boards(records, envelopes, attestations={records[0].content_hash: [accepted]})
    assert board.trust == {"self-reported": 9, "evaluated": 1}
    tables = StoppingResults(records, envelopes, attestations={records[0].content_hash: [accepted]}).tables
    assert "trust levels of the scored runs: 9 self-reported, 1 evaluated" in tables["fixed_budget"][0].notes
