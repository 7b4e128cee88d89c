"""The record of a trial: its outcome, its evaluations, its machine and its software."""

from __future__ import annotations

from typing import Final, Literal

from harness.contract.base import Count, Data, Integer64, PositiveCount
from harness.contract.judging import Judgement, Trust
from harness.contract.run import Counters, Point, RunSpec

SCHEMA_VERSION = 1
#: The final status of a trial. docs/rules.md defines each value.
Status = Literal[
    "reached", "exhausted", "diverged", "timeout", "out-of-memory", "crashed", "rejected", "pruned", "interrupted"
]


def is_finished(status: Status) -> bool:
    """Return whether the trial is finished.

    An interrupted trial is not finished: if its command is repeated, the trial resumes.
    """
    return status != "interrupted"


def is_complete(status: Status) -> bool:
    """Return whether the run reached its target or used its budget of examples."""
    return status in ("reached", "exhausted")


def is_success(status: Status) -> bool:
    """Return whether the run ended without a failure: it is complete, or the option `--prune` ended it early."""
    return is_complete(status) or status == "pruned"


def is_broken(status: Status) -> bool:
    """Return whether training failed before the end of the budget. Such a run has no final metric."""
    return status in ("diverged", "out-of-memory", "crashed")


def is_retryable(status: Status) -> bool:
    """Return whether `--retry-failed` starts the trial again.

    A diverged trial is not started again, because it would diverge again.
    """
    return status in ("crashed", "rejected", "out-of-memory", "timeout")


#: Maximum number of characters of a reason in a record. An exception may have a message of any length.
MAX_REASON = 1_000


def shorten_reason(reason: str) -> str:
    """Return a reason with at most `MAX_REASON` characters. A longer reason is cut and ends with an ellipsis."""
    return reason if len(reason) <= MAX_REASON else f"{reason[: MAX_REASON - 1]}…"


class Device(Data, frozen=True, kw_only=True):
    """The constant properties of a GPU.

    Args:
        name: name of the GPU model, as the driver reports it.
        memory_mib: total memory in MiB; 0 if the driver does not report it.
        driver: version of the driver; empty if unknown.
        power_limit_w: power limit in watts; None if the driver does not report it.
        max_sm_mhz: maximum clock of the multiprocessors in MHz; None if the driver does not report it.
        max_memory_mhz: maximum clock of the memory in MHz; None if the driver does not report it.
        partitioned: whether the GPU is partitioned (MIG). A run may then use only a part of the GPU.
    """

    name: str
    memory_mib: Count = 0
    driver: str = ""
    power_limit_w: float | None = None
    max_sm_mhz: Count | None = None
    max_memory_mhz: Count | None = None
    partitioned: bool = False


class GpuSample(Data, frozen=True, kw_only=True):
    """The state of a GPU at one moment, while the run's clock was stopped.

    Args:
        device: index of the GPU in the driver's order.
        seconds: wall seconds on the run's clock.
        sm_mhz: clock of the multiprocessors in MHz.
        memory_mhz: clock of the memory in MHz; None if the driver does not report it.
        power_w: power draw in watts; None if the driver does not report it.
        temperature_c: temperature in °C; None if the driver does not report it.
        slowed: the reasons that the driver gives for clock frequencies below the maximum; empty if it gives none.
    """

    device: Count
    seconds: float = 0.0
    sm_mhz: Count
    memory_mhz: Count | None = None
    power_w: float | None = None
    temperature_c: Integer64 | None = None
    slowed: tuple[str, ...] = ()


class DeviceLog(Data, frozen=True, kw_only=True):
    """The GPUs of a run, and samples of their state while the clock was stopped.

    Args:
        by: name of the interface from which the samples were read, such as `NVML`.
        devices: the GPUs, one per rank.
        readings: the samples in chronological order.
    """

    by: str
    devices: tuple[Device, ...]
    readings: tuple[GpuSample, ...] = ()


class Environment(Data, frozen=True, kw_only=True):
    """The machine and the software of the worker.

    Args:
        python: version of Python.
        torch: version of torch.
        platform: operating system and architecture.
        hardware_name: name of the processor.
        cpu_count: number of logical processors of the machine.
        threads: number of intra-op threads.
        device_name: name of the GPU; empty on a CPU.
        driver: version of the GPU's driver; empty on a CPU.
        cuda: version of CUDA; empty on a CPU.
        distributions: versions of the relevant Python distributions by name.
        git: commit of the working directory, followed by `+` if it has changes; empty outside a repository.
    """

    python: str
    torch: str
    platform: str
    hardware_name: str
    cpu_count: Count
    threads: PositiveCount
    device_name: str = ""
    driver: str = ""
    cuda: str = ""
    distributions: dict[str, str] = {}
    git: str = ""


class Usage(Data, frozen=True, kw_only=True):
    """The resources that a run used.

    Args:
        peak_memory_bytes: peak memory in bytes: GPU memory or, without a GPU, memory of the process. If several
            processes (ranks) share the run, it is the largest of their peaks.
        optimizer_state_bytes: size in bytes of the tensors in the submission's state, without the model.
        parameters: number of the model's parameters.
        import_seconds: processor seconds for importing the submission, with the clock stopped.
        evaluation_seconds: wall seconds for evaluations, with the clock stopped.
        checkpoint_seconds: wall seconds for writing checkpoints and weights, with the clock stopped.
        start_seconds: wall seconds from the last start of the worker until model, data and submission were built. In
            this time, the clock runs only while the submission is constructed.
        build_seconds: the part of `start_seconds` for importing the workload, opening or generating its data, and
            building the model.
        forked: whether the worker was forked from a fork server.
    """

    peak_memory_bytes: Count = 0
    optimizer_state_bytes: Count = 0
    parameters: Count = 0
    import_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    start_seconds: float = 0.0
    build_seconds: float = 0.0
    forked: bool = False


class Screening(Data, frozen=True, kw_only=True):
    """Counts and times of a run's evaluations on the split `score`.

    A screened evaluation uses only a part of this split.

    Args:
        evaluations: number of evaluations.
        screened: number of screened evaluations.
        examples: number of examples that the evaluations measured.
        whole_examples: number of examples that evaluations of the whole split would have measured.
        shadow: whether every screened evaluation was repeated on the whole split, as a check. If so, the record
            contains the metrics of the repetition.
        screened_seconds: wall seconds for all evaluations, without the repetitions.
        whole_seconds: wall seconds for the same evaluations on the whole split; 0 if `shadow` is False.
        disagreements: one text for every screened evaluation whose decision differs from that of its repetition.
        disabled: why the workload allows no screened evaluations; empty if it allows them.
    """

    evaluations: Count = 0
    screened: Count = 0
    examples: Count = 0
    whole_examples: Count = 0
    shadow: bool = False
    screened_seconds: float = 0.0
    whole_seconds: float = 0.0
    disagreements: tuple[str, ...] = ()
    disabled: str = ""


class Session(Data, frozen=True, kw_only=True):
    """The part of a run that was measured on one machine by one invocation of a command.

    If a run was interrupted and resumed, it has several sessions.

    Args:
        invocation: random identifier of the invocation.
        machine: hash of the machine's name.
        first_point: index in `points` of the first evaluation in this session. The interval before this evaluation
            belongs to the same session.
    """

    invocation: str
    machine: str
    first_point: Count = 0

    @property
    def id(self) -> str:
        """`machine/invocation`, which identifies the session in all records."""
        return f"{self.machine}/{self.invocation}"


#: The kind of work that a worker does at one moment. docs/architecture.md defines each value.
Phase = Literal[
    "start", "compile", "import", "build", "construction", "loading", "first batch", "training", "averaging", "state",
    "evaluation", "checkpoint",
]  # fmt: skip
#: The phases in which the run's clock runs.
ON_CLOCK: Final[frozenset[Phase]] = frozenset(
    {"construction", "loading", "first batch", "training", "averaging", "state"}
)
#: Who ended a worker before the end of its trial. `user`: the user stopped the command. `supervisor`: the supervisor
#: was killed, or the machine went down. `worker`: the worker died, ended by itself, or was killed for a reason that the
#: supervisor does not know.
Ender = Literal["user", "supervisor", "worker"]


class Spent(Data, frozen=True, kw_only=True):
    """An amount of time.

    Args:
        seconds: wall seconds.
        process_seconds: processor seconds of all threads and processes of the trial.
    """

    seconds: float = 0.0
    process_seconds: float = 0.0


class Restart(Data, frozen=True, kw_only=True):
    """A start of a trial's worker after an earlier worker of the trial ended.

    Args:
        by: who ended the previous worker.
        reason: why the previous worker ended, as far as the supervisor knows.
        lost: the time on the clock that the previous worker used after the checkpoint from which the trial was resumed,
            or after the previous worker's start if it wrote no checkpoint. If no later worker resumed the trial, the
            checkpoint is unknown, and the previous worker's last evaluation takes its place.
        charged: whether `lost` is part of the scored time. It is False only if the user stopped the command.
    """

    by: Ender
    reason: str = ""
    lost: Spent = Spent()
    charged: bool = False


class Ledger(Data, frozen=True, kw_only=True):
    """The time that a trial used, on and off the clock, as the supervisor measured it.

    Args:
        phases: the time in each phase, summed over all workers of the trial.
        helper_seconds: processor seconds of helpers while the clock was stopped. Helpers are child processes, and
            threads beside the main thread. The scored processor seconds include these seconds.
        helpers: processor seconds of the busiest helpers, by name.
        restarts: the starts of the worker after its first start, in order.
        attempts: number of runs of this trial in the same folder of runs, including runs that were replaced.
    """

    phases: dict[Phase, Spent] = {}
    helper_seconds: float = 0.0
    helpers: dict[str, float] = {}
    restarts: tuple[Restart, ...] = ()
    attempts: PositiveCount = 1


class Record(Data, frozen=True, kw_only=True):
    """The outcome of one trial. Every trial that ends has a record, including trials that fail.

    Args:
        schema: version of the record format.
        run_id: hash of the specification, which includes the submission's source, the hardware class and the threads.
        spec: the specification of the trial.
        status: how the trial ended.
        reason: why the trial ended, in one sentence.
        points: the evaluations in chronological order.
        hit: index in `points` of the first evaluation that met the target; None for a miss. On a stream, this
            evaluation ended the last stage, and earlier tasks still met their thresholds (floors).
        stage_hits: on a stream, one index in `points` for each completed stage: the evaluation that ended the stage.
            Empty on a pool.
        counters: the totals at the end.
        usage: the resources used.
        environment: the machine and the software of the worker; None if the worker did not start.
        final_weights: SHA-256 of the evaluated weights at the end; empty if they were not saved.
        crossing_weights: SHA-256 of the evaluated weights at the hit; empty for a miss.
        profile: seconds by phase of a step; empty unless `spec.profile` is True.
        deaths: number of times in a row that the worker was killed before it made progress.
        devices: the GPUs of the run with samples of their state; None on a CPU, or if nothing was recorded.
        screening: counts and times of the evaluations on the split `score`. None if the run failed, or if its
            specification allows no screened evaluations, which use only a part of the split.
        judgements: metrics from a process that never imported the submission. They belong to the hit, the end of each
            stage, each stop that `anytime` scores, and the end. Empty if the worker evaluated its own weights.
        trust: how far the record can be believed.
        sessions: the sessions in which the run was measured, in order; empty in records from before this field existed.
        sandbox: the sandbox in which the worker ran, such as `landlock-abi7+namespaces`; `none` if it ran without a
            sandbox; empty if no worker started, and in records from before this field existed.
        ledger: the time that the trial used on and off the clock, and its restarts; None in records from before this
            field existed.
        started: time of the start of the run, UTC in ISO 8601. Records of resumed runs from before this version have
            the start of the last session.
        finished: time of the end, UTC in ISO 8601.
        content_hash: SHA-256 of all fields except this one. It detects accidental changes, not forgery.
    """

    schema: int = SCHEMA_VERSION
    run_id: str
    spec: RunSpec
    status: Status
    reason: str = ""
    points: tuple[Point, ...] = ()
    hit: Count | None = None
    stage_hits: tuple[Count, ...] = ()
    counters: Counters = Counters()
    usage: Usage = Usage()
    environment: Environment | None = None
    final_weights: str = ""
    crossing_weights: str = ""
    profile: dict[str, float] = {}
    deaths: Count = 0
    devices: DeviceLog | None = None
    screening: Screening | None = None
    judgements: tuple[Judgement, ...] = ()
    trust: Trust = "self-reported"
    sessions: tuple[Session, ...] = ()
    sandbox: str = ""
    ledger: Ledger | None = None
    started: str = ""
    finished: str = ""
    content_hash: str = ""

    @property
    def machines(self) -> tuple[str, ...]:
        """Hashes of the names of the machines on which the run was made, in order; empty if unknown."""
        return tuple(dict.fromkeys(session.machine for session in self.sessions if session.machine))


class TrialSummary(Data, frozen=True, kw_only=True):
    """The outcome of one trial in short form. A plan may have many trials, and summaries need less memory than records.

    Args:
        run_id: identifier of the trial.
        spec: the specification of the trial.
        status: how the trial ended.
        reason: why the trial ended, in one sentence.
        kept: whether the trial ended in another command and was therefore not run here.
        path: path of the trial's folder.
        outdated: whether the trial is kept although the workload's source has changed since the trial. The workload's
            version has not changed.
    """

    run_id: str
    spec: RunSpec
    status: Status
    reason: str = ""
    kept: bool = False
    path: str = ""
    outdated: bool = False
