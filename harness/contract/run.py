"""The data types of a trial: seeds, specification, counters and evaluations."""

from __future__ import annotations

from typing import Final, Literal

from harness.contract.base import Count, Data, Integer64, PositiveCount, Version
from harness.contract.domains import HParams, Scalar
from harness.contract.held_out import HeldOutSeeds
from harness.contract.limits import check_integers
from harness.contract.part_kinds import PartKindName
from harness.contract.prepared import PreparedData
from harness.contract.ruleset import Ruleset
from harness.contract.sandbox import SandboxRequest
from harness.contract.workload import WorkloadFacts

#: The seconds that are scored: processor seconds of the training process, or wall seconds.
Clock = Literal["process", "wall"]
#: The purpose of a trial. Trials with different purposes have different seeds.
Purpose = Literal["score", "tuning", "target", "envelope", "gate", "gate-envelope", "confirm", "cost", "rerun"]
#: The origin of a nonce; see `Nonce`.
NonceSource = Literal["beacon", "local", "given"]
#: The purposes of trials in which every evaluation uses the whole split. All evaluations of these trials are needed to
#: compute targets or the envelope of a gate. An envelope is the reference's metric as a function of its budget.
WHOLE_PURPOSES: Final[frozenset[Purpose]] = frozenset({"target", "gate-envelope"})
#: Number of standard errors for decisions from a part of a split. For example, if an estimate of a loss exceeds the
#: target by at least this number of standard errors, the loss on the whole split is assumed to miss the target.
STANDARD_ERRORS: Final = 6.0
#: Fractions of a run's stop at which the ruleset `anytime` scores the run. Other rulesets score it only at the stop.
STOP_FRACTIONS: Final = (1 / 8, 1 / 4, 1 / 2, 1.0)


class Nonce(Data, frozen=True, kw_only=True):
    """A number from which the seeds of a published run are derived, so that nobody can choose the seeds.

    Args:
        value: 32 bytes in hex. With a beacon, it is the random number that the beacon published in round `round`.
        source: `beacon` (a round of a public randomness beacon), `local` (a random number of this machine) or `given`
            (the user gave the value).
        chain: hash of the beacon's chain in hex; empty without a beacon.
        round: index of the beacon's round, counted from the start of the beacon; 0 without a beacon.
        signature: the beacon's signature of the round in hex; empty without a beacon.
    """

    value: str
    source: NonceSource
    chain: str = ""
    round: Count = 0
    signature: str = ""


class Seeds(Data, frozen=True, kw_only=True):
    """The seeds of one trial, one for each role.

    Each seed is derived from six things: the purpose, the root seed or the nonce, the workload, the study, the trial
    and the role. It does not depend on the submission.

    Args:
        model: seed of the model's initial weights.
        data: seed of the training data and of their order, unless the submission chooses the order.
        submission: seed of the submission's random generator, and of the global generators during training.
        replay: seed of the replay buffer.
    """

    model: Count
    data: Count
    submission: Count
    replay: Count


class PartRef(Data, frozen=True, kw_only=True):
    """A reference to a part: its kind, its name and the import path of its callable (`load`)."""

    kind: PartKindName
    name: str
    load: str


class SubmissionRef(Data, frozen=True, kw_only=True):
    """The submission of a trial, as it was at the time of planning.

    Args:
        parts: the parts of the submission.
        needs: names of the needs of the submission and of its parts (see `harness.contract.entries.NEEDS`).
        source_hash: SHA-256 of the submission's source at the time of planning; empty if it was not computed.
        code_hash: SHA-256 of the tokens of the source, without comments, docstrings and layout. Empty for code that is
            distributed with the harness, and in records from before this field existed.
    """

    # The docstring of `SubmissionEntry` describes the fields that are not listed above.
    name: str
    version: Version
    load: str | None = None
    parts: tuple[PartRef, ...] = ()
    needs: frozenset[str] = frozenset()
    model_options: HParams = {}
    distribution: str = ""
    source_hash: str = ""
    code_hash: str = ""

    @property
    def id(self) -> str:
        return f"{self.name}@{self.version}"

    @property
    def code_identity(self) -> str:
        """The hash that decides whether two runs have the same code."""
        return self.code_hash or self.source_hash


class WorkloadRef(Data, frozen=True, kw_only=True):
    """The workload of a trial, as it was at the time of planning.

    Args:
        source_hash: SHA-256 of the workload's source at the time of planning. It is stored if the source can change
            without a new version: in a file that a user names, or in an editable installation. It is empty for other
            workloads. The `run_id` depends on the workload's version, but not on this hash.
        code_hash: SHA-256 of the tokens of this source, without comments, docstrings and layout. Empty in records from
            before this field existed. For a workload in a file that a user names, the version ends with the first
            digits of this hash.
    """

    # The docstring of `WorkloadEntry` describes the fields that are not listed above.
    facts: WorkloadFacts
    load: str
    arguments: dict[str, Scalar] = {}
    distribution: str = ""
    source_hash: str = ""
    code_hash: str = ""

    def has_other_source(self, earlier: WorkloadRef) -> bool:
        """Return whether the source differs from that of `earlier`. The result is False if one of them is unknown.

        Comments and layout are ignored if both code hashes are known.
        """
        if "" not in (self.code_hash, earlier.code_hash):
            return self.code_hash != earlier.code_hash
        return "" not in (self.source_hash, earlier.source_hash) and self.source_hash != earlier.source_hash


class RunSpec(Data, frozen=True, kw_only=True):
    """The complete specification of one trial. Planning creates the specification, and the worker executes it.

    Args:
        workload: the workload.
        submission: the submission.
        hparams: values of all hyperparameters by name.
        overridden: names of the hyperparameters that the user set. A run with such overrides is never ranked.
        ruleset: the ruleset.
        purpose: the use of the run. `score`: tables. `tuning`: choice of settings and of stops. `target`: calibration
            of targets. `envelope`: envelope of the reference for `anytime` and `fixed-budget`. `gate`: pairs of `bench
            gate`. `gate-envelope`: envelope of the reference for `bench gate`. `confirm`: retests of a series of gates.
            `cost`: measurements of `bench cost`. `rerun`: runs of `bench rerun` on fresh seeds.
        study: index of the study, from 0.
        trial: index of the setting within the study, from 0.
        root_seed: seed from which `seeds` are derived; 0 if they are derived from a nonce.
        seeds: the derived seeds.
        stop: number of examples at which the run ends, whether or not the target is met; None if the run ends at the
            first hit. It is a multiple of the workload's `eval_every`. On a stream, every stage ends after the same
            fraction `stop / horizon` of its maximum length.
        prune: whether a run is ended early if it is unlikely to reach the target. Such a run is never ranked.
        ranks: number of processes that share the run, each with its own device.
        device: torch device: `cpu`, `cuda`, `mps` …
        threads: number of intra-op threads.
        hardware: name of the hardware class.
        smoke: whether the run makes only a few steps. Such a run is never ranked.
        profile: whether the seconds of each phase of a step are measured, which slows the run down. Such a run is never
            ranked.
        deterministic: whether a GPU uses deterministic kernels.
        screening: whether an evaluation may use only a part of the split if this part already shows that a target is
            missed.
        nonce: the number from which `seeds` are derived; None if they are derived from `root_seed`.
        held_out: seeds of the held-out data, derived from the nonce; None for the workload's fixed held-out data.
    """

    workload: WorkloadRef
    submission: SubmissionRef
    hparams: HParams
    overridden: tuple[str, ...] = ()
    ruleset: Ruleset
    purpose: Purpose = "score"
    study: Count
    trial: Count
    root_seed: Integer64
    seeds: Seeds
    stop: Count | None = None
    prune: bool = False
    ranks: PositiveCount = 1
    device: str = "cpu"
    threads: PositiveCount = 1
    hardware: str
    smoke: bool = False
    profile: bool = False
    deterministic: bool = False
    screening: bool = True
    nonce: Nonce | None = None
    held_out: HeldOutSeeds | None = None

    @property
    def root(self) -> str:
        """The number from which `seeds` are derived, as text: the nonce, or the root seed."""
        return self.nonce.value if self.nonce else str(self.root_seed)

    @property
    def clock(self) -> Clock:
        """The kind of seconds that is scored. It is `process` on a CPU, where other programs lengthen the wall time."""
        return "process" if self.device.partition(":")[0] == "cpu" else "wall"

    @property
    def scored_stops(self) -> tuple[int, ...]:
        """The fractions `STOP_FRACTIONS` of the stop, in examples; empty if the run ends at the first hit."""
        if self.stop is None:
            return ()
        return tuple(round(fraction * self.stop) for fraction in STOP_FRACTIONS)

    def passes_scored_stop(self, before: int, examples: int) -> bool:
        """Return whether one of `scored_stops` is above `before` and at most `examples`."""
        return any(before < stop <= examples for stop in self.scored_stops)

    @property
    def seconds_allowed(self) -> float:
        """The number of scored seconds that the budget allows on the hardware class of the trial."""
        seconds = self.workload.facts.budget.seconds
        return seconds.get(self.hardware, seconds["default"])

    def allows(self, point: Point) -> bool:
        """Return whether an evaluation is within the budget of seconds and gradient-examples."""
        cap = self.workload.facts.budget.gradient_examples
        return point.scored(self.clock) <= self.seconds_allowed and point.gradient_examples <= cap


class Counters(Data, frozen=True, kw_only=True):
    """The totals of a run so far.

    Args:
        examples: number of examples drawn.
        gradient_examples: number of examples × backward passes.
        forward_examples: number of examples × forward passes, with or without a backward pass.
        steps: number of updates.
        seconds: wall seconds on the clock.
        process_seconds: scored processor seconds of all threads and ranks; on Linux, also of child processes.
    """

    examples: Count = 0
    gradient_examples: Count = 0
    forward_examples: Count = 0
    steps: Count = 0
    seconds: float = 0.0
    process_seconds: float = 0.0


class Point(Data, frozen=True, kw_only=True):
    """One evaluation: the totals of the run so far, and the metrics of the evaluated weights.

    Args:
        examples: number of examples drawn.
        gradient_examples: number of examples × backward passes.
        steps: number of updates.
        seconds: wall seconds on the clock.
        process_seconds: scored processor seconds of all threads and ranks; on Linux, also of child processes.
        metrics: finite metrics by name, measured on the split `score`.
        lr: learning rate of the last update; None if the submission does not report it.
        train_loss: mean training loss of the last pass; None before the first pass, or if the loss is not finite.
        stage: on a stream, index of the current stage; 0 on a pool.
        evaluated_examples: number of examples of the split `score` that a screened evaluation used; None for an
            evaluation of the whole split.
        se: standard error of the primary metric in a screened evaluation; None for an evaluation of the whole split.
        mean_train_loss: mean of the training loss over all passes since the previous evaluation; None if there was no
            pass, or if the mean is not finite.
        grad_norm: L2 norm of the gradients of all parameters after the last update; None without `--grad-norm`, without
            gradients, or if the norm is not finite.
    """

    examples: Count
    gradient_examples: Count
    steps: Count
    seconds: float
    process_seconds: float
    metrics: dict[str, float]
    lr: float | None = None
    train_loss: float | None = None
    stage: Count = 0
    evaluated_examples: Count | None = None
    se: float | None = None
    mean_train_loss: float | None = None
    grad_norm: float | None = None

    @property
    def screened(self) -> bool:
        """Whether the metrics are estimates from a part of the split. Curves show them, but no score uses them."""
        return self.evaluated_examples is not None

    def scored(self, clock: Clock) -> float:
        """Return the scored seconds: processor seconds if `clock` is `process`, otherwise wall seconds."""
        return self.process_seconds if clock == "process" else self.seconds

    @property
    def cost(self) -> int:
        """The larger of `examples` and `gradient_examples`, for scores. In tables, cost means seconds per example."""
        return max(self.examples, self.gradient_examples)


class Job(Data, frozen=True, kw_only=True):
    """The job of a worker.

    Args:
        spec: the specification of the trial.
        folder: path of the worker's folder in the trial's folder, where the worker writes its files.
        evaluation_folder: path of the folder for the results of evaluations and for the final weights: the trial's
            folder if a separate evaluator process writes them, or `folder` if the worker writes them.
        resume: whether to resume from the folder's checkpoint, if there is one.
        shadow_evaluation: whether to repeat every screened evaluation on the whole split, and to store both results.
        grad_norm: whether evaluations contain the norm of the gradients.
        sandbox: the sandbox that the worker enters first; None for a run without a worker process.
        unprepared: the parts of the data whose files may not exist yet. A child process of the worker opens these parts
            before the worker enters the sandbox, and thereby writes their files.
        git: commit of the current folder, for the record.
        keep_weights: whether the worker stores the weights of the evaluations that are judged after the run. These are
            the evaluations that end a stage, and the evaluations at scored stops.
        checkpoint_share: maximum fraction of the wall time that checkpoints may take; None for the default.
    """

    spec: RunSpec
    folder: str
    evaluation_folder: str
    resume: bool = True
    shadow_evaluation: bool = False
    grad_norm: bool = False
    sandbox: SandboxRequest | None = None
    unprepared: tuple[PreparedData, ...] = ()
    git: str = ""
    keep_weights: bool = False
    checkpoint_share: float | None = None


class ExecutionOptions(Data, frozen=True, kw_only=True):
    """The options with which an executor runs trials.

    Args:
        force: whether to start every trial again. Earlier runs are moved to `superseded/`.
        retry_failed: whether trials that crashed, were rejected, or ran out of memory or time are started again.
        jobs: number of trials to run at the same time; None for as many as fit.
        in_process: whether to run trials in this process, for a debugger.
        shadow_evaluation: whether to repeat every screened evaluation on the whole split, as a check.
        fresh_workers: whether the local executor starts every worker as a new process instead of forking it.
        grad_norm: whether evaluations contain the norm of the gradients. It is computed while the clock is stopped.
        invocation: identifier of this invocation of the command. Every record stores it in its list of sessions. If
            the identifier is empty, `run_trials` sets it.
        options: options of the executor by name, such as the address of a cluster.

    Raises:
        UsageError: `jobs` is not an integer or is outside its range.
    """

    force: bool = False
    retry_failed: bool = False
    jobs: int | None = None
    in_process: bool = False
    shadow_evaluation: bool = False
    fresh_workers: bool = False
    grad_norm: bool = False
    invocation: str = ""
    options: dict[str, str] = {}

    def __post_init__(self) -> None:
        check_integers({"jobs": self.jobs})
