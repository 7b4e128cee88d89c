"""Read the runs of the rankings in `results/LEADERBOARD.md`, for the rows at the full budget.

The plans of the rankings are in `studies/leaderboard`. Their submissions are also arms of this study. Each of them is
tuned with five learning rates at the full budget, and its best setting runs on five fresh seeds.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import yaml

from harness.contract.base import Data
from harness.contract.record import Record
from harness.planning.rulesets import ruleset
from harness.plugins.registry import Registry
from harness.storage.records import iter_records
from studies.power.figures import PowerFigures, figures_of_record

ROOT = Path(__file__).resolve().parents[2]
#: Folder of the published records.
RESULTS = ROOT / "results"
#: Folder of the plans of the rankings.
PLANS = ROOT / "studies" / "leaderboard"


class RankingPlan(Data, frozen=True, kw_only=True):
    """The content of a plan, which is a sweep file of `bench run`.

    Args:
        submissions: names of the submissions.
        workloads: names of the workloads.
        ruleset: name of the ruleset.
        tuning_studies: number of tuning studies, by the name of the workload.
        seed: the root seed.
    """

    submissions: tuple[str, ...]
    workloads: tuple[str, ...]
    ruleset: str
    tuning_studies: dict[str, int]
    seed: int


def read_rankings(
    registry: Registry, problems: list[str], results: Path = RESULTS, plans: Path = PLANS
) -> dict[str, list[PowerFigures]]:
    """Return `name@version` of a workload -> the figures of the fresh runs of its ranking.

    Only installed versions of workloads and rulesets are included, and only runs of the plans.

    Args:
        registry: the registry in which workloads are looked up.
        problems: list to which a one-line message is appended for each file that cannot be read as a record.
        results: folder of records.
        plans: folder of the plans.

    Raises:
        msgspec.ValidationError: a plan lacks a field, or has an unknown one.
    """
    texts = [path.read_text(encoding="utf-8") for path in sorted(plans.glob("*.yaml"))]
    planned = [msgspec.convert(yaml.safe_load(text), RankingPlan) for text in texts]
    arms = {registry.workload(name).facts.id: plan for plan in planned for name in plan.workloads}
    figures: dict[str, list[PowerFigures]] = {}
    for record in iter_records([results], problems):
        workload = record.spec.workload.facts.id
        if (plan := arms.get(workload)) is not None and _is_planned(record, plan):
            figures.setdefault(workload, []).append(figures_of_record(record))
    return figures


def _is_planned(record: Record, plan: RankingPlan) -> bool:
    spec = record.spec
    return (
        spec.ruleset.id == ruleset(plan.ruleset).id
        and spec.root_seed == plan.seed
        and spec.purpose == "score"
        and spec.submission.name in plan.submissions
    )
