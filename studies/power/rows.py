"""Compute the published rows of the power tables from the results of runs. A row is one workload at one budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from harness.contract.power import OrderAgreement, PowerBudget, PowerFile, PowerRow
from harness.errors import UsageError
from harness.gating.envelopes import read_envelope
from harness.gating.setup import GateWorkload
from harness.plugins.registry import Registry
from harness.scoring.gate_envelope import GateEnvelope
from harness.scoring.power import PowerContext, PowerRun, PowerTable, compare_orders, power_row, power_table
from harness.system.files import read_struct
from studies.power.design import BUDGETS, PowerDesign
from studies.power.figures import PowerFigures, RunKey, best_trials
from studies.power.plan import PowerPlan

ROOT = Path(__file__).resolve().parents[2]
#: File of the published rows. It belongs to the package of the workloads.
PUBLISHED = ROOT / "workloads" / "power.json"
#: Folder of the reference's envelopes.
ENVELOPES = ROOT / "calibration" / "gate"


class PowerRows:
    """Makes the rows of this study.

    Args:
        design: the design of the study.
        plan: object with the arms (the compared submissions) and the budgets in examples.
        figures: the results of all runs.
        registry: the registry in which workloads are looked up.
        envelopes: folder of the envelopes.
    """

    def __init__(
        self,
        design: PowerDesign,
        plan: PowerPlan,
        figures: Mapping[RunKey, PowerFigures],
        registry: Registry,
        envelopes: Path = ENVELOPES,
    ) -> None:
        self._design = design
        self._plan = plan
        self._figures = figures
        self._registry = registry
        self._envelopes = envelopes

    def all_rows(self, problems: list[str]) -> list[PowerRow]:
        """Return the rows of all workloads and budgets with runs of all arms on at least two seeds.

        Args:
            problems: list to which a one-line message is appended for each workload and budget with too few runs.
        """
        rows = []
        for workload in self._design.workloads:
            for budget in BUDGETS:
                try:
                    rows.append(self.row(workload, budget))
                except UsageError as error:
                    problems.append(str(error))
        return rows

    def row(self, workload: str, budget: PowerBudget) -> PowerRow:
        """Return the row of a workload at a budget.

        Raises:
            UsageError: fewer than two seeds have a run of every arm, or fewer than two arms have a successful tuning
                run.
        """
        order = self._order(workload) if budget == "gate" else None
        return power_row(self._context(workload, budget), self._runs(workload, budget), self.envelope(workload), order)

    def _order(self, workload: str) -> OrderAgreement | None:
        """Return how well the orders of the arms at the two budgets agree; None if a budget has too few runs."""
        try:
            gate, full = (self._table(workload, budget) for budget in BUDGETS)
        except UsageError:
            return None
        return compare_orders(gate.separation, full.separation)

    def _table(self, workload: str, budget: PowerBudget) -> PowerTable:
        return power_table(self._context(workload, budget), self._runs(workload, budget), self.envelope(workload))

    def envelope(self, workload: str) -> GateEnvelope | None:
        """Return the envelope at the gate budget. It is also used for the metrics at the full budget."""
        entry, budget = self._registry.workload(workload), self._plan.examples(workload, "gate")
        return read_envelope(self._envelopes, GateWorkload(entry=entry, device="cpu", budget=budget))

    def _context(self, workload: str, budget: PowerBudget) -> PowerContext:
        facts = self._registry.workload(workload).facts
        best = best_trials(self._figures, facts.id)
        runs = self._selected(workload, budget)
        return PowerContext(
            workload=facts.id,
            budget_name=budget,
            budget=self._plan.examples(workload, budget),
            metric=facts.targets[0].metric,
            goal=facts.targets[0].goal,
            arms=tuple(sorted(self._plan.arms(workload))),
            broken=tuple(arm for arm, trial in best.items() if trial is None),
            seeds=len(self._design.study_indices(budget)),
            hardware=", ".join(sorted({run.hardware for run in runs})),
            torch=", ".join(sorted({run.torch for run in runs})),
        )

    def _runs(self, workload: str, budget: PowerBudget) -> list[PowerRun]:
        return [
            PowerRun(arm=run.arm, seed=run.study, metric=run.metric, hit=run.hit, cost=run.cost)
            for run in self._selected(workload, budget)
        ]

    def _selected(self, workload: str, budget: PowerBudget) -> list[PowerFigures]:
        """Return the runs on fresh seeds with each arm's best learning rate."""
        facts, arms = self._registry.workload(workload).facts, self._plan.arms(workload)
        key = facts.id, self._plan.examples(workload, budget), "score"
        best = best_trials(self._figures, facts.id)
        rates = {
            run.arm: run.lr
            for run in self._figures.values()
            if run.workload == facts.id and run.purpose == "tuning" and run.trial == best.get(run.arm)
        }
        return [
            run
            for run in self._figures.values()
            if (run.workload, run.budget, run.purpose) == key
            and run.study in self._design.study_indices(budget)
            and run.arm in arms
            and rates.get(run.arm) == run.lr
        ]


def merge_rows(rows: Iterable[PowerRow], others: Iterable[PowerRow]) -> list[PowerRow]:
    """Return the rows of both lists, sorted by workload and budget.

    If both lists have a row of the same workload (`name@version`) and budget, the row with more seeds is kept. With
    equal numbers of seeds, the row in `rows` is kept.
    """
    merged: dict[tuple[str, str], PowerRow] = {}
    for row in (*others, *rows):
        key = row.workload, row.budget_name
        if key not in merged or row.seeds >= merged[key].seeds:
            merged[key] = row
    return [merged[key] for key in sorted(merged, key=lambda key: (key[0], key[1] != "gate"))]


def drop_superseded(rows: Iterable[PowerRow], registry: Registry) -> list[PowerRow]:
    """Return the rows without those of earlier versions for which there is a row of the installed version.

    A row of an earlier version is kept as long as the installed version has no row at the same budget (gate or full).
    """
    listed = list(rows)
    names = {row.workload: row.workload.partition("@")[0] for row in listed}
    installed = {row.workload for row in listed if registry.workload(names[row.workload]).facts.id == row.workload}
    replaced = {(names[row.workload], row.budget_name) for row in listed if row.workload in installed}
    return [r for r in listed if r.workload in installed or (names[r.workload], r.budget_name) not in replaced]


def published_rows(path: Path = PUBLISHED) -> tuple[PowerRow, ...]:
    """Return the rows in the file of published rows; empty if there is no file."""
    return read_struct(path, PowerFile).rows if path.exists() else ()


def encode_rows(rows: Iterable[PowerRow]) -> bytes:
    """Return the content of the file of published rows."""
    payload = msgspec.json.encode(PowerFile(rows=tuple(rows)), order="deterministic")
    return msgspec.json.format(payload, indent=1) + b"\n"
