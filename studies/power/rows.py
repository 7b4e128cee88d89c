"""Compute the published rows of the power tables from the results of runs. A row is one workload at one budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from harness.contract.power import OrderAgreement, PowerBudget, PowerFile, PowerRow
from harness.errors import UsageError
from harness.gating.envelopes import read_envelope
from harness.gating.setup import GateWorkload
from harness.plugins.registry import Registry
from harness.scoring.final_metric import final_metric_name
from harness.scoring.gate_envelope import GateEnvelope, from_calibration
from harness.scoring.power import PowerContext, PowerRun, PowerTable, compare_orders, power_row, power_table
from harness.storage.envelopes import ENVELOPES_FOLDER, read_envelopes
from harness.system.files import read_struct
from studies.power.design import BUDGETS, PowerDesign
from studies.power.figures import PowerFigures, RunKey, best_trials
from studies.power.plan import PowerPlan

ROOT = Path(__file__).resolve().parents[2]
#: File of the published rows. It belongs to the package of the workloads.
PUBLISHED = ROOT / "workloads" / "power.json"
#: Folder of the reference's envelopes at the gate budgets, and at the full budgets.
GATE_ENVELOPES, FULL_ENVELOPES = ROOT / "calibration" / "gate", ROOT / ENVELOPES_FOLDER
#: The remarks on a row at the full budget whose runs are those of a ranking, and on the row at the gate budget.
RANKING_NOTE = "runs of the ranking in results/LEADERBOARD.md"
RANKING_ORDER_NOTE = "the order at the full budget is that of the ranking in results/LEADERBOARD.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """The runs of a workload at one budget on fresh seeds, each with the best learning rate of its arm.

    Args:
        figures: the results of the runs.
        arms: names of all arms.
        broken: arms without runs, because all of their settings broke in the tuning.
        seeds: number of seeds in the design.
        is_ranking: whether the runs are those of a ranking.
    """

    figures: Sequence[PowerFigures]
    arms: tuple[str, ...]
    broken: tuple[str, ...]
    seeds: int
    is_ranking: bool = False

    def count_complete_seeds(self) -> int:
        """Return the number of seeds with a run of every arm that is not broken."""
        seeds = [{run.study for run in self.figures if run.arm == arm} for arm in self.arms if arm not in self.broken]
        return len(set.intersection(*seeds)) if seeds else 0


class PowerRows:
    """Makes the rows of this study.

    Args:
        design: the design of the study.
        plan: object with the arms (the compared submissions) and the budgets in examples.
        figures: the results of all runs.
        registry: the registry in which workloads are looked up.
        rankings: `name@version` of a workload -> the results of the runs of its ranking. They are used at the full
            budget if they have more seeds than the runs in `figures`.
        gate_envelopes: folder of the envelopes at the gate budgets.
        full_envelopes: folder of the envelopes at the full budgets.
    """

    def __init__(
        self,
        design: PowerDesign,
        plan: PowerPlan,
        figures: Mapping[RunKey, PowerFigures],
        registry: Registry,
        rankings: Mapping[str, Sequence[PowerFigures]] | None = None,
        gate_envelopes: Path = GATE_ENVELOPES,
        full_envelopes: Path = FULL_ENVELOPES,
    ) -> None:
        self._design = design
        self._plan = plan
        self._figures = figures
        self._registry = registry
        self._rankings = rankings or {}
        self._gate_envelopes = gate_envelopes
        self._full_envelopes = read_envelopes(full_envelopes)

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
        runs = self._runs(workload, budget)
        notes = [f"{RANKING_NOTE}, with {len(runs.arms)} arms, each tuned at this budget"] if runs.is_ranking else []
        if order is not None and (full := self._runs(workload, "full")).is_ranking:
            notes.append(f"{RANKING_ORDER_NOTE}, with {len(full.arms)} arms")
        context = self._context(workload, budget, notes)
        return power_row(context, _model_runs(runs), self.envelope(workload, budget), order)

    def _order(self, workload: str) -> OrderAgreement | None:
        """Return how well the orders of the arms at the two budgets agree; None if a budget has too few runs."""
        try:
            gate, full = (self._table(workload, budget) for budget in BUDGETS)
        except UsageError:
            return None
        return compare_orders(gate.separation, full.separation)

    def _table(self, workload: str, budget: PowerBudget) -> PowerTable:
        runs = _model_runs(self._runs(workload, budget))
        return power_table(self._context(workload, budget), runs, self.envelope(workload, budget))

    def envelope(self, workload: str, budget: PowerBudget) -> GateEnvelope | None:
        """Return the envelope that converts the metrics at a budget; None if there is none.

        The envelope of the full budget has more seeds and horizons than that of the gate budget. It is also used at the
        gate budget if both budgets are equal. A workload without an envelope of its full budget has that of its gate
        budget at both budgets.
        """
        entry, examples = self._registry.workload(workload), self._plan.examples(workload, "gate")
        full = self._full_envelopes.get(entry.facts.id)
        if full is not None and full.budget == self._plan.examples(workload, budget):
            return from_calibration(full)
        return read_envelope(self._gate_envelopes, GateWorkload(entry=entry, device="cpu", budget=examples))

    def _context(self, workload: str, budget: PowerBudget, notes: Sequence[str] = ()) -> PowerContext:
        facts, runs = self._registry.workload(workload).facts, self._runs(workload, budget)
        return PowerContext(
            workload=facts.id,
            budget_name=budget,
            budget=self._plan.examples(workload, budget),
            metric=final_metric_name(facts),
            goal=facts.targets[0].goal,
            arms=runs.arms,
            broken=runs.broken,
            seeds=runs.seeds,
            hardware=", ".join(sorted({run.hardware for run in runs.figures})),
            torch=", ".join(sorted({run.torch for run in runs.figures})),
            notes=tuple(notes),
        )

    def _runs(self, workload: str, budget: PowerBudget) -> _Runs:
        """Return the runs of this study or, at the full budget, those of the ranking if they have more seeds."""
        own, ranking = self._own_runs(workload, budget), self._ranking_runs(workload)
        has_more = ranking.count_complete_seeds() > own.count_complete_seeds()
        return ranking if budget == "full" and has_more else own

    def _ranking_runs(self, workload: str) -> _Runs:
        figures = self._rankings.get(self._registry.workload(workload).facts.id, ())
        seeds = len({run.study for run in figures})
        return _Runs(
            figures=figures, arms=tuple(sorted({run.arm for run in figures})), broken=(), seeds=seeds, is_ranking=True
        )

    def _own_runs(self, workload: str, budget: PowerBudget) -> _Runs:
        facts, arms = self._registry.workload(workload).facts, self._plan.arms(workload)
        best = best_trials(self._figures, facts.id)
        rates = {
            run.arm: run.lr
            for run in self._figures.values()
            if run.workload == facts.id and run.purpose == "tuning" and run.trial == best.get(run.arm)
        }
        key = facts.id, self._plan.examples(workload, budget), "score"
        figures = [
            run
            for run in self._figures.values()
            if (run.workload, run.budget, run.purpose) == key
            and run.study in self._design.study_indices(budget)
            and run.arm in arms
            and rates.get(run.arm) == run.lr
        ]
        return _Runs(
            figures=figures,
            arms=tuple(sorted(arms)),
            broken=tuple(arm for arm, trial in best.items() if trial is None),
            seeds=len(self._design.study_indices(budget)),
        )


def _model_runs(runs: _Runs) -> list[PowerRun]:
    return [
        PowerRun(arm=run.arm, seed=run.study, metric=run.metric, hit=run.hit, cost=run.cost) for run in runs.figures
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


def drop_archived_rankings(rows: Iterable[PowerRow], ranked: Iterable[str]) -> list[PowerRow]:
    """Return the rows without the results of rankings whose records are no longer published.

    A row at the full budget is left out if its runs are those of such a ranking. A row at the gate budget is kept, but
    without the agreement with the order of such a ranking.

    Args:
        rows: the published rows.
        ranked: `name@version` of the workloads with a published ranking.
    """
    ranked, kept = set(ranked), []
    for row in rows:
        is_archived = row.workload not in ranked
        if is_archived and any(note.startswith(RANKING_NOTE) for note in row.notes):
            continue
        if is_archived and any(note.startswith(RANKING_ORDER_NOTE) for note in row.notes):
            notes = tuple(note for note in row.notes if not note.startswith(RANKING_ORDER_NOTE))
            row = msgspec.structs.replace(row, agreement=None, notes=notes)
        kept.append(row)
    return kept


def drop_superseded(rows: Iterable[PowerRow], registry: Registry) -> list[PowerRow]:
    """Return the rows without those of earlier versions for which there is a row of the installed version.

    A row of an earlier version is kept as long as the installed version has no row at the same budget (gate or full).
    """
    listed = list(rows)
    names = {row.workload: row.workload.partition("@")[0] for row in listed}
    installed = {row.workload for row in listed if registry.workload(names[row.workload]).facts.id == row.workload}
    replaced = {(names[row.workload], row.budget_name) for row in listed if row.workload in installed}
    return [r for r in listed if r.workload in installed or (names[r.workload], r.budget_name) not in replaced]


def renew_rows(
    rows: Iterable[PowerRow], ranked: Iterable[str], registry: Registry, path: Path = PUBLISHED
) -> list[PowerRow]:
    """Return the new content of the file of published rows.

    The runs of some published rows are not in this repository, so they cannot be computed again. They are kept unless
    there are better rows, or they depend on a ranking whose records are no longer published.

    Args:
        rows: the rows that were computed from runs.
        ranked: `name@version` of the workloads with a published ranking.
        registry: the registry in which workloads are looked up.
        path: file of the published rows.
    """
    return drop_superseded(merge_rows(rows, drop_archived_rankings(published_rows(path), ranked)), registry)


def published_rows(path: Path = PUBLISHED) -> tuple[PowerRow, ...]:
    """Return the rows in the file of published rows; empty if there is no file."""
    return read_struct(path, PowerFile).rows if path.exists() else ()


def encode_rows(rows: Iterable[PowerRow]) -> bytes:
    """Return the content of the file of published rows."""
    payload = msgspec.json.encode(PowerFile(rows=tuple(rows)), order="deterministic")
    return msgspec.json.format(payload, indent=1) + b"\n"
