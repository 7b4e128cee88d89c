"""Simulate rankings of copies of one submission, for three estimates of the variance in the test of the mean.

usage: python -m benchmarks.mean_ties

A table has 12 copies with five studies on each of some workloads. The function prints the fraction of the tables in
which Holm's procedure separates at least two copies. `harness/scoring/mean_ties.py` uses the larger variance. The
copies have equal means. In some tables, one workload has ten times the noise of the others, or one copy has four times
the noise of the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

COPIES, STUDIES, TABLES = 12, 5, 2_000
Array: TypeAlias = npt.NDArray[np.float64]
PAIRS = np.array(list(itertools.combinations(range(COPIES), 2)))
DISTRIBUTIONS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape),
    "skewed": lambda rng, shape: rng.exponential(1, shape) - 1,
}


def rates(logs: Array) -> dict[str, float]:
    """Return, for each estimate of the variance, the fraction of tables in which copies are separated.

    Args:
        logs: log times; the axes are tables, copies, workloads and studies.
    """
    _, copies, workloads, studies = logs.shape
    differences = logs[:, PAIRS[:, 0]] - logs[:, PAIRS[:, 1]]
    means = np.abs(differences.mean(-1).mean(-1))
    own = differences.var(-1, ddof=1) / studies
    residuals = logs - logs.mean(1, keepdims=True) - logs.mean(-1, keepdims=True) + logs.mean((1, 3), keepdims=True)
    degrees = (copies - 1) * (studies - 1)
    pooled = np.broadcast_to(2 * (residuals**2).sum((1, 3))[:, None] / degrees / studies, own.shape)
    variances = {
        "of the pair": (own, studies - 1),
        "of all copies": (pooled, degrees),
        "the larger one": (np.maximum(own, pooled), degrees),
    }
    separated = {}
    for name, (variance, of_each) in variances.items():
        total = variance.sum(-1)
        freedom = total**2 / (variance**2 / of_each).sum(-1)
        p = 2 * student.sf(means / (np.sqrt(total) / workloads), freedom)
        separated[name] = float((p.min(-1) * len(PAIRS) <= 0.05).mean())
    return separated


def main() -> None:
    """Print the table as Markdown."""
    rng = np.random.default_rng(0)
    print("| workloads | noise | copies | distribution | variance of the pair | of all copies | the larger one |")
    print("|---|---|---|---|---|---|---|")
    for workloads in (4, 7):
        noises = {"equal": np.ones(workloads), "one × 10": np.r_[10.0, np.ones(workloads - 1)]}
        arms = {"equal": np.ones(COPIES), "one × 4": np.r_[4.0, np.ones(COPIES - 1)]}
        for (noise, sd), (copies, factor) in itertools.product(noises.items(), arms.items()):
            for name, draw in DISTRIBUTIONS.items():
                logs = draw(rng, (TABLES, COPIES, workloads, STUDIES)) * sd[:, None] * factor[:, None, None]
                shown = " | ".join(f"{rate:.3f}" for rate in rates(logs).values())
                print(f"| {workloads} | {noise} | {copies} | {name} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
