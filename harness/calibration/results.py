"""What a calibration found, as data: tuned settings, levels, stages."""

from __future__ import annotations

import msgspec

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.contract.workload import is_coarse


class TunedSetting(Data, frozen=True, kw_only=True):
    """A setting that was tried on the tuning seed.

    Args:
        submission: `name@version`.
        hparams: its hyperparameters.
        value: the best value of the primary metric within the share of the budget (on a stream: the mean over the
            stages of the best value in each); None where the run broke.
        examples: drawn in all.
        run: its run_id.
    """

    submission: str
    hparams: HParams
    value: float | None
    examples: int
    run: str


class Level(Data, frozen=True, kw_only=True):
    """A target's value, and examples and scored seconds of each of the anchor's fresh seeds to it; None for a miss."""

    value: float
    examples: tuple[int | None, ...]
    seconds: tuple[float | None, ...]


class StageLevel(Data, frozen=True, kw_only=True):
    """A stage's value by the rule, and for each task's metric the final value that 90 % of the seeds meet."""

    name: str
    value: float
    floors: dict[str, float] = msgspec.field(default_factory=dict)


class Calibration(Data, frozen=True, kw_only=True):
    """The runs and values that a workload's targets come from.

    Args:
        workload: `name@version` that the runs were of.
        hardware: their hardware class.
        torch: the version of torch.
        settings: all settings tried on the tuning seed, best first.
        best, anchor: `name@version` of the best reference and of the one that anchors the scores.
        metric, goal: of the target (pools).
        horizon: the budget in examples.
        levels: `easy`, `main`, `hard` (pools).
        stages: the values of the rule for each stage (streams).
        slack: the tolerance factor: the errors of the stages are multiplied by it to make targets; None before it was
            searched, or where not even the largest holds.
        checks: run_ids of the fresh seeds that went through the stream at those targets.
        resolution: one standard error of the score metric as a share of the examples to the target.
        evaluations: evaluations before the hit, the median over seeds; on a stream those at which a stage could have
            ended.
        runs: run_ids of the fresh seeds of both.
    """

    schema: int = 1
    workload: str
    hardware: str
    torch: str
    settings: tuple[TunedSetting, ...]
    best: str
    anchor: str
    metric: str = ""
    goal: str = ""
    horizon: int
    levels: dict[str, Level] = msgspec.field(default_factory=dict)
    stages: tuple[StageLevel, ...] = ()
    slack: float | None = None
    checks: tuple[str, ...] = ()
    resolution: float | None = None
    evaluations: float | None = None
    runs: tuple[str, ...] = ()

    @property
    def coarse(self) -> bool:
        """Whether the workload stays outside the anchored mean."""
        return is_coarse(self.resolution, self.evaluations)
