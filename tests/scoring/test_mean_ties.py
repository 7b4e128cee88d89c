"""Ties in a ranking by the mean over workloads: known p-values, copies, and submissions that lead only somewhere."""

from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from harness.scoring.mean_ties import compare_means, error_of_differences, rank_mean_ties, residual_variances
from harness.scoring.ties import Ties, rank_ties

Table = dict[str, dict[str, dict[int, float]]]
WORKLOADS = ("w0", "w1", "w2", "w3")


def table(logs: dict[str, dict[str, list[float]]]) -> Table:
    """The times whose logs are given."""
    return {
        name: {w: {k: math.exp(value) for k, value in enumerate(values)} for w, values in row.items()}
        for name, row in logs.items()
    }


def ranked(times: Table, **bounds: list[str]) -> Ties:
    workloads = sorted({w for row in times.values() for w in row})
    means = {
        name: sum(sum(map(math.log, row[w].values())) / len(row[w]) for w in row) / len(row)
        for name, row in times.items()
    }
    return rank_mean_ties(times, order=sorted(times, key=means.__getitem__), workloads=workloads, **bounds)


def noisy(rng: random.Random, centres: dict[str, float], sd: dict[str, float], studies: int = 5) -> Table:
    """Submissions with the same noise; `centres` are their mean logs on every workload."""
    return table(
        {
            name: {w: [centre + rng.gauss(0, sd[w]) for _ in range(studies)] for w in sd}
            for name, centre in centres.items()
        }
    )


def test_two_submissions_on_one_workload_have_the_p_value_of_the_paired_t_test() -> None:
    a, b = [0.1, 0.3, -0.2, 0.4, 0.0, 0.25, 0.1], [0.3, 0.35, 0.1, 0.7, 0.05, 0.2, 0.4]
    (verdict,) = ranked(table({"a": {"w": a}, "b": {"w": b}})).verdicts
    assert verdict.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert verdict.ratio == pytest.approx(math.exp(sum(a) / 7 - sum(b) / 7))


def test_the_residuals_are_those_of_an_analysis_of_variance() -> None:
    """The table of residuals of a two-way layout without interaction, computed by hand."""
    times = table({"a": {"w": [1.0, 2.0, 3.0]}, "b": {"w": [2.0, 3.0, 5.5]}})
    (variance,) = residual_variances(times, ["w"]).values()
    # Differences 1, 1, 2.5 have the variance 0.75, which is twice that of a residual.
    assert variance.variance == pytest.approx(0.375)
    own = error_of_differences([-1.0, -1.0, -2.5], None)
    assert own.variance == pytest.approx(0.25)
    assert (variance.degrees, own.degrees) == (2, 2)
    assert error_of_differences([-1.0, -1.0, -2.5], variance).variance == pytest.approx(0.25)
    assert error_of_differences([-1.0, -1.1, -1.0], variance).variance == pytest.approx(0.25), (
        "never below the pooled one"
    )


def test_a_submission_that_leads_on_one_workload_is_behind_on_the_mean() -> None:
    """As an expensive optimizer that leads only on the large model. The sign-flip test does not separate it."""
    rng = random.Random(1)
    shift = {"w0": -0.5, "w1": 2.8, "w2": 0.3, "w3": 0.4}
    logs = {
        name: {w: [(shift[w] if name == "dear" else 0.0) + rng.gauss(0, 0.1) for _ in range(5)] for w in WORKLOADS}
        for name in ("dear", *(f"s{i}" for i in range(11)))
    }
    times = table(logs)
    ties = ranked(times)
    assert ties.ranks["dear"] == (12, 12)
    order = sorted(times, key=lambda name: sum(map(sum, logs[name].values())))
    assert rank_ties(times, order=order, workloads=WORKLOADS).ranks["dear"][0] < 12


@pytest.mark.slow
@pytest.mark.parametrize(
    "sd",
    [
        dict.fromkeys(WORKLOADS, 0.1),
        {"w0": 1.0, "w1": 0.1, "w2": 0.1, "w3": 0.1},
        {w: 0.02 * 3**i for i, w in enumerate(WORKLOADS)},
    ],
    ids=["equal", "one", "geometric"],
)
def test_copies_are_rarely_separated(sd: dict[str, float]) -> None:
    """At most 6 % of the tables of 12 copies; the standard error of a rate is 1 %."""
    rng = random.Random(3)
    copies = dict.fromkeys((f"c{i:02}" for i in range(12)), 0.0)
    differing = sum(len(set(ranked(noisy(rng, copies, sd)).ranks.values())) > 1 for _ in range(300))
    assert differing / 300 <= 0.06


@pytest.mark.slow
def test_a_noisier_submission_is_judged_by_its_own_noise() -> None:
    rng = random.Random(4)
    separated = 0
    for _ in range(300):
        times = noisy(rng, dict.fromkeys("abcdefghijk", 0.0), dict.fromkeys(WORKLOADS, 0.05))
        times |= noisy(rng, {"loud": 0.0}, dict.fromkeys(WORKLOADS, 0.4))
        separated += any(v.verdict == "faster" and "loud" in (v.a, v.b) for v in ranked(times).verdicts)
    assert separated / 300 <= 0.05


def test_bounds_never_decide_in_their_own_favour() -> None:
    times = table({"a": {"w": [0.0] * 3 + [0.01] * 3}, "b": {"w": [1.0] * 3 + [1.01] * 3}})
    assert ranked(times).ranks == {"a": (1, 1), "b": (2, 2)}
    assert ranked(times, at_least=["a"]).ranks == {"a": (1, 2), "b": (1, 2)}
    assert ranked(times, at_most=["b"]).ranks == {"a": (1, 2), "b": (1, 2)}
    assert ranked(times, at_most=["a"], at_least=["b"]).ranks == {"a": (1, 1), "b": (2, 2)}


def test_too_few_pairs_are_undecided() -> None:
    times = table({"a": {"w": [0.0] * 5}, "b": {"w": [1.0, 1.01, 1.0, 1.01, 1.0]}})
    (verdict,) = ranked(times).verdicts
    assert (verdict.verdict, verdict.p) == ("undecided", 1.0)
    assert verdict.mean == pytest.approx(-1.004)
    times = table({"a": {"w": [0.0] * 9, "v": [0.0]}, "b": {"w": [1.0] * 9, "v": [1.0]}})
    (verdict,) = ranked(times).verdicts
    assert (verdict.verdict, verdict.mean, verdict.p) == ("undecided", None, 1.0), (
        "one study on a workload has no noise"
    )
    assert ranked(times).required_pairs == 6


def test_only_shared_finite_studies_are_paired() -> None:
    a, b = {"w": {0: 1.0, 1: math.inf, 2: 1.0, 3: 2.0}}, {"w": {0: 2.0, 1: 1.0, 2: 2.0, 5: 1.0}}
    test = compare_means(a, b, ["w"], {})
    assert list(test.log_ratios) == pytest.approx([-math.log(2)] * 2)
    assert residual_variances({"a": a, "b": b}, ["w"]) == {}, "no two submissions have the same studies"
    assert math.isnan(compare_means(a, {}, ["w"], {}).mean)
    assert compare_means(a, b, ["w"], {}).p == 1.0
