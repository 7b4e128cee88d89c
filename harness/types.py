"""The contract as plain data: entries, specs, points, records. Imports nothing heavy.

One type per arrow: `plan` gives `RunSpec`, `supervise` gives `Record`, scoring reads `Record`.
All types are frozen, keyword-only msgspec structs; unknown fields are refused when they are read back.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

SCHEMA_VERSION = 1

Scalar: TypeAlias = bool | int | float | str
HParams: TypeAlias = dict[str, Scalar]
Tier = Literal["cpu", "gpu", "cluster"]
Goal = Literal["min", "max"]
Access = Literal["pool", "stream"]
Kind = Literal["matrix", "embedding", "head", "norm", "bias", "conv"]
Split = Literal["feedback", "score", "audit"]
PartKind = Literal["optimizer", "schedule", "averaging", "order", "replay", "gradient", "penalty", "after_step"]
Clock = Literal["process", "wall"]
#: What a trial is for; seeds of different purposes never meet.
Purpose = Literal["score", "tuning", "target", "envelope"]
Status = Literal[
    "reached", "exhausted", "diverged", "timeout", "out-of-memory", "crashed", "rejected", "pruned", "interrupted"
]
#: What a submission may declare that it needs; a workload or ruleset that does not give it makes it ineligible.
NEEDS = frozenset(
    {"horizon", "boundaries", "feedback", "holdout", "raw-grad", "pool", "stream", "replay", "scores", "tokens"}
)


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of everything that crosses a process boundary or is stored."""


# --- hyperparameter domains ---------------------------------------------------------------------


class LogUniform(msgspec.Struct, frozen=True, tag="log-uniform", forbid_unknown_fields=True):
    """A positive real, searched log-uniformly in [low, high]; any value > 0 is valid by hand.

    Args:
        low: lower end of the search range, > 0.
        high: upper end of the search range.
        default: value used when nothing is tuned; the geometric middle when None.
        limits: hard bounds (inclusive, None for no bound) on values set by hand; any positive number when None.
    """

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None


class Uniform(msgspec.Struct, frozen=True, tag="uniform", forbid_unknown_fields=True):
    """A real, searched uniformly in [low, high]; `limits` are the hard bounds, [low, high] itself when None."""

    low: float
    high: float
    default: float | None = None
    limits: tuple[float | None, float | None] | None = None


class Integer(msgspec.Struct, frozen=True, tag="integer", forbid_unknown_fields=True):
    """A whole number, searched uniformly in [low, high]; `limits` are the hard bounds, [low, high] itself when None."""

    low: int
    high: int
    default: int | None = None
    limits: tuple[int | None, int | None] | None = None


class Choice(msgspec.Struct, frozen=True, tag="choice", forbid_unknown_fields=True):
    """One of a fixed list of values; the first is the default unless named."""

    values: tuple[Scalar, ...]
    default: Scalar | None = None


class Fixed(msgspec.Struct, frozen=True, tag="fixed", forbid_unknown_fields=True):
    """A hyperparameter that is not tuned: its default, and the hard bounds for setting it by hand.

    A number without `limits` may take any value; a string or a boolean takes values of its own type, or only those
    of `values` where they are listed.
    """

    default: Scalar
    limits: tuple[float | None, float | None] | None = None
    values: tuple[Scalar, ...] | None = None


Domain: TypeAlias = LogUniform | Uniform | Integer | Choice | Fixed
Space: TypeAlias = dict[str, Domain]


# --- what plugins yield -------------------------------------------------------------------------


class Source(Data, frozen=True, kw_only=True):
    """Where a method comes from: a paper, and the equation or section in it."""

    title: str
    arxiv: str | None = None
    equation: str | None = None


class Target(Data, frozen=True, kw_only=True):
    """A value that a metric must reach: `goal` says from which side."""

    metric: str
    goal: Goal
    value: float
    unit: str = ""

    def met(self, metrics: dict[str, float]) -> bool:
        """Whether these metrics meet the target; a missing or NaN metric does not.

        >>> Target(metric="loss", goal="min", value=2.0).met({"loss": 1.9})
        True
        """
        value = metrics.get(self.metric, float("nan"))
        return value <= self.value if self.goal == "min" else value >= self.value

    def better(self, a: float, b: float) -> bool:
        """Whether `a` is strictly better than `b`."""
        return a < b if self.goal == "min" else a > b


class Stage(Data, frozen=True, kw_only=True):
    """One task's turn in a continual stream.

    Args:
        name: what the stage is called in records.
        targets: all must be met at one evaluation for the stream to move on.
        floors: must hold, besides the targets, when the last stage ends.
        max_examples: fresh examples after which the stage, and so the run, is exhausted.
        min_examples: fresh examples before which the stage does not end: a task that a lucky handful of steps
            could meet must still be seen for long enough to be remembered.
    """

    name: str
    targets: tuple[Target, ...]
    floors: tuple[Target, ...] = ()
    max_examples: int
    min_examples: int = 0


class Budget(Data, frozen=True, kw_only=True):
    """What a run may spend.

    Args:
        horizon: examples drawn (on a stream: the sum of the stages' caps).
        gradient_examples: cap on examples × backward passes.
        seconds: scored seconds allowed, by hardware class; `default` (required) is for every class not listed.
    """

    horizon: int
    gradient_examples: int
    seconds: dict[str, float]


class Precision(Data, frozen=True, kw_only=True):
    """Numeric format of forward and backward, owned by the workload and checked at every pause."""

    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    tf32: bool = False
    compile: bool = False


class WorkloadFacts(Data, frozen=True, kw_only=True):
    """Everything about a workload that is data: what planning, records and scores need without torch.

    Args:
        name, version: identity; the version is bumped when a change alters results.
        tier: `cpu` (≤ 2 minutes on one core), `gpu` or `cluster`.
        access: `pool` (random access, the submission may choose the order) or `stream` (one pass, staged).
        targets: all must be met at one evaluation; the first is the primary one.
        stages: for a stream; otherwise empty.
        budget: what a run may spend.
        batch_sizes: what a submission may choose from (the first is the default); each divides `eval_every`.
        eval_every: examples drawn between evaluations.
        precision: numeric format of forward and backward.
        model_options: what a submission may request of the model, as domains.
        example: what one example is, in words (`8x8 image`, `sequence of 64 characters`).
        tokens_per_example: tokens in an example (1 for images).
        scores: names of the per-example scores of the pool.
        replay_capacity: examples that the harness's replay buffer holds (streams).
        boundaries: whether stage boundaries are visible to the submission (streams).
        resolution: one standard error of the score metric as a share of the reference's time, when known.
        coarse: the data are too few for 2 % resolution; left out of the anchored mean.
        reference: names of the runs the target comes from.
        levels: other targets that tables can be recomputed at: `easy`, `hard`.
    """

    name: str
    version: str
    tier: Tier
    access: Access = "pool"
    targets: tuple[Target, ...]
    stages: tuple[Stage, ...] = ()
    budget: Budget
    batch_sizes: tuple[int, ...]
    eval_every: int
    precision: Precision = Precision()
    model_options: Space = {}
    example: str = "example"
    tokens_per_example: int = 1
    scores: tuple[str, ...] = ()
    replay_capacity: int = 0
    boundaries: bool = True
    resolution: float | None = None
    coarse: bool = False
    reference: tuple[str, ...] = ()
    levels: dict[str, tuple[Target, ...]] = {}

    @property
    def id(self) -> str:
        """`name@version`, as it stands in records and tables."""
        return f"{self.name}@{self.version}"


class WorkloadEntry(Data, frozen=True, kw_only=True):
    """What `bench_workloads` yields.

    Args:
        facts: the workload as data.
        load: `package.module:Class`, imported only in the worker.
        arguments: keyword arguments for the class (variants of one class).
        aliases: other names it may be asked for by; records have `facts.name`.
        summary: one line.
        sources: papers.
        sibling: the workload on the tier below.
        needs_data: the datasets that must be present: `name`, files of one as `name/pattern`, or so many training
            tokens of one as `name:4.1B`.
        distribution: filled in by the loader.
    """

    facts: WorkloadFacts
    load: str
    arguments: dict[str, Scalar] = {}
    aliases: tuple[str, ...] = ()
    summary: str
    sources: tuple[Source, ...] = ()
    sibling: str | None = None
    needs_data: tuple[str, ...] = ()
    distribution: str = ""

    @property
    def name(self) -> str:
        return self.facts.name


class PartEntry(Data, frozen=True, kw_only=True):
    """What `bench_parts` yields: one optimizer, schedule, averager … that a recipe is composed of.

    Args:
        kind, name: identity; `kind:name` names the part.
        load: `package.module:callable`.
        summary: one line.
        space: its hyperparameters; the names are the callable's keyword arguments.
        checks: relations that must hold, such as `"beta1 < 1"` or `"warmup + decay <= horizon"`.
        needs: what it needs of workload and ruleset (see `NEEDS`).
        excludes: kinds of parts that it does not go with.
        aliases: other names it may be asked for by; compositions and records have `name`.
        sources: papers.
        distribution: filled in by the loader.
    """

    kind: PartKind
    name: str
    load: str
    summary: str
    aliases: tuple[str, ...] = ()
    space: Space = {}
    checks: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    excludes: frozenset[PartKind] = frozenset()
    sources: tuple[Source, ...] = ()
    distribution: str = ""

    @property
    def id(self) -> str:
        return f"{self.kind}:{self.name}"


class SubmissionEntry(Data, frozen=True, kw_only=True):
    """What `bench_submissions` yields.

    Args:
        name, version: identity; the version is bumped when a change alters results.
        summary: one line.
        load: `package.module:Name` of a `Recipe` or of a class with the level-2 protocol; None when
            the submission is just its `parts`.
        parts: `kind:name` of the parts it is composed of.
        needs: what it needs of workload and ruleset, beside what its parts need.
        space: its hyperparameters, over those of its parts (same names override).
        points: settings that are tried, in this order, in place of points drawn from its space.
        checks: relations that must hold, beside those of its parts.
        model_options: options it requests of the model where a workload offers them.
        sources, tags: papers and free words for filtering.
        distribution: filled in by the loader.
    """

    name: str
    version: str = "1"
    summary: str
    load: str | None = None
    parts: tuple[str, ...] = ()
    needs: frozenset[str] = frozenset()
    space: Space = {}
    points: tuple[HParams, ...] = ()
    checks: tuple[str, ...] = ()
    model_options: HParams = {}
    sources: tuple[Source, ...] = ()
    tags: tuple[str, ...] = ()
    distribution: str = ""


class ExecutorEntry(Data, frozen=True, kw_only=True):
    """What `bench_executors` yields: a place where trials run."""

    name: str
    load: str
    summary: str
    distribution: str = ""


class DatasetFile(Data, frozen=True, kw_only=True):
    """One file of a dataset.

    Args:
        name: its name in the dataset's folder.
        sha256: of the published file, in hex; empty where no trustworthy value is known.
        content_sha256: of what a published gzip file unpacks to. A copy with this content is as good as the published
            file whoever packed it, whatever its size.
        size: of the published file in bytes; 0 where it is not known.
        urls: where it can be had, the preferred place first.
        member: when the urls name a tar archive, the path of the file inside it.
        tokens: training tokens in it, for those who want so many of them; 0 for what is needed whatever their number.
    """

    name: str
    sha256: str = ""
    content_sha256: str = ""
    size: int = 0
    urls: tuple[str, ...] = ()
    member: str = ""
    tokens: int = 0


class DatasetEntry(Data, frozen=True, kw_only=True):
    """What `bench_datasets` yields: files that are fetched, folders that a user provides, and how to check them.

    Args:
        name, title: identity, and what it is in one line.
        licence: the terms it is published under.
        files: everything that `bench data get` fetches.
        folders: trees that nobody may redistribute; `bench data import` links them.
        check: `package.module:function`, called with the path of each file or folder; raises `DataError` when
            the format is wrong. It decides alone where no checksum is known.
        homepage, note: where it comes from, and what one should know.
        distribution: filled in by the loader.
    """

    name: str
    title: str
    licence: str
    files: tuple[DatasetFile, ...] = ()
    folders: tuple[str, ...] = ()
    check: str = ""
    homepage: str = ""
    note: str = ""
    distribution: str = ""


# --- what a schedule sees and says --------------------------------------------------------------


class Progress(msgspec.Struct, frozen=True, gc=False):
    """Where a run stands, for a schedule.

    Args:
        step: 0-based index of the update about to be made.
        horizon: T, the number of updates the schedule plans for (`horizon_fraction` applied); None when unknown.
        examples: fresh examples drawn so far.
        tokens: tokens drawn so far.
        batch_size: examples per update.
        task_index: the current stage of a stream whose boundaries are visible; otherwise None.
        task_step: 0-based index of the update within that stage; otherwise None.
        task_horizon: updates planned for that stage (its cap, `horizon_fraction` applied); None when unknown.
    """

    step: int
    horizon: int | None
    examples: int = 0
    tokens: int = 0
    batch_size: int = 1
    task_index: int | None = None
    task_step: int | None = None
    task_horizon: int | None = None


class Factors(msgspec.Struct, frozen=True, gc=False):
    """What a schedule says of one update.

    Args:
        lr: multiplier of the peak learning rate.
        momentum: the momentum (or beta1) itself, where the schedule drives it.
        weight_decay: multiplier of the weight decay, where the schedule drives it.
    """

    lr: float
    momentum: float | None = None
    weight_decay: float | None = None


# --- a run --------------------------------------------------------------------------------------


class Shard(Data, frozen=True, kw_only=True):
    """One rank's share of the examples of an evaluation; the whole by default.

    >>> [Shard(index=k, count=2).rows(10, unit=4) for k in range(2)]
    [range(0, 4), range(4, 10)]
    """

    index: int = 0
    count: int = 1

    def rows(self, n: int, unit: int = 1) -> range:
        """Which of `n` examples, consecutive; cut only between pieces of `unit` examples, so that what is computed
        on a piece does not depend on the number of ranks. Empty where there are fewer pieces than ranks.
        """
        pieces = -(-n // unit)
        start, stop = (pieces * k // self.count * unit for k in (self.index, self.index + 1))
        return range(min(start, n), min(stop, n))


#: All examples, as one rank evaluates them.
WHOLE = Shard()


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
        stopping: when a run ends, beside the end of its budget: `first-hit` at the target; `share` at
            `stop_share` of the horizon, target or not; `chosen` at the point that the tuning studies chose;
            `drawn` at a budget drawn for each study.
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
    stopping: Literal["first-hit", "share", "chosen", "drawn"] = "first-hit"
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

    kind: PartKind
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


class Device(Data, frozen=True, kw_only=True):
    """What a driver says of a GPU once and for all; None where it does not say.

    Args:
        name: its model, in the driver's own words.
        memory_mib: all of its memory.
        driver: the driver's version.
        power_limit_w: the power that it may draw.
        max_sm_mhz, max_memory_mhz: the highest clocks of its processors and of its memory.
        partitioned: whether it is divided (MIG), so that a run may have a part of it.
    """

    name: str
    memory_mib: int = 0
    driver: str = ""
    power_limit_w: float | None = None
    max_sm_mhz: int | None = None
    max_memory_mhz: int | None = None
    partitioned: bool = False


class Reading(Data, frozen=True, kw_only=True):
    """A GPU's state at one moment.

    Args:
        device: its index in the driver's order.
        seconds: of the run's clock, which stood still.
        sm_mhz, memory_mhz, power_w, temperature_c: in MHz, watts and °C; None where the driver does not say.
        slowed: why clocks were below their maximum, in words.
    """

    device: int
    seconds: float = 0.0
    sm_mhz: int
    memory_mhz: int | None = None
    power_w: float | None = None
    temperature_c: int | None = None
    slowed: tuple[str, ...] = ()


class DeviceLog(Data, frozen=True, kw_only=True):
    """The GPUs of a run, and what they were like whenever its clock stood still.

    Args:
        by: how the driver was asked.
        devices: one per rank.
        readings: in order of time.
    """

    by: str
    devices: tuple[Device, ...]
    readings: tuple[Reading, ...] = ()


class Environment(Data, frozen=True, kw_only=True):
    """What the worker saw of its machine and software."""

    python: str
    torch: str
    platform: str
    hardware_name: str
    cpu_count: int
    threads: int
    device_name: str = ""
    driver: str = ""
    cuda: str = ""
    distributions: dict[str, str] = {}
    git: str = ""


class Job(Data, frozen=True, kw_only=True):
    """What a worker is told: the trial, the folder it may write to, and where data lies."""

    spec: RunSpec
    folder: str
    resume: bool = True


class Usage(Data, frozen=True, kw_only=True):
    """Resources of a run: memory and state sizes in bytes, parameters as a count, times in seconds off the clock."""

    peak_memory_bytes: int = 0
    optimizer_state_bytes: int = 0
    parameters: int = 0
    import_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0


class Record(Data, frozen=True, kw_only=True):
    """The outcome of one trial; every trial ends as one, whatever happens.

    Args:
        run_id: hash of the spec, the submission's source, hardware and threads.
        status, reason: how it ended, and why in one sentence.
        points: every evaluation, in order.
        hit: index into `points` of the first evaluation that met the target (on a stream: that ended the
            last stage with all floors held); None for a miss.
        stage_hits: for a stream, the index of the evaluation that ended each stage.
        counters: totals at the end.
        final_weights, crossing_weights: SHA-256 of the evaluated weights at the end and at the hit.
        profile: seconds by phase, when asked for.
        deaths: times in a row that the worker was killed without progress.
        devices: the GPUs it ran on, with readings off the clock; None on a CPU, and in records from before these.
        started, finished: UTC, ISO 8601.
        content_hash: SHA-256 of everything else; detects accidents, not forgers.
    """

    schema: int = SCHEMA_VERSION
    run_id: str
    spec: RunSpec
    status: Status
    reason: str = ""
    points: tuple[Point, ...] = ()
    hit: int | None = None
    stage_hits: tuple[int, ...] = ()
    counters: Counters = Counters()
    usage: Usage = Usage()
    environment: Environment | None = None
    final_weights: str = ""
    crossing_weights: str = ""
    profile: dict[str, float] = {}
    deaths: int = 0
    devices: DeviceLog | None = None
    started: str = ""
    finished: str = ""
    content_hash: str = ""


class Outcome(Data, frozen=True, kw_only=True):
    """How a trial stands after a command, for summaries: light, since a plan may have ten thousand.

    Args:
        run_id, spec: the trial.
        status, reason: its record's.
        kept: it had ended before; nothing was run.
        path: its folder.
    """

    run_id: str
    spec: RunSpec
    status: Status
    reason: str = ""
    kept: bool = False
    path: str = ""


class Execution(Data, frozen=True, kw_only=True):
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


# --- events: worker -> supervisor ---------------------------------------------------------------


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event"):
    """One line of the worker's pipe."""


class Ready(Event, frozen=True, kw_only=True, tag="ready"):
    """The workload, model and submission stand; `resumed_from` is the number of steps in the checkpoint."""

    environment: Environment
    usage: Usage
    points: tuple[Point, ...] = ()
    resumed_from: int | None = None


class ClockEdge(Event, frozen=True, kw_only=True, tag="clock"):
    """The clock started (`running`) or stopped, with its readings."""

    running: bool
    seconds: float
    process_seconds: float


class Evaluated(Event, frozen=True, kw_only=True, tag="evaluated"):
    """A new point."""

    point: Point


class Watched(Event, frozen=True, kw_only=True, tag="watched"):
    """The GPUs of the run (at first), and new readings of them; the supervisor's own, no worker sends it."""

    log: DeviceLog


class Warned(Event, frozen=True, kw_only=True, tag="warned"):
    """Something a user should know."""

    message: str


class Done(Event, frozen=True, kw_only=True, tag="done"):
    """The run is over."""

    status: Status
    reason: str = ""
    hit: int | None = None
    stage_hits: tuple[int, ...] = ()
    counters: Counters = Counters()
    usage: Usage = Usage()
    final_weights: str = ""
    crossing_weights: str = ""
    profile: dict[str, float] = {}


#: What a worker may send.
WorkerEvent: TypeAlias = Ready | ClockEdge | Evaluated | Warned | Done
AnyEvent: TypeAlias = WorkerEvent | Watched
