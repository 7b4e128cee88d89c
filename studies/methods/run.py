"""Run the study with `harness.run_trials`, stage by stage: first tuning, then the best settings on fresh seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.contract.record import is_retryable
from harness.contract.run import ExecutionOptions, RunSpec
from harness.plugins.registry import Registry
from studies.methods.design import Stage
from studies.methods.figures import RunFigures, RunKey, figures_of_record, key_of_spec
from studies.methods.plan import StudyPlan
from studies.trials import run_visibly


class StudyRunner:
    """Runs the trials that have no stored figures. Finished trials are kept, and interrupted trials are resumed.

    Args:
        plan: object that makes the trials.
        stored: figures of finished runs, by key. With the option `retry_failed`, those of failed runs are ignored.
        runs: folder with one subfolder per trial.
        options: number of trials that run at once, and whether failed trials are run again.
        registry: the plugins.
    """

    def __init__(
        self,
        plan: StudyPlan,
        stored: Mapping[RunKey, RunFigures],
        runs: Path,
        options: ExecutionOptions,
        registry: Registry,
    ) -> None:
        self._plan = plan
        self._figures = {
            key: run for key, run in stored.items() if not (options.retry_failed and is_retryable(run.status))
        }
        self._runs = runs
        self._options = options
        self._registry = registry

    def run(self, stages: Iterable[Stage]) -> list[RunFigures]:
        """Run the stages and return the figures of all their runs.

        Raises:
            BenchError: see `harness.run_trials`.
        """
        figures = []
        for stage in stages:
            tuning = self.run_specs(self._plan.tuning_specs(stage))
            figures += [*tuning, *self.run_specs(self._plan.fresh_specs(stage, tuning))]
        return figures

    def run_specs(self, specs: Sequence[RunSpec]) -> list[RunFigures]:
        """Run the trials that have no figures yet. Return the figures of all trials in the order of `specs`."""
        missing = [spec for spec in specs if key_of_spec(spec) not in self._figures]
        for record in run_visibly(missing, self._runs, self._options, self._registry):
            figures = figures_of_record(record)
            self._figures[figures.key] = figures
        return [self._figures[key_of_spec(spec)] for spec in specs]
