"""Runs the study with `harness.run_trials`: stage by stage, tuning first, then fresh seeds of the best settings."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import harness
from harness.contract.run import ExecutionOptions, RunSpec
from harness.plugins.registry import Registry
from harness.report.progress import LiveView, Plain
from studies.methods.design import Stage
from studies.methods.figures import RunFigures, RunKey, figures_of_record, key_of_spec
from studies.methods.plan import StudyPlan


class StudyRunner:
    """Runs what is not stored yet; records that exist under `runs` are kept, interrupted runs continue.

    Args:
        plan: makes the trials.
        stored: figures of runs that are not repeated.
        runs: the folder with one folder per trial.
        options: how many trials run at once, and whether failed ones are run again.
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
        self._figures = dict(stored)
        self._runs = runs
        self._options = options
        self._registry = registry

    def run(self, stages: Iterable[Stage]) -> list[RunFigures]:
        """Run the stages; the figures of all their runs.

        Raises:
            BenchError: as `harness.run_trials`.
        """
        figures = []
        for stage in stages:
            tuning = self.run_specs(self._plan.tuning_specs(stage))
            figures += [*tuning, *self.run_specs(self._plan.fresh_specs(stage, tuning))]
        return figures

    def run_specs(self, specs: Sequence[RunSpec]) -> list[RunFigures]:
        """The figures of these trials, in their order; those without stored figures are run."""
        missing = [spec for spec in specs if key_of_spec(spec) not in self._figures]
        view = LiveView(len(missing)) if sys.stderr.isatty() else Plain(len(missing))
        with view as watcher:
            for record in harness.run_trials(
                missing, self._runs, options=self._options, watcher=watcher, registry=self._registry
            ):
                figures = figures_of_record(record)
                self._figures[figures.key] = figures
        return [self._figures[key_of_spec(spec)] for spec in specs]
