"""What the figures of the comparison say of two arms: paired tests with corrected intervals.

Within a workload five pairs of seeds are too few for a test that assumes nothing, so differences there are tested by
Student's t on the logarithms of the losses, which such means of many examples suit. Over both workloads there are ten
pairs, and the exact sign-flip test of `harness.scoring.stats` is used, with misses as worst ranks.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import methods_design as design
import methods_figures as figures
from methods_design import Measure, Stage
from methods_figures import Figure

from harness.plugins.registry import load_registry
from harness.scoring import stats


@dataclass(frozen=True, kw_only=True)
class Difference:
    """An arm against another, over pairs of seeds.

    Args:
        n: pairs of seeds.
        ratio: of the arm's value over the other's; below 1 is better. None where nothing can be said.
        low, high: the interval, corrected; None where there is none.
        p: two-sided, as tested; 1 where nothing can be tested.
        both_missed: pairs in which both missed. As ratios they are 1, and yet no evidence that two arms are alike.
        holm: the same p corrected by Holm.
    """

    n: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    p: float = 1.0
    both_missed: int = 0
    holm: float = 1.0

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the corrected test says so, and otherwise `–`."""
        if self.holm > design.ALPHA or self.ratio is None or self.ratio == 1:
            return "–"
        return "better" if self.ratio < 1 else "worse"


class Results:
    """Figures, looked up by stage, arm and measure.

    Args:
        found: of all runs.
    """

    def __init__(self, found: Iterable[Figure]) -> None:
        self._found = list(found)
        registry = load_registry()
        self._facts = {stage.workload: registry.workload(stage.workload).facts for stage in design.STAGES}

    def setting(self, stage: Stage, arm: str, measure: Measure) -> Figure | None:
        """The tuning run of the setting that was chosen."""
        return figures.chosen(self.tuned(stage, arm)).get(measure)

    def tuned(self, stage: Stage, arm: str) -> list[Figure]:
        """The runs of all settings that were tried."""
        return [f for f in self._of(stage, arm) if f.purpose == "tuning"]

    def fresh(self, stage: Stage, arm: str, measure: Measure) -> dict[int, Figure]:
        """Study -> the run of the chosen setting, or of the defaults, on its seeds."""
        scores = [f for f in self._of(stage, arm) if f.purpose == "score"]
        if stage.settings != "defaults":
            best = self.setting(stage, arm, measure)
            scores = [f for f in scores if best is not None and f.hparams == best.hparams]
        return {f.study: f for f in scores}

    def _of(self, stage: Stage, arm: str) -> list[Figure]:
        facts = self._facts[stage.workload]
        place = facts.id, stage.budget or facts.budget.horizon
        return [figure for figure in self._found if figure.arm == arm and figure.at == place]


# --- tests --------------------------------------------------------------------------------------------


def log_ratios(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> list[float]:
    """log(arm/other) for every seed that both have run on; ±inf where one missed or broke, 0 where both did."""
    a, b = results.fresh(stage, arm, measure), results.fresh(stage, other, measure)
    both = sorted(a.keys() & b.keys())
    return stats.paired_log_ratios([a[i].value(measure) for i in both], [b[i].value(measure) for i in both])


def both_missed(results: Results, stage: Stage, arm: str, other: str, measure: Measure) -> int:
    """Seeds on which neither has a value."""
    a, b = results.fresh(stage, arm, measure), results.fresh(stage, other, measure)
    return sum(math.isinf(a[i].value(measure)) and math.isinf(b[i].value(measure)) for i in a.keys() & b.keys())


def pooled(results: Results, stages: Sequence[Stage], arm: str, other: str, measure: Measure) -> list[float]:
    """The log ratios of all stages; none unless both arms have run on each, so that no workload speaks for another."""
    found = [log_ratios(results, stage, arm, other, measure) for stage in stages]
    return [d for differences in found for d in differences] if all(found) else []


def by_t(differences: Sequence[float], tests: int) -> Difference:
    """Student's t on paired log ratios, with an interval at 1 − α/tests.

    Where a run broke there is no ratio, and a mean over the other seeds would reward breaking: nothing is tested. Nor
    is it before all seeds have run: of two pairs that happen to agree t makes a certainty.
    """
    from scipy.stats import t as student

    n = len(differences)
    if not n or not all(map(math.isfinite, differences)):
        return Difference(n=n)
    if n < design.SEEDS:
        return Difference(n=n, ratio=math.exp(statistics.fmean(differences)))
    mean, error = statistics.fmean(differences), statistics.stdev(differences) / math.sqrt(n)
    ratio = math.exp(mean)
    if error == 0:
        # No spread to test by: the same run twice, or hits that fall on the same evaluations.
        return Difference(n=n, ratio=ratio, low=ratio if mean == 0 else None, high=ratio if mean == 0 else None)
    wide = float(student.ppf(1 - design.ALPHA / (2 * max(tests, 1)), n - 1)) * error
    p = 2 * float(student.sf(abs(mean) / error, n - 1))
    return Difference(n=n, ratio=ratio, low=math.exp(mean - wide), high=math.exp(mean + wide), p=p)


def by_flips(differences: Sequence[float], tests: int) -> Difference:
    """The exact sign-flip test with the Hodges–Lehmann ratio and the interval that inverts it, at 1 − α/tests."""
    if not differences:
        return Difference(n=0)
    ends = stats.interval(differences, 1 - design.ALPHA / max(tests, 1))
    known = ends.kind == "interval"
    return Difference(
        n=len(differences),
        ratio=_exp(stats.hodges_lehmann(differences)),
        low=_exp(ends.low) if known else None,
        high=_exp(ends.high) if known else None,
        p=stats.sign_flip_test(differences).p,
    )


def corrected(rows: Sequence[Difference]) -> list[Difference]:
    """The same with Holm's p, over all of them."""
    return [replace(row, holm=p) for row, p in zip(rows, stats.holm([row.p for row in rows]), strict=True)]


def losses_against_first(results: Results, stage: Stage, arms: Sequence[str]) -> dict[str, Difference]:
    """Every other arm's loss against that of the first, corrected over them."""
    first, *others = arms
    tested = [by_t(log_ratios(results, stage, arm, first, "loss"), len(others)) for arm in others]
    return dict(zip(others, corrected(tested), strict=True))


def _exp(x: float) -> float:
    return math.inf if x > 700 else math.exp(x)
