"""One trial as data: ruleset, seeds, specification, counters and evaluations."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.domains import HParams, Scalar
from harness.contract.part_kinds import PartKindName
from harness.contract.workload import WorkloadFacts

Clock = Literal["process", "wall"]
#: What a trial is for. Trials of different purposes never share a seed.
Purpose = Literal["score", "tuning", "target", "envelope"]


class Ruleset(Data, frozen=True, kw_only=True):
    """The rules under which trials are planned, stopped and ranked; stored whole in every record.

    Args:
        name, version: identity.
        summary: one line.
        trials: settings tried per study.
        studies: independent repetitions that are scored.
        tuning_studies: repetitions before those, on seeds of their own, on which a setting or a stop is chosen.
        budget_factor: factor on the workload's budget.
        tuning: where the settings come from: `defaults` (the submission's defaults), `space` (drawn quasi-randomly
            from its search space) or `rates` (its defaults at learning rates a constant factor apart).
        hides: the needs of `NEEDS` that are not met (`horizon` in `anytime`).
        stopping: when a run ends, beside the end of its budget, by the name of a `StoppingRule`: `first-hit` at the
            target; `share` at `stop_share` of the horizon, target or not; `chosen` at the point that the tuning
            studies chose; `drawn` at a budget drawn for each study.
        stop_share: for `share`, a multiple of 1 / (evaluations in the horizon); rounded to an evaluation.
        ranked: whether tables of its runs rank submissions.
    """

    name: str
    version: str
    summary: str
    trials: int
    studies: int
    tuning_studies: int = 0
    budget_factor: float = 1.0
    tuning: Literal["defaults", "space", "rates"] = "defaults"
    hides: frozenset[str] = frozenset()
    stopping: str = "first-hit"
    stop_share: float = 1.0
    ranked: bool = False


class Seeds(Data, frozen=True, kw_only=True):
    """The seeds of one trial, derived from (root, workload, study, trial, role), never from the submission's name."""

    model: int
    data: int
    submission: int
    replay: int


class PartRef(Data, frozen=True, kw_only=True):
    """A part of a submission in a run: what to import."""

    kind: PartKindName
    name: str
    load: str


class SubmissionRef(Data, frozen=True, kw_only=True):
    """A submission in a run: what to import, and the hash of its source when the run was planned."""

    name: str
    version: str
    load: str | None = None
    parts: tuple[PartRef, ...] = ()
    needs: frozenset[str] = frozenset()
    model_options: HParams = {}
    distribution: str = ""
    source_hash: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"


class WorkloadRef(Data, frozen=True, kw_only=True):
    """A workload in a run: its facts and what to import."""

    facts: WorkloadFacts
    load: str
    arguments: dict[str, Scalar] = {}
    distribution: str = ""


class RunSpec(Data, frozen=True, kw_only=True):
    """The complete specification of one trial: what planning decides and the worker executes.

    Args:
        workload, submission: what runs.
        hparams: every hyperparameter with its value.
        overridden: names of the hyperparameters that the user overrode; such a run is never ranked.
        ruleset: the rules it runs under.
        purpose: `score` for runs that tables show; `tuning` for runs on which settings and stops are chosen; `target`
            for runs from which targets are calculated; `envelope` for the reference of `anytime`, which knows its
            horizon.
        study: index of the repetition.
        trial: index of the setting within the study.
        seeds: the seed of every source of randomness.
        stop: examples drawn after which the run ends whatever its metrics; a multiple of the workload's `eval_every`.
            On a stream every stage ends at the same share of its cap. None ends the run at the first hit.
        prune: whether a run that cannot reach the target any more is ended early; never ranked.
        ranks: processes that share the run, each with a device of its own.
        device: `cpu`, `cuda`, `mps` …
        threads: intra-op threads.
        hardware: the hardware class.
        smoke: whether the run has a few steps only; never ranked.
        profile: whether seconds are measured by phase, which itself takes time; never ranked.
        deterministic: whether a GPU uses deterministic kernels.
    """

    workload: WorkloadRef
    submission: SubmissionRef
    hparams: HParams
    overridden: tuple[str, ...] = ()
    ruleset: Ruleset
    purpose: Purpose = "score"
    study: int
    trial: int
    root_seed: int
    seeds: Seeds
    stop: int | None = None
    prune: bool = False
    ranks: int = 1
    device: str = "cpu"
    threads: int = 1
    hardware: str
    smoke: bool = False
    profile: bool = False
    deterministic: bool = False

    @property
    def clock(self) -> Clock:
        """The seconds that are scored: on a CPU processor seconds, since other load may multiply wall seconds."""
        return "process" if self.device.partition(":")[0] == "cpu" else "wall"

    @property
    def seconds_allowed(self) -> float:
        """The scored seconds that the budget allows on this hardware class."""
        seconds = self.workload.facts.budget.seconds
        return seconds.get(self.hardware, seconds["default"])

    def allows(self, point: Point) -> bool:
        """Whether an evaluation is within the budget of seconds and gradient-examples; a later hit does not count."""
        cap = self.workload.facts.budget.gradient_examples
        return point.scored(self.clock) <= self.seconds_allowed and point.gradient_examples <= cap


class Counters(Data, frozen=True, kw_only=True):
    """The totals of a run so far.

    Args:
        examples: fresh examples drawn.
        gradient_examples: examples × backward passes.
        forward_examples: examples × forward passes, those with a backward pass included.
        steps: updates.
        seconds: wall seconds on the clock.
        process_seconds: processor seconds on the clock, summed over threads.
    """

    examples: int = 0
    gradient_examples: int = 0
    forward_examples: int = 0
    steps: int = 0
    seconds: float = 0.0
    process_seconds: float = 0.0


class Point(Data, frozen=True, kw_only=True):
    """One evaluation: the totals of the run, and the metrics of the weights at that moment."""

    examples: int
    gradient_examples: int
    steps: int
    seconds: float
    process_seconds: float
    metrics: dict[str, float]
    lr: float | None = None
    train_loss: float | None = None
    stage: int = 0

    def scored(self, clock: Clock) -> float:
        """The seconds that are scored."""
        return self.process_seconds if clock == "process" else self.seconds

    @property
    def cost(self) -> int:
        """The examples that are scored: the larger of examples drawn and gradient-examples."""
        return max(self.examples, self.gradient_examples)


class Job(Data, frozen=True, kw_only=True):
    """The job of a worker: the trial, the folder that it may write to, and whether to resume from a checkpoint."""

    spec: RunSpec
    folder: str
    resume: bool = True


class ExecutionOptions(Data, frozen=True, kw_only=True):
    """How to execute trials: what `bench run` passes to an executor in addition to the trials.

    Args:
        force: run every trial again from the start; earlier runs are moved to `superseded/`.
        retry_failed: run again the trials that crashed, were rejected or ran out of memory or time.
        jobs: trials at once; as many as fit when None.
        in_process: run trials in this process, for a debugger.
        options: options of the executor, such as the address of a cluster.
    """

    force: bool = False
    retry_failed: bool = False
    jobs: int | None = None
    in_process: bool = False
    options: dict[str, str] = {}
