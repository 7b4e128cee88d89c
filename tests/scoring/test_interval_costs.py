"""Costs of intervals: sessions, periodic work, disturbances, seed-dependent work, and tests on the resulting times."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import msgspec
import pytest

from harness.contract.record import Record, Session
from harness.contract.run import Point
from harness.scoring.compare import compare
from harness.scoring.factors import describe_order, median_amounts, time_factors
from harness.scoring.interval_costs import CostModel, arm_of, fit_costs
from harness.scoring.leaderboard import build_leaderboards
from harness.scoring.scored_time import cost_summaries, describe_costs
from harness.scoring.summary import LeaderboardQuery, summarize
from harness.scoring.time_to_target import score_run
from tests.scoring import builders
from tests.scoring.builders import record, spec

INTERVALS = 30


def run(
    name: str,
    study: int,
    seconds: Sequence[float],
    *,
    hit: int = INTERVALS,
    session: str = "one",
    construction: float = 0.5,
    resumed: tuple[int, str] | None = None,
) -> Record:
    """Return a run that takes these seconds between evaluations and reaches the target at point `hit`."""
    total, points = construction, []
    for index, interval in enumerate([0.0, *seconds][: hit + 1]):
        total += interval
        points.append(
            Point(
                examples=3 * index,
                gradient_examples=3 * index,
                steps=index,
                seconds=2 * total,
                process_seconds=total,
                metrics={"loss": 0.9 if index == hit else 2.0},
            )
        )
    sessions = [Session(invocation=session, machine="m")]
    if resumed is not None:
        sessions.append(Session(invocation=resumed[1], machine="m", first_point=resumed[0]))
    base = record(spec(name, study=study))
    return msgspec.structs.replace(
        base, points=tuple(points), hit=hit, status="reached", sessions=tuple(sessions), started=f"{study:03}"
    )


def noisy(source: random.Random, typical: Callable[[int], float], scale: float = 0.02) -> list[float]:
    return [typical(k) * math.exp(source.gauss(0, scale)) for k in range(1, INTERVALS + 1)]


def constant(seconds: float) -> Callable[[int], float]:
    return lambda index: seconds


def fit(records: Sequence[Record], references: tuple[str, ...] = ()) -> CostModel:
    return fit_costs([score_run(r) for r in records], references)


def test_periodic_work_is_charged_its_mean() -> None:
    source = random.Random(0)
    runs = [run("a", s, noisy(source, lambda k: 5.0 if k % 3 == 0 else 1.0, 0.1)) for s in range(10)]
    model = fit(runs)
    cost = model.time_to(arm_of(runs[0].spec), INTERVALS)
    assert cost is not None
    assert not model.by_mean
    assert cost == pytest.approx(0.5 + INTERVALS * 7 / 3, rel=0.02)


def test_a_session_beside_a_busy_process_gives_the_same_costs() -> None:
    source = random.Random(1)
    runs = []
    for study in range(10):
        session, factor = ("quiet", 1.0) if study < 5 else ("busy", 1.6)
        # Only in the quiet session are there runs of b, in the busy one only runs of c.
        runs.append(run("reference", study, noisy(source, constant(factor)), session=session))
        other = "b" if study < 5 else "c"
        runs.append(run(other, study, noisy(source, constant(2 * factor)), session=session))
    model = fit(runs, ("reference",))
    costs = {name: model.time_to(arm_of(spec(name)), INTERVALS) or math.nan for name in ("reference", "b", "c")}
    assert costs["b"] == pytest.approx(costs["c"], rel=0.03)
    assert costs["b"] / costs["reference"] == pytest.approx(2.0, rel=0.03)
    slowdowns = {session: math.exp(log) for (_, session), log in model.slowdowns.items()}
    assert slowdowns["m/busy"] / slowdowns["m/quiet"] == pytest.approx(1.6, rel=0.02)
    (note,) = describe_costs(model, ())
    assert note.startswith("the runs were made in 2 sessions; their seconds are divided by the slowdown")
    assert f"{min(slowdowns.values()):.2f}× to {max(slowdowns.values()):.2f}×" in note
    raw = [r.points[-1].process_seconds for r in runs if r.spec.submission.name in "bc"]
    assert max(raw) / min(raw) > 1.4


def test_a_session_without_a_link_is_named() -> None:
    runs = [run("a", 0, [1.0] * INTERVALS, session="one"), run("b", 0, [1.0] * INTERVALS, session="two")]
    model = fit(runs)
    assert model.unlinked == {"m/one", "m/two"}
    (board,) = build_leaderboards([summarize(r, LeaderboardQuery()) for r in runs], LeaderboardQuery())
    assert any("2 sessions have no run" in note for note in board.notes)


def test_the_slowdown_of_a_session_comes_from_all_submissions_that_it_shares() -> None:
    """A disturbance of the few runs of the reference says nothing about the session."""
    quiet = [run(name, 0, [1.0] * INTERVALS, session="quiet") for name in ("ref", "a", "b", "c")]
    again = [run("ref", 1, [1.3] * INTERVALS, session="again")]
    again += [run(name, 1, [1.0] * INTERVALS, session="again") for name in ("a", "b", "c")]
    model = fit([*quiet, *again], references=("ref",))
    assert set(model.slowdowns.values()) == {0.0}


def test_sessions_that_share_no_workload_are_not_compared() -> None:
    records = [run(name, 0, [1.0] * INTERVALS, session=name) for name in ("a", "b")]
    facts = builders.facts("v")
    workload = msgspec.structs.replace(records[1].spec.workload, facts=facts)
    records[1] = msgspec.structs.replace(records[1], spec=msgspec.structs.replace(records[1].spec, workload=workload))
    model = fit(records)
    assert (model.unlinked, model.sessions, describe_costs(model, ())) == (frozenset(), 2, [])


def test_only_the_seconds_of_linked_sessions_are_divided() -> None:
    runs = [run("a", study, [1.0] * INTERVALS, session=session) for study, session in enumerate(("one", "two"))]
    model = fit([*runs, run("b", 0, [1.0] * INTERVALS, session="three")])
    assert model.unlinked == {"m/three"}
    divided, unlinked = describe_costs(model, ())
    assert divided.startswith("the runs were made in 3 sessions; the seconds of 2 of them are divided by the slowdown")
    assert unlinked.startswith("1 session has no run")


def test_a_resumed_run_is_divided_between_its_sessions() -> None:
    slow_half = [1.0] * 10 + [2.0] * 20
    runs = [run("a", s, [1.0] * INTERVALS) for s in range(3)]
    runs += [run("a", 3 + s, slow_half, resumed=(11, "slow")) for s in range(2)]
    model = fit(runs)
    assert model.time_to(arm_of(runs[0].spec), INTERVALS) == pytest.approx(0.5 + INTERVALS)
    own = score_run(runs[-1])
    assert own.intervals is not None
    assert model.own_times_to(arm_of(own.spec), own.intervals, [INTERVALS])[0] == pytest.approx(0.5 + INTERVALS)


def test_a_short_disturbance_changes_neither_time() -> None:
    calm = [run("a", s, [1.0] * INTERVALS) for s in range(5)]
    disturbed = run("a", 5, [9.0 if k in (4, 5, 6) else 1.0 for k in range(INTERVALS)])
    model = fit([*calm, disturbed])
    own = score_run(disturbed)
    assert own.intervals is not None
    assert model.time_to(arm_of(own.spec), INTERVALS) == pytest.approx(0.5 + INTERVALS)
    assert model.own_times_to(arm_of(own.spec), own.intervals, [INTERVALS])[0] == pytest.approx(0.5 + INTERVALS)


def test_expensive_intervals_that_depend_on_the_seed_are_taken_by_means() -> None:
    source = random.Random(2)
    reference = [run("reference", s, noisy(source, constant(1.0))) for s in range(10)]
    rare = []
    for study in range(10):
        events = set(source.sample(range(1, INTERVALS + 1), 6))
        seconds = noisy(source, constant(1.0))
        rare.append(run("rare", study, [6 * x if k in events else x for k, x in enumerate(seconds, start=1)]))
    model = fit([*reference, *rare], ("reference",))
    assert model.by_mean == {arm_of(rare[0].spec)}
    assert model.time_to(arm_of(rare[0].spec), INTERVALS) == pytest.approx(0.5 + INTERVALS + 6 * 5.0, rel=0.03)
    own = score_run(rare[0])
    assert own.intervals is not None
    assert model.own_times_to(arm_of(own.spec), own.intervals, [INTERVALS])[0] == pytest.approx(
        sum(own.intervals.seconds)
    )
    summaries = [summarize(r, LeaderboardQuery(references=("reference",))) for r in [*reference, *rare]]
    (board,) = build_leaderboards(summaries, LeaderboardQuery(references=("reference",)))
    assert any(note.startswith("costs are means") and "rare@1 on w@1" in note for note in board.notes)


def test_settings_batch_sizes_and_sources_do_not_share_costs() -> None:
    base = spec("a")
    other_setting = msgspec.structs.replace(base, hparams={"batch_size": 20})
    other_source = msgspec.structs.replace(
        base, submission=msgspec.structs.replace(base.submission, source_hash="other")
    )
    assert len({arm_of(base), arm_of(other_setting), arm_of(other_source)}) == 3
    assert arm_of(base) == arm_of(msgspec.structs.replace(base, study=7, root_seed=3))


def test_time_is_examples_times_cost() -> None:
    runs = [run("reference", s, [1.0] * INTERVALS, hit=20) for s in range(6)]
    runs += [run("a", s, [3.0] * INTERVALS, hit=10, construction=1.5) for s in range(6)]
    query = LeaderboardQuery(references=("reference",))
    summaries, _ = cost_summaries([summarize(r, query) for r in runs], "time", query.references)
    factors = time_factors(median_amounts(summaries), "reference@1")
    assert factors["a@1"].examples == pytest.approx(0.5)
    assert factors["a@1"].time == pytest.approx(31.5 / 20.5)
    assert factors["a@1"].examples * factors["a@1"].cost == pytest.approx(factors["a@1"].time)
    assert "a@1 needs fewer examples but more time than reference@1" in describe_order(factors)
    (board,) = build_leaderboards([summarize(r, query) for r in runs], query)
    assert any("order by examples differs" in note for note in board.notes)


def test_the_time_of_a_single_run_has_no_range() -> None:
    source = random.Random(5)
    query = LeaderboardQuery(references=("reference",))
    runs = [run(name, 0, noisy(source, constant(1.0), 0.2)) for name in ("reference", "a")]
    (board,) = build_leaderboards([summarize(r, query) for r in runs], query)
    for row in board.rows:
        cell = row.cells["w@1"]
        assert cell.spread.low == cell.value == cell.spread.high


def test_equal_runs_are_ties() -> None:
    source = random.Random(3)
    seconds = [noisy(source, constant(1.0), 0.3) for _ in range(8)]
    result = compare(
        [run("a", s, seconds[s], hit=10 + s) for s in range(8)], [run("b", s, seconds[s], hit=10 + s) for s in range(8)]
    )
    assert result.workloads[0].ratio == 1.0
    assert result.workloads[0].p == 1.0


def test_comparisons_show_both_factors() -> None:
    a = [run("a", s, [2.0] * INTERVALS, hit=10) for s in range(8)]
    b = [run("b", s, [1.0] * INTERVALS, hit=20) for s in range(8)]
    (row,) = compare(a, b).workloads
    assert row.examples is not None
    assert row.cost is not None
    assert row.examples.ratio == pytest.approx(0.5)
    assert row.examples.ratio * row.cost.ratio == pytest.approx(row.ratio)
    assert compare(a, b, "examples").workloads[0].cost is None


def test_pairs_of_copies_are_rarely_told_apart_by_time() -> None:
    """Costs shared by all runs of a submission would make every pair differ alike; the runs' own times do not."""
    source = random.Random(4)
    verdicts = 0
    for _ in range(200):
        sides = []
        for name in ("a", "b"):
            runs = []
            for study in range(8):
                level = math.exp(source.gauss(0, 0.05))
                runs.append(run(name, study, [level] * 10, hit=10))
            sides.append(runs)
        verdicts += compare(sides[0], sides[1]).workloads[0].verdict != "inconclusive"
    assert verdicts / 200 <= 0.09  # 5 % and two standard errors of 200 repeats


def test_arms_that_the_caller_knows_change_no_cost() -> None:
    source = random.Random(4)
    # Arms with several runs, with one run, and with a run without usable points.
    records = [run("a", s, noisy(source, constant(1.0)), session=f"s{s % 2}") for s in range(6)]
    records += [run("b", 0, noisy(source, constant(2.0)), session="s1")]
    records += [msgspec.structs.replace(run("c", 0, noisy(source, constant(1.0))), points=(), hit=None)]
    runs = [score_run(r) for r in records]
    known = fit_costs(runs, ("a",), [arm_of(r.spec) for r in runs])
    assert known == fit_costs(runs, ("a",))
    assert known.runs == {arm_of(records[0].spec): 6, arm_of(records[6].spec): 1}
    # The own time of the only run of its arm is the cost, because each of its intervals is the cost.
    alone = runs[6]
    assert alone.intervals is not None
    arm = arm_of(alone.spec)
    assert known.own_times_to(arm, alone.intervals, [INTERVALS]) == (known.time_to(arm, INTERVALS),)
