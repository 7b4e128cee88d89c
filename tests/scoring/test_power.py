"""The power of a workload: the model against known numbers, its invariances, its error rates, and the row."""

from __future__ import annotations

import math
import random
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.contract.power import PowerCost
from harness.contract.record import Ledger, Spent
from harness.errors import UsageError
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.power import PowerContext, PowerRun, compare_orders, power_row, power_table
from harness.scoring.power_costs import run_cost
from harness.scoring.power_model import Separation, count_false_separations, separate_pairs
from harness.scoring.stats import holm
from tests.scoring.builders import record, spec

COST = PowerCost(training=2.0, evaluation=1.0, start=1.0, wall=5.0)
VALUES = {
    "a": (0.10, 0.32, 0.21, 0.05),
    "b": (0.52, 0.61, 0.70, 0.40),
    "c": (0.11, 0.43, 0.18, 0.02),
}


def simulate(means: list[float], seeds: int, sd: float, rng: random.Random) -> dict[str, tuple[float, ...]]:
    effects = [rng.gauss(0, 0.5) for _ in range(seeds)]
    return {
        f"arm-{i:02}": tuple(mean + effect + rng.gauss(0, sd) for effect in effects) for i, mean in enumerate(means)
    }


def test_p_values_are_those_of_least_squares_with_dummy_variables() -> None:
    """The general linear model value ~ arm + seed, solved by numpy, with scipy's t distribution."""
    arms, seeds = list(VALUES), 4
    y = np.array([VALUES[arm][seed] for arm in arms for seed in range(seeds)])
    x = np.array(
        [
            [float(arm == each) for each in arms] + [float(seed == k) for k in range(1, seeds)]
            for arm in arms
            for seed in range(seeds)
        ]
    )
    coefficients, squares, rank, _ = np.linalg.lstsq(x, y, rcond=None)
    freedom = len(y) - rank
    assert freedom == (len(arms) - 1) * (seeds - 1)
    covariance = squares[0] / freedom * np.linalg.inv(x.T @ x)
    raw = []
    for i, j in combinations(range(len(arms)), 2):
        contrast = np.zeros(x.shape[1])
        contrast[i], contrast[j] = 1.0, -1.0
        t = contrast @ coefficients / math.sqrt(contrast @ covariance @ contrast)
        raw.append(2 * scipy_stats.t.sf(abs(t), freedom))
    model = separate_pairs(VALUES)
    assert list(model.p_values.values()) == pytest.approx(holm(raw))
    assert model.residual == pytest.approx(math.sqrt(squares[0] / freedom))
    assert model.means == pytest.approx({arm: float(np.mean(row)) for arm, row in VALUES.items()})


def test_two_arms_are_compared_by_the_paired_t_test() -> None:
    a, b = VALUES["a"], VALUES["b"]
    (p,) = separate_pairs({"a": a, "b": b}).p_values.values()
    assert p == pytest.approx(scipy_stats.ttest_rel(a, b).pvalue)


def test_spread_and_correlation_are_the_mean_variance_and_the_mean_covariance() -> None:
    table = np.array(list(VALUES.values()))
    covariance = np.cov(table)
    off_diagonal = covariance[np.triu_indices(3, 1)].mean()
    model = separate_pairs(VALUES)
    assert model.spread == pytest.approx(math.sqrt(np.diag(covariance).mean()))
    assert model.correlation == pytest.approx(off_diagonal / np.diag(covariance).mean())
    means = table.mean(axis=1)
    assert model.range_over_spread == pytest.approx(np.ptp(means) / model.spread)


numbers = st.floats(-3, 3).map(lambda value: round(value, 3))
tables = st.tuples(st.integers(2, 5), st.integers(2, 5)).flatmap(
    lambda shape: st.lists(
        st.lists(numbers, min_size=shape[1], max_size=shape[1]).map(tuple), min_size=shape[0], max_size=shape[0]
    )
)


@given(table=tables, data=st.data())
def test_seeds_may_be_permuted_and_shifted_and_arms_renamed(
    table: list[tuple[float, ...]], data: st.DataObject
) -> None:
    arms, seeds = len(table), len(table[0])
    order = data.draw(st.permutations(range(seeds)))
    names = data.draw(st.permutations([f"name-{i}" for i in range(arms)]))
    shifts = data.draw(st.lists(numbers, min_size=seeds, max_size=seeds))
    before = separate_pairs({f"arm-{i}": row for i, row in enumerate(table)})
    after = separate_pairs({names[i]: [row[seed] + shifts[seed] for seed in order] for i, row in enumerate(table)})
    renamed = {tuple(sorted((names[int(a[4:])], names[int(b[4:])]))): p for (a, b), p in before.p_values.items()}
    assert after.p_values == pytest.approx(renamed, rel=1e-5, abs=1e-9)
    assert after.residual == pytest.approx(before.residual, abs=1e-9)


@given(table=tables, factor=st.floats(0.1, 10))
def test_one_slope_for_all_values_changes_no_p_value(table: list[tuple[float, ...]], factor: float) -> None:
    values = {f"arm-{i}": row for i, row in enumerate(table)}
    scaled = {arm: [factor * value for value in row] for arm, row in values.items()}
    assert separate_pairs(scaled).p_values == pytest.approx(separate_pairs(values).p_values, rel=1e-5, abs=1e-9)


def test_known_effects_are_found_and_equal_arms_are_not_separated() -> None:
    """Sixteen arms in two groups that differ by ten standard deviations: the 64 pairs across groups are separated."""
    rng, across, within = random.Random(1), 0, 0
    for _ in range(40):
        model = separate_pairs(simulate([0.0] * 8 + [1.0] * 8, 5, 0.1, rng))
        for pair in model.separated:
            across += (pair[0] < "arm-08") != (pair[1] < "arm-08")
            within += (pair[0] < "arm-08") == (pair[1] < "arm-08")
    assert across == 40 * 64
    assert within <= 6  # Families with any false separation are at most 5 % of 40, plus chance.


def test_equal_arms_are_separated_in_at_most_five_per_cent_of_simulations() -> None:
    rng = random.Random(2)
    false = sum(bool(separate_pairs(simulate([0.0] * 6, 5, 1.0, rng)).separated) for _ in range(600))
    # Holm over dependent pairs is conservative. 0.05 + 3 standard errors of 600 draws is 0.077.
    assert 0.005 < false / 600 < 0.077


def test_permuted_labels_are_counted_as_the_model_separates_them() -> None:
    """The vectorised count equals the model's verdicts on the same permutations, one at a time."""
    rng = random.Random(3)
    values = simulate([0.0] * 4, 4, 1.0, rng)
    table = np.array(list(values.values()))
    table = table - table.mean(axis=0)
    shuffled = np.random.default_rng(0).permuted(np.broadcast_to(table, (300, *table.shape)), axis=1)
    expected = sum(
        bool(separate_pairs({f"arm-{i}": tuple(row) for i, row in enumerate(each)}).separated) for each in shuffled
    )
    false = count_false_separations(values, 300)
    assert (false.count, false.permutations) == (expected, 300)
    exact = scipy_stats.binomtest(expected, 300).proportion_ci()
    assert (false.low, false.high) == pytest.approx((exact.low, exact.high))


def test_permuted_labels_of_arms_that_differ_are_rarely_separated() -> None:
    values = simulate([0.3 * i for i in range(16)], 5, 0.1, random.Random(4))
    assert len(separate_pairs(values).separated) > 80
    assert count_false_separations(values, 4000).rate <= 0.05


def test_an_arm_with_a_broken_run_is_in_no_pair_but_its_pairs_count() -> None:
    model = separate_pairs({**VALUES, "d": (0.1, None, 0.2, 0.3)})
    assert model.left_out == ("d",)
    assert len(model.p_values) == 6
    assert all(p == 1.0 for pair, p in model.p_values.items() if "d" in pair)
    assert model.difference(("a", "d")) is None
    # The other three pairs are corrected as if there were six.
    assert min(model.p_values.values()) == pytest.approx(2 * min(separate_pairs(VALUES).p_values.values()))


def test_equal_values_have_no_spread_and_no_separation() -> None:
    model = separate_pairs({"a": (0.1, 0.3), "b": (0.1, 0.3)})
    assert (model.separated, model.residual, model.range_over_spread) == ((), 0.0, 0.0)
    assert count_false_separations({"a": (0.1, 0.3), "b": (0.1, 0.3)}, 100).count == 0


def test_values_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(UsageError, match="two seeds"):
        separate_pairs({"a": (0.1,), "b": (0.2,)})
    with pytest.raises(UsageError, match="seeds"):
        separate_pairs({"a": (0.1, 0.2), "b": (0.2,)})
    with pytest.raises(UsageError, match="not finite"):
        separate_pairs({"a": (0.1, math.inf), "b": (0.2, 0.3)})
    with pytest.raises(UsageError, match="1 arms are free of broken runs"):
        separate_pairs({"a": (0.1, 0.2), "b": (0.2, None)})


# --- the row --------------------------------------------------------------------------------------------


def context(**changes: object) -> PowerContext:
    fields = {
        "workload": "w@1", "budget_name": "gate", "budget": 100, "metric": "loss", "goal": "min",
        "arms": ("a", "b", "c"), "seeds": 4, "hardware": "cpu", "torch": "2",
    }  # fmt: skip
    return PowerContext(**{**fields, **changes})  # type: ignore[arg-type]


def runs(values: dict[str, tuple[float, ...]] | None = None) -> list[PowerRun]:
    return [
        PowerRun(arm=arm, seed=seed, metric=math.exp(-value), hit=None, cost=COST)
        for arm, row in (values or VALUES).items()
        for seed, value in enumerate(row)
    ]


ENVELOPE = GateEnvelope(
    workload="w@1", metric="loss", goal="min", budget=100, reference="r@1", hardware="cpu", torch="2",
    horizons=(50, 100, 200), values=(1.0, 0.8, 0.64), spreads=(0.0, 0.0, 0.0), runs=(),
)  # fmt: skip


def test_the_row_counts_pairs_and_costs() -> None:
    row = power_row(context(), runs(), permutations=200)
    assert (row.scale, row.pairs, row.separated, row.hard) == ("log metric", 3, 2, None)
    assert row.core_hours == pytest.approx(12 * 4 / 3600)
    assert row.per_core_hour == pytest.approx(2 / row.core_hours)
    assert row.cost == COST
    assert row.spread_metric == pytest.approx(separate_pairs(VALUES).spread)
    assert not row.partial


def test_a_straight_envelope_separates_the_same_pairs_and_scales_the_spread() -> None:
    """The envelope has one slope: log 2 of budget for log 0.8 of the metric."""
    plain, scaled = power_row(context(), runs(), permutations=200), power_row(context(), runs(), ENVELOPE, None, 200)
    assert (scaled.scale, scaled.separated) == ("log M", plain.separated)
    slope = math.log(2) / -math.log(0.8)
    assert scaled.spread_multiplier == pytest.approx(slope * plain.spread_metric)
    assert scaled.residual == pytest.approx(slope * plain.residual)
    assert (scaled.hard, scaled.hard_separated) == (1, 0)  # a and c differ by 0.015 × 3.1 in log M.
    assert 0 < scaled.outside < 1


def test_seeds_on_which_an_arm_has_no_run_are_left_out() -> None:
    row = power_row(context(), [run for run in runs() if (run.arm, run.seed) != ("b", 3)], permutations=200)
    assert (row.seeds, row.planned_seeds, row.partial) == (3, 4, True)
    assert row.core_hours == pytest.approx(9 * 4 / 3600)
    with pytest.raises(UsageError, match="1 seeds"):
        power_row(context(), [run for run in runs() if run.seed == 0])


def test_an_arm_that_broke_while_it_was_tuned_is_named_and_its_pairs_count() -> None:
    row = power_row(context(arms=("a", "b", "c", "x"), broken=("x",)), runs(), permutations=200)
    assert (row.left_out, row.pairs, row.partial) == (("x",), 6, False)


def test_the_spread_of_hits_uses_arms_with_two_hits() -> None:
    hits = {("a", 0): 100, ("a", 1): 200, ("b", 0): 100}
    made = [PowerRun(arm=r.arm, seed=r.seed, metric=r.metric, hit=hits.get((r.arm, r.seed)), cost=COST) for r in runs()]
    row = power_row(context(), made, permutations=200)
    assert row.spread_target == pytest.approx(math.log(2) / math.sqrt(2))
    assert row.hits == 3


def test_agreement_counts_the_pairs_that_the_gate_separates() -> None:
    def model(means: dict[str, float], separated: tuple[tuple[str, str], ...]) -> Separation:
        pairs = list(combinations(sorted(means), 2))
        p_values = {pair: 0.01 if pair in separated else 0.5 for pair in pairs}
        return Separation(means=means, left_out=(), p_values=p_values, spread=1.0, residual=1.0, correlation=0.0)

    gate = model({"a": 1.0, "b": 2.0, "c": 3.0}, (("a", "b"), ("a", "c")))
    full = model({"a": 1.5, "b": 1.0, "c": 3.0}, (("a", "c"),))
    result = compare_orders(gate, full)
    assert (result.decided, result.same_order, result.both, result.both_same_order) == (2, 1, 1, 1)


def test_power_table_refuses_a_study_without_runs() -> None:
    with pytest.raises(UsageError, match="0 seeds"):
        power_table(context(), [], None)


# --- the cost -------------------------------------------------------------------------------------------


def test_evaluations_cost_the_share_of_a_core_that_training_had() -> None:
    phases = {
        "construction": Spent(seconds=1.0, process_seconds=0.5),
        "training": Spent(seconds=9.0, process_seconds=4.5),
        "evaluation": Spent(seconds=4.0, process_seconds=0.1),
        "start": Spent(seconds=2.0, process_seconds=1.0),
        "checkpoint": Spent(seconds=1.0, process_seconds=0.25),
    }
    cost = run_cost(record(spec(), ledger=Ledger(phases=phases)))  # type: ignore[arg-type]
    assert (cost.training, cost.evaluation, cost.start, cost.wall) == (5.0, 2.0, 1.25, 17.0)
    assert cost.total == 8.25
