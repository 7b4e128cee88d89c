"""One trial as data: rules, seeds, specification, counters and evaluations."""

from __future__ import annotations

from typing import Literal

from harness.contract.base import Data
from harness.contract.domains import HParams, Scalar
from harness.contract.part_kinds import PartKindName
from harness.contract.workload import WorkloadFacts

Clock = Literal["process", "wall"]
#: What a trial is for; seeds of different purposes never meet.
Purpose = Literal["score", "tuning", "target", "envelope"]


class Ruleset(Data, frozen=True, kw_only=True):
    """How trials are made and what counts, as data; stored whole in every record.

    Args:
        name, version: identity.
        summary: one line.
        trials: settings tried per study.
        studies: independent repetitions that are scored.
        tuning_studies: repetitions before those, on seeds of their own, from which something is chosen.
        budget_factor: multiplies the workload's budget.
        tuning: where the settings come from: `defaults` (the submission's own), `space` (drawn quasi-randomly
            from its search space) or `rates` (its defaults at learning rates a factor apart).
        hides: what a submission may not know, of `NEEDS` (`horizon` in `anytime`).
        stopping: when a run ends, beside the end of its budget, by the name of a `StoppingRule`: `first-hit` at the
            target; `share` at `stop_share` of the horizon, target or not; `chosen` at the point that the tuning
            studies chose; `drawn` at a budget drawn for each study.
        stop_share: for `share`, a multiple of 1 / (evaluations in the horizon); rounded to an evaluation.
        ranked: whether its tables rank.
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
    """Seeds of one trial, drawn from (root, workload, study, trial, role) and never from the submission's name."""

    model: int
    data: int
    submission: int
    replay: int


class PartRef(Data, frozen=True, kw_only=True):
    """A part as a run needs it."""

    kind: PartKindName
    name: str
    load: str


class SubmissionRef(Data, frozen=True, kw_only=True):
    """A submission as a run needs it: what to import and what it was."""

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
    """A workload as a run needs it: its facts, and what to import."""

    facts: WorkloadFacts
    load: str
    arguments: dict[str, Scalar] = {}
    distribution: str = ""


class RunSpec(Data, frozen=True, kw_only=True):
    """One trial, completely: what `plan` decides and the worker carries out.

    Args:
        workload, submission: what runs.
        hparams: every hyperparameter with its value.
        overridden: names of those set by hand; such a run explores and is never ranked.
        ruleset: the rules it runs under.
        purpose: `score` for what tables show; `tuning` for what settings and stops are chosen on; `target` for
            what targets are made of; `envelope` for the reference of `anytime`, which knows its horizon.
        study, trial: which repetition and which setting.
        seeds: every source of randomness.
        stop: examples drawn after which the run ends whatever its metrics, instead of at the target; a multiple
            of the workload's `eval_every`; on a stream every stage ends at the same share of its cap. None ends it
            at the first hit.
        prune: whether a hopeless run is ended early; never ranked.
        ranks: processes that share the run, each with a device of its own.
        device: `cpu`, `cuda`, `mps` …
        threads: intra-op threads.
        hardware: the hardware class.
        smoke: a few steps only; never ranked.
        profile: time is taken apart, which costs time; never ranked.
        deterministic: deterministic kernels on a GPU.
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
        """Which seconds are scored: a busy machine stretches wall seconds on a CPU several times over."""
        return "process" if self.device.partition(":")[0] == "cpu" else "wall"

    @property
    def seconds_allowed(self) -> float:
        """Scored seconds that the budget allows on this hardware class."""
        seconds = self.workload.facts.budget.seconds
        return seconds.get(self.hardware, seconds["default"])

    def allows(self, point: Point) -> bool:
        """Whether an evaluation lies within the budget of seconds and gradient-examples; a hit outside it is none."""
        cap = self.workload.facts.budget.gradient_examples
        return point.scored(self.clock) <= self.seconds_allowed and point.gradient_examples <= cap


class Counters(Data, frozen=True, kw_only=True):
    """What a run has consumed so far.

    Args:
        examples: fresh examples drawn.
        gradient_examples: examples × backward passes.
        forward_examples: examples × forward passes, the backward ones included.
        steps: updates.
        seconds: wall seconds on the clock.
        process_seconds: processor seconds on the clock, all threads.
    """

    examples: int = 0
    gradient_examples: int = 0
    forward_examples: int = 0
    steps: int = 0
    seconds: float = 0.0
    process_seconds: float = 0.0


class Point(Data, frozen=True, kw_only=True):
    """One evaluation: what had been consumed, and the metrics of the weights at that moment."""

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
        """Seconds as scored."""
        return self.process_seconds if clock == "process" else self.seconds

    @property
    def cost(self) -> int:
        """Examples as scored: the larger of drawn and gradient-examples."""
        return max(self.examples, self.gradient_examples)


class Job(Data, frozen=True, kw_only=True):
    """What a worker is told: the trial, the folder it may write to, and where data lies."""

    spec: RunSpec
    folder: str
    resume: bool = True


class ExecutionOptions(Data, frozen=True, kw_only=True):
    """How trials are to be carried out: what `bench run` passes to an executor beside the trials.

    Args:
        force: start every trial anew; what is there is kept under `superseded/`.
        retry_failed: start anew those that crashed, were rejected or ran out of memory or time.
        jobs: trials at once; as many as fit when None.
        in_process: run in this process, for a debugger.
        options: the executor's own, such as the address of a cluster.
    """

    force: bool = False
    retry_failed: bool = False
    jobs: int | None = None
    in_process: bool = False
    options: dict[str, str] = {}
