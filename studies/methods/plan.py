"""Plan the trials of the study: settings on the tuning seed, then the best settings on fresh seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from harness.contract import hyperparameters
from harness.contract.domains import Fixed, HParams
from harness.contract.entries import SubmissionEntry, WorkloadEntry
from harness.contract.run import Purpose, RunSpec
from harness.planning import sampling
from harness.planning.compose import compose
from harness.planning.phases import interleave
from harness.planning.trials import PlanSettings, plan_trials
from harness.plugins.registry import Registry
from harness.storage.layout import run_id
from studies.methods.design import Design, Stage
from studies.methods.figures import TUNED, RunFigures, choose_settings, select_arm


class StudyPlan:
    """Makes the specifications of the study's trials.

    Args:
        design: the design of the study.
        registry: the registry in which submissions and workloads are looked up.
        smoke: whether each trial runs only a few steps, to test the study. Such runs are not in the tables.
    """

    def __init__(self, design: Design, registry: Registry, *, smoke: bool = False) -> None:
        self._design = design
        self._registry = registry
        self._settings = PlanSettings(ruleset=design.ruleset, seed=design.root_seed, smoke=smoke)

    def tuning_specs(self, stage: Stage) -> Sequence[RunSpec]:
        """Return the trials of all arms' settings on the tuning seed.

        Arms alternate trial by trial, so that changes of the machine's state affect all arms.
        """
        return interleave([self.tuning_specs_of(stage, arm) for arm in stage.arms])

    def tuning_specs_of(self, stage: Stage, arm: str) -> Sequence[RunSpec]:
        """Return the trials of one arm's settings on the tuning seed; empty if the stage uses default settings."""
        if stage.settings == "defaults":
            return ()
        entry = self._registry.submission(arm)
        points = settings_to_try(entry, self._registry, stage, self._design)
        specs = self._plan(stage, entry, points, "tuning", 1)
        # All settings have the same seed, so that only the setting differs between them.
        return [msgspec.structs.replace(spec, seeds=specs[0].seeds) for spec in specs]

    def fresh_specs(self, stage: Stage, tuning: Iterable[RunFigures]) -> Sequence[RunSpec]:
        """Return the trials of all arms' best settings on fresh seeds, seed by seed.

        Args:
            stage: the stage.
            tuning: the figures of the runs of `tuning_specs`.
        """
        runs = list(tuning)
        specs = [spec for arm in stage.arms for spec in self.fresh_specs_of(stage, arm, select_arm(runs, arm))]
        return sorted(specs, key=lambda spec: spec.study)

    def fresh_specs_of(self, stage: Stage, arm: str, tuning: Sequence[RunFigures]) -> Sequence[RunSpec]:
        """Return one arm's trials on fresh seeds, with its best settings or, without tuning runs, its defaults."""
        entry, best = self._registry.submission(arm), choose_settings(tuning)
        settings = [_whole_setting(entry, stage, best[measure]) for measure in stage.measures] if best else [{}]
        specs = [spec for setting in settings for spec in self._plan(stage, entry, [setting], "score", stage.seeds)]
        # Both measures may choose the same setting, which is then run only once.
        return list({run_id(spec): spec for spec in specs}.values())

    def workload(self, stage: Stage) -> WorkloadEntry:
        """Return the stage's workload with the stage's `eval_every`."""
        workload = self._registry.workload(stage.workload)
        if stage.eval_every is None:
            return workload
        facts = msgspec.structs.replace(workload.facts, eval_every=stage.eval_every)
        arguments = {**workload.arguments, "eval_every": stage.eval_every}
        return msgspec.structs.replace(workload, facts=facts, arguments=arguments)

    def _plan(
        self, stage: Stage, entry: SubmissionEntry, points: Sequence[HParams], purpose: Purpose, studies: int
    ) -> Sequence[RunSpec]:
        studied = self._design.versions.get(stage.workload)
        if studied is not None:
            points = [{**point, "batch_size": studied.batch_size} for point in points]
        return plan_trials(
            self.workload(stage),
            entry,
            self._registry,
            self._settings,
            purpose=purpose,
            studies=studies,
            points=points,
            horizon=None if self._settings.smoke else self._design.budget(stage),
        )


def settings_to_try(entry: SubmissionEntry, registry: Registry, stage: Stage, design: Design) -> list[HParams]:
    """Return the settings that are tried for an arm on the tuning seed.

    - `rates`: learning rates around the arm's default, or the arm's own list of settings
    - `points`: points of the Halton sequence over the arm's learning rate and `horizon_fraction`

    Some arms have a second learning rate, `adam_lr`, for weights outside the hidden layers. The ratio of the two rates
    is that of their defaults.
    """
    space = compose(entry, registry).space
    default = float(hyperparameters.default(space["lr"]))
    points: list[HParams]
    if stage.settings == "rates":
        if entry.points:
            return list(entry.points)
        points = [{"lr": rate} for rate in sampling.learning_rates(default, design.rates)]
    else:
        tuned = {name: space[name] for name in TUNED if name in space and not isinstance(space[name], Fixed)}
        points = [dict(point) for point in islice(sampling.draw_points(tuned), design.ruleset.trials)]
    if "adam_lr" in space:
        ratio = float(hyperparameters.default(space["adam_lr"])) / default
        points = [{**point, "adam_lr": float(f"{float(point['lr']) * ratio:.6g}")} for point in points]
    return points


def _whole_setting(entry: SubmissionEntry, stage: Stage, run: RunFigures) -> HParams:
    """Return the complete setting of a tuning run.

    The run's figures contain only the learning rates and the horizon fraction. If the arm has its own list of settings,
    the setting is therefore looked up in this list.
    """
    return entry.points[run.trial] if stage.settings == "rates" and entry.points else run.hparams
