"""The result of a calibration as data: tuned settings, target levels and stages."""

from __future__ import annotations

import msgspec

from harness.contract.base import Data
from harness.contract.domains import HParams
from harness.contract.workload import is_coarse


class TunedSetting(Data, frozen=True, kw_only=True):
    """A setting that was run on one or several tuning seeds.

    Args:
        submission: `name@version`.
        hparams: hyperparameters of the setting.
        value: best value of the primary metric; on a stream, the mean over stages of the best value in each stage. If
            there are several tuning seeds, the mean over them. None if a run broke down.
        examples: total number of examples drawn.
        run: run ID of the trial on the first seed.
    """

    submission: str
    hparams: HParams
    value: float | None
    examples: int
    run: str


class Level(Data, frozen=True, kw_only=True):
    """A target of a pool workload.

    Args:
        value: value of the target.
        examples: examples to the target, one number for each new seed of the anchor; None for a miss.
        seconds: scored seconds to the target, in the same order; None for a miss.
    """

    value: float
    examples: tuple[int | None, ...]
    seconds: tuple[float | None, ...]


class StageLevel(Data, frozen=True, kw_only=True):
    """The values of a stage of a stream.

    Args:
        name: name of the stage.
        value: value of the stage's target according to the calibration rule, without the tolerance factor.
        floors: metric with a floor -> value that 90 % of the new seeds meet at the end of the stream.
    """

    name: str
    value: float
    floors: dict[str, float] = msgspec.field(default_factory=dict)


class Calibration(Data, frozen=True, kw_only=True):
    """The runs and values from which a workload's targets are computed.

    Args:
        workload: `name@version` of the workload.
        hardware: hardware class of the runs.
        torch: version of torch.
        settings: all settings that were run on tuning seeds, best first.
        best: `name@version` of the best reference.
        anchor: `name@version` of the reference with which the anchored score compares all submissions; on a stream, the
            best reference.
        metric: name of the primary metric.
        goal: direction of the primary metric, `min` or `max`.
        horizon: budget in examples.
        levels: `easy`, `main` or `hard` -> target (pools only).
        stages: the target values of the stages according to the calibration rule (streams only).
        uncalibrated: names of the stages without a target value, because too few runs had an evaluation in them. The
            tolerance factor is then not searched (streams only).
        slack: tolerance factor by which the errors are multiplied to get the targets. `levels` contains the loosened
            values, `stages` the values without the factor. None if the factor has not been searched, or if no factor
            suffices.
        checks: run IDs of further runs on new seeds. On a stream, these runs have the loosened targets.
        resolution: fraction by which one standard error of the metric changes the examples to the target.
        evaluations: number of evaluations of a run, as the median over seeds. On a pool, the evaluations up to the hit
            are counted. On a stream, the evaluations after the minimum numbers of examples of the stages
            are counted.
        runs: run IDs of the anchor's and the best reference's runs on new seeds.
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
    uncalibrated: tuple[str, ...] = ()
    slack: float | None = None
    checks: tuple[str, ...] = ()
    resolution: float | None = None
    evaluations: float | None = None
    runs: tuple[str, ...] = ()

    @property
    def missing_factor(self) -> str:
        """The reason why there is no tolerance factor; empty if there is one."""
        if self.slack is not None:
            return ""
        if self.uncalibrated:
            return f"not searched, because too few seeds reached {', '.join(self.uncalibrated)}"
        return "no factor is large enough" if self.stages or self.checks else "not searched"

    @property
    def coarse(self) -> bool:
        """Whether the workload is left out of the anchored score."""
        return is_coarse(self.resolution, self.evaluations)
