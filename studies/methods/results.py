"""The figures of runs, looked up by stage, arm and measure."""

from __future__ import annotations

from collections.abc import Iterable

from harness.plugins.registry import Registry
from studies.methods.design import Design, Measure, Stage
from studies.methods.figures import RunFigures, choose_settings, select_arm


class Results:
    """Figures by stage, arm and measure; those of another version of a workload belong to no stage.

    Args:
        design: what is compared.
        figures: of all runs.
        registry: where workloads are looked up.
    """

    def __init__(self, design: Design, figures: Iterable[RunFigures], registry: Registry) -> None:
        self.design = design
        self.figures = tuple(figures)
        self._facts = {stage.workload: registry.workload(stage.workload).facts for stage in design.stages}

    def best_setting(self, stage: Stage, arm: str, measure: Measure) -> RunFigures | None:
        """The tuning run of the setting that was chosen; None where nothing was tuned."""
        return choose_settings(self.tuning_runs(stage, arm)).get(measure)

    def tuning_runs(self, stage: Stage, arm: str) -> list[RunFigures]:
        """The runs of all settings that were tried."""
        return [run for run in self._runs(stage, arm) if run.purpose == "tuning"]

    def fresh_runs(self, stage: Stage, arm: str, measure: Measure) -> dict[int, RunFigures]:
        """Study to the run of the chosen setting, or of the defaults, on its seeds."""
        runs = [run for run in self._runs(stage, arm) if run.purpose == "score"]
        if stage.settings != "defaults":
            best = self.best_setting(stage, arm, measure)
            runs = [run for run in runs if best is not None and run.hparams == best.hparams]
        return {run.study: run for run in runs}

    def _runs(self, stage: Stage, arm: str) -> list[RunFigures]:
        facts = self._facts[stage.workload]
        place = facts.id, stage.budget or facts.budget.horizon
        return [run for run in select_arm(self.figures, arm) if (run.workload, run.budget) == place]
