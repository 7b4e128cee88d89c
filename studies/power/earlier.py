"""Compute rows of the power tables from the results of `studies.methods`, an earlier study.

On workloads with a pool, the earlier study ran all arms of this one. It tuned each of them with five settings of the
learning rate and the horizon fraction, on a separate seed. Its runs at both budgets have the same seeds.
"""

from __future__ import annotations

from collections.abc import Iterable

import studies.methods.design as methods
from harness.contract.power import OrderAgreement, PowerBudget, PowerCost, PowerRow
from harness.plugins.registry import Registry
from harness.scoring.final_metric import final_metric_name
from harness.scoring.power import PowerContext, PowerRun, compare_orders, power_row, power_table
from studies.methods.design import Stage
from studies.methods.figures import MEASURED, read_stored
from studies.methods.results import Results
from studies.power.design import PowerDesign
from studies.power.plan import PowerPlan
from studies.power.rows import PowerRows

#: The remark on every row.
NOTE = (
    "runs of docs/comparison.md, where each arm is tuned with five settings; the cost of a run is its wall seconds "
    "without the start of its process, while two runs share the machine"
)
#: The remark on the agreement of the orders. `studies.methods` has the same seeds at both budgets.
ORDER_NOTE = (
    "the two orders come from different seeds: the order at the gate budget from the first three seeds, and the order "
    "at the full budget from the last two"
)
#: Number of seeds for the order at the gate budget. The remaining seeds are for the order at the full budget.
_ORDER_SEEDS = 3


class EarlierRows:
    """Makes rows from the results of `studies.methods`.

    Args:
        design: the design of this study.
        plan: the plan of this study, which gives the arms and budgets.
        rows: the rows of this study, which give the envelope of each workload.
        registry: the registry in which workloads are looked up.
    """

    def __init__(self, design: PowerDesign, plan: PowerPlan, rows: PowerRows, registry: Registry) -> None:
        self._design = design
        self._plan = plan
        self._rows = rows
        self._registry = registry
        self._methods = methods.read_design()
        self._results = Results(self._methods, read_stored(MEASURED), registry)

    def all_rows(self) -> list[PowerRow]:
        """Return the rows of the budgets at which `studies.methods` ran the installed version of a workload."""
        rows = []
        for workload in self._design.workloads:
            stages = self._stages(workload)
            order = self._order(stages["gate"], stages["full"]) if len(stages) == 2 else None
            for budget, stage in stages.items():
                notes = (NOTE, ORDER_NOTE) if order and budget == "gate" else (NOTE,)
                context, envelope = self._context(stage, budget, notes), self._rows.envelope(workload, budget)
                rows.append(power_row(context, self._runs(stage), envelope, order if budget == "gate" else None))
        return rows

    def _stages(self, workload: str) -> dict[PowerBudget, Stage]:
        """Return budget of this study -> the stage of `studies.methods` that ran the main arms at this budget."""
        facts = self._registry.workload(workload).facts
        stages: dict[PowerBudget, Stage] = {}
        studied = self._methods.versions.get(workload)
        if studied is not None and studied.version != facts.version:
            return stages
        for stage in (*self._methods.full_stages, self._methods.small_stage):
            budget = stage.budget or facts.budget.horizon
            name: PowerBudget = "full" if budget == facts.budget.horizon else "gate"
            if stage.workload == workload and budget == self._plan.examples(workload, name) and self._runs(stage):
                stages[name] = stage
        return dict(sorted(stages.items(), key=lambda item: item[0] != "gate"))

    def _order(self, gate: Stage, full: Stage) -> OrderAgreement:
        gate_envelope = self._rows.envelope(gate.workload, "gate")
        full_envelope = self._rows.envelope(gate.workload, "full")
        gate_runs = [run for run in self._runs(gate) if run.seed < _ORDER_SEEDS]
        full_runs = [run for run in self._runs(full) if run.seed >= _ORDER_SEEDS]
        return compare_orders(
            power_table(self._context(gate, "gate"), gate_runs, gate_envelope).separation,
            power_table(self._context(full, "full"), full_runs, full_envelope).separation,
        )

    def _context(self, stage: Stage, budget: PowerBudget, notes: Iterable[str] = ()) -> PowerContext:
        facts = self._registry.workload(stage.workload).facts
        figures = [run for arm in stage.arms for run in self._results.fresh_runs(stage, arm, "loss").values()]
        return PowerContext(
            workload=facts.id,
            budget_name=budget,
            budget=self._plan.examples(stage.workload, budget),
            metric=final_metric_name(facts),
            goal=facts.targets[0].goal,
            arms=tuple(sorted(self._plan.arms(stage.workload))),
            seeds=self._design.ruleset.studies,
            hardware=", ".join(sorted({run.hardware for run in figures})),
            torch=", ".join(sorted({run.torch for run in figures})),
            notes=tuple(notes),
        )

    def _runs(self, stage: Stage) -> list[PowerRun]:
        return [
            PowerRun(
                arm=arm,
                seed=seed,
                metric=run.loss,
                hit=run.hit,
                cost=PowerCost(training=run.spent, evaluation=0.0, start=0.0, wall=run.spent),
            )
            for arm in self._plan.arms(stage.workload)
            for seed, run in self._results.fresh_runs(stage, arm, "loss").items()
        ]
