"""Plan the trials of the study: all learning rates on the tuning seed, then the best ones on fresh seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from harness.contract import hyperparameters
from harness.contract.domains import HParams
from harness.contract.entries import WorkloadEntry
from harness.contract.power import PowerBudget
from harness.contract.run import Purpose, RunSpec
from harness.gating.setup import gate_budget
from harness.planning import compose, sampling
from harness.planning.phases import interleave
from harness.planning.resolve import resolve_submission
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import Registry
from studies.power.design import PowerDesign


class PowerPlan:
    """Makes the specifications of the study's trials.

    Args:
        design: the design of the study.
        registry: the registry in which submissions and workloads are looked up.
    """

    def __init__(self, design: PowerDesign, registry: Registry) -> None:
        self._design = design
        self._registry = registry
        self._settings = PlanSettings(ruleset=design.ruleset, seed=design.root_seed)

    def arms(self, workload: str) -> Sequence[str]:
        """Return the names of the arms (the compared submissions) on a workload."""
        return self._design.arms[self._registry.workload(workload).facts.access]

    def examples(self, workload: str, budget: PowerBudget) -> int:
        """Return a budget of a workload in examples."""
        facts = self._registry.workload(workload).facts
        return gate_budget(facts) if budget == "gate" else facts.budget.horizon

    def tuning_specs(self, workload: str) -> Sequence[RunSpec]:
        """Return the trials of all arms' learning rates on the tuning seed, at the gate budget.

        Arms alternate trial by trial, so that changes of the machine's state affect all arms.
        """
        entry = self._registry.workload(workload)
        return interleave([self._tuning_specs_of(entry, arm) for arm in self.arms(workload)])

    def _tuning_specs_of(self, workload: WorkloadEntry, arm: str) -> Sequence[RunSpec]:
        horizon = self.examples(workload.name, "gate")
        specs = self._plan(workload, arm, self._settings_to_try(arm), "tuning", range(1), horizon)
        # All settings have the same seed, so that only the setting differs between them.
        return [msgspec.structs.replace(spec, seeds=specs[0].seeds) for spec in specs]

    def fresh_specs(self, workload: str, budget: PowerBudget, trials: Mapping[str, int | None]) -> Sequence[RunSpec]:
        """Return the trials of all arms' best settings on fresh seeds, ordered by seed.

        Args:
            workload: name of the workload.
            budget: name of the budget.
            trials: arm -> index of the tuning trial whose setting runs; None for an arm that does not run.
        """
        entry, studies = self._registry.workload(workload), self._design.study_indices(budget)
        horizon = self.examples(workload, budget)
        specs = [
            spec
            for arm, trial in trials.items()
            if trial is not None
            for spec in self._plan(entry, arm, [self._settings_to_try(arm)[trial]], "score", studies, horizon)
        ]
        return sorted(specs, key=lambda spec: spec.study)

    def _settings_to_try(self, arm: str) -> list[HParams]:
        """Return the settings of an arm: learning rates around its default, with a schedule that ends at the horizon.

        Some arms have a second learning rate, `adam_lr`, for weights outside the hidden layers. The ratio of the two
        rates is that of their defaults.
        """
        space = compose.compose(resolve_submission(arm, self._registry), self._registry).space
        default = float(hyperparameters.default(space["lr"]))
        points: list[HParams] = []
        for rate in sampling.learning_rates(default, self._design.ruleset.trials):
            point: dict[str, float] = {"lr": rate}
            if "adam_lr" in space:
                point["adam_lr"] = float(f"{rate * float(hyperparameters.default(space['adam_lr'])) / default:.6g}")
            if "horizon_fraction" in space:
                point["horizon_fraction"] = 1.0
            points.append(dict(point))
        return points

    def _plan(
        self,
        workload: WorkloadEntry,
        arm: str,
        points: Sequence[HParams],
        purpose: Purpose,
        studies: range,
        horizon: int,
    ) -> Sequence[RunSpec]:
        return plan_trials(
            workload,
            resolve_submission(arm, self._registry),
            self._registry,
            self._settings,
            purpose=purpose,
            studies=len(studies),
            first_study=studies.start,
            points=points,
            horizon=horizon,
        )
