"""Simulate `bench gate` on known distributions: false verdicts, pairs until a verdict, and series of edits.

python benchmarks/sequential.py [--quick]

A gate compares submissions A and B by pairs of runs, and tests after every pair. A series gates a sequence of edits,
its candidates, and keeps those that are better. The exit code is 1 if a goal is missed. With `--quick`, sizes are tiny
and goals are not checked.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import scipy
from numpy.typing import NDArray
from scipy import stats

from harness.scoring.hit_rates import hit_rate
from harness.scoring.sample_size import MIN_EFFECT
from harness.scoring.sequential.batch import GateRuns, run_gates
from harness.scoring.sequential.forecast import forecast_pairs
from harness.scoring.sequential.series import SeriesState, record_candidate, series_level
from harness.scoring.sequential.verdict import ALPHA, decide

Floats: TypeAlias = NDArray[np.float64]
#: Function (random generator, shape) -> array drawn from a distribution.
Sampler: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Floats]

#: Maximum number of pairs of a gate.
PAIRS = 40
#: In `t_mixture`: prior standard deviation of the effect (mean / standard deviation).
PRIOR = 1.0


@dataclass
class Goals:
    """The missed goals.

    Args:
        checks_goals: whether goals are checked; false with `--quick`.
        missed: names of the missed goals.
    """

    checks_goals: bool
    missed: list[str] = field(default_factory=list)

    def check(self, holds: bool, name: str) -> str:
        """Return `ok` or `MISSED`, and record a missed goal. Return `-` if goals are not checked."""
        if not self.checks_goals:
            return "-"
        if not holds:
            self.missed.append(name)
        return "ok" if holds else "MISSED"


def exchangeable(draw: Sampler) -> Sampler:
    """Return a function that draws differences between two independent runs of one distribution.

    The two runs are exchangeable, so the differences are symmetric about 0.
    """
    return lambda rng, shape: subtract(draw(rng, shape), draw(rng, shape))


def subtract(a: Floats, b: Floats) -> Floats:
    """Return a − b, and 0 if both runs failed (−inf)."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


def lower_at_random(draw: Sampler, probability: float, amount: float) -> Sampler:
    """Return a function that draws values of runs, and lowers each by `amount` with the given probability.

    The amount inf stands for a run that failed or missed its target.
    """
    return lambda rng, shape: draw(rng, shape) - np.where(rng.random(shape) < probability, amount, 0.0)


def wild_scale(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Draw normal differences whose standard deviation changes by a factor of 10 or 1/10 at a random pair."""
    step = rng.integers(1, shape[1], (shape[0], 1))
    later = np.where(rng.random((shape[0], 1)) < 0.5, 10.0, 0.1)
    return rng.standard_normal(shape) * np.where(np.arange(shape[1]) < step, 1.0, later)


def normal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.standard_normal(shape)


def run_around(mean: float) -> Sampler:
    """Return a function that draws normal runs with variance 1/2. The difference of two runs then has variance 1."""
    return lambda rng, shape: rng.normal(mean, math.sqrt(0.5), shape)


def exponential(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return rng.exponential(size=shape)


def log_normal(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return np.exp(rng.standard_normal(shape))


#: Distributions of differences (A minus B) that are symmetric about 0. A verdict `better` or `worse` is then false.
NULLS: dict[str, Sampler] = {
    "normal": normal,
    "Student's t, 2.5 degrees of freedom": lambda rng, shape: rng.standard_t(2.5, shape),
    "Laplace": lambda rng, shape: rng.laplace(size=shape),
    "Cauchy": lambda rng, shape: rng.standard_cauchy(shape),
    "exchangeable, exponential runs": exchangeable(exponential),
    "exchangeable, log-normal runs": exchangeable(log_normal),
    "10 % misses of A and of B": exchangeable(lower_at_random(normal, 0.1, math.inf)),
    "10 % jumps by 10 of A and of B": exchangeable(lower_at_random(normal, 0.1, 10.0)),
    "equal sizes, ±1": lambda rng, shape: np.where(rng.random(shape) < 0.5, 1.0, -1.0),
    "whole numbers, many ties": lambda rng, shape: np.round(rng.standard_normal(shape)),
    "deviation changes tenfold": wild_scale,
}
#: Distributions of differences that are not symmetric about 0, so the gate's null hypothesis does not hold. In the
#: first four, the median or the mean is 0.
SKEWED: dict[str, Sampler] = {
    "exponential, median 0": lambda rng, shape: exponential(rng, shape) - math.log(2),
    "exponential, mean 0": lambda rng, shape: exponential(rng, shape) - 1.0,
    "log-normal, median 0": lambda rng, shape: log_normal(rng, shape) - 1.0,
    "log-normal, mean 0": lambda rng, shape: log_normal(rng, shape) - math.exp(0.5),
    "normal, 10 % jumps by 10 of only A": lower_at_random(normal, 0.1, 10.0),
    "normal, 10 % failures of only A": lower_at_random(normal, 0.1, math.inf),
    "normal, 30 % failures of only A": lower_at_random(normal, 0.3, math.inf),
}
#: Distributions with an effect. The number of pairs until a verdict is printed, without a goal.
EFFECTS: dict[str, Sampler] = {
    "t 2.5 degrees, centre 1": lambda rng, shape: rng.standard_t(2.5, shape) + 1.0,
    "Laplace, centre 1": lambda rng, shape: rng.laplace(1.0, size=shape),
    "normal, 1, 10 % misses of A, B": lambda rng, shape: subtract(
        lower_at_random(run_around(1.0), 0.1, math.inf)(rng, shape),
        lower_at_random(run_around(0.0), 0.1, math.inf)(rng, shape),
    ),
    "normal, 1, 20 % failures of B": lambda rng, shape: 1.0 - lower_at_random(normal, 0.2, math.inf)(rng, shape),
}


def t_mixture(differences: Floats, prior: float = PRIOR) -> Floats:
    """Return log E after each pair. E is the evidence against the mean 0 (the e-process of a t test).

    After n pairs with Student's statistic t,
    log E = −½ log(1 + ng²) + n/2 · (log(1 + t²/(n − 1)) − log(1 + t²/((1 + ng²)(n − 1)))).
    The prior of the effect (mean over standard deviation) is N(0, g²), and that of the standard deviation is
    right-Haar. E is a martingale only if the differences are normal.

    Args:
        differences: one row per gate.
        prior: g.

    Source: Anytime-Valid t-Tests and Confidence Sequences for Gaussian Means with Unknown Variance, Wang and Ramdas
        2023, arXiv 2310.03722 (the Gaussian mixture)
    """
    n = np.arange(1, differences.shape[-1] + 1)
    squares, sums = np.cumsum(differences * differences, axis=-1), np.cumsum(differences, axis=-1)
    ratio = sums**2 / n / residual_squares(squares, sums, n)
    shrink = 1.0 + n * prior**2
    result: Floats = -0.5 * np.log(shrink) + n / 2 * (np.log1p(ratio) - np.log1p(ratio / shrink))
    result[..., 0] = 0.0
    return result


def residual_squares(squares: Floats, sums: Floats, n: NDArray[np.int_]) -> Floats:
    """Return the sum of squares about the mean. It is kept above 0, so that t is finite for equal differences."""
    return np.asarray(np.maximum(squares - sums**2 / n, 1e-9 * squares) + (squares == 0))


def t_test_rate(differences: Floats, first: int = 3) -> float:
    """Return the fraction of rows that a two-sided t test at 5 % rejects at least once from pair `first` on."""
    n = np.arange(1, differences.shape[-1] + 1)[first - 1 :]
    squares, sums = (
        np.cumsum(differences * differences, axis=-1)[:, first - 1 :],
        np.cumsum(differences, axis=-1)[:, first - 1 :],
    )
    variance = residual_squares(squares, sums, n) / (n - 1)
    statistic = np.abs(sums / n) / np.sqrt(variance / n)
    return float((statistic > stats.t.ppf(0.975, n - 1)).any(axis=1).mean())


def show_errors(gates: int, goals: Goals) -> None:
    """Print the rates of false verdicts of the gate and of two tests that assume normal differences."""
    print(f"\nFalse verdicts: {gates} gates of {PAIRS} pairs, min_effect 0; goal at most {ALPHA:.0%}")
    print(f"{'symmetric about 0':<38}{'gate':>7}{'95 % interval':>18}{'goal':>8}{'t mixture':>12}{'t test':>9}")
    for i, (name, draw) in enumerate(NULLS.items()):
        differences = draw(np.random.default_rng(i), (gates, PAIRS))
        runs = run_gates(differences, min_effect=0.0)
        false = hit_rate(sum(outcome in ("better", "worse") for outcome in runs.outcomes), gates)
        goal = goals.check(false.value <= ALPHA, f"false verdicts, {name}")
        interval = f"{false.low:.4f} to {false.high:.4f}"
        print(f"{name:<38}{false.value:>7.4f}{interval:>18}{goal:>8}{parametric_rates(differences)}", flush=True)
    print("\nNot symmetric: the null hypothesis does not hold, so there is no goal for the rates")
    print(f"{'':<38}{'better':>7}{'worse':>9}{'':>17}{'t mixture':>12}{'t test':>9}")
    for i, (name, draw) in enumerate(SKEWED.items()):
        differences = draw(np.random.default_rng(100 + i), (gates, PAIRS))
        runs = run_gates(differences, min_effect=0.0)
        rates = f"{runs.rate('better'):>7.4f}{runs.rate('worse'):>9.4f}"
        print(f"{name:<38}{rates}{'':>17}{parametric_rates(differences)}", flush=True)


def parametric_rates(differences: Floats) -> str:
    """Format the rates at which `t_mixture` and a repeated t test reject; `-` if a run failed."""
    if not np.isfinite(differences).all():
        return f"{'-':>12}{'-':>9}"
    mixture = float((t_mixture(differences) >= math.log(1 / ALPHA)).any(axis=1).mean())
    return f"{mixture:>12.4f}{t_test_rate(differences):>9.4f}"


def t_test_pairs(effect: float, power: float = 0.8) -> int:
    """Return the number of pairs that a two-sided paired t test at 5 % needs to reach the power `power`.

    `effect` is the mean of the differences divided by their standard deviation. It is assumed to be known.
    """
    for n in range(2, 10_000):
        limit = stats.t.ppf(1 - ALPHA / 2, n - 1)
        centre = effect * math.sqrt(n)
        if stats.nct.sf(limit, n - 1, centre) + stats.nct.cdf(-limit, n - 1, centre) >= power:
            return n
    raise ValueError(f"no number of pairs for the effect {effect}")


def show_power(gates: int, goals: Goals) -> None:
    """Print the number of pairs until the verdict `better`, and without an effect until the verdict `equivalent`.

    For comparison, n_t is the number of pairs of a t test that is planned for the true effect.
    """
    print(f"\nPairs to decide: {gates} gates of 60 pairs, min_effect 0; goal: median at most 1.3 n_t + 1")
    print(f"{'mean over deviation':<34}{'n_t':>6}{'limit':>8}{'median':>8}{'90 %':>7}{'goal':>8}")
    for effect in (0.5, 1.0, 2.0, 3.0):
        differences = np.random.default_rng(round(10 * effect)).normal(effect, 1.0, (gates, 60))
        n_t = t_test_pairs(effect)
        limit = 1.3 * n_t + 1
        median_pairs, quantile_pairs = pairs_to_decide(run_gates(differences, min_effect=0.0))
        goal = goals.check(median_pairs <= limit, f"pairs at {effect}")
        print(
            f"normal, {effect:<26}{n_t:>6}{limit:>8.1f}{median_pairs:>8.0f}{quantile_pairs:>7.0f}{goal:>8}", flush=True
        )
    for name, draw in EFFECTS.items():
        median_pairs, quantile_pairs = pairs_to_decide(
            run_gates(draw(np.random.default_rng(5), (gates, 60)), min_effect=0.0)
        )
        print(f"{name:<34}{'':>14}{median_pairs:>8.0f}{quantile_pairs:>7.0f}", flush=True)
    print("\nPairs to `equivalent`, no effect, min_effect log 1.03 (inf if too few gates decide within 60 pairs)")
    for deviation in (0.01, 0.02, 0.03):
        runs = run_gates(np.random.default_rng(6).normal(0.0, deviation, (gates, 60)))
        median_pairs, quantile_pairs = pairs_to_decide(runs, "equivalent")
        print(f"deviation {deviation:<24}{'':>14}{median_pairs:>8.0f}{quantile_pairs:>7.0f}", flush=True)


def pairs_to_decide(runs: GateRuns, outcome: str = "better") -> tuple[float, float]:
    """Return the median and the 90 % quantile of the number of pairs until `outcome`.

    A gate that ends with another outcome counts as inf pairs.
    """
    pairs = [n if o == outcome else math.inf for n, o in zip(runs.pairs, runs.outcomes, strict=True)]
    median_pairs, quantile_pairs = np.quantile(pairs, [0.5, 0.9], method="inverted_cdf")
    return float(median_pairs), float(quantile_pairs)


def run_series(repeats: int, effects: Floats, rng: np.random.Generator, draw: Sampler) -> tuple[NDArray[np.bool_], int]:
    """Simulate series, and gate the kept candidates again on new pairs (confirmation).

    Return which candidates were kept, as an array (repeats, candidates), and the number of confirmed candidates.

    Args:
        repeats: number of series.
        effects: number that is added to the differences of each candidate, (candidates,).
        rng: random number generator.
        draw: draws differences for a candidate without an effect.
    """
    states = [SeriesState() for _ in range(repeats)]
    kept = np.zeros((repeats, len(effects)), dtype=bool)
    for t, effect in enumerate(effects):
        differences = draw(rng, (repeats, PAIRS)) + effect
        # Series with the same state have the same level, so their gates run together.
        for state in set(states):
            rows = [i for i in range(repeats) if states[i] == state]
            outcomes = run_gates(differences[rows], alpha=series_level(state), min_effect=0.0).outcomes
            for i, outcome in zip(rows, outcomes, strict=True):
                kept[i, t] = outcome == "better"
                states[i] = record_candidate(state, kept=bool(kept[i, t]))
    retested = np.argwhere(kept)
    fresh = draw(rng, (len(retested), PAIRS)) + effects[retested[:, 1]][:, None]
    confirmed = run_gates(fresh, min_effect=0.0).outcomes.count("better") if len(retested) else 0
    return kept, confirmed


def show_series(repeats: int, candidates: int, goals: Goals) -> None:
    """Print results of two kinds of series: no edit is an improvement, or every fifth edit is one."""
    print(f"\nSeries: {repeats} series of {candidates} edits, {PAIRS} pairs at most, min_effect 0")
    distributions = {"normal": normal, "10 % misses of A and of B": NULLS["10 % misses of A and of B"]}
    for name, draw in distributions.items():
        rng = np.random.default_rng(7)
        single_outcomes = run_gates(draw(rng, (repeats * candidates, PAIRS)), min_effect=0.0).outcomes
        one_by_one = np.array([o == "better" for o in single_outcomes]).reshape(repeats, candidates)
        kept, confirmed = run_series(repeats, np.zeros(candidates), rng, draw)
        # A series may have several confirmed edits, so the share of series without any is at least this value.
        most_kept, share_unconfirmed = int(kept.sum(axis=1).max()), 1 - confirmed / repeats
        print(f"edits without effect, {name}")
        share = one_by_one.any(axis=1).mean()
        print(f"  each gate at 5 %, without a series: one or more edits kept in {share:.3f} of the repetitions")
        share = kept.any(axis=1).mean()
        print(f"  series (e-LOND): one or more edits kept in {share:.3f} of them; at most {most_kept} kept", end="")
        print(f"; goal at most 5: {goals.check(most_kept <= 5, f'series, {name}')}")
        goal = goals.check(share_unconfirmed >= 0.95, f"confirmation, {name}")
        print(
            f"  no confirmed edit in at least {share_unconfirmed:.3f} of the series; goal at least 0.95: {goal}",
            flush=True,
        )
    effects = np.where(np.arange(candidates) % 5 == 4, 2.0, 0.0)
    kept, confirmed = run_series(repeats, effects, np.random.default_rng(8), normal)
    false = (kept & (effects == 0)).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
    print("every fifth edit is better by 2 standard deviations")
    print(f"  kept {kept[:, effects > 0].mean():.3f} of the improvements", end="")
    print(f"; mean fraction of edits without effect among the kept edits {false.mean():.4f}")
    print(f"  confirmed {confirmed / max(1, kept.sum()):.3f} of the kept edits", flush=True)


def show_verdicts(goals: Goals) -> None:
    """Print the verdicts in cases whose right verdict is known: exact copies and constant differences."""
    print("\nCopies and constant differences, min_effect log 1.03")
    cases = {
        "exact copy, 1 pair": (decide([0.0], identical=True), "identical"),
        "constant difference of 1 %, 6 pairs": (decide([math.log(1.01)] * 6), "equivalent"),
        "constant difference of 5 %, 6 pairs": (decide([math.log(1.05)] * 6), "better"),
        "constant difference of −5 %, 6 pairs": (decide([-math.log(1.05)] * 6), "worse"),
        "constant difference of 5 %, 5 pairs": (decide([math.log(1.05)] * 5), "undecided"),
    }
    for name, (verdict, expected) in cases.items():
        print(f"{name:<38}{verdict.outcome:>12}{goals.check(verdict.outcome == expected, name):>8}")


def show_forecasts(gates: int) -> None:
    """Print how many further pairs `forecast_pairs` expects after four pairs, and how many were needed (medians)."""
    print(f"\nForecast after four pairs: {gates} gates, medians (for information)")
    for effect in (1.0, 2.0):
        differences = np.random.default_rng(9).normal(effect, 1.0, (gates, 60)) * MIN_EFFECT
        forecasts = [forecast_pairs(row[:4].tolist()) for row in differences]
        needed_pairs = [n - 4 for n in run_gates(differences).pairs]
        median_forecast = np.median([math.inf if n is None else n for n in forecasts])
        print(
            f"mean over deviation {effect}: forecast {median_forecast:.0f}, needed {np.median(needed_pairs):.0f}",
            flush=True,
        )


def cpu_name() -> str:
    """Return the CPU's name from /proc/cpuinfo, or a general name on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="use tiny sizes, without checking goals")
    quick = parser.parse_args().quick
    goals = Goals(checks_goals=not quick)
    print(f"python benchmarks/sequential.py{' --quick' if quick else ''}")
    versions = f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    print(f"{versions}, one core of {cpu_name()}")
    show_errors(50 if quick else 10_000, goals)
    show_power(20 if quick else 4000, goals)
    show_series(3 if quick else 300, 10 if quick else 100, goals)
    show_verdicts(goals)
    show_forecasts(3 if quick else 100)
    print(f"\n{time.process_time():.0f} s of processor time")
    if goals.missed:
        print(f"missed: {'; '.join(goals.missed)}")
    return 1 if goals.missed else 0


if __name__ == "__main__":
    sys.exit(main())
