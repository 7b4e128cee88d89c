"""Read the runs of the rankings in `results/LEADERBOARD.md`, for the rows at the full budget.

The plans of the rankings are in `studies/leaderboard`. Their submissions are also arms of this study. Each of them is
tuned with five learning rates at the full budget, and its best setting runs on five fresh seeds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml

from harness.contract.base import Data
from harness.contract.record import Record, is_finished
from harness.planning.rulesets import ruleset
from harness.plugins.registry import Registry
from harness.scoring.multipliers import is_scored_or_tuning
from harness.scoring.selection import earliest_runs
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

    Only installed versions of workloads and rulesets are included, and only finished runs of the plans. As in the
    tables, the earliest run of each trial counts. If runs were made on several hardware classes, the class with the
    most runs is used.

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
    by_workload: dict[str, list[Record]] = {}
    for record in iter_records([results], problems):
        workload = record.spec.workload.facts.id
        if (plan := arms.get(workload)) is not None and _is_planned(record, plan):
            by_workload.setdefault(workload, []).append(record)
    return {
        workload: [figures_of_record(record) for record in _of_main_hardware(earliest_runs(records))]
        for workload, records in by_workload.items()
    }


def _is_planned(record: Record, plan: RankingPlan) -> bool:
    spec = record.spec
    return (
        spec.ruleset.id == ruleset(plan.ruleset).id
        and spec.root_seed == plan.seed
        and spec.purpose == "score"
        and spec.submission.name in plan.submissions
        and is_scored_or_tuning(record)
        and is_finished(record.status)
    )


def _of_main_hardware(records: Sequence[Record]) -> list[Record]:
    counts = Counter(record.spec.hardware for record in records)
    main = min(counts, key=lambda hardware: (-counts[hardware], hardware))
    return [record for record in records if record.spec.hardware == main]
