"""Claims at a chosen stop, anytime scores, and what tuning buys."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from typing import Any

import msgspec
import pytest
from scipy import stats

from harness.contract.record import Record
from harness.contract.ruleset import Ruleset
from harness.contract.run import Counters, Point
from harness.contract.workload import Budget, Target
from harness.report.stopping_tables import StoppingResults, tuning_grids
from harness.scoring import anytime, fixed_stop, tuning
from harness.scoring.time_to_target import score_run
from tests.scoring import builders

CHOSEN = Ruleset(name="fixed-stop", version="1", summary="", trials=1, studies=8, tuning_studies=4, stopping="chosen")
BUDGET_FACTORS = Ruleset(
    name="anytime", version="1", summary="", trials=1, studies=3, stopping="drawn", hides=frozenset({"horizon"})
)
LOSS = Target(metric="loss", goal="min", value=1.0)


def run(losses: list[float], *, study: int = 0, horizon: int = 100, ruleset: Ruleset = CHOSEN, **spec: Any) -> Record:
    """A run that evaluates to these losses, ten examples apart, and does not stop at the target."""
    budget = Budget(horizon=horizon, gradient_examples=10 * horizon, seconds={"default": 100.0})
    workload = builders.facts(budget=budget)
    spec.setdefault("stop", 10 * len(losses))
    made = builders.spec(spec.pop("submission", "a"), workload, study, ruleset=ruleset, **spec)
    curve = builders.points(losses)
    met = losses[-1] <= 1.0
    return builders.record(
        made,
        losses,
        status="reached" if met else "exhausted",
        hit=len(losses) - 1 if met else None,
        counters=Counters(examples=curve[-1].examples),
    )


# --- fixed-stop ---------------------------------------------------------------------------------


def test_the_stop_leaves_room_for_the_spread_of_the_fresh_seeds() -> None:
    # Means fall by 0.1 an evaluation from 1.5; the seeds spread by 0.05 around them.
    offsets = (-0.06, -0.02, 0.02, 0.06)
    records = [
        run([1.5 - 0.1 * i + offset for i in range(10)], study=k, purpose="tuning") for k, offset in enumerate(offsets)
    ]
    margin = statistics.stdev(offsets) * (stats.t.ppf(0.99, 7) / math.sqrt(8) + 1 / math.sqrt(4))
    first = next(i for i in range(10) if 1.5 - 0.1 * i + margin <= 1.0)
    assert fixed_stop.choose_stop(records, 8) == 10 * (first + 1)
    # Without spread the mean itself decides, a lucky single crossing does not.
    assert fixed_stop.choose_stop([run([1.5, 0.9, 0.8], study=k, purpose="tuning") for k in range(4)], 8) == 20


def test_where_no_evaluation_is_good_enough_the_stop_is_the_end() -> None:
    assert fixed_stop.choose_stop([run([1.5, 1.4, 1.3], study=k) for k in range(4)], 8) == 100


def test_a_stop_chosen_so_is_met_by_fresh_seeds_of_the_same_kind() -> None:
    rng = random.Random(0)

    def seed(k: int, purpose: str, length: int) -> Record:
        return run([2.0 - 0.05 * i + rng.gauss(0, 0.05) for i in range(length)], study=k, purpose=purpose, horizon=400)

    met = 0
    for _ in range(100):
        stop = fixed_stop.choose_stop([seed(k, "tuning", 40) for k in range(4)], 8)
        (claim,) = fixed_stop.claims([seed(k, "score", stop // 10) for k in range(8)])
        met += claim.met
    assert met >= 75


def test_a_claim_is_a_one_sided_t_test() -> None:
    losses = [0.95, 0.97, 0.99, 0.93, 0.96, 0.98, 0.94, 0.99]
    (claim,) = fixed_stop.claims([run([1.2, loss], study=k) for k, loss in enumerate(losses)])
    # By hand: mean 0.96375, sd 0.02264, t = -4.5288 with 7 degrees of freedom.
    assert claim.mean == pytest.approx(0.96375)
    assert claim.p == pytest.approx(stats.t.cdf(-4.5288, 7), rel=1e-3)
    assert claim.met
    assert claim.time == 2.0
    (flipped,) = fixed_stop.claims([run([1.2, 2 - loss], study=k) for k, loss in enumerate(losses)])
    assert not flipped.met
    assert flipped.time == math.inf


def test_a_claim_needs_eight_finished_seeds_that_all_came_to_the_stop() -> None:
    good = [run([1.2, 0.9 + 0.001 * k], study=k) for k in range(8)]
    assert fixed_stop.claims(good)[0].met
    assert "8 are needed" in fixed_stop.claims(good[:7])[0].reason
    broken = msgspec.structs.replace(good[0], status="diverged", hit=None)
    (claim,) = fixed_stop.claims([broken, *good[1:]])
    assert (claim.met, claim.p, claim.n) == (False, 1.0, 8)
    waiting = msgspec.structs.replace(good[0], status="interrupted", hit=None)
    assert "not finished" in fixed_stop.claims([waiting, *good[1:]])[0].reason


@pytest.mark.parametrize(
    "change",
    [{"metrics": {"loss": math.nan}}, {"metrics": {}}, {"evaluated_examples": 30}],
    ids=["nan", "absent", "screened"],
)
def test_a_run_without_a_metric_at_the_stop_prevents_a_verdict(change: dict[str, Any]) -> None:
    good = [run([1.2, 0.9 + 0.001 * k], study=k) for k in range(8)]
    last = msgspec.structs.replace(good[0].points[-1], **change)
    (claim,) = fixed_stop.claims([msgspec.structs.replace(good[0], points=(good[0].points[0], last)), *good[1:]])
    assert claim.reason == "1 of 8 runs have no loss of the whole split at the stop"
    assert (claim.met, claim.p, len(claim.values)) == (False, 1.0, 7)
    assert math.isfinite(claim.mean)


def test_two_sources_are_two_claims_and_a_seed_counts_once() -> None:
    """Four seeds, run again after an edit, are not eight seeds."""

    def made(source: str, study: int, loss: float, started: str) -> Record:
        one = run([1.5, loss], study=study)
        ref = msgspec.structs.replace(one.spec.submission, source_hash=source)
        spec = msgspec.structs.replace(one.spec, submission=ref)
        return msgspec.structs.replace(one, spec=spec, started=started, run_id=f"{source}-{study}-{started}")

    records = [made(source, k, 0.9 + k / 1000, "2") for source in ("old", "new") for k in range(4)]
    found = fixed_stop.claims(records)
    assert sorted((c.submission, c.n, c.met) for c in found) == [("a@1#new", 4, False), ("a@1#old", 4, False)]
    again = [made("old", k, 0.5, "3") for k in range(4)]
    (first,) = fixed_stop.claims([r for r in [*records, *again] if r.spec.submission.source_hash == "old"])
    assert (first.submission, first.n, max(first.values)) == ("a@1", 4, 0.903)


def test_tuning_seeds_make_no_claim() -> None:
    assert fixed_stop.claims([run([0.5], study=k, purpose="tuning") for k in range(8)]) == []


@pytest.mark.slow
def test_false_claims_are_rare() -> None:
    rng = random.Random(1)
    values = [[rng.gauss(1.0, 0.1) for _ in range(8)] for _ in range(4000)]
    rate = sum(fixed_stop.one_sided_p(v, LOSS) < fixed_stop.SIGNIFICANCE_LEVEL for v in values) / len(values)
    assert rate == pytest.approx(fixed_stop.SIGNIFICANCE_LEVEL, abs=0.005)


# --- anytime ------------------------------------------------------------------------------------


def reference(values: dict[int, float]) -> list[Record]:
    return [
        run([loss], horizon=horizon, ruleset=BUDGET_FACTORS, purpose="envelope", submission="ref", stop=horizon)
        for horizon, loss in values.items()
    ]


ENVELOPE = {10: 3.2, 20: 1.6, 40: 0.8, 80: 0.4, 160: 0.2, 320: 0.1}


def test_the_envelope_never_gets_worse() -> None:
    curve = anytime.fit_envelope(reference({**ENVELOPE, 40: 1.8}))
    assert curve.horizons == (10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
    assert curve.values[1] == curve.values[2] == pytest.approx(1.7)
    assert all(b <= a for a, b in itertools.pairwise(curve.values))


def test_the_envelope_is_read_backwards() -> None:
    curve = anytime.fit_envelope(reference(ENVELOPE))
    assert curve.budget(0.8) == pytest.approx((40.0, False))
    # Half of the way from 0.8 to 0.4, halfway between 40 and 80 on a logarithmic axis.
    assert curve.budget(0.6) == pytest.approx((40 * math.sqrt(2), False))
    assert curve.budget(9.9) == (10.0, True)
    assert curve.budget(0.01) == (320.0, True)


def test_an_envelope_needs_six_horizons() -> None:
    with pytest.raises(ValueError, match="5 of 6 horizons"):
        anytime.fit_envelope(reference(dict(list(ENVELOPE.items())[:5])))


def drawn(losses: dict[int, float], study: int = 0, **more: Any) -> Record:
    points = tuple(
        Point(
            examples=n, gradient_examples=n, steps=n, seconds=float(n), process_seconds=float(n), metrics={"loss": loss}
        )
        for n, loss in losses.items()
    )
    made = run([1.0], study=study, ruleset=BUDGET_FACTORS, stop=max(losses), **more)
    return msgspec.structs.replace(made, points=points, hit=None, status="exhausted")


def test_who_follows_the_envelope_scores_one_and_half_as_quick_a_half() -> None:
    same = drawn({20: 1.6, 40: 0.8, 80: 0.4, 160: 0.2})
    slow = drawn({20: 3.2, 40: 1.6, 80: 0.8, 160: 0.4}, submission="slow")
    scores = {s.submission: s for s in anytime.scores([*reference(ENVELOPE), same, slow])}
    assert scores["a@1"].score == pytest.approx(1.0)
    assert scores["slow@1"].score == pytest.approx(0.5)
    assert scores["a@1"].clipped == 0


def test_a_run_that_broke_before_its_last_stop_scores_nothing() -> None:
    whole = drawn({20: 1.6, 40: 0.8, 80: 0.4, 160: 0.2})
    cut = msgspec.structs.replace(whole, points=whole.points[:2], status="diverged")
    (score,) = anytime.scores([*reference(ENVELOPE), cut])
    assert score.score == 0.0


def test_without_the_reference_there_is_no_score() -> None:
    (score,) = anytime.scores([drawn({20: 1.6, 40: 0.8, 80: 0.4, 160: 0.2})])
    assert math.isnan(score.score)
    assert "reference" in score.reason


def test_drawn_budgets_are_uniform_between_half_and_twice() -> None:
    drawn_ = [anytime.drawn_horizon(64_000, 10, u / 1000) for u in range(1000)]
    assert (min(drawn_), max(drawn_)) == (32_000, 127_920)
    assert statistics.fmean(drawn_) == pytest.approx(1.25 * 64_000, rel=0.01)


# --- tuning -------------------------------------------------------------------------------------


def test_the_best_of_k_is_that_of_all_subsets() -> None:
    times = [3.0, 1.0, math.inf, 2.0, 7.0, math.inf, 4.0]
    for k in range(1, 8):
        best = sorted(min(subset) for subset in itertools.combinations(times, k))
        median, hits = tuning.best_of_k(times, k)
        assert median == best[math.ceil(len(best) / 2) - 1]
        assert hits == pytest.approx(sum(b < math.inf for b in best) / len(best))


def test_curves_pool_the_studies_and_stop_at_a_studys_trials() -> None:
    external = Ruleset(name="external", version="1", summary="", trials=2, studies=2, tuning="space")
    records = [
        builders.record(builders.spec(study=study, trial=trial, ruleset=external), seconds=1.0 + study + trial)
        for study in range(2)
        for trial in range(2)
    ]
    (curve,) = tuning.curves(score_run(record) for record in records)
    assert curve.trials == 4
    assert curve.best_times == (6.0, 3.0)
    assert curve.hit_rates == (1.0, 1.0)
    (grid,) = tuning_grids([curve])
    assert grid.rows == [["a@1", "4", "6", "3"]]


# --- tables -------------------------------------------------------------------------------------


def test_tables_and_json_say_the_same() -> None:
    records = [run([1.2, 0.9 + 0.001 * k], study=k) for k in range(8)]
    records += [*reference(ENVELOPE), drawn({20: 1.6, 40: 0.8, 80: 0.4, 160: 0.2})]
    stops = StoppingResults(records)
    claims, scores = stops.grids()
    assert claims.rows[0][0] == "a@1"
    assert claims.rows[0][-1] == "met"
    assert scores.rows[0][:3] == ["a@1", "1", "1.000"]
    plain = stops.as_json()
    assert plain["fixed_stop"][0]["met"] is True
    assert plain["anytime"][0]["score"] == pytest.approx(1.0)
