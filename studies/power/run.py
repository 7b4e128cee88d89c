"""Run the study with `harness.run_trials`: tune on a workload, then run the best settings on fresh seeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.contract.power import PowerBudget
from harness.contract.record import is_retryable
from harness.contract.run import ExecutionOptions, RunSpec
from harness.plugins.registry import Registry
from studies.power.figures import PowerFigures, RunKey, best_trials, figures_of_record, key_of_spec
from studies.power.plan import PowerPlan
from studies.trials import run_visibly


class PowerRunner:
    """Runs the trials that have no figures. Finished trials are kept, and interrupted trials are resumed.

    Args:
        plan: object that makes the trials.
        figures: figures of finished runs, by key. With the option `retry_failed`, those of failed runs are ignored.
        runs: folder with one subfolder per trial.
        options: number of trials that run at once, and whether failed trials are run again.
        registry: the plugins.
    """

    def __init__(
        self,
        plan: PowerPlan,
        figures: Mapping[RunKey, PowerFigures],
        runs: Path,
        options: ExecutionOptions,
        registry: Registry,
    ) -> None:
        self._plan = plan
        self.figures = {
            key: run for key, run in figures.items() if not (options.retry_failed and is_retryable(run.status))
        }
        self._runs = runs
        self._options = options
        self._registry = registry

    def run(self, workloads: Iterable[str], budgets: Iterable[PowerBudget]) -> None:
        """Tune on each workload, then run the best settings at each of its budgets.

        Raises:
            BenchError: see `harness.run_trials`.
        """
        budgets = tuple(budgets)
        for workload in workloads:
            self._run_missing(self._plan.tuning_specs(workload))
            trials = best_trials(self.figures, self._registry.workload(workload).facts.id)
            for budget in budgets:
                self._run_missing(self._plan.fresh_specs(workload, budget, trials))

    def missing_lines(self, workload: str, budgets: Iterable[PowerBudget]) -> Iterator[str]:
        """Yield a line with the number of missing runs for the tuning, and for each budget."""
        facts = self._registry.workload(workload).facts
        tuning = self._plan.tuning_specs(workload)
        yield f"{facts.id}: tuning: {len(self._missing(tuning))} of {len(tuning)} runs are missing"
        trials: dict[str, int | None] = dict.fromkeys(self._plan.arms(workload), 0)
        trials |= best_trials(self.figures, facts.id)
        for budget in budgets:
            specs = self._plan.fresh_specs(workload, budget, trials)
            examples = self._plan.examples(workload, budget)
            missing = len(self._missing(specs))
            yield f"{facts.id}: {budget}, {examples:,} examples: {missing} of {len(specs)} runs are missing"

    def _missing(self, specs: Sequence[RunSpec]) -> list[RunSpec]:
        return [spec for spec in specs if key_of_spec(spec) not in self.figures]

    def _run_missing(self, specs: Sequence[RunSpec]) -> None:
        missing = self._missing(specs)
        for record in run_visibly(missing, self._runs, self._options, self._registry):
            figures = figures_of_record(record)
            self.figures[figures.key] = figures
