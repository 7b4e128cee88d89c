"""Look up the figures of runs by stage, arm and measure."""

from __future__ import annotations

from collections.abc import Iterable

from harness.plugins.registry import Registry
from studies.methods.design import Design, Measure, Stage
from studies.methods.figures import RunFigures, choose_settings, select_arm


class Results:
    """The figures of runs by stage, arm and measure. Runs on another version of a workload are ignored.

    Args:
        design: the design of the study.
        figures: the figures of all runs.
        registry: the registry in which workloads are looked up.
    """

    def __init__(self, design: Design, figures: Iterable[RunFigures], registry: Registry) -> None:
        self.design = design
        self.figures = tuple(figures)
        self._facts = {stage.workload: registry.workload(stage.workload).facts for stage in design.stages}
        self._versions = {workload: self._find_version(workload) for workload in self._facts}

    def best_setting(self, stage: Stage, arm: str, measure: Measure) -> RunFigures | None:
        """Return the tuning run of the best setting by a measure, or None without tuning runs."""
        return choose_settings(self.tuning_runs(stage, arm)).get(measure)

    def tuning_runs(self, stage: Stage, arm: str) -> list[RunFigures]:
        """Return the runs on the tuning seed, one per setting."""
        return [run for run in self._runs(stage, arm) if run.purpose == "tuning"]

    def fresh_runs(self, stage: Stage, arm: str, measure: Measure) -> dict[int, RunFigures]:
        """Return study index (one per fresh seed) -> its run with the best setting by a measure.

        In an untuned stage, the runs have the default setting.
        """
        runs = [run for run in self._runs(stage, arm) if run.purpose == "score"]
        if stage.settings != "defaults":
            best = self.best_setting(stage, arm, measure)
            runs = [run for run in runs if best is not None and run.hparams == best.hparams]
        return {run.study: run for run in runs}

    def _runs(self, stage: Stage, arm: str) -> list[RunFigures]:
        facts = self._facts[stage.workload]
        key = self._versions[stage.workload], self.design.budget(stage) or facts.budget.horizon
        return [run for run in select_arm(self.figures, arm) if (run.workload, run.budget) == key]

    def _find_version(self, workload: str) -> str:
        """Return the `name@version` whose runs count: the studied version if it has runs, else the installed one."""
        studied = self.design.versions.get(workload)
        published = f"{workload}@{studied.version}" if studied else ""
        return published if any(run.workload == published for run in self.figures) else self._facts[workload].id
